"""What looking at the whole graph costs with 10,000 shards: a state of which everything is current, and all that people and daemons ask of it.

`python -m benchmarks.scale --shards 10000 --folder FOLDER` lays it out once and measures; `--looks status,tick` measures
some, each in a process of its own; `--postgres` does so with catalog and history on a server of its own, in a folder that is
not there yet; `--profiled` says where the time goes.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import history
from curation_assets.config.profile import Profile, load_profile
from curation_assets.defs.instance import instance_for
from curation_assets.defs.run_graph import register_shards, run_graph
from curation_assets.engine.follow import Follow
from curation_assets.engine.forecast import Plan
from curation_assets.engine.planner import targets, wanted_steps
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.scope import everything
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import Workspace
from curation_assets.lineage import plan, status
from curation_assets_tests.postgres_server import PASSWORD, postgres_server, programs

if TYPE_CHECKING:
    from playwright.sync_api import Page

_PROFILE = """
extends = "local"
name = "scale"
[corpus]
url = "corpus"
hq_url = ""
[execution]
catalog = "{catalog}"
dagster_storage = "{storage}"
workers = 1
"""
_FILES = {"ids.npy": 980, "values.npy": 3_607}
_FIGURES = {"min": 0.1234, "mean": 0.4567, "max": 0.8912, "percentile_10": 0.2345, "percentile_90": 0.7891}
_EACH = 10_000  # documents of a shard


def main() -> int:
    """Lay out, or measure one look, or measure each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir(), "curation-scale"))
    parser.add_argument("--postgres", action="store_true", help="with a server of its own")
    parser.add_argument("--catalog", default="", help="URL of the catalog; empty for SQLite in the folder")
    parser.add_argument(
        "--storage", default="", help="URL of Dagster's storage; empty for SQLite in the folder"
    )
    parser.add_argument("--looks", default=",".join(LOOKS))
    parser.add_argument("--profiled", action="store_true")
    parser.add_argument("--here", action="store_true", help="measure in this process")
    options = parser.parse_args()
    if options.here:
        profile = _profile(options)
        for name in options.looks.split(","):
            _measure(name, lambda name=name: LOOKS[name](profile), options.profiled)
        return 0
    with ExitStack() as stack:
        if options.postgres:
            server = stack.enter_context(postgres_server(programs() or Path("/usr/bin")))
            os.environ["PGPASSWORD"] = PASSWORD
            options.catalog = server.url(server.database())
            options.storage = server.url(server.database(), "postgresql")
        _lay_out(_profile(options), options.folder)
        for name in options.looks.split(","):
            chosen = ["--here", "--looks", name, "--catalog", options.catalog, "--storage", options.storage]
            subprocess.run([sys.executable, *sys.argv, *chosen], check=True)
    return 0


def _profile(options: argparse.Namespace) -> Profile:
    folder, shards = options.folder.resolve(), options.shards
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number in range(len([*corpus.iterdir()]), shards):
        (corpus / f"part-{number:05}.jsonl").write_text(f'{{"id": "{number}", "text": "A text."}}\n', "utf-8")
    (folder / "scale.toml").write_text(
        _PROFILE.format(catalog=options.catalog, storage=options.storage), "utf-8"
    )
    os.environ |= {
        "CURATION_PROFILE": str(folder / "scale.toml"),
        "CURATION_DATA": str(folder / "data"),
        "DAGSTER_HOME": str(folder / "data" / "dagster_home"),
    }
    return load_profile()


# The state


class _Making(Versions):
    """The versions of what is being laid out."""

    def put(self, step: Step, partition: str, created: float) -> Receipt:
        """Put the artifact there that would be made now."""
        inputs = self.inputs(step, partition)
        recipe = self.recipe(step, partition)
        about: dict[str, Any] = {
            "documents": _EACH * (1 if step.by == "shard" else len(self.listing)),
            **_FIGURES,
        }
        if step.key == "corpus/shards":
            about = dict(self.listing[partition])
        version = f"{abs(hash((step.key, partition))):020x}" if step.pinned else recipe
        place = self.workspace.store.place(step.key, partition)
        files = {name: (size, "0" * 64) for name, size in _FILES.items()}
        receipt = Receipt(
            *(step.key, partition, version, recipe, step.code_version(self.profile), inputs),
            *(f"{place}/{version}-0", files if step.by != "" or step.trains else {}, about, created, 0.5),
            "0" * 36,
        )
        self._receipts.setdefault(step.key, {})[partition] = receipt
        return receipt


def _lay_out(profile: Profile, folder: Path) -> None:
    """Lay a state out in which everything is current, if it is not there."""
    if (folder / "laid-out").exists():
        return
    _measure("register", lambda: register_shards(profile, lambda line: None), False)
    workspace = Workspace(profile)
    versions, receipts = _Making(workspace), list[Receipt]()
    started = time.time()
    for number, step in enumerate(wanted_steps(profile)):
        if step.key == "corpus/source":
            continue
        versions._receipts[step.key] = {}
        for partition in targets(versions, step):
            receipts.append(versions.put(step, partition, started + number))
    for receipt in receipts:
        where = Path(workspace.store.path(receipt))
        where.mkdir(parents=True)
        for name, (size, _) in receipt.files.items():
            with (where / name).open("wb") as file:
                file.truncate(size)
    for key in {receipt.key for receipt in receipts}:
        workspace.catalog.rebuild(key, [(receipt, True) for receipt in receipts if receipt.key == key])
    with instance_for(profile) as instance:
        history.write(instance, receipts)
    (folder / "laid-out").touch()
    print(f"laid out: {len(receipts):,} artifacts in {time.time() - started:.0f} s", flush=True)


# The looks


def _current(profile: Profile) -> str:
    versions = Versions(Workspace(profile))
    steps = wanted_steps(profile)
    return f"{sum(len(versions.stale(s, targets(versions, s))) for s in steps)} stale"


def _due(profile: Profile) -> str:
    follow = Follow(Workspace(profile))
    return f"due {follow.all_due()}, waiting {follow.waiting()}"


def _forecast(profile: Profile) -> str:
    workspace = Workspace(profile)
    forecast = Plan(workspace, everything(profile))
    forecast.forecast(Follow(workspace))
    return forecast.left(2)


def _run(profile: Profile) -> str:
    outcome = run_graph(profile, lambda line: None)
    return f"{outcome.made} made, {outcome.current:,} current, {outcome.failed}"


def _tick(profile: Profile) -> str:
    import dagster as dg

    from curation_assets.defs import sensors

    with dg.DagsterInstance.get() as instance:
        ticks = {}
        for name in ("first", "idle", "after an event"):
            if name == "after an event":
                instance.report_runless_asset_event(dg.AssetMaterialization("something"))
            started = time.process_time()
            result = sensors._tick(instance, Workspace(profile), sensors._Cursor())
            assert result.skip_reason and "as listed before" in str(result.skip_reason)
            ticks[name] = time.process_time() - started
    return ", ".join(f"{name} {seconds:.2f} s" for name, seconds in ticks.items())


def _ui(profile: Profile) -> str:
    """Load the graph's page and that of a step with a partition for each shard, twice; the seconds until all is there."""
    from playwright.sync_api import sync_playwright

    from curation_assets_tests.browser.serving import launch, served

    seconds = []
    with (
        served(profile.data / "ui.log", os.environ) as url,
        sync_playwright() as playwright,
        launch(playwright) as browser,
    ):
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(300_000)
        for _ in range(2):
            seconds.append(_loaded(page, f"{url}/asset-groups", "ask_llm"))
            seconds.append(_loaded(page, f"{url}/assets/density/scores?view=partitions", "Materialized ("))
        page.screenshot(path=profile.data / "ui.png")
    return "graph {:.1f} s, partitions {:.1f} s; again {:.1f} s and {:.1f} s".format(*seconds)


def _loaded(page: Page, address: str, text: str) -> float:
    started = time.perf_counter()
    page.goto(address)
    page.get_by_text(text).first.wait_for()
    page.wait_for_load_state("networkidle")
    return time.perf_counter() - started


LOOKS: dict[str, Callable[[Profile], str]] = {
    "current": _current,
    "due": _due,
    "status": lambda profile: status.to_text(status.status(Workspace(profile))).splitlines()[0],
    "plan": lambda profile: plan.to_text(plan.planned(Workspace(profile))),
    "forecast": _forecast,
    "run": _run,
    "tick": _tick,
    "ui": _ui,
}


def _measure(name: str, look: Callable[[], Any], profiled: bool) -> None:
    profiler = cProfile.Profile()
    before, wall = os.times(), time.perf_counter()
    result = profiler.runcall(look) if profiled else look()
    after, wall = os.times(), time.perf_counter() - wall
    # The system's share is looking at files: ten times as much where it does not have them in memory.
    user, system = after.user - before.user, after.system - before.system
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cpu = f"{user + system:7.2f} s of CPU ({system:.2f} the system's)"
    print(f"{name:<10} {cpu} {wall:7.2f} s {peak:6.0f} MiB  {str(result)[:160]}", flush=True)
    if profiled:
        pstats.Stats(profiler).sort_stats(os.environ.get("SORT", "tottime")).print_stats(25)


if __name__ == "__main__":
    sys.exit(main())
