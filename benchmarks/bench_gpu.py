"""What one GPU does, in eight minutes and without a download: `make bench ONLY=gpu`.

Scorers, trainer and kernels at the paper's shapes with random weights, each as a share of the matrix rate that this card was seen to have,
and the whole graph once. A row is a process of its own: what fails or hangs is a row that says so. The record is written after each row.

    python -m benchmarks.bench_gpu --device cpu --shapes tiny      the same way, in little, without a GPU
    python -m benchmarks.bench_gpu --table gpu.json                the docs' table of a record
    python -m benchmarks.bench_gpu --estimate                      what the paper's figures would cost
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_estimate import estimate, markdown
from benchmarks.gpu_rows import ROWS, SIZES, Measured
from benchmarks.harness import Row
from curation_assets.common.files import write_json

BUDGET = 480.0  # seconds of the whole benchmark
_LEAST = 15.0  # seconds of a row that is worth starting
RECORD = Path("data/bench-gpu.json")
Run = Callable[[str, str, str, float, float], Measured]
"""Measures a row, given its name, device, shapes, the card's rate and the seconds that it may take; raises RuntimeError with the reason."""


def rows() -> Iterable[Row]:
    """Measure on the first GPU, one line for each row as it ends; where there is none, say so."""
    if not torch.cuda.is_available():
        yield Row("all of it", math.nan, "", note="not run: torch sees no GPU here")
        return
    for name, row in record("cuda", "real", RECORD):
        title, _, aim, _ = ROWS[name]
        if "error" in row:
            yield Row(title, math.nan, "", aim, row["error"])
        elif "share" in row:
            yield Row(
                title, row["share"], "of GEMM", aim, f"{row['value']:,.0f} {row['unit']}; {row['note']}"
            )
        else:
            yield Row(title, row["value"], row["unit"], aim, row["note"])
    print(f"  written to {RECORD}: python -m benchmarks.bench_gpu --table {RECORD}")


def record(
    device: str,
    shapes: str,
    path: Path,
    *,
    names: Sequence[str] = tuple(ROWS),
    budget: float = BUDGET,
    run: Run | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure rows one by one and yield each as it ends, having written all so far to `path`."""
    begun, rate, run = clock(), 0.0, run or in_a_process
    written: dict[str, Any] = {
        **machine(device),
        "shapes": shapes,
        "begun": datetime.now(UTC).isoformat(),
        "rows": {},
    }
    for number, name in enumerate(names, 1):
        left = budget - (clock() - begun)
        title, most, _, _ = ROWS[name]
        print(
            f"  [{number}/{len(names)}] {title}: {left:.0f} s left of {budget:.0f}",
            file=sys.stderr,
            flush=True,
        )
        row: dict[str, Any] = {"title": title}
        if left < _LEAST:
            row["error"] = f"not run: the {budget:.0f} s of the whole were over"
        else:
            start = clock()
            try:
                row |= run(name, device, shapes, rate, min(most, left))
            except RuntimeError as error:
                row["error"] = str(error)
            row["wall_s"] = round(clock() - start, 1)
        if name == "gemm":
            rate = row.get("flops", 0.0)
        elif rate and "flops" in row:
            row["share"] = row["flops"] / rate
        written["rows"][name] = row
        write_json(path, written)
        yield name, row


def in_a_process(name: str, device: str, shapes: str, rate: float, seconds: float) -> Measured:
    """Measure a row in a process of its own, which is killed when its time is over."""
    command = [sys.executable, "-m", "benchmarks.gpu_rows", name, "--device", device, "--shapes", shapes]
    process = subprocess.Popen(
        [*command, "--rate", str(rate)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        told, failed = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"it took more than {seconds:.0f} s") from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and what it has started
        process.wait()
    if process.returncode:
        last = (failed.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"ended with code {process.returncode}: {last[:300]}")
    measured: Measured = json.loads(told.strip().splitlines()[-1])
    return measured


def machine(device: str) -> dict[str, Any]:
    """Return what a record says of where it was made."""
    name = platform.machine()
    if torch.device(device).type == "cuda":
        card = torch.cuda.get_device_properties(device)
        name = f"{card.name}, {card.total_memory / 2**30:.0f} GiB"
    return {"device": name, "torch": torch.__version__, "cuda": torch.version.cuda}


def table(written: dict[str, Any]) -> str:
    """Return a record as Markdown: what was measured, and where the time went."""
    done = [(ROWS[name], written["rows"][name]) for name in ROWS if name in written["rows"]]
    measured, times = [], []
    for (title, _, aim, _), row in done:
        wanted = "" if aim is None else f"{aim:.0%}"
        if "error" in row:
            measured.append([title, "", "", wanted, row["error"]])
            continue
        speed = f"{row['value']:,.{0 if row['value'] >= 100 else 1}f} {row['unit']}"
        share = f"{row['share']:.1%}" if "share" in row else ""
        share += f", {row['own_gemm']:.0%} of its own" if "own_gemm" in row else ""
        measured.append([title, speed, share, wanted, row["note"]])
        if "top" in row:
            top = ", ".join(f"`{op}` {part:.0%}" for op, part in row["top"])
            memory = f"{row['peak_gib']:.1f} GiB" if row["peak_gib"] else ""
            times.append([title, f"{min(row['busy'], 1):.0%}", memory, top])
    about = f"{written['device']}, torch {written['torch']}, CUDA {written['cuda']}, {written['begun'][:10]}, {written['shapes']} shapes"
    parts = [about, markdown(["", "speed", "of GEMM", "aim", "note"], measured)]
    if times:
        parts.append(markdown(["", "card busy", "peak", "where the time goes"], times))
    return "\n\n".join(parts)


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shapes", choices=SIZES, default="real")
    parser.add_argument("--output", type=Path, default=RECORD, help=f"where the record is written ({RECORD})")
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds of the whole")
    parser.add_argument(
        "--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help=", ".join(ROWS)
    )
    parser.add_argument("--table", type=Path, metavar="JSON", help="print a record as Markdown")
    parser.add_argument(
        "--estimate", action="store_true", help="print what the paper's figures would cost, as Markdown"
    )
    chosen = parser.parse_args()
    if chosen.estimate:
        print(estimate())
    elif chosen.table:
        print(table(json.loads(chosen.table.read_text())))
    else:
        done = dict(
            record(chosen.device, chosen.shapes, chosen.output, names=chosen.only, budget=chosen.budget)
        )
        print(table(json.loads(chosen.output.read_text())))
        sys.exit(any("error" in row for row in done.values()))


if __name__ == "__main__":
    main()
