"""Perplexity of whole validation sets at every snapshot of a run: the two upstream metrics of the paper's figure 4."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation_assets.common.progress import Progress, silent

TokenSet = tuple[NDArray[np.integer], NDArray[np.int64], NDArray[np.uint64]]
"""Flat token ids (may be a memory map), int64[n + 1] offsets, uint64[n] document hashes."""


@dataclass(frozen=True)
class PerplexitySettings:
    """How a set is scored. All but the last three decide the values."""

    eos: int
    first_sentinel: int
    seed: int = 0
    window: int = 512
    max_windows: int | None = None
    batch_tokens: int = 8_192
    device: str = "auto"
    dtype: str = "float32"


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
    settings: PerplexitySettings,
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
    progress
        Called with documents scored and to score, over all snapshots and sets.

    Raises
    ------
    ValueError
        Where there is no snapshot, or a set is empty.
    """
    from curation_assets.models.snapshots import read_snapshot
    from curation_assets.models.t5 import load
    from curation_assets.scoring.perplexity import SpanPerplexity

    empty = [name for name, (_, offsets, _) in sets.items() if len(offsets) < 2]
    if not snapshots or empty:
        raise ValueError(f"nothing to evaluate: {len(snapshots)} snapshots, empty sets {empty}")
    total = len(snapshots) * sum(len(hashes) for _, _, hashes in sets.values())
    rows: list[dict[str, Any]] = []
    documents: dict[str, DocumentNll] = {}
    done = 0
    for folder in snapshots:
        seen = read_snapshot(folder).tokens
        scorer = SpanPerplexity(
            load(folder),
            eos=settings.eos,
            first_sentinel=settings.first_sentinel,
            seed=settings.seed,
            window=settings.window,
            max_windows=settings.max_windows,
            batch_tokens=settings.batch_tokens,
            device=settings.device,
            dtype=settings.dtype,
        )
        for name, (ids, offsets, hashes) in sets.items():
            documents[name] = DocumentNll(*scorer.nll_flat(ids, offsets, hashes))
            mean = documents[name].nll.sum() / documents[name].target_tokens.sum()
            for metric, value in (("perplexity", math.exp(mean)), ("nll", float(mean))):
                rows.append(
                    {"tokens_seen": seen, "task": name, "metric": metric, "value": value, "n": len(hashes)}
                )
            done += len(hashes)
            progress(done, total, "documents", f"{name} perplexity {math.exp(mean):.2f}")
    return PerplexityResult(rows, documents)
