"""Making one artifact current, whole or not at all."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace

from curation_assets.common.files import link_or_copy, write_json
from curation_assets.common.progress import Progress, silent
from curation_assets.engine.attempts import Attempt
from curation_assets.engine.graph import STEPS
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import EDGE, Step
from curation_assets.engine.store import PREVIEW, DamagedArtifact, Receipt
from curation_assets.engine.stored import open_file
from curation_assets.engine.workspace import BuildOne, Markdown, Metadata, Workspace, title

_LOOK_AGAIN = 0.5  # seconds between two looks at what another process is making


def _unheard(line: str) -> None:
    """Tell nobody."""


def materialize(
    workspace: Workspace,
    step: Step,
    partition: str,
    one: Callable[[dict[str, str]], BuildOne],
    progress: Progress = silent,
    *,
    relearn: bool = False,
    run_id: str = "",
    tell: Callable[[str], object] = _unheard,
) -> tuple[Receipt, bool]:
    """Make one artifact current and return (its receipt, whether it was made now).

    Returns at once when it already is what its inputs would make; `relearn` makes a pinned model that is behind as well. `one` is called, with the inputs' versions, only when there is work, so that a model is not loaded
    for nothing. While another process of this machine makes it this waits, and says so to `tell`: people, jobs and
    sensors may ask for the same, and it is made once. Versions of inputs are read before the inputs are: an input that
    changes under the step leaves an artifact that is known to be stale, never one that wrongly looks fresh.
    """
    begun = _begin(workspace, step, partition, relearn, run_id, tell)
    if isinstance(begun, Receipt):
        return begun, False
    inputs, attempt = begun
    try:
        made = _adopt(workspace, step, partition, inputs, run_id)
        made = made or _make(workspace, step, partition, one, progress, inputs, run_id)
    except DamagedArtifact:
        workspace.attempts.end(step.key, partition)  # no failure of this step: the input is made anew first
        raise
    except Exception as error:
        workspace.attempts.fail(step.key, partition, attempt, error)
        raise
    except BaseException:
        workspace.attempts.end(step.key, partition)  # somebody stopped it
        raise
    workspace.attempts.end(step.key, partition)
    return made, True


def _begin(
    workspace: Workspace,
    step: Step,
    partition: str,
    relearn: bool,
    run_id: str,
    tell: Callable[[str], object],
) -> Receipt | tuple[dict[str, str], Attempt]:
    """Return the receipt of what is current; or else the inputs' versions and an attempt, begun when nobody else's goes on."""
    while True:
        versions = Versions(workspace)
        receipt = versions.receipt(step.key, partition)
        anew = relearn and versions.behind(step, partition)
        if receipt is not None and not anew and versions.current(step, partition):
            return receipt
        inputs, wanted = versions.inputs(step, partition), versions.wanted(step, partition)
        with workspace.store.alone(step.key, partition):  # of two who look at the same moment one begins
            other = workspace.attempts.read(step.key, partition)
            free = other is None or not other.by_another()
            if free and workspace.store.receipt(step.key, partition) == receipt:
                return inputs, workspace.attempts.begin(step.key, partition, wanted, run_id)
        _let_finish(workspace, step, partition, tell)


def _let_finish(workspace: Workspace, step: Step, partition: str, tell: Callable[[str], object]) -> None:
    """Wait as long as another process of this machine is making the artifact."""
    waited = ""
    while (attempt := workspace.attempts.read(step.key, partition)) is not None and attempt.by_another():
        who = f"run {attempt.run_id}" if attempt.run_id else f"process {attempt.pid}"
        if who != waited:
            tell(f"{title(step.key, partition)}: {who} is making it; this waits for that")
        waited = who
        time.sleep(_LOOK_AGAIN)


def _adopt(
    workspace: Workspace, step: Step, partition: str, inputs: dict[str, str], run_id: str
) -> Receipt | None:
    """Take over the artifact of a shard that was made from inputs of the same versions, if the corpus file was renamed or copied.

    The versions of a shard's own inputs say what its documents are, so a name that has other documents by now has none to
    offer. Where a step reads nothing of its own shard, its recipe is equal for all of them and says nothing.
    """
    if step.by != "shard" or step.key in EDGE or not _reads_its_shard(workspace, step):
        return None
    shard = workspace.store.receipt("corpus/shards", partition)
    twin = shard.metadata.get("same_as") if shard else None
    recipe, store = step.recipe(workspace.profile, inputs, partition), workspace.store
    known = [store.receipt(step.key, twin), *store.replaced(step.key, twin)] if twin else []
    other = next((receipt for receipt in known if receipt is not None and receipt.recipe == recipe), None)
    if twin is None or other is None:
        return None
    try:
        source = store.files_of(other)
    except DamagedArtifact:
        return None  # then it is made
    with workspace.store.staged(step.key, partition) as folder:
        for name in other.files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(str(source / name), str(folder / name))
        about = other.metadata | {"taken_over_from": twin}
        draft = replace(
            other,
            partition=partition,
            inputs=inputs,
            metadata=about,
            created=time.time(),
            seconds=0.0,
            run_id=run_id,
        )
        return workspace.store.commit(folder, draft)


def _reads_its_shard(workspace: Workspace, step: Step) -> bool:
    return any(STEPS[key].by == "shard" and not only for key, only in step.reads(workspace.profile).items())


def _make(
    workspace: Workspace,
    step: Step,
    partition: str,
    one: Callable[[dict[str, str]], BuildOne],
    progress: Progress,
    inputs: dict[str, str],
    run_id: str,
) -> Receipt:
    recipe = step.recipe(workspace.profile, inputs, partition)
    started = time.time()
    with workspace.store.staged(step.key, partition) as folder:
        metadata = one(inputs)(partition, folder, progress)
        preview = {name: value for name, value in metadata.items() if isinstance(value, Markdown)}
        if preview:
            write_json(folder / PREVIEW, preview)
        kept = {name: value for name, value in metadata.items() if name not in preview}
        version = kept.pop("version", "" if step.pinned else recipe)
        draft = Receipt(
            step.key,
            partition,
            version,
            recipe,
            step.code_version(workspace.profile),
            inputs,
            "",
            {},
            kept,
            created=time.time(),
            seconds=round(time.time() - started, 3),
            run_id=run_id,
        )
        return workspace.store.commit(folder, draft)


def shown(workspace: Workspace, receipt: Receipt) -> Metadata:
    """Return all metadata of an artifact for people: the receipt's, and the Markdown that lies beside it."""
    metadata = dict(receipt.metadata)
    if PREVIEW in receipt.files:
        with open_file(workspace.store, receipt, PREVIEW) as file:
            metadata |= {name: Markdown(text) for name, text in json.load(file).items()}
    return metadata
