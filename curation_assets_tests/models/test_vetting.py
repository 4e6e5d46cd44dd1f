"""What a model's files say is refused in one line, by the real loaders, before memory or time is spent on it."""

from __future__ import annotations

import json
import shutil
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from curation_assets.models import loading, t5
from curation_assets.models.sources import resolve
from curation_assets.models.tokenizer import train_tokenizer
from curation_assets.models.vetting import Weights, bounded
from curation_assets_tests.conftest import stdlib_texts
from curation_assets_tests.models.small_models import byte_level

Spoil = Callable[[Path], object]
_DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "llama"
    sizes = {"vocab_size": 600, "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(**sizes, num_hidden_layers=1)).save_pretrained(folder)
    byte_level([text for _, text in stdlib_texts()[:40]]).save_pretrained(folder)
    return folder


def _config(**settings: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | settings))

    return spoil


def _written(name: str, text: str) -> Spoil:
    return lambda folder: (folder / name).write_text(text)


def _header(text: str) -> Spoil:
    raw = text.encode()
    return lambda folder: (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(raw)) + raw)


def _token(**token: Any) -> Spoil:
    def spoil(folder: Path) -> None:
        state = json.loads((folder / "tokenizer.json").read_text())
        state["model"]["vocab"] |= token
        (folder / "tokenizer.json").write_text(json.dumps(state))

    return spoil


HOSTILE: dict[str, tuple[Spoil, str]] = {
    "a shape that is a string": (
        _header('{"a":{"dtype":"F32","shape":"big","data_offsets":[0,4]}}'),
        r'model\.safetensors is not a safetensors file: .*string "big"',
    ),
    "a deep header": (
        _header(f'{{"a":{_DEEP}}}'),
        r"model\.safetensors is not a safetensors file: .*recursion",
    ),
    "a header of many bytes": (
        lambda folder: (folder / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 62) + b"{}"),
        r"model\.safetensors is not a safetensors file: .*too large",
    ),
    "a million layers": (
        _config(num_hidden_layers=1_000_000),
        r"config\.json: num_hidden_layers = 1000000 is refused",
    ),
    "fewer layers than none": (
        _config(num_hidden_layers=-1),
        r"config\.json: num_hidden_layers = -1 is refused",
    ),
    "layers in words": (_config(num_hidden_layers="two"), r"cannot be loaded: .*num_hidden_layers.*'two'"),
    "labels by the million": (_config(num_labels=10**8), r"config\.json: num_labels = 100000000 is refused"),
    "a wide model": (
        _config(hidden_size=1 << 20),
        r"config\.json describes a larger model .*\[600, 1048576\] is beyond",
    ),
    "a vocabulary of a trillion": (
        _config(vocab_size=10**12),
        r"config\.json describes a larger model .*\[1000000000000, 16\]",
    ),
    "no heads": (_config(num_attention_heads=0), r"llama cannot be loaded: "),
    "a hub's kernel": (
        _config(attn_implementation="evil/kernel"),
        r'config\.json: attn_implementation = "evil/kernel" is refused',
    ),
    "a hub's kernel for a part": (
        _config(text_config={"_attn_implementation": {"": "sdpa", "x": "evil/kernel@main:f"}}),
        r'config\.json: _attn_implementation = "evil/kernel@main:f" is refused',
    ),
    "a hub's experts": (
        _config(experts_implementation="evil/kernel"),
        r'config\.json: experts_implementation = "evil/kernel" is refused',
    ),
    "a hub's kernel, by sentence-transformers": (
        _written("sentence_bert_config.json", '{"model_kwargs": {"attn_implementation": "evil/kernel"}}'),
        r'sentence_bert_config\.json: attn_implementation = "evil/kernel" is refused',
    ),
    "no number": (_config(rms_norm_eps=float("nan")), r"config\.json is no JSON: it says NaN"),
    "a deep configuration": (
        _written("config.json", f'{{"a":{_DEEP}}}'),
        r"config\.json has more than 48 brackets",
    ),
    "a list for a configuration": (
        _written("config.json", "[1]"),
        r"config\.json is no table of settings, but \[1\]",
    ),
    "half a configuration": (_written("config.json", "{"), r"config\.json is no JSON: "),
    "a number of many digits": (
        _written("config.json", f'{{"vocab_size": {"9" * 5000}}}'),
        r"config\.json is no JSON: ",
    ),
    "code of its own": (
        _config(model_type="own", auto_map={"AutoConfig": "code.Config"}),
        r'config\.json: model_type = "own" is code of its own .*never run',
    ),
    "no kind of model": (_written("config.json", "{}"), r"Unrecognized model in .*llama"),
    "weights elsewhere": (
        _written("model.safetensors.index.json", '{"weight_map": {"a": "../../secret.safetensors"}}'),
        r'index\.json: weight_map has "a" in "\.\./\.\./secret\.safetensors", no file beside it',
    ),
    "an index that is none": (
        _written("model.safetensors.index.json", "[]"),
        r"index\.json has no table weight_map",
    ),
    "a deep tokenizer": (
        _written("tokenizer.json", f'{{"a":{_DEEP}}}'),
        r"tokenizer\.json has more than 48 brackets",
    ),
    "a tokenizer that is cut off": (
        _written("tokenizer.json", '{"version":'),
        r"tokenizer\.json is no JSON: ",
    ),
    "a token beyond the model": (
        _token(zz=4_000_000_000),
        r'llama: the tokenizer\'s "zz" is token 4000000000, but .* 600 rows',
    ),
    "special tokens in a list": (_written("special_tokens_map.json", "[]"), r"llama cannot be loaded: "),
    "settings of generation that are none": (
        _written("generation_config.json", "{"),
        r"generation_config\.json is no JSON",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile_is_refused_in_one_line(name: str, model: Path, tmp_path: Path) -> None:
    spoil, reason = HOSTILE[name]
    folder = tmp_path / "llama"
    shutil.copytree(model, folder)
    spoil(folder)
    start = time.process_time()
    with pytest.raises(ValueError, match=reason) as refused:
        loading.load_scorer(folder, device="cpu")
    assert "\n" not in str(refused.value) and str(folder) in str(refused.value)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    "name", ["a shape that is a string", "a million layers", "a hub's kernel", "no number"]
)
def test_it_is_refused_before_it_is_a_models_note(name: str, model: Path, tmp_path: Path) -> None:
    spoil, reason = HOSTILE[name]
    shutil.copytree(model, tmp_path / "llama")
    spoil(tmp_path / "llama")
    with pytest.raises(ValueError, match=reason):
        resolve(f"path:{tmp_path / 'llama'}", cache=tmp_path / "cache")


def test_a_t5_of_this_project_is_bounded_too(tmp_path: Path) -> None:
    train_tokenizer([text for _, text in stdlib_texts()], 600, tmp_path)
    t5.save(t5.build(t5.Shape(16, 8, 32, 1, 2), 600, seed=3), tmp_path)
    assert loading.load_scorer(tmp_path, device="cpu")
    _config(d_ff=1 << 24)(tmp_path)
    with pytest.raises(ValueError, match=r"config\.json describes a larger model .*16777216"):
        loading.load_scorer(tmp_path, device="cpu")


def test_what_real_models_say_is_let_through(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "llama"
    shutil.copytree(model, folder)
    _config(
        attn_implementation="sdpa",
        time_step_limit=[0.0, float("inf")],
        auto_map={"AutoConfig": "code.Config"},
    )(folder)
    assert loading.load_scorer(folder, device="cpu")


def test_a_log_beside_a_model_may_say_what_it_likes(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "llama")
    _written("trainer_state.json", '{"log_history": [{"grad_norm": NaN}]}')(tmp_path / "llama")
    assert loading.load_scorer(tmp_path / "llama", device="cpu")


def test_a_t5_that_is_mostly_a_tied_embedding_is_let_through(tmp_path: Path) -> None:
    """In the file its embedding is once; in the model four times, each tied and loaded again."""
    train_tokenizer([text for _, text in stdlib_texts()], 600, tmp_path)
    sizes = {"d_model": 64, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    T5ForConditionalGeneration(T5Config(**sizes, vocab_size=32_128)).save_pretrained(tmp_path)
    judge, _ = loading.load_scorer(tmp_path, device="cpu")
    assert judge.lm_head.weight is judge.shared.weight


def test_a_bound_is_for_the_thread_that_loads(tmp_path: Path) -> None:
    made = []
    with bounded(tmp_path, Weights(1, 10)):
        thread = threading.Thread(
            target=lambda: made.append(torch.nn.Linear(1 << 11, 1 << 10, device="meta"))
        )
        thread.start()
        thread.join()
        assert len(made) == 1
        with pytest.raises(ValueError, match=r"Linear\.weight of \[1024, 2048\] is beyond"):
            torch.nn.Linear(1 << 11, 1 << 10, device="meta")
    torch.nn.Linear(1 << 11, 1 << 10, device="meta")


def test_a_gguf_of_a_million_layers_is_refused(tmp_path: Path) -> None:
    from gguf import GGUFWriter

    writer = GGUFWriter(tmp_path / "a.gguf", "llama")
    for name, value in (
        ("block_count", 10**6),
        ("embedding_length", 16),
        ("feed_forward_length", 32),
        ("attention.head_count", 2),
    ):
        writer.add_uint32(f"llama.{name}", value)
    writer.add_uint32("llama.context_length", 64)
    writer.add_uint32("llama.vocab_size", 600)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-6)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    words = tmp_path / "words"
    byte_level(["yes no"]).save_pretrained(words)
    start = time.process_time()
    with pytest.raises(ValueError, match=r"a\.gguf describes a larger model") as refused:
        loading.load_scorer(tmp_path / "a.gguf", tokenizer=words, device="cpu")
    assert "\n" not in str(refused.value) and time.process_time() - start < 20
