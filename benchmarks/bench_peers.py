"""What users would pick instead, on the same texts and machine: `make bench ONLY=peers`, or some of them and the table in README.md:

    python -m benchmarks.bench_peers semhash datatrove --markdown

Each side runs in a process of its own, ours and theirs in turns, every library on one thread. A ratio is the peer's CPU time
divided by ours: under 1 the peer is faster.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import benchmarks.peers
from benchmarks.harness import Row, cpu
from benchmarks.peers.comparison import Comparison, Result, measure, one_thread

README = Path(__file__).with_name("README.md")
_BEGIN, _END = (
    "<!-- peers: written by `python -m benchmarks.bench_peers --markdown` -->",
    "<!-- peers: end -->",
)


def main() -> None:
    """Measure, print each row as it comes, and with --markdown put the table into benchmarks/README.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("peers", nargs="*", help="default: all of " + ", ".join(sorted(_by_peer())))
    parser.add_argument("--markdown", action="store_true", help=f"write the table into {README.name}")
    options = parser.parse_args()
    if unknown := set(options.peers) - set(_by_peer()):
        parser.error(f"there is no peer {', '.join(sorted(unknown))}: choose from {', '.join(_by_peer())}")
    results = []
    for result in compared(options.peers):
        print(result.row(), flush=True)
        results.append(result)
        if options.markdown:  # after each row: all of them take a while
            before, _, rest = README.read_text("utf-8").partition(_BEGIN)
            after = rest.partition(_END)[2]
            README.write_text(f"{before}{_BEGIN}\n\n{table(results)}\n\n{_END}{after}", "utf-8")


def rows() -> Iterator[Row]:
    """Yield a row for each comparison."""
    for result in compared(()):
        yield result.row()


def compared(peers: Sequence[str]) -> Iterator[Result]:
    """Make the texts once, and yield the result of each comparison with these peers, or all."""
    with one_thread(), tempfile.TemporaryDirectory() as name:
        command = [sys.executable, "-m", "benchmarks.peers.material", name]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for module, comparison in _comparisons():
            if not peers or comparison.peer in peers:
                yield measure(module, comparison, Path(name))


def _comparisons() -> Iterator[tuple[str, Comparison]]:
    for found in pkgutil.iter_modules(benchmarks.peers.__path__):
        module = importlib.import_module(f"benchmarks.peers.{found.name}")
        for comparison in getattr(module, "COMPARISONS", ()):
            yield found.name, comparison


def _by_peer() -> dict[str, list[Comparison]]:
    peers: dict[str, list[Comparison]] = {}
    for _, comparison in _comparisons():
        peers.setdefault(comparison.peer, []).append(comparison)
    return peers


def table(results: Sequence[Result]) -> str:
    """Return the results in Markdown, with the machine that they are from."""
    measured = [
        {
            "peer": f"{result.comparison.peer} {result.version}".strip(),
            "work": result.comparison.work,
            "its CPU time over ours": _speed(result),
            "CPU s, ours and its": "" if result.problem else f"{result.ours[0]:.2f}, {result.theirs[0]:.2f}",
            "peak MiB, ours and its": ""
            if result.problem
            else f"{result.ours[1]:,.0f}, {result.theirs[1]:,.0f}",
            "the same answer?": result.problem or result.agreement,
        }
        for result in results
    ]
    lines = [[*measured[0]], ["---"] * len(measured[0]), *([*cells.values()] for cells in measured)]
    return "\n".join([_machine(), "", *(f"| {' | '.join(line)} |" for line in lines)])


def _speed(result: Result) -> str:
    if result.problem:
        return "not measured"
    return f"{result.ratio:.2f}" + (" (slower than the peer)" if result.ratio < 1 else "")


def _machine() -> str:
    load = os.getloadavg()[0]
    python = platform.python_version()
    return f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores of {cpu()}, a load of {load:.0f} at the end, Python {python}."


if __name__ == "__main__":
    main()
