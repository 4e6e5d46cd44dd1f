"""A comparison of two ways to one answer, each in a process of its own, on the texts of `material`."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from benchmarks.harness import Row, figures

Side = Callable[[Path], Iterator[np.ndarray]]
"""Of the folder of `material`: a generator that makes ready, yields an empty array, works, and yields the answer.

The time is taken between the two.
"""
Agreement = Callable[[Path, np.ndarray, np.ndarray], str]
"""Of the folder, our answer and the peer's: in words and figures, whether they are the same."""

READY = np.empty(0)
FAISS = "faiss-gpu" if (sys.platform, platform.machine()) == ("linux", "x86_64") else "faiss-cpu"
"""The distribution that this machine has it from."""
_ROUNDS = 2
_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
)


@dataclass(frozen=True)
class Comparison:
    """One row of the table: who the peer is, what both do, and how their answers are compared."""

    peer: str
    package: str
    """The distribution that must be installed; "" where there is none to install."""
    work: str
    ours: Side
    theirs: Side
    agreement: Agreement
    aim: float | None = None

    @property
    def name(self) -> str:
        """Return what the row is called."""
        return f"{self.peer}: {self.work}"

    def installed(self) -> str:
        """Return the peer's version, "" where it is not installed."""
        try:
            return version(self.package) if self.package else "as published"
        except PackageNotFoundError:
            return ""


@dataclass(frozen=True)
class Result:
    """What was measured of a comparison: CPU seconds and peak memory of each, or why there is nothing."""

    comparison: Comparison
    version: str = ""
    ours: tuple[float, float] = (math.nan, math.nan)
    theirs: tuple[float, float] = (math.nan, math.nan)
    agreement: str = ""
    problem: str = ""

    @property
    def ratio(self) -> float:
        """Return how many times as long the peer takes: under 1 it is faster than ours."""
        return self.theirs[0] / self.ours[0]

    def row(self) -> Row:
        """Return the line of `make bench`."""
        if self.problem:
            return Row(self.comparison.name, math.nan, "x", None, self.problem)
        note = f"{self.ours[0]:.2f} s against {self.theirs[0]:.2f}; {self.ours[1]:,.0f} MiB against {self.theirs[1]:,.0f}; "
        return Row(self.comparison.name, self.ratio, "x", self.comparison.aim, note + self.agreement)


def measure(module: str, comparison: Comparison, folder: Path) -> Result:
    """Run both in turns, each time in a process of its own; the least CPU time and the least peak of each count."""
    found = comparison.installed()
    if not found:
        return Result(comparison, problem=f"{comparison.package} is not installed")
    best = {"theirs": (math.inf, math.inf), "ours": (math.inf, math.inf)}
    answers = {}
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(_ROUNDS):
            for side, (seconds, memory) in best.items():
                answer = Path(scratch) / f"{side}.npy"
                arguments = (module, comparison.name, side, str(folder), str(answer))
                try:
                    run = figures("benchmarks.peers.run", *arguments)
                except subprocess.CalledProcessError as error:
                    last = (error.stderr.strip().splitlines() or [f"it ended with {error.returncode}"])[-1]
                    return Result(comparison, found, problem=f"{side} failed: {last}")
                best[side] = min(seconds, run["seconds"]), min(memory, run["peak_mib"])
                answers[side] = np.load(answer)
    agreement = comparison.agreement(folder, answers["ours"], answers["theirs"])
    return Result(comparison, found, best["ours"], best["theirs"], agreement)


@contextmanager
def one_thread() -> Iterator[None]:
    """Have every library of the processes that are started meanwhile compute on one thread; CPU seconds are then steady on a busy machine."""
    before = dict(os.environ)
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"), TOKENIZERS_PARALLELISM="false", HF_HUB_OFFLINE="1")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
