"""CNN/Daily Mail (Hermann et al. 2015; See et al. 2017): an article and its highlights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from curation_assets.evaluation.examples import Example
from curation_assets.evaluation.families.common import HubRow, free, text
from curation_assets.evaluation.tasks import Task


def examples(task: Task, config: str, rows: Iterable[HubRow], shots: Sequence[HubRow]) -> Iterator[Example]:
    """Yield one example per row; `shots` is not used.

    Raises
    ------
    BadRow
        A row is not what the hub has.
    """
    for row in rows:
        yield free(row, f"summarize: {text(row, 'article')}", (text(row, "highlights"),))
