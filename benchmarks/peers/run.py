"""One side of a comparison in this process: `python -m benchmarks.peers.run MODULE NAME ours|theirs FOLDER ANSWER`."""

from __future__ import annotations

import importlib
import resource
import sys
from pathlib import Path

import numpy as np

from benchmarks.harness import report_peak
from benchmarks.peers.comparison import Comparison


def main(module: str, name: str, side: str, folder: str, answer: str) -> None:
    """Make ready, take the CPU time of the work, keep the answer, and print both figures."""
    comparisons: tuple[Comparison, ...] = importlib.import_module(f"benchmarks.peers.{module}").COMPARISONS
    [comparison] = [one for one in comparisons if one.name == name]
    work = getattr(comparison, side)(Path(folder))
    next(work)
    start = _cpu_seconds()
    made = next(work)
    seconds = _cpu_seconds() - start
    np.save(answer, made)
    report_peak(seconds=seconds)


def _cpu_seconds() -> float:
    """Return the CPU time of this process's threads and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    main(*sys.argv[1:])
