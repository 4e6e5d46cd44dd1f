"""The graph as plain data: one row a step. Dagster's definitions, fingerprints, plans and lineage all derive from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from curation_assets.models.sources import parse
from curation_assets.profile import Profile
from curation_assets.registry import SAMPLERS, SamplerSpec
from curation_assets.step import Step, nothing


def _document_settings(p: Profile) -> Any:
    return {k: v for k, v in p.corpus.identity().items() if k != "builtin"}


def _training(p: Profile) -> Any:
    return {
        "recipe": p.pretraining.identity(),
        "ladder": {size: shape.identity() for size, shape in p.ladder.items()},
    }


_CORPUS = (
    Step("corpus/source", "", (), "corpus", ("python",), lambda p: p.corpus.builtin.identity()),
    Step("corpus/shards", "shard", ("corpus/source",), "corpus", ("file",)),
    Step("corpus/documents", "shard", ("corpus/shards",), "corpus", ("parquet",), _document_settings),
    Step(
        "corpus/tokenizer",
        "",
        ("corpus/documents",),
        "corpus",
        ("huggingface",),
        lambda p: p.tokenizer.identity(),
        code=3,
        pinned=True,
    ),
    Step("corpus/tokens", "shard", ("corpus/documents", "corpus/tokenizer"), "corpus", ("numpy",)),
    Step("corpus/index", "", ("corpus/documents", "corpus/tokens"), "corpus", ("parquet",)),
    Step(
        "corpus/validation",
        "",
        ("corpus/source", "corpus/tokens", "corpus/tokenizer"),
        "corpus",
        ("numpy",),
        lambda p: {
            "hq": bool(p.corpus.hq_url),
            "n": p.evaluation.max_documents,
            "corpus": _document_settings(p),
        },
    ),
    Step(
        "corpus/embeddings",
        "shard",
        ("corpus/documents",),
        "embeddings",
        ("huggingface", "pytorch"),
        lambda p: p.embeddings.identity(),
        accelerated=True,
    ),
)

_COVERAGE = (
    Step(
        "clusters/centroids",
        "",
        ("corpus/embeddings", "corpus/index"),
        "coverage",
        ("faiss",),
        lambda p: {k: v for k, v in p.clusters.identity().items() if k != "drift"},
        pinned=True,
        accelerated=True,
    ),
    Step(
        "clusters/assignments", "shard", ("corpus/embeddings", "clusters/centroids"), "coverage", ("numpy",)
    ),
    Step(
        "density/shard_sketch",
        "shard",
        ("corpus/embeddings",),
        "coverage",
        ("pytorch",),
        lambda p: p.density.identity(),
        accelerated=True,
    ),
    Step(
        "density/sketch",
        "",
        ("density/shard_sketch",),
        "coverage",
        ("numpy",),
        lambda p: p.density.identity(),
    ),
    Step(
        "semdedup/neighbours",
        "",
        ("corpus/documents", "corpus/embeddings", "clusters/assignments", "clusters/centroids"),
        "coverage",
        ("pytorch",),
        accelerated=True,
    ),
)


def _perplexity_settings(p: Profile) -> Any:
    return {k: v for k, v in p.perplexity.identity().items() if k != "models"}


def _ask_llm_settings(p: Profile) -> Any:
    return {k: v for k, v in p.ask_llm.identity().items() if k != "models"}


_SCORE_SETTINGS: dict[str, Callable[[Profile], Any]] = {
    "random": lambda p: p.selection.identity(),
    "density": lambda p: p.density.identity(),
    "perplexity": _perplexity_settings,
    "ask_llm": _ask_llm_settings,
}
"""By sampler, or else by family."""


def _from_source(source_of: Callable[[Profile], Any]) -> dict[str, Any]:
    """Return the settings and what is borrowed of a step that finds the files of a model source."""

    def borrows(profile: Profile) -> dict[str, str | None]:
        source = source_of(profile)
        return {source.name: source.partition} if source is not None and source.kind == "asset" else {}

    return {"settings": lambda p: str(source_of(p)), "borrows": borrows, "kinds": ("huggingface",)}


def _bases(profile: Profile) -> dict[str, str | None]:
    kinds = {parse(base).kind for base in profile.judge.bases.values()}
    return {"full_data/checkpoint": None} if "asset" in kinds else {}


_JUDGE = (
    Step("judge/teacher", "", (), "judge", pinned=True, **_from_source(lambda p: parse(p.judge.teacher))),
    Step(
        "judge/labels",
        "",
        ("corpus/documents", "judge/teacher"),
        "judge",
        ("huggingface", "pytorch"),
        lambda p: {
            **{
                k: v
                for k, v in p.judge.identity().items()
                if k in ("documents", "teacher_max_tokens", "seed")
            },
            "prompt": p.ask_llm.prompt,
        },
        pinned=True,
        accelerated=True,
    ),
    Step(
        "judge/checkpoint",
        "size",
        ("judge/labels", "corpus/tokenizer"),
        "judge",
        ("pytorch",),
        lambda p: {
            **{
                k: v
                for k, v in p.judge.identity().items()
                if k not in ("teacher", "documents", "teacher_max_tokens")
            },
            "ask_llm": _ask_llm_settings(p),
        },
        pinned=True,
        trains=True,
        accelerated=True,
        borrows=_bases,
    ),
)


def _chain(spec: SamplerSpec) -> tuple[Step, ...]:
    """Return a sampler's own chain: the model behind its scores if there is one, scores, subset, checkpoint, metrics."""
    name, family = spec.name, spec.family
    model = Step(f"{name}/model", "", (), family, **_from_source(lambda p: p.model_source(name)))
    return (
        *((model,) if spec.model else ()),
        Step(
            f"{name}/scores",
            "shard",
            spec.needs,
            family,
            ("pytorch", "parquet") if spec.model else ("parquet",),
            _SCORE_SETTINGS.get(name, _SCORE_SETTINGS.get(family, nothing)),
            accelerated=bool(spec.model),
        ),
        Step(
            f"{name}/subset",
            "rate",
            (f"{name}/scores", "corpus/index", "corpus/tokens"),
            family,
            ("parquet",),
            lambda p: {"technique": spec.technique, **p.selection.identity()},
        ),
        Step(
            f"{name}/checkpoint",
            "rate|size",
            (f"{name}/subset", "corpus/tokens", "corpus/tokenizer"),
            family,
            ("pytorch",),
            _training,
            trains=True,
            accelerated=True,
        ),
        Step(
            f"{name}/metrics",
            "rate|size",
            (f"{name}/checkpoint", "corpus/validation"),
            family,
            ("parquet",),
            lambda p: p.evaluation.identity(),
            trains=True,
            accelerated=True,
        ),
    )


_FULL_DATA = (
    Step(
        "full_data/checkpoint",
        "size",
        ("corpus/index", "corpus/tokens", "corpus/tokenizer"),
        "full_data",
        ("pytorch",),
        _training,
        pinned=True,
        trains=True,
        accelerated=True,
    ),
    Step(
        "full_data/metrics",
        "size",
        ("full_data/checkpoint", "corpus/validation"),
        "full_data",
        ("parquet",),
        lambda p: p.evaluation.identity(),
        trains=True,
        accelerated=True,
    ),
)

_REPORT = (
    Step(
        "report/comparison",
        "",
        (
            "corpus/index",
            "full_data/metrics",
            *(f"{name}/subset" for name in SAMPLERS),
            *(f"{name}/metrics" for name in SAMPLERS),
        ),
        "report",
        ("polars",),
        lambda p: p.pretraining.identity(),
        partial=True,
    ),
    Step(
        "report/correlation",
        "",
        ("corpus/documents", "corpus/index", *(f"{name}/scores" for name in SAMPLERS)),
        "report",
        ("python",),
        lambda p: p.report.identity(),
        partial=True,
    ),
)

STEPS: dict[str, Step] = {
    step.key: step
    for step in (
        *_CORPUS,
        *_COVERAGE,
        *_FULL_DATA,
        *_JUDGE,
        *(step for spec in SAMPLERS.values() for step in _chain(spec)),
        *_REPORT,
    )
}
"""Every step by key, each after the steps that it needs."""
