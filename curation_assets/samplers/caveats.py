"""What scores of a judge say less than others, and why: a column beside the score, and a check that counts them."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation_assets.config.registry import Column
from curation_assets.corpus.names import decoded, visible
from curation_assets.engine.check_result import Outcome, made
from curation_assets.engine.workspace import Workspace

YES_NOT_SHOWN, UNREADABLE = "yes_not_shown", "unreadable"
CAVEAT = {
    "caveat": Column(
        "string",
        f'Why the score says less than others, null for most: "{YES_NOT_SHOWN}", a server does not tell P(yes), which is at most that; '
        f'"{UNREADABLE}", the encoder cannot read the document, and the score is drawn by its hash',
    )
}
"""The column that says so. Scores without it are of before there were any, and none of them has one: they are as they would be made now."""

_MANY = 0.05  # of the documents
_LISTED = 10


def caveats(said: NDArray, why: str) -> pa.Array:
    """Return the column: `why` where `said`, bool [n], is true, null elsewhere."""
    return pc.if_else(pa.array(said), pa.scalar(why), pa.scalar(None, pa.string()))


def few_caveats(sampler: str, workspace: Workspace) -> Outcome:
    """At most 5 % of a judge's scores are only known to be small, or drawn because the encoder cannot read the document (a warning)."""
    key, counts, first, documents = f"{sampler}/scores", Counter[str](), list[str](), 0
    for shard in made(workspace, key, workspace.shards()):
        with workspace.opened(key, shard) as folder:
            path = folder / "scores.parquet"
            documents += pq.read_metadata(path).num_rows
            if "caveat" not in pq.read_schema(path).names:
                continue
            table = pq.read_table(path, columns=["doc_id", "caveat"])
        some = table.filter(pc.is_valid(table["caveat"]))
        counts.update(some["caveat"].to_pylist())
        left = _LISTED - len(first)
        first += [f"{visible(decoded(shard))}: {row['doc_id']}" for row in some.slice(0, left).to_pylist()]
    parts = [f"{count:,} of {documents:,} scores are {why}" for why, count in sorted(counts.items())]
    return Outcome(
        counts.total() <= _MANY * documents,
        "; ".join(parts) or f"{documents:,} scores, none with a caveat",
        {"documents": documents, "caveats": dict(counts), "first": first},
        warns=True,
    )
