"""Schemas of tables in a few words."""

from __future__ import annotations

import polars as pl

_TYPES = {"text": pl.String, "real": pl.Float64, "whole": pl.Int64, "truth": pl.Boolean, "hash": pl.UInt64}
Schema = dict[str, type[pl.DataType]]


def schema(*parts: str) -> Schema:
    """Return columns in their order, of parts such as "real mean sd": a type, then names."""
    return {name: _TYPES[kind] for kind, *names in map(str.split, parts) for name in names}
