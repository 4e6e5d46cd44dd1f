"""Workers: what it costs to have 40 shards embedded by processes of this machine, or by a Ray cluster of it, instead of by one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import psutil

from benchmarks.bench_embeddings import _texts
from benchmarks.harness import Row

_SHARDS, _DOCUMENTS = 40, 48
_STEP = "corpus/embeddings"
_PROFILE = """
extends = "local"
name = "shards"
[corpus]
url = "shards"
hq_url = ""
id_field = ""
keep_fields = []
[execution]
device = "cpu"
engine = "{engine}"
workers = {workers}
"""
_ENGINES = {"one process": ("local", 1), "local, 2 workers": ("local", 2), "Ray, 2 workers": ("ray", 2)}


def rows() -> Iterable[Row]:
    """Yield the processor time of each, everything that was started for it included, as a share of one process's."""
    alone = 0.0
    for name, (engine, workers) in _ENGINES.items():
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder), engine, workers)
            environment = os.environ | {
                "CURATION_PROFILE": f"{folder}/shards.toml",
                "CURATION_DATA": f"{folder}/data",
                "OMP_NUM_THREADS": "1",
            }
            done = subprocess.run(
                [sys.executable, "-m", __name__], env=environment, check=True, capture_output=True, text=True
            )
        used = json.loads(done.stdout.strip().splitlines()[-1])
        alone = alone or used["cpu"]
        note = f"{used['cpu']:.1f} CPU s, {used['seconds']:.1f} s; {_SHARDS} shards of {_DOCUMENTS} documents, all that was started included"
        yield Row(f"processor time, {name}", used["cpu"] / alone, "of one", note=note)


def _write(folder: Path, engine: str, workers: int) -> None:
    texts = _texts(longest=150)
    (folder / "shards").mkdir()
    for number in range(_SHARDS):
        lines = [json.dumps({"text": text}) for text in islice(texts, _DOCUMENTS)]
        (folder / "shards" / f"s{number:02}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    profile = _PROFILE.replace("{engine}", engine).replace("{workers}", str(workers))
    (folder / "shards.toml").write_text(profile, "utf-8")


def _embed() -> None:
    """Read the corpus here, embed it as the profile says, and print what the latter took."""
    from curation_assets.config.profile import load_profile
    from curation_assets.defs.materializing import PRODUCTS, executor_for
    from curation_assets.engine.driver import bring_up_to_date
    from curation_assets.engine.executors.inline import InlineExecutor
    from curation_assets.engine.graph import STEPS
    from curation_assets.engine.scope import everything
    from curation_assets.engine.workspace import Workspace

    workspace = Workspace(load_profile())
    before = ["corpus/source", "corpus/shards", "corpus/documents"]
    with InlineExecutor(workspace, PRODUCTS, str) as inline:
        list(
            bring_up_to_date(workspace, everything(workspace.profile, [STEPS[key] for key in before]), inline)
        )
    spent, started = _processor_time(), time.perf_counter()
    with executor_for(workspace, str) as executor:
        scope = everything(workspace.profile, [STEPS[_STEP]])
        list(bring_up_to_date(workspace, scope, executor, checks=False))
        made = len(workspace.receipts(_STEP))
        assert made == _SHARDS, f"{made} were made"
        print(json.dumps({"cpu": _processor_time() - spent, "seconds": time.perf_counter() - started}))


def _processor_time() -> float:
    """Return the seconds of all processes that were started for this run, and of this one."""
    total = 0.0
    for process in psutil.process_iter(["environ", "cpu_times"]):
        if (process.info["environ"] or {}).get("CURATION_DATA") == os.environ["CURATION_DATA"]:
            total += sum(process.info["cpu_times"][:2])
    return total


if __name__ == "__main__":
    _embed()
