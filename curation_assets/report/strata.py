"""What keeping a rate within strata changes: each choice beside the one that the same scores give without strata."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from curation_assets.report.composition import OTHER, Key, source_name
from curation_assets.report.schemas import schema

STRATA = schema("text sampler rate part", "whole candidates documents without_strata in_both")
"""Documents of a part of the strata: to choose from, kept, kept by the choice without strata, and kept by both."""
_PARTS = 8  # strata told apart; the others are summed up


def changes(strata: Mapping[Key, pl.DataFrame]) -> pl.DataFrame:
    """Return one row (STRATA) for each choice and part, the parts with most documents first and all others together at the end.

    `strata` are the tables of subsets: stratum, candidates, documents, without_strata, in_both.
    """
    rows = []
    for (sampler, rate), table in strata.items():
        sizes = table.sort("candidates", "stratum", descending=[True, False])
        kept = len(sizes) if len(sizes) <= _PARTS + 1 else _PARTS
        parts = sizes.head(kept).with_columns(
            part=pl.col("stratum").map_elements(source_name, pl.String, skip_nulls=False)
        )
        rest = sizes.tail(len(sizes) - kept).with_columns(part=pl.lit(OTHER))
        both = pl.concat([parts, rest]).group_by("part", maintain_order=True)
        summed = both.agg(pl.col("candidates", "documents", "without_strata", "in_both").sum())
        rows.append(summed.select(pl.lit(sampler).alias("sampler"), pl.lit(rate).alias("rate"), pl.all()))
    return pl.concat(rows).cast(dict(STRATA)) if rows else pl.DataFrame(schema=STRATA)  # type: ignore[arg-type]
