"""Our DSIR against the authors' package on the same texts: `python -m benchmarks.dsir_authors CORPUS PYTHON`.

CORPUS is what `benchmarks.labels` reads, PYTHON an interpreter that has the package data-selection. Printed are the rank correlation
of the importance weights, seconds of each, and what Gumbel top-k, which the authors draw by, would change.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.labels import hashes, labelled_rows, read_rows
from curation_assets.common.hashing import noise
from curation_assets.config.profile import load_profile
from curation_assets.corpus.reference import in_reference
from curation_assets.scoring.dsir import dsir_scores, log_ratios, ngram_counts

_AUTHORS = """
import sys, time
import numpy as np
from data_selection import HashedNgramDSIR
folder, buckets = sys.argv[1], int(sys.argv[2])
start = time.perf_counter()
dsir = HashedNgramDSIR([folder + "/raw.jsonl"], [folder + "/target.jsonl"], folder + "/cache", num_proc=1, num_buckets=buckets)
dsir.fit_importance_estimator("all")
dsir.compute_importance_weights()
np.save(folder + "/weights.npy", np.load(folder + "/cache/log_importance_weights/0.npy"))
print(time.perf_counter() - start)
"""


def main() -> None:
    """Score by both, and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("python", help="an interpreter that has data-selection")
    parser.add_argument("--documents", type=int, default=250, help="of each label of each set")
    asked = parser.parse_args()
    texts = [row["text"] for row in labelled_rows(asked.corpus, asked.documents)]
    reference = [row["text"] for row in read_rows(asked.corpus / "hq_validation.jsonl.gz")]
    reference = [text for text, wanted in zip(reference, in_reference(reference), strict=True) if wanted]
    settings = load_profile("local").samplers.dsir
    start = time.perf_counter()
    counts = [ngram_counts(some, settings.buckets, settings.seed) for some in (reference, texts)]
    mean, ngrams = dsir_scores(texts, log_ratios(*counts), settings.seed)
    print(f"{len(texts):,} texts, {len(reference):,} in the reference: {time.perf_counter() - start:.1f} s")
    gumbel = -np.log(-np.log(noise(hashes(texts), 0)))
    for name, score in (("sums", mean * ngrams), ("means", mean)):
        both = np.isin(_top(score + gumbel), _top(score)).mean()
        print(f"of the 20 % that Gumbel top-k of the {name} chooses, top-k chooses {both:.1%}")
    _compare(asked.python, texts, reference, settings.buckets, mean, mean * ngrams, np.maximum(ngrams, 1))


def _compare(
    python: str,
    texts: list[str],
    reference: list[str],
    buckets: int,
    mean: NDArray[np.float64],
    total: NDArray[np.float64],
    ngrams: NDArray[np.integer],
) -> None:
    from scipy.stats import spearmanr

    with tempfile.TemporaryDirectory() as folder:
        for name, some in (("raw", texts), ("target", reference)):
            Path(folder, f"{name}.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in some))
        command = [python, "-c", _AUTHORS, folder, str(buckets)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        weights = np.load(Path(folder, "weights.npy"))
    theirs = weights / ngrams
    print(f"data-selection: {float(done.stdout.split()[-1]):.1f} s")
    for name, one, other in (
        ("sums", weights, total),
        ("means", theirs, mean),
        ("its sums and our means", weights, mean),
    ):
        print(f"Spearman, {name}: {spearmanr(one, other).statistic:.4f}")
    print(f"of the 20 % by its means, ours chooses {np.isin(_top(theirs), _top(mean)).mean():.1%}")


def _top(score: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.argsort(-score, kind="stable")[: len(score) // 5]


if __name__ == "__main__":
    main()
