"""What learns a teacher's labels: a T5, or ridge regression on embeddings where that agrees better with labels held out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from curation_assets.common.drawing.charts import lines
from curation_assets.engine.workspace import Markdown, Metadata
from curation_assets.judges.agreement import Agreement, difference, kendall
from curation_assets.judges.distill import check_labels, soft_labels
from curation_assets.judges.distill_config import DistillResult
from curation_assets.scoring.ridge_judge import fit_ridge_judge

LEAST = 10
"""Labelled documents that the encoder can read, below which nothing is fitted to their embeddings."""


class TooFewReadable(ValueError):
    """The encoder can read too few of the labelled documents."""


Kind = Literal["t5", "embeddings"]


@dataclass(frozen=True)
class Labelled:
    """The n documents with the teacher's log P("yes"), in the order of their hashes; `held_out` are measured on alone."""

    texts: list[str]
    hashes: NDArray[np.uint64]
    teacher: NDArray[np.float64]
    held_out: NDArray[np.bool_]


@dataclass(frozen=True)
class Student:
    """A judge that has learned: its scores of the documents held out, and what writes it to a folder.

    `about` is for people and `record` for programs.
    """

    kind: Kind
    scores: NDArray[np.float64]
    save: Callable[[Path], object]
    documents: int
    about: Metadata = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """The student that is taken, each one's agreement with the teacher, and by how much the taken one's is above the other's."""

    taken: Student
    agreement: dict[Kind, Agreement]
    advantage: Agreement | None

    def record(self) -> dict[str, Any]:
        """Return what `distillation.json` holds of it."""
        return {
            "student": self.taken.kind,
            "agreement": asdict(self.agreement[self.taken.kind]),
            "students": {kind: asdict(one) for kind, one in self.agreement.items()},
            "advantage": asdict(self.advantage) if self.advantage else None,
        }

    def metadata(self) -> Metadata:
        """Return the same for people."""
        figures: dict[str, Agreement] = {"tau": self.agreement[self.taken.kind]}
        if self.advantage:
            figures |= {f"tau_of_{kind}": one for kind, one in self.agreement.items()}
            figures["advantage"] = self.advantage
        return {
            "student": self.taken.kind,
            "held_out": self.agreement[self.taken.kind].n,
            **{name: value for key, one in figures.items() for name, value in _figures(key, one)},
        }


def _figures(name: str, agreement: Agreement) -> list[tuple[str, float]]:
    values = ((name, agreement.tau), (f"{name}_low", agreement.low), (f"{name}_high", agreement.high))
    return [(key, value) for key, value in values if value is not None]


def choose(students: list[Student], teacher: NDArray[np.float64], seed: int) -> Choice:
    """Take the first student, or the second where that agrees better with the teacher beyond noise: Kendall's tau, documents held out.

    Beyond noise is where the interval of the difference lies above 0. Of two that cannot be told apart the point estimates would be a draw, and
    judges of all sizes would be one by chance. One that gives all documents the same score orders nothing, and gives way.
    """
    agreement: dict[Kind, Agreement] = {one.kind: kendall(one.scores, teacher, seed=seed) for one in students}
    first, *others = students
    if not others:
        return Choice(first, agreement, None)
    second = others[0]
    lead = difference(first.scores, second.scores, teacher, seed=seed)
    orders_nothing = agreement[first.kind].tau is None and agreement[second.kind].tau is not None
    if orders_nothing or (lead.high is not None and lead.high < 0):
        return Choice(second, agreement, difference(second.scores, first.scores, teacher, seed=seed))
    return Choice(first, agreement, lead)


def t5_student(result: DistillResult, base: str, digest: str) -> Student:
    """Return the T5 of a finished distillation; `digest` is its base's."""
    return Student(
        "t5",
        np.array(result.held_out_scores),
        lambda folder: shutil.copytree(result.model, folder),
        result.documents,
        {
            "base": base,
            "steps": result.steps,
            "loss": result.loss,
            "held_out_loss": result.held_out_loss,
            "least_possible_loss": result.entropy,
            "loss_curve": _loss_curve(result),
        },
        {**result.metadata(), "base": base, "base_digest": digest},
    )


def _loss_curve(result: DistillResult) -> Markdown:
    series: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name, column in (("held out", "held_out_loss"), ("trained on", "loss")):
        points = [(row["epoch"], row[column]) for row in result.history if row[column] is not None]
        epoch, loss = np.array(points, np.float64).reshape(-1, 2).T
        series[name] = (epoch, loss)
    picture = lines(series, "loss against the teacher's labels", "epochs", "nats per document")
    return Markdown(picture.markdown("loss by epoch"))


def embedding_student(
    labelled: Labelled, x: NDArray[np.floating], readable: NDArray[np.bool_], target: str
) -> Student:
    """Fit ridge regression to the embeddings [n, dim] of the documents that are not held out.

    Raises
    ------
    TooFewReadable
        The encoder can read too few of them.
    ValueError
        The labels are such as cannot be learned from.
    """
    check_labels(labelled.texts, labelled.teacher, labelled.held_out)
    train, held = ~labelled.held_out & readable, labelled.held_out
    if train.sum() < LEAST:
        raise TooFewReadable(
            f"of the labelled documents that are not held out the encoder of the embeddings can read {train.sum()}: "
            f'a judge that goes by embeddings takes {LEAST} (or set judge.student = "t5")'
        )
    judge = fit_ridge_judge(x[train], soft_labels(labelled.teacher, ~held, target)[train])
    about = {
        "penalty": judge.penalty,
        "dimensions": x.shape[1],
        "unreadable_documents": int((~readable).sum()),
    }

    def save(folder: Path) -> None:
        folder.mkdir()
        judge.save(folder)

    scores = judge.score(x[held], readable[held], labelled.hashes[held])
    return Student("embeddings", scores, save, int(train.sum()), about, about)
