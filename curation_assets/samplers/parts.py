"""Scoring a shard part by part: a kill costs the part at hand, not the shard.

A part is named by its first row and a digest of its bytes, so one that is damaged is noticed, and scored again.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.common.files import sha256, write_bytes
from curation_assets.common.progress import Progress, after

_LOG = logging.getLogger(__name__)
ScoreRows = Callable[[slice, Progress], pa.Table]
"""Scores documents `rows` of a shard: one row of the table for each, in order."""

_SECONDS = 60.0  # of work that a kill may cost
_FLOPS = {"cpu": 5e10, "cuda": 1e14}  # a second, roughly
_LEAST, _MOST = 16, 8192  # documents; as many as the scorers themselves sort by length at a time


def part_size(parameters: int, tokens: int, device: str) -> int:
    """Return how many documents of about `tokens` tokens a model scores in about a minute; the result does not depend on it."""
    each = 2.0 * max(parameters, 1) * max(tokens, 1)
    return int(np.clip(_SECONDS * _FLOPS.get(device.partition(":")[0], _FLOPS["cpu"]) / each, _LEAST, _MOST))


def in_parts(home: Path, n: int, size: int, score: ScoreRows, progress: Progress) -> pa.Table:
    """Return the scores of documents 0 to n, taking from `home` what an earlier run left there.

    `home` belongs to one version of the scores. A part appears in it whole or not at all. Parts stay until the caller
    removes them: when this returns, the scores are not kept anywhere else yet.
    """
    kept = _kept_parts(home)
    tables: list[pa.Table] = []
    start = 0
    while start < n or not tables:
        table = kept.get(start)
        if table is None:
            stop = min(start + size, n, *(at for at in kept if at > start))
            table = score(slice(start, stop), after(progress, start, n))
            if stop < n:  # the last part is followed by the artifact at once
                _keep(home, start, table)
        tables.append(table)
        start += len(table)
    return pa.concat_tables(tables)


def _keep(home: Path, start: int, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    content = sink.getvalue().to_pybytes()
    write_bytes(home / f"{start}-{hashlib.sha256(content).hexdigest()}.parquet", content)


def _kept_parts(home: Path) -> dict[int, pa.Table]:
    """Return the parts that are there, by first row; one that is not as it was written is made again."""
    kept = {}
    for path in home.glob("[0-9]*.parquet"):
        start, _, digest = path.stem.partition("-")
        if digest == sha256(path):
            kept[int(start)] = pq.read_table(path)
        else:
            _LOG.warning("%s is damaged: dropped, its documents are scored again", path)
            path.unlink()
    return kept
