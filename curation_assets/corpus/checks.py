"""Checks of the corpus as it was read: files, rows and ids of which somebody might miss one."""

from __future__ import annotations

import pyarrow.parquet as pq

from curation_assets.common.hashing import text_digest
from curation_assets.corpus.names import decoded, visible
from curation_assets.corpus.repeats import describe_repeats
from curation_assets.corpus.skipped_files import grouped
from curation_assets.engine.check_result import Outcome, made
from curation_assets.engine.workspace import Workspace

_REASONS_SHOWN = 5
_FILES_SHOWN = 100


def reference_is_apart(workspace: Workspace) -> Outcome:
    """No text that samplers are fitted to is one that models are measured on."""
    digests = []
    for key, name in (("corpus/reference", "reference"), ("corpus/validation", "hq")):
        if workspace.receipt(key) is None:
            return Outcome(True, f"{key} is not made yet")
        texts = pq.read_table(workspace.open(key) / f"{name}.parquet", columns=["text"])["text"].to_pylist()
        digests.append({text_digest(text) for text in texts})
    reference, measured = digests
    shared = len(reference & measured)
    return Outcome(
        not shared,
        f"{len(reference):,} texts to fit samplers to and {len(measured):,} to measure models on have {shared:,} in common",
        {"shared": shared},
    )


def rows_add_up(workspace: Workspace) -> Outcome:
    """Every row of every shard is a document, a held-out document or a quarantined row."""
    wrong, total, shards = {}, 0, made(workspace, "corpus/documents", workspace.shards())
    for shard in shards:
        with workspace.opened("corpus/documents", shard) as folder:
            tables = {
                name: pq.read_metadata(folder / f"{name}.parquet").num_rows
                for name in ("documents", "validation", "quarantine")
            }
        rows = workspace.metadata("corpus/documents", shard)["rows"]
        total += rows
        if rows != sum(tables.values()):
            wrong[shard] = {"rows": rows, **tables}
    return Outcome(
        not wrong,
        f"{total:,} rows of {len(shards)} shards are accounted for"
        if not wrong
        else f"rows are missing in {sorted(wrong)}",
        {"rows": total, "shards": len(shards), "wrong": wrong},
    )


def all_files_read(workspace: Workspace) -> Outcome:
    """Every file of the corpus could be read (a warning: the other files do not wait for it)."""
    aside = workspace.set_aside()
    old = workspace.unreadable(workspace.shards())
    summary = f"all {len(workspace.listed()):,} files were read"
    if aside or old:
        first, reason = next(iter((aside | old).items()))
        name = visible(decoded(first))
        summary = f"left out: {len(aside):,}; in use as they were read last: {len(old):,}; {name}: {reason}"
    return Outcome(not aside and not old, summary, {"left_out": aside, "as_read_last": old}, warns=True)


def no_files_passed_over(workspace: Workspace) -> Outcome:
    """Every file of the corpus's folder has a format that is read (a warning; names that nobody means as data do not count)."""
    passed_over = workspace.passed_over()
    missed, alike = passed_over["files"], passed_over["alike"]
    summary = f"{len(workspace.listed()):,} files listed, {len(missed):,} passed over"
    summary += "".join(f"; {names}: {reason}" for names, reason in grouped(missed)[:_REASONS_SHOWN])
    summary += "".join(f"; {', '.join(names)}: all are read" for names in alike[:_REASONS_SHOWN])
    figures = {"passed_over": len(missed), **passed_over, "files": missed[:_FILES_SHOWN]}
    return Outcome(not missed, summary, figures, warns=True)


def ids_stand_for_one_text(workspace: Workspace) -> Outcome:
    """No id stands for several texts (a warning: all of them stay, but `doc_id` alone does not say which is meant)."""
    receipt = workspace.receipt("corpus/index")
    if receipt is None:
        return Outcome(True, "not made yet", warns=True)
    counts = {
        name: receipt.metadata.get(name, 0) for name in ("ids_with_several_texts", "documents_of_such_ids")
    }
    summary = "; ".join(describe_repeats(receipt.metadata)) or "every id stands for one text"
    return Outcome(not counts["ids_with_several_texts"], summary, counts, warns=True)
