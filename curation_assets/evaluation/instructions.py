"""What a model is instruction-tuned on before the suite `flan`, as the paper does with FLANv2 (section 5.1).

FLANv2 itself is a dataset on the hub that a profile may name. Without it the instructions are the training sets of the
tasks that have one, in the form in which the tasks are asked. MMLU and BIG-Bench-Hard are never among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from curation_assets.config.training_settings import Evaluation
from curation_assets.evaluation.examples import Example
from curation_assets.evaluation.families import render
from curation_assets.evaluation.hub import MissingData, Row, Source
from curation_assets.evaluation.tasks import TASKS, Task

_HELD_OUT = ("mmlu", "bbh")


def instruction_examples(settings: Evaluation, source: Source) -> Iterator[tuple[str, list[Example], str]]:
    """Yield (name, examples, note) of each set of instructions; at most `max_training_examples` of each.

    Raises
    ------
    MissingData
        The dataset that the profile names is not there, or none of the tasks has a training set.
    """
    if settings.instructions != "tasks":
        yield _dataset(settings, source)
        return
    any_examples = False
    for task in TASKS:
        if not task.train or task.one_split() or task.group in _HELD_OUT:
            continue
        try:
            examples, split = render(task, source, "train", settings.max_training_examples, settings.seed)
            note = f"instructions: {split}"
        except MissingData as error:
            examples, note = [], f"missing: {error}"
        any_examples = any_examples or bool(examples)
        yield _name(task), examples, note
    if not any_examples:
        raise MissingData(
            f"{source.root or 'the hub'} has no training set of any task to make instructions of"
        )


def _name(task: Task) -> str:
    return task.task if task.suite == task.task else f"{task.suite}_{task.task}"


def _dataset(settings: Evaluation, source: Source) -> tuple[str, list[Example], str]:
    """Return the first rows of a dataset with columns `inputs` and `targets`."""
    name, most = settings.instructions, settings.max_training_examples
    rows = islice(iter(source.rows(name, "default", "train")), most or None)
    examples = [_example(number, row) for number, row in enumerate(rows)]
    return name, examples, "instructions: the first rows" if most else "instructions"


def _example(number: int, row: Row) -> Example:
    target = str(row["targets"])
    return Example(str(number), str(row["inputs"]), target, (), (target,), "")
