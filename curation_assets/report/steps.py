"""The steps of the report: one for each section, and the page that puts them together."""

from __future__ import annotations

from curation_assets import identity
from curation_assets.registry import SAMPLERS
from curation_assets.step import Step

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

_METRICS = ("full_data/metrics", *(f"{name}/metrics" for name in SAMPLERS))
_SCORES = ("corpus/documents", "corpus/index", *(f"{name}/scores" for name in SAMPLERS))


def report_steps(costly: tuple[str, ...]) -> tuple[Step, ...]:
    """Return the steps of the report; `costly` are the asset keys that the report on costs reads the receipts of."""
    return (
        Step(
            "report/comparison",
            "",
            (
                "corpus/index",
                "corpus/tokens",
                "evaluation/examples",
                "full_data/checkpoint",
                "full_data/metrics",
                *(f"{name}/subset" for name in SAMPLERS),
                *(f"{name}/metrics" for name in SAMPLERS),
            ),
            "report",
            ("polars",),
            lambda p: [p.pretraining.identity(), p.report.seed, p.evaluation.suites],
            code=3,
            partial=True,
            borrows=identity.contaminated,
        ),
        Step(
            "report/convergence",
            "",
            _METRICS,
            "report",
            ("polars", "python"),
            code=2,
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
                *(s.identity() for s in (p.perplexity, p.ask_llm, p.judge, p.embeddings, p.density)),
            ],
            code=2,
            partial=True,
        ),
        Step(
            "report/correlation",
            "",
            _SCORES,
            "report",
            ("python",),
            lambda p: p.report.identity(),
            code=2,
            partial=True,
        ),
        Step(
            "report/quality",
            "",
            _METRICS,
            "report",
            ("polars", "python"),
            partial=True,
        ),
        Step(
            "report/distributions",
            "",
            _SCORES,
            "report",
            ("polars", "python"),
            lambda p: p.report.identity(),
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
            partial=True,
            borrows=identity.contaminated,
        ),
        Step(
            "report/documents",
            "",
            _SCORES,
            "report",
            ("polars", "python"),
            lambda p: p.report.identity(),
            partial=True,
        ),
        Step(
            "report/page",
            "",
            tuple(f"report/{name}" for name in REPORTS),
            "report",
            ("python",),
            partial=True,
        ),
    )
