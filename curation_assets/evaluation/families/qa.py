"""Questions about a text, or of general knowledge, without shots, and summaries.

BoolQ, ARC, UnifiedQA's elementary science; SQuAD 1.1 (Rajpurkar et al. 2016): an answer out of the passage, against all reference
answers; CNN/Daily Mail (Hermann et al. 2015; See et al. 2017): an article and its highlights.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from curation_assets.evaluation.examples import Example
from curation_assets.evaluation.families.common import (
    LETTERS,
    HubRow,
    chosen,
    free,
    place,
    text,
    texts,
    truth,
)
from curation_assets.evaluation.hub import BadRow
from curation_assets.evaluation.tasks import Task

_ANSWERS = ("no", "yes")
_CHOICE = re.compile(r"\s*\(([a-zA-Z])\)\s+")


def examples(task: Task, config: str, rows: Iterable[HubRow], shots: Sequence[HubRow]) -> Iterator[Example]:
    """Yield one example per row; `shots` is not used.

    Raises
    ------
    BadRow
        A row is not what the hub has.
    """
    yield from map(READERS[task.task], rows)


def _boolq(row: HubRow) -> Example:
    question = text(row, "question").rstrip("?")
    prompt = f"Question: {question}? Answer yes or no.\nPassage: {text(row, 'passage')}\nAnswer:"
    return chosen(row, prompt, truth(row, "answer", _ANSWERS), _ANSWERS)


def _arc(row: HubRow) -> Example:
    """Name the choices A, B, C, ... whatever the hub does: a few of its questions have 1 to 4."""
    choices, key = row["choices"], row["answerKey"]
    if not isinstance(choices, Mapping) or not {"text", "label"} <= set(choices) or not choices["text"]:
        raise BadRow(f"{place(row)}: choices is {choices!r:.40}, not {{text: [...], label: [...]}}")
    if key not in choices["label"]:
        raise BadRow(f"{place(row)}: answerKey {key!r:.20} is none of the labels {choices['label']}")
    letters = LETTERS[: len(choices["text"])]
    lines = [f"({letter}) {choice}" for letter, choice in zip(letters, choices["text"], strict=True)]
    prompt = "\n".join([f"Question: {text(row, 'question')}", *lines, "Answer:"])
    return chosen(row, prompt, letters[choices["label"].index(key)], tuple(letters))


def _unified_qa(row: HubRow) -> Example:
    r"""Answer with the words of a choice, as UnifiedQA does; its files write "question \n (A) one (B) two" on one line."""
    prompt, answer = text(row, "input").replace("\\n", "\n"), text(row, "output")
    pieces = _CHOICE.split(prompt)
    letters, choices = pieces[1::2], [choice.strip() for choice in pieces[2::2]]
    listed = "".join(letters).upper() == LETTERS[: len(letters)] and answer in choices
    return chosen(row, prompt, answer, choices) if listed else free(row, prompt, (answer,))


def _squad(row: HubRow) -> Example:
    answers = row["answers"]
    if not isinstance(answers, Mapping) or "text" not in answers:
        raise BadRow(f"{place(row)}: answers is {answers!r:.40}, not {{text: [...], answer_start: [...]}}")
    prompt = f"question: {text(row, 'question')} context: {text(row, 'context')}"
    return free(row, prompt, texts(row, "answers.text", answers["text"]))


def _summary(row: HubRow) -> Example:
    return free(row, f"summarize: {text(row, 'article')}", (text(row, "highlights"),))


READERS: dict[str, Callable[[HubRow], Example]] = {
    "squad": _squad,
    "cnn_dm": _summary,
    "boolq": _boolq,
    "arc_easy": _arc,
    "arc_challenge": _arc,
    "unified_qa": _unified_qa,
}
