"""The graph as plain data: one row a step. Dagster's definitions, fingerprints, plans and lineage all derive from it."""

from __future__ import annotations

from collections.abc import Iterable

from curation_assets.config import identity
from curation_assets.config.model_sources import parse
from curation_assets.config.profile import Profile
from curation_assets.config.registry import SAMPLERS, SamplerSpec
from curation_assets.engine.report_steps import report_steps
from curation_assets.engine.step import Step, nothing

_CORPUS = (
    Step("corpus/source", "", (), "corpus", ("python",), lambda p: p.corpus.builtin.identity(), code=2),
    Step("corpus/shards", "shard", ("corpus/source",), "corpus", ("file",)),
    Step(
        "corpus/documents",
        "shard",
        ("corpus/shards",),
        "corpus",
        ("parquet",),
        identity.document_settings,
        code=2,
    ),
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
    Step("corpus/index", "", ("corpus/documents", "corpus/tokens"), "corpus", ("parquet",), code=2),
    Step(
        "corpus/validation",
        "",
        ("corpus/source", "corpus/tokens", "corpus/tokenizer"),
        "corpus",
        ("numpy",),
        lambda p: {
            "hq": bool(p.corpus.hq_url),
            "n": p.evaluation.max_documents,
            "corpus": identity.document_settings(p),
        },
    ),
    Step(
        "corpus/embeddings",
        "shard",
        ("corpus/documents",),
        "embeddings",
        ("huggingface", "pytorch"),
        lambda p: p.embeddings.identity(),
        code=2,
        accelerated=True,
    ),
)

_EVALUATION = (
    Step(
        "evaluation/examples",
        "",
        ("corpus/documents",),
        "evaluation",
        ("parquet",),
        lambda p: {
            name: value
            for name, value in p.evaluation.identity().items()
            if name in ("suites", "instructions", "max_examples", "max_training_examples", "seed")
        },
        code=2,
        pinned=True,  # what models are measured by stays the same while the corpus moves on
    ),
    Step(
        "evaluation/ngrams",
        "",
        ("evaluation/examples", "corpus/validation", "corpus/source", "corpus/documents"),
        "evaluation",
        ("numpy",),
        pinned=True,
    ),
    Step(
        "evaluation/contamination",
        "shard",
        ("corpus/documents", "evaluation/ngrams"),
        "evaluation",
        ("parquet",),
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
        code=2,
        pinned=True,
        drift="clusters.drift",
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
        code=2,
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
        code=2,
        accelerated=True,
    ),
)


_JUDGE = (
    Step(
        "judge/teacher",
        "",
        (),
        "judge",
        pinned=True,
        **identity.from_source(lambda p: parse(p.judge.teacher)),
    ),
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
            "ask_llm": identity.ask_llm_settings(p),
        },
        pinned=True,
        trains=True,
        accelerated=True,
        borrows=identity.bases,
    ),
)


def _chain(spec: SamplerSpec) -> tuple[Step, ...]:
    """Return a sampler's own chain: the model behind its scores if there is one, scores, subset, checkpoint, metrics."""
    name, family = spec.name, spec.family
    model = Step(f"{name}/model", "", (), family, **identity.from_source(lambda p: p.model_source(name)))
    return (
        *((model,) if spec.model else ()),
        Step(
            f"{name}/scores",
            "shard",
            # Scores are of these documents, whatever else they are made from: their version must say of which.
            tuple(dict.fromkeys(("corpus/documents", *spec.needs))),
            family,
            ("pytorch", "parquet") if spec.model else ("parquet",),
            identity.SCORE_SETTINGS.get(name, identity.SCORE_SETTINGS.get(family, nothing)),
            code=3 if family == "coverage" else 2,
            placed="semdedup/neighbours" in spec.needs,
            accelerated=bool(spec.model),
        ),
        Step(
            f"{name}/subset",
            "rate",
            (f"{name}/scores", "corpus/index", "corpus/tokens"),
            family,
            ("parquet",),
            lambda p: {"technique": spec.technique, **p.selection.identity()},
            code=2,
            borrows=identity.contaminated,
        ),
        Step(
            f"{name}/checkpoint",
            "rate|size",
            (f"{name}/subset", "corpus/tokens", "corpus/tokenizer"),
            family,
            ("pytorch",),
            identity.training,
            trains=True,
            accelerated=True,
        ),
        Step(
            f"{name}/metrics",
            "rate|size",
            (f"{name}/checkpoint", "corpus/validation", "corpus/tokenizer", "evaluation/examples"),
            family,
            ("pytorch", "parquet"),
            identity.evaluation_settings,
            code=2,
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
        identity.training_on_all,
        pinned=True,
        trains=True,
        accelerated=True,
        borrows=identity.contaminated,
    ),
    Step(
        "full_data/metrics",
        "size",
        ("full_data/checkpoint", "corpus/validation", "corpus/tokenizer", "evaluation/examples"),
        "full_data",
        ("pytorch", "parquet"),
        identity.evaluation_settings,
        code=2,
        trains=True,
        accelerated=True,
    ),
)

_CHAINS = tuple(step for spec in SAMPLERS.values() for step in _chain(spec))
_COSTLY = tuple(step.key for step in (*_COVERAGE, *_JUDGE, *_FULL_DATA, *_CHAINS))
"""What choosing the data may take time for."""

_MADE = (*_CORPUS, *_EVALUATION, *_COVERAGE, *_FULL_DATA, *_JUDGE, *_CHAINS)


def _code_versions(profile: Profile, keys: Iterable[str]) -> dict[str, str]:
    return {key: STEPS[key].code_version(profile) for key in keys}


STEPS: dict[str, Step] = {
    step.key: step for step in (*_MADE, *report_steps(_COSTLY, _code_versions, [step.key for step in _MADE]))
}
"""Every step by key, each after the steps that it needs."""
