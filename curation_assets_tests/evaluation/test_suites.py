"""A suite on a checkpoint: what is measured, that prompts keep their question, and that a kill loses no finished task."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation_assets.evaluation import suites as module
from curation_assets.evaluation.examples import SHOT_BREAK, Example
from curation_assets.evaluation.finetune import FineTuneConfig
from curation_assets.evaluation.suites import SuiteConfig, SuiteExamples, prompts, run_suite
from curation_assets.models.tokenizer import Tokenizer

TUNING = FineTuneConfig(
    steps=60,
    batch_size=8,
    learning_rate=2e-2,
    final_learning_rate=1e-5,
    warmup_share=0.1,
    max_input=24,
    max_target=16,
)
CONFIG = SuiteConfig(TUNING, max_prompt=64)


def example(number: int, odd: bool) -> Example:
    answer = ("not_acceptable", "acceptable")[odd]
    text = f"cola sentence: {'red' if odd else 'blue'} {'number ' * (number % 4)}"
    return Example(str(number), text, answer, ("not_acceptable", "acceptable"), (answer,), "")


def free(number: int) -> Example:
    return Example(str(number), f"number {'one' if number % 2 else 'two'}", "odd", (), ("odd", "even"), "")


SUITE = SuiteExamples(
    "glue",
    [example(n, n % 3 == 0) for n in range(60)],
    {
        "cola": [example(n, n % 2 == 0) for n in range(100, 120)],
        "qqp@standin": [example(n, n < 5) for n in range(10)],
    },
)


def test_a_suite_is_tuned_answered_and_counted(base: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    told: list[tuple[float, float, str]] = []
    rows, predictions = run_suite(
        SUITE,
        base,
        tokenizer,
        CONFIG,
        tmp_path,
        lambda done, total, unit, note="": told.append((done, total, note)),
    )
    values = {(row["task"], row["metric"]): row["value"] for row in rows}
    assert values["cola", "matthews"] == 100  # the two colours are told apart
    assert values["qqp@standin", "accuracy"] == 100
    assert values["qqp@standin", "accuracy_f1"] == 100
    assert {row["suite"] for row in rows} == {"glue"} and {row["n"] for row in rows} == {20, 10}
    assert next(row["metric"] for row in rows) == "matthews"  # the metric of record comes first
    assert len(predictions) == 30 and predictions[0]["id"] == "100"
    assert all(row["prediction"] == row["answer"] for row in predictions)
    done, total, _ = told[-1]
    assert done == total and all(a[0] <= b[0] for a, b in itertools.pairwise(told))
    assert {t for _, t, _ in told} == {60 * 8 + 30}


def test_a_finished_suite_returns_at_once_and_keeps_no_weights(
    base: Path, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = dataclasses.replace(CONFIG, tuning=dataclasses.replace(TUNING, steps=2))
    first = run_suite(SUITE, base, tokenizer, short, tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))
    monkeypatch.setattr(module, "fine_tune", None)  # would fail if it were called
    assert run_suite(SUITE, base, tokenizer, short, tmp_path) == first
    monkeypatch.undo()
    other = dataclasses.replace(short, tuning=dataclasses.replace(short.tuning, seed=1))
    run_suite(SUITE, base, tokenizer, other, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1  # what was of another seed is gone


class Killed(Exception):
    pass


def test_a_killed_suite_goes_on_with_the_task_it_was_at(
    base: Path, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_suite(SUITE, base, tokenizer, CONFIG, tmp_path / "whole")
    answer, asked = module.answer, []

    def dying(suite: str, task: str, *rest: Any) -> list[str]:
        asked.append(task)
        if len(asked) == 2:
            raise Killed
        return answer(suite, task, *rest)

    monkeypatch.setattr(module, "answer", dying)
    with pytest.raises(Killed):
        run_suite(SUITE, base, tokenizer, CONFIG, tmp_path / "killed")
    assert run_suite(SUITE, base, tokenizer, CONFIG, tmp_path / "killed") == whole
    assert asked == ["cola", "qqp@standin", "qqp@standin"]


def test_options_are_ranked_and_the_rest_is_generated(
    base: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    from curation_assets.models.t5 import load

    mixed = [example(0, True), free(1), example(2, False), free(3)]
    found = module.answer("glue", "cola", mixed, load(base), tokenizer, CONFIG)
    assert found[0] in mixed[0].options and found[2] in mixed[2].options
    assert found[1] not in mixed[0].options  # an untrained model does not hit upon a label


def test_a_long_prompt_loses_its_first_examples_and_never_its_question(tokenizer: Tokenizer) -> None:
    shots = [f"one two three four {'red ' * n}." for n in range(9)]
    question = "blue or green? " * 3
    text = SHOT_BREAK.join([*shots, question])
    (all_of_it,) = prompts([text], tokenizer, 0)
    assert len(all_of_it) == len(tokenizer.encode_batch([text])[0])
    for limit in (30, 50, 80):
        (ids,) = prompts([text], tokenizer, limit)
        kept = next(
            n
            for n in range(10)
            if np.array_equal(ids, tokenizer.encode_batch([SHOT_BREAK.join([*shots[n:], question])])[0])
        )
        assert len(ids) + 1 <= limit and kept > 0
        one_more = SHOT_BREAK.join([*shots[kept - 1 :], question])
        assert len(tokenizer.encode_batch([one_more])[0]) + 1 > limit
    (ids,) = prompts([text], tokenizer, 3)
    assert np.array_equal(ids, tokenizer.encode_batch([question])[0])


def test_a_suite_needs_examples(base: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="suite glue: 0 training examples, 2 tasks"):
        run_suite(dataclasses.replace(SUITE, train=[]), base, tokenizer, CONFIG, tmp_path)
