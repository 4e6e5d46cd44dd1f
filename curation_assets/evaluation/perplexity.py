"""Perplexity of whole validation sets at every snapshot of a run: the two upstream metrics of the paper's figure 4."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation_assets.common.progress import Progress, silent

if TYPE_CHECKING:
    from curation_assets.scoring.perplexity import SpanPerplexity

TokenSet = tuple[NDArray[np.integer], NDArray[np.int64], NDArray[np.uint64]]
"""Flat token ids (may be a memory map), int64[n + 1] offsets, uint64[n] document hashes."""


class DocumentNll(NamedTuple):
    """Per-document values of one set, for paired intervals between runs."""

    nll: NDArray[np.float64]
    """Summed negative log-likelihood, nats."""
    target_tokens: NDArray[np.int64]


class PerplexityResult(NamedTuple):
    """What `evaluate` returns."""

    rows: list[dict[str, Any]]
    """`tokens_seen, task, metric, value, n`; n counts documents. Metrics: `perplexity`, and `nll`, its logarithm."""
    documents: dict[str, DocumentNll]
    """By set, under the last snapshot."""


def evaluate(
    snapshots: Sequence[Path | str],
    sets: Mapping[str, TokenSet],
    scorer: Callable[[Any], SpanPerplexity],
    progress: Progress = silent,
) -> PerplexityResult:
    """Return the perplexity of every set at every snapshot: exp(total nll / total target tokens).

    The masks are those of the documents' ids, the same for every snapshot and run, so that differences are paired.

    Parameters
    ----------
    snapshots
        Folders that the trainer wrote, in the order of training.
    sets
        By task name.
    scorer
        Gives the scorer of a model.
    progress
        Called with documents scored and to score, over all snapshots and sets.

    Raises
    ------
    ValueError
        Where there is no snapshot, or a set is empty.
    """
    from curation_assets.models.snapshots import read_snapshot
    from curation_assets.models.t5 import load

    empty = [name for name, (_, offsets, _) in sets.items() if len(offsets) < 2]
    if not snapshots or empty:
        raise ValueError(f"nothing to evaluate: {len(snapshots)} snapshots, empty sets {empty}")
    total = len(snapshots) * sum(len(hashes) for _, _, hashes in sets.values())
    rows: list[dict[str, Any]] = []
    documents: dict[str, DocumentNll] = {}
    done = 0
    for folder in snapshots:
        seen = read_snapshot(folder).tokens
        scores = scorer(load(folder))
        for name, (ids, offsets, hashes) in sets.items():
            documents[name] = DocumentNll(*scores.nll_flat(ids, offsets, hashes))
            mean = documents[name].nll.sum() / documents[name].target_tokens.sum()
            for metric, value in (("perplexity", math.exp(mean)), ("nll", float(mean))):
                rows.append(
                    {"tokens_seen": seen, "task": name, "metric": metric, "value": value, "n": len(hashes)}
                )
            done += len(hashes)
            progress(done, total, "documents", f"{name} perplexity {math.exp(mean):.2f}")
    return PerplexityResult(rows, documents)
