"""N-grams of words as 64-bit hashes, and an index of those that stand in evaluation inputs.

A word is a run of Unicode letters, marks and digits, in NFC and lower case: as in the decontamination of GPT-3 (Brown et al. 2020,
appendix C) case and punctuation do not matter, and white space neither. An n-gram is n words in a row of one text.
In scripts that put no space between words a run of letters is a whole clause, so that overlaps are missed there.

The hash of words w1 ... wn is the polynomial ``B^n + w1 B^(n-1) + ... + wn`` modulo 2**64 in their own hashes: equal words at other
places, or another number of them, give another value. Of 10 billion n-grams looked up among 20 million, about 0.01 are
found by mistake.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.common.files import read_json
from curation_assets.common.hashing import hash_ids

WORDS = 13
"""Words of an n-gram, as in GPT-3 and much work since."""
LEAST_WORDS = 8
"""An evaluation input of so many words, but fewer than WORDS, is looked for as a whole; a shorter one is not."""

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int64]

_BETWEEN = r"[^\p{L}\p{M}\p{N}]+"
_BASE = np.uint64(0xD6E8FEB86659FD93)  # odd, so that no word's bits are lost
_SLOTS = 16  # bits of the filter for each n-gram of the index: 1 in 16 others passes it
_FILTERED = 1 << 22  # slots of the filter that are made together


def normalized(texts: pa.Array) -> pa.Array:
    """Return texts (strings, none missing) with their words in lower case and one space in place of all between them."""
    spaced = pc.replace_substring_regex(_lowered(texts), _BETWEEN, " ")
    return pc.ascii_trim(spaced, characters=" ")


def word_hashes(texts: pa.Array) -> tuple[Hashes, Numbers]:
    """Return the hashes of all words of all texts, uint64 [m], and the number of the text that each stands in, int64 [m].

    Raises
    ------
    ValueError
        A text is missing.
    """
    split = pc.split_pattern_regex(_lowered(texts), _BETWEEN)
    document = np.repeat(np.arange(len(texts)), pc.list_value_length(split).to_numpy(zero_copy_only=False))
    words = split.flatten()
    real = pc.greater(pc.binary_length(words), 0)  # a text may begin and end between words
    return hash_ids(words.filter(real)), document[real.to_numpy(zero_copy_only=False)]


def grams(words: Hashes, lengths: Collection[int]) -> Iterator[tuple[int, Hashes]]:
    """Yield (n, hashes of n words in a row from each place on, uint64 [m - n + 1]) for each of some lengths, rising.

    The words are those of all texts, so some of these cross from one text to the next. What is yielded is valid until the
    next is asked for. Lengths of more than m words are left out.
    """
    state = np.ones(len(words), np.uint64)
    for n in range(1, min(max(lengths, default=0), len(words)) + 1):
        state = state[: len(words) - n + 1]
        state *= _BASE
        state += words[n - 1 :]
        if n in lengths:
            yield n, state


def _lowered(texts: pa.Array) -> pa.Array:
    if texts.null_count:
        raise ValueError(f"text {texts.is_null().to_pylist().index(True)} is missing")
    return pc.utf8_lower(pc.utf8_normalize(texts.cast(pa.large_string()), form="NFC"))


class Overlaps(NamedTuple):
    """What some texts share with evaluation inputs.

    Attributes
    ----------
    distinct : different n-grams of the index in each text, int64 [number of texts].
    document, task, shared : for each text and task that share any, in order: their numbers, and how many different
        n-grams they share, int64 [k] each. An n-gram of several tasks counts for each.
    """

    distinct: Numbers
    document: Numbers
    task: Numbers
    shared: Numbers


class NgramIndex:
    """The n-grams of evaluation inputs and the tasks that they are of, memory-mapped from the files of `ngram_index.build_index`.

    A filter in memory, of 2 to 4 bytes for each n-gram, spares most texts the search.

    Attributes
    ----------
    tasks : (suite, task) by the task's number.
    """

    def __init__(self, folder: str | Path) -> None:
        """Open the index in a folder."""
        folder = Path(folder)
        about = read_json(folder / "index.json")
        self.tasks: list[tuple[str, str]] = [(suite, task) for suite, task in about["tasks"]]
        self._lengths: frozenset[int] = frozenset(about["lengths"])
        self._hashes: Hashes = np.load(folder / "ngrams.npy", mmap_mode="r", allow_pickle=False)
        self._task: NDArray[np.uint16] = np.load(folder / "tasks.npy", mmap_mode="r", allow_pickle=False)
        self._bits = max((_SLOTS * len(self._hashes)).bit_length(), 10)
        self._filter = self._make_filter()

    def __len__(self) -> int:
        """Return how many pairs of n-gram and task there are."""
        return len(self._hashes)

    def overlaps(self, texts: pa.Array) -> Overlaps:
        """Look up every n-gram of some texts; memory is about 15 times theirs."""
        hashes, document = self._candidates(*word_hashes(texts))
        first = np.searchsorted(self._hashes, hashes, "left")
        count = np.searchsorted(self._hashes, hashes, "right") - first
        present = count > 0
        first, count, document = first[present], count[present], document[present]
        of_match = np.arange(count.sum()) - np.repeat(count.cumsum() - count, count)
        task = self._task[np.repeat(first, count) + of_match].astype(np.int64)
        every = max(len(self.tasks), 1)
        pairs, shared = np.unique(np.repeat(document, count) * every + task, return_counts=True)
        distinct = np.bincount(document, minlength=len(texts)).astype(np.int64)
        return Overlaps(distinct, pairs // every, pairs % every, shared.astype(np.int64))

    def _candidates(self, words: Hashes, document: Numbers) -> tuple[Hashes, Numbers]:
        """Return the different (hash, text) of n-grams that pass the filter."""
        hashes, documents = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
        for n, candidates in grams(words, self._lengths):
            at = np.flatnonzero(self._may_have(candidates))
            at = at[document[at] == document[at + n - 1]]
            hashes.append(candidates[at])
            documents.append(document[at])
        return different(np.concatenate(hashes), np.concatenate(documents))

    def _may_have(self, hashes: Hashes) -> NDArray[np.bool_]:
        slot = hashes >> np.uint64(64 - self._bits)
        bit = np.left_shift(np.uint8(1), (slot & np.uint64(7)).astype(np.uint8))
        return (self._filter[slot >> np.uint64(3)] & bit) != 0

    def _make_filter(self) -> NDArray[np.uint8]:
        """Return one bit for each value of the first bits of a hash: whether the index has such a hash."""
        shift, total = np.uint64(64 - self._bits), 1 << self._bits
        bits = np.zeros(total // 8, np.uint8)
        step = min(_FILTERED, total)
        for low in range(0, total, step):
            ends = np.array([low << int(shift), ((low + step) << int(shift)) - 1], np.uint64)
            begin = np.searchsorted(self._hashes, ends[0], "left")
            end = np.searchsorted(self._hashes, ends[1], "right")
            taken = np.zeros(step, np.bool_)
            taken[(self._hashes[begin:end] >> shift) - np.uint64(low)] = True
            bits[low // 8 : (low + step) // 8] = np.packbits(taken, bitorder="little")
        return bits


def different(hashes: Hashes, document: Numbers) -> tuple[Hashes, Numbers]:
    """Return the different pairs of n-gram and text, ordered by text and hash."""
    order = np.lexsort((hashes, document))
    hashes, document = hashes[order], document[order]
    new = np.ones(len(hashes), np.bool_)
    new[1:] = (hashes[1:] != hashes[:-1]) | (document[1:] != document[:-1])
    return hashes[new], document[new]
