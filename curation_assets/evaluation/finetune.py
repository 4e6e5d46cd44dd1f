"""Fine-tune a pre-trained T5 on text-to-text examples: each suite's training sets together, as the paper does (section 5.1).

A killed run goes on where it was and ends with the same bits (CPU, one machine, one thread count).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from curation_assets.common.batching import ended, padded
from curation_assets.common.progress import Progress, silent
from curation_assets.models import t5
from curation_assets.models.files import file_digest
from curation_assets.pretraining.finetuning import Recipe, Tuning
from curation_assets.pretraining.run_folder import RunFolder

_IGNORED = -100  # by the loss of transformers' models


class Pairs(NamedTuple):
    """Training examples as token ids, each without its end; cut to the config's lengths when they are used."""

    inputs: Sequence[NDArray[np.int32]]
    targets: Sequence[NDArray[np.int32]]


@dataclass(frozen=True)
class FineTuneConfig(Recipe):
    """All that decides the weights, but for the model and the examples. Defaults are T5's."""

    steps: int = 262_144
    max_input: int = 512
    """Tokens of an input, its end included; longer ones are cut at the end."""
    max_target: int = 128
    eos: int = 1
    pad: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        super().__post_init__()
        if self.steps < 1:
            raise ValueError(f"steps must be positive, not {self.steps}")
        if min(self.max_input, self.max_target) < 2:
            raise ValueError("max_input and max_target must leave room for a token and the end")


def fine_tune(
    config: FineTuneConfig,
    model_folder: Path | str,
    pairs: Pairs,
    folder: Path | str,
    *,
    device: str = "cpu",
    resume_seconds: float = 60.0,
    progress: Progress = silent,
) -> Path:
    """Train to the end, from wherever the folder's run has come to, and return the folder of the tuned weights.

    A finished run returns at once. The loss is the mean cross entropy over target tokens, end included.

    Raises
    ------
    ValueError
        There is no example, a target is empty, or the folder belongs to another run.
    FloatingPointError
        The loss is no longer finite.
    RuntimeError
        Another process is at work in the folder.
    """
    if not len(pairs.inputs) or len(pairs.inputs) != len(pairs.targets):
        raise ValueError(f"{len(pairs.inputs)} inputs and {len(pairs.targets)} targets: nothing to train on")
    digest = file_digest(Path(model_folder) / "model.safetensors")
    run = RunFolder(folder, {**asdict(config), "model": digest, "data": _digest(pairs)})
    with run.locked():
        run.claim()
        if run.result() is None:
            model = t5.load(model_folder)
            model.train().to(torch.device(device))
            tuning = _FineTuning(config, model, pairs, run)
            tuning.train(resume_seconds, progress, "examples")
            run.write_snapshot(model, config.steps, 0)
            run.finish({"steps": config.steps, "loss": float(np.mean(tuning.losses[-tuning.per_epoch :]))})
    return run.snapshots()[-1].folder


class _FineTuning(Tuning):
    """One call's part of a run."""

    def __init__(self, config: FineTuneConfig, model: torch.nn.Module, pairs: Pairs, run: RunFolder) -> None:
        self.inputs = [ended(ids, config.max_input, config.eos) for ids in pairs.inputs]
        self.targets = [ended(ids, config.max_target, config.eos) for ids in pairs.targets]
        lengths = np.fromiter(map(len, self.inputs), np.int64, len(self.inputs))
        super().__init__(config, model, np.arange(len(lengths)), lengths, config.steps, run)
        self.config = config

    def batch_loss(self, rows: NDArray[np.int64]) -> torch.Tensor:
        longest = self.padded(int(self.lengths[rows].max()), self.config.max_input)
        inputs = padded([self.inputs[row] for row in rows], longest, self.config.pad)
        targets = [self.targets[row] for row in rows]
        wide = self.padded(max(map(len, targets)), self.config.max_target)
        labels = padded(targets, wide, _IGNORED)
        where = {"device": self.device, "non_blocking": True}
        return self.model(
            input_ids=torch.from_numpy(inputs).to(**where),
            attention_mask=torch.from_numpy((inputs != self.config.pad).astype(np.int64)).to(**where),
            labels=torch.from_numpy(labels).to(**where),
            use_cache=False,
        ).loss


def _digest(pairs: Pairs) -> str:
    """Return a name for all that is trained on."""
    digest = hashlib.sha256()
    for side in pairs:
        digest.update(np.fromiter(map(len, side), np.int64, len(side)).tobytes())
        for ids in side:
            digest.update(np.ascontiguousarray(ids, np.int32).tobytes())
    return digest.hexdigest()[:32]
