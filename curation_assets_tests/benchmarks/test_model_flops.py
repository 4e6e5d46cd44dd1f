"""Counted operations: against torch's own counter on small models, and against counts made by hand."""

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import MistralConfig, MistralForCausalLM, T5Config, T5EncoderModel

from benchmarks import model_flops, roofline
from benchmarks.gpu_rows import TINY
from benchmarks.model_flops import MISTRAL_7B, Decoder, decoder_flops, encoder_flops, pair_flops, span_flops
from curation_assets.models.t5 import V1_1, Shape, build, first_logits
from curation_assets.pretraining.flops import forward_flops


def counted(work):
    """Return torch's count, with unfused attention: the fused one of a CPU is not counted."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        work()
    return counter.get_total_flops()


@pytest.mark.parametrize(("kv_heads", "predicted"), [(4, 1), (2, 9)])
def test_a_decoder_is_counted_as_torch_counts_it(kv_heads, predicted):
    shape = Decoder(hidden=32, ff=48, layers=2, heads=4, kv_heads=kv_heads, vocabulary=51)
    config = MistralConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=kv_heads,
        vocab_size=51,
    )
    model, ids = MistralForCausalLM(config), torch.full((3, 9), 7)
    assert counted(lambda: model(ids, use_cache=False, logits_to_keep=predicted)) == pytest.approx(
        3 * decoder_flops(shape, 9, predicted), rel=0.002
    )  # torch counts the angles of the rotary positions as a product


@pytest.mark.parametrize(("activation", "matrices"), [("relu", 2), ("gated-gelu", 3)])
def test_an_encoder_is_counted_as_torch_counts_it(activation, matrices):
    shape = Shape(d_model=24, d_kv=8, d_ff=40, num_layers=2, num_heads=3)
    model = T5EncoderModel(T5Config(**vars(shape), vocab_size=50, feed_forward_proj=activation))
    ids = torch.full((3, 11), 7)
    assert counted(lambda: model(ids)) == 3 * encoder_flops(shape, 11, matrices=matrices)


def test_a_question_and_a_likelihood_are_counted_as_torch_counts_them():
    shape = Shape(d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=3)
    model, lengths = build(shape, 50, 0).requires_grad_(False), [5, 9]
    asked = sum(counted(lambda n=n: first_logits(model, torch.full((1, n), 7), None, 0)) for n in lengths)
    assert asked == model_flops.ask_flops(shape, 50, lengths)
    # 20 raw tokens: 3 of noise in 1 span; 17 and a sentinel and the end are read, 3 and a sentinel and the end predicted.
    assert span_flops(shape, 50, np.array([20, 20])) == 2 * forward_flops(shape, 50, 19, 5)


def test_by_hand():
    """All sizes 1, 3 tokens, 1 predicted: 2 x (3 x (2 + 2 + 3) + 2 x 9 + 1)."""
    assert decoder_flops(Decoder(1, 1, 1, 1, 1, 1), 3, 1) == 2 * (21 + 18 + 1)
    assert encoder_flops(Shape(1, 1, 1, 1, 1), 3, matrices=2) == 2 * (3 * 6 + 2 * 9)
    assert pair_flops(np.array([1, 2, 4]), 10) == 2 * 10 * (0 + 1 + 6)
    assert model_flops.sketch_flops(3, 5, 7) == 2 * 105 == model_flops.nearest_flops(3, 5, 7)


def test_the_real_shapes_have_the_sizes_that_they_are_known_by():
    """7.24 billion parameters of Mistral 7B, of which 131 million are looked up; two operations each for a token."""
    per_token = decoder_flops(MISTRAL_7B, 1, 1) / 2
    assert per_token == pytest.approx(7.24e9 - 32000 * 4096, rel=0.001)
    encoder = encoder_flops(V1_1["xl"], 1, matrices=3) / 2
    assert encoder == pytest.approx(24 * (4 * 2048 * 2048 + 3 * 2048 * 5120), rel=0.001)


def test_fused_layers_move_fewer_bytes():
    """By the roofline at small shapes, where nearly all of the time is memory's: norms and activations are a good part of it."""
    shape = Shape(d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4)
    (plain, slow), (fused, fast) = (roofline.ask(shape, 100, kind, 2048, 64) for kind in (False, True))
    assert 0 < plain < fused < 1
    assert slow["pow"] > 0 and not fast["pow"] and not fast["tanh"]
    assert slow["mm"] == pytest.approx(fast["mm"]) and fast["clone"] < slow["clone"]
    assert "Flan-T5-xl" in roofline.report(TINY, 256, 32)
