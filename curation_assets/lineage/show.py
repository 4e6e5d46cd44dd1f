"""From a number to its texts: documents of the subset that a metric was measured on, a model trained on, or that were scored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from curation_assets.common.progress import Progress, silent
from curation_assets.common.terminal import wrapped
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.names import key_of
from curation_assets.engine.graph import STEPS
from curation_assets.engine.reasons import short
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.staleness import Versions
from curation_assets.engine.stored import open_parquet
from curation_assets.engine.workspace import Workspace, title
from curation_assets.lineage.explain import known_left_out
from curation_assets.lineage.sampler_view import rank_scores
from curation_assets.lineage.subset_behind import CHAIN, SubsetBehind, subset_behind
from curation_assets.lineage.texts import (
    Document,
    Order,
    documents_of,
    pick,
    rows_of_scores,
    rows_of_subset,
    to_lines,
)
from curation_assets.lineage.trace import checked_step


@dataclass(frozen=True)
class Shown:
    """Documents behind an artifact.

    Attributes
    ----------
    key, partition : what was asked for.
    of_key, of_partition, version, created : the artifact that names the documents: a subset, or the scores of a shard.
    total : documents that it has.
    tokens : of these documents; None of scores.
    epochs : how often training read each of them, on average; None where no model was trained.
    notes : what has been replaced since, and what is out of date.
    """

    key: str
    partition: str
    of_key: str
    of_partition: str
    version: str
    created: float
    total: int
    tokens: int | None
    epochs: float | None
    notes: tuple[str, ...]
    order: Order
    documents: tuple[Document, ...]


def show(
    workspace: Workspace,
    key: str,
    partition: str = "",
    count: int = 10,
    order: Order = "first",
    seed: int = 0,
    progress: Progress = silent,
) -> Shown:
    """Return documents of the subset behind an artifact of a sampler's chain, or of the scores of a shard, with their texts.

    Receipts are followed: a metric's documents are those that its model was trained on, also where another subset has taken
    their place since. Nothing is made or changed. Memory does not grow with the subset.

    Raises
    ------
    ValueError
        There is no such artifact, it has no documents behind it, or they have been removed since they were replaced.
    MissingInput
        It has not been made.
    """
    if count < 1:
        raise ValueError(f"--texts {count}: show one document at least")
    versions = Versions(workspace)
    sampler, _, end = key.partition("/")
    if key in STEPS and (sampler not in SAMPLERS or end not in (*CHAIN, "scores")):
        raise ValueError(
            f"{key} has no documents of a sampler behind it: name {', '.join(f'SAMPLER/{each}' for each in ('scores', *CHAIN))}"
        )
    if end == "scores" and partition not in versions.listing:
        partition = key_of(partition)  # a file's name as it is does as well
    checked_step(versions, key, partition)
    asked = workspace.artifact(key, partition)
    if end == "scores":
        with open_parquet(workspace, asked, "scores.parquet") as file:
            rows, total = pick(rows_of_scores(file, partition), order, count, seed), file.metadata.num_rows
        notes, behind, of = list(_out_of_date(versions, asked)), None, asked
    else:
        behind = subset_behind(workspace, asked)
        of = behind.receipt
        with open_parquet(workspace, of, "subset.parquet") as file:
            rows, total = pick(rows_of_subset(file), order, count, seed), file.metadata.num_rows
        notes = list(_notes(versions, asked, behind))
    documents = documents_of(workspace, rows)
    if not notes:
        documents = _ranked(
            versions, SAMPLERS[sampler].then if end != "scores" else sampler, documents, progress
        )
    elif documents:
        notes.append("percentiles are left out: the scores may be others by now")
    return Shown(
        key,
        partition,
        of.key,
        of.partition,
        of.version,
        of.created,
        total,
        of.metadata.get("tokens"),
        behind.checkpoint.metadata.get("epochs") if behind and behind.checkpoint else None,
        tuple(notes),
        order,
        tuple(documents),
    )


def _ranked(
    versions: Versions, sampler: str, documents: list[Document], progress: Progress
) -> list[Document]:
    """Return the documents with their percentiles among all candidates."""
    if not documents:
        return []
    scores = np.array([one.score for one in documents])
    ranking = rank_scores(versions, sampler, scores, known_left_out(versions), progress)
    return [replace(one, percentile=float(p)) for one, p in zip(documents, ranking.percentiles, strict=True)]


def _notes(versions: Versions, asked: Receipt, behind: SubsetBehind) -> Iterator[str]:
    subset, checkpoint = behind.receipt, behind.checkpoint
    name = title(subset.key, subset.partition)
    if checkpoint is not None and checkpoint is not asked:
        now = versions.receipt(checkpoint.key, checkpoint.partition)
        if now is None or now.version != checkpoint.version:
            yield f"{title(checkpoint.key, checkpoint.partition)} has been trained anew since this was measured"
    if not behind.replaced:
        yield from _out_of_date(versions, subset)
    elif behind.current is None:
        yield f"{name} is not there any more; these are the documents of version {short(subset.version)}, which was read"
    else:
        yield (
            f"{name} has been replaced since: these are the documents of version {short(subset.version)}, which was read; "
            f"version {short(behind.current.version)} is there now (`curation diff {subset.key} --partition {subset.partition}`)"
        )


def _out_of_date(versions: Versions, receipt: Receipt) -> Iterator[str]:
    if reasons := versions.reasons(STEPS[receipt.key], receipt.partition):
        yield f"{title(receipt.key, receipt.partition)} is out of date: {'; '.join(map(str, reasons))}"


_ORDERS: dict[Order, str] = {
    "first": "the first {}, in the order of the corpus",
    "random": "{} drawn at random",
    "highest": "the {} with the highest scores",
    "lowest": "the {} with the lowest scores",
}


def to_text(shown: Shown) -> str:
    """Render what is shown for a terminal: control characters of texts are replaced, and texts are cut."""
    return "\n".join(_lines(shown))


def _lines(shown: Shown) -> Iterator[str]:
    asked, of = title(shown.key, shown.partition), title(shown.of_key, shown.of_partition)
    tokens = "" if shown.tokens is None else f", {shown.tokens:,} tokens"
    via = "" if asked == of else f"{asked} comes from "
    yield from wrapped(f"{via}{of}, version {short(shown.version)}: {shown.total:,} documents{tokens}")
    if shown.epochs is not None:
        yield from wrapped(f"training went over them {shown.epochs:.3g} times")
    for note in shown.notes:
        yield from wrapped(f"note: {note}")
    yield from wrapped(f"{_ORDERS[shown.order].format(len(shown.documents))}:")
    yield from to_lines(shown.documents)
