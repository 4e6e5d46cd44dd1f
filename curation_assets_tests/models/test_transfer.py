"""Batches to a device and back, and masks that nobody has to wait for; what CUDA would do is counted on a CPU."""

import copy

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from curation_assets.models import fusing
from curation_assets.models.t5 import Shape, build
from curation_assets.models.transfer import fetched, padding_mask, to_device

SHAPE = Shape(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
IDS = torch.arange(48).reshape(3, 16) + 2
MASK = torch.ones(3, 16, dtype=torch.long)
MASK[1, 9:] = 0
START = torch.zeros(3, 1, dtype=torch.long)


class Operations(TorchDispatchMode):
    """Count the operations that a model starts, and those for whose result the host waits."""

    def __enter__(self):
        self.started, self.waits = 0, 0
        return super().__enter__()

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.started += 1
        self.waits += function.overloadpacket.__name__ in (
            "_local_scalar_dense",
            "is_nonzero",
            "nonzero",
            "equal",
        )
        return function(*arguments, **(options or {}))


def read(model, mask):
    with torch.inference_mode(), Operations() as counted:
        logits = model(input_ids=IDS, attention_mask=mask, decoder_input_ids=START, use_cache=False).logits
    return logits, counted


def test_a_mask_in_four_dimensions_says_the_same_and_nobody_waits_for_it():
    model = build(SHAPE, 60, 0).eval()
    plain, waiting = read(model, MASK)
    ready, free = read(model, padding_mask(model, MASK))
    assert torch.equal(plain, ready)
    assert waiting.waits == 2 and free.waits == 0
    assert not torch.equal(ready, read(model, None)[0])


def test_a_decoder_alone_keeps_its_mask():
    model = LlamaForCausalLM(
        LlamaConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=1, vocab_size=60)
    )
    assert padding_mask(model, MASK) is MASK


def test_results_come_in_order_with_their_batches():
    seen = []
    launched = fetched(
        iter([3, 1, 2]), lambda batch: seen.append(batch) or torch.full((batch,), float(batch))
    )
    assert [(batch, result.tolist()) for batch, result in launched] == [
        (3, [3.0] * 3),
        (1, [1.0]),
        (2, [2.0] * 2),
    ]
    assert seen == [3, 1, 2]
    assert list(fetched([], torch.zeros)) == []


def test_on_a_device_the_next_batch_is_launched_before_a_result_is_fetched():
    events = []

    class Result:
        device = torch.device("cuda")

        def __init__(self, batch):
            self.batch = batch
            events.append(f"launch {batch}")

        def cpu(self):
            events.append(f"fetch {self.batch}")
            return torch.tensor(self.batch)

    assert [int(result) for _, result in fetched([1, 2, 3], Result)] == [1, 2, 3]
    assert events == ["launch 1", "launch 2", "fetch 1", "launch 3", "fetch 2", "fetch 3"]


def test_an_array_comes_to_a_cpu_without_a_copy():
    array = np.arange(6.0)
    assert to_device(array, torch.device("cpu")).data_ptr() == array.ctypes.data


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fused_layers_compute_the_same_in_fewer_operations_under_the_same_names(dtype):
    """As a hub model has them: transformers' own norms, and gelu_new in eight operations."""
    config = T5Config(**vars(SHAPE), vocab_size=60, feed_forward_proj="gated-gelu")
    torch.manual_seed(0)
    model = T5ForConditionalGeneration(config).eval()
    for parameter in model.parameters():  # norms begin as ones
        parameter.data += 0.1 * torch.randn_like(parameter)
    model, names = model.to(dtype), list(model.state_dict())
    plain, many = read(model, None)
    assert (
        fusing.fuse_layers(model, torch.device("cpu")) is model
        and read(model, None)[1].started == many.started
    )
    fused, few = read(fusing._fuse(model), None)
    assert list(model.state_dict()) == names
    scale = float(plain.float().std())
    torch.testing.assert_close(
        fused.float(), plain.float(), rtol=0, atol=scale * (1e-4 if dtype == torch.float32 else 0.1)
    )
    assert few.started < many.started - 2 * 7 * 2


def test_a_copy_of_a_fused_model_has_its_own_positions():
    model = fusing._fuse(build(SHAPE, 60, 0).eval())
    ours, theirs = (one.encoder.block[0].layer[0].SelfAttention for one in (model, copy.deepcopy(model)))
    before = ours.compute_bias(5, 5)
    with torch.no_grad():
        theirs.relative_attention_bias.weight += 1
    assert torch.equal(ours.compute_bias(5, 5), before)
    torch.testing.assert_close(theirs.compute_bias(5, 5), before + 1)
    assert before.is_contiguous()


def test_a_llama_is_fused_too():
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2, vocab_size=60)
    ).eval()
    with torch.inference_mode():
        plain = model(IDS).logits
        assert sum(isinstance(m, torch.nn.RMSNorm) for m in fusing._fuse(model).modules()) == 5
        torch.testing.assert_close(model(IDS).logits, plain)
