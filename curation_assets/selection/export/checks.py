"""What must hold of exports."""

from __future__ import annotations

import json
from typing import Any

from curation_assets.config.amount import label
from curation_assets.engine import stored
from curation_assets.engine.check_result import Outcome, made
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.workspace import Workspace
from curation_assets.selection.export.destination import DATA, MANIFEST


def holds_the_subset(sampler: str, workspace: Workspace) -> Outcome:
    """Every export has the documents and tokens of the subset that it was made from, and the files of its manifest; texts are not read again."""
    key, wrong = f"{sampler}/export", []
    rates = made(workspace, key, workspace.partitions("rate"))
    for rate in rates:
        export, subset = workspace.artifact(key, rate), workspace.receipt(f"{sampler}/subset", rate)
        [content] = stored.read_files(workspace, MANIFEST, [export])
        current = subset is not None and export.inputs[f"{sampler}/subset"] == subset.version
        if not _holds(json.loads(content), export, subset if current else None):
            wrong.append(rate)
    description = (
        f"not what was chosen at {label(*wrong)}" if wrong else f"{len(rates)} exports hold what was chosen"
    )
    return Outcome(not wrong, description, {"wrong": wrong})


def _holds(manifest: dict[str, Any], export: Receipt, subset: Receipt | None) -> bool:
    files = {file["name"]: (file["bytes"], file["sha256"]) for file in manifest["files"]}
    there = {name: tuple(about) for name, about in export.files.items() if name.startswith(f"{DATA}/")}
    rows, repeat = sum(file["rows"] for file in manifest["files"]), manifest["repeat"]
    counted = sum(repeat["passes"]) if repeat else manifest["documents"]
    if files != there or not rows == counted == manifest["rows"]:
        return False
    if subset is None:  # it was drawn anew
        return True
    same_tokens = repeat or manifest["tokens"] == subset.metadata["tokens"]
    return bool(same_tokens) and manifest["documents"] == subset.metadata["documents"]
