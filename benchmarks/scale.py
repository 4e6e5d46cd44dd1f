"""What looking at the graph costs with 10,000 shards: `python -m benchmarks.scale --shards 10000`."""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from curation_assets.config.profile import load_profile
from curation_assets.engine.driver import bring_up_to_date
from curation_assets.engine.follow import Follow
from curation_assets.engine.forecast import Plan
from curation_assets.engine.planner import targets, wanted_steps
from curation_assets.engine.scope import everything
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import Step
from curation_assets.engine.store import Receipt
from curation_assets.engine.workspace import Workspace
from curation_assets.lineage.plan import planned
from curation_assets.lineage.status import status, to_text


class Making(Versions):
    def __init__(self, workspace, made, shards):
        super().__init__(workspace)
        self.made, self.shards = made, shards
        self.__dict__["listing"] = {s: listed(s) for s in shards}
        self.__dict__["refresh_asked"] = {}

    def receipts(self, key):
        return {at[1]: receipt for at, receipt in self.made.items() if at[0] == key}

    def receipt(self, key, partition):
        return self.made.get((key, partition))

    def partitions(self, by):
        return self.shards if by == "shard" else super().partitions(by)


def listed(shard: str) -> dict[str, Any]:
    return {"url": f"s3://corpus/{shard}", "bytes": 30_000_000, "modified": 1.7e9}


def receipt_of(versions: Making, step: Step, partition: str, created: float) -> Receipt:
    profile, inputs = versions.workspace.profile, versions.inputs(step, partition)
    recipe = step.recipe(profile, inputs, partition)
    documents = 10_000 * (1 if step.by == "shard" else len(versions.shards))
    about: dict[str, Any] = {
        "documents": documents,
        "min": 0.123,
        "mean": 0.456,
        "max": 0.789,
        "percentile_10": 0.2,
        "percentile_90": 0.8,
        "quarantined": 0,
        "validation": 400,
    }
    if step.key == "corpus/shards":
        about = dict(versions.listing[partition])
    version = f"content of {step.key} {partition}" if step.pinned else recipe
    files = {"preview.json": (980, "0" * 64), "scores.parquet": (3607, "1" * 64)}
    return Receipt(
        step.key,
        partition,
        version,
        recipe,
        step.code_version(profile),
        inputs,
        "x",
        files,
        about,
        created,
        0.5,
        "0123456789",
    )


class Fake:
    def __init__(self, workspace: Workspace, shards: list[str]) -> None:
        self.workspace, made = workspace, {}
        self.reads = 0
        versions = Making(workspace, made, shards)
        for number, step in enumerate(wanted_steps(workspace.profile)):
            versions.__init__(workspace, made, shards)
            for p in versions.partitions(step.by):
                made[step.key, p] = receipt_of(versions, step, p, 1e9 + number)
        self.made = made
        self.listing = versions.listing
        self.shards = set(shards)

    def patch(self) -> None:
        w = self.workspace

        def receipt(key, partition=""):
            self.reads += 1
            return self.made.get((key, partition))

        by_key = {}
        for at, r in self.made.items():
            by_key.setdefault(at[0], {})[at[1]] = r
        w.store.receipt = receipt
        w.receipts = lambda key: by_key.get(key, {})
        w.store.present = lambda key: self.shards
        w.attempts.read = lambda key, partition: None
        w.listing = lambda: self.listing
        w.passed_over = lambda: {"files": [], "not_meant_as_data": {}, "alike": []}
        w.store.remove_abandoned = lambda: None


def measure(name: str, work: Callable[[], Any], profiled: bool) -> None:
    profiler = cProfile.Profile()
    start = time.process_time()
    if profiled:
        profiler.enable()
    result = work()
    if profiled:
        profiler.disable()
    print(
        f"{name:<24} {time.process_time() - start:8.2f} CPU s   peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB  {str(result)[:100]}",
        flush=True,
    )
    if profiled:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(22)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=1000)
    parser.add_argument("--profiled", action="store_true")
    parser.add_argument("--looks", default="")
    options = parser.parse_args()
    w = Workspace(load_profile())
    shards = [f"part-{i:05}-of-{options.shards:05}.jsonl" for i in range(options.shards)]
    fake: list[Fake] = []
    measure("state", lambda: fake.append(Fake(w, shards)), False)
    print(len(fake[0].made), "artifacts")
    fake[0].patch()
    scope = everything(w.profile)

    def forecast():
        plan = Plan(w, scope)
        plan.forecast()
        return plan.left(2)

    def current():
        v = Versions(w)
        return sum(len(v.stale(s, targets(w, s))) for s in wanted_steps(w.profile))

    class Nothing:
        slots = 2

        def submit(self, task):
            raise AssertionError(task)

        def receive(self):
            raise AssertionError

    def run():
        made = [s for s in wanted_steps(w.profile) if s.key != "corpus/source"]
        return len(list(bring_up_to_date(w, everything(w.profile, made), Nothing(), checks=False)))

    looks = {
        "current": current,
        "status": lambda: to_text(status(w)),
        "plan": lambda: planned(w),
        "due": lambda: {k: len(v) for k, v in Follow(w).all_due().items()},
        "fingerprint": lambda: Follow(w).fingerprint(),
        "waiting": lambda: Follow(w).waiting(),
        "forecast": forecast,
        "run": run,
    }
    for name in options.looks.split(",") if options.looks else looks:
        fake[0].reads = 0
        measure(name, looks[name], options.profiled)
        print("   receipts read", fake[0].reads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
