"""Texts as arrays: the characters of many documents end to end, and the words among them, without a loop over documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation_assets.common.hashing import splitmix64

SPACE, PUNCTUATION, WORD = 0, 1, 2
_CODES = 0x110000
_BLOCK = 1 << 18  # characters at a time: their arrays stay in cache


class Characters(NamedTuple):
    """Code points uint32 [m] of documents, end to end, and int64 [n + 1] where each document begins and ends."""

    codes: NDArray[np.uint32]
    offsets: NDArray[np.int64]


class Words(NamedTuple):
    r"""The words and runs of punctuation of documents, lower case: what `\w+|[^\w\s]+` finds.

    Attributes
    ----------
    hashes : of each, uint64 [w].
    letters : whether it is a word (letters, digits, _) and no punctuation, bool [w].
    offsets : where the words of each document begin and end, int64 [n + 1].
    """

    hashes: NDArray[np.uint64]
    letters: NDArray[np.bool_]
    offsets: NDArray[np.int64]


def blocks_of_texts(texts: Sequence[str]) -> Iterator[slice]:
    """Yield slices of `texts` of about 2**18 characters, so that memory is of a block and its longest document."""
    first, characters = 0, 0
    for number, text in enumerate(texts, 1):
        characters += len(text)
        if characters >= _BLOCK or number == len(texts):
            yield slice(first, number)
            first, characters = number, 0


def read_characters(texts: Sequence[str]) -> Characters:
    """Return the characters of documents."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), "<u4")
    return Characters(codes, np.cumsum([0, *map(len, texts)], dtype=np.int64))


def split_words(characters: Characters) -> Words:
    """Return the words of documents: runs of letters, digits and _, and runs of what is neither that nor white space.

    A script without spaces is not cut between its words: a run of it is one.
    """
    codes, offsets = characters
    if not len(codes):
        return Words(np.zeros(0, np.uint64), np.zeros(0, bool), np.zeros_like(offsets))
    kinds = character_kinds()[codes]
    begins = np.concatenate([[True], kinds[1:] != kinds[:-1]])
    begins[offsets[:-1][offsets[:-1] < len(codes)]] = True
    starts = np.flatnonzero(begins)
    place = np.arange(len(codes)) - np.repeat(starts, np.diff(starts, append=len(codes)))
    mixed = splitmix64(_lower()[codes] | place.astype(np.uint64) << np.uint64(21))
    hashes, kind = np.add.reduceat(mixed, starts), kinds[starts]
    words = kind != SPACE
    return Words(
        splitmix64(hashes[words]),
        kind[words] == WORD,
        np.searchsorted(starts[words], offsets).astype(np.int64),
    )


@cache
def character_kinds() -> NDArray[np.uint8]:
    """Return of each code point whether it is white space, punctuation (or a sign), or part of a word."""
    kinds = np.full(_CODES, PUNCTUATION, np.uint8)
    kinds[np.fromiter(map(str.isspace, _every_character()), bool, _CODES)] = SPACE
    kinds[np.fromiter(map(str.isalnum, _every_character()), bool, _CODES)] = WORD
    kinds[ord("_")] = WORD
    return kinds


@cache
def _lower() -> NDArray[np.uint64]:
    """Return the lower case of each code point; the code point, where that is several."""
    lower = np.arange(_CODES, dtype=np.uint64)
    cased = np.fromiter(map(str.isupper, _every_character()), bool, _CODES)
    cased |= np.fromiter(map(str.istitle, _every_character()), bool, _CODES)
    for code in np.flatnonzero(cased).tolist():
        if len(low := chr(code).lower()) == 1:
            lower[code] = ord(low)
    return lower


def _every_character() -> Iterator[str]:
    return map(chr, range(_CODES))
