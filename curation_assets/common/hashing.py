"""Hashes of documents, and the noise that derives from them.

A document is its id and its text. Its randomness is a hash of the two and the seed, so a choice never depends on order,
sharding or workers, and files that each number their rows from 0 share no noise. The hash is stored once (`doc_hash`);
the noise of every seed derives from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import pyarrow as pa

_CHUNK = 1 << 18  # ids hashed together
_GOLDEN = 0x9E3779B97F4A7C15  # splitmix64's increment
_ID_SALT, _NOISE_SALT = 0x2545F4914F6CDD1D, 0xD1B54A32D192ED03  # keep ids and noise of one seed apart
_WORD = 8
_DIGEST = 16


def text_digest(text: str) -> bytes:
    """Return what stands for a text: BLAKE2b of its UTF-8, 16 bytes."""
    return blake2b(text.encode(), digest_size=_DIGEST).digest()


def hash_documents(
    doc_ids: Sequence[str] | np.ndarray | pa.Array | pa.ChunkedArray, digests: Sequence[bytes]
) -> np.ndarray:
    """Hash documents to their `doc_hash`, uint64 [n]: equal where id and text are.

    The first 8 bytes of each text's `text_digest` follow the id in `hash_ids` as one more word. Raises as that does.
    """
    ids = hash_ids(doc_ids)
    words = np.frombuffer(b"".join(digests), "<u8")[:: _DIGEST // _WORD]
    if len(words) != len(ids):
        raise ValueError(f"{len(ids)} document ids and {len(words)} text digests")
    return splitmix64((ids ^ words) + np.uint64(_GOLDEN))


def hash_ids(doc_ids: Sequence[str] | np.ndarray | pa.Array | pa.ChunkedArray, seed: int = 0) -> np.ndarray:
    """Hash document ids to uint64 [n], the same on every machine and for ever (pinned by test vectors).

    The UTF-8 bytes are read as little-endian 64-bit words, the last one padded with zeros. Starting from
    ``h = mix(length + salt(seed))``, each word makes ``h = mix((h ^ word) + golden)``; `mix` is splitmix64's
    finaliser, a bijection. Not cryptographic: whoever chooses ids can make them collide.

    Raises
    ------
    TypeError
        The ids are not strings.
    ValueError
        An id is missing or no valid UTF-8, or the seed is not in [0, 2**64).
    """
    ids = doc_ids if isinstance(doc_ids, pa.Array | pa.ChunkedArray) else _as_arrow(doc_ids)
    if ids.null_count:
        raise ValueError(f"document id {ids.is_null().to_pylist().index(True)} is missing")
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    if len(ids) and not any(is_kind(ids.type) for is_kind in kinds):
        raise TypeError(f"document ids must be strings, not {ids.type}")
    start = np.uint64(_scramble(seed, _ID_SALT))
    parts = [
        _hash_chunk(chunk.slice(at, _CHUNK).cast(pa.large_string()), start)
        for chunk in (ids.chunks if isinstance(ids, pa.ChunkedArray) else [ids])
        for at in range(0, len(chunk), _CHUNK)
    ]
    return np.concatenate([np.empty(0, dtype=np.uint64), *parts])


def noise(hashes: np.ndarray, seed: int) -> np.ndarray:
    """Uniform noise in the open interval (0, 1), float64 [n], of documents with the given hashes.

    The values are the odd multiples of 2**-53.
    """
    hashes = as_hashes(hashes)
    mixed = splitmix64(splitmix64(hashes ^ np.uint64(_NOISE_SALT)) + np.uint64(_scramble(seed, _NOISE_SALT)))
    return ((mixed >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def _as_arrow(doc_ids: Sequence[str] | np.ndarray) -> pa.Array:
    if isinstance(doc_ids, str | bytes):
        raise TypeError("document ids must be a sequence of strings, not one string")
    try:
        return pa.array(doc_ids, type=pa.large_string())
    except pa.ArrowTypeError as error:
        raise TypeError(f"document ids must be strings: {error}") from None
    except UnicodeEncodeError as error:
        raise ValueError(f"a document id is no valid Unicode: {error}") from None


def as_hashes(hashes: np.ndarray) -> np.ndarray:
    """Return hashes as they must be, uint64 [n]; TypeError where they are not."""
    hashes = np.asarray(hashes)
    if hashes.dtype != np.uint64 or hashes.ndim != 1:
        raise TypeError(f"hashes must be uint64 [n], not {hashes.dtype} {list(hashes.shape)}")
    return hashes


def _hash_chunk(ids: pa.Array, start: np.uint64) -> np.ndarray:
    """Hash the ids of a large_string array, one word position of all ids at a time."""
    _, offsets_buffer, data = ids.buffers()
    offsets = np.frombuffer(offsets_buffer, dtype=np.int64)[ids.offset : ids.offset + len(ids) + 1]
    low, high = int(offsets[0]), int(offsets[-1])
    text = np.zeros(high - low + _WORD, dtype=np.uint8)  # so that the last word can be read whole
    if high > low:
        text[: high - low] = np.frombuffer(data, dtype=np.uint8)[low:high]
    # A little-endian word may begin at any byte: a view of overlapping, unaligned words.
    words = np.ndarray(shape=(high - low + 1,), dtype="<u8", buffer=text, strides=(1,))

    length = np.diff(offsets)
    longest_first = np.argsort(-length, kind="stable")
    at, left = (offsets[:-1] - low)[longest_first], length[longest_first]
    state = splitmix64(left.astype(np.uint64) + start)
    while len(left) and left[0] > 0:
        active = int(np.searchsorted(-left, 0, side="left"))  # ids with bytes left come first
        at, left = at[:active], left[:active]
        word = words[at].astype(np.uint64, copy=False)
        unused = np.maximum(_WORD - left, 0).astype(np.uint64) * np.uint64(8)
        word &= np.uint64(2**64 - 1) >> unused  # bytes past the end belong to the next id
        state[:active] = splitmix64((state[:active] ^ word) + np.uint64(_GOLDEN))
        at, left = at + _WORD, left - _WORD
    out = np.empty_like(state)
    out[longest_first] = state
    return out


def splitmix64(h: np.ndarray) -> np.ndarray:
    """Apply splitmix64's finaliser (Steele et al. 2014, constants of Stafford's variant 13) to an array."""
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return h ^ (h >> np.uint64(31))


def _scramble(seed: int, salt: int) -> int:
    """Mix a seed with a salt to 64 bits, so that neighbouring seeds have nothing in common."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= int(seed) < 2**64:
        raise ValueError(f"a seed must be an integer in [0, 2**64), not {seed!r}")
    return int(splitmix64(np.array([(int(seed) * _GOLDEN + salt) % 2**64], dtype=np.uint64))[0])
