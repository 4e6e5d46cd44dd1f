"""Every task from hub rows to a score: an oracle has 100, a constant has the baseline, and the texts read as they should."""

from __future__ import annotations

from typing import Any

import pytest

from curation_assets.evaluation.examples import (
    EXAMPLES_SCHEMA,
    SHOT_BREAK,
    Example,
    from_table,
    to_table,
)
from curation_assets.evaluation.families import FAMILIES
from curation_assets.evaluation.hub import BadRow, MissingData, Row
from curation_assets.evaluation.tasks import Task, lookup
from curation_assets_tests.evaluation.hub_rows import MEASURED, hub_rows, score, shot_rows

IDS = [f"{task.suite}-{task.task}" for task in MEASURED]


def located(rows: list[dict[str, Any]], where: str = "set cfg split") -> list[Row]:
    return [Row(row, f"{where} row {number}") for number, row in enumerate(rows)]


def rendered(task: Task) -> list[Example]:
    return [
        example
        for config in task.configs
        for example in FAMILIES[task.family](
            task, config, located(hub_rows(task, config)), located(shot_rows(task, config))
        )
    ]


def constant(task: Task, example: Example) -> str:
    """Return the same answer for every example: the same place among the options, or else the same text."""
    if task.metric == "yes_no":
        return "yes"
    if not example.options:
        return "the same text for all"
    if task.metric == "record_em_f1":
        return "Ann"
    return example.options[1]  # the positive class of F1


@pytest.mark.parametrize("task", MEASURED, ids=IDS)
def test_an_oracle_scores_100_and_a_constant_the_baseline(task: Task) -> None:
    examples = rendered(task)
    assert score(task, [example.target for example in examples], examples) == pytest.approx(100)
    constants = [constant(task, example) for example in examples]
    assert score(task, constants, examples) == pytest.approx(task.random_baseline, abs=0.01)


@pytest.mark.parametrize("task", MEASURED, ids=IDS)
def test_examples_are_well_formed(task: Task) -> None:
    examples = rendered(task)
    for example in examples:
        assert example.input == example.input.strip() and example.target
        assert example.answers[0] == example.target
        assert not example.options or example.target in example.options
        assert len(set(example.options)) == len(example.options) and len(set(example.answers)) == len(
            example.answers
        )
        assert bool(example.group) == (task.task == "multirc")
        if task.shots:  # a heading in MMLU, the shots, the question
            assert example.input.count(SHOT_BREAK) == task.shots + (task.family == "mmlu")
    table = to_table(task.suite, task.task, "test", examples)
    assert table.schema == EXAMPLES_SCHEMA
    assert from_table(table) == examples


def one(task: Task, config: str | None = None, **changed: Any) -> Example:
    config = config or task.configs[0]
    row = hub_rows(task, config)[0] | changed
    (example,) = FAMILIES[task.family](task, config, located([row]), [])
    return example


@pytest.mark.parametrize("task", MEASURED, ids=IDS)
def test_every_column_that_is_missing_is_named(task: Task) -> None:
    config = task.configs[0]
    row = hub_rows(task, config)[0]
    found = 0
    for column in row:
        rows = located([{k: v for k, v in row.items() if k != column}])
        try:
            list(FAMILIES[task.family](task, config, rows, []))
        except BadRow as error:
            assert str(error).startswith(f"set cfg split row 0 has no column '{column}'")
            found += 1
    assert found >= 2


@pytest.mark.parametrize(
    "task", [t for t in MEASURED if t.suite in ("glue", "superglue")], ids=lambda t: t.task
)
def test_labels_that_are_not_public_are_an_error(task: Task) -> None:
    hidden: dict[str, Any] = {"answers": []} if task.task == "record" else {"label": -1}
    with pytest.raises(MissingData, match=r"set cfg split row 0: .* not public"):
        one(task, **hidden)


@pytest.mark.parametrize("value", [3, "1", None, 1.5])
def test_a_label_out_of_range_is_an_error(value: object) -> None:
    with pytest.raises(BadRow, match="row 0: label is"):
        one(lookup("glue", "mnli_matched"), label=value)


@pytest.mark.parametrize(
    ("score", "target"),
    [(0.0, "0.0"), (3.25, "3.2"), (2.5, "2.4"), (3.799999952316284, "3.8"), (5, "5.0"), (0.5, "0.4")],
)
def test_similarities_are_rounded_as_t5_does(score: float, target: str) -> None:
    assert one(lookup("glue", "stsb"), label=score).target == target


def test_a_text_that_is_none_is_an_error() -> None:
    with pytest.raises(BadRow, match=r"row 0: column 'sentence' is None"):
        one(lookup("glue", "cola"), sentence=None)


def test_inputs_read_as_t5s() -> None:
    assert one(lookup("glue", "mrpc"), sentence1="A b. ", sentence2="C?") == Example(
        "0",
        "mrpc sentence1: A b. sentence2: C?",
        "not_equivalent",
        ("not_equivalent", "equivalent"),
        ("not_equivalent",),
        "",
    )
    assert one(lookup("glue", "ax")).input == "mnli hypothesis: hypothesis text 0 premise: premise text 0"
    assert one(lookup("squad", "squad")).answers == ("0 gold", "gold")
    assert one(lookup("cnn_dm", "cnn_dm")).input == "summarize: Much happened on day 0."


def test_record_joins_highlights_to_sentences() -> None:
    example = one(lookup("superglue", "record"))
    assert example.input == (
        "record query: @placeholder left. entities: Ann 0, Bob 0 passage: Ann met Bob 0. They left. All is well"
    )
    assert (example.id, example.options, example.answers) == ("0-0", ("Ann 0", "Bob 0"), ("Bob 0",))


def test_multirc_groups_answers_by_question() -> None:
    task = lookup("superglue", "multirc")
    assert [(e.id, e.group) for e in rendered(task)][:3] == [
        ("0-0-0", "0-0"),
        ("0-0-1", "0-0"),
        ("0-1-2", "0-1"),
    ]
    assert "<" not in one(task).input


@pytest.mark.parametrize(
    ("text", "index", "pronoun", "marked"),
    [
        ("he said that he left", 3, "he", "he said that *he* left"),
        ('The man "saw him," she said', 3, "him", 'The man "saw *him*," she said'),
        ("She went. It use is it now", 3, "it", "She went. *It* use is it now"),
        ("Other words there, the end", 3, "the", "Other words there, *the* end"),
    ],
)
def test_the_pronoun_is_marked_where_it_stands(text: str, index: int, pronoun: str, marked: str) -> None:
    example = one(lookup("superglue", "wsc"), text=text, span2_index=index, span2_text=pronoun)
    assert example.input == f"wsc noun: Mark text: {marked}"


def test_a_pronoun_that_is_not_there_is_an_error() -> None:
    with pytest.raises(BadRow, match="row 0: the pronoun 'it' is not in the text"):
        one(lookup("superglue", "wsc"), span2_text="it")


def test_shots_of_the_reasoning_tasks_end_with_their_answer() -> None:
    wanted = {
        "gsm8k": "Q: How many? 0\nA: It is 0 + 1000 = 1000. The answer is 1000.",
        "svamp": "Q: There are 0 hens How many hens?\nA: ( 0 - 0 ) = 0. The answer is 0.",
        "asdiv": "Q: Body 0. How?\nA: 7+2=9. The answer is 9.",
        "strategyqa": "Q: Is it 0?\nA: So. The answer is no.",
    }
    for name, block in wanted.items():
        assert rendered(lookup("flan", name))[0].input.split(SHOT_BREAK)[0] == block


def test_answers_of_asdiv_lose_their_units() -> None:
    answers = [example.target for example in rendered(lookup("flan", "asdiv"))]
    assert answers == ["9", "1.5", "3:30 p.m.", "5; 15", "Rug B", "-(1/3)", "7", "8", "6"]


def test_mmlu_reads_as_its_authors_prompt() -> None:
    blocks = rendered(lookup("flan", "high_school_physics"))[2].input.split(SHOT_BREAK)
    assert (
        blocks[0] == "The following are multiple choice questions (with answers) about high school physics."
    )
    assert blocks[2] == "Which is 1?\nThink.\nA. w\nB. x\nC. y\nD. z\nAnswer: B"
    assert blocks[-1] == "Which is 2?\nThink.\nA. w\nB. x\nC. y\nD. z\nAnswer:"


def test_an_answer_that_a_bbh_row_does_not_list_is_generated() -> None:
    task = lookup("flan", "movie_recommendation")
    assert one(task).options == ("(A)", "(B)", "(C)", "(D)")
    assert one(task, target="Monsters, Inc").options == ()


def test_arc_letters_are_places() -> None:
    assert [e.target for e in rendered(lookup("flan", "arc_easy"))] == list("ABCDABCD")
    with pytest.raises(BadRow, match="answerKey 'E'"):
        one(lookup("flan", "arc_easy"), answerKey="E")
