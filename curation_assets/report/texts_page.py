"""Pages of texts beside the report: for each sampler one with documents of its subsets. Whatever comes in is text, and is escaped."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import polars as pl

from curation_assets.common.files import safe_name, write_bytes
from curation_assets.common.markdown import number
from curation_assets.config.amount import label
from curation_assets.corpus.names import decoded, visible
from curation_assets.report.composition import Key
from curation_assets.report.page import anchor, environment, styled
from curation_assets.report.section import groups
from curation_assets.report.texts import CUT, TEXTS

FOLDER = "texts"


class Texts(NamedTuple):
    """Where texts of a subset are, relative to the report, and which version of it has them."""

    address: str
    version: str


@dataclass(frozen=True)
class _Document:
    doc_id: str
    meta: str
    text: str


@dataclass(frozen=True)
class _Subset:
    id: str
    title: str
    version: str
    command: str
    documents: list[_Document]


def write_pages(folder: Path, table: pl.DataFrame) -> dict[Key, Texts]:
    """Write a page of texts (TEXTS) for each sampler under `folder`; return where those of each subset are."""
    places: dict[Key, Texts] = {}
    for (sampler,), own in groups(table.select(list(TEXTS)), "sampler"):
        name = f"{FOLDER}/{safe_name(sampler)}.html"
        subsets = []
        for (rate,), rows in groups(own, "rate"):
            version = rows["version"][0]
            places[sampler, rate] = Texts(f"{name}#{anchor('at', rate)}", version)
            command = f"curation show {shlex.quote(f'{sampler}/subset')} --partition {shlex.quote(rate)} --order random"
            documents = [_document(row) for row in rows.iter_rows(named=True)]
            subsets.append(
                _Subset(anchor("at", rate), f"{sampler} at {label(rate)}", version, command, documents)
            )
        css, policy = styled()
        page = environment().get_template("texts.html")
        rendered = page.render(sampler=sampler, subsets=subsets, cut=CUT, css=css, policy=policy)
        write_bytes(folder / name, rendered.encode())
    return places


def _document(row: dict[str, object]) -> _Document:
    text, whole = str(row["text"]), int(str(row["n_chars"]))
    where = f"row {row['row']:,} of {visible(decoded(str(row['shard'])))}"
    score, size = f"score {number(float(str(row['score'])))}", f"{whole:,} characters"
    meta = "; ".join(filter(None, [score, str(row["source"]), where, size]))
    return _Document(str(row["doc_id"]), meta, text + ("" if len(text) == whole else "…"))
