"""What a distillation run is (`DistillConfig`) and what comes out of it (`DistillResult`)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from curation_assets.judges.agreement import Agreement
from curation_assets.pretraining.finetuning import Recipe
from curation_assets.scoring.prompt import TEMPLATE

TARGETS = ("probability", "rank")


@dataclass(frozen=True)
class DistillConfig(Recipe):
    """All that decides the weights, but for the model, the documents and their labels."""

    batch_size: int = 4
    """Small: labels are few, and a run of four epochs needs steps more than it needs smooth gradients."""
    learning_rate: float = 5e-3
    final_learning_rate: float = 1e-5
    warmup_share: float = 0.1
    epochs: float = 4.0
    """How often each training document is read."""
    max_tokens: int = 512
    """Of the whole input, as of `AskLLM`: score with the same."""
    template: str = TEMPLATE
    """The prompt, with a place for the document, as of `AskLLM`."""
    target: str = "rank"
    """"probability": the teacher's. "rank": the share of the training documents that it likes less, half of equals counted
    (mid-rank percentile). A weak teacher's probabilities may differ in the third decimal only, and then a short run learns
    their mean and nothing else; ranks have the same order and all of (0, 1). The score is log P("yes") either way."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        super().__post_init__()
        if self.epochs <= 0:
            raise ValueError(f"epochs must be positive, not {self.epochs}")
        if self.target not in TARGETS:
            raise ValueError(f"target must be one of {', '.join(TARGETS)}, not {self.target!r}")

    def steps_per_epoch(self, documents: int) -> int:
        """Return the batches that hold each of so many documents once."""
        return math.ceil(documents / self.batch_size)

    def steps(self, documents: int) -> int:
        """Return the steps of a run over so many training documents."""
        return max(1, round(self.epochs * self.steps_per_epoch(documents)))


@dataclass(frozen=True)
class DistillResult:
    """A finished run. Losses are in nats a document; `entropy` is the least that `held_out_loss` can be."""

    folder: Path
    model: Path
    """Where `models.t5.load` and `models.loading.load_scorer` find the judge."""
    steps: int
    documents: int
    """Trained on."""
    loss: float
    """Mean training loss of the last epoch."""
    held_out_loss: float
    entropy: float
    held_out_scores: tuple[float, ...]
    """The judge's scores of the documents held out, in their order."""
    agreement: Agreement
    """Kendall's tau of these scores and the teacher's."""
    length: Agreement
    """The same of the teacher's score and the document's number of tokens: what a judge of length alone would reach."""
    history: tuple[dict[str, float | None], ...]
    """After each epoch, and before the first: epoch, step, training loss, held_out_loss, tau."""
    resumed_from: int = field(default=0, compare=False)
    """The step that this call began at; `steps` where the run was finished already."""

    def metadata(self) -> dict[str, Any]:
        """Return all but the paths, ready for JSON."""
        left_out = ("folder", "model", "resumed_from", "held_out_scores")
        return {k: v for k, v in asdict(self).items() if k not in left_out}
