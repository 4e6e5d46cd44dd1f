"""The scores that reports are made of: every document once, with the scores of the samplers that are current."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow.parquet as pq

from curation_assets.common.progress import Progress
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.reading import NO_ROWS, Repeats, open_hashes, read_repeats
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import MissingInput
from curation_assets.report.correlation import HashSample
from curation_assets.report.documents import Scored


def scored(context: Context, shards: list[str], otherwise: str) -> list[str]:
    """Return the samplers whose scores of all shards are current, in the registry's order.

    Raises
    ------
    MissingInput
        There is none, or no shard; the message ends with `otherwise`.
    """
    versions = context.versions()
    names = [n for n in SAMPLERS.scored if not versions.stale(f"{n}/scores", shards)]
    if not names or not shards:
        raise MissingInput(f"no sampler has current scores of every shard: {otherwise}")
    return names


class Corpus:
    """Every document once, with the scores of some samplers, shard by shard, as often as it is asked for; `passes` times, for `progress`."""

    def __init__(
        self, context: Context, shards: list[str], names: list[str], progress: Progress, passes: int
    ) -> None:
        self.workspace, self.shards, self.names, self._progress = context, shards, names, progress
        self._repeats: Repeats = read_repeats(context)
        self._done, self._total = 0, passes * len(shards)

    def __iter__(self) -> Iterator[Scored]:
        for number, shard in enumerate(self.shards):
            hashes = open_hashes(self.workspace, shard)
            rows = np.delete(np.arange(len(hashes)), self._repeats.get(shard, NO_ROWS))
            scores = np.stack([self._scores(name, shard, len(hashes))[rows] for name in self.names])
            yield Scored(number, rows, hashes[rows], scores)
            self._done += 1
            self._progress(self._done, self._total, "shards")

    def _scores(self, sampler: str, shard: str, expected: int) -> np.ndarray:
        path = self.workspace.open(f"{sampler}/scores", shard) / "scores.parquet"
        scores = pq.read_table(path, columns=["score"])["score"].to_numpy()
        if len(scores) != expected:
            raise ValueError(
                f"{sampler}/scores[{shard}] has {len(scores):,} scores for {expected:,} documents"
            )
        return scores

    def sample(self) -> HashSample:
        settings = self.workspace.profile.report
        sample = HashSample(settings.documents, settings.seed)
        for one in self:
            sample.add(one.doc_hash, dict(zip(self.names, one.scores, strict=True)))
        return sample
