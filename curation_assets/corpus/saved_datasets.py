"""Folders as `datasets` saves them (`save_to_disk`): which of their Arrow files are the dataset's."""

from __future__ import annotations

import json
from collections.abc import MutableMapping

from curation_assets.corpus.walk import Entry

_LEFT = "no file of the dataset that state.json tells of: left from an earlier one?"
_INDEX = "an index of rows, which is not applied: load the dataset, and save what flatten_indices() gives"


def only_saved(
    entries: list[Entry], folder: str, state: bytes, passed_over: MutableMapping[str, str]
) -> list[Entry]:
    """Return the files without those Arrow files of a folder that its state.json does not name; these are added to `passed_over`.

    `datasets` removes nothing: where a dataset was saved over one in more pieces, the others still lie there. A state.json that is none
    of `datasets` changes nothing.
    """
    try:
        about = json.loads(state)
        named = {one["filename"] for one in about["_data_files"]}
        indices = {one["filename"] for one in about.get("_indices_data_files") or ()}
    except (ValueError, TypeError, KeyError, RecursionError):
        return entries
    kept = []
    for entry in entries:
        place, _, name = entry.path.rpartition("/")
        if place != folder or name in named or not name.endswith(".arrow"):
            kept.append(entry)
        else:
            passed_over[entry.path] = _INDEX if name in indices else _LEFT
    return kept
