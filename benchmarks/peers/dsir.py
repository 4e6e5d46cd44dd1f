"""DSIR: importance weights by hashed words and pairs of words, against its authors' package."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.peers import material
from benchmarks.peers.comparison import READY, Comparison

_DOCUMENTS, _REFERENCE, _BUCKETS = 1500, 300, 10_000


def ours(folder: Path) -> Iterator[np.ndarray]:
    """Yield the log-weight of each document: the sum over its n-grams, as theirs is, and their number."""
    from curation_assets.scoring.dsir import dsir_scores, log_ratios, ngram_counts

    texts, reference = material.texts(folder, _DOCUMENTS), material.reference(folder, _REFERENCE)

    def score(texts: list[str]) -> np.ndarray:
        counts = (ngram_counts(some, _BUCKETS, 0) for some in (reference, texts))
        mean, ngrams = dsir_scores(texts, log_ratios(*counts), 0)
        return np.stack([mean * ngrams, ngrams])

    score(texts[:10])
    yield READY
    yield score(texts)


def data_selection(folder: Path) -> Iterator[np.ndarray]:
    """Yield the authors' log importance weights."""
    from data_selection import HashedNgramDSIR

    sets = {"raw": material.texts(folder, _DOCUMENTS), "target": material.reference(folder, _REFERENCE)}
    with tempfile.TemporaryDirectory() as scratch:
        paths = {name: Path(scratch, f"{name}.jsonl") for name in sets}
        for name, texts in sets.items():
            paths[name].write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        yield READY
        dsir = HashedNgramDSIR(
            [str(paths["raw"])],
            [str(paths["target"])],
            f"{scratch}/cache",
            num_proc=1,
            num_buckets=_BUCKETS,
        )
        dsir.fit_importance_estimator("all")
        dsir.compute_importance_weights()
        yield np.load(f"{scratch}/cache/log_importance_weights/0.npy")


def agreement(folder: Path, one: np.ndarray, other: np.ndarray) -> str:
    """Compare ranks: the hash is another one, and we add 1 to each count where the authors add 1e-8 to probabilities."""
    from scipy.stats import spearmanr

    total, ngrams = one
    each = np.maximum(ngrams, 1)
    tops = [
        set(np.argsort(-score, kind="stable")[: len(score) // 5]) for score in (total / each, other / each)
    ]
    same = len(tops[0] & tops[1]) / len(tops[0])
    return (
        f"Spearman of the sums {spearmanr(total, other).statistic:.3f}, of the means "
        f"{spearmanr(total / each, other / each).statistic:.3f}; of the best fifth by means {same:.0%} the same"
    )


_WORK = f"DSIR, {_DOCUMENTS} documents by {_REFERENCE}, {_BUCKETS:,} buckets"
COMPARISONS = (Comparison("data-selection", "data-selection", _WORK, ours, data_selection, agreement),)
