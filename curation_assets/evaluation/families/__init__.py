"""Families of tasks: each turns hub rows into text-to-text examples; `render` chooses the rows first.

A module of a family has `examples(task, config, rows, shots)`, which yields one example per row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from curation_assets.common.hashing import hash_ids, noise
from curation_assets.evaluation.examples import Example
from curation_assets.evaluation.families import (
    bbh,
    glue,
    mmlu,
    qa,
    reasoning,
    superglue,
)
from curation_assets.evaluation.families.common import HubRow, row_id, row_unit
from curation_assets.evaluation.hub import MissingData, Row, Rows, Source
from curation_assets.evaluation.tasks import Task

Reader = Callable[[Task, str, Iterable[HubRow], Sequence[HubRow]], Iterator[Example]]

FAMILIES: dict[str, Reader] = {
    "glue": glue.examples,
    "superglue": superglue.examples,
    "squad": qa.examples,
    "summarization": qa.examples,
    "mmlu": mmlu.examples,
    "bbh": bbh.examples,
    "reasoning": reasoning.examples,
    "qa": qa.examples,
}

STANDIN_SPLIT = "_standin"
"""End of the name of a mirror's split that stands in for an official one. What it yields is never the official number."""

_SHOT_SEED = 0  # shots are part of the task: the same in every evaluation


class _Name(NamedTuple):
    """What is known of a row before it is rendered."""

    config: str
    row: int
    id: str
    unit: str


def render(task: Task, source: Source, part: str, limit: int = 0, seed: int = 0) -> tuple[list[Example], str]:
    """Return the examples of a task, in the order of the split, and the name of the split.

    Parameters
    ----------
    part
        "test": the official split, or else `<split>_standin` of a mirror; each question follows the task's shots.
        "train": the training split, without shots; of a task whose hub data are one split, the rows that serve as shots,
        which the test part leaves out.
    limit
        At most so many rows, those with the largest `noise` of (seed, example id): choices of growing size are nested. 0
        for all. Of MultiRC whole questions are chosen, as long as their answers fit, and at least one.
    seed
        Of the choice. Shots do not depend on it: they are the rows with the largest noise of seed 0.

    Returns
    -------
    The examples; their ids are the hub's or content hashes, unique, and begin with the config where several are joined.

    Raises
    ------
    MissingData
        The task has no such part, the data are not there, or their labels are not public.
    BadRow
        A row is not what the hub has.
    ValueError
        The family has no examples (perplexity), or `part` or `limit` is not valid.
    """
    if task.family not in FAMILIES:
        raise ValueError(
            f"{task.suite}/{task.task} is measured on the corpus's validation sets: it has no examples"
        )
    if limit < 0:
        raise ValueError(f"limit is {limit}, but must be 0 (all) or more")
    split = _split(task, source, part)
    solved = {config: _shots(task, source, config) for config in task.configs}
    names = [
        name
        for config in task.configs
        for name in _names(task, config, source.rows(task.dataset, config, split))
        if not task.one_split() or (name.row in solved[config]) == (part == "train")
    ]
    taken = _choose(names, limit, seed)
    examples = chain.from_iterable(
        FAMILIES[task.family](
            task,
            config,
            _pick(
                source.rows(task.dataset, config, split),
                [name.row for name in taken if name.config == config],
            ),
            list(solved[config].values()) if part == "test" else [],
        )
        for config in task.configs
    )
    return [example._replace(id=name.id) for name, example in zip(taken, examples, strict=True)], split


def _split(task: Task, source: Source, part: str) -> str:
    if part not in ("train", "test"):
        raise ValueError(f"a part is train or test, not {part!r}")
    split = task.train if part == "train" else task.split
    if not split:
        raise MissingData(f"{task.suite}/{task.task} has no {part} split")
    splits = set.intersection(*(source.splits(task.dataset, config) for config in task.configs))
    if split in splits:
        return split
    if part == "test" and split + STANDIN_SPLIT in splits:
        return split + STANDIN_SPLIT
    where = source.root or "the hub"
    public = ": the labels of its split test are not public" if split == "test_gold" else ""
    raise MissingData(
        f"{task.dataset} {'+'.join(task.configs)} {split}: {where} has only {', '.join(sorted(splits)) or 'other splits'}{public}"
    )


def _names(task: Task, config: str, rows: Rows) -> list[_Name]:
    """Name every row; of repeated ids the second and later ones get a number."""
    prefix = f"{config}/" if len(task.configs) > 1 else ""
    seen: dict[str, int] = {}
    names = []
    for number, row in enumerate(rows):
        id, unit = row_id(row), row_unit(row)
        seen[id] = seen.get(id, 0) + 1
        unique = prefix + (id if seen[id] == 1 else f"{id}#{seen[id]}")
        names.append(_Name(config, number, unique, unique if unit == id else prefix + unit))
    return names


def _shots(task: Task, source: Source, config: str) -> dict[int, Row]:
    """Return {row number: row} of the solved examples of a config, in the order of their split."""
    if not task.shots:
        return {}
    rows = source.rows(task.dataset, config, task.train)
    names = _names(task, config, rows)
    if len(names) < task.shots:
        raise MissingData(f"{rows.where} has {len(names)} rows, but {task.shots} solved examples are wanted")
    numbers = [name.row for name in _choose(names, task.shots, _SHOT_SEED)]
    return dict(zip(numbers, _pick(rows, numbers), strict=True))


def _choose(names: list[_Name], limit: int, seed: int) -> list[_Name]:
    """Return at most `limit` names (0: all) by their units' noise, in their order."""
    if not limit or len(names) <= limit:
        return names
    units = np.array([name.unit for name in names])
    ranked, first, size = np.unique(units, return_index=True, return_counts=True)
    order = np.lexsort((first, -noise(hash_ids(ranked.tolist()), seed)))
    fitting = max(1, int(np.searchsorted(np.cumsum(size[order]), limit, side="right")))
    chosen = set(ranked[order[:fitting]].tolist())
    return [name for name in names if name.unit in chosen]


def _pick(rows: Rows, numbers: Sequence[int]) -> Iterator[Row]:
    wanted = set(numbers)
    return (row for number, row in enumerate(rows) if number in wanted)
