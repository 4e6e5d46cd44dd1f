"""Counted operations: against torch's own counter, and against a count made by hand."""

import dataclasses
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from curation_assets.models.t5 import V1_1, Shape, build, parameter_count
from curation_assets.pretraining import flops
from curation_assets.pretraining.flops import device_flops, forward_flops, training_flops
from curation_assets.pretraining.trainer import mean_loss
from curation_assets_tests.pretraining.small_run import CONFIG

SHAPES = [
    (Shape(d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=3), 50, 7, 5),
    (Shape(d_model=12, d_kv=4, d_ff=40, num_layers=1, num_heads=2), 31, 4, 9),
    (Shape(d_model=8, d_kv=16, d_ff=8, num_layers=3, num_heads=1), 64, 1, 1),
]


@pytest.mark.parametrize(("shape", "vocabulary", "inputs", "targets"), SHAPES)
def test_it_counts_what_torch_counts(shape, vocabulary, inputs, targets):
    """With unfused attention: torch does not count the fused one of a CPU."""
    model = build(shape, vocabulary, 0)
    batch = 3
    read, write = torch.full((batch, inputs), 5), torch.full((batch, targets), 6)
    wanted = batch * forward_flops(shape, vocabulary, inputs, targets)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as forward, torch.no_grad():
        mean_loss(model, read, write, 0)
    assert forward.get_total_flops() == wanted
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as both:
        mean_loss(model, read, write, 0).backward()
    assert both.get_total_flops() == 3 * wanted


def test_a_model_of_ones_is_counted_by_hand():
    """3 inputs, 2 targets, all sizes 1: 2 x (encoder 3 x 7 + 2 x 9, decoder 2 x 7 + 2 x 4, cross 2 x 2 + 2 x 3 + 2 x 6, head 2)."""
    ones = Shape(d_model=1, d_kv=1, d_ff=1, num_layers=1, num_heads=1)
    assert forward_flops(ones, 1, 3, 2) == 2 * (21 + 18 + 14 + 8 + 4 + 6 + 12 + 2)


def test_large_models_cost_about_two_flops_per_parameter_and_token():
    """The rule of thumb, per stack; keys and values of the cross-attention are made of encoder tokens."""
    shape, vocabulary = V1_1["xxl"], 32_128
    attention, feed_forward = 4 * 4096 * 4096, 3 * 4096 * 10240
    encoder, decoder = 24 * (1.5 * attention + feed_forward), 24 * (1.5 * attention + feed_forward)
    assert encoder + decoder == pytest.approx(parameter_count(shape, vocabulary, embeddings=False), rel=1e-3)
    thumb = 2 * (512 * encoder + 114 * (decoder + vocabulary * 4096))
    assert forward_flops(shape, vocabulary, 512, 114) == pytest.approx(thumb, rel=0.08)


@given(st.floats(1, 2000), st.floats(1, 500), st.floats(1.01, 3))
@settings(max_examples=30, deadline=None)
def test_longer_sequences_cost_more_than_in_proportion(inputs, targets, factor):
    shape = V1_1["small"]
    one = forward_flops(shape, 32_128, inputs, targets)
    assert forward_flops(shape, 32_128, factor * inputs, factor * targets) > factor * one * (1 - 1e-12)


def test_a_run_costs_three_forward_passes_of_every_sequence():
    one = forward_flops(CONFIG.shape, CONFIG.vocab_size, 32, 8)
    assert CONFIG.raw_length == 34
    assert training_flops(CONFIG) == pytest.approx(3 * 40 * 4 * one)
    assert training_flops(dataclasses.replace(CONFIG, tokens=1)) == pytest.approx(3 * 4 * one)


def test_the_rate_of_a_device_is_measured_once_for_each_thread_count(monkeypatch):
    flops._measure.cache_clear()
    monkeypatch.setattr(flops, "_seconds", lambda a, b: times.append(a.shape) or 2.0 ** -len(times))
    times = []
    torch.manual_seed(7)
    before = torch.get_rng_state()
    rate = device_flops("cpu", torch.float32)
    assert torch.equal(torch.get_rng_state(), before), "the global generator is the caller's"
    assert rate == device_flops(torch.device("cpu"), torch.float32)
    assert times == [(512, 512)] * 4
    assert rate == 2 * 512**3 / 2.0**-4, "the best of the last three"
    times.clear()
    torch.set_num_threads(2)
    device_flops("cpu", torch.float32)
    assert len(times) == 4
    torch.set_num_threads(1)
    flops._measure.cache_clear()


def test_measuring_takes_a_fraction_of_a_second():
    flops._measure.cache_clear()
    start = time.process_time()
    rate = device_flops("cpu", torch.float32)
    assert 1e8 < rate < 1e14
    assert time.process_time() - start < 1.0  # 0.3 s, and room for other work on the same cores
