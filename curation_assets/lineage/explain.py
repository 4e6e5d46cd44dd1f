"""What became of one document: where it comes from, what each sampler makes of it, and which subsets it is in, or why not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from curation_assets.common.markdown import number, text_table
from curation_assets.common.progress import Progress, silent
from curation_assets.common.terminal import plain, wrapped
from curation_assets.config.amount import label
from curation_assets.config.registry import SAMPLERS
from curation_assets.config.settings import nearest
from curation_assets.corpus.discover import split_suffixes
from curation_assets.corpus.names import decoded, key_of, visible
from curation_assets.corpus.reading import Repeats, read_repeats, with_contaminated
from curation_assets.engine.graph import STEPS
from curation_assets.engine.reasons import Reason
from curation_assets.engine.staleness import Versions
from curation_assets.engine.stored import read_filtered
from curation_assets.engine.workspace import Workspace, title
from curation_assets.lineage.locate import Place, SetAside, locate, near_ids
from curation_assets.lineage.sampler_view import SamplerView, SubsetChoice, sampler_view
from curation_assets.scoring.prompt import Flag

State = Literal["document", "held out", "quarantined"]
_CONTAMINATION = "evaluation/contamination"
_STALE = "*"
_MOST_DOCUMENTS = 5  # of one id about which samplers are asked: each takes a pass over the scores


@dataclass(frozen=True)
class Explanation:
    """What became of a document.

    Attributes
    ----------
    state : a "document" for samplers to choose, "held out" for validation, or "quarantined" and nothing else.
    places : rows that hold it, the one that counts first; later ones are repeats.
    set_aside : quarantined rows that name the id; of a document, those of the shards that hold it.
    samplers : how each sampler sees it of those asked for, in the registry's order; none unless it is a document, and none after the
        first five documents of an id.
    searched : shards that were searched.
    notes : what is out of date, so that the answer may change; and which other documents have this id.
    """

    doc_id: str
    state: State
    places: tuple[Place, ...]
    set_aside: tuple[SetAside, ...]
    samplers: tuple[SamplerView, ...]
    searched: int
    notes: tuple[str, ...]


def explain(
    workspace: Workspace,
    doc_id: str,
    samplers: Sequence[str] = (),
    progress: Progress = silent,
    shard: str = "",
) -> list[Explanation]:
    """Return what became of the document with an id, or of each where the id stands for several texts.

    Nothing is made or changed, and no digest is checked: of a shard only id columns are read, and of a sampler's
    scores the column of scores, once for each document.

    Parameters
    ----------
    samplers
        Those to ask; all by default.
    shard
        Only the documents that this shard has; all by default.

    Raises
    ------
    ValueError
        An unknown sampler or shard, or an id that is nowhere: says how many shards were searched, and names near ids.
    """
    for name in samplers:
        if name not in SAMPLERS:
            raise ValueError(f"unknown sampler {name!r}{nearest(name, SAMPLERS)}")
    try:
        doc_id.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{doc_id!r} is no valid Unicode, as every id is") from None
    versions = Versions(workspace)
    if shard and shard not in versions.listing:  # a file's name, which is no key
        names = (key_of(shard), key_of(shard.removesuffix(PurePath(shard).suffix)))
        shard = next((name for name in names if name in versions.listing), shard)
    if shard and shard not in versions.listing:
        raise ValueError(f"no shard {shard!r} in the corpus{nearest(shard, versions.listing)}")
    search = locate(versions, doc_id, progress, shard)
    if not search.places and not search.set_aside:
        raise ValueError(_unknown(versions, doc_id, [shard] if shard else search.shards))
    if not search.places:
        return [Explanation(doc_id, "quarantined", (), tuple(search.set_aside), (), len(search.shards), ())]
    documents: dict[int, list[Place]] = {}
    for place in search.places:
        documents.setdefault(place.doc_hash, []).append(place)
    left_out = known_left_out(versions)
    explained = []
    for at, places in enumerate(documents.values()):
        first, views = places[0], []
        if first.table == "documents" and at < _MOST_DOCUMENTS:
            dropped = "" if not workspace.profile.evaluation.decontaminate else _overlaps(versions, first)
            asked = [name for name in SAMPLERS if not samplers or name in samplers]
            views = [sampler_view(versions, name, first, left_out, progress, dropped) for name in asked]
        state: State = "held out" if first.table == "validation" else "document"
        here = {place.shard for place in places}
        explained.append(
            Explanation(
                doc_id,
                state,
                tuple(places),
                tuple(row for row in search.set_aside if row.shard in here),
                tuple(views),
                len(search.shards),
                (*_several(at, len(documents), search.more), *_notes(versions, first, state)),
            )
        )
    return explained


def _several(at: int, count: int, more: int) -> Iterator[str]:
    """Say of a document which of several of one id it is."""
    if count > 1:
        rest = f", and {more:,} more rows have it" if more else ""
        yield f"document {at + 1} of {count} that have this id, each with a text of its own{rest}"
    elif more:
        yield f"{more:,} more rows have this id"
    if at >= _MOST_DOCUMENTS:
        yield f"samplers are asked about the first {_MOST_DOCUMENTS} documents of an id: name a shard for others"


def _unknown(versions: Versions, doc_id: str, shards: list[str]) -> str:
    searched, listed = len(shards), len(versions.listed())
    of = (
        f"{searched:,} shards"
        if searched == listed
        else f"{searched:,} of {listed:,} shards (the others have not been read)"
    )
    near = near_ids(versions, doc_id)
    hint = f"; near ids: {', '.join(map(repr, near))}" if near else ""
    return f"no document {doc_id!r} in {of}, held out or quarantined{hint}"


def known_left_out(versions: Versions) -> Repeats:
    """Return what `corpus.reading.left_out` would, as far as it is known."""
    workspace = versions.workspace
    repeats = read_repeats(workspace) if versions.receipt("corpus/index", "") is not None else {}
    if not workspace.profile.evaluation.decontaminate:
        return repeats
    known = [s for s in versions.partitions("shard") if versions.receipt(_CONTAMINATION, s) is not None]
    return with_contaminated(workspace, repeats, known)


def _overlaps(versions: Versions, place: Place) -> str:
    """Say which evaluation inputs the document shares n-grams with, "" if none or that has not been looked at."""
    receipt = versions.receipt(_CONTAMINATION, place.shard)
    if receipt is None:
        return ""
    columns, filters = ["suite", "task", "overlaps"], [("row", "=", place.position)]
    rows = read_filtered(versions.workspace, receipt, "contamination.parquet", columns, filters)
    tasks = ", ".join(f"{row['suite']}/{row['task']} ({row['overlaps']:,})" for row in rows)
    return f"it shares n-grams with evaluation inputs: {tasks}" if rows else ""


def _notes(versions: Versions, place: Place, state: State) -> Iterator[str]:
    for key in ("corpus/shards", "corpus/documents", "corpus/tokens"):
        yield from _outdated(versions, key, place.shard)
    if state == "document":
        yield from (
            f"{note}; other documents may be candidates" for note in _outdated(versions, "corpus/index")
        )
    if state == "document":
        yield from _contaminated(versions, place)
    receipt = versions.receipt("corpus/validation", "")
    if state == "held out" and receipt is not None:
        name, filters = "in_distribution.parquet", [("doc_id", "=", place.doc_id)]
        rows = read_filtered(versions.workspace, receipt, name, ["doc_hash"], filters)
        used = any(row["doc_hash"] == place.doc_hash for row in rows)
        yield "perplexity is measured on it" if used else "perplexity is measured on others of its kind"


def _outdated(versions: Versions, key: str, partition: str = "") -> Iterator[str]:
    """Yield why an artifact is missing or out of date, in one line."""
    if reasons := versions.reasons(STEPS[key], partition):
        word = "missing" if versions.receipt(key, partition) is None else "out of date"
        yield f"{title(key, partition)} is {word}: {_sentences(reasons)}"


def _sentences(reasons: Sequence[Reason]) -> str:
    return "; ".join(map(str, reasons))


def _contaminated(versions: Versions, place: Place) -> Iterator[str]:
    dropped = versions.workspace.profile.evaluation.decontaminate
    receipt = versions.receipt(_CONTAMINATION, place.shard)
    if dropped:
        yield from _outdated(versions, _CONTAMINATION, place.shard)
    if receipt is not None and (overlaps := _overlaps(versions, place)):
        yield f"{overlaps}; {'no subset and no training has it' if dropped else 'it is not dropped for that'}"


def to_text(explanation: Explanation) -> str:
    """Render the explanation of one document for a terminal."""
    lines = wrapped(f"{_plain(explanation.doc_id)}: {_WHAT[explanation.state]}")
    for place in explanation.places:
        lines += _place(place)
    for row in explanation.set_aside:
        where, detail = where_in_file(row.shard, row.row), f": {_plain(row.detail)}" if row.detail else ""
        lines += wrapped(f"quarantined: {where}: {row.reason} ({row.meaning}){detail}")
        if not explanation.places:
            lines += wrapped(_plain(row.start), "  ")
    lines += [line for note in explanation.notes for line in wrapped(f"note: {note}")]
    remarks = [line for remark in _remarks(explanation.samplers) for line in wrapped(remark)]
    return "\n".join([*lines, *_table(explanation.samplers), *remarks]).rstrip()


def _table(views: Sequence[SamplerView]) -> list[str]:
    """Return a row for each sampler that has a score or a subset, between empty lines."""
    shown = [s for s in views if s.score is not None or _drawn(s)]
    if not shown:
        return [""]
    of = {s.candidates for s in shown if s.rank is not None}
    rank = f"rank of {of.pop():,}" if len(of) == 1 else "rank"
    text = text_table([_row(s, rank) for s in shown])
    legend = [f"{_STALE}: stale, something that it was made from changed since"] if _STALE in text else []
    return ["", text, *legend, ""]


_WHAT: dict[State, str] = {
    "document": "a document for samplers to choose",
    "held out": "held out for validation: it reaches no scorer and no subset",
    "quarantined": "quarantined: it is no document",
}


def _plain(text: str) -> str:
    """Put a text from the corpus on one line that a terminal shows as it is."""
    return plain(" ".join(text.split()))


def where_in_file(file: str, row: int) -> str:
    """Name a row of a file as `formats.RawRow` counts: lines from 1; values of JSON from 1, rows of columnar files from 0."""
    by_row = split_suffixes(file)[1] in ("parquet", "arrow", "json")
    return f"{'row' if by_row else 'line'} {row:,} of {visible(decoded(file))}"


def _place(place: Place) -> Iterator[str]:
    at = f"{where_in_file(place.url or place.shard, place.row)} (row {place.position:,} of {place.table}[{place.shard}])"
    if place.kept_by:
        yield from wrapped(f"repeated: {at}; that of {place.kept_by} counts")
        return
    tokens = f", {place.n_tokens:,} tokens" if place.n_tokens is not None else ""
    fields = "".join(
        f"; {_plain(f'{name}: {value}')}" for name, value in place.fields.items() if value is not None
    )
    yield from wrapped(f"from {at}")
    yield from wrapped(f"{place.n_chars:,} characters{tokens}{fields}", "  ")
    yield from wrapped(f"{_plain(place.text)}{'…' if place.n_chars > len(place.text) else ''}", "  ")


def _row(view: SamplerView, rank: str) -> dict[str, Any]:
    scored = view.rank is not None and view.percentile is not None
    of = "" if rank != "rank" else f" of {view.candidates:,}"
    inside = " ".join(f"{c.rate}{_STALE if c.stale else ''}" for c in view.choices if c.state == "in")
    return {
        "sampler": view.sampler,
        "score": number(view.score) + (_STALE if view.stale else "") if view.score is not None else "",
        "percentile": f"{100 * view.percentile:.1f}" if scored and view.percentile is not None else "",
        rank: f"{view.rank:,}{of}" if scored else "",
        "in subsets": inside or ("-" if _drawn(view) else ""),
    }


def _details(view: SamplerView) -> str:
    """Say what a sampler's other columns hold, in words."""
    columns = dict(view.details or {})
    parts = []
    if columns.get("duplicate_of") is not None:
        where = f" of {_plain(columns['duplicate_shard'])}" if columns.get("duplicate_shard") else ""
        parts.append(f"most like {columns['duplicate_of']}{where} (similarity {columns['similarity']:.3f})")
    if columns.get("readable") is False:
        parts.append("the encoder cannot read it: scored at random")
    if columns.get("flags"):
        names = ", ".join(str(flag.name).lower() for flag in Flag if flag in Flag(columns["flags"]))
        parts.append(f"talks to the judge: {names}")
    if columns.get("cut"):
        parts.append("cut")
    if "target_tokens" in columns:
        parts.append(f"over {columns['target_tokens']:,} tokens")
    if view.unscored:
        parts.append(f"{view.unscored:,} shards have no scores")
    return "; ".join(parts)


def _drawn(view: SamplerView) -> bool:
    return any(choice.state != "none" for choice in view.choices)


def _remarks(views: Sequence[SamplerView]) -> Iterator[str]:
    """Say why the document is not where it is not: by sampler, amounts of one reason together."""
    unscored = [s.sampler for s in views if s.score is None and not s.stale]
    undrawn = [s.sampler for s in views if s.score is not None and not _drawn(s)]
    for what, names in (("scores", unscored), ("subset", undrawn)):
        if names:
            yield f"no {what} yet: {', '.join(names)}"
    for view in views:
        if details := _details(view):
            yield f"{view.sampler}: {details}"
        if view.score is None and view.stale:
            yield f"{view.sampler}: {view.note}"
        if view.reasons:
            yield f"{view.sampler}: its scores are out of date: {_sentences(view.reasons)}"
        low = [c for c in view.choices if c.state == "out" and not c.stale and _below(c)]
        if low:
            cuts = ", ".join(f"{number(c.threshold or 0.0)} at {label(c.rate)}" for c in low)
            yield f"{view.sampler}: its key {number(low[0].key or 0.0)} is below the threshold {cuts}"
        others = [c for c in view.choices if _why(c) and c not in low and (c.state != "none" or _drawn(view))]
        for (state, why), same in itertools.groupby(others, key=lambda c: (c.state, _why(c))):
            amounts = label(*(c.rate for c in same))
            yield f"{view.sampler}: {'' if state == 'in' else 'not '}in {amounts}: {why}"


def _why(choice: SubsetChoice) -> str:
    """Return why the document is not in a subset, or why the subset may be another one."""
    return choice.why or _sentences(choice.reasons)


def _below(choice: SubsetChoice) -> bool:
    return choice.key is not None and choice.threshold is not None and choice.key < choice.threshold
