"""Perplexity scoring against the bare forward of as many tokens, and its memory against the number of documents."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.harness import Row, peak_mib, report_peak
from curation_assets.common.windows import cut_windows
from curation_assets.models.span_corruption import corrupted_lengths, mix
from curation_assets.models.t5 import Shape, build
from curation_assets.scoring.perplexity import SpanPerplexity
from curation_assets.scoring.token_perplexity import TokenPerplexity

VOCABULARY, SENTINEL = 2_048, 2_047
PIECES = 1_900  # ids below are no sentinels
SHAPE = Shape(d_model=96, d_kv=24, d_ff=256, num_layers=2, num_heads=4)  # the local profile's ladder.small
LEAST = Shape(
    d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2
)  # for memory, which must not grow with any
WINDOW = 128
DOCUMENTS = 150


def rows() -> Iterable[Row]:
    """Measure, in some 30 s. Speeds are of CPU seconds on one thread, taken in turns: steady on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield from _span_speed()
        yield from _token_speed()
    finally:
        torch.set_num_threads(threads)
    few, many = 2_000, 20_000
    small, large = peak_mib(__name__, str(few)), peak_mib(__name__, str(many))
    note = f"{small:,.1f} and {large:,.1f} MiB; a T5's, from a memory map"
    yield Row(f"peak memory, {few:,} over {many:,} documents", small / large, "ratio", 0.95, note)


def _span_speed() -> Iterable[Row]:
    scorer = SpanPerplexity(
        build(SHAPE, VOCABULARY, 0), eos=1, first_sentinel=SENTINEL, window=WINDOW, device="cpu"
    )
    ids, offsets, hashes = _documents()
    raw, count = _rectangle()
    n_inputs, n_targets = (int(n) for n in corrupted_lengths(raw))
    inputs, labels = torch.randint(2, PIECES, (count, n_inputs)), torch.randint(2, PIECES, (count, n_targets))
    batches = inputs.split(scorer.batch_tokens // (n_inputs + n_targets))

    def bare() -> None:
        for part, wanted in zip(batches, labels.split(len(batches[0])), strict=True):
            scorer.model(input_ids=part, decoder_input_ids=wanted, use_cache=False)

    yield from _speed("span", lambda: scorer.nll_flat(ids, offsets, hashes), bare, "a small T5")


def _token_speed() -> Iterable[Row]:
    from transformers import LlamaConfig, LlamaForCausalLM

    size = {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4}
    scorer = TokenPerplexity(
        LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, **size)), window=WINDOW, device="cpu"
    )
    ids, offsets, _ = _documents()
    raw, count = _rectangle()
    batches = torch.randint(2, PIECES, (count, raw)).split(scorer.batch_tokens // raw)

    def bare() -> None:
        for part in batches:
            scorer.model(input_ids=part, use_cache=False)

    yield from _speed("token", lambda: scorer.nll_flat(ids, offsets), bare, "a small Llama")


def _speed(name: str, scoring: Callable[[], object], bare: Callable[[], object], model: str) -> Iterable[Row]:
    """Compare scoring, losses and all, with the logits alone of equal, unpadded rows of as many raw tokens.

    The bare forward's batches are as large as the scorer's, but it writes the logits of each at once: hence ratios above 1.
    """
    raw, count = _rectangle()
    best = [float("inf")] * 2
    with torch.inference_mode():
        for _ in range(3):
            for number, work in enumerate((scoring, bare)):
                start = time.process_time()
                work()
                best[number] = min(best[number], time.process_time() - start)
    tokens = int(_documents()[1][-1])
    rates = tokens / best[0], raw * count / best[1]
    note = f"{model}, {DOCUMENTS} documents of 20 to 500 tokens"
    yield Row(f"{name} perplexity over the bare forward", rates[0] / rates[1], "x", 0.8, note)
    yield Row(f"{name} perplexity, one core", rates[0], "tokens/s")


@lru_cache
def _documents() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]]:
    rng = np.random.default_rng(1)
    offsets = np.concatenate([[0], rng.integers(20, 500, DOCUMENTS).cumsum()])
    return rng.integers(2, PIECES, offsets[-1]), offsets, mix(1, np.arange(DOCUMENTS))


def _rectangle() -> tuple[int, int]:
    """Return the mean length of the documents' windows, and how many of that length have as many tokens."""
    _, offsets, _ = _documents()
    windows = len(cut_windows(np.diff(offsets), WINDOW)[0])
    length = round(offsets[-1] / windows)
    return length, round(offsets[-1] / length)


def _score_memory_map(documents: int) -> None:
    """Score so many documents from a memory map, and tell the peak. Of few lengths: both sizes fill whole batches."""
    torch.set_num_threads(1)
    scorer = SpanPerplexity(
        build(LEAST, VOCABULARY, 0), eos=1, first_sentinel=SENTINEL, window=WINDOW, device="cpu"
    )
    offsets = np.concatenate([[0], np.resize([30, 40, 50, 60], documents).cumsum()])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ids"
        np.resize(np.arange(2, PIECES, dtype=np.uint16), offsets[-1]).tofile(path)
        total, _ = scorer.nll_flat(np.memmap(path, np.uint16, "r"), offsets, mix(0, np.arange(documents)))
    if len(total) != documents:
        raise RuntimeError(f"{len(total)} scores for {documents} documents")
    report_peak()


if __name__ == "__main__":
    _score_memory_map(int(sys.argv[1]))
