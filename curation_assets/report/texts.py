"""Texts of each subset: ten of its documents, drawn at random by their hashes, so that a number leads to what it is about."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from curation_assets.engine.context import Context
from curation_assets.lineage.texts import shuffle_keys
from curation_assets.report.composition import Floats, Ints, Key
from curation_assets.report.documents import Best, Picked, Scored, merge
from curation_assets.report.documents_build import documents_at, kept_fields
from curation_assets.report.schemas import schema

CUT = 300
"""Characters shown of a text."""
_SHOWN = 10  # documents of a subset

TEXTS = schema(
    "text sampler rate version",
    "whole rank",
    "text doc_id",
    "hash doc_hash",
    "text shard",
    "whole row",
    "text source",
    "real score",
    "whole n_chars",
    "text text",
)
"""Columns of the table of texts; `version` is the subset's, `row` the document's in the corpus file."""


class Drawn:
    """Draws a few documents of each subset while shards go by."""

    def __init__(self, made: list[Key]) -> None:
        self._best = {key: Best(_SHOWN) for key in made}

    def add(self, shard: int, key: Key, rows: Ints, doc_hash: np.ndarray, scores: Floats) -> None:
        """Take in what a subset has of a shard: rows of its documents table, hashes and scores [n]."""
        self._best[key].add(-shuffle_keys(doc_hash), Scored(shard, rows, doc_hash, scores[None]))

    def table(self, context: Context, shards: list[str], versions: Mapping[Key, str]) -> pl.DataFrame:
        """Return one row (TEXTS) for each document drawn; `versions` are the subsets'."""
        picked: dict[tuple[tuple[str, ...], str], Picked] = {}
        for (name, rate), best in self._best.items():
            if (own := best.picked()).row.size:
                picked[(name,), rate] = own
        if not picked:
            return pl.DataFrame(schema=TEXTS)
        entries, unique = merge(picked)
        about, rows = documents_at(context, shards, unique), []
        for (sampler,), rate, rank, i in entries:
            document, score = about[i], float(picked[(sampler,), rate].scores[0, rank - 1])
            place = (shards[unique.shard[i]], document["row"], kept_fields(document))
            text = (score, document["n_chars"], document["text"][:CUT])
            whose = (sampler, rate, versions[sampler, rate], rank)
            rows.append((*whose, document["doc_id"], int(unique.doc_hash[i]), *place, *text))
        return pl.DataFrame(rows, schema=TEXTS, orient="row")
