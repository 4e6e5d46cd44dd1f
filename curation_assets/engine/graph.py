"""The graph as plain data: one row a step. Dagster's definitions, fingerprints, plans and lineage all derive from it."""

from __future__ import annotations

from curation_assets.config.lazy import LazyDict
from curation_assets.config.registry import SAMPLERS, SamplerSpec
from curation_assets.engine.borrowed import (
    chosen_by,
    contaminated,
    embedded,
    exported,
    model_at,
    nothing,
    students,
)
from curation_assets.engine.report_steps import report_steps
from curation_assets.engine.step import Step

_DOCUMENTS = (
    *("corpus.text_field", "corpus.id_field", "corpus.keep_fields", "corpus.sample_by"),
    *("corpus.max_chars", "corpus.min_chars", "corpus.min_words", "corpus.validation_share"),
)
"""What decides which documents there are: all of `corpus` but where it lies."""
_TRAINING = ("pretraining", "ladder")
_MEASURING = ("evaluation.seed", "evaluation.window", "evaluation.max_windows", "evaluation.finetuning")
_FIRST_SEED = "pretraining.seeds"
"""Of a model that is lent, the first seed's weights are."""

_CORPUS = (
    Step(
        "corpus/source",
        "",
        (),
        "corpus",
        ("python",),
        ("corpus.builtin", "corpus.planted", "corpus.sources"),
        code=3,
    ),
    Step("corpus/shards", "shard", ("corpus/source",), "corpus", ("file",)),
    Step(
        "corpus/documents",
        "shard",
        ("corpus/shards",),
        "corpus",
        ("parquet",),
        _DOCUMENTS,
        code=2,
    ),
    Step(
        "corpus/tokenizer",
        "",
        ("corpus/documents",),
        "corpus",
        ("huggingface",),
        ("tokenizer",),
        code=3,
        pinned=True,
    ),
    Step("corpus/tokens", "shard", ("corpus/documents", "corpus/tokenizer"), "corpus", ("numpy",)),
    Step("corpus/index", "", ("corpus/documents", "corpus/tokens"), "corpus", ("parquet",), code=2),
    Step(
        "corpus/validation",
        "",
        ("corpus/source", "corpus/documents", "corpus/tokenizer"),
        "corpus",
        ("numpy",),
        (*_DOCUMENTS, "evaluation.max_documents"),
        code=3,
    ),
    Step(
        "corpus/reference",
        "",
        ("corpus/source",),
        "corpus",
        ("parquet",),
        (*_DOCUMENTS, "corpus.reference_documents"),
    ),
    Step(
        "corpus/embeddings",
        "shard",
        ("corpus/documents",),
        "embeddings",
        ("huggingface", "pytorch"),
        ("embeddings",),
        code=2,
        accelerated=True,
    ),
    Step(
        "corpus/reference_embeddings",
        "",
        ("corpus/reference",),
        "embeddings",
        ("huggingface", "pytorch"),
        ("embeddings",),
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
        (
            *("evaluation.suites", "evaluation.instructions", "evaluation.seed"),
            *("evaluation.max_examples", "evaluation.max_training_examples", "corpus.keep_fields"),
        ),
        code=2,
        pinned=True,  # what models are measured by stays the same while the corpus moves on
    ),
    Step(
        "evaluation/ngrams",
        "",
        ("evaluation/examples", "corpus/validation"),
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

_JUDGE = (
    Step(
        "judge/teacher",
        "",
        (),
        "judge",
        ("huggingface",),
        ("judge.teacher",),
        pinned=True,
        borrows=model_at("judge.teacher"),
    ),
    Step(
        "judge/labels",
        "",
        ("corpus/documents", "judge/teacher"),
        "judge",
        ("huggingface", "pytorch"),
        ("judge.documents", "judge.teacher_max_tokens", "judge.seed", "samplers.ask_llm.prompt"),
        pinned=True,
        accelerated=True,
    ),
    Step(
        "judge/label_embeddings",
        "",
        ("judge/labels",),
        "judge",
        ("huggingface", "pytorch"),
        ("embeddings",),
        pinned=True,  # as what it is of, and so that judges follow it
        accelerated=True,
    ),
    Step(
        "judge/checkpoint",
        "size",
        ("judge/labels", "corpus/tokenizer"),
        "judge",
        ("pytorch",),
        (
            *("judge.student", "judge.held_out", "judge.bases", "judge.target"),
            *("judge.epochs", "judge.batch_size"),
            *("judge.learning_rate", "judge.final_learning_rate", "judge.warmup_share", "judge.clip_norm"),
            *("judge.seed", "samplers.ask_llm.prompt", "samplers.ask_llm.max_tokens", _FIRST_SEED),
        ),
        code=2,
        pinned=True,
        trains=True,
        accelerated=True,
        borrows=students,
    ),
)


def _scoring(sampler: SamplerSpec) -> tuple[Step, ...]:
    """Return the steps up to a sampler's scores: the model behind them if there is one, what it brings, the scores."""
    name, family = sampler.name, sampler.family
    model = Step(
        f"{name}/model",
        *("", (), family, ("huggingface",)),
        (sampler.model, _FIRST_SEED),
        borrows=model_at(sampler.model),
    )
    inputs = (*sampler.inputs, *((model.key,) if sampler.model else ()))
    return (
        *((model,) if sampler.model else ()),
        *sampler.steps,
        Step(
            f"{name}/scores",
            "shard",
            # Scores are of these documents, whatever else they are made from: their version must say of which.
            tuple(dict.fromkeys(("corpus/documents", *inputs))),
            family,
            ("pytorch", "parquet") if sampler.model else ("parquet",),
            sampler.setting_paths,
            code=sampler.code,
            placed=sampler.placed,
            accelerated=bool(sampler.model),
            borrows=embedded(sampler.model) if sampler.model else nothing,
        ),
    )


def _chain(sampler: SamplerSpec) -> tuple[Step, ...]:
    """Return a sampler's steps: those up to its scores, which a hybrid has none of, subset, checkpoint, metrics."""
    name, family = sampler.name, sampler.family
    return (
        *(() if sampler.hybrid else _scoring(sampler)),
        Step(
            f"{name}/subset",
            "rate",
            (f"{sampler.then}/scores", "corpus/index", "corpus/tokens"),
            family,
            ("parquet",),
            (
                *("selection", "corpus.sources", "evaluation.decontaminate"),
                *([f"samplers.{name}"] if sampler.hybrid else []),
            ),
            variant=sampler.technique,
            code=2,
            borrows=chosen_by(name),
        ),
        Step(
            f"{name}/checkpoint",
            "rate|size",
            (f"{name}/subset", "corpus/tokens", "corpus/tokenizer"),
            family,
            ("pytorch",),
            _TRAINING,
            trains=True,
            accelerated=True,
        ),
        Step(
            f"{name}/metrics",
            "rate|size",
            (f"{name}/checkpoint", "corpus/validation", "corpus/tokenizer", "evaluation/examples"),
            family,
            ("pytorch", "parquet"),
            _MEASURING,
            code=2,
            trains=True,
            accelerated=True,
        ),
    )


def _export(sampler: SamplerSpec) -> Step:
    """Return the step that writes out what a sampler chose: after all scores, since it names near-duplicates."""
    name = sampler.name
    return Step(
        f"{name}/export",
        "rate",
        (f"{name}/subset", f"{sampler.then}/scores", "corpus/shards"),
        sampler.family,
        ("parquet",),
        (*_DOCUMENTS, "corpus.sources", "export", "samplers.semdedup.threshold"),
        code=2,
        borrows=exported(name),
    )


_FULL_DATA = (
    Step(
        "full_data/checkpoint",
        "size",
        ("corpus/documents", "corpus/index", "corpus/tokens", "corpus/tokenizer"),
        "full_data",
        ("pytorch",),
        (*_TRAINING, "evaluation.decontaminate"),
        pinned=True,
        trains=True,
        accelerated=True,
        borrows=contaminated,
    ),
    Step(
        "full_data/metrics",
        "size",
        ("full_data/checkpoint", "corpus/validation", "corpus/tokenizer", "evaluation/examples"),
        "full_data",
        ("pytorch", "parquet"),
        _MEASURING,
        code=2,
        trains=True,
        accelerated=True,
    ),
)


def _steps() -> dict[str, Step]:
    chains = {step.key: step for sampler in SAMPLERS.values() for step in _chain(sampler)}
    exports = {step.key: step for step in map(_export, SAMPLERS.values())}
    costly = [
        step.key for step in (*_JUDGE, *_FULL_DATA, *chains.values()) if not step.key.endswith("/subset")
    ]
    made = {step.key: step for step in (*_CORPUS, *_EVALUATION, *_FULL_DATA, *_JUDGE)} | chains | exports
    return made | {step.key: step for step in report_steps(tuple(costly), made)}


STEPS = LazyDict("steps", _steps)
"""Every step by key, each after the steps that it needs."""
