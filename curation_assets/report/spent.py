"""What was spent on choosing data and on training: seconds by the receipts, operations by shapes and lengths."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from curation_assets.config.model_sources import ModelSource, parse
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.tokens import read_tokens
from curation_assets.engine.artifacts import Artifacts
from curation_assets.engine.graph import STEPS
from curation_assets.engine.step import Step, upstream
from curation_assets.engine.workspace import title
from curation_assets.models.t5 import Shape
from curation_assets.models.tokenizer import Tokenizer, load_tokenizer
from curation_assets.pretraining.build import train_config
from curation_assets.report import cost
from curation_assets.report.cost import Lengths

_RUNG = "full_data/checkpoint"
_PREPARES = ("judge", "full_data")
"""Groups of steps that make a model to score with."""


def _training_needs(step: Step) -> bool:
    """Tell whether a step is made for the training anyway, or for the evaluation: no cost of choosing."""
    return step.group in ("corpus", "evaluation")


@dataclass(frozen=True)
class Spent:
    """What choosing by a sampler took; None where it is not known, and `unknown` says why."""

    scoring: float | None
    preparing: float | None
    unknown: str = ""

    @property
    def total(self) -> float | None:
        """Both."""
        return None if self.scoring is None or self.preparing is None else self.scoring + self.preparing


def _sum(parts: list[Spent]) -> Spent:
    """Return what several took together; nothing is known where it is not of one."""
    unknown = [one for one in parts if one.total is None]
    if unknown:
        return unknown[0]
    return Spent(sum(one.scoring or 0.0 for one in parts), sum(one.preparing or 0.0 for one in parts))


class Seconds:
    """Wall-clock seconds by the receipts of the artifacts that there are."""

    def __init__(self, workspace: Artifacts) -> None:
        self._workspace, self._partitions = workspace, cache(workspace.partitions)

    def choosing(self, sampler: str) -> Spent:
        """Return the seconds of a sampler's scores (a hybrid's: of both stages) and of everything that they need and training does not.

        Of the rung of the ladder behind a scorer or judge, the share of one seed's training that went into it.
        """
        result: dict[tuple[str, str], None] = {}
        scorers = self._workspace.profile.scorers(sampler)
        for scorer, shard in itertools.product(scorers, self._partitions("shard")):
            self._collect(STEPS[f"{scorer}/scores"], shard, result)
        seconds = {"scoring": 0.0, "preparing": 0.0}
        for key, partition in result:
            receipt = self._workspace.receipt(key, partition)
            if receipt is None:
                return Spent(None, None, f"{title(key, partition)} has not been made")
            prepares = STEPS[key].group in _PREPARES or key.endswith("/model")
            spent = receipt.seconds
            if key == _RUNG:
                spent *= max(_rung_share(self._workspace, one) for one in scorers) / receipt.metadata["seeds"]
            seconds["preparing" if prepares else "scoring"] += spent
        return Spent(seconds["scoring"], seconds["preparing"])

    def _collect(self, step: Step, partition: str, result: dict[tuple[str, str], None]) -> None:
        if (step.key, partition) in result:
            return
        result[step.key, partition] = None
        for key, only in step.reads(self._workspace.profile).items():
            if not _training_needs(STEPS[key]):
                for one in upstream(step, partition, STEPS[key], self._partitions, only):
                    self._collect(STEPS[key], one, result)

    def training(self, sampler: str, partition: str) -> float | None:
        """Return the seconds of one seed's training; None where there is none."""
        receipt = self._workspace.receipt(f"{sampler}/checkpoint", partition)
        return receipt.seconds / receipt.metadata["seeds"] if receipt else None


def _rung_share(workspace: Artifacts, sampler: str) -> float:
    """Return the share of its training after which a rung lent the weights of a sampler's scorer or of its judge."""
    source = workspace.profile.model_source(sampler)
    if source is not None and source.name == "judge/checkpoint":
        source = parse(workspace.profile.judge.bases[source.partition])  # type: ignore[index]
    return source.share if source is not None else 0.0


class Flops:
    """Operations, as the settings and the corpus as it is now would take them.

    Seeds and interrupted runs make no difference here: one training is one seed. Documents are as long as the corpus's
    tokenizer makes them; for a model with another one that is an estimate.
    """

    def __init__(self, workspace: Artifacts) -> None:
        self._workspace, self._profile = workspace, workspace.profile
        self._by_name: dict[str, Callable[[], float | None]] = {
            "random": lambda: 0.0,
            "density": self._density,
            "semdedup": self._semdedup,
            "prototypes": self._prototypes,
            "dsir": lambda: 0.0,  # it counts, and multiplies no matrices
            "q_classifier": self._by_embeddings,
            "heuristic": lambda: 0.0,
        }

    def training(self, size: str) -> float:
        """Return the operations of one training."""
        from curation_assets.pretraining.flops import training_flops

        special = {
            "vocab_size": self._tokenizer.vocab_size,
            "first_sentinel": self._tokenizer.first_sentinel_id,
        }
        return training_flops(train_config(self._profile, size, **special))

    def choosing(self, sampler: str) -> Spent:
        """Return the operations of a sampler's scores (a hybrid's: of both stages), and of what its model took to make."""
        if SAMPLERS[sampler].hybrid:
            return _sum([self.choosing(one) for one in self._profile.scorers(sampler)])
        source = self._profile.model_source(sampler)
        section = SAMPLERS[sampler].section
        if source is None or section not in ("perplexity", "ask_llm"):
            count = self._by_name.get(sampler)
            return (
                Spent(count(), 0.0)
                if count
                else Spent(None, None, f"{sampler}: no rule counts its operations")
            )
        if source.kind != "asset":
            return Spent(self._by_parameters(sampler), 0.0)
        if source.name == "judge/checkpoint" and self._judged(source).get("student") == "embeddings":
            return Spent(self._by_embeddings(), self._labels())
        shape, vocabulary = self._shape(source.partition), self._tokenizer.vocab_size
        if section == "perplexity":
            settings = self._profile.samplers.perplexity
            scoring = cost.perplexity_flops(
                *(shape, vocabulary, self.documents),
                window=settings.window,
                max_windows=settings.max_windows or None,
            )
            return Spent(scoring, self.training(source.partition) * source.share)
        most = self._profile.samplers.ask_llm.max_tokens
        scoring = cost.ask_llm_flops(
            *(shape, vocabulary, self.documents), max_tokens=most, question=self._question
        )
        return Spent(scoring, self._judge(source))

    @cached_property
    def documents(self) -> Lengths:
        """Lengths of the corpus's documents, shard by shard."""
        result = cost.histogram([])
        for shard in self._workspace.shards():
            with self._workspace.opened("corpus/tokens", shard) as folder:
                _, offsets = read_tokens(folder, "documents")
                result = cost.added(result, cost.histogram(np.diff(offsets)))
        return result

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return load_tokenizer(self._workspace.open("corpus/tokenizer"))

    @cached_property
    def _question(self) -> int:
        text = self._profile.samplers.ask_llm.prompt.replace("{document}", "")
        return len(self._tokenizer.encode_batch([text])[0]) + 1

    def _shape(self, size: str) -> Shape:
        rungs: dict[Any, Any] = self._profile.ladder
        return Shape(**rungs[size].model_dump())

    def _judged(self, source: ModelSource) -> dict[str, Any]:
        return self._workspace.metadata("judge/checkpoint", source.partition)

    def _labels(self) -> float | None:
        """Return what the teacher's labels took, at most."""
        settings = self._profile.judge
        teacher = self._workspace.metadata("judge/teacher").get("parameters")
        if teacher is None:
            return None
        return cost.by_parameters(teacher, settings.documents * settings.teacher_max_tokens)

    def _judge(self, source: ModelSource) -> float | None:
        """Return what a judge that is a T5 took: its base, the teacher's labels, and learning from them."""
        settings, size = self._profile.judge, source.partition
        bases: dict[Any, str] = settings.bases
        base = parse(bases[size])
        rung = self.training(base.partition) * base.share if base.kind == "asset" else 0.0
        labels = self._labels()
        if labels is None:
            return None
        most = self._profile.samplers.ask_llm.max_tokens
        inputs = np.minimum(self.documents.tokens + self._question, most) * self.documents.counts
        learning = cost.judge_training_flops(
            *(self._shape(size), self._tokenizer.vocab_size),
            self._judged(source)["documents"],
            settings.epochs,
            float(inputs.sum()) / max(self.documents.documents, 1),
        )
        return rung + labels + learning

    def _by_parameters(self, sampler: str) -> float | None:
        known = self._workspace.metadata(f"{sampler}/model").get("parameters")
        if known is None:
            return None
        if SAMPLERS[sampler].section == "perplexity":
            settings = self._profile.samplers.perplexity
            most = settings.window * settings.max_windows or int(self.documents.tokens.max(initial=0))
            return cost.by_parameters(known, self.documents.read(most))
        inputs = np.minimum(self.documents.tokens + self._question, self._profile.samplers.ask_llm.max_tokens)
        return cost.by_parameters(known, float((inputs * self.documents.counts).sum()))

    def _embedding(self) -> tuple[float | None, int]:
        """Return the cost of the embeddings, and their dimensions."""
        about = self._workspace.metadata("corpus/embeddings", self._workspace.shards()[0])
        if about.get("parameters") is None:
            return None, about["dimensions"]
        settings = self._profile.embeddings
        tokens = self.documents.read(settings.max_tokens * settings.windows)
        return cost.by_parameters(about["parameters"], tokens), about["dimensions"]

    def _density(self) -> float | None:
        embedding, dim = self._embedding()
        projections = self._profile.samplers.density.projections
        sketch = cost.sketch_flops(self.documents.documents, dim, projections)
        return None if embedding is None else embedding + sketch

    def _by_embeddings(self) -> float | None:
        """Return the cost of the embeddings, and of one product with each."""
        embedding, dim = self._embedding()
        return (
            None if embedding is None else embedding + cost.assignment_flops(self.documents.documents, 1, dim)
        )

    def _clusters(self) -> float | None:
        embedding, dim = self._embedding()
        about = self._workspace.metadata("clusters/centroids")
        fit = cost.kmeans_flops(about["points_used"], about["clusters"], dim, about["iterations"])
        assigning = cost.assignment_flops(self.documents.documents, about["clusters"], dim)
        return None if embedding is None else embedding + fit + assigning

    def _prototypes(self) -> float | None:
        clusters, (_, dim) = self._clusters(), self._embedding()
        return (
            None if clusters is None else clusters + cost.assignment_flops(self.documents.documents, 1, dim)
        )

    def _semdedup(self) -> float | None:
        clusters, (_, dim) = self._clusters(), self._embedding()
        sizes = np.zeros(0, np.int64)
        for shard in self._workspace.shards():
            with self._workspace.opened("clusters/assignments", shard) as folder:
                own = np.bincount(np.load(folder / "clusters.npy"))
            longer, other = (sizes, own) if len(sizes) > len(own) else (own, sizes)
            sizes = longer.copy()
            sizes[: len(other)] += other
        return None if clusters is None else clusters + cost.similarity_flops(sizes, dim)
