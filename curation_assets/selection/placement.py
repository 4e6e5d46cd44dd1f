"""Where documents that are no part of the corpus would stand in it: among its scores, and at which rates they would be kept."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation_assets.common.progress import Progress, silent
from curation_assets.corpus.reading import left_out
from curation_assets.engine import stored
from curation_assets.engine.graph import STEPS
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import MissingInput, Workspace
from curation_assets.selection.candidates import draw_of
from curation_assets.selection.keys import selection_keys
from curation_assets.selection.threshold import Threshold, sortable

_ALL = np.uint64(2**64 - 1)  # above every key


@dataclass(frozen=True)
class Cut:
    """Where a subset ends: its last key, and of the documents with that key the last hash. None of it where it has no documents."""

    technique: str
    seed: int
    threshold: Threshold

    def keeps(self, scores: NDArray[np.float64], doc_hash: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Tell which documents of these scores rank at the cut or before it."""
        return self.threshold.keep(selection_keys(doc_hash, scores, self.technique, self.seed), doc_hash)


@dataclass(frozen=True)
class Corpus:
    """What a sampler has of the corpus: its scores and the cuts of its subsets.

    Attributes
    ----------
    cuts : {rate: where the subset ends}; None where there is no subset, or its rate is kept within strata.
    notes : what of it is missing or out of date, for people.
    """

    workspace: Workspace
    sampler: str
    cuts: dict[str, Cut | None]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, workspace: Workspace, sampler: str) -> Corpus:
        """Look at what there is of a sampler."""
        notes = []
        cuts = {rate: _cut(workspace, sampler, rate) for rate in workspace.partitions("rate")}
        if missing := [rate for rate, cut in cuts.items() if cut is None]:
            notes.append(
                f"no one cut of {sampler}/subset at {', '.join(missing)}: it has not been drawn, or it is drawn within strata"
            )
        versions = Versions(workspace)
        for key, by in ((f"{sampler}/scores", "shard"), (f"{sampler}/subset", "rate")):
            there = [p for p in workspace.partitions(STEPS[key].by) if versions.receipt(key, p)]
            if stale := versions.stale(STEPS[key], there):
                notes.append(f"{key} of {len(stale):,} {by}s is out of date, taken all the same")
        return cls(workspace, sampler, cuts, tuple(notes))

    def percentiles(
        self, scores: NDArray[np.float64], progress: Progress = silent
    ) -> NDArray[np.float64] | None:
        """Return the percentage of the corpus's documents with a lower score, of equal ones half; None where it has no scores.

        One pass over the corpus's scores; memory does not grow with it.
        """
        try:
            shards = self.workspace.shards()
            draw = draw_of(self.workspace, self.sampler, shards, left_out(self.workspace), within="")
            order = np.sort(scores)
            lower, upto = np.zeros((2, len(scores) + 1), np.int64)
            count = 0
            for done, shard in enumerate(shards, 1):
                for candidates in draw.shard(shard):
                    lower += _counted(np.searchsorted(order, candidates.scores, side="right"), len(lower))
                    upto += _counted(np.searchsorted(order, candidates.scores, side="left"), len(upto))
                    count += len(candidates.scores)
                progress(done, len(shards), "shards", "ranking")
        except MissingInput:
            return None
        both = (lower + upto).cumsum()[np.searchsorted(order, scores)]
        return 100 * both / (2 * count) if count else None


def _counted(places: NDArray[np.intp], size: int) -> NDArray[np.intp]:
    return np.bincount(places, minlength=size)


def _cut(workspace: Workspace, sampler: str, rate: str) -> Cut | None:
    """Return where a subset ends, by one pass over it; None where there is none, or one for each stratum."""
    receipt = workspace.receipt(f"{sampler}/subset", rate)
    if receipt is None:
        return None
    with stored.open_file(workspace, receipt, "manifest.json") as file:
        manifest = json.load(file)
    if manifest.get("within"):
        return None
    image, doc_hash, count = _ALL, np.uint64(0), 0
    with stored.open_parquet(workspace, receipt, "subset.parquet") as table:
        for batch in table.iter_batches(columns=["key", "doc_hash"]):
            if not batch.num_rows:
                continue
            images, hashes = sortable(batch["key"].to_numpy()), batch["doc_hash"].to_numpy()
            lowest = min(image, images.min())
            last = hashes[images == lowest].max(initial=0)
            doc_hash = max(doc_hash, last) if lowest == image else last
            image, count = lowest, count + batch.num_rows
    threshold = Threshold(np.array([image], np.uint64), np.array([doc_hash], np.uint64), np.array([count]))
    return Cut(manifest["technique"], manifest["seed"], threshold)
