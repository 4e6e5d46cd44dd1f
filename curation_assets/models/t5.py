"""T5 v1.1 models from scratch: gated GELU, an output head of its own, no dropout, relative attention buckets.

transformers 5 ties T5's head to the embeddings whatever the configuration says, unless a checkpoint holds different
weights for the two, and unties even the encoder's and the decoder's embeddings when told not to tie. `build` and `load`
make what v1.1 is: one embedding for encoder and decoder, a separate head.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import T5Config, T5ForConditionalGeneration

_SHARED = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")  # the same tensor as shared.weight


@dataclass(frozen=True)
class Shape:
    """The size of a T5: `num_layers` blocks in the encoder and as many in the decoder."""

    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_heads: int

    def __post_init__(self) -> None:
        """Refuse sizes that are not positive."""
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")


V1_1 = {
    "small": Shape(d_model=512, d_kv=64, d_ff=1024, num_layers=8, num_heads=6),
    "base": Shape(d_model=768, d_kv=64, d_ff=2048, num_layers=12, num_heads=12),
    "large": Shape(d_model=1024, d_kv=64, d_ff=2816, num_layers=24, num_heads=16),
    "xl": Shape(d_model=2048, d_kv=64, d_ff=5120, num_layers=24, num_heads=32),
    "xxl": Shape(d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64),
}
"""The paper's models, google/t5-v1_1-*: library API, and for the benchmarks."""


def t5_config(shape: Shape, vocab_size: int, *, eos: int = 1, pad: int = 0) -> T5Config:
    """Return the v1.1 configuration of the given shape; the decoder starts with `pad`, as T5 does."""
    from transformers import T5Config

    settings: dict[str, Any] = asdict(shape) | {
        "vocab_size": vocab_size,
        "feed_forward_proj": "gated-gelu",
        "dropout_rate": 0.0,
        "eos_token_id": eos,
        "pad_token_id": pad,
        "decoder_start_token_id": pad,
        "tie_word_embeddings": False,  # transformers 5 reads this as: do not scale the decoder's output
    }
    return T5Config(**settings)


def parameter_count(shape: Shape, vocab_size: int, *, embeddings: bool = True) -> int:
    """Return the number of parameters, from the formula; without the two vocabulary matrices if asked."""
    inner = shape.num_heads * shape.d_kv
    attention, feed_forward = 4 * shape.d_model * inner, 3 * shape.d_model * shape.d_ff
    blocks = shape.num_layers * (3 * attention + 2 * feed_forward + 5 * shape.d_model)
    rest = 2 * shape.d_model + 2 * 32 * shape.num_heads  # final norms and the two relative attention tables
    return blocks + rest + (2 * vocab_size * shape.d_model if embeddings else 0)


def build(
    shape: Shape, vocab_size: int, seed: int, *, eos: int = 1, pad: int = 0
) -> T5ForConditionalGeneration:
    """Return a new model in float32 whose weights are a function of the arguments; the global generator is left alone.

    Initial weights are those of T5's own code: embeddings of unit variance, the head of variance 1 / d_model
    (transformers draws it with unit variance, and a first loss near 50 costs a short run much of its budget).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _untied(t5_config(shape, vocab_size, eos=eos, pad=pad))
        with torch.no_grad():
            model.lm_head.weight.normal_(std=1 / math.sqrt(shape.d_model))
    return model


def save(model: T5ForConditionalGeneration, folder: Path) -> None:
    """Write `config.json` and `model.safetensors`, which `T5ForConditionalGeneration.from_pretrained` also reads."""
    from safetensors.torch import save_file

    config = json.loads(model.config.to_json_string(use_diff=False))
    config |= {"architectures": ["T5ForConditionalGeneration"], "tie_word_embeddings": False}
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    weights = {k: v.contiguous() for k, v in model.state_dict().items() if k not in _SHARED}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def load(folder: Path | str) -> T5ForConditionalGeneration:
    """Read a model that `save` wrote, in float32 on the CPU, in evaluation mode."""
    from safetensors.torch import load_file
    from transformers import T5Config

    folder = Path(folder)
    with torch.random.fork_rng(devices=[]):
        model = _untied(T5Config.from_pretrained(folder, local_files_only=True))
    weights = load_file(folder / "model.safetensors")
    weights |= dict.fromkeys(_SHARED, weights["shared.weight"])
    model.load_state_dict(weights)  # strict: a missing or foreign weight is an error that names it
    return model.eval()


def _untied(config: T5Config) -> T5ForConditionalGeneration:
    """Make a model with a head of its own and an activation that does in one operation what gelu_new does in eight."""
    from transformers import T5ForConditionalGeneration
    from transformers.models.t5.modeling_t5 import T5DenseGatedActDense

    config.tie_word_embeddings = True
    model = T5ForConditionalGeneration(config)
    model.lm_head.weight = nn.Parameter(torch.empty_like(model.shared.weight))
    for module in model.modules():
        if isinstance(module, T5DenseGatedActDense) and config.dense_act_fn == "gelu_new":
            module.act = nn.GELU(approximate="tanh")
    return model


def is_plain(model: Any) -> bool:
    """Whether a model is a T5 whose decoder `first_logits` can read: no adapters, no quantised weights, no other architecture."""
    from transformers import T5ForConditionalGeneration

    if type(model) is not T5ForConditionalGeneration:
        return False
    blocks: Any = model.decoder.block
    crossing = [block.layer[1].EncDecAttention for block in blocks]
    return all(type(linear) is nn.Linear for one in crossing for linear in (one.k, one.v))


def first_logits(model: Any, ids: torch.Tensor, mask: torch.Tensor | None, start: int) -> torch.Tensor:
    """Return what a plain T5 in evaluation mode says of the first token of its answer, [B, vocabulary], as its own forward but for rounding.

    One token attends to itself alone, so its self-attention is its value. In the cross-attention a single query is brought to the
    encoder's states, and their weighted mean to the values, since q . (K s) = (K' q) . s: so no state is projected to a key and a
    value in each layer, which is a seventh of all products of T5-Base and larger.

    Parameters
    ----------
    ids : int64[B, L]
    mask : int64[B, L], 0 where there is nothing to read; None where there is something everywhere
    start
        The decoder's first token.
    """
    states = _encoded(model.encoder, ids, mask)
    x = model.decoder.embed_tokens.weight[start].expand(len(ids), -1)
    for block in model.decoder.block:
        own, cross, feed_forward = block.layer
        x = x + own.SelfAttention.o(own.SelfAttention.v(own.layer_norm(x)))
        attention = cross.EncDecAttention
        heads = (attention.n_heads, attention.key_value_proj_dim)
        keys, values = (linear.weight.unflatten(0, heads) for linear in (attention.k, attention.v))
        query = attention.q(cross.layer_norm(x)).unflatten(-1, heads)
        score = (torch.einsum("bhk,hkd->bhd", query, keys) @ states.mT).float()
        if mask is not None:
            score = score.masked_fill(mask[:, None] == 0, float("-inf"))
        mean = score.softmax(-1).to(states.dtype) @ states
        x = x + attention.o(torch.einsum("bhd,hkd->bhk", mean, values).flatten(1))
        x = feed_forward(x)
    x = model.decoder.final_layer_norm(x)
    return model.lm_head(x * model.model_dim**-0.5 if model.config.scale_decoder_outputs else x)


def _encoded(encoder: Any, ids: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Return the encoder's states, [B, L, d_model]; bias and mask are put together once, which its own forward does in each layer."""
    bias = _position_bias(encoder.block[0].layer[0].SelfAttention, ids.shape[1])
    if mask is not None:
        bias = bias.masked_fill(mask[:, None, None] == 0, torch.finfo(bias.dtype).min)
    x = encoder.embed_tokens(ids)
    for block in encoder.block:
        x = block(x, position_bias=bias)[0]
    return encoder.final_layer_norm(x)


def _position_bias(attention: Any, length: int) -> torch.Tensor:
    """Return the bias of each pair of positions, [1, heads, L, L]: looked up for each distance, not for each pair."""
    weight = attention.relative_attention_bias.weight
    bucket = attention._relative_position_bucket(
        torch.arange(1 - length, length, device=weight.device),
        num_buckets=attention.relative_attention_num_buckets,
        max_distance=attention.relative_attention_max_distance,
    )
    return weight[bucket].T.unfold(1, length, 1).flip(1)[None].contiguous()
