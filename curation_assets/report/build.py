"""How the comparison and the correlation are made from the metrics, models and scores that there are."""

from __future__ import annotations

from pathlib import Path

from curation_assets.common.files import write_json
from curation_assets.common.progress import Progress
from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import BuildOne, Metadata, MissingInput
from curation_assets.pretraining.build import recipe
from curation_assets.report import comparison_view, correlation_view
from curation_assets.report import correlation as tau
from curation_assets.report.comparison import compare, with_figures
from curation_assets.report.figures import figures, suites
from curation_assets.report.inputs import (
    not_measured,
    order,
    read_chance,
    read_ladder,
    read_metrics,
    read_trained,
)
from curation_assets.report.scored import Corpus, scored
from curation_assets.report.scores import Scores
from curation_assets.report.section import publish


def comparison(context: Context) -> BuildOne:
    """Join every metrics artifact that there is with what its model was trained on, and work out the figures of merit.

    Writes `comparison.parquet`, `.csv` and `.md`, `over_scaling.parquet` (by metric), `differences.parquet` and `recipe.json`.
    """

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        metrics = read_metrics(context)
        scores = Scores(metrics, read_chance(context))
        merit = figures(scores, read_ladder(context), context.profile.report.seed)
        runs = with_figures(compare(metrics, read_trained(context), order()), merit)
        chance = {suite: scores.chance(suite) for suite in suites(scores)}
        about = {
            **recipe(context.profile),
            "window": context.profile.evaluation.window,
            "suites": suites(scores),
            "chance": {suite: known for suite, known in chance.items() if known is not None},
            "rate_of": context.profile.selection.rate_of,
            "gaps": _gaps(context, scores),
        }
        runs.write_parquet(folder / "comparison.parquet")
        runs.write_csv(folder / "comparison.csv")
        merit.by_metric.write_parquet(folder / "over_scaling.parquet")
        merit.differences.write_parquet(folder / "differences.parquet")
        write_json(folder / "recipe.json", about)
        section, drawn = (
            comparison_view.section(runs, merit, about),
            comparison_view.figures(merit.differences),
        )
        shown = publish(folder, section, drawn, page="comparison.md", progress=progress)
        return {"rows": len(runs), **shown}

    return build


def _gaps(context: Context, scores: Scores) -> dict[str, list[str]]:
    """Return the suites and tasks that were not measured, and those that were measured on a stand-in split."""
    measured = {metric.name.split("/")[0] for metric in scores.metrics}
    absent = [str(suite) for suite in context.profile.evaluation.suites if suite not in measured]
    return {"suites": absent, "tasks": not_measured(context), "standins": scores.standins()}


def correlation(context: Context) -> BuildOne:
    """Correlate the scores of every sampler whose scores are current for the whole corpus, over a hash sample of its documents."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        shards = context.shards()
        names = scored(context, shards, "there is nothing to correlate")
        sample = Corpus(context, shards, names, progress, 1).sample()
        if sample.seen < tau.LEAST:
            raise MissingInput(
                f"{sample.seen} documents are too few to correlate scores: {tau.LEAST} are needed"
            )
        kendall = tau.kendall(sample.scores())
        tau.pairs(kendall).write_parquet(folder / "correlation.parquet")
        section, drawn = correlation_view.section(kendall), correlation_view.figures(kendall)
        return {
            "documents": kendall.n,
            "samplers": len(names),
            "not_current": ", ".join(name for name in SAMPLERS.scored if name not in names) or "none",
            **publish(folder, section, drawn, page="correlation.md"),
        }

    return build
