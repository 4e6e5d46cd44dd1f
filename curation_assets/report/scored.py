"""The scores that reports are made of: every document once, with the scores of the samplers that are current."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import pyarrow.parquet as pq

from curation_assets.common.files import parquet_file, rows_of
from curation_assets.common.progress import Progress
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.reading import NO_ROWS, Repeats, open_hashes, read_repeats
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import MissingInput
from curation_assets.report.correlation import HashSample
from curation_assets.report.documents import Scored

_BLOCK = 1 << 20  # documents whose scores by all samplers are held: those of a row group


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
    """Every document once, with the scores of some samplers, in the order of the shards, as often as it is asked for; `passes` times, for `progress`."""

    def __init__(
        self, context: Context, shards: list[str], names: list[str], progress: Progress, passes: int
    ) -> None:
        self.workspace, self.shards, self.names, self._progress = context, shards, names, progress
        self._repeats: Repeats = read_repeats(context)
        self._done, self._total = 0, passes * len(shards)

    def __iter__(self) -> Iterator[Scored]:
        """Read the scores, at most `_BLOCK` documents at a time."""
        for number, shard in enumerate(self.shards):
            hashes, repeats = open_hashes(self.workspace, shard), self._repeats.get(shard, NO_ROWS)
            with ExitStack() as stack:
                files = [stack.enter_context(self._scores(name, shard, len(hashes))) for name in self.names]
                for start in range(0, max(len(hashes), 1), _BLOCK):
                    block = slice(start, min(start + _BLOCK, len(hashes)))
                    first, last = np.searchsorted(repeats, [block.start, block.stop])
                    rows = np.delete(np.arange(block.start, block.stop), repeats[first:last] - start)
                    scores = np.empty((len(files), len(rows)))
                    for own, file in zip(scores, files, strict=True):
                        own[:] = rows_of(file, ["score"], block)["score"].to_numpy()[rows - start]
                    yield Scored(number, rows, hashes[rows], scores)
            self._done += 1
            self._progress(self._done, self._total, "shards")

    @contextmanager
    def _scores(self, sampler: str, shard: str, expected: int) -> Iterator[pq.ParquetFile]:
        path = self.workspace.open(f"{sampler}/scores", shard) / "scores.parquet"
        with parquet_file(path) as file:
            if file.metadata.num_rows != expected:
                raise ValueError(
                    f"{sampler}/scores[{shard}] has {file.metadata.num_rows:,} scores for {expected:,} documents"
                )
            yield file

    def sample(self) -> HashSample:
        settings = self.workspace.profile.report
        sample = HashSample(settings.documents, settings.seed)
        for one in self:
            sample.add(one.doc_hash, dict(zip(self.names, one.scores, strict=True)))
        return sample
