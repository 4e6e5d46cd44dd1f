"""The tables of the catalog, and how receipts and attempts stand in them."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from typing import Any

import sqlalchemy as sa

from curation_assets.engine.attempts import Attempt
from curation_assets.engine.receipt import Receipt

TABLES = sa.MetaData()


def _text(name: str, **options: Any) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, **options)


ARTIFACTS = sa.Table(
    "artifacts",
    TABLES,
    _text("key", primary_key=True),
    _text("partition", primary_key=True),
    _text("folder", primary_key=True),
    _text("version"),
    _text("recipe"),
    _text("code"),
    _text("inputs"),
    _text("files"),
    _text("metadata"),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    _text("run_id"),
    sa.Column("current", sa.Boolean, nullable=False),
)
CURRENT = ARTIFACTS.c.current.is_(True)
sa.Index(
    "one_is_current",
    ARTIFACTS.c.key,
    ARTIFACTS.c.partition,
    unique=True,
    sqlite_where=CURRENT,
    postgresql_where=CURRENT,
)
sa.Index("made_by", ARTIFACTS.c.key, ARTIFACTS.c.recipe)
# Artifacts that were committed and not announced yet, and the writer that is to do so.
UNANNOUNCED = sa.Table(
    "unannounced",
    TABLES,
    _text("key", primary_key=True),
    _text("partition", primary_key=True),
    _text("folder"),
    _text("writer"),
)
ATTEMPTS = sa.Table(
    "attempts",
    TABLES,
    _text("key", primary_key=True),
    _text("partition", primary_key=True),
    _text("wanted"),
    sa.Column("started", sa.Double, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    _text("writer"),
    _text("run_id"),
    _text("replaces"),
    sa.Column("ended", sa.Boolean, nullable=False),
    _text("error"),
)
WRITERS = sa.Table(
    "writers",
    TABLES,
    _text("id", primary_key=True),
    _text("host"),
    _text("machine"),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("started", sa.Double, nullable=False),
    sa.Column("beat", sa.Double, nullable=False),
    _text("role"),
)
# Corpus files that were listed once and are not any more, and since when.
UNLISTED = sa.Table(
    "unlisted", TABLES, _text("partition", primary_key=True), sa.Column("since", sa.Double, nullable=False)
)
MARKS = sa.Table("marks", TABLES, _text("title", primary_key=True), sa.Column("asked", sa.Double))
ABOUT = sa.Table("about", TABLES, _text("name", primary_key=True), _text("value"))

_FIELDS = [field.name for field in fields(Receipt)]
_AS_JSON = ("inputs", "files", "metadata")


def receipts_where(connection: sa.Connection, which: sa.ColumnElement[bool]) -> list[Receipt]:
    """Return the receipts of the artifacts for which `which` holds."""
    query = sa.select(*(ARTIFACTS.c[name] for name in _FIELDS)).where(which)
    with _uncollected():
        return _receipts(connection.execute(query).all())


def all_where(connection: sa.Connection, which: sa.ColumnElement[bool]) -> list[tuple[Receipt, bool]]:
    """Return (receipt, whether it is current) of the artifacts for which `which` holds."""
    columns = [ARTIFACTS.c[name] for name in (*_FIELDS, "current")]
    rows = connection.execute(sa.select(*columns).where(which)).all()
    return [*zip(_receipts(row[:-1] for row in rows), (row[-1] for row in rows), strict=True)]


def delete(connection: sa.Connection, column: sa.Column[Any], values: Iterable[str]) -> None:
    """Delete the rows that have one of these values in a column."""
    if rows := [{"value": value} for value in values]:
        connection.execute(column.table.delete().where(column == sa.bindparam("value")), rows)


def insert(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows, if there are any."""
    if rows:
        connection.execute(table.insert(), rows)


def row_of(receipt: Receipt, **more: Any) -> dict[str, Any]:
    """Return the row of an artifact."""
    row = {name: getattr(receipt, name) for name in _FIELDS}
    for name in _AS_JSON:
        row[name] = json.dumps(row[name], separators=(",", ":"))
    return row | more


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the collector of cycles from looking for them, time and again, among very many objects that are none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _receipts(rows: Iterable[Any]) -> list[Receipt]:
    """Return the receipts of rows of `_FIELDS`; their JSON is decoded in one piece, which is quicker and shares the names in it."""
    there = list(rows)
    pieces = ",".join([f"[{inputs},{files},{about}]" for *_, inputs, _, files, about, _, _, _ in there])
    receipts = []
    for row, (inputs, files, metadata) in zip(there, json.loads(f"[{pieces}]"), strict=True):
        key, partition, version, recipe, code, _, folder, _, _, created, seconds, run_id = row
        files = {name: (size, digest) for name, (size, digest) in files.items()}
        receipts.append(
            Receipt(
                *(key, partition, version, recipe, code, inputs, folder, files, metadata),
                *(created, seconds, run_id),
            )
        )
    return receipts


def row_of_attempt(attempt: Attempt) -> dict[str, Any]:
    """Return the row of an attempt."""
    row = asdict(attempt)
    del row["alive"], row["by"]
    return row
