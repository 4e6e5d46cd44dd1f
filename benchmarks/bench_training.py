"""Pre-training against the bare forward and backward pass, memory against corpus size, and on a GPU the paper's own sizes.

The GPU part trains T5 v1.1 on random tokens as `trainer.train` does, in a process of its own for each row: some 5 minutes, most of
it torch.compile.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import Row, peak_mib, report_peak
from curation_assets.models import span_corruption
from curation_assets.models.t5 import V1_1, Shape, build, parameter_count
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
    stream = _stream(2_000)
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
    yield from _gpu()


def _stream(documents: int, vocabulary: int = VOCABULARY) -> TokenStream:
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


A100_SECONDS, A100_PEAK = (
    0.56,
    312e12,
)  # nanoT5's README: a step of T5-Base in bf16, compiled; NVIDIA's data sheet
PEAKS = {"A100": A100_PEAK, "H100": 989e12, "H200": 989e12}  # dense bf16 of the SXM boards, data sheets


def _gpu() -> Iterable[Row]:
    if not torch.cuda.is_available():
        yield Row("training on a GPU", math.nan, "", None, "not run: there is no GPU here")
        return
    for compiled in (False, True):
        found = _on_gpu("base", 128, compiled)
        how = "compiled" if compiled else "not compiled"
        about = f"128 x 512 inputs and 114 targets, micro-batch {found['micro']:.0f}"
        yield Row(f"T5-Base on a GPU, {how}, seconds a step", found["seconds"], "s", None, about)
        yield Row(f"T5-Base on a GPU, {how}, share of GEMM rate", found["share"], "x")
    peak = next((peak for name, peak in PEAKS.items() if name in torch.cuda.get_device_name()), None)
    basis = "data sheets" if peak else "its measured GEMM rate"
    wanted = A100_SECONDS * A100_PEAK / (peak or found["rate"])
    note = f"{wanted:.3f} s here: {A100_SECONDS} s on an A100, scaled by {basis}"
    yield Row("T5-Base on a GPU, nanoT5's step against ours", wanted / found["seconds"], "x", 1.0, note)
    large = _on_gpu("large", 128, True)
    about = f"{large['seconds']:.3f} s a step, micro-batch {large['micro']:.0f}"
    yield Row("T5-Large on a GPU, compiled, share of GEMM rate", large["share"], "x", 0.45, about)


def _on_gpu(size: str, batch: int, compiled: bool) -> dict[str, float]:
    """Train in a process of its own, with the largest micro-batch that fits."""
    micro = batch
    while micro:
        command = [sys.executable, "-m", "benchmarks.bench_training", size, str(micro), str(int(compiled))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return {"micro": micro, **json.loads(done.stdout.strip().splitlines()[-1])}
        if "OutOfMemoryError" not in done.stderr:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
        micro //= 2
    raise RuntimeError(f"T5-{size} does not fit on this GPU")


def _train_on_gpu(size: str, micro: int, compiled: bool) -> None:
    """Train 24 steps and print seconds a step (the median after a third of them), the GEMM rate and the share of it."""
    config = TrainConfig(
        V1_1[size], 32_128, tokens=24 * 128 * 568, batch_size=128, snapshots=(1.0,), precision="bfloat16"
    )
    execution = RuntimeConfig(device="cuda", micro_batch_size=micro, compile=compiled, flush_steps=2)
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        train(
            config,
            _stream(4_000, 32_128),
            folder,
            execution=execution,
            progress=lambda *_: times.append(time.perf_counter()),
        )
    seconds = float(np.median(np.diff(times)[4:])) / execution.flush_steps
    rate = device_flops("cuda", torch.bfloat16)
    share = training_flops(config) / config.steps / seconds / rate
    print(json.dumps({"seconds": seconds, "rate": rate, "share": share}))


if __name__ == "__main__":
    if sys.argv[1] in V1_1:
        _train_on_gpu(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1")
    else:
        _read_memory_map(int(sys.argv[1]))
