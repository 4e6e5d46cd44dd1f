"""What a GPU can reach at most by what a forward pass moves and multiplies, counted without a GPU: `python -m benchmarks.roofline`.

The scorers' models at their real shapes on torch's meta device, which computes shapes alone. Each operation takes as long as its products
at the rate of matrices, or as its bytes at the memory's, whichever is more: launches, tokenizing and copies are not in it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.gpu_estimate import GEMM, markdown
from benchmarks.gpu_rows import REAL, Sizes
from benchmarks.model_flops import ask_flops
from curation_assets.models import fusing, t5
from curation_assets.models.t5 import Shape

MEMORY = 3.0e12  # bytes a second that an H100's memory gives a good kernel, of 3.35e12
TOKENS, LENGTH = 65_536, 512
aten = torch.ops.aten
_WHOLE = (
    aten.scaled_dot_product_attention,
    aten.rms_norm,
)  # one kernel on a GPU, many operations on the meta device


class Roofline(TorchDispatchMode):
    """Adds up the least time of each operation, by its name, in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        options, packet = options or {}, function.overloadpacket
        if packet not in _WHOLE and packet not in flop_registry and function._can_decompose():
            with self:
                inner = function.decompose(*arguments, **options)
            if inner is not NotImplemented:
                return inner
        result = function(*arguments, **options)
        if not function.is_view and packet is not aten._unsafe_view:
            moved = sum(_bytes(tensor) for tensor in _tensors((arguments, options, result)))
            count = _attention if packet is _WHOLE[0] else flop_registry.get(packet)
            flops = float(count(*arguments, **options, out_val=result)) if count else 0.0
            self.seconds[packet.__name__] += max(flops / GEMM, moved / MEMORY)
        return result


def _attention(query: torch.Tensor, key: torch.Tensor, *_: Any, **__: Any) -> int:
    return 4 * query.numel() * key.shape[-2]


def _tensors(value: Any) -> list[torch.Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def _bytes(tensor: torch.Tensor) -> int:
    """Return what is read of a tensor: of one that is repeated by a stride of 0, once."""
    return min(tensor.untyped_storage().nbytes(), tensor.numel() * tensor.element_size())


def ask(
    shape: Shape, vocabulary: int, fused: bool, tokens: int = TOKENS, length: int = LENGTH
) -> tuple[float, dict[str, float]]:
    """Return which share of the matrix rate a batch of Ask-LLM can reach, and the seconds of each operation."""
    from transformers import T5ForConditionalGeneration

    config = t5.t5_config(shape, vocabulary)
    with torch.device("meta"):
        model: torch.nn.Module = T5ForConditionalGeneration(config).to(torch.bfloat16).eval()
        model = fusing._fuse(model) if fused else model
        rows = tokens // length
        ids = torch.zeros(rows, length, dtype=torch.long)
        with torch.inference_mode(), Roofline() as counted:
            t5.first_logits(model, ids, torch.ones_like(ids), 0)
    least = ask_flops(shape, vocabulary, [length] * rows) / GEMM
    return least / sum(counted.seconds.values()), counted.seconds


def report(sizes: Sizes = REAL, tokens: int = TOKENS, length: int = LENGTH) -> str:
    """Return a table of Ask-LLM at Large and XL, as transformers has the layers and as they are here."""
    lines = []
    for name in ("large", "xl"):
        for fused in (False, True):
            share, seconds = ask(getattr(sizes, name), sizes.vocabulary, fused, tokens, length)
            whole = sum(seconds.values())
            top = ", ".join(
                f"`{op}` {part / whole:.0%}"
                for op, part in sorted(seconds.items(), key=lambda one: -one[1])[:5]
            )
            lines.append([f"Flan-T5-{name}", "fused" if fused else "as it comes", f"{share:.0%}", top])
    return markdown(["Ask-LLM", "layers", "of GEMM at most", "where the time goes"], lines)


if __name__ == "__main__":
    print(report())
