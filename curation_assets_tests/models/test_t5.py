"""Models against transformers' own and against the published sizes."""

import pytest
import torch

from curation_assets.models import t5
from curation_assets.models.t5 import V1_1, Shape, build, load, parameter_count, save, t5_config

SHAPE = Shape(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)


def batch():
    generator = torch.Generator().manual_seed(0)
    return (torch.randint(2, 300, shape, generator=generator) for shape in ((3, 12), (3, 7)))


def test_the_architecture_is_v1_1():
    model = build(SHAPE, 300, 0)
    assert model.encoder.embed_tokens.weight is model.shared.weight
    assert model.decoder.embed_tokens.weight is model.shared.weight
    assert model.lm_head.weight is not model.shared.weight
    config = t5_config(SHAPE, 300)
    assert (config.feed_forward_proj, config.dropout_rate, config.scale_decoder_outputs) == (
        "gated-gelu",
        0.0,
        False,
    )
    assert sum(p.numel() for p in model.parameters()) == parameter_count(SHAPE, 300)


def test_parameter_counts_are_those_of_google_t5_v1_1():
    millions = {name: round(parameter_count(shape, 32_128) / 1e6, 1) for name, shape in V1_1.items()}
    assert millions == {"small": 77.0, "base": 247.6, "large": 783.2, "xl": 2849.8, "xxl": 11135.3}
    assert parameter_count(SHAPE, 300, embeddings=False) == parameter_count(SHAPE, 300) - 2 * 300 * 32


def test_weights_are_a_function_of_the_seed_and_leave_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two, other = build(SHAPE, 300, 1), build(SHAPE, 300, 1), build(SHAPE, 300, 2)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.shared.weight, other.shared.weight)
    assert one.lm_head.weight.std().item() == pytest.approx(32**-0.5, rel=0.05)


def test_transformers_reads_what_is_saved(tmp_path):
    from transformers import T5ForConditionalGeneration

    model = build(SHAPE, 300, 1).eval()
    save(model, tmp_path)
    torch.manual_seed(6)
    before = torch.get_rng_state()
    ours = load(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    theirs = T5ForConditionalGeneration.from_pretrained(tmp_path).eval()
    inputs, labels = batch()
    with torch.no_grad():
        wanted, own, read = (m(input_ids=inputs, labels=labels).loss.item() for m in (model, ours, theirs))
    assert own == wanted
    assert read == pytest.approx(wanted, rel=1e-6), "transformers computes gelu_new in eight operations"


def test_bad_input_is_refused(tmp_path):
    with pytest.raises(ValueError, match="num_heads must be at least 1"):
        Shape(8, 8, 8, 1, 0)
    from safetensors.torch import load_file, save_file

    save(build(SHAPE, 300, 0), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(RuntimeError, match=r"lm_head\.weight"):
        load(tmp_path)


@pytest.mark.parametrize("scaled", [False, True], ids=["v1.1", "v1.0"])
def test_the_first_logits_are_those_of_the_whole_forward(scaled):
    model = t5.build(t5.Shape(24, 8, 48, 3, 2), 300, seed=4).eval()
    model.config.scale_decoder_outputs = scaled
    ids = torch.randint(3, 300, (3, 40), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 25:] = 0
    start = torch.full((3, 1), 7)
    whole = model(input_ids=ids, attention_mask=mask, decoder_input_ids=start, use_cache=False).logits[:, 0]
    first = t5.first_logits(model, ids, mask, 7)
    torch.testing.assert_close(first, whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(t5.first_logits(model, ids[:1], None, 7), whole[:1], rtol=1e-4, atol=1e-5)
    key = model.decoder.block[1].layer[1].EncDecAttention.k.weight
    gradients = [torch.autograd.grad(logits.logsumexp(-1).sum(), key)[0] for logits in (first, whole)]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-6)


def test_a_decoder_with_other_linear_maps_is_not_plain():
    model = t5.build(t5.Shape(16, 8, 32, 2, 2), 200, seed=0)
    assert t5.is_plain(model) and not t5.is_plain(model.encoder)
    attention = model.decoder.block[1].layer[1].EncDecAttention
    attention.k = torch.nn.Sequential(attention.k)
    assert not t5.is_plain(model)
