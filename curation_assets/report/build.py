"""How the comparison is made from the metrics and models that there are."""

from __future__ import annotations

from pathlib import Path

from curation_assets.common.progress import Progress
from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import BuildOne, Markdown, Metadata, MissingInput
from curation_assets.pretraining.build import recipe
from curation_assets.report import comparison as table_of
from curation_assets.report import correlation as tau
from curation_assets.report import correlation_said
from curation_assets.report.comparison_said import section
from curation_assets.report.figures import figures, suites
from curation_assets.report.inputs import (
    ORDER,
    not_measured,
    read_chance,
    read_ladder,
    read_metrics,
    read_trained,
)
from curation_assets.report.scored import Corpus, scored
from curation_assets.report.scores import Scores


def comparison(workspace: Context) -> BuildOne:
    """Join every metrics artifact that there is with what its model was trained on, and work out the figures of merit."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        metrics = read_metrics(workspace)
        scores = Scores(metrics, read_chance(workspace))
        found = figures(scores, read_ladder(workspace), workspace.profile.report.seed)
        table = table_of.with_figures(table_of.compare(metrics, read_trained(workspace), ORDER), found)
        about = {
            **recipe(workspace.profile),
            "suites": suites(scores),
            "chance": {
                suite: known for suite in suites(scores) if (known := scores.chance(suite)) is not None
            },
            "rate_of": workspace.profile.selection.rate_of,
            "verdicts": found.verdicts,
            "gaps": _gaps(workspace, scores),
        }
        parts = table_of.write(folder, table, about, found)
        shown = section(folder, table, about, found)
        return {"rows": len(table), **shown, **{name: Markdown(part) for name, part in parts.items()}}

    return build


def _gaps(workspace: Context, scores: Scores) -> list[str]:
    """Return sentences on what was not measured, or not as it should be."""
    lacking, standins = not_measured(workspace), scores.standins()
    wanted = {metric.name.split("/")[0] for metric in scores.metrics}
    absent = [suite for suite in workspace.profile.evaluation.suites if suite not in wanted]
    said = []
    if absent:
        said.append(f"No run has been measured by {', '.join(absent)}, which the profile names.")
    if lacking:
        said.append(f"There were no data for {', '.join(lacking)}.")
    if standins:
        said.append(f"On a stand-in split and part of no figure: {', '.join(standins)}.")
    return said


def correlation(workspace: Context) -> BuildOne:
    """Correlate the scores of every sampler whose scores are current for the whole corpus, over a hash sample of its documents."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        shards = workspace.shards()
        names = scored(workspace, shards, "there is nothing to correlate")
        sample = Corpus(workspace, shards, names, progress, 1).sample()
        if sample.seen < tau.LEAST:
            raise MissingInput(
                f"{sample.seen} documents are too few to correlate scores: {tau.LEAST} are needed"
            )
        found = tau.kendall(sample.scores())
        text = correlation_said.write(folder, found)
        left_out = ", ".join(name for name in SAMPLERS if name not in names) or "none"
        return {
            "documents": found.n,
            "samplers": len(names),
            "not_current": left_out,
            "correlation": Markdown(text),
        }

    return build
