"""Pre-training a T5: the trainer against `transformers.Trainer`, with the same weights, batches, optimizer and schedule."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.comparison import READY, Comparison

_STEPS = 24


def _config(steps: int) -> Any:
    from dataclasses import replace

    from benchmarks.bench_training import CONFIG

    return replace(CONFIG, tokens=steps * CONFIG.tokens_per_step)


def ours(folder: Path) -> Iterator[np.ndarray]:
    """Yield the loss of each step. Batches are made and corrupted on the way, and the weights are kept at the end."""
    from benchmarks.bench_training import random_stream
    from curation_assets.pretraining.config import RuntimeConfig
    from curation_assets.pretraining.trainer import read_losses, train

    stream, execution = random_stream(2000), RuntimeConfig(device="cpu")
    with tempfile.TemporaryDirectory() as scratch:
        train(_config(2), stream, f"{scratch}/first", execution=execution)
        yield READY
        train(_config(_STEPS), stream, f"{scratch}/run", execution=execution)
        yield read_losses(f"{scratch}/run", _config(_STEPS))["loss"]


def hf_trainer(folder: Path) -> Iterator[np.ndarray]:
    """Yield the loss of each step. Its library corrupts no spans: it is given batches that are ready, before the time is taken."""
    import torch
    from transformers import Trainer, TrainingArguments, set_seed

    from curation_assets.models.t5 import build
    from curation_assets.pretraining.optimizer import ScaledAdamW

    def run(examples: list[dict[str, Any]], steps: int, scratch: str) -> list[float]:
        config = _config(steps)
        model = build(config.shape, config.vocab_size, config.seed).train()
        optimizer = ScaledAdamW(model.parameters(), lr=config.learning_rate, betas=config.betas)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: config.rate(min(step, steps - 1)) / config.learning_rate
        )
        arguments = TrainingArguments(
            output_dir=scratch,
            max_steps=steps,
            per_device_train_batch_size=config.batch_size,
            max_grad_norm=config.clip_norm,
            train_sampling_strategy="sequential",
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = Trainer(
            model=model, args=arguments, train_dataset=examples, optimizers=(optimizer, schedule)
        )
        trainer.train()
        return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

    set_seed(0)
    examples = _examples(_STEPS)
    with tempfile.TemporaryDirectory() as scratch:
        run(examples, 2, scratch)
        yield READY
        yield np.array(run(examples, _STEPS, scratch))


def _examples(steps: int) -> list[dict[str, Any]]:
    """Return the sequences of our trainer's batches, corrupted as it does it."""
    from benchmarks.bench_training import random_stream
    from curation_assets.models import span_corruption

    config, stream, examples = _config(steps), random_stream(2000), []
    for step in range(steps):
        tokens = stream.batch(step, config.batch_size, config.raw_length)
        keys = span_corruption.batch_keys(config.seed, step, np.arange(len(tokens)))
        mask = span_corruption.noise_mask(
            keys, config.raw_length, config.noise_density, config.mean_noise_span
        )
        made = span_corruption.corrupt(tokens, mask, eos=config.eos, first_sentinel=config.first_sentinel)
        examples += [{"input_ids": one, "labels": other} for one, other in zip(*made, strict=True)]
    return examples


def agreement(folder: Path, one: np.ndarray, other: np.ndarray) -> str:
    """Compare losses step by step; theirs are logged with some digits."""
    apart = np.abs(one - other)
    return (
        f"losses of {len(one)} steps, from {one[0]:.3f} to {one[-1]:.3f}, differ by at most {apart.max():.0e}"
    )


_WORK = f"{_STEPS} steps of the local profile's smallest T5, 16 x 141 raw tokens"
COMPARISONS = (Comparison("transformers.Trainer", "transformers", _WORK, ours, hf_trainer, agreement),)
