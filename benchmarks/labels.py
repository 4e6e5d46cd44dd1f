"""How well scores agree with labels that were not used to make them: `python -m benchmarks.labels CORPUS`.

CORPUS is a folder of JSON lines (`*.jsonl.gz` with id, text, source) with `hq_validation.jsonl.gz` beside them. Three sets of labels follow
from the sources: pages cleaned by people against other pages with their menus, people against GPT-2, mail against spam. Of each kind
`--documents` are taken, by hash. Printed are AUC, and AUC at equal length, with standard errors. The reference of dsir and q_classifier
is the half of the high-quality texts that the graph would use, and the corpus is the documents that are scored.

`--authors PYTHON` names an interpreter that has the package data-selection: its importance weights of the same texts are compared with dsir.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from curation_assets.common.auc import auc, length_controlled_auc
from curation_assets.common.hashing import hash_documents, noise, text_digest
from curation_assets.config.profile import load_profile
from curation_assets.corpus.reference import in_reference
from curation_assets.embeddings.encoder import Encoder
from curation_assets.models.sources import resolve
from curation_assets.scoring.density import RaceSketch
from curation_assets.scoring.dsir import dsir_scores, log_ratios, ngram_counts
from curation_assets.scoring.heuristic import heuristic_scores
from curation_assets.scoring.q_classifier import fit_classifier

SETS = {
    "clean pages against raw ones": (("wcxb_clean",), ("wcxb_raw",)),
    "people against GPT-2": (("c4_olmo", "blogs_dev"), ("gpt2_adv", "gpt2_sim")),
    "mail against spam": (("spamassassin_ham",), ("spamassassin_spam",)),
}
"""{what: sources of label 1, sources of label 0}."""

AUTHORS = """
import json, sys, time
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
    """Score, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--documents", type=int, default=700, help="of each label of each set")
    parser.add_argument("--authors", help="an interpreter that has data-selection")
    asked = parser.parse_args()
    texts, labels = labelled(asked.corpus, asked.documents)
    reference = [row["text"] for row in _rows(asked.corpus / "hq_validation.jsonl.gz")]
    reference = [text for text, wanted in zip(reference, in_reference(reference), strict=True) if wanted]
    columns, seconds = scored(texts, reference)
    print(f"{len(texts):,} documents, {len(reference):,} in the reference\n")
    print("| score | seconds | " + " | ".join(f"{name} | at equal length" for name in labels) + " |")
    print("|" + "---|" * (2 + 2 * len(labels)))
    lengths = np.array([len(text) for text in texts])
    for name, score in columns.items():
        cells = []
        for label in labels.values():
            rows = label >= 0
            cells += [
                _cell(*auc(score[rows], label[rows])),
                _cell(*length_controlled_auc(score[rows], label[rows], lengths[rows])),
            ]
        print(f"| {name} | {seconds.get(name, '')} | {' | '.join(cells)} |", flush=True)
    gumbel = -np.log(-np.log(noise(_hashes(texts), 0)))
    for name in ("dsir, sum", "dsir"):
        both = np.isin(_top(columns[name] + gumbel), _top(columns[name])).mean()
        print(f"\n{name}: of the 20 % that Gumbel top-k chooses, top-k chooses {both:.1%}", end="")
    print()
    if asked.authors:
        compare_with_authors(asked.authors, texts, reference, columns)


def labelled(corpus: Path, documents: int) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return texts, and of each set of labels an int array: 1, 0, or -1 for a document that it says nothing of."""
    by_source: dict[str, list[str]] = {}
    for path in sorted(corpus.glob("shard-*.jsonl.gz")):
        for row in _rows(path):
            by_source.setdefault(row["source"], []).append(row["text"])
    texts: list[str] = []
    marks: list[tuple[str, int]] = []
    for name, sides in SETS.items():
        for label, sources in zip((1, 0), sides, strict=True):
            pool = [text for source in sources for text in by_source[source]]
            chosen = np.argsort(_hashes(pool))[:documents]
            texts += [pool[i] for i in chosen]
            marks += [(name, label)] * len(chosen)
    return texts, {name: np.array([one if of == name else -1 for of, one in marks]) for name in SETS}


def scored(texts: list[str], reference: list[str]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return {score: float64 [n]}, and what some of them took."""
    profile = load_profile("local")
    settings, seconds = profile.samplers, dict[str, str]()
    with Clock(seconds, "heuristic"):
        prose = heuristic_scores(texts)
    with Clock(seconds, "dsir"):
        counts = [
            ngram_counts(some, settings.dsir.buckets, settings.dsir.seed) for some in (reference, texts)
        ]
        dsir, ngrams = dsir_scores(texts, log_ratios(*counts), settings.dsir.seed)
    encoder = profile.embeddings.to(
        Encoder, folder=resolve(profile.embeddings.model, cache=Path(tempfile.gettempdir())).folder
    )
    with Clock(seconds, "embeddings"):
        x, wanted = (encoder.embed(encoder.tokenize(some)) for some in (texts, reference))
    with Clock(seconds, "q_classifier"):
        probability = fit_classifier(wanted, x, settings.q_classifier.penalty).probability(x)
    with Clock(seconds, "density"):
        sketch = settings.density.to(RaceSketch, dim=x.shape[1], device="cpu").add(x)
        density = sketch.density(x)
    seconds["q_classifier"] += f" and {seconds['embeddings']} for vectors"
    return {
        "length in characters": np.array([float(len(text)) for text in texts]),
        "stop words": prose.stop_words,
        "lines that end as sentences": prose.sentence_lines,
        "mean line length": prose.line_length,
        "heuristic": prose.score,
        "dsir": dsir,
        "dsir, sum": dsir * ngrams,
        "n-grams": ngrams.astype(np.float64),
        "q_classifier": probability,
        "density": density,
    }, seconds


def compare_with_authors(
    python: str, texts: list[str], reference: list[str], columns: dict[str, np.ndarray]
) -> None:
    """Print how the authors' package orders the same texts, and what it takes."""
    from scipy.stats import spearmanr

    buckets = load_profile("local").samplers.dsir.buckets
    with tempfile.TemporaryDirectory() as folder:
        for name, some in (("raw", texts), ("target", reference)):
            Path(folder, f"{name}.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in some))
        command = [python, "-c", AUTHORS, folder, str(buckets)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        weights = np.load(Path(folder, "weights.npy"))
    mean = weights / np.maximum(columns["n-grams"], 1)
    print(f"\ndata-selection: {float(done.stdout.split()[-1]):.1f} s")
    print(
        f"Spearman: its sums and dsir's sums {spearmanr(weights, columns['dsir, sum']).statistic:.4f}, ",
        end="",
    )
    print(f"its means and dsir's {spearmanr(mean, columns['dsir']).statistic:.4f}, ", end="")
    print(f"its sums and dsir {spearmanr(weights, columns['dsir']).statistic:.4f}")
    print(f"of the 20 % by its means, dsir chooses {np.isin(_top(mean), _top(columns['dsir'])).mean():.1%}")


class Clock:
    """Notes the seconds of a block under a name."""

    def __init__(self, seconds: dict[str, str], name: str) -> None:
        self._seconds, self._name = seconds, name

    def __enter__(self) -> None:
        """Begin."""
        self._start = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        """End."""
        self._seconds[self._name] = f"{time.perf_counter() - self._start:.1f}"


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _hashes(texts: list[str]) -> np.ndarray:
    return hash_documents(pa.array([""] * len(texts)), [text_digest(text) for text in texts])


def _top(score: np.ndarray) -> np.ndarray:
    return np.argsort(-score, kind="stable")[: len(score) // 5]


def _cell(value: float, error: float) -> str:
    return f"{value:.3f} ± {error:.3f}"


if __name__ == "__main__":
    main()
