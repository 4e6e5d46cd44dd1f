"""The loop of every fine-tuning: a T5, rows that are read for a number of steps, and a folder that survives a kill.

A batch is a function of (seed, step): a killed run ends with the bits of one left alone, on the CPU of one machine with one
thread count. What a batch's loss is, is the subclass's part.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from curation_assets.common.hashing import noise
from curation_assets.common.progress import Progress
from curation_assets.models.fusing import fuse_layers
from curation_assets.pretraining.optimizer import ScaledAdamW, learning_rate
from curation_assets.pretraining.run_folder import RunFolder

_WINDOW = 8  # batches among which rows of like length are brought together


@dataclass(frozen=True)
class Recipe:
    """What every fine-tuning is told; the defaults are T5's (Raffel et al. 2020, section 3.1.3)."""

    batch_size: int = 128
    """Rows of a step, at most."""
    learning_rate: float = 1e-3
    """The peak, relative to the size of each parameter (`ScaledAdamW`)."""
    final_learning_rate: float = 1e-3
    warmup_share: float = 0.0
    """Of the steps."""
    clip_norm: float = 1.0
    seed: int = 0
    """Of the order of rows."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        for name in ("batch_size", "learning_rate", "clip_norm"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if not 0 <= self.warmup_share < 1:
            raise ValueError(f"warmup_share must lie in [0, 1), not {self.warmup_share}")

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return learning_rate(
            step,
            steps=steps,
            warmup=round(self.warmup_share * steps),
            peak=self.learning_rate,
            final=self.final_learning_rate,
        )


def epoch_batches(
    lengths: NDArray[np.integer], batch_size: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Return the rows of each batch of an epoch: every row once, in batches whose sizes differ by at most 1.

    Rows are shuffled, sorted by length among those of 8 batches, and the batches are shuffled again.
    """
    n, count = len(lengths), math.ceil(len(lengths) / batch_size)
    keys = noise(np.arange(n + count, dtype=np.uint64) + np.uint64(epoch * (n + count)), seed)
    pieces = np.array_split(np.argsort(keys[:n], kind="stable"), count)
    batches: list[NDArray[np.int64]] = []
    for low in range(0, count, _WINDOW):
        window = np.concatenate(pieces[low : low + _WINDOW])
        ends = np.cumsum([len(piece) for piece in pieces[low : low + _WINDOW]])
        batches += np.split(window[np.argsort(lengths[window], kind="stable")], ends[:-1])
    return [batches[k] for k in np.argsort(keys[n:], kind="stable")]


class Tuning:
    """One call's part of a run.

    Parameters
    ----------
    recipe, steps
        How, and for how long.
    model
        On its device; it is trained in place, from the folder's resume point if there is one.
    rows, lengths : int64[t], int64[n]
        The rows to train on, and the length of every row.
    run
        The run's folder, locked and claimed.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: Any,
        rows: NDArray[np.int64],
        lengths: NDArray[np.int64],
        steps: int,
        run: RunFolder,
    ) -> None:
        self.recipe, self.model, self.rows, self.lengths, self.steps = recipe, model, rows, lengths, steps
        self.run_folder = run
        self.per_epoch = math.ceil(len(rows) / recipe.batch_size)
        self.device = next(model.parameters()).device
        self.on_gpu = self.device.type == "cuda"
        fuse_layers(model, self.device)
        self.bucket = 32 if self.on_gpu else 1  # to which lengths are padded: fewer shapes on a GPU
        self.parameters = list(model.parameters())
        self.optimizer = ScaledAdamW(self.parameters, lr=recipe.learning_rate)
        self.start = run.read_resume(model, self.optimizer)
        self.losses = run.open_losses(steps, self.start)
        self._recent: list[torch.Tensor] = []  # losses that are still on the device

    def batch_loss(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return the mean loss of a batch."""
        raise NotImplementedError

    def epoch_ended(self, step: int) -> None:
        """Do what is to be done after each epoch, and after the last step."""

    def train(self, resume_seconds: float, progress: Progress, unit: str) -> int:
        """Train to the end; return the step that training began at. Progress is told in rows, called `unit`s."""
        saved, total = time.monotonic(), self.steps * len(self.rows) / self.per_epoch
        batches: list[NDArray[np.int64]] = []
        for step in range(self.start, self.steps):
            if step % self.per_epoch == 0 or not batches:
                batches = self._batches(step // self.per_epoch)
            self._train_step(step, batches[step % self.per_epoch])
            done = step + 1
            last, epoch = done == self.steps, done % self.per_epoch == 0
            due = last or time.monotonic() - saved >= resume_seconds
            if due or epoch:
                loss = self._flush(done)
                progress(total * done / self.steps, total, unit, f"loss {loss:.3f}")
            if last or epoch:
                self.epoch_ended(done)
            if due:
                self.losses.flush()  # type: ignore[attr-defined]  # a memory map
                self.run_folder.write_resume(self.model, self.optimizer, done)
                saved = time.monotonic()
        return self.start

    def padded(self, longest: int, limit: int) -> int:
        """Return the length that a batch is padded to."""
        return min(-(-longest // self.bucket) * self.bucket, limit)

    def _batches(self, epoch: int) -> list[NDArray[np.int64]]:
        batches = epoch_batches(self.lengths[self.rows], self.recipe.batch_size, self.recipe.seed, epoch)
        return [self.rows[part] for part in batches]

    def _train_step(self, step: int, rows: NDArray[np.int64]) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16) if self.on_gpu else nullcontext():
            loss = self.batch_loss(rows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip_norm, foreach=True)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(step, self.steps)
        self.optimizer.step()
        self._recent.append(loss.detach())

    def _flush(self, step: int) -> float:
        """Fetch, check and log the losses since the last flush; return their mean."""
        recent = torch.stack(self._recent).cpu().numpy()
        first = step - len(recent)
        self._recent.clear()
        weights = torch.stack(torch._foreach_norm(self.parameters)).isfinite().all()
        if not (np.isfinite(recent).all() and weights):
            raise FloatingPointError(
                f"{self.run_folder.path}: training diverged between steps {first} and {step} of {self.steps}: lower "
                f"learning_rate ({self.recipe.learning_rate}) or raise warmup_share, in another folder"
            )
        self.losses[first:step] = recent
        return float(recent.mean(dtype=np.float64))
