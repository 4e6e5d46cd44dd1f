"""Writing a choice with its texts: file after file, from where a killed export stopped, then the card, and the manifest last."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from curation_assets.common.files import fingerprint
from curation_assets.common.progress import Progress, after, silent
from curation_assets.config.export_settings import Export
from curation_assets.selection.export.card import dataset_card
from curation_assets.selection.export.chosen import Chosen
from curation_assets.selection.export.destination import CARD, DATA, MANIFEST, PROGRESS, Destination
from curation_assets.selection.export.documents import Documents, Group
from curation_assets.selection.export.part_files import part_file
from curation_assets.selection.export.repeats import Repeats, repeats

FORMAT = 1
"""Of the folder, its manifest and its columns."""


def export(chosen: Chosen, layout: Export, to: Destination, progress: Progress = silent) -> dict[str, Any]:
    """Write a choice to a folder that is empty or holds a part of just this export; return its manifest.

    The documents come in the order of the corpus: by file, then by row. Repeats come behind them (`repeats`). Memory does not grow with
    the corpus: it is one row group, and of one corpus file the numbers of what was chosen.

    Raises
    ------
    ValueError
        The folder holds something else or another export, or another process exports there; or the corpus is not any more what was scored.
    """
    again = _repeats(chosen, layout)
    documents = Documents(chosen, again, normalized=layout.normalized)
    how = {**layout.identity(), "license": ""}  # which stands in the card alone, and that is always written
    plan = fingerprint(FORMAT, chosen.selection, chosen.near_duplicates, documents.schema.to_string(), how)
    with to.held():
        finished, files = _there(to, plan)
        if (manifest := finished) is None:
            to.begin()
            passes = again.passes(chosen.ranked) if again else [chosen.documents]
            files = _write(documents, layout, to, plan, files, passes, progress)
            manifest = _manifest(chosen, layout, documents, plan, files, passes)
        with to.file(CARD) as draft:
            card = dataset_card(manifest, documents.schema, chosen.by_source(), layout.license)
            draft.write_text(card, "utf-8")
        if finished is None:
            to.write(MANIFEST, manifest)
        to.remove(PROGRESS)
    return manifest


def _repeats(chosen: Chosen, layout: Export) -> Repeats | None:
    if not layout.repeat:
        return None
    if len(chosen.scores) > 1:
        raise ValueError("what is repeated goes by the scores of one sampler, and several have chosen")
    return repeats(layout.bands, chosen.ranked, chosen.documents, chosen.seed)


def _there(to: Destination, plan: str) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """Return the manifest of an export that is complete, or else what there is of it: as many first files as are whole."""
    begun = to.begun()
    if not begun:
        return None, []
    state = to.read(begun) if begun == MANIFEST else to.progress()
    if not isinstance(state, dict) or state.get("plan") != plan:
        raise ValueError(
            f"{to.url} holds another export, or of another version: name another folder, or remove it first"
        )
    files = state["files"]
    whole = to.whole(files)
    if begun != MANIFEST:
        return None, files[:whole]
    if whole < len(files):
        raise ValueError(f"{to.url}/{files[whole]['name']} is gone or damaged: remove the folder")
    return state, files


def _write(
    documents: Documents,
    layout: Export,
    to: Destination,
    plan: str,
    files: list[dict[str, Any]],
    passes: list[int],
    progress: Progress,
) -> list[dict[str, Any]]:
    """Write the files that are not there yet; each is noted before the next one begins."""
    to.note({"format": FORMAT, "plan": plan, "files": files})
    first, behind = (files[-1]["pass"], files[-1]["behind"]) if files else (0, 0)
    for number in range(first, len(passes)):
        groups = documents.groups(number, behind)
        for group in groups:
            part_progress = after(progress, sum(passes[:number]) + behind, sum(passes))
            file = _write_file(documents, layout, to, len(files), chain([group], groups), part_progress)
            behind += file["rows"]
            files = [*files, {**file, "pass": number, "behind": behind}]
            to.note({"format": FORMAT, "plan": plan, "files": files})
        behind = 0
    if not files:  # so that readers see the columns
        nothing = iter([Group(documents.schema.empty_table(), 0)])
        files = [_write_file(documents, layout, to, 0, nothing, after(progress, 0, 1))]
    return files


def _write_file(
    documents: Documents,
    layout: Export,
    to: Destination,
    number: int,
    groups: Iterator[Group],
    progress: Progress,
) -> dict[str, Any]:
    """Write one file, up to the row group that fills it; return what the manifest says of it, and its tokens."""
    about: dict[str, Any] = {}
    name, rows, tokens, size = f"{DATA}/part-{number:05d}.{layout.format}", 0, 0, 0
    with to.counted(name, about) as path, part_file(path, layout.format, documents.schema) as write:
        for group in groups:
            write(group.table)
            rows, size = rows + len(group.table), size + group.text_bytes
            tokens += sum(chunk.to_numpy().sum() for chunk in group.table["n_tokens"].chunks)
            progress(rows, 0, "documents", name)
            if size >= layout.shard_size:
                break
    return {**about, "rows": rows, "tokens": int(tokens)}


def _manifest(
    chosen: Chosen,
    layout: Export,
    documents: Documents,
    plan: str,
    files: list[dict[str, Any]],
    passes: list[int],
) -> dict[str, Any]:
    listed = [{name: file[name] for name in ("name", "rows", "bytes", "sha256")} for file in files]
    repeated = {"bands": list(layout.repeat), "passes": passes}
    return {
        "format": FORMAT,
        "plan": plan,
        "files": listed,
        "rows": sum(file["rows"] for file in files),
        "documents": chosen.documents,
        "tokens": sum(file["tokens"] for file in files),
        "columns": documents.schema.names,
        "text": "as scored" if layout.normalized else "as read",
        "layout": {"format": layout.format, "shard_size": layout.shard_size},
        "percentile": {prefix.rstrip("_"): one.about() for prefix, one in chosen.percentiles.items()},
        "near_duplicates": chosen.near_duplicates,
        "selection": chosen.selection,
        "corpus": chosen.corpus,
        "repeat": repeated if layout.repeat else None,
    }
