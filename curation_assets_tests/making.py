"""Making one artifact in this process as a run does: leased, made, committed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from curation_assets.common.progress import Progress, silent
from curation_assets.engine import materialize as engine
from curation_assets.engine.attempts import Attempt
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
            receipt = engine.materialize(workspace, step, partition, build_one, progress, run_id)
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
    with workspace.catalog.writer() as writer:
        before = workspace.catalog.current(draft.key, draft.partition)
        wanted = {draft.partition: (receipt.recipe, before.folder if before else "")}
        attempts = workspace.catalog.begin(writer, draft.key, wanted, draft.run_id)
        workspace.store.remove(workspace.catalog.commit(receipt, attempts[draft.partition]))
    return receipt


def withdraw(workspace: Workspace, key: str, partition: str = "") -> None:
    """Make an artifact count as missing."""
    workspace.withdraw(workspace.artifact(key, partition))


@contextmanager
def attempted(
    workspace: Workspace, key: str, partition: str, wanted: str = "wanted", run_id: str = ""
) -> Iterator[Attempt]:
    """Give an attempt at an artifact that goes on meanwhile; afterwards it never was, unless it has failed."""
    with workspace.catalog.writer() as writer:
        current = workspace.catalog.current(key, partition)
        goal = {partition: (wanted, current.folder if current else "")}
        yield workspace.catalog.begin(writer, key, goal, run_id)[partition]


def fail(
    workspace: Workspace, key: str, partition: str, error: str, wanted: str = "wanted", run_id: str = ""
) -> None:
    """Have an attempt at an artifact fail."""
    with attempted(workspace, key, partition, wanted, run_id) as attempt:
        workspace.catalog.fail(attempt, error)
