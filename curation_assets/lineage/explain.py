"""What became of one document: where it comes from, what each sampler makes of it, and which subsets it is in, or why not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from curation_assets.corpus.discover import split_suffixes
from curation_assets.corpus.reading import Repeats, read_repeats, with_contaminated
from curation_assets.graph import STEPS
from curation_assets.lineage.finding import Place, SetAside, find, near_ids
from curation_assets.lineage.standing import Choice, Standing, standing
from curation_assets.lineage.stored import read_filtered
from curation_assets.progress import Progress, silent
from curation_assets.registry import SAMPLERS
from curation_assets.report.tables import number, text_table
from curation_assets.scoring.prompt import Flag
from curation_assets.settings import nearest
from curation_assets.versions import Versions
from curation_assets.workspace import Workspace

State = Literal["document", "held out", "quarantined"]
_CONTAMINATION = "evaluation/contamination"
_MARKS = {"in": "in", "out": "-", "none": ""}


@dataclass(frozen=True)
class Explanation:
    """What became of a document.

    Attributes
    ----------
    state : a "document" for samplers to choose, "held out" for validation, or "quarantined" and nothing else.
    places : rows that hold it, the one that counts first; later ones are repeats.
    set_aside : quarantined rows that name the id; of a document, those of the shards that hold it.
    standings : for each sampler asked for, in the registry's order; none unless it is a document.
    searched : shards that were searched.
    notes : what is out of date, so that the answer may change.
    """

    doc_id: str
    state: State
    places: tuple[Place, ...]
    set_aside: tuple[SetAside, ...]
    standings: tuple[Standing, ...]
    searched: int
    notes: tuple[str, ...]


def explain(
    workspace: Workspace, doc_id: str, samplers: Sequence[str] = (), progress: Progress = silent
) -> Explanation:
    """Tell what became of the document with an id.

    Nothing is made or changed, and no digest is checked: of a shard only id columns are read, and of a sampler's
    scores the column of scores, once.

    Parameters
    ----------
    samplers
        Those to tell of; all by default.

    Raises
    ------
    ValueError
        An unknown sampler, or an id that is nowhere: says how many shards were searched, and names near ids.
    """
    for name in samplers:
        if name not in SAMPLERS:
            raise ValueError(f"unknown sampler {name!r}{nearest(name, SAMPLERS)}")
    versions = Versions(workspace)
    found = find(versions, doc_id, progress)
    if not found.places and not found.set_aside:
        raise ValueError(_unknown(versions, doc_id, len(found.shards)))
    standings: list[Standing] = []
    state: State = "quarantined"
    if found.places:
        state = "held out" if found.places[0].table == "validation" else "document"
    if state == "document":
        place, left_out = found.places[0], _left_out(versions)
        dropped = "" if not workspace.profile.evaluation.decontaminate else _overlaps(versions, place)
        asked = [name for name in SAMPLERS if not samplers or name in samplers]
        standings = [standing(versions, name, doc_id, place, left_out, progress, dropped) for name in asked]
    return Explanation(
        doc_id,
        state,
        tuple(found.places),
        tuple(found.set_aside),
        tuple(standings),
        len(found.shards),
        tuple(_notes(versions, doc_id, state, found.places)),
    )


def to_json(found: Explanation) -> dict[str, Any]:
    """Return an explanation as plain data for JSON; its keys are the attributes' names."""
    return asdict(found)


def _unknown(versions: Versions, doc_id: str, searched: int) -> str:
    listed = len(versions.workspace.listed())
    of = (
        f"{searched:,} shards"
        if searched == listed
        else f"{searched:,} of {listed:,} shards (the others have not been read)"
    )
    near = near_ids(versions, doc_id)
    hint = f"; near ids: {', '.join(map(repr, near))}" if near else ""
    return f"no document {doc_id!r} in {of}, held out or quarantined{hint}"


def _left_out(versions: Versions) -> Repeats:
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
    rows = read_filtered(versions.workspace.store, receipt, "contamination.parquet", columns, filters)
    tasks = ", ".join(f"{row['suite']}/{row['task']} ({row['overlaps']:,})" for row in rows)
    return f"it shares n-grams with evaluation inputs: {tasks}" if rows else ""


def _notes(versions: Versions, doc_id: str, state: State, places: list[Place]) -> Iterator[str]:
    for place in places[:1]:
        for key in ("corpus/shards", "corpus/documents", "corpus/tokens"):
            if not versions.current(STEPS[key], place.shard):
                yield f"{key}[{place.shard}] is missing or out of date"
    if state == "document" and not versions.current(STEPS["corpus/index"], ""):
        yield "corpus/index is missing or out of date: other documents may be candidates"
    if state == "document":
        yield from _contaminated(versions, places[0])
    receipt = versions.receipt("corpus/validation", "")
    if state == "held out" and receipt is not None:
        name, filters = "in_distribution.parquet", [("doc_id", "=", doc_id)]
        used = read_filtered(versions.workspace.store, receipt, name, ["doc_id"], filters)
        yield "perplexity is measured on it" if used else "perplexity is measured on others of its kind"


def _contaminated(versions: Versions, place: Place) -> Iterator[str]:
    dropped = versions.workspace.profile.evaluation.decontaminate
    receipt = versions.receipt(_CONTAMINATION, place.shard)
    if dropped and not versions.current(STEPS[_CONTAMINATION], place.shard):
        yield f"{_CONTAMINATION}[{place.shard}] is missing or out of date"
    if receipt is not None and (overlaps := _overlaps(versions, place)):
        yield f"{overlaps}; {'no subset and no training has it' if dropped else 'it is not dropped for that'}"


def to_text(found: Explanation) -> str:
    """Render an explanation for a terminal."""
    lines = [f"{_plain(found.doc_id)}: {_WHAT[found.state]}"]
    for place in found.places:
        lines += _place(place)
    for row in found.set_aside:
        where = _where(row.file, row.row)
        lines.append(
            f"quarantined: {where}: {row.reason} ({row.meaning}){': ' + row.detail if row.detail else ''}"
        )
        if not found.places:
            lines.append(f"  {_plain(row.start)}")
    lines += [f"note: {note}" for note in found.notes]
    shown = [_row(s) for s in found.standings if s.score is not None or _drawn(s)]
    lines += ["", text_table(shown), ""] if shown else [""]
    return "\n".join([*lines, *_reasons(found.standings)]).rstrip()


_WHAT: dict[State, str] = {
    "document": "a document for samplers to choose",
    "held out": "held out for validation: it reaches no scorer and no subset",
    "quarantined": "quarantined: it is no document",
}


def _plain(text: str) -> str:
    """Put a text from the corpus on one line that a terminal shows as it is."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))


def _where(file: str, row: int) -> str:
    """Name a row of a file as people count: lines from 1, rows of Parquet from 0."""
    return f"{'row' if split_suffixes(file)[1] == 'parquet' else 'line'} {row:,} of {file}"


def _place(place: Place) -> Iterator[str]:
    at = f"{_where(place.url or place.shard, place.row)} (row {place.position:,} of {place.table}[{place.shard}])"
    if place.kept_by:
        yield f"repeated: {at}; the document of {place.kept_by} counts"
        return
    tokens = f", {place.n_tokens:,} tokens" if place.n_tokens is not None else ""
    fields = "".join(
        f"; {_plain(f'{name}: {value}')}" for name, value in place.fields.items() if value is not None
    )
    yield f"from {at}"
    yield f"  {place.n_chars:,} characters{tokens}{fields}"
    yield f"  {_plain(place.text)}{'…' if place.n_chars > len(place.text) else ''}"


def _row(found: Standing) -> dict[str, Any]:
    scored = found.score is not None and found.percentile is not None
    return {
        "sampler": found.sampler,
        "score": number(found.score) + (" (stale)" if found.stale else "") if found.score is not None else "",
        "percentile": f"{100 * found.percentile:.1f}" if scored and found.percentile is not None else "",
        "rank": f"{found.rank:,} of {found.candidates:,}" if scored else "",
        **{f"{c.rate} %": _MARKS[c.state] + (" (stale)" if c.stale else "") for c in found.choices},
        "": _details(found),
    }


def _details(found: Standing) -> str:
    """Say what a sampler's other columns hold, in words."""
    said = dict(found.details or {})
    parts = []
    if said.get("duplicate_of") is not None:
        parts.append(f"most like {said['duplicate_of']} (similarity {said['similarity']:.3f})")
    if said.get("readable") is False:
        parts.append("the encoder cannot read it: scored at random")
    if said.get("flags"):
        names = ", ".join(str(flag.name).lower() for flag in Flag if flag in Flag(said["flags"]))
        parts.append(f"talks to the judge: {names}")
    if said.get("cut"):
        parts.append("cut")
    if "target_tokens" in said:
        parts.append(f"over {said['target_tokens']:,} tokens")
    if found.unscored:
        parts.append(f"{found.unscored:,} shards have no scores")
    return "; ".join(parts)


def _drawn(found: Standing) -> bool:
    return any(choice.state != "none" for choice in found.choices)


def _reasons(standings: Sequence[Standing]) -> Iterator[str]:
    """Say why the document is not where it is not: by sampler, rates of one reason together."""
    unscored = [s.sampler for s in standings if s.score is None and not s.stale]
    undrawn = [s.sampler for s in standings if s.score is not None and not _drawn(s)]
    for what, names in (("scores", unscored), ("subset", undrawn)):
        if names:
            yield f"no {what} yet: {', '.join(names)}"
    for found in standings:
        if found.score is None and found.stale:
            yield f"{found.sampler}: {found.note}"
        low = [c for c in found.choices if c.state == "out" and not c.stale and _below(c)]
        if low:
            cuts = ", ".join(f"{number(c.threshold or 0.0)} at {c.rate} %" for c in low)
            yield f"{found.sampler}: its key {number(low[0].key or 0.0)} is below the threshold {cuts}"
        others = [c for c in found.choices if c.why and c not in low and (c.state != "none" or _drawn(found))]
        for (state, why), same in itertools.groupby(others, key=lambda c: (c.state, c.why)):
            rates = ", ".join(c.rate for c in same)
            yield f"{found.sampler}: {'' if state == 'in' else 'not '}in {rates} %: {why}"


def _below(choice: Choice) -> bool:
    return choice.key is not None and choice.threshold is not None and choice.key < choice.threshold
