"""How a sampler sees one document: its score, where that lies among all candidates, and which subsets it is in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from curation_assets.common.markdown import number
from curation_assets.common.progress import Progress
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.reading import NO_ROWS, Repeats
from curation_assets.engine.graph import STEPS
from curation_assets.engine.reasons import Reason
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.staleness import Versions
from curation_assets.engine.stored import in_threads, open_file, open_parquet, read_filtered
from curation_assets.lineage.locate import Place
from curation_assets.selection.keys import selection_keys

_OWN = ("doc_id", "doc_hash", "source_row", "score")  # columns of every score table


@dataclass(frozen=True)
class SubsetChoice:
    """Whether a subset has the document.

    Attributes
    ----------
    state : "in", "out", or "none" where the subset has not been drawn.
    stale : whether the subset is out of date, for `reasons`.
    key : the document's selection key: in the subset, or else as it is now; None where it is not known, or the document is
        none to choose from.
    threshold : the lowest key in the subset.
    why : why it is not in a subset that is current; "" otherwise.
    """

    rate: str
    state: Literal["in", "out", "none"]
    stale: bool = False
    key: float | None = None
    threshold: float | None = None
    why: str = ""
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True)
class SamplerView:
    """A document as a sampler sees it.

    Attributes
    ----------
    score : None where there is none; then `percentile` and `rank` are None, too, as of a document that is none to choose from.
    percentile : share of candidates with a lower score, in [0, 1); where scores are equal, that of their middle rank.
    rank : 1 for the highest score; equal scores have the same.
    candidates : documents that the two are counted over.
    unscored : shards without scores, whose documents are not among these.
    stale : whether the score is out of date, for `reasons`.
    details : the other columns of the score table.
    """

    sampler: str
    score: float | None = None
    percentile: float | None = None
    rank: int | None = None
    candidates: int = 0
    unscored: int = 0
    stale: bool = False
    details: dict[str, Any] | None = None
    note: str = ""
    choices: tuple[SubsetChoice, ...] = ()
    reasons: tuple[Reason, ...] = ()


class _OneSampler(Versions):
    """Versions that forget with this object what concerns one sampler alone, and share the corpus's receipts."""

    def __init__(self, shared: Versions) -> None:
        super().__init__(shared.workspace)
        self._shared = shared

    def receipt(self, key: str, partition: str) -> Receipt | None:
        """Return an artifact's receipt, or None."""
        if key.startswith(("corpus/", "evaluation/")):
            return self._shared.receipt(key, partition)
        return super().receipt(key, partition)


def sampler_view(
    shared: Versions,
    sampler: str,
    place: Place,
    left_out: Repeats,
    progress: Progress,
    why_not: str = "",
) -> SamplerView:
    """Return how a sampler sees the document at `place`; one pass over the sampler's scores.

    Parameters
    ----------
    shared
        Receipts of the corpus's artifacts.
    left_out
        Rows that are no candidates, by shard.
    why_not
        Why the document itself is no candidate, "" if it is one.
    """
    versions = _OneSampler(shared)
    scored_by = SAMPLERS[sampler].then
    key = f"{scored_by}/scores"
    receipt = versions.receipt(key, place.shard)
    rows = _rows_of(versions, receipt, "scores.parquet", [], place) if receipt else []
    score = float(rows[0]["score"]) if rows else None
    choices = tuple(_choices(versions, sampler, place, None if why_not else score, why_not))
    if receipt is None:
        return SamplerView(sampler, note="no scores yet", choices=choices)
    reasons = versions.reasons(STEPS[key], place.shard)
    view = SamplerView(sampler, score, stale=bool(reasons), choices=choices, reasons=reasons)
    if score is None:
        return replace(view, note="its scores were of other documents than the shard has now")
    view = replace(view, details={name: value for name, value in rows[0].items() if name not in _OWN})
    if why_not:
        return view
    ranking = rank_scores(versions, scored_by, np.array([score]), left_out, progress)
    return replace(
        view,
        percentile=float(ranking.percentiles[0]),
        rank=int(ranking.ranks[0]),
        candidates=ranking.candidates,
        unscored=ranking.unscored,
    )


@dataclass(frozen=True)
class Ranking:
    """How many candidates have a lower score than each of some, and how many an equal one; shards without scores are `unscored`."""

    lower: NDArray[np.int64]
    equal: NDArray[np.int64]
    candidates: int
    unscored: int

    @property
    def percentiles(self) -> NDArray[np.float64]:
        """The share of candidates with a lower score, in [0, 1); where scores are equal, that of their middle rank."""
        return (self.lower + (self.equal - 1) / 2) / self.candidates

    @property
    def ranks(self) -> NDArray[np.int64]:
        """1 for the highest score; equal scores have the same."""
        return self.candidates - self.lower - self.equal + 1


def rank_scores(
    versions: Versions, sampler: str, scores: NDArray[np.float64], left_out: Repeats, progress: Progress
) -> Ranking:
    """Rank scores of candidates [k] among those of all; one pass over the sampler's scores."""
    workspace, shards = versions.workspace, versions.partitions("shard")

    def compare(shard: str) -> tuple[NDArray[np.int64], NDArray[np.int64], int, int]:
        receipt, none = versions.receipt(f"{sampler}/scores", shard), np.zeros(len(scores), np.int64)
        if receipt is None:
            return none, none, 0, 1
        with open_parquet(workspace, receipt, "scores.parquet") as file:
            held = file.read(columns=["score"])["score"].to_numpy()
        skipped = left_out.get(shard, NO_ROWS)
        held = np.sort(np.delete(held, skipped[skipped < len(held)]))
        below, upto = np.searchsorted(held, scores, "left"), np.searchsorted(held, scores, "right")
        return below, upto - below, len(held), 0

    lower, equal, count, unscored = np.zeros(len(scores), np.int64), np.zeros(len(scores), np.int64), 0, 0
    for done, counts in enumerate(in_threads(compare, shards), 1):
        lower, equal, count, unscored = (
            lower + counts[0],
            equal + counts[1],
            count + counts[2],
            unscored + counts[3],
        )
        progress(done, len(shards), "shards", f"{sampler}: ranking")
    return Ranking(lower, equal, count, unscored)


def _rows_of(
    versions: Versions, receipt: Receipt, name: str, filters: list[tuple[str, str, Any]], place: Place
) -> list[dict[str, Any]]:
    """Return the rows of a table that are of the document: row groups without its id are not read."""
    filters = [*filters, ("doc_id", "=", place.doc_id)]
    rows = read_filtered(versions.workspace, receipt, name, None, filters)
    return [row for row in rows if row.get("doc_hash") == place.doc_hash]


def _choices(
    versions: Versions, sampler: str, place: Place, score: float | None, why_not: str = ""
) -> Iterator[SubsetChoice]:
    spec, seed = SAMPLERS[sampler], versions.workspace.profile.selection.seed
    key = None
    if score is not None:
        hashes = np.array([place.doc_hash], np.uint64)
        key = float(selection_keys(hashes, np.array([score]), spec.technique, seed)[0])
    for rate in versions.workspace.partitions("rate"):
        receipt = versions.receipt(f"{sampler}/subset", rate)
        if receipt is None:
            yield SubsetChoice(rate, "none", why="no subset yet")
        else:
            yield _choice(versions, receipt, place, key, why_not)


def _choice(
    versions: Versions, receipt: Receipt, place: Place, key: float | None, why_not: str
) -> SubsetChoice:
    workspace, rate = versions.workspace, receipt.partition
    with open_file(workspace, receipt, "manifest.json") as file:
        manifest = json.load(file)
    threshold = manifest["threshold"]
    reasons = versions.reasons(STEPS[receipt.key], rate)
    rows = _rows_of(versions, receipt, "subset.parquet", [("shard", "=", place.shard)], place)
    if reasons and not rows:  # the document may have stood in another shard then
        rows = _rows_of(versions, receipt, "subset.parquet", [], place)
    if rows:
        return SubsetChoice(rate, "in", bool(reasons), rows[0]["key"], threshold, reasons=reasons)
    if reasons:
        return SubsetChoice(rate, "out", True, key, threshold, reasons=reasons)
    return SubsetChoice(rate, "out", False, key, threshold, why_not or _why_out(key, manifest))


def _why_out(key: float | None, manifest: dict[str, Any]) -> str:
    threshold = manifest["threshold"]
    if threshold is None:
        return "the subset is empty"
    if key is None:
        return "it has no score"
    if key < threshold:
        return f"its key {number(key)} is below the threshold {number(threshold)}"
    others = [f"{manifest['first']} does not leave it"] if "first" in manifest else []
    if "within" in manifest:
        others.append(f"the larger keys of its {manifest['within']} stay")
    elif key == threshold:
        others.append(
            "its key equals the threshold, and of equal keys the documents with the smaller hashes stay"
        )
    return " or ".join(others)
