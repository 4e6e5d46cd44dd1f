"""Layers of transformers' models in one kernel instead of many, for accelerators: there such layers cost as much time as the matrix products.

Moved bytes decide (`python -m benchmarks.roofline`): `gelu_new` is eight passes over the widest activation, a T5 layer norm seven with copies in float32. Values change by rounding
alone, and on a CPU nothing is changed.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import nn

_NORMS = (
    "T5LayerNorm",
    "LlamaRMSNorm",
    "MistralRMSNorm",
    "Qwen2RMSNorm",
)  # weight * x / rms(x); Gemma's is another
_ACTIVATIONS = ("NewGELUActivation", "FastGELUActivation")  # both are the tanh approximation


def fuse_layers(model: Any, device: torch.device) -> Any:
    """Replace, in place and on CUDA alone, norms and activations that torch has a kernel for, and lay a T5's bias out once; names of weights stay."""
    return _fuse(model) if device.type == "cuda" else model


def _fuse(model: nn.Module) -> nn.Module:
    children: list[tuple[nn.Module, str, Any]] = [
        (p, *named) for p in model.modules() for named in p.named_children()
    ]
    for parent, name, child in children:
        kind = type(child).__name__
        if kind in _NORMS:
            setattr(parent, name, _norm(child))
        elif kind in _ACTIVATIONS:
            setattr(parent, name, nn.GELU(approximate="tanh"))
        elif kind == "T5Attention" and child.has_relative_attention_bias:
            child.compute_bias = MethodType(
                _contiguous_bias, child
            )  # which a copy of the model has for itself
    return model


def _contiguous_bias(attention: Any, *arguments: Any, **options: Any) -> torch.Tensor:
    """Lay the positions' bias out as attention reads it: else each layer copies its mask, [rows, heads, length, length], once more."""
    bias: torch.Tensor = type(attention).compute_bias(attention, *arguments, **options)
    return bias.contiguous()


def _norm(layer: Any) -> nn.RMSNorm:
    norm = nn.RMSNorm(layer.weight.shape, eps=layer.variance_epsilon, device="meta")
    norm.weight = layer.weight
    return norm.train(layer.training)
