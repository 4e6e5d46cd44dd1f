"""The steps of the report: one for each section, and the page that puts them together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from curation_assets.config import identity
from curation_assets.config.profile import Profile
from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.step import Step

REPORTS = (
    "comparison",
    "quality",
    "convergence",
    "tradeoff",
    "correlation",
    "distributions",
    "composition",
    "documents",
)
"""The sections of the report, in their order on the page."""

_MODELS = ("full_data/checkpoint", *(f"{name}/checkpoint" for name in SAMPLERS))
_METRICS = ("full_data/metrics", *(f"{name}/metrics" for name in SAMPLERS))
_SCORES = ("corpus/documents", "corpus/index", *(f"{name}/scores" for name in SAMPLERS))


CodeVersions = Callable[[Profile, Iterable[str]], dict[str, str]]
"""(profile, asset keys) -> {asset key: code version}."""


def report_steps(costly: tuple[str, ...], code_versions: CodeVersions, made: list[str]) -> tuple[Step, ...]:
    """Return the steps of the report.

    What a report shows as current, or leaves out as stale, depends on settings that the versions of its inputs do not show: the
    code versions of these assets are among its settings.

    Parameters
    ----------
    costly : asset keys that the report on costs reads the receipts of.
    code_versions : gives {asset key: code version}, for settings.
    made : the asset keys of all steps that are no reports.
    """
    scored = [f"{name}/scores" for name in SAMPLERS]
    chosen = [f"{name}/subset" for name in SAMPLERS]

    def of_scores(profile: Profile) -> Any:
        return [profile.report.identity(), code_versions(profile, scored)]

    return (
        Step(
            "report/comparison",
            "",
            (
                "corpus/index",
                "evaluation/examples",
                *_MODELS,
                *_METRICS,
            ),
            "report",
            ("polars",),
            lambda p: [p.pretraining.identity(), p.report.seed, p.evaluation.suites, p.selection.rate_of],
            code=5,
            partial=True,
        ),
        Step(
            "report/convergence",
            "",
            (*_MODELS, *_METRICS),
            "report",
            ("polars", "python"),
            code=4,
            partial=True,
        ),
        Step(
            "report/tradeoff",
            "",
            (
                *(f"corpus/{end}" for end in ("tokens", "tokenizer", "embeddings")),
                *costly,
            ),
            "report",
            ("polars", "python"),
            lambda p: [
                identity.training(p),
                *(
                    s.identity()
                    for s in (
                        p.samplers.perplexity,
                        p.samplers.ask_llm,
                        p.judge,
                        p.embeddings,
                        p.samplers.density,
                    )
                ),
            ],
            code=4,
            partial=True,
        ),
        Step(
            "report/correlation",
            "",
            _SCORES,
            "report",
            ("python",),
            of_scores,
            code=3,
            partial=True,
        ),
        Step(
            "report/quality",
            "",
            ("evaluation/examples", *_METRICS),
            "report",
            ("polars", "python"),
            code=3,
            partial=True,
        ),
        Step(
            "report/distributions",
            "",
            _SCORES,
            "report",
            ("polars", "python"),
            lambda p: [of_scores(p), p.selection.rate_of],
            code=2,
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
            lambda p: code_versions(p, chosen),
            code=3,
            partial=True,
            borrows=identity.contaminated,
        ),
        Step(
            "report/documents",
            "",
            _SCORES,
            "report",
            ("polars", "python"),
            of_scores,
            code=2,
            partial=True,
        ),
        Step(
            "report/page",
            "",
            tuple(f"report/{name}" for name in REPORTS),
            "report",
            ("python",),
            lambda p: code_versions(p, [*made, *(f"report/{name}" for name in REPORTS)]),
            code=3,
            partial=True,
        ),
    )
