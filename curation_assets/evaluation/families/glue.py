"""GLUE (Wang et al. 2018) as T5 reads it (Raffel et al. 2020, appendix D): the task's name, its columns, a word as the answer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from curation_assets.evaluation.examples import Example
from curation_assets.evaluation.families.common import HubRow, chosen, fields, label, place
from curation_assets.evaluation.hub import BadRow, MissingData
from curation_assets.evaluation.tasks import Task


class Form(NamedTuple):
    """How a labelled config reads."""

    prefix: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    """In the order of the hub; the second is the positive class of F1."""


_PAIR = ("sentence1", "sentence2")
_NLI = Form("mnli", ("hypothesis", "premise"), ("entailment", "neutral", "contradiction"))

FORMS: dict[str, Form] = {
    "ax": _NLI,  # as T5 does: the diagnostics are read as MNLI
    "mnli": _NLI,
    "cola": Form("cola", ("sentence",), ("unacceptable", "acceptable")),
    "mrpc": Form("mrpc", _PAIR, ("not_equivalent", "equivalent")),
    "qnli": Form("qnli", ("question", "sentence"), ("entailment", "not_entailment")),
    "qqp": Form("qqp", ("question1", "question2"), ("not_duplicate", "duplicate")),
    "rte": Form("rte", _PAIR, ("entailment", "not_entailment")),
    "sst2": Form("sst2", ("sentence",), ("negative", "positive")),
    "wnli": Form("wnli", _PAIR, ("not_entailment", "entailment")),
}

SIMILARITIES = tuple(f"{step / 5:.1f}" for step in range(26))
"""STS-B's answers, "0.0" to "5.0" in steps of 0.2."""


def examples(task: Task, config: str, rows: Iterable[HubRow], shots: Sequence[HubRow]) -> Iterator[Example]:
    """Yield one example per row; GLUE is fine-tuned, so `shots` is not used.

    Raises
    ------
    BadRow, MissingData
        A row is not what the hub has, or its label is not public.
    """
    if config == "stsb":
        yield from map(_similarity, rows)
        return
    form = FORMS[config]
    for row in rows:
        yield chosen(row, fields(form.prefix, row, form.columns), label(row, form.labels), form.labels)


def _similarity(row: HubRow) -> Example:
    """Round the score to 0.2, as T5 does in training and in scoring."""
    score = row["label"]
    if score == -1:
        raise MissingData(f"{place(row)}: the labels of this split are not public (label is -1)")
    if not isinstance(score, int | float) or math.isnan(score) or not 0 <= score <= 5:
        raise BadRow(f"{place(row)}: label is {score!r:.40}, not a number from 0 to 5")
    return chosen(row, fields("stsb", row, _PAIR), SIMILARITIES[round(score * 5)], SIMILARITIES)
