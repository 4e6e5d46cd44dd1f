"""The checkpoint asset: what it keeps of its runs, and what it says they cost."""

import json
from types import SimpleNamespace

import pytest

from curation_assets.common.files import read_json
from curation_assets.config.profile import load_profile
from curation_assets.engine.workspace import Markdown
from curation_assets.pretraining import build
from curation_assets.pretraining.flops import training_flops
from curation_assets.pretraining.packing import Shard
from curation_assets_tests.pretraining.small_run import SENTINEL, VOCABULARY, documents


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A workspace whose tokenizer and documents are those of the small run: two seeds of 10 steps of 4 x 34 tokens."""
    profile = load_profile("local")
    shape = profile.ladder["small"].model_copy(
        update={"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    )
    small = {"tokens": 1360, "batch_size": 4, "micro_batch_size": 4, "input_length": 32, "seeds": [3, 4]}
    profile = profile.model_copy(
        update={
            "ladder": {"small": shape},
            "pretraining": profile.pretraining.model_copy(update=small | {"snapshots": [0.5, 1.0]}),
        }
    )
    tokenizer = SimpleNamespace(vocab_size=VOCABULARY, eos_id=1, pad_id=0, first_sentinel_id=SENTINEL)
    monkeypatch.setattr(build, "load_tokenizer", lambda folder: tokenizer)
    return SimpleNamespace(
        profile=profile, device="cpu", scratch=tmp_path / "scratch", open=lambda key: tmp_path
    )


def make(workspace, folder, progress=lambda *_: None):
    folder.mkdir(parents=True)
    ids, offsets, hashes = documents()
    shards = [Shard(ids, offsets, None, hashes)]
    return build._train(workspace, "full_data/checkpoint", "small", "small", shards, folder, progress)


def test_costs_are_told_and_stay_out_of_the_files(workspace, tmp_path):
    about = make(workspace, tmp_path / "one")
    config = build.train_config(
        workspace.profile, "small", vocab_size=VOCABULARY, first_sentinel=SENTINEL, eos=1, pad=0
    )
    assert (about["steps"], about["seeds"], about["resumed_from_step"]) == (10, 2, 0)
    assert about["flops"] == pytest.approx(2 * training_flops(config))
    assert about["tokens_per_second"] == pytest.approx(2 * 1360 / about["seconds_trained"], rel=0.01)
    assert 0 < about["share_of_peak"] < 1
    assert isinstance(about["loss_curve"], Markdown)
    json.dumps(about)
    kept = {str(p.relative_to(tmp_path / "one")) for p in (tmp_path / "one").rglob("*") if p.is_file()}
    seed = ["losses.npy", "result.json", "run.json"]
    seed += [
        f"step-0000{s}/{n}"
        for s in ("05", "10")
        for n in ("config.json", "model.safetensors", "snapshot.json")
    ]
    assert kept == {"training.json", *(f"seed-{s}/{name}" for s in (3, 4) for name in seed)}
    text = (tmp_path / "one" / "training.json").read_text()
    assert not any(name in text for name in ("second", "share_of_peak", "flops"))


def test_an_interrupted_asset_has_the_files_of_an_undisturbed_one(workspace, tmp_path):
    about = make(workspace, tmp_path / "whole")
    workspace.scratch = tmp_path / "other"

    def stop(done, *_):
        if done > 1360 + 700:  # in the second seed, after its first snapshot
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(workspace, tmp_path / "stopped", stop)
    again = make(workspace, tmp_path / "continued")
    assert again["resumed_from_step"] == 5
    assert again["flops"] == about["flops"]
    assert again["seconds_trained"] > 0, "of both seeds, though one was finished before"
    files = [p for p in (tmp_path / "whole").rglob("*") if p.is_file() and p.name != "training.json"]
    for path in files:
        other = tmp_path / "continued" / path.relative_to(tmp_path / "whole")
        assert path.read_bytes() == other.read_bytes(), other
    described = [read_json(tmp_path / name / "training.json") for name in ("whole", "continued")]
    assert [about.pop("resumed_from_step") for about in described] == [0, 5]
    assert described[0] == described[1]
