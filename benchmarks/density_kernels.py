"""What a kernel of density is good for: how much its weights differ, what they choose, how many copies stay, what a sketch loses.

    python -m benchmarks.density_kernels FOLDER --documents 5000

FOLDER has files `*.jsonl.gz` with `text` and `source`. They are embedded as the local profile does, once (`--vectors` keeps them).
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation_assets.common.hashing import splitmix64
from curation_assets.config.profile import load_profile
from curation_assets.embeddings.encoder import Encoder
from curation_assets.models.sources import resolve
from curation_assets.scoring.density import RaceSketch
from curation_assets.scoring.density_hashes import default_bits
from curation_assets.selection.keys import selection_keys
from curation_assets_tests.scoring.kernels import kernel_sums

COPIES, PLANTED, RATE, SEEDS = 51, 5, 0.2, 20
_OTHERS = 5.0  # mean kernel sum of the other documents that the L2 bandwidth is fitted to


class Vectors(NamedTuple):
    """Unit vectors, float32 [n, dim], and the source of each."""

    x: NDArray[np.float32]
    source: NDArray[np.str_]


def embed(folder: Path, documents: int) -> Vectors:
    """Embed the first documents of a folder's files as the local profile does."""
    read = list(islice(rows(folder), documents))
    settings = load_profile("local").embeddings
    model = resolve(settings.model, cache=tempfile.gettempdir())
    encoder = settings.to(Encoder, folder=model.folder, device="cpu", dtype="float32")
    x = encoder.embed(encoder.tokenize([row["text"] for row in read], first_row=0))
    return Vectors(x, np.array([row["source"] for row in read]))


def rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a folder's files, in the order of their names."""
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def fitted_bandwidth(x: NDArray[np.float32], bits: int) -> float:
    """Return the bandwidth at which the other documents have a kernel sum of `_OTHERS` on average."""
    low, high, some = 0.01, 50.0, x[:: max(1, len(x) // 500)]
    for _ in range(25):
        middle = (low * high) ** 0.5
        mean = kernel_sums(some, x, "l2", bits, middle).mean() - 1
        low, high = (middle, high) if mean < _OTHERS else (low, middle)
    return low


def choice(scores: NDArray[np.float64], seed: int, technique: str = "ips") -> NDArray[np.bool_]:
    """Return which documents are in the choice of 20 %."""
    keys = selection_keys(splitmix64(np.arange(len(scores), dtype=np.uint64)), scores, technique, seed)
    chosen = np.zeros(len(scores), bool)
    chosen[np.argsort(-keys)[: round(RATE * len(scores))]] = True
    return chosen


def changed(scores: NDArray[np.float64], others: NDArray[np.float64] | None = None) -> float:
    """Return which share of a choice is not in that of other scores (uniform ones without them), by the same noise."""
    other = np.ones(len(scores)) if others is None else others
    return float(
        np.mean(
            [1 - (choice(scores, s) & choice(other, s)).sum() / choice(other, s).sum() for s in range(SEEDS)]
        )
    )


def copies_left(x: NDArray[np.float32], settings: dict[str, Any]) -> float:
    """Return how many of the 51 copies of a document stay, on average over some documents and seeds."""
    at = np.linspace(0, len(x) - 1, PLANTED).astype(int)
    planted = np.concatenate([x, np.repeat(x[at], COPIES - 1, axis=0)])
    scores = sketched(planted, settings)
    which = np.concatenate([at, np.arange(len(x), len(planted))])
    return float(np.mean([choice(scores, seed)[which].sum() / PLANTED for seed in range(SEEDS)]))


def sketched(x: NDArray[np.float32], settings: dict[str, Any]) -> NDArray[np.float64]:
    """Return the densities that a sketch of 1,000 rows gives."""
    return np.maximum(RaceSketch(x.shape[1], **settings).add(x).density(x), 1.0)


def report(vectors: Vectors) -> None:
    """Print one line for each kernel, and which share of each source the choice keeps under the first two."""
    x, bits = vectors.x, default_bits(len(vectors.x), 20_000)
    kernels: dict[str, dict[str, Any]] = {
        "l2, 1 bit (the paper's)": {"kernel": "l2", "bits": 1, "bandwidth": 0.5},
        f"cosine, {bits} bits (the default)": {"bits": bits},
        f"cosine, {bits} bits, a pool of 1,000": {"bits": bits, "pool": 1_000},
        f"cosine, {bits} bits, no pool": {"bits": bits, "pool": bits * 1_000},
        **{f"cosine, {b} bits": {"bits": b} for b in (bits - 3, bits - 1, bits + 1, bits + 3) if 0 < b < 15},
        "l2, 16 bits": {"kernel": "l2", "bits": 16, "bandwidth": fitted_bandwidth(x, 16)},
    }
    print(f"{len(x):,} documents; choices of {RATE:.0%}, mean of {SEEDS} seeds")
    print(
        "| kernel | CV of exact weights | of the sketch's | choice changed | copies left of 51 | error | choice agrees |"
    )
    kept = {"random": np.ones(len(x))}
    for name, settings in kernels.items():
        kernel, bandwidth = settings.get("kernel", "cosine"), settings.get("bandwidth", 0.5)
        exact = kernel_sums(x, x, kernel, settings["bits"], bandwidth)
        scores = sketched(x, settings)
        error = float(np.sqrt(np.mean((scores / exact - 1) ** 2)))
        spread = [float(np.std(1 / s) / np.mean(1 / s)) for s in (exact, scores)]
        print(
            f"| {name} | {spread[0]:.3f} | {spread[1]:.3f} | {100 * changed(scores):.1f} % | {copies_left(x, settings):.1f} "
            f"| {error:.3f} | {100 - 100 * changed(scores, exact):.1f} % |",
            flush=True,
        )
        kept[name] = scores
    print("| source | documents |", " | ".join(list(kept)[:3]), "|")
    chosen = [np.mean([choice(s, seed) for seed in range(SEEDS)], axis=0) for s in list(kept.values())[:3]]
    for source in sorted(set(vectors.source)):
        here = vectors.source == source
        print(
            f"| {source} | {here.sum():,} |", " | ".join(f"{100 * c[here].mean():.1f}" for c in chosen), "|"
        )


def vectors_of(description: str | None) -> tuple[Vectors, Path]:
    """Return the vectors that the command line asks for, embedded unless a file keeps them, and the corpus's folder."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--documents", type=int, default=5_000)
    parser.add_argument("--vectors", type=Path, help="an .npz file that keeps the vectors")
    options = parser.parse_args()
    if options.vectors and options.vectors.exists():
        with np.load(options.vectors) as file:
            return Vectors(file["x"], file["source"]), options.corpus
    vectors = embed(options.corpus, options.documents)
    if options.vectors:
        np.savez(options.vectors, **vectors._asdict())
    return vectors, options.corpus


if __name__ == "__main__":
    report(vectors_of(__doc__)[0])
