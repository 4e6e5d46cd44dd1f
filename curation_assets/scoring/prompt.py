"""The Ask-LLM prompt (v1, figure 3), and documents that talk to the judge.

A document stands between two delimiter lines and before the question. One that quotes the delimiter, the question, the
options, an answer or a chat model's control strings could end its own paragraph and answer for the judge; one that frames questions and answers
or gives orders can talk it into its answer. `neutralise` breaks such passages up by a visible mark and says what it found (`scoring.passages` has
the kinds, and what is not covered); it only ever inserts the mark, so that whoever deletes the marks has the document again (unless it held some
itself), and nothing is hidden from the judge. A mark keeps a document in its place but does not keep a weak judge from being impressed, so there is
also `without`: the document less such passages. A scorer takes the lower of the two scores, and then there is little to gain by them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from curation_assets.scoring.passages import DROPPED, MARK, Flag, passages

PREFIX = "###\n"
SUFFIX = """
###

Does the previous paragraph demarcated within ### and ### contain informative signal for pre-training a large-language model? An informative datapoint should be well-formatted, contain some usable knowledge of the world, and strictly NOT have any harmful, racist, sexist, etc. content.

OPTIONS:
- yes
- no"""

PLACE = "{document}"
TEMPLATE = PREFIX + PLACE + SUFFIX

SUSPICIOUS = Flag(255) & ~Flag.HEADING  # the reasons to judge a document a second time, `without`


def frame_of(template: str) -> tuple[str, str]:
    """Return what stands before and after the document; ValueError where a template has not exactly one place for it."""
    parts = template.split(PLACE)
    if len(parts) != 2:
        raise ValueError(f"the template has {len(parts) - 1} places {PLACE}, expected one")
    return parts[0], parts[1]


def neutralise(text: str) -> tuple[str, Flag]:
    """Return `text` with a mark in every string that could speak for the judge, and what was found.

    A fixed point: the result has nothing left to mark. Matching ignores case and runs on the text as T5's NFKC
    normalisation will see it, so full-width "＃＃＃" counts. About 8 MB of English web text a second, and of any text in time with its length.
    """
    flags = Flag(0)
    while strings := list(passages(text)):
        for one in strings:
            flags |= one.flag
        cuts = sorted({mark for one in strings for mark in one.marks})
        text = MARK.join(text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True))
    return text, flags


def neutralise_all(texts: Iterable[str]) -> tuple[list[str], NDArray[np.uint8]]:
    """Return `neutralise` of each text: the texts, and their flags as uint8[n]."""
    pairs = [neutralise(text) for text in texts]
    return [text for text, _ in pairs], np.array([flag for _, flag in pairs], np.uint8)


def readings(texts: Sequence[str]) -> tuple[list[str], NDArray[np.uint8], NDArray[np.int64]]:
    """Return what a judge reads of n texts, their flags, and which rows it reads again.

    First come all texts, neutralised [n], then the suspicious ones of these rows once more, `without`: the lower score counts.
    """
    clean, flags = neutralise_all(texts)
    again = np.flatnonzero(flags & SUSPICIOUS)
    return clean + [neutralise(without(texts[row]))[0] for row in again.tolist()], flags, again


def without(text: str) -> str:
    """Return `text` less the passages that `neutralise` would mark, each replaced by a space; headings stay.

    With an answer goes the question before it, or its label; of an order and of the prompt's question the whole sentence.
    """
    text = re.sub(f"[{DROPPED}]+", "", text)
    kept, at = [], 0
    for one in sorted((one for one in passages(text) if one.flag in SUSPICIOUS), key=lambda one: one.start):
        kept.append(text[at : one.start])  # empty where two passages overlap
        at = max(at, one.end)
    return " ".join([*kept, text[at:]])
