"""How a subset is drawn: one global threshold on the selection keys, found and applied shard by shard."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curation_assets.common.drawing.charts import histogram
from curation_assets.common.files import write_batches, write_json, write_table
from curation_assets.common.markdown import preview
from curation_assets.common.progress import Progress
from curation_assets.config.amount import of_key
from curation_assets.config.registry import SamplerSpec
from curation_assets.corpus.reading import left_out
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import Builder, BuildOne, Markdown, Metadata
from curation_assets.selection.candidates import SUBSET_SCHEMA, Candidates, Draw, draw_of
from curation_assets.selection.joint import JointSelection
from curation_assets.selection.strata_tally import StrataTally

_SAMPLE = 200_000  # scores behind the histogram


def subset(spec: SamplerSpec) -> Builder:
    """Return the builder of a sampler's subsets: `subset.parquet` (SUBSET_SCHEMA), `manifest.json`, with strata `strata.parquet`."""

    def load(context: Context) -> BuildOne:
        shards = context.shards()
        draw = draw_of(context, spec.name, shards, left_out(context))
        counts = draw.counts()

        @cache  # the same for all amounts of a run
        def picture() -> Metadata:
            return _picture(spec, draw)

        def build(rate: str, folder: Path, progress: Progress) -> Metadata:
            n, amount = int(counts.documents.sum()), of_key(rate)
            cut = draw.threshold(amount, counts)
            tally = StrataTally.of(draw, cut, amount, counts) if draw.strata else None
            chosen = JointSelection(
                [draw], [cut], "union", progress, tally or (lambda draws, candidates: None)
            )
            write_batches(folder / "subset.parquet", chosen.batches(), SUBSET_SCHEMA)
            (drawn,), _, documents, tokens = chosen.summary(n)
            strata = tally.table() if tally else None
            if strata:
                write_table(folder / "strata.parquet", strata)
            manifest: dict[str, Any] = {
                "sampler": spec.name,
                "technique": spec.technique,
                "rate": rate,
                "rate_of": context.profile.selection.rate_of,
                "seed": draw.seed,
                "candidates": n,
                "candidate_tokens": int(counts.tokens.sum()),
                "documents": documents,
                "tokens": tokens,
                "threshold": drawn.threshold,
                "by_shard": chosen.by_shard,
                **({"decontaminated": True} if context.profile.evaluation.decontaminate else {}),
                **({"within": draw.strata.within, "strata": len(draw.strata.names)} if draw.strata else {}),
                **_of_sources(draw, strata, chosen.by_shard, draw.unit(amount)),
                **_of_first(context, draw, int(counts.admitted.sum())),
                "score_versions": _versions(context, draw),
            }
            write_json(folder / "manifest.json", manifest)
            kept = (
                "technique",
                "candidates",
                "documents",
                "tokens",
                "threshold",
                "within",
                "strata",
                "first",
                "admitted",
            )
            return {
                **{name: manifest[name] for name in kept if name in manifest},
                "rate_of": manifest["rate_of"],
                "rate_realised": documents / n if n else 0.0,
                "token_rate_realised": tokens / max(manifest["candidate_tokens"], 1),
                **(spec.about_cut(drawn.threshold) if spec.about_cut and drawn.threshold is not None else {}),
                **_shown_sources(manifest),
                **picture(),
            }

        return build

    return load


def _of_sources(
    draw: Draw, strata: pa.Table | None, by_shard: dict[str, dict[str, int]], unit: str
) -> dict[str, Any]:
    """Return {"sources": what there is and is kept of each} where sources have weights.

    `weight` is the share of the subset that a source was to have, `share` the one that it has, of `unit`. `short`: all of it is kept, and that
    is less; the others make up for it.
    """
    if strata is None or not draw.strata or not draw.strata.weights:
        return {}
    rows = {
        row["stratum"]: {
            "weight": row["weight"],
            "candidates": row["candidates"],
            "candidate_tokens": row["candidate_tokens"],
            "documents": 0,
            "tokens": 0,
        }
        for row in strata.to_pylist()
    }
    for shard, counted in by_shard.items():
        source = rows[shard.partition("/")[0]]
        for name, count in counted.items():
            source[name] += count
    total = sum(source[unit] for source in rows.values())
    for source in rows.values():
        source["share"] = source[unit] / max(total, 1)
        every = source["documents"] == source["candidates"]
        source["short"] = every and source[unit] + 1 <= source["weight"] * total
    return {"sources": rows}


def _shown_sources(manifest: dict[str, Any]) -> Metadata:
    """Return a table of the sources, and the names of those that have less than their weight asks for."""
    sources = manifest.get("sources")
    if not sources:
        return {}
    rows = [{"source": name, **about} for name, about in sources.items()]
    short = {name: about["share"] for name, about in sources.items() if about["short"]}
    return {"sources": Markdown(preview(rows)), **({"short_sources": short} if short else {})}


def _of_first(context: Context, draw: Draw, admitted: int) -> dict[str, Any]:
    """Return what a hybrid's manifest says of its first stage: what that is, how many documents it leaves, of which scores."""
    if draw.first is None:
        return {}
    return {
        "then": draw.scored_by,
        "first": str(draw.first.stage),
        "admitted": admitted,
        "first_score_versions": _versions(context, draw.first.draw),
    }


def _versions(context: Context, draw: Draw) -> dict[str, str]:
    return {shard: _version(context, f"{draw.scored_by}/scores", shard) for shard in draw.shards}


def _version(context: Context, key: str, partition: str) -> str:
    receipt = context.receipt(key, partition)
    return receipt.version if receipt else ""


def _picture(spec: SamplerSpec, draw: Draw) -> Metadata:
    """Return the histogram of all scores (of a sample, in a large corpus)."""
    parts, held = [], 0
    for candidates in map(Candidates.admissible, draw):
        parts.append(candidates.scores[: _SAMPLE - held])
        held += len(parts[-1])
        if held == _SAMPLE:
            break
    if not held:
        return {}
    drawn = histogram(np.concatenate(parts), f"{spec.name}: scores of the corpus", "score")
    return {"scores": Markdown(drawn.markdown(f"histogram of {spec.name} scores"))}
