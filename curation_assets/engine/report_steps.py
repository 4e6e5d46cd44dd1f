"""The steps of the report: one for each section, and the page that puts them together."""

from __future__ import annotations

from collections.abc import Mapping

from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.borrowed import contaminated
from curation_assets.engine.step import Step

REPORTS = (
    "comparison",
    "quality",
    "convergence",
    "tradeoff",
    "labels",
    "correlation",
    "distributions",
    "composition",
    "duplicates",
    "documents",
)
"""The sections of the report, in their order on the page."""


def report_steps(costly: tuple[str, ...], made: Mapping[str, Step]) -> tuple[Step, ...]:
    """Return the steps of the report.

    What a report shows as current, or leaves out as stale, depends on settings that the versions of its inputs do not show: the
    code versions of the steps that it asks about count as its own.

    Parameters
    ----------
    costly : asset keys that the report on costs reads the receipts of.
    made : all steps that are no reports, by asset key.
    """
    models = ("full_data/checkpoint", *(f"{name}/checkpoint" for name in SAMPLERS))
    metrics = ("full_data/metrics", *(f"{name}/metrics" for name in SAMPLERS))
    scored = ("corpus/documents", "corpus/index", *(f"{name}/scores" for name in SAMPLERS.scored))
    scores = tuple(made[f"{name}/scores"] for name in SAMPLERS.scored)
    chosen = tuple(made[f"{name}/subset"] for name in SAMPLERS)
    hybrids = tuple(f"samplers.{name}" for name, spec in SAMPLERS.items() if spec.hybrid)
    counted = tuple(made[key] for key in ("corpus/index", "corpus/tokens", "clusters/assignments"))
    sections = (
        Step(
            "report/comparison",
            "",
            (
                "corpus/index",
                "evaluation/examples",
                *models,
                *metrics,
            ),
            "report",
            ("polars",),
            (
                "pretraining",
                "ladder",
                "report.seed",
                "evaluation.suites",
                "evaluation.window",
                "selection.rate_of",
            ),
            code=7,
            partial=True,
        ),
        Step(
            "report/convergence",
            "",
            (*models, *metrics),
            "report",
            ("polars", "python"),
            code=5,
            partial=True,
        ),
        Step(
            "report/tradeoff",
            "",
            (
                *(f"corpus/{end}" for end in ("tokens", "tokenizer", "embeddings", "reference_embeddings")),
                *costly,
            ),
            "report",
            ("polars", "python"),
            (
                *("pretraining", "ladder", "judge", "embeddings"),
                *("samplers.perplexity", "samplers.ask_llm", "samplers.density"),
                *(
                    s.model
                    for s in SAMPLERS.values()
                    if s.model and s.section not in ("perplexity", "ask_llm")
                ),
                *hybrids,
                "evaluation.decontaminate",
            ),
            code=6,
            partial=True,
        ),
        Step(
            "report/labels",
            "",
            scored,
            "report",
            ("polars", "python"),
            ("labels", "report"),
            versions_of=scores,
            partial=True,
        ),
        Step(
            "report/correlation",
            "",
            scored,
            "report",
            ("python",),
            ("report",),
            versions_of=scores,
            code=5,
            partial=True,
        ),
        Step(
            "report/quality",
            "",
            ("evaluation/examples", *metrics),
            "report",
            ("polars", "python"),
            code=4,
            partial=True,
        ),
        Step(
            "report/distributions",
            "",
            (*scored, "judge/checkpoint"),
            "report",
            ("polars", "python"),
            ("report", "selection.rate_of"),
            versions_of=scores,
            code=4,
            partial=True,
        ),
        Step(
            "report/composition",
            "",
            (
                *(f"corpus/{end}" for end in ("documents", "index", "tokens")),
                "clusters/assignments",
                *(f"{name}/subset" for name in SAMPLERS),
            ),
            "report",
            ("polars", "python"),
            ("evaluation.decontaminate", *hybrids),
            versions_of=(*chosen, *scores, *counted),
            code=7,
            partial=True,
            borrows=contaminated,
        ),
        Step(
            "report/duplicates",
            "",
            ("semdedup/vectors", "semdedup/neighbours", "semdedup/subset"),
            "report",
            ("polars", "python"),
            ("samplers.semdedup",),
            versions_of=(made["semdedup/neighbours"], made["semdedup/subset"]),
            partial=True,
        ),
        Step(
            "report/documents",
            "",
            scored,
            "report",
            ("polars", "python"),
            ("report",),
            versions_of=scores,
            code=3,
            partial=True,
        ),
    )
    page = Step(
        "report/page",
        "",
        ("corpus/index", *(f"report/{name}" for name in REPORTS)),
        "report",
        ("python",),
        versions_of=(*made.values(), *sections),
        code=6,
        partial=True,
    )
    return (*sections, page)
