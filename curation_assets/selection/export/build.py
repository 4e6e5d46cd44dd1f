"""The asset `SAMPLER/export`: a subset with its texts, as the profile's [export] lays it out."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation_assets.common.files import parquet_file, safe_name
from curation_assets.common.markdown import preview
from curation_assets.common.progress import Progress
from curation_assets.config.export_settings import Export
from curation_assets.config.registry import SamplerSpec
from curation_assets.engine.borrowed import has_near_duplicates
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import Builder, BuildOne, Markdown, Metadata
from curation_assets.selection.export.chosen import Chosen
from curation_assets.selection.export.destination import CARD, DATA, MANIFEST, DamagedExport, Destination
from curation_assets.selection.export.export import export
from curation_assets.selection.export.sources import of_subset

_LOG = logging.getLogger(__name__)


def exports(spec: SamplerSpec) -> Builder:
    """Return the builder of a sampler's exports: `data/part-*`, `README.md` and `manifest.json`."""

    def load(context: Context) -> BuildOne:
        layout = context.profile.export

        def build(rate: str, folder: Path, progress: Progress) -> Metadata:
            key = f"{spec.name}/subset"
            subset, home = context.artifact(key, rate), _home(context, spec.name, rate)
            chosen = of_subset(
                context,
                spec.name,
                subset,
                context.open(key, rate),
                duplicates=has_near_duplicates(spec.name, context.profile),
            )
            manifest = _export(chosen, layout, home, progress)
            whole = home.rename(
                home.with_name(f"{home.name}.whole")
            )  # what a kill leaves of it is not taken for an export
            for name in (CARD, DATA, MANIFEST):
                shutil.move(whole / name, folder / name)
            shutil.rmtree(whole)
            return about(manifest) | _first_documents(folder, manifest)

        return build

    return load


def _export(chosen: Chosen, layout: Export, home: Path, progress: Progress) -> dict[str, Any]:
    """Export to a folder, from wherever an earlier run has come to; where it is damaged how far that was, from the beginning."""
    if (home / MANIFEST).exists():  # the manifest has no digest of itself
        shutil.rmtree(home)
    try:
        return export(chosen, layout, Destination(str(home)), progress)
    except DamagedExport as error:
        _LOG.warning("%s; it begins anew", error)
        shutil.rmtree(home)
        return export(chosen, layout, Destination(str(home)), progress)


def about(manifest: dict[str, Any]) -> Metadata:
    """Return the figures of an export."""
    repeated = manifest["repeat"]
    return {
        **{name: manifest[name] for name in ("documents", "rows", "tokens")},
        "files": len(manifest["files"]),
        "bytes": sum(file["bytes"] for file in manifest["files"]),
        **({"repeat": ", ".join(repeated["bands"])} if repeated else {}),
    }


def _home(context: Context, sampler: str, rate: str) -> Path:
    """Return where the files of an export wait that is not complete: a kill costs the file at hand. Those of other versions go."""
    version, home = context.recipe(rate), context.scratch / "exports" / sampler / safe_name(rate)
    for other in home.glob("*"):
        if other.name != version:
            shutil.rmtree(other, ignore_errors=True)
    return home / version


def _first_documents(folder: Path, manifest: dict[str, Any]) -> Metadata:
    first = folder / manifest["files"][0]["name"]
    if first.suffix != ".parquet" or not manifest["rows"]:
        return {}
    with parquet_file(first) as source:
        return {"first_documents": Markdown(preview(pa.Table.from_batches([next(source.iter_batches(10))])))}
