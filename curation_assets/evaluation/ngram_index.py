"""Which n-grams of evaluation inputs say that a document was taken from one, and the index of them.

- What all inputs of a task begin or end with (its instruction, its few-shot examples) is no input: it is cut off first.
- An n-gram in the inputs of more than MANY examples of a task and of more than SHARE of them is taken for template text,
  too, and left out. (A passage with many questions is in a few per cent of a task's inputs at most.)
- Of what is left of an input, every WORDS words in a row count. One of fewer words counts as a whole if it has
  LEAST_WORDS (GPT-3 looked for N-grams of 8 to 13 words by data set); else nothing in it can be found, and it is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from curation_assets.common.files import write_json
from curation_assets.evaluation.ngrams import (
    LEAST_WORDS,
    WORDS,
    Hashes,
    different,
    grams,
    normalized,
    word_hashes,
)

MANY = 10
SHARE = 0.05
INPUTS_SCHEMA = pa.schema([("suite", pa.string()), ("task", pa.string()), ("input", pa.string())])

_RANGES = 64  # parts in which the index is put together: one in memory at a time


@dataclass
class TaskInputs:
    """What became of a task's inputs.

    Attributes
    ----------
    inputs : how many there are.
    common_words : words that all of them begin or end with.
    ngrams : different n-grams that are looked for.
    template_ngrams : different n-grams that are left out as template text.
    whole : inputs that are looked for as a whole.
    too_short : inputs in which nothing can be found.
    """

    suite: str
    task: str
    inputs: int = 0
    common_words: int = 0
    ngrams: int = 0
    template_ngrams: int = 0
    whole: int = 0
    too_short: int = 0


def build_index(
    batches: Callable[[], Iterable[pa.RecordBatch]], folder: Path, scratch: Path
) -> list[TaskInputs]:
    """Write the index of evaluation inputs into a folder, for `NgramIndex` to open; the same for any order of the inputs.

    Parameters
    ----------
    batches
        Gives the inputs, as INPUTS_SCHEMA; called twice. Rows of a task need not stand together.
    folder, scratch
        Where the index goes, and an empty folder for files of 8 bytes for each word of the inputs.

    Returns
    -------
    What became of each task's inputs, by suite and task. Memory: a batch, and the n-grams of the largest task.
    """
    frames = _frames(batches())
    tasks = [TaskInputs(*name) for name in sorted(frames)]
    number = {(about.suite, about.task): i for i, about in enumerate(tasks)}
    for (suite, task), inputs in _by_task(batches()):
        at = number[suite, task]
        hashes = _own_ngrams(inputs, *frames[suite, task].common(), tasks[at])
        with (scratch / f"{at}.all").open("ab") as out:
            hashes.tofile(out)
    for at, about in enumerate(tasks):
        about.common_words = sum(frames[about.suite, about.task].common())
        _keep(scratch / f"{at}.all", scratch / f"{at}.kept", about)
    _merge([scratch / f"{at}.kept" for at in range(len(tasks))], [about.ngrams for about in tasks], folder)
    lengths = [WORDS, *(range(LEAST_WORDS, WORDS) if any(about.whole for about in tasks) else ())]
    about_index = {
        "tasks": [[about.suite, about.task] for about in tasks],
        "lengths": sorted(lengths),
        "inputs": [asdict(about) for about in tasks],
    }
    write_json(folder / "index.json", about_index)
    return tasks


def _by_task(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[tuple[str, str], pa.Array]]:
    """Yield each batch's inputs by their (suite, task)."""
    for batch in batches:
        names = pa.table([batch["suite"], batch["task"]], ["suite", "task"]).group_by(["suite", "task"])
        for name in names.aggregate([]).to_pylist():
            of_it = pc.and_(pc.equal(batch["suite"], name["suite"]), pc.equal(batch["task"], name["task"]))
            yield (name["suite"], name["task"]), batch["input"].filter(of_it)


class _Frame:
    """What all inputs of a task have in common at both ends: that of the first and last of them in alphabetical order."""

    def __init__(self) -> None:
        self.inputs = 0
        self._ends: tuple[list[str], list[str]] = ([], [])  # forwards, backwards

    def add(self, texts: pa.Array) -> None:
        self.inputs += len(texts)
        for ends, way in zip(self._ends, (texts, pc.utf8_reverse(texts)), strict=True):
            extremes = pc.min_max(way).as_py()
            ends[:] = [min([*ends, extremes["min"]]), max([*ends, extremes["max"]])]

    def common(self) -> tuple[int, int]:
        """Return how many words to cut off at the beginning and at the end."""
        if self.inputs <= MANY:
            return 0, 0
        first, last = (_shared_words(*ends) for ends in self._ends)
        return first, last


def _shared_words(text: str, other: str) -> int:
    """Return how many words two normalized texts have in common at their beginning."""
    pairs = zip(text.split(), other.split(), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _frames(batches: Iterable[pa.RecordBatch]) -> dict[tuple[str, str], _Frame]:
    frames: dict[tuple[str, str], _Frame] = {}
    for name, inputs in _by_task(batches):
        frames.setdefault(name, _Frame()).add(normalized(inputs))
    return frames


def _own_ngrams(inputs: pa.Array, first: int, last: int, about: TaskInputs) -> Hashes:
    """Return the different n-grams of each input without its first and last words, and count the inputs."""
    words, document = word_hashes(inputs)
    length = np.bincount(document, minlength=len(inputs))
    place = np.arange(len(words)) - np.repeat(length.cumsum() - length, length)
    own = (place >= first) & (place < length[document] - last)
    words, document = words[own], document[own]
    length = np.bincount(document, minlength=len(inputs))
    about.inputs += len(inputs)
    about.whole += int(((length >= LEAST_WORDS) & (length < WORDS)).sum())
    about.too_short += int((length < LEAST_WORDS).sum())
    parts = [np.zeros(0, np.uint64)]
    for n, hashes in grams(words, range(LEAST_WORDS, WORDS + 1)):
        at = np.flatnonzero(document[: len(hashes)] == document[n - 1 :])
        at = at if n == WORDS else at[length[document[at]] == n]
        parts.append(different(hashes[at], document[at])[0])
    return np.concatenate(parts)


def _keep(every: Path, kept: Path, about: TaskInputs) -> None:
    """Write a task's different n-grams, sorted, without those that are template text."""
    hashes, inputs = np.unique(np.fromfile(every, np.uint64), return_counts=True)
    every.unlink()
    template = inputs > max(MANY, SHARE * about.inputs)
    about.ngrams, about.template_ngrams = int((~template).sum()), int(template.sum())
    hashes[~template].tofile(kept)


def _merge(paths: list[Path], counts: list[int], folder: Path) -> None:
    """Join the tasks' sorted n-grams into `ngrams.npy` (uint64, sorted) and `tasks.npy` (uint16: number of the task)."""
    total = sum(counts)
    if not total:
        np.save(folder / "ngrams.npy", np.zeros(0, np.uint64))
        np.save(folder / "tasks.npy", np.zeros(0, np.uint16))
        return
    hashes: NDArray[np.uint64] = np.lib.format.open_memmap(
        folder / "ngrams.npy", mode="w+", dtype=np.uint64, shape=(total,)
    )
    tasks: NDArray[np.uint16] = np.lib.format.open_memmap(
        folder / "tasks.npy", mode="w+", dtype=np.uint16, shape=(total,)
    )
    parts = {at: np.memmap(path, np.uint64, "r") for at, path in enumerate(paths) if counts[at]}
    done = dict.fromkeys(parts, 0)
    filled = 0
    for number in range(1, _RANGES + 1):
        highest = np.uint64(number * (1 << 64) // _RANGES - 1)
        ends = {at: int(np.searchsorted(part, highest, "right")) for at, part in parts.items()}
        values = np.concatenate([part[done[at] : ends[at]] for at, part in parts.items()])
        owner = np.repeat(np.array(list(parts), np.uint16), [ends[at] - done[at] for at in parts])
        order = np.argsort(values, kind="stable")  # equal ones by task
        hashes[filled : filled + len(values)], tasks[filled : filled + len(values)] = (
            values[order],
            owner[order],
        )
        filled, done = filled + len(values), ends
