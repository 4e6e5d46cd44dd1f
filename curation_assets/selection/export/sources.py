"""What can be exported: a subset of the graph, or a choice that a person made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curation_assets.common.files import fingerprint, read_json
from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.artifacts import Artifacts
from curation_assets.engine.receipt import Receipt
from curation_assets.selection.export.chosen import Chosen
from curation_assets.selection.what_if import WhatIf

_BY_FILE = ("by_shard", "score_versions", "first_score_versions", "contamination_versions", "stale")
"""What a manifest of a choice says of each corpus file: it may be longer than what was chosen."""


def of_subset(
    artifacts: Artifacts, sampler: str, receipt: Receipt, folder: Path, *, duplicates: bool
) -> Chosen:
    """Return the choice of a subset, `receipt`, whose files lie in a folder."""
    manifest = read_json(folder / "manifest.json")
    versions = {f"{sampler}/subset": receipt.version, **receipt.inputs}
    return Chosen(
        artifacts,
        folder / "subset.parquet",
        {"": f"{SAMPLERS[sampler].then}/scores"},
        manifest["documents"],
        manifest["tokens"],
        manifest["seed"],
        {**_without_files(manifest), "versions": versions},
        _corpus(artifacts, manifest["candidates"]),
        duplicates,
    )


def of_selection(artifacts: Artifacts, selected: WhatIf, folder: Path, *, duplicates: bool) -> Chosen:
    """Return a choice that lies in a folder as `what_if` wrote it."""
    names = [drawn.sampler for drawn in selected.drawn]
    versions = {f"{name}/scores": fingerprint(shards) for name, shards in selected.score_versions.items()}
    of_one: dict[str, Any] = (
        {"sampler": names[0], "threshold": selected.drawn[0].threshold} if len(names) == 1 else {}
    )
    return Chosen(
        artifacts,
        folder / "subset.parquet",
        {f"{name}_" if len(names) > 1 else "": f"{SAMPLERS[name].then}/scores" for name in names},
        selected.documents,
        selected.tokens,
        selected.seed,
        {**of_one, **_without_files(selected.manifest()), "versions": versions},
        _corpus(artifacts, selected.candidates),
        duplicates,
    )


def _without_files(manifest: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in manifest.items() if name not in _BY_FILE}


def _corpus(artifacts: Artifacts, documents: int) -> dict[str, Any]:
    return {"files": len(artifacts.shards()), "documents": documents}
