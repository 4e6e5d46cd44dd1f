"""Small balanced sets of hub rows for every task: all answers equally frequent, so that a constant scores the baseline."""

from __future__ import annotations

from math import lcm
from typing import Any

from curation_assets.evaluation.examples import Example
from curation_assets.evaluation.families import glue, superglue
from curation_assets.evaluation.metrics import measure
from curation_assets.evaluation.tasks import TASKS, Task

Rows = list[dict[str, Any]]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

BBH_WORDS = {
    "causal_judgement": ("Yes", "No"),
    "formal_fallacies": ("valid", "invalid"),
    "navigate": ("Yes", "No"),
}
BBH_UNLISTED = {
    "boolean_expressions": ("True", "False"),
    "sports_understanding": ("yes", "no"),
    "web_of_lies": ("Yes", "No"),
}
BBH_LETTERS = {
    "date_understanding": 6,
    "disambiguation_qa": 3,
    "geometric_shapes": 10,
    "hyperbaton": 2,
    "movie_recommendation": 4,
    "penguins_in_a_table": 5,
    "reasoning_about_colored_objects": 18,
    "ruin_names": 4,
    "salient_translation_error_detection": 6,
    "snarks": 2,
    "temporal_sequences": 4,
} | {
    f"{name}_{word}_objects": count
    for name in ("logical_deduction", "tracking_shuffled_objects")
    for word, count in (("three", 3), ("five", 5), ("seven", 7))
}
BBH_FREE = ("dyck_languages", "multistep_arithmetic_two", "object_counting", "word_sorting")
_JOINED = lcm(3, 5, 7)  # rows per config, so that joined configs weigh the same


def hub_rows(task: Task, config: str) -> Rows:
    """Return rows with the hub's columns."""
    make = {
        "glue": lambda: _glue(config),
        "superglue": lambda: _superglue(config),
        "squad": _squad,
        "summarization": _summaries,
        "mmlu": _mmlu,
        "bbh": lambda: _bbh(config),
        "reasoning": lambda: _REASONING[task.task](),
        "qa": lambda: _QA[task.task](),
    }
    return make[task.family]()


def shot_rows(task: Task, config: str) -> Rows:
    """Return as many rows as the task has shots."""
    rows = hub_rows(task, config)
    return (rows * task.shots)[: task.shots]


def _labelled(columns: tuple[str, ...], labels: int, copies: int = 2) -> Rows:
    return [
        {column: f"{column} text {number}" for column in columns} | {"label": number % labels, "idx": number}
        for number in range(labels * copies)
    ]


def _glue(config: str) -> Rows:
    if config == "stsb":
        scores = [step / 5 for step in range(26)]
        return [{"sentence1": "one", "sentence2": "two", "label": s, "idx": i} for i, s in enumerate(scores)]
    form = glue.FORMS[config]
    return _labelled(form.columns, len(form.labels))


def _superglue(config: str) -> Rows:
    if config == "multirc":
        return [
            {
                "paragraph": "<b>Sent 1: </b>It rained.<br>Then not.",
                "question": f"Question {question}?",
                "answer": f"answer {answer}",
                "idx": {"paragraph": 0, "question": question, "answer": 2 * question + answer},
                "label": answer,
            }
            for question in range(3)
            for answer in range(2)
        ]
    if config == "record":
        return [
            {
                "passage": f"Ann met Bob {number}\n@highlight\nThey left.\n@highlight\nAll is well",
                "query": "@placeholder left.",
                "entities": [f"Ann {number}", f"Bob {number}"],
                "answers": [f"Bob {number}", f"Bob {number}"],
                "idx": {"passage": number, "query": number},
            }
            for number in range(3)
        ]
    if config == "wsc.fixed":
        fixed = {
            "text": "Mark told Pete many lies about himself, but he",
            "span1_text": "Mark",
            "span2_text": "he",
        }
        return [{**fixed, "span1_index": 0, "span2_index": 8, "idx": i, "label": i % 2} for i in range(4)]
    form = superglue.FORMS[config]
    return _labelled(form.columns, len(form.labels))


def _squad() -> Rows:
    return [
        {
            "id": f"q{number}",
            "title": "T",
            "context": f"It was {number} gold, as they say.",
            "question": "What was it?",
            "answers": {"text": [f"{number} gold", "gold", "gold"], "answer_start": [7, 9, 9]},
        }
        for number in range(3)
    ]


def _summaries() -> Rows:
    return [
        {
            "article": f"Much happened on day {n}.",
            "highlights": f"Day {n} was full .\nAll is well .",
            "id": str(n),
        }
        for n in range(3)
    ]


def _mmlu() -> Rows:
    return [
        {
            "question": f"Which is {n}?\n\nThink.",
            "subject": "s",
            "choices": ["w", "x", "y", "z"],
            "answer": n % 4,
        }
        for n in range(8)
    ]


def _bbh(config: str) -> Rows:
    if config in BBH_FREE:
        return [{"input": f"Do it: {n}", "target": f"done {n}"} for n in range(6)]
    words = BBH_UNLISTED.get(config) or BBH_WORDS.get(config)
    if words:
        listed = "" if config in BBH_UNLISTED else "\nOptions:\n" + "\n".join(f"- {word} " for word in words)
        return [{"input": f"Is it so? {n}{listed}", "target": words[n % 2]} for n in range(6)]
    count = BBH_LETTERS[config]
    letters = [f"({LETTERS[place]})" for place in range(count)]
    listed = "\nOptions:\n" + "\n".join(f"{letter} thing" for letter in letters)
    rows = 2 * count if _JOINED % count else _JOINED
    return [{"input": f"Which (B) one? {n}{listed}", "target": letters[n % count]} for n in range(rows)]


def _gsm8k() -> Rows:
    return [
        {
            "question": f"How many? {n}",
            "answer": f"It is {n} + 1000 = <<{n}+1000={n + 1000}>>{n + 1000}.\n#### 1,00{n}",
        }
        for n in range(9)
    ]


def _svamp() -> Rows:
    return [
        {
            "ID": f"chal-{n}",
            "Body": f"There are {n} hens",
            "Question": "How many hens?",
            "Equation": f"( {n}.0 - 0.0 )",
            "Answer": f"{n}.0",
            "Type": "Subtraction",
            "question_concat": "",
        }
        for n in range(9)
    ]


def _asdiv() -> Rows:
    answers = [
        "9 (apples)",
        "1.5 (cups)",
        "3:30 p.m.",
        "5 (years old); 15 (years old)",
        "Rug B",
        "-(1/3)",
        "7",
        "8",
        "6",
    ]
    return [
        {
            "body": f"Body {n}.",
            "question": "How?",
            "solution_type": "Sum",
            "answer": answer,
            "formula": "7+2=9",
        }
        for n, answer in enumerate(answers)
    ]


def _strategyqa() -> Rows:
    return [
        {
            "qid": f"q{n}",
            "term": "",
            "description": "",
            "question": f"Is it {n}?",
            "answer": bool(n % 2),
            "facts": "So.",
        }
        for n in range(8)
    ]


def _boolq() -> Rows:
    return [{"question": f"is it {n}", "answer": bool(n % 2), "passage": "Yes.\n\nNo."} for n in range(4)]


def _arc() -> Rows:
    labels = (["A", "B", "C", "D"], ["1", "2", "3", "4"])
    return [
        {
            "id": f"a{n}",
            "question": f"Which? {n}",
            "choices": {"text": ["w", "x", "y", "z"], "label": labels[n // 4]},
            "answerKey": labels[n // 4][n % 4],
        }
        for n in range(8)
    ]


def _unified_qa() -> Rows:
    return [
        {"input": f"Which is it? \\n (A) w{n} (B) x{n} (C) y{n} (D) z{n}", "output": f"{'wxyz'[n % 4]}{n}"}
        for n in range(8)
    ]


_REASONING = {"gsm8k": _gsm8k, "svamp": _svamp, "asdiv": _asdiv, "strategyqa": _strategyqa}
_QA = {"boolq": _boolq, "arc_easy": _arc, "arc_challenge": _arc, "unified_qa": _unified_qa}


MEASURED = [task for task in TASKS if task.family != "perplexity"]


def score(task: Task, predictions: list[str], examples: list[Example]) -> float:
    found = measure(task.metric, predictions, examples)
    assert next(iter(found)) == task.metric
    return found[task.metric]
