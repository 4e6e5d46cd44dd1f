"""What a module of a sampler says: what it is, what it reads, its settings, and how the documents of one corpus file are scored.

The smallest one is a name, a description and `score`; docs/your-sampler.md walks through it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

import pyarrow as pa

from curation_assets.common.progress import Progress
from curation_assets.config.registry import Column, SamplerSpec
from curation_assets.engine.context import Context
from curation_assets.engine.product import Product
from curation_assets.engine.step import By, Step
from curation_assets.engine.workspace import Metadata
from curation_assets.samplers.documents import Documents

Scores = Mapping[str, Any]
"""{"score": float64 [n], and an array or `pyarrow` column for each of the sampler's `columns`}, in the order of the documents."""

__all__ = ["Column", "Sampler", "Scores"]


@dataclass(frozen=True, kw_only=True)
class Sampler(SamplerSpec):
    """A sampler. `SamplerSpec` says what its other attributes mean.

    The graph writes the table of scores, refuses a score that is missing or not finite, and keeps what a kill would cost.
    A module is imported wherever samplers are listed: what is large (torch, transformers) is imported within the functions.

    Attributes
    ----------
    score : (what `setup` returned, documents of one corpus file, progress) -> their scores. A score depends on the document, on
        settings and on a seed alone: not on the order of the documents, on how they lie in files, or on the batch.
    setup : called once by each process that scores: loads a model, say. Without it `score` is given the sampler's settings.
    part : what `setup` returned -> how many documents are scored between two saves, for scores that take long; all, where it is None.
    unseen : of a sampler that is `placed`: what scores documents that are no part of the corpus, in place of `setup` and `score`. It is given
        (asset key -> the context of that step, documents, progress). Without it such documents have no score.
    summary : the table of scores of a corpus file -> figures about it, for people.
    products : how the `steps` that it brings are made, and what people are told of them.
    """

    score: Callable[[Any, Documents, Progress], Scores]
    setup: Callable[[Context], Any] | None = None
    part: Callable[[Any], int] | None = None
    unseen: Callable[[Callable[[str], Context], Documents, Progress], Scores] | None = None
    summary: Callable[[pa.Table], Metadata] | None = None
    steps: tuple[Step, ...] = ()
    products: tuple[Product, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a step that nobody makes, as what `SamplerSpec` refuses."""
        super().__post_init__()
        if not callable(self.score):
            raise ValueError(f"sampler {self.name!r}: score is no function")
        for name, column in self.columns.items():
            try:
                pa.type_for_alias(column.type)
            except ValueError:
                raise ValueError(
                    f"sampler {self.name!r}: column {name!r} has no type {column.type!r}"
                ) from None
        for step in self.steps:
            if not isinstance(step, Step) or step.by not in get_args(By):
                raise ValueError(
                    f"sampler {self.name!r}: {step!r} is no step that is made for each of something known"
                )
        made, listed = {product.key for product in self.products}, {step.key for step in self.steps}
        if made != listed:
            raise ValueError(
                f"sampler {self.name!r}: steps and products differ: {', '.join(sorted(made ^ listed))}"
            )
