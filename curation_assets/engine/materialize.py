"""Making one artifact, whole or not at all: a folder of the store that nothing refers to yet."""

from __future__ import annotations

import json
import time
from functools import partial

from curation_assets.common.files import write_json
from curation_assets.common.progress import Progress
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import Step
from curation_assets.engine.store import PREVIEW
from curation_assets.engine.stored import open_file
from curation_assets.engine.workspace import BuildOne, Markdown, Metadata, Workspace


def materialize(
    versions: Versions, step: Step, partition: str, build_one: BuildOne, progress: Progress, run_id: str
) -> Receipt:
    """Make an artifact of the inputs whose versions these are, and return its receipt; it becomes current by a commit.

    Versions of inputs are read before the inputs are: an input that changes under the step leaves an artifact that is
    known to be stale, never one that wrongly looks fresh.
    """
    inputs, recipe = versions.inputs(step, partition), versions.recipe(step, partition)
    started, store = time.time(), versions.workspace.store
    with store.staged() as folder:
        metadata = build_one(partition, folder, progress)
        if preview := {name: value for name, value in metadata.items() if isinstance(value, Markdown)}:
            write_json(folder / PREVIEW, preview)
        kept = {name: value for name, value in metadata.items() if name not in preview}
        version = kept.pop("version", "" if step.pinned else recipe)
        draft = partial(Receipt, step.key, partition, version, recipe, versions.code_version(step))
        return store.publish(
            folder,
            draft(
                inputs,
                folder="",
                files={},
                metadata=kept,
                created=time.time(),
                seconds=round(time.time() - started, 3),
                run_id=run_id,
            ),
        )


def shown(workspace: Workspace, receipt: Receipt) -> Metadata:
    """Return all metadata of an artifact for people: the receipt's, and the Markdown that lies beside it."""
    metadata = dict(receipt.metadata)
    if PREVIEW in receipt.files:
        with open_file(workspace, receipt, PREVIEW) as file:
            metadata |= {name: Markdown(text) for name, text in json.load(file).items()}
    return metadata
