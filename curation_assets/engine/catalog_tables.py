"""The tables of the catalog, and how receipts and attempts stand in them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from curation_assets.common.collector import paused
from curation_assets.engine.attempts import Attempt
from curation_assets.engine.receipt import AS_JSON, FIELDS, Receipt

TABLES = sa.MetaData()
_FEW = 1_000  # rows that are asked for one by one


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


def receipts_where(connection: sa.Connection, which: sa.ColumnElement[bool]) -> list[Receipt]:
    """Return the receipts of the artifacts for which `which` holds."""
    query = sa.select(*(ARTIFACTS.c[name] for name in FIELDS)).where(which)
    with paused():
        return [*map(Receipt.of_row, connection.execute(query).all())]


def current_where(
    connection: sa.Connection, which: sa.ColumnElement[bool], known: Mapping[str, Receipt]
) -> dict[str, Receipt]:
    """Return {partition: receipt} of current artifacts of a key; those that are `known` as they stand are not read again."""
    there: dict[str, Receipt] = {}
    if known:
        query = sa.select(ARTIFACTS.c.partition, ARTIFACTS.c.folder, ARTIFACTS.c.created).where(which)
        others = []
        for partition, folder, created in connection.execute(query).tuples():
            receipt = known.get(partition)
            if receipt is not None and receipt.folder == folder and receipt.created == created:
                there[receipt.partition] = receipt
            else:
                others.append(partition)
        if not others:
            return there
        if len(others) <= _FEW:
            which &= ARTIFACTS.c.partition.in_(others)
    return there | {receipt.partition: receipt for receipt in receipts_where(connection, which)}


def all_where(connection: sa.Connection, which: sa.ColumnElement[bool]) -> list[tuple[Receipt, bool]]:
    """Return (receipt, whether it is current) of the artifacts for which `which` holds."""
    columns = [ARTIFACTS.c[name] for name in (*FIELDS, "current")]
    rows = connection.execute(sa.select(*columns).where(which)).all()
    return [(Receipt.of_row(row[:-1]), row[-1]) for row in rows]


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
    row = {name: getattr(receipt, name) for name in FIELDS}
    for name in AS_JSON:
        row[name] = json.dumps(row[name], separators=(",", ":"))
    return row | more


def row_of_attempt(attempt: Attempt) -> dict[str, Any]:
    """Return the row of an attempt."""
    row = asdict(attempt)
    del row["alive"], row["by"]
    return row
