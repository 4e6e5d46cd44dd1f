"""Pre-training against the bare forward and backward pass, and memory against corpus size; on a GPU: `bench_gpu`."""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import Row, peak_mib, report_peak
from curation_assets.models import span_corruption
from curation_assets.models.t5 import Shape, build, parameter_count
from curation_assets.pretraining.config import RuntimeConfig, TrainConfig
from curation_assets.pretraining.flops import device_flops, training_flops
from curation_assets.pretraining.packing import Shard, TokenStream
from curation_assets.pretraining.trainer import train

VOCABULARY, SENTINEL = 4_096, 4_095
FLUSH = 4  # steps timed together, on both sides
CONFIG = TrainConfig(
    shape=Shape(d_model=96, d_kv=24, d_ff=256, num_layers=2, num_heads=4),
    vocab_size=VOCABULARY,
    tokens=20 * 16 * 141,
    first_sentinel=SENTINEL,
    batch_size=16,
    input_length=128,
    snapshots=(1.0,),
)


def rows() -> Iterable[Row]:
    """Measure. Ratios are of CPU seconds on one thread, taken in turns, so that a busy machine does not blur them."""
    stream = random_stream(2_000)
    note = f"{parameter_count(CONFIG.shape, VOCABULARY) / 1e6:.1f}M parameters, 16 x 141 raw tokens, all cores, wall clock"
    speed = CONFIG.tokens_per_step / _seconds_per_step(stream, time.perf_counter)
    yield Row("training, raw tokens a second", speed, "tokens/s", None, note)
    used = training_flops(CONFIG) / (CONFIG.steps * CONFIG.tokens_per_step) * speed
    share = used / device_flops("cpu", torch.float32)
    yield Row("training, share of the measured GEMM rate", share, "x", None, "small matrices; all cores")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield _training(stream)
    finally:
        torch.set_num_threads(threads)
    yield from _memory()


def random_stream(documents: int, vocabulary: int = VOCABULARY) -> TokenStream:
    """Return documents of 50 to 550 random tokens."""
    rng = np.random.default_rng(0)
    offsets = np.concatenate([[0], rng.integers(50, 550, documents).cumsum()])
    ids = rng.integers(2, vocabulary - 100, offsets[-1]).astype(np.uint16)
    return TokenStream([Shard(ids, offsets, None, span_corruption.mix(0, np.arange(documents)))])


def _training(stream: TokenStream) -> Row:
    model = build(CONFIG.shape, VOCABULARY, 0).train()
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(2, 3_000, (16, 128), generator=generator)
    labels = torch.randint(2, 3_000, (16, 29), generator=generator)

    def bare() -> None:
        for _ in range(FLUSH):
            model.zero_grad(set_to_none=True)
            model(input_ids=inputs, labels=labels, use_cache=False).loss.backward()

    ours, theirs = [], []
    for _ in range(3):
        theirs.append(_cpu_seconds(bare, 4) / FLUSH)
        ours.append(_seconds_per_step(stream, time.process_time))
    note = "the rest is batches, clipping, optimizer and log"
    return Row("training against bare forward and backward", min(theirs) / min(ours), "x", 0.9, note)


def _seconds_per_step(stream: TokenStream, clock: Callable[[], float]) -> float:
    """Return the time of a step inside a real run, set-up and writing of the finished model left out."""
    told: list[tuple[float, float]] = []
    execution = RuntimeConfig(device="cpu", flush_steps=FLUSH)
    with tempfile.TemporaryDirectory() as folder:
        train(
            CONFIG,
            stream,
            folder,
            execution=execution,
            progress=lambda done, *_: told.append((clock(), done)),
        )
    times, tokens = np.array(told[:-1]).T
    return float((np.diff(times) / np.diff(tokens)).min() * CONFIG.tokens_per_step)


def _cpu_seconds(work: Callable[[], object], repeats: int) -> float:
    """Return the least CPU time of one call, after one unmeasured call."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def _memory() -> Iterable[Row]:
    small, large = (peak_mib("benchmarks.bench_training", str(n)) for n in (20_000, 100_000))
    stated = (
        80_000 * (48 + 16) / 2**20
    )  # the stream's 24 bytes a document, twice at most, and the caller's offsets and hashes
    yield Row("peak memory, 20,000 documents", small, "MiB")
    yield Row("peak memory, 100,000 documents", large, "MiB", None, f"arrays that grow: {stated:.1f} MiB")
    yield Row("peak memory, small plus stated arrays against large", (small + stated) / large, "x", 0.97)


def _read_memory_map(documents: int) -> None:
    """Train on a memory map of so many documents and tell the peak, without pages of files: those the system can drop."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ids"
        offsets = np.arange(documents + 1, dtype=np.int64) * 200
        with path.open("wb") as file:
            for _ in range(documents // 1_000):
                file.write(np.full(200_000, 7, np.uint16).tobytes())
        hashes = span_corruption.mix(0, np.arange(documents))
        shard = Shard(np.memmap(path, np.uint16, "r"), offsets, None, hashes)
        train(CONFIG, TokenStream([shard]), Path(folder) / "run", execution=RuntimeConfig(device="cpu"))
        status = Path("/proc/self/status")
        if status.exists():
            kib = dict(re.findall(r"^(VmHWM|RssFile):\s+(\d+) kB", status.read_text(), re.MULTILINE))
            print(json.dumps({"peak_mib": (int(kib["VmHWM"]) - int(kib["RssFile"])) / 1024}))
        else:
            report_peak()


if __name__ == "__main__":
    _read_memory_map(int(sys.argv[1]))
