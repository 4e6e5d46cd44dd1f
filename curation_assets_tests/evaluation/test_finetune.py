"""Fine-tuning: its loss is transformers', it learns what it is shown, and a kill changes no bit."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from curation_assets.evaluation import finetune as module
from curation_assets.evaluation.answering import Answering
from curation_assets.evaluation.finetune import FineTuneConfig, Pairs, fine_tune
from curation_assets.models import t5
from curation_assets.models.tokenizer import Tokenizer

CONFIG = FineTuneConfig(
    steps=40,
    batch_size=8,
    learning_rate=2e-2,
    final_learning_rate=1e-5,
    warmup_share=0.1,
    max_input=24,
    max_target=6,
)
TRUE = {"red": "one", "blue": "two", "green": "three four"}


@pytest.fixture(scope="module")
def pairs(tokenizer: Tokenizer) -> Pairs:
    rng = np.random.default_rng(0)
    colours = rng.choice(list(TRUE), 90)
    texts = [f"number of {colour}{' ?' * int(rng.integers(4))}" for colour in colours]
    return Pairs(tokenizer.encode_batch(texts), tokenizer.encode_batch([TRUE[c] for c in colours]))


def test_it_learns_what_it_is_shown(base: Path, pairs: Pairs, tokenizer: Tokenizer, tmp_path: Path) -> None:
    told: list[tuple[float, float]] = []
    config = dataclasses.replace(CONFIG, steps=120)
    tuned = fine_tune(
        config, base, pairs, tmp_path, progress=lambda done, total, *_: told.append((done, total))
    )
    answering = Answering(t5.load(tuned), tokenizer, max_input=24)
    questions = tokenizer.encode_batch([f"number of {colour} ?" for colour in TRUE])
    assert answering.generate(questions, 6) == list(TRUE.values())
    before = Answering(t5.load(base), tokenizer, max_input=24)
    assert before.generate(questions, 6) != list(TRUE.values())
    assert told[-1][0] == told[-1][1] == pytest.approx(120 * 90 / 12)


def test_the_loss_is_that_of_transformers(
    base: Path, pairs: Pairs, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    run = module.RunFolder(tmp_path, {})
    model = t5.load(base)
    tuning = module._FineTuning(CONFIG, model, pairs, run)
    rows = np.array([3, 8, 40])
    total = tokens = 0.0
    for row in rows:
        labels = torch.tensor([[*pairs.targets[row].tolist(), tokenizer.eos_id]])
        inputs = torch.tensor([[*pairs.inputs[row].tolist(), tokenizer.eos_id]])
        total += float(model(input_ids=inputs, labels=labels).loss) * labels.shape[1]
        tokens += labels.shape[1]
    assert float(tuning.batch_loss(rows)) == pytest.approx(total / tokens, rel=1e-5)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("at", [1, 12, 30])
def test_a_killed_run_ends_with_the_same_bits(
    at: int, base: Path, pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fine_tune(CONFIG, base, pairs, tmp_path / "whole")
    step = module._FineTuning._train_step

    def dying(self: Any, number: int, rows: Any) -> None:
        if number == at:
            raise Interrupted
        step(self, number, rows)

    monkeypatch.setattr(module._FineTuning, "_train_step", dying)
    with pytest.raises(Interrupted):
        fine_tune(CONFIG, base, pairs, tmp_path / "killed", resume_seconds=0)
    monkeypatch.undo()
    again = fine_tune(CONFIG, base, pairs, tmp_path / "killed")
    first, second = (load_file(folder / "model.safetensors") for folder in (whole, again))
    assert all(torch.equal(first[name], second[name]) for name in first)
    losses = [np.load(folder.parent / "losses.npy") for folder in (whole, again)]
    assert np.array_equal(*losses) and np.isfinite(losses[0]).all() and len(losses[0]) == CONFIG.steps


def test_a_folder_has_one_owner(base: Path, pairs: Pairs, tmp_path: Path) -> None:
    short = dataclasses.replace(CONFIG, steps=2)
    first = fine_tune(short, base, pairs, tmp_path)
    assert fine_tune(short, base, pairs, tmp_path) == first
    with pytest.raises(ValueError, match="seed was 0, now 1"):
        fine_tune(dataclasses.replace(short, seed=1), base, pairs, tmp_path)
    fewer = Pairs(pairs.inputs[:50], pairs.targets[:50])
    with pytest.raises(ValueError, match="data was"):
        fine_tune(short, base, fewer, tmp_path)


def test_what_cannot_be_trained_is_refused(base: Path, pairs: Pairs, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to train on"):
        fine_tune(CONFIG, base, Pairs([], []), tmp_path)
    with pytest.raises(ValueError, match="max_target"):
        dataclasses.replace(CONFIG, max_target=1)
    with pytest.raises(ValueError, match="learning_rate"):
        dataclasses.replace(CONFIG, learning_rate=0.0)
    with pytest.raises(FloatingPointError, match="diverged"):
        wild = dataclasses.replace(CONFIG, learning_rate=1e30, warmup_share=0.0)
        fine_tune(wild, base, pairs, tmp_path / "wild")
