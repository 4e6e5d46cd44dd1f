"""SuperGLUE (Wang et al. 2019) in T5's text-to-text style. Questions precede passages, so that a cut at the end keeps them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from curation_assets.evaluation.examples import Example
from curation_assets.evaluation.families.common import (
    HubRow,
    chosen,
    fields,
    label,
    place,
    row_id,
    row_unit,
    text,
    texts,
)
from curation_assets.evaluation.families.glue import Form
from curation_assets.evaluation.hub import BadRow, MissingData
from curation_assets.evaluation.tasks import Task

TRUTH = ("False", "True")

FORMS: dict[str, Form] = {
    "boolq": Form("boolq", ("question", "passage"), TRUTH),
    "cb": Form("cb", ("hypothesis", "premise"), ("entailment", "contradiction", "neutral")),
    "copa": Form("copa", ("choice1", "choice2", "premise", "question"), ("choice1", "choice2")),
    "rte": Form("rte", ("hypothesis", "premise"), ("entailment", "not_entailment")),
    "wic": Form("wic", ("word", "sentence1", "sentence2"), TRUTH),
}

_MARKUP = re.compile(r"<br>|</?b>")


def examples(task: Task, config: str, rows: Iterable[HubRow], shots: Sequence[HubRow]) -> Iterator[Example]:
    """Yield one example per row; SuperGLUE is fine-tuned, so `shots` is not used.

    Raises
    ------
    BadRow, MissingData
        A row is not what the hub has, or its answer is not public.
    """
    special: dict[str, Callable[[HubRow], Example]] = {
        "multirc": _multirc,
        "record": _record,
        "wsc.fixed": _wsc,
    }
    yield from map(special.get(config) or (lambda row: _labelled(FORMS[config], row)), rows)


def _labelled(form: Form, row: HubRow) -> Example:
    return chosen(row, fields(form.prefix, row, form.columns), label(row, form.labels), form.labels)


def _multirc(row: HubRow) -> Example:
    """Ask about one answer; the group is its question, on which exact match needs all answers right."""
    parts = [
        f"{column}: {_MARKUP.sub(' ', text(row, column))}" for column in ("question", "answer", "paragraph")
    ]
    return chosen(row, " ".join(["multirc", *parts]), label(row, TRUTH), TRUTH, group=row_unit(row))


def _record(row: HubRow) -> Example:
    """Fill the query's gap with one of the passage's entities; highlights become sentences of the passage, as in T5."""
    if not row["answers"]:
        raise MissingData(f"{place(row)}: the answers of this split are not public")
    entities = texts(row, "entities", row["entities"])
    answers = texts(row, "answers", row["answers"])
    passage = re.sub(r"([.?!\"'])\n@highlight\n", r"\1 ", text(row, "passage")).replace(
        "\n@highlight\n", ". "
    )
    prompt = f"record query: {text(row, 'query')} entities: {', '.join(entities)} passage: {passage}"
    return Example(row_id(row), prompt, answers[0], entities, answers, "")


def _wsc(row: HubRow) -> Example:
    noun = text(row, "span1_text")
    return chosen(row, f"wsc noun: {noun} text: {_marked(row)}", label(row, TRUTH), TRUTH)


def _marked(row: HubRow) -> str:
    """Return the text with asterisks around the pronoun.

    The place is a word index. Words may carry punctuation, and some indices are a few words off, so that the occurrence
    nearest to the place is marked.
    """
    sentence, pronoun, index = row["text"], text(row, "span2_text"), row["span2_index"]
    if not isinstance(sentence, str) or not isinstance(index, int):
        raise BadRow(f"{place(row)}: text or span2_index is of the wrong kind")
    start = len(" ".join([*sentence.split(" ")[:index], ""]))
    matches = list(re.finditer(rf"(?<!\w){re.escape(pronoun)}(?!\w)", sentence, re.IGNORECASE))
    if not matches:
        raise BadRow(f"{place(row)}: the pronoun {pronoun!r} is not in the text")
    span = min(matches, key=lambda match: abs(match.start() - start))
    return f"{sentence[: span.start()]}*{span.group()}*{sentence[span.end() :]}".strip()
