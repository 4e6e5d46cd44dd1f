"""Labels that people bring: files of doc_id and label, in any format that a corpus may have."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation_assets.common.files import file_states
from curation_assets.config.settings import DocumentSettings, Labels
from curation_assets.corpus import discover
from curation_assets.corpus.formats import read_rows
from curation_assets.corpus.names import decoded

_GOOD, _BAD = ("1", "true", "yes"), ("0", "false", "no")
_ID, _LABEL = "doc_id", "label"  # what the fields are called


@dataclass(frozen=True)
class LabelFiles:
    """{document's id: whether it is good}, and by what a change of the files is noticed."""

    good: dict[str, bool]
    seen: dict[str, Any]


def read_label_files(settings: Labels, options: Mapping[str, Any]) -> LabelFiles:
    """Read all files at `settings.url`; a row without a label says nothing.

    Raises
    ------
    ValueError
        There is no such file, or a row has no id, a label that is neither good nor bad, or contradicts another; names file and row.
    """
    try:
        files = discover.find_files(settings.url, options).files
    except FileNotFoundError:
        raise ValueError(f"labels.url: nothing is at {settings.url}") from None
    good: dict[str, bool] = {}
    for file in files:
        for row, doc_id, value in _rows(file.url, settings.field or _LABEL, options):
            where = f"labels.url: {decoded(file.url)}, row {row}"
            try:
                label = is_good(value, settings.positive)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
            if label is None:
                continue
            if good.setdefault(doc_id, label) != label:
                raise ValueError(f"{where}: {doc_id!r} is labelled good in one row and bad in another")
    return LabelFiles(good, _seen([file.url for file in files]))


def is_good(value: Any, positive: tuple[str, ...]) -> bool | None:
    """Return what a label says; None where it is empty. ValueError for what is neither good nor bad."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "" if value is None else str(value).strip().lower()
    if not text:
        return None
    if positive:
        return text in {one.strip().lower() for one in positive}
    if text not in _GOOD + _BAD:
        known = f"{', '.join(_GOOD)} (good) nor {', '.join(_BAD)} (bad)"
        raise ValueError(f"label {value!r} is neither {known}: name the good ones in labels.positive")
    return text in _GOOD


def labels_of(values: list[Any], positive: tuple[str, ...], where: str) -> NDArray[np.int8]:
    """Return 1 for good, 0 for bad and -1 for no label, of a column of the corpus; `where` names it in an error."""
    known: dict[Any, int] = {}
    for value in set(values):
        try:
            label = is_good(value, positive)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
        known[value] = -1 if label is None else int(label)
    return np.fromiter((known[value] for value in values), np.int8, len(values))


def _rows(url: str, field: str, options: Mapping[str, Any]) -> Iterator[tuple[int, str, Any]]:
    """Yield row, id and label."""
    settings = DocumentSettings(text_field=field, id_field=_ID)
    for raw in read_rows(url, settings, options):
        where = f"labels.url: {decoded(url)}, row {raw.row}"
        if raw.fields is None:
            raise ValueError(f"{where}: {raw.reason.replace('_', ' ')}: {raw.detail}")
        if raw.lacks:
            raise ValueError(f"{where} has no {' nor '.join(raw.lacks)}; its fields: {', '.join(raw.seen)}")
        doc_id = raw.fields.get(_ID)
        if not isinstance(doc_id, str | int) or isinstance(doc_id, bool):
            raise ValueError(f"{where}: {_ID} is {doc_id!r}, no string or integer")
        yield raw.row, str(doc_id), raw.fields[field]


def _seen(urls: list[str]) -> dict[str, Any]:
    """Return how files of this machine look; of a store nothing is known but by reading it."""
    paths = [decoded(url.removeprefix("file://")) for url in urls if url.startswith("file://")]
    if not paths:
        return {}
    place = Path(os.path.commonpath([os.path.dirname(path) for path in paths]))  # noqa: PTH120
    return {"place": str(place), "seen": file_states(place, [os.path.relpath(p, place) for p in paths])}
