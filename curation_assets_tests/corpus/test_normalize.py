import time
import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.corpus.normalize import defect, normalize


@given(st.text())
@settings(max_examples=200, deadline=None)
def test_is_idempotent_nfc_and_keeps_every_other_character(text):
    once = normalize(text)
    assert normalize(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once == unicodedata.normalize("NFC", "\n".join(text.replace("\r\n", "\n").split("\r")))


def test_composes_and_turns_line_ends_but_leaves_white_space_and_compatibility_forms():
    assert normalize("e\u0301") == "\u00e9"
    assert normalize("a\r\nb\rc\n\r") == "a\nb\nc\n\n"
    same = " \t x\u00a0 \ufb01 \uff21 \u200b\ufeff\f\n\n"
    assert normalize(same) == same


def test_names_each_defect():
    assert defect("a\x00b") == ("control_characters", "U+0000 at character 1")
    assert defect("\x1b[0m") == ("control_characters", "U+001B at character 0")
    assert defect("it\x92s") == ("control_characters", "U+0092 at character 2")
    assert defect("ab\ud800") == ("invalid_unicode", "lone surrogate U+D800 at character 2")
    assert defect("tab\t line\n page\f return\r\n \u00e9 \U0001f600 e\u0301") is None


@given(st.text(st.characters(categories=["Cc"]), min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_allows_exactly_four_control_characters(text):
    assert (defect(f"x{text}") is None) == (set(text) <= set("\t\n\r\f"))


def test_a_long_run_of_combining_marks_is_refused_quickly():
    start = time.perf_counter()
    found = defect("a" + "\u0301\u0316" * 500_000)  # NFC alone would take many minutes
    assert found is not None
    assert found[0] == "invalid_unicode"
    assert time.perf_counter() - start < 5
    assert defect("a" + "\u0301\u0316" * 15) is None
