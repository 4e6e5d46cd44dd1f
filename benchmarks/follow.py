"""A document is appended under a real `curation ui`: how long until the last subset is there, in how many runs; what idling costs.

`python -m benchmarks.follow` (4 samplers; `--samplers all` for all), `--idle SECONDS` for what the UI's processes take meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psutil

from curation_assets.config.profile import load_profile
from curation_assets.config.registry import RATES, SAMPLERS
from curation_assets.corpus.demo import build as demo
from curation_assets.engine.workspace import Workspace

_FILES, _EACH = 6, 100
_FEW = ["random", "density", "semdedup", "prototypes"]
_PROFILE = """
extends = "local"
name = "follow"
[corpus]
url = "shards"
hq_url = ""
[judge]
documents = 12
[pretraining]
tokens = 20_000
[run]
samplers = {samplers}
[automation]
interval_seconds = {interval}
settle_seconds = 1.0
"""
_COMMAND = [sys.executable, "-m", "curation_assets.cli"]
_PATIENCE = 900.0


def main() -> int:
    """Set up, change, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samplers", choices=("few", "all"), default="few")
    parser.add_argument("--idle", type=float, default=0.0, help="seconds to watch the idle UI for")
    parser.add_argument("--interval", type=int, default=5, help="automation.interval_seconds")
    parser.add_argument("--port", type=int, default=3411)
    parser.add_argument("--keep", type=Path, help="folder to work in, kept afterwards and used again")
    options = parser.parse_args()
    samplers = _FEW if options.samplers == "few" else list(SAMPLERS)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        _set_up(folder, samplers, options.interval)
        with _ui(options.port):
            _settled(samplers)
            if options.idle:
                _idle(options.idle)
            _change(folder, samplers)
    return 0


def _set_up(folder: Path, samplers: list[str], interval: int) -> None:
    texts = folder / "built"
    if not texts.exists():
        demo.build(texts)
        lines = [
            line
            for path in sorted((texts / "shards").iterdir())
            for line in path.read_text("utf-8").splitlines()
        ]
        (folder / "shards").mkdir()
        for number in range(_FILES):
            part = "\n".join(lines[number : _FILES * _EACH : _FILES]) + "\n"
            (folder / "shards" / f"s{number}.jsonl").write_text(part, "utf-8")
    (folder / "follow.toml").write_text(
        _PROFILE.format(samplers=json.dumps(samplers), interval=interval), "utf-8"
    )
    for name, value in {"PROFILE": "follow.toml", "DATA": "data"}.items():
        os.environ[f"CURATION_{name}"] = str(folder / value)
    os.environ["DAGSTER_HOME"] = str(folder / "data" / "dagster_home")
    started = time.monotonic()
    subprocess.run([*_COMMAND, "run"], check=True, stdout=subprocess.DEVNULL)
    print(f"curation run before: {time.monotonic() - started:.0f} s", flush=True)


@contextmanager
def _ui(port: int) -> Iterator[None]:
    process = subprocess.Popen([*_COMMAND, "ui", "--port", str(port)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        while not (line := process.stdout.readline()).startswith("UI:"):
            assert line, "the UI did not start"
        yield
    finally:
        process.terminate()
        process.wait()


def _runs(instance: dg.DagsterInstance, since: float) -> list[dg.RunRecord]:
    records = instance.get_run_records()
    return sorted(
        (record for record in records if record.create_timestamp.timestamp() > since),
        key=lambda record: record.create_timestamp,
    )


def _settled(samplers: list[str]) -> None:
    """Wait until the automation has looked and nothing goes on."""
    time.sleep(20)
    with dg.DagsterInstance.get() as instance:
        end = time.monotonic() + _PATIENCE
        while any(not record.dagster_run.is_finished for record in _runs(instance, 0)):
            assert time.monotonic() < end, "it does not settle"
            time.sleep(1)


def _idle(seconds: float) -> None:
    """Print what the processes below this one take while nothing happens."""

    def all_below() -> dict[int, psutil.Process]:
        return {process.pid: process for process in psutil.Process().children(recursive=True)}

    def cpu(process: psutil.Process) -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    before = {pid: cpu(process) for pid, process in all_below().items()}
    time.sleep(seconds)
    total = memory = 0.0
    for pid, process in all_below().items():
        spent, rss = cpu(process) - before.get(pid, 0.0), process.memory_info().rss / 1e6
        total, memory = total + spent, memory + rss
        print(f"  {spent:6.1f} s  {rss:5.0f} MB  {' '.join(process.cmdline()[1:5])[:90]}")
    print(
        f"idle for {seconds:.0f} s: {total:.1f} s of CPU, {memory:.0f} MB in {len(before)} processes",
        flush=True,
    )


def _change(folder: Path, samplers: list[str]) -> None:
    path = folder / "shards" / "s3.jsonl"
    one = json.loads(path.read_text("utf-8").splitlines()[0])
    one |= {"id": f"appended-{time.time_ns()}", "text": f"{one['text']} Appended at {time.time_ns()}."}
    subsets = [(f"{name}/subset", rate) for name in samplers for rate in RATES]
    workspace = Workspace(load_profile())
    changed = time.time()
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(one) + "\n")
    end = time.monotonic() + _PATIENCE
    with dg.DagsterInstance.get() as instance:
        while True:
            receipts = [workspace.receipt(*at) for at in subsets]
            if all(receipt is not None and receipt.created > changed for receipt in receipts):
                break
            assert time.monotonic() < end, "the subsets do not come"
            time.sleep(0.5)
        last = max(receipt.created for receipt in receipts if receipt is not None)
        while any(not record.dagster_run.is_finished for record in _runs(instance, changed)):
            time.sleep(0.5)
        time.sleep(15)
        records = _runs(instance, changed)
        made = Counter(
            (m.asset_key.to_user_string(), m.partition)
            for record in records
            for event in instance.all_logs(
                record.dagster_run.run_id, dg.DagsterEventType.ASSET_MATERIALIZATION
            )
            if (m := event.asset_materialization) is not None
        )
    requested = records[0].create_timestamp.timestamp()
    twice = [at for at, times in made.items() if times > 1]
    print(f"change to request: {requested - changed:.1f} s")
    print(f"request to last subset: {last - requested:.1f} s")
    print(f"{len(records)} runs, {sum(made.values())} artifacts, made twice: {twice or 'none'}")
    for record in records:
        start, stop = record.start_time or 0.0, record.end_time or 0.0
        print(
            f"  {record.dagster_run.job_name} {record.dagster_run.status.value}: queued {start - requested:.1f} s, "
            f"at work {stop - start:.1f} s, {record.dagster_run.tags.get('curation/change', '')}"
        )
        _steps(record, changed, workspace)


def _steps(record: dg.RunRecord, changed: float, workspace: Workspace) -> None:
    """Print when the artifacts of each stage of the run were committed."""
    from curation_assets.engine.graph import STEPS

    found: dict[str, list[float]] = {}
    for key, step in STEPS.items():
        for partition in workspace.partitions(step.by):
            receipt = workspace.receipt(key, partition)
            if receipt is not None and receipt.run_id == record.dagster_run.run_id:
                found.setdefault(key, []).append(receipt.created)
    began = record.create_timestamp.timestamp()
    for key, times in sorted(found.items(), key=lambda item: min(item[1])):
        print(f"    {min(times) - began:6.1f} to {max(times) - began:5.1f} s  {key}: {len(times)}")


if __name__ == "__main__":
    sys.exit(main())
