"""What every benchmark shares: rows with an aim, best-of timing, and the peak memory of a child process."""

from __future__ import annotations

import json
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One measured line: a ratio or a figure, and what it should reach where something is aimed for."""

    name: str
    value: float
    unit: str
    aim: float | None = None
    note: str = ""

    def __str__(self) -> str:
        """Render the row as one aligned line of the benchmark's table."""
        verdict = (
            "" if self.aim is None else f"aim >= {self.aim:g}  {'ok' if self.value >= self.aim else 'MISSED'}"
        )
        return f"{self.name:<52} {self.value:>12,.3f} {self.unit:<10} {verdict:<22} {self.note}"


def best_seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Return the shortest of `repeats` wall-clock times in seconds, after one unmeasured call."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def peak_mib(module: str, *arguments: str) -> float:
    """Run `python -m module arguments...` and return its peak of memory."""
    return figures(module, *arguments)["peak_mib"]


def figures(module: str, *arguments: str) -> dict[str, float]:
    """Run `python -m module arguments...`, whose last stdout line is JSON with `peak_mib` and other figures, and return those.

    A process of its own, because a peak cannot be reset inside one.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments], check=True, capture_output=True, text=True
        )
    except subprocess.CalledProcessError as error:
        error.add_note(error.stderr[-2000:])
        raise
    return {name: float(value) for name, value in json.loads(done.stdout.strip().splitlines()[-1]).items()}


def report_peak(**others: float) -> None:
    """Print this process's peak resident memory, in MiB, and other figures, as the JSON line that `figures` reads."""
    print(json.dumps({"peak_mib": peak(), **others}))


def peak() -> float:
    """Return this process's peak resident memory, in MiB.

    Linux keeps `ru_maxrss` across exec, so a child would report its parent's peak: VmHWM is the process's own.
    """
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes


def cpu() -> str:
    """Return the name of this machine's processor where the system tells it, else its kind."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())
