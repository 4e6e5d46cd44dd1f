"""Divergence: the rule against a loop that states it, healthy curves, and runs that do diverge."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.models.snapshots import read_snapshots
from curation_assets.models.t5 import load
from curation_assets.pretraining.config import RuntimeConfig, TrainConfig
from curation_assets.pretraining.divergence import last_good, risen, window
from curation_assets.pretraining.trainer import train
from curation_assets_tests.pretraining.small_run import CONFIG, stream

CPU = RuntimeConfig(device="cpu", flush_steps=7)


def curve(*parts):
    """Return the losses of (count, first, last) pieces, one after another."""
    return np.concatenate([np.linspace(first, last, count) for count, first, last in parts]).astype(
        np.float32
    )


def by_loop(losses, steps, warmup):
    width = max(20, round(0.02 * steps))
    for step in range(warmup + width, len(losses) + 1):
        if losses[step - width : step].astype(float).mean() > losses[0] + 1.0:
            return step
    return None


@given(st.integers(0, 2**32 - 1), st.integers(1, 3000), st.floats(0, 0.5), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_the_verdict_is_that_of_a_loop_however_often_it_is_asked_for(seed, steps, warm, flush):
    rng = np.random.default_rng(seed)
    losses = (8 + rng.normal(0, 0.5, steps).cumsum() * rng.random()).astype(np.float32)
    warmup = round(warm * steps)
    wanted = by_loop(losses, steps, warmup)
    asked = (risen(losses[: min(low + flush, steps)], low, steps, warmup) for low in range(0, steps, flush))
    assert next((step for step in asked if step is not None), None) == wanted


def test_the_window_is_two_per_cent_and_at_least_20_steps():
    assert [window(steps) for steps in (20, 1000, 1001, 65_536)] == [20, 20, 20, 1311]


@given(st.integers(0, 2**32 - 1), st.integers(20, 400))
@settings(max_examples=60, deadline=None)
def test_healthy_curves_pass(seed, steps):
    """From ln V downwards, noise of a batch of 50 targets on top, a spike of 6 nats, and nothing learnt in a third of them."""
    rng = np.random.default_rng(seed)
    falling = 3 + 7.9 * np.exp(-np.arange(steps) / rng.uniform(2, 100))
    losses = np.where(seed % 3 == 0, 10.9, falling) + rng.normal(0, 0.15, steps)
    losses[rng.integers(1, steps)] += 6
    assert risen(losses.astype(np.float32), 0, steps, 0) is None


def test_the_last_good_step_is_the_one_before_the_rise():
    assert last_good(curve((100, 10, 2), (30, 9, 40))) == 100
    assert last_good(curve((100, 10, 2), (50, 2.0, 4.5), (30, 5, 40))) == pytest.approx(120, abs=6)
    assert last_good(curve((1, 5, 5), (30, 40, 80))) == 1
    assert last_good(curve((3, 5, 4.9), (10, 1000, 2000), (30, 5.1, 5.1))) == 3, (
        "dead, and as good as guessing"
    )
    assert last_good(curve((3, 10, 9), (1, 12, 12), (60, 9, 3), (10, 20, 90))) == 64, (
        "it recovered and learnt"
    )
    assert last_good(np.empty(0, np.float32)) == 0


def test_a_run_that_diverges_is_stopped_and_nothing_of_it_is_kept(tmp_path):
    """A learning rate of 2 sends the small run's loss from 5.5 to hundreds of nats, all of them finite."""
    config = dataclasses.replace(CONFIG, learning_rate=2.0)
    execution = dataclasses.replace(CPU, resume_seconds=0.0)
    with pytest.raises(FloatingPointError, match=r"step 24 of 40: the mean loss of 20 steps is \d+") as error:
        train(config, stream(), tmp_path, execution=execution)
    assert "there is no snapshot from before. Lower learning_rate (2.0)" in str(error.value)
    assert not read_snapshots(tmp_path)
    assert not list(tmp_path.glob("resume-*"))
    assert np.isfinite(np.load(tmp_path / "losses.npy")).sum() == 24, "the rise can be looked at"


def test_what_is_from_before_the_divergence_stays(tmp_path, monkeypatch):
    rate = TrainConfig.rate
    monkeypatch.setattr(TrainConfig, "rate", lambda self, step: 1.0 if step >= 31 else rate(self, step))
    config = dataclasses.replace(CONFIG, tokens=70 * CONFIG.tokens_per_step, snapshots=(0.1, 0.4, 0.5))
    with pytest.raises(
        FloatingPointError, match=r"step 37 of 70.*the last good snapshot is .*step-000028\. Lower"
    ):
        train(config, stream(), tmp_path, execution=CPU)
    assert [snapshot.step for snapshot in read_snapshots(tmp_path)] == [7, 28], "not 35, from after it"
    assert all(torch.isfinite(p).all() for p in load(tmp_path / "step-000028").parameters())
    monkeypatch.undo()
    result = train(config, stream(), tmp_path, execution=CPU)
    assert result.resumed_from == 0, "the one resume point was from after it"
    assert [snapshot.step for snapshot in result.snapshots] == [7, 28, 35, 70]


def test_a_healthy_run_has_the_losses_that_it_always_had(tmp_path):
    """Those of the trainer before it looked for divergence; another machine's arithmetic differs in the last digits."""
    train(CONFIG, stream(), tmp_path, execution=CPU)
    losses = np.load(tmp_path / "losses.npy")
    wanted = [5.537486, 5.454000, 5.212524, 4.525298, 3.865772, 3.651308]
    np.testing.assert_allclose(losses[[0, 1, 2, 9, 19, 39]], wanted, rtol=2e-3)
