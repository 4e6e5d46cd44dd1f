"""A cheap baseline for scores of quality: how much of a text is running English prose, by its stop words and its lines.

Three shares, each from 0 to 1, and their mean; nothing is fitted to anything. What the shares are taken of is older than this: C4 keeps
lines that end as sentences (Raffel et al. 2020), Gopher's filter wants stop words (Rae et al. 2021, table A1).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curation_assets.common.progress import Progress, silent
from curation_assets.scoring.words import (
    SPACE,
    Characters,
    Words,
    blocks_of_texts,
    character_kinds,
    read_characters,
    split_words,
)

STOP_WORDS = (
    "the be to of and a in that have i it for not on with he as you do at this but his by from they we say her she or an will my "
    "one all would there their what so up out if about who get which go me is are was were been has had its than then them these"
)
"""The commonest English words, as word counts of running text have them."""
PROSE_STOP_SHARE = 0.4
"""Share of stop words from which a text counts as prose: of running English about two words in five are stop words."""
PROSE_LINE = 80
"""Characters from which a line counts as prose: a printed line."""
_ENDS, _CLOSING = ".!?…。！？", "\"'”’)]»*_"


class Heuristic(NamedTuple):
    """What of documents is prose, float64 [n] each.

    Attributes
    ----------
    score : the mean of three: `stop_words` / 0.4 and `line_length` / 80, both at most 1, and `sentence_lines`.
    stop_words : share of stop words among the words.
    sentence_lines : share of the lines with something on them that end as sentences do.
    line_length : mean length of these lines, in characters, without white space around them.
    """

    score: NDArray[np.float64]
    stop_words: NDArray[np.float64]
    sentence_lines: NDArray[np.float64]
    line_length: NDArray[np.float64]


def heuristic_scores(texts: Sequence[str], progress: Progress = silent) -> Heuristic:
    """Return how much documents look like running prose, and by what."""
    parts = [Heuristic(*(np.zeros(0) for _ in Heuristic._fields))]
    for rows in blocks_of_texts(texts):
        characters = read_characters(texts[rows])
        stop_words = _stop_word_share(split_words(characters))
        sentence_lines, line_length = _lines(characters)
        prose = np.minimum(stop_words / PROSE_STOP_SHARE, 1.0), np.minimum(line_length / PROSE_LINE, 1.0)
        score = (prose[0] + sentence_lines + prose[1]) / 3
        parts.append(Heuristic(score, stop_words, sentence_lines, line_length))
        progress(rows.stop, len(texts), "documents")
    return Heuristic(*map(np.concatenate, zip(*parts, strict=True)))


def _stop_word_share(words: Words) -> NDArray[np.float64]:
    document = np.repeat(np.arange(len(words.offsets) - 1), np.diff(words.offsets))
    count = len(words.offsets) - 1
    stop_hashes = _stop_hashes()
    nearest = np.searchsorted(stop_hashes[:-1], words.hashes)
    stops = np.bincount(document[stop_hashes[nearest] == words.hashes], minlength=count)
    return stops / np.maximum(np.bincount(document[words.letters], minlength=count), 1)


@cache
def _stop_hashes() -> NDArray[np.uint64]:
    return np.sort(split_words(read_characters(STOP_WORDS.split())).hashes)


def _lines(characters: Characters) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share of each document's lines that end as sentences, and their mean length; of lines that are not blank."""
    codes, offsets = characters
    count = len(offsets) - 1
    inked = np.flatnonzero(character_kinds()[codes] != SPACE)
    begins = codes == ord("\n")
    begins[offsets[:-1][offsets[:-1] < len(codes)]] = True
    line = np.cumsum(begins)[inked]
    first = np.flatnonzero(np.diff(line, prepend=-1))
    last = np.append(first[1:], len(line)) - 1
    if not len(first):
        return np.zeros(count), np.zeros(count)
    length = inked[last] - inked[first] + 1
    before = np.maximum(last - 1, first)
    closes, ends = (np.isin(codes[inked], [ord(c) for c in some]) for some in (_CLOSING, _ENDS))
    sentence = ends[last] | closes[last] & ends[before]
    document = np.searchsorted(offsets, inked[first], side="right") - 1
    lines = np.maximum(np.bincount(document, minlength=count), 1)
    return (
        np.bincount(document[sentence], minlength=count) / lines,
        np.bincount(document, weights=length, minlength=count) / lines,
    )
