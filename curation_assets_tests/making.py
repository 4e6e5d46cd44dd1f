"""Making one artifact in this process as a run does: leased, made, committed."""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curation_assets.common.progress import Progress, silent
from curation_assets.engine import materialize as engine
from curation_assets.engine.attempts import Attempt, this_machine
from curation_assets.engine.commits import Commits
from curation_assets.engine.context import LoadedBuilder
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import Step
from curation_assets.engine.store import DamagedArtifact
from curation_assets.engine.workspace import Builder, BuildOne, MissingInput, Workspace

_PAUSE = 0.05


def load(build: Builder, workspace: Workspace, step: Step) -> BuildOne:
    """Return what makes a partition of a step, loaded."""
    return LoadedBuilder(build, workspace, step)


def materialize(
    workspace: Workspace,
    step: Step,
    partition: str,
    one: Callable[[dict[str, str]], BuildOne],
    progress: Progress = silent,
    *,
    relearn: bool = False,
    run_id: str = "",
) -> tuple[Receipt, bool]:
    """Make one artifact current and return (its receipt, whether it was made now); `one` is called only where there is work."""
    with workspace.catalog.writer() as writer:
        commits = Commits(workspace, writer, run_id, relearn)
        while True:
            versions = Versions(workspace)
            begun = commits.begin(versions, step, [partition])
            if begun.missing:
                raise MissingInput(begun.missing[partition])
            if begun.current or begun.taken_over:
                return (begun.current or begun.taken_over)[0], bool(begun.taken_over)
            if begun.to_make:
                break
            time.sleep(_PAUSE)
        try:
            build_one = one(versions.inputs(step, partition))
            receipt = engine.materialize(Versions(workspace), step, partition, build_one, progress, run_id)
        except DamagedArtifact:
            commits.give_up(step.key, partition)
            raise
        except Exception as error:
            commits.fail(step.key, partition, f"{type(error).__name__}: {error}")
            raise
        commits.commit(receipt)
        return receipt, True


def commit(workspace: Workspace, folder: Path, draft: Receipt) -> Receipt:
    """Make a staged folder the current artifact, whatever would be made."""
    receipt = workspace.store.publish(folder, draft)
    workspace.store.remove(put(workspace, receipt))
    return receipt


def put(workspace: Workspace, receipt: Receipt) -> list[Receipt]:
    """Have the catalog say that this artifact is current; return what nothing refers to any more."""
    with attempted(workspace, receipt.key, receipt.partition, receipt.recipe) as attempt:
        return workspace.catalog.commit(receipt, attempt)


def withdraw(workspace: Workspace, key: str, partition: str = "") -> None:
    """Make an artifact count as missing, if it is there."""
    if (receipt := workspace.receipt(key, partition)) is not None:
        workspace.withdraw(receipt, "a test withdrew it")


@contextmanager
def attempted(
    workspace: Workspace, key: str, partition: str, wanted: str = "wanted", run_id: str = ""
) -> Iterator[Attempt]:
    """Give an attempt at an artifact that goes on meanwhile; afterwards it never was, unless it has failed."""
    with workspace.catalog.writer() as writer:
        current = workspace.catalog.current(key, partition)
        goal = {partition: (wanted, current.folder if current else "")}
        yield workspace.catalog.begin(writer, key, goal, run_id)[partition]


def fail(workspace: Workspace, key: str, partition: str, error: Exception, wanted: str = "wanted") -> None:
    """Have an attempt at an artifact fail."""
    with attempted(workspace, key, partition, wanted) as attempt:
        workspace.catalog.fail(attempt, f"{type(error).__name__}: {error}")


def attempt_of(workspace: Workspace, key: str, partition: str, **about: Any) -> None:
    """Write down an attempt of another writer, as it stands in the catalog: by default of this process, and going on."""
    now = time.time()
    writer = {
        "id": f"{key} {partition}",
        "host": socket.gethostname(),
        "machine": this_machine(),
        "pid": os.getpid(),
        "started": now - 5,
        "beat": now,
        "role": "",
    }
    attempt = {
        "key": key,
        "partition": partition,
        "wanted": "recipe",
        "started": now - 5,
        "number": 1,
        "writer": writer["id"],
        "run_id": "run",
        "replaces": "",
        "ended": False,
        "error": "",
    }
    rows = [
        (table, row | {name: value for name, value in about.items() if name in row})
        for table, row in (("writers", writer), ("attempts", attempt))
    ]
    with sqlite3.connect(workspace.data / "catalog.sqlite") as connection:
        for table, row in rows:
            marks = ", ".join("?" * len(row))
            names = ", ".join(f'"{name}"' for name in row)
            connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))
    connection.close()
