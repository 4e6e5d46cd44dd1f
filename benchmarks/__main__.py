"""`make bench`: run every benchmark module, or those named, and print one table of ratios measured in this run."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys

import benchmarks


def main(names: list[str]) -> None:
    """Import each `benchmarks.bench_*` module and print the rows that its `rows()` returns."""
    found = sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name.startswith("bench_"))
    chosen = [f"bench_{n.removeprefix('bench_')}" for n in names] or found
    print(
        f"{os.cpu_count()} cores; ratios are taken inside one run, so they hold on other machines better than times do"
    )
    for name in chosen:
        print(f"\n{name.removeprefix('bench_')}")
        for row in importlib.import_module(f"benchmarks.{name}").rows():
            print(f"  {row}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
