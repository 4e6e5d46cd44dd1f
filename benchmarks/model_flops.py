"""Operations of what the GPU benchmark runs, by a formula for each shape: two for a multiply-add of a matrix product, nothing else is counted.

Of a T5 they are in `curation_assets.pretraining.flops`. A causal mask hides results and saves nothing, as there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curation_assets.models import span_corruption
from curation_assets.models.t5 import Shape
from curation_assets.pretraining.flops import forward_flops


@dataclass(frozen=True)
class Decoder:
    """A decoder-only model of Llama's and Mistral's kind: gated feed-forward layers, grouped queries, a head of its own."""

    hidden: int
    ff: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int


MISTRAL_7B = Decoder(hidden=4096, ff=14336, layers=32, heads=32, kv_heads=8, vocabulary=32000)


def decoder_flops(shape: Decoder, tokens: float, predicted: float) -> float:
    """Return the operations of reading so many tokens, with logits for `predicted` of them."""
    d, head = shape.hidden, shape.hidden // shape.heads
    query, key = d * d, d * head * shape.kv_heads
    layer = 2 * tokens * (2 * query + 2 * key + 3 * d * shape.ff) + 4 * d * tokens**2
    return shape.layers * layer + 2 * d * shape.vocabulary * predicted


def encoder_flops(shape: Shape, inputs: float, *, matrices: int) -> float:
    """Return the operations of a T5's encoder alone; its feed-forward layer has 2 matrices (T5 v1.0, Sentence-T5) or 3 (v1.1)."""
    inner = shape.num_heads * shape.d_kv
    layer = 2 * inputs * (4 * shape.d_model * inner + matrices * shape.d_model * shape.d_ff)
    return shape.num_layers * (layer + 4 * inner * inputs**2)


def ask_flops(shape: Shape | Decoder, vocabulary: int, lengths: Sequence[int]) -> float:
    """Return the operations of asking for the first token of an answer to inputs of these lengths, padding left out.

    Of a T5 those that `t5.first_logits` takes: no encoder token is projected to a key and a value of the cross-attention.
    """
    if isinstance(shape, Decoder):
        return sum(decoder_flops(shape, length, 1) for length in lengths)
    d, inner = shape.d_model, shape.num_heads * shape.d_kv
    layer = 2 * (
        6 * d * inner + 3 * d * shape.d_ff
    )  # value, query, two outputs, and the cross-attention's key and value of one token
    fixed = shape.num_layers * layer + 2 * d * vocabulary
    looks = (
        4 * shape.num_layers * shape.num_heads * d
    )  # for a token of the input: its score and its share of the mean
    return sum(encoder_flops(shape, length, matrices=3) + fixed + looks * length for length in lengths)


def span_flops(shape: Shape, vocabulary: int, windows: np.ndarray) -> float:
    """Return the operations of the span-corruption likelihood of windows of so many raw tokens."""
    lengths, counts = np.unique(windows, return_counts=True)
    inputs, targets = span_corruption.corrupted_lengths(lengths)
    each = [forward_flops(shape, vocabulary, i, t) for i, t in zip(inputs, targets, strict=True)]
    return float(np.dot(counts, each))


def sketch_flops(documents: int, dim: int, projections: int) -> float:
    """Return the operations of one pass of the density sketch: a product with all projections."""
    return 2.0 * documents * dim * projections


def nearest_flops(documents: int, dim: int, centroids: int) -> float:
    """Return the operations of one assignment to centroids; an iteration of k-means is one."""
    return 2.0 * documents * dim * centroids


def pair_flops(sizes: np.ndarray, dim: int) -> float:
    """Return the operations of comparing each document with those before it in its cluster: half of the square."""
    wide = sizes.astype(np.float64)
    return float(2.0 * dim * (wide * (wide - 1) / 2).sum())
