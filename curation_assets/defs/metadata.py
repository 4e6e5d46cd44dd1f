"""What people are shown of an artifact that is there: figures, previews, where it lies, its table, what it is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from curation_assets.common.markdown import preview
from curation_assets.config.registry import SAMPLERS
from curation_assets.defs.table_schemas import Column, tables, written
from curation_assets.engine.materialize import shown
from curation_assets.engine.reasons import Reason, short
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.step import Step
from curation_assets.engine.stored import open_parquet
from curation_assets.engine.workspace import Markdown, Metadata, Workspace
from curation_assets.lineage.diff import count_changes, replaced
from curation_assets.lineage.explain import where_in_file
from curation_assets.lineage.subset_behind import CHAIN, SubsetGone, subset_behind
from curation_assets.lineage.texts import documents_of, pick, rows_of_subset

ROWS, ROWS_OF_PART = "dagster/row_count", "dagster/partition_row_count"
COLUMNS, ADDRESS = "dagster/column_schema", "dagster/uri"
_PREVIEW_ROWS = 10
_DIGITS = 6


class Place(str):
    """A path to show as one, so that it can be copied."""

    __slots__ = ()


@dataclass(frozen=True)
class AssetLink:
    """A partition of an asset to show as a link to its page."""

    key: str
    partition: str

    @property
    def address(self) -> str:
        """Where the UI has it, with the partition selected."""
        return f"/assets/{self.key}?view=partitions&partition={quote(self.partition)}"


@dataclass(frozen=True)
class Columns:
    """The columns of a table."""

    columns: list[Column]


def about(
    workspace: Workspace, step: Step, receipt: Receipt, made: bool, reasons: Sequence[Reason] = ()
) -> Metadata:
    """Return what people are shown of an artifact, with why it was made; numbers are rounded, and all text of the corpus is inert."""
    folder = workspace.store.path(receipt)
    metadata = {name: _rounded(value) for name, value in shown(workspace, receipt).items()}
    metadata |= _table(
        workspace, step, receipt, any(isinstance(value, Markdown) for value in metadata.values())
    )
    return metadata | {
        **_chosen(workspace, receipt),
        **_page(workspace, step),
        "made": made,
        **({"made_because": [str(reason) for reason in reasons]} if made and reasons else {}),
        "seconds": receipt.seconds,
        "folder": Place(folder),
        ADDRESS: workspace.store.fs.unstrip_protocol(folder),
        "input_versions": receipt.inputs,
    }


def _page(workspace: Workspace, step: Step) -> Metadata:
    """Return where the report lies, of the report."""
    if step.key != "report/page":
        return {}
    from curation_assets.report.page_build import published  # with all that draws

    return {"open_in_a_browser": Place(published(workspace))}


def _table(workspace: Workspace, step: Step, receipt: Receipt, previewed: bool) -> Metadata:
    """Return the columns and row counts of an artifact's tables, and rows of the first where the step shows no preview of its own."""
    known = tables(step, workspace.profile)
    there = [name for name in known if f"{name}.parquet" in receipt.files]
    metadata: Metadata = {}
    for name in there:
        with open_parquet(workspace, receipt, f"{name}.parquet") as file:
            columns, rows = written(file, known[name])
            if name != there[0]:
                metadata[f"{name}_columns"] = Columns(columns)
                continue
            metadata[COLUMNS] = Columns(columns)
            metadata[ROWS_OF_PART if step.by else ROWS] = rows
            if rows and not previewed:
                metadata["first_rows"] = Markdown(preview(next(file.iter_batches(_PREVIEW_ROWS))))
    return metadata


def _chosen(workspace: Workspace, receipt: Receipt) -> Metadata:
    """Return, for an artifact of a sampler's chain, the subset behind it as a link, and texts of it.

    Of a metric and a checkpoint it is the version that was read; of a subset, what came and went against the one that it replaced.
    """
    sampler, _, end = receipt.key.partition("/")
    if sampler not in SAMPLERS or end not in CHAIN:
        return {}
    shell = f'{receipt.key} --partition "{receipt.partition}"'
    if end == "subset":
        return {
            **_changes(workspace, receipt),
            **_texts(workspace, receipt),
            "more_texts": f"curation show {shell}",
        }
    metadata: Metadata = {
        "subset": AssetLink(f"{sampler}/subset", receipt.partition.split("|")[0]),
        "trace": f"curation trace {shell}",
    }
    try:
        behind = subset_behind(workspace, receipt)
    except SubsetGone as gone:
        return metadata | {"subset_version": str(gone)}
    return {
        **metadata,
        "subset_version": behind.receipt.version,
        **_texts(workspace, behind.receipt),
        "more_texts": f"curation show {shell}",
    }


def _texts(workspace: Workspace, subset: Receipt) -> Metadata:
    """Return the first texts of a subset as a table."""
    if "subset.parquet" not in subset.files:
        return {}
    with open_parquet(workspace, subset, "subset.parquet") as file:
        rows = pick(rows_of_subset(file), "first", _PREVIEW_ROWS)
    table = [
        {
            "document": one.doc_id,
            "score": one.score,
            "place": where_in_file(one.file, one.source_row),
            "text": "(gone: the file has been read anew since)" if one.text is None else one.text,
        }
        for one in documents_of(workspace, rows)
    ]
    return {"texts": Markdown(preview(table))} if table else {}


def _changes(workspace: Workspace, subset: Receipt) -> Metadata:
    """Return how many documents came and went against the version that a subset replaced, as long as that is there."""
    if (before := replaced(workspace, subset)) is None:
        return {}
    came, went = count_changes(workspace, before, subset)
    return {
        "changed": f"+{came:,} documents, -{went:,} against version {short(before.version)}, which it replaced",
        "documents_came": came,
        "documents_went": went,
    }


def _rounded(value: Any) -> Any:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
