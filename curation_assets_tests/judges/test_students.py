"""Which student is taken: the one that orders the documents held out as the teacher does, by how much, and where there is but one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curation_assets.judges.agreement import difference, kendall
from curation_assets.judges.students import (
    Labelled,
    Student,
    TooFewReadable,
    choose,
    embedding_student,
)
from curation_assets.scoring.ridge_judge import load_ridge_judge


def student(kind: str, scores: np.ndarray) -> Student:
    return Student(kind, scores, lambda folder: None, 10)  # type: ignore[arg-type]


def labelled(n: int = 200) -> tuple[Labelled, np.ndarray]:
    """Return documents whose labels follow a direction of their vectors, and the vectors."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 8)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    teacher = np.log(0.1) + 0.05 * (x[:, 0] + 0.3 * rng.normal(size=n))
    hashes = rng.integers(0, 2**64, n, dtype=np.uint64)
    return Labelled([f"text {i}" for i in range(n)], hashes, teacher, np.arange(n) % 4 == 0), x


def test_the_second_is_taken_where_it_is_better_beyond_noise() -> None:
    rng = np.random.default_rng(0)
    teacher = rng.normal(size=80)
    good, bad = teacher + 0.5 * rng.normal(size=80), teacher + 3 * rng.normal(size=80)
    for students in (
        [student("t5", good), student("embeddings", bad)],
        [student("embeddings", bad), student("t5", good)],
    ):
        choice = choose(students, teacher, seed=3)
        assert choice.taken.kind == "t5"
        assert choice.agreement["t5"] == kendall(good, teacher, seed=3)
        assert choice.advantage == difference(good, bad, teacher, seed=3)
        about, record = choice.metadata(), choice.record()
        assert about["tau"] == about["tau_of_t5"] > about["tau_of_embeddings"]
        assert about["advantage"] == pytest.approx(about["tau_of_t5"] - about["tau_of_embeddings"])
        assert 0 < about["advantage_low"] < about["advantage"] < about["advantage_high"]
        assert record["student"] == "t5" and record["agreement"]["tau"] == about["tau"]


def test_of_two_that_cannot_be_told_apart_the_first_is_taken() -> None:
    rng = np.random.default_rng(4)
    teacher = rng.normal(size=40)
    little, less = teacher + 2 * rng.normal(size=40), teacher + 2 * rng.normal(size=40)
    kinds = []
    for students in (
        [student("t5", little), student("embeddings", less)],
        [student("t5", less), student("embeddings", little)],
    ):
        choice = choose(students, teacher, seed=0)
        assert choice.advantage is not None and choice.advantage.low < 0 < choice.advantage.high
        kinds.append((choice.taken.kind, choice.advantage.tau > 0))
    assert sorted(kinds) == [("t5", False), ("t5", True)], "whichever has the better point estimate"


def test_one_that_orders_nothing_gives_way() -> None:
    teacher = np.arange(30.0)
    constant = choose([student("t5", np.zeros(30)), student("embeddings", teacher)], teacher, 0)
    assert constant.taken.kind == "embeddings" and constant.advantage is not None
    assert constant.advantage.tau is None and "advantage" not in constant.metadata()
    assert choose([student("t5", teacher), student("embeddings", teacher)], teacher, 0).taken.kind == "t5"
    alone = choose([student("embeddings", teacher)], teacher, 0)
    assert alone.advantage is None and alone.record()["advantage"] is None


def test_the_difference_has_the_interval_of_documents_drawn_for_both_alike() -> None:
    rng = np.random.default_rng(1)
    teacher = rng.normal(size=60)
    one, other = teacher + rng.normal(size=60), teacher + 2 * rng.normal(size=60)
    found = difference(one, other, teacher, resamples=100, seed=5)
    rows = np.random.default_rng(5).integers(60, size=(100, 60))
    taus = [
        kendall(one[r], teacher[r], resamples=0).tau - kendall(other[r], teacher[r], resamples=0).tau
        for r in rows
    ]
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(taus, [2.5, 97.5])), abs=1e-12)
    same = difference(one, one, teacher)
    assert (same.tau, same.low, same.high) == (0, 0, 0)


@pytest.mark.parametrize("target", ["rank", "probability"])
def test_a_student_of_embeddings_learns_and_is_measured_as_it_scores(target: str, tmp_path: Path) -> None:
    known, x = labelled()
    readable = np.arange(200) % 9 > 0
    learned = embedding_student(known, x, readable, target)
    held = known.held_out
    tau = kendall(learned.scores[readable[held]], known.teacher[held & readable]).tau
    assert tau is not None and tau > 0.5
    assert learned.documents == (~held & readable).sum()
    assert learned.about["unreadable_documents"] == (~readable).sum()
    learned.save(tmp_path / "model")
    kept = load_ridge_judge(tmp_path / "model")
    np.testing.assert_array_equal(kept.score(x[held], readable[held], known.hashes[held]), learned.scores)


def test_what_the_encoder_cannot_read_is_not_learned_from() -> None:
    known, x = labelled()
    readable = np.arange(200) < 12
    with pytest.raises(TooFewReadable, match="can read 9: a judge that goes by embeddings takes 10"):
        embedding_student(known, x, readable, "rank")
    with pytest.raises(ValueError, match=r"label in row 3 .*not the logarithm"):
        known.teacher[3] = np.nan
        embedding_student(known, x, np.ones(200, bool), "rank")
