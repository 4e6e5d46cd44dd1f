"""The heuristic by brute force, and what it says of prose and of what is none."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.scoring.heuristic import PROSE_LINE, PROSE_STOP_SHARE, STOP_WORDS, heuristic_scores

PIECES = st.sampled_from(["the", " ", "cat", "\n", ".", '."', "!)", "and ", "x_1", "。", "\n\n", ", ", "\t"])
TEXTS = st.lists(st.lists(PIECES, max_size=12).map("".join), min_size=1, max_size=5)


def _by_hand(text: str) -> tuple[float, float, float]:
    words = [w for w in re.findall(r"\w+|[^\w\s]+", text.lower()) if re.match(r"\w", w)]
    stops = sum(word in STOP_WORDS.split() for word in words) / max(len(words), 1)
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    inked = ["".join(line.split()) for line in lines]
    ends = sum(bool(re.search(r"[.!?…。！？]([\"'”’)\]»*_])?$", line)) for line in inked) / max(len(lines), 1)
    return stops, ends, sum(map(len, lines)) / max(len(lines), 1)


@settings(deadline=None)  # tables of all characters are made once
@given(TEXTS)
def test_what_it_is_the_mean_of(texts: list[str]) -> None:
    scored = heuristic_scores(texts)
    for row, text in enumerate(texts):
        stops, ends, length = _by_hand(text)
        assert scored.stop_words[row] == pytest.approx(stops)
        assert scored.sentence_lines[row] == pytest.approx(ends)
        assert scored.line_length[row] == pytest.approx(length)
        expected = (min(stops / PROSE_STOP_SHARE, 1) + ends + min(length / PROSE_LINE, 1)) / 3
        assert scored.score[row] == pytest.approx(expected)
        assert scored.score[row] == heuristic_scores([text]).score[0]


def test_prose_scores_above_a_menu() -> None:
    prose = (
        "It was the best of times, it was the worst of times, and we had all that there is before us.\n" * 3
    )
    menu = "Home\nProducts\nSupport\nContact\nLog in\nCart (0)\n"
    high, low = heuristic_scores([prose, menu]).score
    assert high > 0.9 and low < 0.2


def test_no_document_has_no_score_and_an_empty_one_has_0() -> None:
    assert all(len(column) == 0 for column in heuristic_scores([]))
    assert np.array(heuristic_scores(["", " \n"])).tolist() == [[0.0, 0.0]] * 4
