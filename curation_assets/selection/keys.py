"""Selection keys: the documents with the largest keys are kept."""

from __future__ import annotations

import numpy as np

from curation_assets.common.hashing import as_hashes, noise

TECHNIQUES = ("top_k", "bottom_k", "ips", "uniform")


def selection_keys(hashes: np.ndarray, scores: np.ndarray, technique: str, seed: int) -> np.ndarray:
    """Turn scores into the keys of which the largest stay, float64 [n].

    Parameters
    ----------
    hashes
        `doc_hash` of the documents (`hash_documents`, or any hash of theirs), uint64 [n].
    scores
        Finite, [n].
    technique
        - ``top_k``: the score.
        - ``bottom_k``: minus the score.
        - ``ips``: inverse propensity sampling without replacement (paper, section 3.3): the Gumbel key
          ``log(1/score) + g``, ``g = -log(-log(noise))``. The largest m keys are distributed as m successive
          draws of probability proportional to 1/score among what is left. Scores must be positive.
        - ``uniform``: the noise alone.
    seed
        Of the noise; without effect on top_k and bottom_k.

    Returns
    -------
    Finite keys, never -0.0. Choices of growing size with one seed are nested, whatever the technique.
    """
    hashes, scores = as_hashes(hashes), np.asarray(scores, dtype=np.float64)
    if technique not in TECHNIQUES:
        raise ValueError(f"unknown technique {technique!r}: choose one of {', '.join(TECHNIQUES)}")
    if scores.shape != hashes.shape:
        raise ValueError(f"there are {list(scores.shape)} scores for {list(hashes.shape)} documents")
    _check_scores(np.isfinite(scores), scores, "finite")
    if technique == "uniform":
        return noise(hashes, seed)
    if technique == "ips":
        _check_scores(scores > 0, scores, "positive for ips, which weighs by 1/score")
        return -np.log(-np.log(noise(hashes, seed))) - np.log(scores)
    return (scores if technique == "top_k" else -scores) + 0.0  # + 0.0 turns -0.0 into 0.0


def _check_scores(good: np.ndarray, scores: np.ndarray, requirement: str) -> None:
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        raise ValueError(f"scores must be {requirement}: document {row} has {scores[row]}")
