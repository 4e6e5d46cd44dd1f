"""The tables of the catalog, and how receipts and attempts stand in them."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
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
    _text("digest"),
)
_COLUMNS = [ARTIFACTS.c[name] for name in (*FIELDS, "digest")]
_TIMES = struct.Struct("<2d")
_KNOWN = [FIELDS.index(name) for name in ("key", "partition", "folder", "created")]
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
# Partitions whose artifact was withdrawn, and why, until another one is current.
WITHDRAWN = sa.Table(
    "withdrawn",
    TABLES,
    _text("key", primary_key=True),
    _text("partition", primary_key=True),
    _text("problem"),
)
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
    query = sa.select(*_COLUMNS).where(which)
    with paused():
        return [*map(_receipt, connection.execute(query).all())]


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
            same = receipt is not None and receipt.folder == folder and receipt.created == created
            if receipt is not None and same and receipt.sound:
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
    rows = connection.execute(sa.select(*_COLUMNS, ARTIFACTS.c.current).where(which)).all()
    return [(_receipt(row[:-1]), row[-1]) for row in rows]


def _receipt(row: Sequence[Any]) -> Receipt:
    """Return the receipt in a row of `_COLUMNS`, whose digest comes last."""
    *values, digest = row
    if digest and _digest(values) == digest:
        return Receipt.of_row(values)
    return Receipt.damaged(*(values[at] for at in _KNOWN))


def _digest(values: Sequence[Any]) -> str:
    """Return the digest of a receipt's fields as they stand in a row, "" where one is of another kind: a look takes some of hundreds of thousands."""
    *texts, created, seconds, run_id = values
    try:
        content = "\0".join((*texts, run_id)).encode() + _TIMES.pack(created, seconds)
    except (TypeError, struct.error):  # SQLite keeps with each value of which kind it is
        return ""
    return hashlib.sha256(content).hexdigest()


def add_digests(connection: sa.Connection) -> None:
    """Have the rows of a catalog of the format before, which had no digests, carry those of what they say now, if that can be read."""
    connection.execute(sa.text("ALTER TABLE artifacts ADD COLUMN digest TEXT NOT NULL DEFAULT ''"))
    WITHDRAWN.create(connection, checkfirst=True)
    for key in connection.scalars(sa.select(ARTIFACTS.c.key).distinct()).all():
        rows = connection.execute(sa.select(*_COLUMNS[:-1]).where(ARTIFACTS.c.key == key)).all()
        names = ("key", "partition", "folder")
        sealed = [
            {f"its_{name}": getattr(row, name) for name in names}
            | {"digest": _digest(row) if _readable(row) else ""}
            for row in rows
        ]
        its = sa.and_(*(ARTIFACTS.c[name] == sa.bindparam(f"its_{name}") for name in names))
        if sealed:  # a damaged index of SQLite names keys that there are not
            connection.execute(ARTIFACTS.update().where(its), sealed)


def _readable(row: sa.Row[Any]) -> bool:
    """Tell whether what stands in a row is a receipt's, be it true or not."""
    try:
        decoded = [json.loads(getattr(row, name)) for name in AS_JSON]
        return all(isinstance(one, dict) for one in decoded) and math.isfinite(row.created + row.seconds)
    except (TypeError, ValueError):
        return False


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
    row |= {name: float(row[name]) for name in ("created", "seconds")}  # as they are read
    return row | {"digest": _digest([*row.values()])} | more


def row_of_attempt(attempt: Attempt) -> dict[str, Any]:
    """Return the row of an attempt."""
    row = asdict(attempt)
    del row["alive"], row["by"]
    return row
