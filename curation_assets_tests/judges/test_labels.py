"""Which documents a teacher judges, and that it never judges one twice, whatever kills it."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.common.hashing import hash_ids, noise
from curation_assets.corpus.smallest import Smallest
from curation_assets.judges.labels import LabelTable, choice, held_out, label
from curation_assets.scoring.ask_llm import ScoreTable

TEXTS = [f"document {number} " + "word " * (number % 7) for number in range(50)]
HASHES = hash_ids([str(number) for number in range(20_000)])


class Killed(BaseException):
    """Stands for whatever ends a process half-way; no `except Exception` may hold it up."""


class Teacher:
    """Scores by a function of the text, counts what it is asked, and may die at some text."""

    def __init__(self, dies_at: str | None = None) -> None:
        self.asked: list[str] = []
        self.calls = self.loads = 0
        self.dies_at = dies_at

    def load(self) -> Teacher:
        self.loads += 1
        return self

    def score_table(self, texts: Any) -> ScoreTable:
        self.calls += 1
        if self.dies_at in texts:
            raise Killed
        self.asked += texts
        return expected(texts)


def expected(texts: list[str]) -> ScoreTable:
    lengths = np.array([len(text) for text in texts])
    return ScoreTable(
        -np.sqrt(lengths) / 7, lengths.astype(np.int32), lengths > 30, (lengths % 200).astype(np.uint8)
    )


def assert_expected(table: LabelTable, texts: list[str]) -> None:
    for name, column in vars(expected(texts)).items():
        found = getattr(table, name)
        assert found.dtype == column.dtype and np.array_equal(found, column), name


def parts(cache: Path) -> list[Path]:
    return sorted(cache.glob("part-*.parquet"))


def test_every_text_is_judged_once_and_then_never_again(tmp_path: Path) -> None:
    teacher, told = Teacher(), []
    first = label(teacher.load, TEXTS, tmp_path, chunk=8, progress=lambda *line: told.append(line[:3]))
    assert_expected(first, TEXTS)
    assert first.reused == 0 and teacher.asked == TEXTS and (teacher.loads, teacher.calls) == (1, 7)
    assert told[0] == (0, 50, "documents") and told[-1] == (50, 50, "documents") and told == sorted(told)
    assert len(parts(tmp_path)) == 1, "parts are put together at the end"

    again = label(teacher.load, TEXTS[::-1], tmp_path)
    assert_expected(again, TEXTS[::-1])
    assert again.reused == 50 and teacher.loads == 1, "a teacher with nothing to judge is not even loaded"


def test_a_kill_loses_one_chunk_at_most(tmp_path: Path) -> None:
    teacher = Teacher(dies_at=TEXTS[30])
    with pytest.raises(Killed):
        label(teacher.load, TEXTS, tmp_path, chunk=8)
    assert teacher.asked == TEXTS[:24] and len(parts(tmp_path)) == 3
    (tmp_path / ".tmp-part-0.parquet").write_bytes(b"half")  # what a kill in the middle of writing leaves
    healthy = Teacher()
    table = label(healthy.load, TEXTS, tmp_path, chunk=8)
    assert_expected(table, TEXTS)
    assert healthy.asked == TEXTS[24:] and table.reused == 24
    assert len(parts(tmp_path)) == 1 and not list(tmp_path.glob(".tmp-*"))


def test_a_kill_between_merging_and_removing_does_no_harm(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        label(Teacher(dies_at=TEXTS[40]).load, TEXTS, tmp_path, chunk=8)
    kept = {path: path.read_bytes() for path in parts(tmp_path)}
    label(Teacher().load, TEXTS, tmp_path)
    for path, content in kept.items():
        path.write_bytes(content)
    assert label(Teacher().load, TEXTS, tmp_path).reused == 50
    assert len(parts(tmp_path)) == 1


@pytest.mark.parametrize("damage", ["a flipped bit", "cut off", "emptied"])
def test_a_damaged_part_is_dropped_and_said(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Killed):
        label(Teacher(dies_at=TEXTS[24]).load, TEXTS, tmp_path, chunk=8)
    victim = parts(tmp_path)[1]
    content = bytearray(victim.read_bytes())
    content[len(content) // 3] ^= 4
    victim.write_bytes(
        {"a flipped bit": bytes(content), "cut off": bytes(content[:-9]), "emptied": b""}[damage]
    )
    teacher = Teacher()
    with caplog.at_level(logging.WARNING):
        table = label(teacher.load, TEXTS, tmp_path)
    assert_expected(table, TEXTS)
    assert len(teacher.asked) == 50 - 16 and table.reused == 16
    assert [victim.name in record.message for record in caplog.records] == [True]


def test_the_content_of_a_text_decides_and_not_its_place(tmp_path: Path) -> None:
    label(Teacher().load, TEXTS, tmp_path)
    changed = [*TEXTS[:3], TEXTS[3] + " and more", *TEXTS[4:], TEXTS[0], "new", "new"]
    teacher = Teacher()
    table = label(teacher.load, changed, tmp_path)
    assert_expected(table, changed)
    assert teacher.asked == [changed[3], "new"] and table.reused == len(changed) - 2
    assert label(Teacher().load, TEXTS, tmp_path).reused == 50, "texts that are gone stay in the cache"


def test_no_texts_are_no_work(tmp_path: Path) -> None:
    table = label(Teacher().load, [], tmp_path)
    assert table.score.shape == (0,) and table.score.dtype == np.float64 and table.flags.dtype == np.uint8


class Odd(Teacher):
    """A teacher that returns what it is told to."""

    def __init__(self, table: ScoreTable | Exception) -> None:
        super().__init__()
        self.table = table

    def score_table(self, texts: Any) -> ScoreTable:
        if isinstance(self.table, Exception):
            raise self.table
        return self.table


def test_a_teacher_that_fails_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    nan = expected(TEXTS[:4])
    nan.score[2] = np.nan
    label(Teacher().load, TEXTS[:1], tmp_path)
    with pytest.raises(ValueError, match=r"text in row 3 no finite score"):
        label(Odd(nan).load, TEXTS[:5], tmp_path, chunk=4)
    with pytest.raises(ValueError, match="3 scores for 4 texts"):
        label(Odd(expected(TEXTS[:3])).load, TEXTS[:5], tmp_path, chunk=4)
    with pytest.raises(ValueError, match=r"rows \[1, 2, 3, 4\] of the texts: too odd"):
        label(Odd(ValueError("too odd")).load, TEXTS[:5], tmp_path, chunk=4)
    teacher = Teacher()
    assert label(teacher.load, TEXTS[:5], tmp_path).reused == 1


def test_bad_input_is_refused_before_the_teacher_is_loaded(tmp_path: Path) -> None:
    teacher = Teacher()
    with pytest.raises(ValueError, match=r"row 1 .*surrogate"):
        label(teacher.load, ["fine", "\ud800"], tmp_path)
    with pytest.raises(TypeError, match="one string"):
        label(teacher.load, "text", tmp_path)
    with pytest.raises(ValueError, match="chunk"):
        label(teacher.load, TEXTS, tmp_path, chunk=0)
    assert teacher.loads == 0


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    class Nosy(Teacher):
        def score_table(self, texts: Any) -> ScoreTable:
            with pytest.raises(RuntimeError, match="another process"):
                label(Teacher().load, TEXTS[:1], tmp_path)
            return super().score_table(texts)

    assert label(Nosy().load, TEXTS[:3], tmp_path).reused == 0


def sample(hashes: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Choose as `judge/labels` does."""
    chosen = Smallest(count, once=True, order=partial(choice, seed=seed))
    chosen.add(0, hashes)
    return chosen.settle().rows


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(0, 2**63), st.randoms(use_true_random=False))
def test_the_choice_does_not_depend_on_order_and_smaller_ones_are_beginnings(
    count: int, seed: int, random: Any
) -> None:
    few = HASHES[:50]
    order = np.array(random.sample(range(50), 50))
    chosen = sample(few, count, seed)
    assert np.array_equal(few[chosen], few[order][sample(few[order], count, seed)])
    assert np.array_equal(chosen, sample(few, 50, seed)[:count])
    assert len(set(chosen.tolist())) == min(count, 50)
    halves = np.concatenate(
        [few[part][sample(few[part], count, seed)] for part in (slice(20), slice(20, 50))]
    )
    assert np.array_equal(halves[sample(halves, count, seed)], few[chosen]), (
        "shards may sample for themselves"
    )


def test_choice_and_split_are_uniform_and_independent() -> None:
    n = len(HASHES)
    chosen = np.zeros(n, bool)
    chosen[sample(HASHES, n // 4, 5)] = True
    apart = held_out(HASHES, 0.2, 5)
    assert apart.mean() == pytest.approx(0.2, abs=5 * np.sqrt(0.16 / n))
    assert apart[chosen].mean() == pytest.approx(0.2, abs=5 * np.sqrt(0.16 / (n / 4)))
    for seed in (5, 6):  # nor do they follow the noise that samplers draw from
        low = noise(HASHES, seed) < 0.25
        assert chosen[low].mean() == pytest.approx(0.25, abs=5 * np.sqrt(0.19 / (n / 4)))
        assert apart[low].mean() == pytest.approx(0.2, abs=5 * np.sqrt(0.16 / (n / 4)))
    assert (held_out(HASHES, 0.2, 6) != apart).mean() == pytest.approx(2 * 0.16, abs=0.02)


def test_the_split_of_a_document_is_its_own() -> None:
    apart = held_out(HASHES, 0.3, 1)
    assert np.array_equal(held_out(HASHES[7:900:3], 0.3, 1), apart[7:900:3])
    assert not (held_out(HASHES, 0.2, 1) & ~apart).any(), "a larger share holds out more and lets none go"
    assert not held_out(HASHES, 0, 1).any() and held_out(HASHES, 1, 1).all()


def test_choice_and_split_refuse_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="share"):
        held_out(HASHES, 1.5, 0)
    with pytest.raises(ValueError, match="seed"):
        choice(HASHES, -1)
    with pytest.raises(TypeError, match="uint64"):
        choice(HASHES.astype(np.int64), 0)
    assert len(sample(HASHES[:3], 10, 0)) == 3 and sample(HASHES[:0], 10, 0).dtype == np.int64
