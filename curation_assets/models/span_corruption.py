"""T5's span corruption (Raffel et al. 2020, section 3.1.4), on whole batches of NumPy arrays.

The rule is that of T5's own code: a share `density` of the tokens is noise, in spans of `mean_span` tokens on average,
whose lengths and places are uniform random segmentations. A sequence begins with kept tokens and ends with noise. In the
inputs each noise span becomes one sentinel; the targets are `<extra_id_0> span <extra_id_1> span ... </s>`.
Sentinel k has the id `first_sentinel - k`: `<extra_id_0>` is the highest id (32099 for T5), as in T5's vocabulary.

Randomness is a hash, not a generator: every sequence has a 64-bit key, and its mask is a pure function of the key and its
length, whatever else stands in the batch.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from curation_assets.common.hashing import splitmix64

SENTINELS = 100  # T5's vocabulary has <extra_id_0> ... <extra_id_99>
_TRAINING, _DOCUMENT = 0x7261696E, 0x646F6375  # two families of keys that never meet

Ints = NDArray[np.int64]
Tokens = NDArray[np.integer]


def mix(*parts: ArrayLike) -> NDArray[np.uint64]:
    """Hash integers to uint64, broadcast against each other; a bijection of the last part when the others are fixed.

    Each part goes through splitmix64's finalizer (Steele et al. 2014) on top of the ones before it.
    """
    state = np.zeros(1, np.uint64)
    for part in parts:
        state = splitmix64(state ^ (np.atleast_1d(part).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)))
    return state


def batch_keys(seed: int, step: int, rows: ArrayLike) -> NDArray[np.uint64]:
    """Return the mask keys, uint64[B], of the given rows of training step `step`."""
    return mix(_TRAINING, seed, step, rows)


def document_keys(doc_hash: ArrayLike, window: ArrayLike, seed: int) -> NDArray[np.uint64]:
    """Return the mask keys, uint64[n], of windows of documents; the document, never its place, decides."""
    return mix(_DOCUMENT, seed, window, doc_hash)


def noise_counts(lengths: ArrayLike, density: float = 0.15, mean_span: float = 3.0) -> tuple[Ints, Ints]:
    """Return the number of noise tokens and of noise spans in sequences of the given lengths.

    T5's rule, `round(length * density)` tokens in `round(noise / mean_span)` spans, with at least one of each and at
    least one kept token. Where T5 has no rule: one token is all noise, no token has no noise, and there are never more
    spans than kept tokens to stand between them.
    """
    if not 0.0 < density < 1.0:
        raise ValueError(f"density must lie between 0 and 1, not {density}")
    if mean_span < 1.0:
        raise ValueError(f"mean_span must be at least 1 token, not {mean_span}")
    n = np.asarray(lengths, np.int64)
    noise = np.clip(np.rint(n * density).astype(np.int64), 1, np.maximum(n - 1, 1))
    noise = np.minimum(noise, n)
    spans = np.maximum(np.rint(noise / mean_span).astype(np.int64), 1)
    return noise, np.minimum(spans, np.minimum(noise, np.maximum(n - noise, 1)))


def corrupted_lengths(lengths: ArrayLike, density: float = 0.15, mean_span: float = 3.0) -> tuple[Ints, Ints]:
    """Return how many input and target tokens, EOS included, sequences of the given lengths corrupt to."""
    noise, spans = noise_counts(lengths, density, mean_span)
    return np.asarray(lengths, np.int64) - noise + spans + 1, noise + spans + 1


@lru_cache
def lengths(input_length: int, density: float = 0.15, mean_span: float = 3.0) -> tuple[int, int]:
    """Return `(raw_length, target_length)` such that raw tokens corrupt to exactly `input_length` inputs.

    The longest such sequence, as `random_spans_helper` in T5's code finds it: 512 inputs come from 568 tokens and have
    114 targets, EOS counted in both. Nothing is ever padded.
    """
    if input_length < 3:
        raise ValueError(
            f"input_length must be at least 3 (a kept token, a sentinel, EOS), not {input_length}"
        )
    raw = input_length - 1
    while int(corrupted_lengths(raw + 1, density, mean_span)[0]) <= input_length:
        raw += 1
    inputs, targets = (int(n) for n in corrupted_lengths(raw, density, mean_span))
    if inputs != input_length:
        raise ValueError(f"no sequence corrupts to exactly {input_length} inputs at density {density}")
    if int(noise_counts(raw, density, mean_span)[1]) > SENTINELS:
        raise ValueError(
            f"input_length {input_length} needs more than the {SENTINELS} sentinels that there are"
        )
    return raw, targets


def noise_mask(
    keys: ArrayLike, lengths: ArrayLike, density: float = 0.15, mean_span: float = 3.0
) -> NDArray[np.bool_]:
    """Return bool[B, longest]: True where a token is noise; False beyond a sequence's length.

    Parameters
    ----------
    keys : uint64[B]
        One key per sequence, from `batch_keys` or `document_keys`.
    lengths : int or int[B]
        The sequences' lengths in tokens.
    """
    keys = np.atleast_1d(np.asarray(keys, np.uint64))
    n = np.broadcast_to(np.asarray(lengths, np.int64), keys.shape)
    noise, spans = noise_counts(n, density, mean_span)
    longest = int(n.max(initial=0))
    kept_spans = _segment(mix(0, keys), n - noise, spans)
    noise_spans = _segment(mix(1, keys), noise, spans)
    # A token's span is the number of spans that end at or before it; the odd spans are noise.
    ends = np.stack([kept_spans, noise_spans], axis=2).reshape(len(keys), -1).cumsum(axis=1)
    flat = ends + np.arange(len(keys))[:, None] * (longest + 1)
    ended = np.bincount(flat.ravel(), minlength=len(keys) * (longest + 1)).reshape(-1, longest + 1)
    odd = ended.cumsum(axis=1)[:, :longest] % 2 == 1
    return odd & (np.arange(longest) < n[:, None])


def _segment(keys: NDArray[np.uint64], items: Ints, segments: Ints) -> Ints:
    """Cut `items[b]` items into `segments[b]` non-empty runs, uniformly; lengths, int[B, most], zeros after the last."""
    rows, width, most = len(keys), int(items.max(initial=0)), int(segments.max(initial=0))
    first = np.zeros((rows, width), np.bool_)
    if width == 0:
        return np.zeros((rows, most), np.int64)
    first[:, 0] = items > 0
    if (
        width > 1 and most > 1
    ):  # segments - 1 of the gaps between items, those with the smallest hashes, are cuts
        gaps = np.arange(width - 1)
        draw = mix(keys[:, None], gaps)
        draw[gaps >= (items - 1)[:, None]] = np.iinfo(np.uint64).max
        chosen = np.argsort(draw, axis=1, kind="stable")[:, : most - 1]
        np.put_along_axis(first[:, 1:], chosen, np.arange(most - 1) < (segments - 1)[:, None], axis=1)
    segment = first.cumsum(axis=1) - 1 + np.arange(rows)[:, None] * most
    inside = np.arange(width) < items[:, None]
    return np.bincount(segment[inside], minlength=rows * most).reshape(rows, most)


def corrupt(
    tokens: Tokens, mask: NDArray[np.bool_], *, eos: int, first_sentinel: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Corrupt sequences of one length whose masks have equally many tokens and spans.

    Parameters
    ----------
    tokens : int[B, L]
    mask : bool[B, L]
        From `noise_mask`.

    Returns
    -------
    inputs int64[B, Li] and targets int64[B, Lt], both ending in EOS, nothing padded.

    Raises
    ------
    ValueError
        Where rows would differ in length, or a row has more than 100 noise spans.
    """
    tokens = np.asarray(tokens)
    inputs, n_inputs, targets, n_targets = corrupt_padded(
        tokens, mask, tokens.shape[1], eos=eos, first_sentinel=first_sentinel
    )
    if np.ptp(n_inputs) or np.ptp(n_targets):
        raise ValueError("rows differ in their number of noise tokens or spans; use corrupt_padded")
    return inputs, targets


def corrupt_padded(
    tokens: Tokens,
    mask: NDArray[np.bool_],
    lengths: ArrayLike,
    *,
    eos: int,
    first_sentinel: int,
    pad: int = 0,
) -> tuple[NDArray[np.int64], Ints, NDArray[np.int64], Ints]:
    """Corrupt right-padded sequences of any lengths: `(inputs, input_lengths, targets, target_lengths)`.

    Parameters
    ----------
    tokens, mask : int[B, L], bool[B, L]
        What stands beyond a row's length is not read.
    lengths : int or int[B]

    Returns
    -------
    int64[B, longest] each for inputs and targets, right-padded with `pad`, and int64[B] for their lengths with EOS.
    A sequence of one token becomes `<extra_id_0> </s>` -> `<extra_id_0> token </s>`; an empty one `</s>` -> `</s>`.
    """
    tokens, mask = np.asarray(tokens), np.asarray(mask)
    if tokens.shape != mask.shape or tokens.ndim != 2:
        raise ValueError(f"tokens and mask must be [B, L] alike, not {tokens.shape} and {mask.shape}")
    rows, width = tokens.shape
    n = np.broadcast_to(np.asarray(lengths, np.int64), (rows,))
    inside = np.arange(width) < n[:, None]
    mask = mask & inside
    starts = mask.copy()
    starts[:, 1:] &= ~mask[:, :-1]
    span = starts.cumsum(axis=1)
    if span.size and span[:, -1].max(initial=0) > SENTINELS:
        raise ValueError(
            f"a sequence has {span[:, -1].max()} noise spans; there are only {SENTINELS} sentinels"
        )
    sentinel = first_sentinel + 1 - span

    every = np.arange(rows)
    source = np.full((rows, width + 1), eos, np.int64)
    source[:, :-1] = np.where(starts, sentinel, tokens)
    keep = np.zeros((rows, width + 1), np.bool_)
    keep[:, :-1] = inside & (starts | ~mask)
    source[every, n] = eos
    keep[every, n] = True

    pairs = np.full((rows, width + 1, 2), eos, np.int64)  # before each token room for the sentinel of a span
    pairs[:, :-1, 0], pairs[:, :-1, 1] = sentinel, tokens
    wanted = np.zeros((rows, width + 1, 2), np.bool_)
    wanted[:, :-1, 0], wanted[:, :-1, 1] = starts, mask
    pairs[every, n, 1] = eos
    wanted[every, n, 1] = True
    return *_compact(source, keep, pad), *_compact(pairs.reshape(rows, -1), wanted.reshape(rows, -1), pad)


def _compact(values: NDArray[np.int64], keep: NDArray[np.bool_], pad: int) -> tuple[NDArray[np.int64], Ints]:
    """Move each row's kept values to its left and fill up with `pad`."""
    counts = keep.sum(axis=1)
    width = int(counts.max(initial=0))
    out = np.full((len(values), width), pad, np.int64)
    out[np.arange(width) < counts[:, None]] = values[keep]
    return out, counts
