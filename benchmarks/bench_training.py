"""Pre-training against the bare forward and backward pass, scoring against the bare forward, and memory against corpus size."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import Row, best_seconds, peak_mib, report_peak
from curation_assets.pretraining import span_corruption
from curation_assets.pretraining.config import Execution, TrainConfig
from curation_assets.pretraining.model import Shape, build, parameter_count
from curation_assets.pretraining.packing import Shard, TokenStream
from curation_assets.pretraining.trainer import train
from curation_assets.scoring.perplexity import SpanPerplexity

VOCABULARY, SENTINEL = 4_096, 4_095
CONFIG = TrainConfig(
    shape=Shape(d_model=96, d_kv=24, d_ff=256, num_layers=2, num_heads=4),
    vocab_size=VOCABULARY,
    tokens=40 * 16 * 141,
    first_sentinel=SENTINEL,
    batch_size=16,
    input_length=128,
    snapshots=(1.0,),
)


def rows() -> Iterable[Row]:
    """Measure; every ratio is of two figures from this process."""
    yield from _training()
    yield from _scoring()
    yield from _memory()


def _stream(documents: int) -> TokenStream:
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], rng.integers(50, 550, documents).cumsum()])
    ids = rng.integers(2, VOCABULARY - 100, offsets[-1]).astype(np.uint16)
    return TokenStream([Shard(ids, offsets, None, span_corruption.mix(0, np.arange(documents)))])


def _training() -> Iterable[Row]:
    """Alternate a few steps of the trainer and of the bare model, since a shared machine's speed drifts."""
    model = build(CONFIG.shape, VOCABULARY, 0).train()
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(2, 3_000, (16, 128), generator=generator)
    labels = torch.randint(2, 3_000, (16, 29), generator=generator)

    def bare() -> None:
        model.zero_grad(set_to_none=True)
        model(input_ids=inputs, labels=labels, use_cache=False).loss.backward()

    stream = _stream(2_000)
    ours, theirs = [], []
    best_seconds(bare, 3)
    for _ in range(4):
        start = time.perf_counter()
        for _ in range(20):
            bare()
        theirs.append((time.perf_counter() - start) / 20)
        ours.append(_seconds_per_step(stream))
    tokens = CONFIG.tokens_per_step
    note = f"{parameter_count(CONFIG.shape, VOCABULARY) / 1e6:.1f}M parameters, {CONFIG.batch_size} x 141 raw tokens"
    yield Row("training, raw tokens a second", tokens / min(ours), "tokens/s", None, note)
    yield Row("training against bare forward and backward", min(theirs) / min(ours), "x", 0.9)


def _seconds_per_step(stream: TokenStream) -> float:
    """Return the time of a step inside a real run, set-up and writing of the finished model left out."""
    told: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        train(
            CONFIG,
            stream,
            folder,
            execution=Execution(device="cpu"),
            progress=lambda done, *_: told.append((time.perf_counter(), done)),
        )
    (start, first), (end, last) = told[0], told[-2]
    return (end - start) / ((last - first) / CONFIG.tokens_per_step)


def _scoring() -> Iterable[Row]:
    """Score documents of mixed lengths; the bare forward gets as many tokens without padding, corruption or bookkeeping."""
    model = build(CONFIG.shape, VOCABULARY, 0)
    scorer = SpanPerplexity(model, eos=1, first_sentinel=SENTINEL, window=128, device="cpu")
    rng = np.random.default_rng(1)
    lengths = rng.integers(20, 500, 150)
    documents = [rng.integers(2, 3_000, n) for n in lengths]
    hashes = span_corruption.mix(1, np.arange(150))
    raw, targets = 116, int(span_corruption.corrupted_lengths(116)[1])
    batches = round(lengths.sum() / (56 * raw))
    inputs = torch.randint(2, 3_000, (56, int(span_corruption.corrupted_lengths(raw)[0])))
    labels = torch.randint(2, 3_000, (56, targets))

    @torch.inference_mode()
    def bare() -> None:
        for _ in range(batches):
            model(input_ids=inputs, labels=labels, use_cache=False)

    ours, theirs = float("inf"), float("inf")
    for _ in range(4):  # in turns, as above
        ours = min(ours, best_seconds(lambda: scorer.nll(documents, hashes), 1))
        theirs = min(theirs, best_seconds(bare, 1) / (batches * 56 * raw) * lengths.sum())
    yield Row("perplexity scoring, raw tokens a second", lengths.sum() / ours, "tokens/s")
    yield Row(
        "perplexity scoring against the bare forward", theirs / ours, "x", 0.8, "same number of raw tokens"
    )


def _memory() -> Iterable[Row]:
    small, large = (peak_mib("benchmarks.bench_training", str(n)) for n in (20_000, 100_000))
    stated = 80_000 * 44 / 2**20  # 24 bytes a document, and 20 more while an epoch is put in order
    yield Row("peak memory, 20,000 documents", small, "MiB")
    yield Row("peak memory, 100,000 documents", large, "MiB", None, f"arrays that grow: {stated:.1f} MiB")
    yield Row("peak memory, small plus stated arrays against large", (small + stated) / large, "x", 0.97)


def _read_memory_map(documents: int) -> None:
    """Train on a memory map of so many documents and tell the peak."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ids.npy"
        offsets = np.arange(documents + 1, dtype=np.int64) * 200
        ids = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint16, shape=(documents * 200,))
        for low in range(0, len(ids), 1 << 20):
            ids[low : low + (1 << 20)] = 7
        del ids
        hashes = span_corruption.mix(0, np.arange(documents))
        shard = Shard(np.load(path, mmap_mode="r"), offsets, None, hashes)
        train(CONFIG, TokenStream([shard]), Path(folder) / "run", execution=Execution(device="cpu"))
    report_peak()


if __name__ == "__main__":
    _read_memory_map(int(sys.argv[1]))
