"""What hybrids and strata keep of a corpus by source: `python -m benchmarks.stages CORPUS --documents 5000 --vectors FILE.npz`.

Scores of the first documents of a folder with a field `source`, by samplers that need no language model, as the local profile has them.
"""

from __future__ import annotations

from collections import Counter
from itertools import islice

import numpy as np

from benchmarks.density_kernels import Vectors, rows, sketched, vectors_of
from curation_assets.common.markdown import markdown_table
from curation_assets.sampling import select
from curation_assets.scoring.clusters import assign, default_clusters, fit_centroids
from curation_assets.scoring.density_hashes import default_bits
from curation_assets.scoring.heuristic import heuristic_scores
from curation_assets.scoring.semdedup import semdedup_scores

RATE = 0.2
CHOICES = (
    ("random", "", ""),
    ("density", "", ""),
    ("semdedup", "", ""),
    ("heuristic", "", ""),
    ("density", "semdedup < 0.9", ""),
    ("density", "heuristic 50%", ""),
    ("density", "", "source"),
    ("heuristic", "", "source"),
    ("heuristic", "", "cluster"),
    ("density", "heuristic 50%", "source"),
)
"""Sampler, first stage, strata."""


def main() -> None:
    """Print the share of each source, in percent, of the corpus and of each choice."""
    vectors, corpus = vectors_of(__doc__)
    texts = [row["text"] for row in islice(rows(corpus), len(vectors.x))]
    print(markdown_table(table(vectors, texts)))


def table(vectors: Vectors, texts: list[str]) -> list[dict[str, object]]:
    """Return a row for the corpus and for each choice."""
    x, source, n = vectors.x, vectors.source, len(texts)
    cluster, _ = assign(x, fit_centroids(x, default_clusters(n), 0).centroids)
    scores = {
        "random": np.ones(n),
        "density": sketched(x, {"bits": default_bits(n, 20_000)}),
        "semdedup": semdedup_scores(x, cluster)[0],
        "heuristic": heuristic_scores(texts).score,
    }
    techniques = {"random": "uniform", "density": "ips"}
    ids = [f"{number}" for number in range(n)]
    strata = {"": None, "source": source.tolist(), "cluster": cluster.astype(str).tolist()}
    firsts = {
        "": None,
        "semdedup < 0.9": -scores["semdedup"] < 0.9,
        "heuristic 50%": select(ids, scores["heuristic"], 0.5, "top_k", 0),
    }
    names = [name for name, _ in Counter(source.tolist()).most_common()]

    def row(name: str, kept: np.ndarray, plain: np.ndarray) -> dict[str, object]:
        shares = {one: f"{100 * (source[kept] == one).mean():.1f}" for one in names}
        return {
            "choice": name,
            "kept": int(kept.sum()),
            "exchanged": f"{1 - plain[kept].mean():.1%}",
            **shares,
        }

    rows, everything = [], np.ones(n, bool)
    rows.append(row("whole corpus", everything, everything))
    for sampler, first, within in CHOICES:
        technique = techniques.get(sampler, "top_k")
        kept = select(ids, scores[sampler], RATE, technique, 0, first=firsts[first], within=strata[within])
        plain = select(ids, scores[sampler], RATE, technique, 0)
        name = " ".join(filter(None, (sampler, first and f"of {first}", within and f"within {within}")))
        rows.append(row(name, kept, plain))
    return rows


if __name__ == "__main__":
    main()
