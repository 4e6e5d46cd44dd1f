"""How the report on scores is made: a few passes over the scores that there are, figures and tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curation_assets.common.progress import Progress
from curation_assets.config.registry import RATES, SAMPLERS
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import BuildOne, Metadata
from curation_assets.report import distributions_view
from curation_assets.report.correlation import HashSample
from curation_assets.report.distributions import PASSES, QUANTILES, Distribution
from curation_assets.report.rank_change import rank_changes
from curation_assets.report.scored import Corpus, scored
from curation_assets.report.section import publish

Pairs = Mapping[tuple[str, str], NDArray[np.int64]]


def distributions(context: Context) -> BuildOne:
    """Count every sampler's scores, and compare the ranks that scorers of growing size give: figures, tables, the section."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        shards, settings = context.shards(), context.profile.report
        names = scored(context, shards, "there is nothing to show")
        missing = [name for name in SAMPLERS.scored if name not in names]
        sample = HashSample(settings.documents, settings.seed)
        by_sampler = read(Corpus(context, shards, names, progress, 1 + PASSES), sample)
        sampled = sample.scores()
        changes, counts = rank_changes(sampled)
        tables = {
            "distributions": histograms(by_sampler),
            "quantiles": quantiles(by_sampler, missing, sampled),
            "cuts": cuts(by_sampler),
            "rank_change": changes,
        }
        for ladder in distributions_view.DRAWN:
            part = changes.filter(pl.col("ladder") == ladder)
            tables |= {f"rank_change_{ladder}": joint_counts(part, counts)} if len(part) else {}
        for name, table in tables.items():
            table.write_parquet(folder / f"{name}.parquet")
        made = {size: context.receipt("judge/checkpoint", size) for size in context.partitions("size")}
        section = distributions_view.section(
            *(by_sampler, missing, changes, sample.seen, len(sampled[names[0]])),
            {size: one.metadata for size, one in made.items() if one and "student" in one.metadata},
        )
        drawn = distributions_view.figures(by_sampler, missing, changes, counts)
        return {
            "documents": sample.seen,
            "samplers": len(names),
            "not_current": ", ".join(missing) or "none",
            **publish(folder, section, drawn),
        }

    return build


def read(corpus: Corpus, sample: HashSample) -> dict[str, Distribution]:
    """Return {sampler: distribution} of all documents, and put some of them into `sample`.

    Raises
    ------
    ValueError
        There are no documents.
    """
    rate_of = corpus.workspace.profile.selection.rate_of
    by_sampler = {name: Distribution(SAMPLERS[name].technique, rate_of) for name in corpus.names}
    for number in range(1 + PASSES):
        for one in corpus:
            for distribution, scores in zip(by_sampler.values(), one.scores, strict=True):
                distribution.add(scores)
            if number == 0:
                sample.add(one.doc_hash, dict(zip(corpus.names, one.scores, strict=True)))
        if not sample.seen:
            raise ValueError("the corpus has no documents: there is nothing to show")
        for distribution in by_sampler.values():
            distribution.advance()
    return by_sampler


def histograms(by_sampler: Mapping[str, Distribution]) -> pl.DataFrame:
    """Return one row a bin, and one for what lies outside on either side, so that the documents add up to all."""
    parts = []
    for name, one in by_sampler.items():
        edges = np.concatenate([[one.quantiles[0]], one.edges, [one.quantiles[1]]])
        columns = {
            "sampler": [name] * (len(edges) - 1),
            "low": edges[:-1],
            "high": edges[1:],
            "documents": np.concatenate([[one.below], one.counts, [one.above]]),
            "drawn": [False, *[True] * len(one.counts), False],
        }
        parts.append(pl.DataFrame(columns))
    return pl.concat(parts)


def quantiles(
    by_sampler: Mapping[str, Distribution], missing: list[str], sampled: Mapping[str, NDArray[np.float64]]
) -> pl.DataFrame:
    """Return one row a sampler; those that are missing have none but their name."""
    rows = [
        {
            "sampler": name,
            "technique": one.technique,
            "n": one.moments.n,
            "mean": one.moments.mean,
            "sd": None if np.isnan(one.moments.sd) else one.moments.sd,
            **{f"q{100 * q:g}": one.quantiles[q] for q in QUANTILES},
            "outside_below": one.below,
            "outside_above": one.above,
            "sampled": len(sampled[name]),
            "distinct_in_sample": len(np.unique(sampled[name])),
        }
        for name, one in by_sampler.items()
    ]
    rows += [{"sampler": name} for name in missing]
    return pl.DataFrame(rows, infer_schema_length=None)


def cuts(by_sampler: Mapping[str, Distribution]) -> pl.DataFrame:
    """Return one row a sampler and rate: the score at the cut, null for samplers that draw and for rates that keep nothing."""
    rows = [
        {
            "sampler": name,
            "technique": one.technique,
            "rate": rate,
            "score": one.cuts[rate].score if rate in one.cuts else None,
            "tied": one.cuts[rate].tied if rate in one.cuts else None,
        }
        for name, one in by_sampler.items()
        for rate in RATES
    ]
    return pl.DataFrame(rows, schema_overrides={"score": pl.Float64, "tied": pl.Int64})


def joint_counts(changes: pl.DataFrame, counts: Pairs) -> pl.DataFrame:
    """Return the documents in each cell of the joint histograms of some pairs; a cell begins at these percentiles."""
    parts = []
    for pair in changes.select("smaller", "larger").iter_rows():
        one = counts[pair]
        starts = np.linspace(0, 100, len(one), endpoint=False)
        columns = {
            "smaller": [pair[0]] * one.size,
            "larger": [pair[1]] * one.size,
            "percentile_smaller": np.repeat(starts, len(one)),
            "percentile_larger": np.tile(starts, len(one)),
            "documents": one.ravel(),
        }
        parts.append(pl.DataFrame(columns))
    return pl.concat(parts)
