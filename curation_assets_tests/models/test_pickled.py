"""Pickled weights become safetensors with the same tensors, and a pickle that would call something is refused unrun."""

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from curation_assets.models import t5
from curation_assets.models.loading import load_scorer
from curation_assets.models.pickled import conversion_holds, converted, read_tensors
from curation_assets_tests.models.small_models import byte_level, small_llama

SHAPE = t5.Shape(16, 4, 32, 1, 4)


class Hostile:
    """Unpickled by whoever trusts it, this makes a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.marker),)


def pickled_t5(folder: Path, **options: bool) -> torch.nn.Module:
    """Write a T5 v1.1 as the hub has it: config, and all names in one pickle, three of them one tensor."""
    folder.mkdir(parents=True)
    model = t5.build(SHAPE, 300, seed=1)
    t5.save(model, folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin", **options)
    return model


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_a_pickled_t5_scores_as_it_did(tmp_path: Path, zipped: bool) -> None:
    model = pickled_t5(tmp_path / "hub", _use_new_zipfile_serialization=zipped)
    target = converted(tmp_path / "hub", ["config.json"], tmp_path / "cache" / "model")
    weights = load_file(target / "model.safetensors")
    assert {"shared.weight", "lm_head.weight"} <= weights.keys()
    assert "encoder.embed_tokens.weight" not in weights, "one tensor is stored once"
    assert all(torch.equal(one, model.state_dict()[name]) for name, one in weights.items())
    again = t5.load(target)
    assert all(torch.equal(one, again.state_dict()[name]) for name, one in model.state_dict().items())
    written = (target / "model.safetensors").stat().st_mtime_ns
    (tmp_path / "hub" / "pytorch_model.bin").unlink()
    converted(tmp_path / "hub", ["config.json"], target)
    assert (target / "model.safetensors").stat().st_mtime_ns == written, "once"
    assert json.loads((target / "conversion.json").read_text())["made_from"].keys() == {"pytorch_model.bin"}


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "conversion.json"])
def test_a_damaged_conversion_is_made_anew(tmp_path: Path, name: str) -> None:
    pickled_t5(tmp_path / "hub")
    target = converted(tmp_path / "hub", ["config.json"], tmp_path / "cache" / "model")
    content = (target / name).read_bytes()
    (target / name).write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    assert not conversion_holds(target)
    converted(tmp_path / "hub", ["config.json"], target)
    assert (target / name).read_bytes() == content and conversion_holds(target)


def test_a_pickle_in_shards_with_a_tied_head(tmp_path: Path) -> None:
    tokenizer = byte_level(["yes no"])
    model = small_llama(len(tokenizer))
    model.config.tie_word_embeddings = True
    model.tie_weights()
    model.config.save_pretrained(tmp_path / "hub")
    tokenizer.save_pretrained(tmp_path / "hub")
    state = model.state_dict()
    names = sorted(state)
    head = [name for name in names if name.startswith(("lm_head", "model.embed"))]
    parts = [[*head, *names[:5]], [name for name in names[5:] if name not in head]]
    files = [f"pytorch_model-0000{n}-of-00002.bin" for n in (1, 2)]
    for file, part in zip(files, parts, strict=True):
        torch.save({name: state[name] for name in part}, tmp_path / "hub" / file)
    index = {"metadata": {}, "weight_map": {n: f for f, part in zip(files, parts, strict=True) for n in part}}
    (tmp_path / "hub" / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    kept = [path.name for path in (tmp_path / "hub").iterdir() if "pytorch_model" not in path.name]
    target = converted(tmp_path / "hub", kept, tmp_path / "model")
    loaded, _ = load_scorer(target, device="cpu")
    assert all(torch.equal(one, loaded.state_dict()[name]) for name, one in state.items())


def test_a_hostile_pickle_is_refused_in_one_line_and_not_run(tmp_path: Path) -> None:
    marker, folder = tmp_path / "ran", tmp_path / "hub"
    folder.mkdir()
    for save in (torch.save, lambda it, path: path.write_bytes(pickle.dumps(it))):
        save({"shared.weight": Hostile(marker)}, folder / "pytorch_model.bin")
        with pytest.raises(ValueError, match=r"pytorch_model\.bin is") as error:
            converted(folder, [], tmp_path / "model")
        assert "\n" not in str(error.value) and not marker.exists()
    torch.save({"shared.weight": Hostile(marker)}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"is refused: it would call \S*mkdir; nothing in it was run"):
        converted(folder, [], tmp_path / "model")
    assert not (tmp_path / "model").exists() and not list(tmp_path.glob(".*model*/"))
    torch.load(folder / "pytorch_model.bin", weights_only=False)
    assert marker.exists(), "the file does harm to whoever trusts it"


@pytest.mark.parametrize("content", [[torch.zeros(2)], {"a": 1.0}, {1: torch.zeros(2)}])
def test_what_is_no_table_of_tensors_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="no table of tensors by name"):
        read_tensors(tmp_path / "pytorch_model.bin")


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04 no zip", b"version https://git-lfs"])
def test_what_is_no_pickle_at_all_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(ValueError, match=r"pytorch_model\.bin is (refused|no file of weights)") as error:
        read_tensors(tmp_path / "pytorch_model.bin")
    assert "\n" not in str(error.value)
