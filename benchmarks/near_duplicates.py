"""Near copies planted in a corpus of one's own: at which cosine SemDeDup finds them, and at which cosine fixed rates cut.

python -m benchmarks.near_duplicates FOLDER: JSON lines with a field `text`, compressed or not. With the embedder of the local profile.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from curation_assets.common.hashing import hash_ids
from curation_assets.common.markdown import text_table
from curation_assets.config.profile import load_profile
from curation_assets.config.registry import RATES
from curation_assets.embeddings.encoder import Encoder
from curation_assets.models.sources import resolve
from curation_assets.scoring.clusters import assign, default_clusters, fit_centroids
from curation_assets.scoring.semdedup import semdedup_scores, threshold_counts

_THRESHOLDS = (1.0, 0.98, 0.95, 0.92, 0.9, 0.85, 0.8, 0.7, 0.5)
_LEAST_WORDS = 20  # of a document that is copied


def main() -> None:
    """Print where rates cut, and what thresholds find of copies in which words are replaced by others, in two ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--documents", type=int, default=5000)
    parser.add_argument("--copies", type=int, default=500)
    parser.add_argument(
        "--changed", type=float, default=0.05, help="share of the words of a copy (default: 0.05)"
    )
    parser.add_argument(
        "--clusters", type=int, default=0, help="default: by the number of documents, as in the graph"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    texts = sample(options.folder, options.documents)
    draw = np.random.default_rng(options.seed)
    long = np.flatnonzero([len(text.split()) >= _LEAST_WORDS for text in texts])
    originals = draw.choice(long, options.copies, replace=False)
    running = [word for text in texts for word in text.split()]
    words = {"running text": running, "vocabulary": sorted(set(running))}
    x = embed(texts)
    k = options.clusters or default_clusters(len(texts))
    centroids = fit_centroids(x, k, 0).centroids
    print(f"{len(texts):,} documents, {k} clusters")
    rates(x, assign(x, centroids)[0])
    for kind, of in words.items():
        copies = embed([changed(texts[i], options.changed, of, draw) for i in originals])
        print(
            f"\n{len(copies):,} copies with {options.changed:.0%} of the words replaced, by words of the {kind}"
        )
        found(np.concatenate([x, copies]), centroids, originals)


def sample(folder: Path, count: int) -> list[str]:
    """Return the texts of the smallest hashes, each once."""
    unique = sorted({text for path in sorted(folder.glob("*.jsonl*")) for text in read(path)})
    return [unique[i] for i in np.sort(np.argsort(hash_ids(unique), kind="stable")[:count])]


def read(path: Path) -> Iterator[str]:
    """Yield the texts of a file."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        yield from (text for line in lines if (text := json.loads(line)["text"]).strip())


def changed(text: str, share: float, vocabulary: Sequence[str], draw: np.random.Generator) -> str:
    """Return a text with a share of its words, one at least, replaced by words of the corpus."""
    words = text.split()
    places = draw.choice(len(words), max(1, round(share * len(words))), replace=False)
    for place, other in zip(places, draw.integers(len(vocabulary), size=len(places)), strict=True):
        words[place] = vocabulary[other]
    return " ".join(words)


def embed(texts: list[str]) -> np.ndarray:
    """Return the vectors of texts as `corpus/embeddings` has them under the local profile."""
    settings = load_profile("local").embeddings
    with tempfile.TemporaryDirectory() as scratch:
        folder = resolve(settings.model, cache=Path(scratch)).folder
        return settings.to(Encoder, folder=folder, device="cpu", dtype="float32").encode(texts)


def found(x: np.ndarray, centroids: np.ndarray, originals: np.ndarray) -> None:
    """Print for each threshold how many planted pairs lie beyond it and lose one of the two, and what goes without any copy."""
    (cluster, _), n = assign(x, centroids), len(x) - len(originals)
    score, _ = semdedup_scores(x, cluster)
    copies = np.arange(n, len(x))
    pair = np.einsum("ij,ij->i", x[originals].astype(np.float64), x[copies].astype(np.float64))
    lower = np.minimum(score[originals], score[copies])
    removed, groups = threshold_counts(*semdedup_scores(x[:n], cluster[:n]), np.array(_THRESHOLDS))
    print(text_table([
        {
            "remove at": f"{t:.2f}",
            "pairs at or above": f"{(pair >= t).mean():.1%}",
            "pairs of which one goes": f"{(-lower >= t).mean():.1%}",
            "documents removed": int(removed[i]),
            "groups": int(groups[i]),
        }
        for i, t in enumerate(_THRESHOLDS)
    ]))  # fmt: skip
    apart = cluster[originals] != cluster[copies]
    print(
        f"\npairs in two clusters, which are not compared: {apart.mean():.1%}; median cosine of a pair {np.median(pair):.3f}"
    )


def rates(x: np.ndarray, cluster: np.ndarray) -> None:
    """Print at which cosine each rate cuts the corpus as it is, without copies."""
    score, _ = semdedup_scores(x, cluster)
    cuts = {rate: -np.sort(score)[-round(int(rate) / 100 * len(score))] for rate in RATES}
    print("fixed rates cut at cosine: " + ", ".join(f"{rate} % {cut:.3f}" for rate, cut in cuts.items()))


if __name__ == "__main__":
    main()
