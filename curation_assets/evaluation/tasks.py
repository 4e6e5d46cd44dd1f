"""The 111 evaluation tasks, one row of `tasks.csv` each (How to Train Data-Efficient LLMs).

perplexity 2, GLUE 11, SuperGLUE 8, CNN/DM 1, SQuAD 1, and after instruction tuning (suite `flan`) MMLU 57, BIG-Bench-Hard 23,
reasoning 4 and question answering 4.

`random_baseline` is DEFINED as what the same answer to every example scores where all answers are equally frequent, in
percent of the task's metric of record. So accuracy among k choices has 100/k, Matthews and correlations 0, free-form answers 0.
Means of two metrics follow: accuracy and F1 of a constant "positive" (50 + 66.67)/2; accuracy and macro F1 over CommitmentBank's
three labels (33.33 + 16.67)/2; MultiRC, where every question has true and false answers, (0 + 66.67)/2. "The same answer" is the
same place among the options, where their words differ from example to example; ReCoRD's options differ in number too, hence 0.
For a task of BIG-Bench-Hard k is the commonest number of options of its examples; where configs are joined, the mean over them counts.

What the columns of data mean:

- `dataset`, `configs`, `train`, `split` are names on the hub; BIG-Bench-Hard's logical deduction and shuffled objects join three configs.
- `train` is what fine-tuning or the shots take; where it equals `split`, the hub has one split only, and the rows that serve as shots
  are not scored. MNLI's train set counts once: `mnli_mismatched` and `ax` have none of their own.
- GLUE's diagnostics (`ax`) have no public labels on the hub: its split `test` has -1 throughout. `test_gold` is a name for a mirror
  that holds the labels as GLUE's authors published them.
- UnifiedQA's evaluation sets have no known copy on the hub. `unified_qa` (no organisation: not a hub id) names a folder of a mirror,
  `unified_qa/ai2_science_elementary/test.jsonl` with columns `input` and `output`, as in UnifiedQA's own files.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

Method = Literal["perplexity", "fine_tune", "few_shot"]


@dataclass(frozen=True)
class Task:
    """One evaluation task.

    Attributes
    ----------
    suite, group, task : where it stands in tables; `group` divides the suite `flan` and elsewhere equals the suite.
    family : module of `evaluation.families` that turns hub rows into examples ("perplexity": there are none).
    metric : metric of record, a name for `metrics.measure`.
    method : how a checkpoint is measured.
    shots : solved examples before the question.
    dataset, configs : hub id and configs, whose examples are pooled.
    train, split : hub splits for training or shots ("" for none) and for scoring.
    random_baseline : percent, see the module; None for perplexity.
    higher_is_better : direction of the metric.
    """

    suite: str
    group: str
    task: str
    family: str
    metric: str
    method: Method
    shots: int
    dataset: str
    configs: tuple[str, ...]
    train: str
    split: str
    random_baseline: float | None
    higher_is_better: bool

    def one_split(self) -> bool:
        """Tell whether the rows to learn from are taken out of the split that is scored."""
        return bool(self.split) and self.train == self.split


def _task(row: dict[str, str]) -> Task:
    method = row["method"]
    if method not in ("perplexity", "fine_tune", "few_shot"):
        raise ValueError(f"tasks.csv: {row['suite']}/{row['task']} has the unknown method {method!r}")
    return Task(
        suite=row["suite"],
        group=row["group"],
        task=row["task"],
        family=row["family"],
        metric=row["metric"],
        method=method,  # type: ignore[arg-type]
        shots=int(row["shots"]),
        dataset=row["dataset"],
        configs=tuple(row["configs"].split("+")) if row["configs"] else (),
        train=row["train"],
        split=row["split"],
        random_baseline=float(row["random_baseline"]) if row["random_baseline"] else None,
        higher_is_better=row["higher_is_better"] == "true",
    )


def _read() -> tuple[Task, ...]:
    text = (files("curation_assets.evaluation") / "tasks.csv").read_text("utf-8")
    return tuple(_task(row) for row in csv.DictReader(text.splitlines()))


TASKS: tuple[Task, ...] = _read()
"""All 111, in the order of the tables."""

STANDIN = "@standin"
"""Ends the name of a task that is measured on another split than the official one."""

SUITES: tuple[str, ...] = tuple(dict.fromkeys(task.suite for task in TASKS))

PROBES: tuple[Task, ...] = tuple(
    Task("probes", "probes", task, "probes", metric, "fine_tune", 0, "", (), "", "", baseline, True)
    for task, metric, baseline in (
        ("document_origin", "balanced_accuracy", None),
        ("shuffled_words", "accuracy", 50.0),
    )
)
"""Tasks that are made from the corpus (`probes`); none of the paper's. The number of origins is the corpus's."""

_BY_NAME = {(task.suite, task.task): task for task in (*TASKS, *PROBES)}


def lookup(suite: str, task: str) -> Task:
    """Return the task of that name; of a stand-in, the task that it stands for.

    Raises
    ------
    KeyError
        There is none; the message lists the suite's tasks.
    """
    try:
        return _BY_NAME[suite, task.removesuffix(STANDIN)]
    except KeyError:
        known = [t.task for t in TASKS if t.suite == suite] or list(SUITES)
        raise KeyError(f"there is no task {suite}/{task}; there are {', '.join(known)}") from None
