"""The graph as plain data: one row a step. Dagster's definitions, fingerprints, plans and lineage all derive from it.

A step's version follows from its code and settings and from the versions of what it reads, so that it can be told
without running anything whether an artifact is current. No module here imports Dagster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from curation_assets.profile import Profile
from curation_assets.registry import SAMPLERS, SamplerSpec
from curation_assets.storage import fingerprint

By = Literal["", "shard", "rate", "size", "rate|size"]


def _nothing(profile: Profile) -> Any:
    return None


@dataclass(frozen=True)
class Step:
    """One asset of the graph.

    Attributes
    ----------
    key : asset key, parts joined by "/".
    by : what partitions it; "" for a single artifact.
    needs : asset keys that it reads.
    settings : the identity settings that change its content.
    code : number to raise when the code changes the content.
    pinned : a model learned from the corpus: a change of the corpus leaves it behind but does not remake it, and what
        depends on it goes by the digest of its content.
    partial : reads what there is of its inputs (reports do), instead of requiring all of it.
    trains : expensive and never automatic.
    group, kinds : how Dagster's UI sorts and labels it.
    """

    key: str
    by: By
    needs: tuple[str, ...]
    group: str
    kinds: tuple[str, ...] = ("python",)
    settings: Callable[[Profile], Any] = _nothing
    code: int = 1
    pinned: bool = False
    partial: bool = False
    trains: bool = False
    accelerated: bool = False

    def code_version(self, profile: Profile) -> str:
        """Return the fingerprint of code and identity settings: Dagster's code version."""
        return fingerprint(self.key, self.code, self.settings(profile))

    def recipe(self, profile: Profile, inputs: dict[str, str]) -> str:
        """Return the version that this step's artifact has when made from inputs of these versions."""
        return fingerprint(self.key, self.code_version(profile), inputs)


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

_SCORE_SETTINGS: dict[str, Callable[[Profile], Any]] = {
    "random": lambda p: p.selection.identity(),
    "density": lambda p: p.density.identity(),
}


def _chain(spec: SamplerSpec) -> tuple[Step, ...]:
    """Return a sampler's own chain: scores, subset, checkpoint, metrics."""
    name, family = spec.name, spec.family
    return (
        Step(
            f"{name}/scores",
            "shard",
            spec.needs,
            family,
            ("parquet",),
            _SCORE_SETTINGS.get(name, _nothing),
            accelerated=spec.resident,
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
)

STEPS: dict[str, Step] = {
    step.key: step
    for step in (
        *_CORPUS,
        *_COVERAGE,
        *(step for spec in SAMPLERS.values() for step in _chain(spec)),
        *_FULL_DATA,
        *_REPORT,
    )
}
"""Every step by key, each after the steps that it needs."""


def reads_all(by: By, need: By) -> bool:
    """Tell whether a partition of kind `by` reads every partition of an input of kind `need`, and not just one."""
    return need not in ("", by) and not (by == "rate|size" and need in ("rate", "size"))


def upstream(step: Step, partition: str, need: Step, partitions: Callable[[By], list[str]]) -> list[str]:
    """Return the partitions of `need` that `step`'s `partition` reads; `partitions` lists those of a kind."""
    if need.by == "":
        return [""]
    if reads_all(step.by, need.by):
        return partitions(need.by)
    if need.by == step.by:
        return [partition]
    rate, size = partition.split("|")
    return [rate if need.by == "rate" else size]
