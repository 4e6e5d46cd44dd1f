"""Kill `curation run` at random instants and start it again: `python -m benchmarks.kill --times 100`.

The run scores, selects, trains and evaluates on a small real corpus. After each kill every artifact must be whole, and
what was finished must not be made again; at the end all of them must have the bytes of a run that nobody disturbed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from curation_assets.config.profile import Profile, load_profile
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import targets, wanted_steps
from curation_assets.engine.store import PREVIEW, Receipt
from curation_assets.engine.workspace import Workspace

_COMMAND = [sys.executable, "-m", "curation_assets.cli", "run"]
_CORPUS = """
extends = "local"
name = "killed"
[corpus.builtin]
shards = 5
[corpus.builtin.documents]
docstring = 200
readme = 60
license = 20
changelog = 10
docs = 20
wikipedia = 100
[judge]
documents = 12
[pretraining]
tokens = 40_000
resume_seconds = 2.0
[run]
samplers = ["random", "density", "semdedup", "perplexity_large_20k", "ask_llm_small"]
"""
_HISTORY = (PREVIEW, "training.json")  # the latter says where training was resumed
_OF_A_FOLDER = (
    "corpus/source",
    "corpus/shards",
    "report/tradeoff",
    "report/page",
)  # they name files of the folder, or show seconds
Receipts = dict[tuple[str, str], Receipt]


@dataclass
class Found:
    """What came of it: kills that hit, finished artifacts that were made anew, attempts left over, artifacts at the end."""

    kills: int
    redone: list[str]
    leftovers: list[str]
    artifacts: int


def receipts(profile: Profile) -> Receipts:
    """Return the receipts of all artifacts that the profile asks for; DamagedArtifact where bytes do not match one."""
    workspace, found = Workspace(profile), {}
    for step in wanted_steps(profile):
        for partition in targets(workspace, step):
            receipt = workspace.receipt(step.key, partition)
            if receipt is not None:
                workspace.open(step.key, partition)
                found[step.key, partition] = receipt
    return found


def disturbed(
    profile: Profile, environment: Mapping[str, str], times: int, longest: float, seed: int
) -> Found:
    """Run the profile, killing it `times` times after at most `longest` seconds of work each, and then to its end."""
    chance = random.Random(seed)
    before: Receipts = receipts(profile)
    redone: list[str] = []
    kills = 0
    for _ in range(times):
        process = subprocess.Popen(
            _COMMAND, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        while (line := process.stdout.readline()) and b"---" not in line:
            pass  # it imports what it needs
        try:
            process.communicate(timeout=chance.uniform(0.0, longest))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
            process.communicate()
        time.sleep(0.2)  # its workers end with it
        now = receipts(profile)
        redone += again(before, now)
        before = now
    subprocess.run(_COMMAND, env=dict(environment), check=True, stdout=subprocess.DEVNULL)
    now = receipts(profile)
    left = [f"{key}[{partition}]" for key, partition in Workspace(profile).catalog.attempts()]
    return Found(kills, redone + again(before, now), left, len(now))


def again(before: Receipts, now: Receipts) -> list[str]:
    """Name what was finished and has been made again; the listing is always looked at again."""
    return [
        f"{key}[{partition}]"
        for (key, partition), receipt in before.items()
        if key != "corpus/source" and now.get((key, partition)) != receipt and not STEPS[key].partial
    ]


def differences(one: Receipts, other: Receipts) -> Iterator[str]:
    """Name the artifacts of two data folders that differ in any byte but those of previews and of how training went on."""
    for at in sorted(one.keys() | other.keys()):
        if at[0] in _OF_A_FOLDER:
            continue
        files = [
            {n: d for n, d in r.files.items() if n not in _HISTORY} if r else None
            for r in (one.get(at), other.get(at))
        ]
        if files[0] != files[1]:
            names = [n for n in (files[0] or {}) if (files[1] or {}).get(n) != (files[0] or {})[n]]
            yield f"{at[0]}[{at[1]}]: {', '.join(names) or 'missing'}"


def main() -> int:
    """Run both, compare, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--longest", type=float, default=25.0, help="seconds of work until a kill, at most")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "killed.toml")
        path.write_text(_CORPUS, "utf-8")
        all_receipts = []
        for name in ("undisturbed", "killed"):
            data = Path(folder, name)
            told = {
                "CURATION_PROFILE": str(path),
                "CURATION_DATA": str(data),
                "DAGSTER_HOME": str(data / "dagster_home"),
            }
            environment = {**os.environ, **told}
            os.environ.update(told)
            profile = load_profile()
            if name == "undisturbed":
                started = time.monotonic()
                subprocess.run(_COMMAND, env=environment, check=True, stdout=subprocess.DEVNULL)
                print(f"undisturbed: {time.monotonic() - started:.0f} s", flush=True)
            else:
                found = disturbed(profile, environment, options.times, options.longest, options.seed)
            all_receipts.append(receipts(profile))
        different = list(differences(*all_receipts))
    print(f"{found.kills} kills, {found.artifacts} artifacts")
    for title, lines in (
        ("made again", found.redone),
        ("left over", found.leftovers),
        ("different", different),
    ):
        print(f"{title}: {len(lines)}", *lines[:20], sep="\n  ")
    return 1 if found.redone or different or found.leftovers else 0


if __name__ == "__main__":
    sys.exit(main())
