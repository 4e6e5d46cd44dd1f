"""Kill workers, nodes and runs on a Ray cluster of two nodes at random, and look at what came of it.

    python -m benchmarks.cluster_kills --times 20

Runs go on until everything is made; then each artifact is to be there once, with one event of Dagster's, and what was
finished before a kill must not have been made again. A run that ends before all kills have been done is followed by
another one in a fresh data folder.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from benchmarks.bench_embeddings import _texts
from benchmarks.kill import Receipts, again, receipts
from curation_assets.config.profile import Profile, load_profile
from curation_assets.engine.receipt import title
from curation_assets_tests.ray_nodes import ENVIRONMENT, TwoNodes

_PROFILE = """
extends = "local"
name = "killed"
[corpus]
url = "shards"
hq_url = ""
keep_fields = []
[tokenizer]
vocab_size = 800
[pretraining]
tokens = 20_000
[evaluation]
suites = ["perplexity"]
[run]
samplers = ["random", "density", "semdedup"]
[execution]
engine = "ray"
device = "cpu"
[execution.ray]
address = "{address}"
"""


def replace(nodes: TwoNodes, chance: random.Random) -> None:
    """Kill all of a node, and start another one."""
    nodes.remove(chance.choice(nodes.nodes))
    nodes.nodes.append(nodes.add())


def workers() -> list[psutil.Process]:
    """Return the processes of our workers."""
    every = psutil.process_iter(["cmdline"])
    workers = [p for p in every if (p.info["cmdline"] or [""])[0].startswith("ray::RayWorker")]
    return [p for p in workers if _environ(p).get("RAY_AUTH_TOKEN") == ENVIRONMENT["RAY_AUTH_TOKEN"]]


def _environ(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


class Driver:
    """`curation run` in a process of its own."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "curation_assets.cli", "run"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        while self.alive() and not any("---" in line for line in self.lines):
            time.sleep(0.1)

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.lines += self._process.stdout  # a thread: a full pipe would stop it

    def alive(self) -> bool:
        """Tell whether it goes on."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Kill it."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def status(self) -> int:
        """Wait for its end, and return its exit status."""
        return self._process.wait()


def disturbed(
    profile: Profile, nodes: TwoNodes, chance: random.Random, times: int, longest: float
) -> tuple[Counter[str], list[str]]:
    """Run a profile to its end, killing at most `times`; return the kills of each kind, and what was made again."""
    kills: Counter[str] = Counter()
    redone: list[str] = []
    before: Receipts = receipts(profile)
    while True:
        driver = Driver()
        while driver.alive() and kills.total() < times:
            time.sleep(chance.uniform(0.0, longest))
            kind = chance.choice(("worker", "node", "run"))
            at_work = workers()
            if not driver.alive() or (kind == "worker" and not at_work):
                continue
            kills[kind] += 1
            if kind == "worker":
                chance.choice(at_work).kill()
            elif kind == "node":
                replace(nodes, chance)
            else:
                driver.kill()
            now = receipts(profile)
            redone += again(before, now)
            before = now
        status = driver.status()
        now = receipts(profile)
        redone += again(before, now)
        before = now
        if status == 0:
            return kills, redone
        if status > 0:  # a partition whose worker was killed twice has failed: the next run makes it
            print(
                "   a run ended:", *[line.rstrip() for line in driver.lines[-3:]], sep="\n      ", flush=True
            )


def events(profile: Profile, now: Receipts) -> dict[str, int]:
    """Return how many events artifacts have, of those that have not exactly one."""
    import dagster as dg

    from curation_assets.defs.instance import instance_for

    counts = {}
    with instance_for(profile) as instance:
        for (key, partition), receipt in now.items():
            wanted: Any = {"asset_key": dg.AssetKey(key.split("/"))}
            if partition:
                wanted["asset_partitions"] = [partition]
            records = instance.fetch_materializations(dg.AssetRecordsFilter(**wanted), limit=100).records
            tags = [r.asset_materialization.tags or {} for r in records if r.asset_materialization]
            counts[title(key, partition)] = [tag["dagster/data_version"] for tag in tags].count(
                receipt.version
            )
    del counts["corpus/source"]  # every run lists the corpus, and says so
    return {name: count for name, count in counts.items() if count != 1}


def _write(folder: Path, address: str, shards: int) -> None:
    texts = _texts(longest=60)
    (folder / "shards").mkdir()
    for number in range(shards):
        lines = [f'{{"id": "{number}-{i}", "text": "{_plain(next(texts))}"}}' for i in range(40)]
        (folder / "shards" / f"s{number:02}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "killed.toml").write_text(_PROFILE.replace("{address}", address), "utf-8")


def _plain(text: str) -> str:
    return "".join(c for c in text if c.isalnum() or c in " .,") + " and so on"


def main() -> int:
    """Run, kill, and print what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--longest", type=float, default=8.0, help="seconds between two kills, at most")
    parser.add_argument("--shards", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    chance, kills = random.Random(options.seed), Counter[str]()
    bad = 0
    nodes = TwoNodes()
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            _write(folder, nodes.address, options.shards)
            os.environ["CURATION_PROFILE"] = str(folder / "killed.toml")
            round_ = 0
            while kills.total() < options.times:
                round_ += 1
                data = folder / f"data{round_}"
                os.environ |= {"CURATION_DATA": str(data), "DAGSTER_HOME": str(data / "dagster_home")}
                profile = load_profile()
                done, redone = disturbed(
                    profile, nodes, chance, options.times - kills.total(), options.longest
                )
                kills += done
                now = receipts(profile)
                told = events(profile, now)
                bad += len(redone) + len(told)
                print(
                    f"round {round_}: kills {dict(done)}; {len(now)} artifacts; made again: {redone or 0}; not one event each: {told or 0}",
                    flush=True,
                )
    finally:
        nodes.shutdown()
    print(f"{kills.total()} kills: {dict(kills)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
