"""The trainer: what it learns, and that a killed run ends with the same bits as one that was left alone."""

import dataclasses
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from curation_assets.models import fusing, span_corruption
from curation_assets.models.snapshots import read_snapshots
from curation_assets.models.t5 import V1_1, build, load
from curation_assets.pretraining import devices
from curation_assets.pretraining.config import RuntimeConfig, TrainConfig
from curation_assets.pretraining.run_folder import RunFolder
from curation_assets.pretraining.trainer import compile_blocks, mean_loss, read_losses, resume_pause, train
from curation_assets_tests.pretraining.small_run import (
    CONFIG,
    SENTINEL,
    VOCABULARY,
    Interrupted,
    InterruptedStream,
    stream,
)

CPU = RuntimeConfig(device="cpu", flush_steps=7)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One run that nothing disturbed, with what its progress was told."""
    told = []
    folder = tmp_path_factory.mktemp("runs") / "whole"
    result = train(CONFIG, stream(), folder, execution=CPU, progress=lambda *line: told.append(line))
    return result, told


def weights(folder):
    return load_file(folder / "model.safetensors")


def assert_same_run(one: Path, two: Path):
    """Every snapshot's weights and every loss are equal bit by bit."""
    assert [s[:2] for s in read_snapshots(one)] == [s[:2] for s in read_snapshots(two)]
    for a, b in zip(read_snapshots(one), read_snapshots(two), strict=True):
        first, second = weights(a.folder), weights(b.folder)
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert np.array_equal(np.load(one / "losses.npy"), np.load(two / "losses.npy"))


def test_a_run_learns_and_keeps_its_budget(finished):
    result, told = finished
    assert (result.steps, result.tokens, result.resumed_from) == (40, CONFIG.tokens, 0)
    assert result.epochs == pytest.approx(CONFIG.tokens / stream().tokens_per_epoch)
    assert [s[:2] for s in result.snapshots] == [(4, 4 * 136), (20, 20 * 136), (40, 40 * 136)]
    curve = read_losses(result.folder, CONFIG)
    assert curve["step"].tolist() == list(range(1, 41))
    assert curve["tokens"][-1] == CONFIG.tokens
    assert curve["rate"][3] == pytest.approx(CONFIG.learning_rate)
    assert curve["loss"][0] == pytest.approx(np.log(VOCABULARY), abs=1.0), "a new model is nearly uniform"
    assert result.loss == pytest.approx(curve["loss"][-4:].mean())
    assert result.loss < curve["loss"][0] - 0.7
    assert [line[0] for line in told] == sorted(line[0] for line in told)
    assert told[-1][:3] == (CONFIG.tokens, CONFIG.tokens, "tokens")
    assert told[-1][3].startswith("loss ")
    left = {path.name for path in result.folder.iterdir()}
    assert left == {
        ".lock",
        ".speed.json",
        "run.json",
        "losses.npy",
        "result.json",
        "step-000004",
        "step-000020",
        "step-000040",
    }


def test_the_first_loss_is_that_of_transformers_on_the_first_batch(finished):
    tokens = stream().batch(0, CONFIG.batch_size, CONFIG.raw_length)
    mask = span_corruption.noise_mask(span_corruption.batch_keys(0, 0, np.arange(4)), CONFIG.raw_length)
    inputs, targets = (
        torch.from_numpy(a) for a in span_corruption.corrupt(tokens, mask, eos=1, first_sentinel=SENTINEL)
    )
    model = build(CONFIG.shape, VOCABULARY, CONFIG.seed)
    wanted = model(input_ids=inputs, labels=targets).loss.item()
    assert mean_loss(model, inputs, targets, 0).item() == pytest.approx(wanted, rel=1e-6)
    assert read_losses(finished[0].folder, CONFIG)["loss"][0] == pytest.approx(wanted, rel=1e-6)


def test_a_finished_run_returns_at_once(finished):
    result, _ = finished
    again = train(CONFIG, InterruptedStream(stream(), 0), result.folder, execution=CPU)
    assert again == result
    assert again.resumed_from == 40


@pytest.mark.parametrize("at", [3, 4, 21, 39])
def test_an_interrupted_run_ends_with_the_same_bits(finished, tmp_path, at):
    execution = dataclasses.replace(CPU, resume_seconds=0.0)
    with pytest.raises(Interrupted):
        train(CONFIG, InterruptedStream(stream(), at), tmp_path, execution=execution)
    assert not (tmp_path / "result.json").exists()
    result = train(CONFIG, stream(), tmp_path, execution=CPU)
    assert at - 1 <= result.resumed_from <= at
    assert_same_run(tmp_path, finished[0].folder)


def test_a_run_goes_back_to_its_last_resume_point(finished, tmp_path):
    with pytest.raises(Interrupted):  # resume points at the snapshots of steps 4 and 20 alone
        train(CONFIG, InterruptedStream(stream(), 30), tmp_path, execution=CPU)
    assert np.isfinite(np.load(tmp_path / "losses.npy")).sum() > 20, "losses are ahead of the resume point"
    assert train(CONFIG, stream(), tmp_path, execution=CPU).resumed_from == 20
    assert_same_run(tmp_path, finished[0].folder)


@pytest.mark.process
@pytest.mark.parametrize("at", [5, 31])
def test_a_killed_process_is_continued(finished, tmp_path, at):
    command = [sys.executable, "-m", "curation_assets_tests.pretraining", str(tmp_path), str(at)]
    killed = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    result = train(CONFIG, stream(), tmp_path, execution=CPU)
    assert at - 1 <= result.resumed_from <= at
    assert_same_run(tmp_path, finished[0].folder)


def test_what_a_kill_leaves_half_written_is_cleaned_up(finished, tmp_path):
    with pytest.raises(Interrupted):
        train(CONFIG, InterruptedStream(stream(), 25), tmp_path, execution=CPU)
    (tmp_path / ".tmp-resume").write_bytes(b"torn")
    (tmp_path / ".tmp-step-000040").mkdir()
    (tmp_path / ".tmp-step-000040" / "model.safetensors").write_bytes(b"torn")
    (tmp_path / "step-000020").rename(
        tmp_path / ".tmp-step-000020"
    )  # killed after the resume point of step 20
    train(CONFIG, stream(), tmp_path, execution=CPU)
    assert not list(tmp_path.glob(".tmp-*"))
    assert_same_run(tmp_path, finished[0].folder)


def test_a_kill_between_the_last_step_and_the_result_costs_nothing(finished, tmp_path, monkeypatch):
    def killed(*_):
        raise Interrupted

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(RunFolder, "finish", killed)
        train(CONFIG, stream(), tmp_path, execution=CPU)
    result = train(CONFIG, InterruptedStream(stream(), 0), tmp_path, execution=CPU)
    assert result.resumed_from == 40
    assert_same_run(tmp_path, finished[0].folder)


_LEFT = (
    "run.json",
    "losses.npy",
    "result.json",
    "step-000020/model.safetensors",
    "step-000004/snapshot.json",
)


@pytest.mark.parametrize("name", _LEFT)
@pytest.mark.parametrize("how", ["flip", "gone"])
def test_what_is_damaged_in_a_finished_run_is_made_again(finished, tmp_path, name, how):
    run = tmp_path / "run"
    shutil.copytree(finished[0].folder, run)
    if how == "flip":
        flip(run / name)
    elif name == "run.json":
        pytest.skip("without it nobody knows whose the folder is: refused, and tested below")
    else:
        (run / name).unlink()
    train(CONFIG, stream(), run, execution=CPU)
    assert_same_run(run, finished[0].folder)


@pytest.mark.parametrize("name", ["resume-*", "losses.npy", "step-000004/model.safetensors", "run.json"])
def test_what_is_damaged_in_an_interrupted_run_is_made_again(finished, tmp_path, name):
    with pytest.raises(Interrupted):
        train(CONFIG, InterruptedStream(stream(), 25), tmp_path, execution=CPU)
    (path,) = tmp_path.glob(name)
    flip(path, -1 if name != "losses.npy" else 128 + 4 * 7)
    train(CONFIG, stream(), tmp_path, execution=CPU)
    assert_same_run(tmp_path, finished[0].folder)


def test_no_flip_in_the_header_of_the_losses_is_believed(tmp_path):
    """NumPy parses it as Python: some flips end in its tokenizer, and one turns the order of bytes."""
    losses = np.linspace(4, 1, 40, dtype=np.float32)
    path = tmp_path / "losses.npy"
    np.save(path, losses)
    content, digest = path.read_bytes(), RunFolder(tmp_path, {})._losses_digest()
    assert digest == hashlib.sha256(losses.tobytes()).hexdigest()
    for at in range(128):
        for bit in range(8):
            path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
            if RunFolder(tmp_path, {})._losses_digest() == digest:
                np.testing.assert_array_equal(np.load(path), losses)


def flip(path, at=None):
    """Flip one bit of a file, in the middle of it by default."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if at is None else at] ^= 4
    path.write_bytes(content)


def test_micro_batches_give_the_same_gradient(finished, tmp_path):
    train(CONFIG, stream(), tmp_path, execution=dataclasses.replace(CPU, micro_batch_size=3))
    ours, theirs = (np.load(path / "losses.npy") for path in (tmp_path, finished[0].folder))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_steps_follow_from_the_budget_and_not_from_the_subset():
    paper = TrainConfig(V1_1["small"], 32_128, tokens=524_000_000_000, batch_size=1024)
    assert (paper.raw_length, paper.tokens_per_step) == (568, 581_632)
    assert paper.steps == -(-524_000_000_000 // 581_632)
    assert dataclasses.replace(CONFIG, tokens=1).steps == 1
    assert dataclasses.replace(CONFIG, tokens=1).snapshot_steps == (1,)
    assert dataclasses.replace(CONFIG, snapshots=(0.5,)).snapshot_steps == (20, 40)


def test_another_configuration_or_other_documents_are_refused(finished, tmp_path):
    folder = finished[0].folder
    with pytest.raises(ValueError, match=r"seed was 0, now 1"):
        train(dataclasses.replace(CONFIG, seed=1), stream(), folder, execution=CPU)
    other = stream()
    other._hashes = other._hashes + np.uint64(1)
    with pytest.raises(ValueError, match="stream was"):
        train(CONFIG, other, folder, execution=CPU)
    (tmp_path / "resume-0.safetensors").touch()
    with pytest.raises(ValueError, match=r"no run\.json"):
        train(CONFIG, stream(), tmp_path, execution=CPU)


def test_two_processes_cannot_train_in_one_folder(tmp_path):
    class Reentrant(InterruptedStream):
        def batch(self, step, batch_size, raw_length):
            return train(CONFIG, self.inner, tmp_path, execution=CPU)

    with pytest.raises(RuntimeError, match="another process"):
        train(CONFIG, Reentrant(stream(), 0), tmp_path, execution=CPU)


def test_divergence_names_the_step_and_keeps_the_last_good_snapshot(tmp_path, monkeypatch):
    from curation_assets.pretraining import trainer

    calls = iter(range(100))

    def overflowing(*arguments):
        return mean_loss(*arguments) * (float("inf") if next(calls) == 24 else 1.0)

    monkeypatch.setattr(trainer, "mean_loss", overflowing)
    with pytest.raises(FloatingPointError, match=r"step 25 of 40.*step-000020"):
        train(CONFIG, stream(), tmp_path, execution=CPU)
    assert [s.step for s in read_snapshots(tmp_path)] == [4, 20]
    assert all(torch.isfinite(p).all() for p in load(tmp_path / "step-000020").parameters())
    monkeypatch.undo()
    assert train(CONFIG, stream(), tmp_path, execution=CPU).resumed_from == 20


@pytest.mark.slow
def test_a_compiled_model_saves_and_resumes_under_the_same_names(finished, tmp_path, monkeypatch):
    """With dynamo's wrapper and no code generation, which takes a minute and changes rounding alone."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    compiled = dataclasses.replace(CPU, compile=True)
    with pytest.raises(Interrupted):
        train(CONFIG, InterruptedStream(stream(), 21), tmp_path, execution=compiled)
    assert load(tmp_path / "step-000020").config.d_model == 16
    assert train(CONFIG, stream(), tmp_path, execution=compiled).resumed_from == 20
    assert_same_run(tmp_path, finished[0].folder)


def test_resume_points_take_a_twentieth_of_the_time_at_most():
    assert resume_pause(60.0, 1.0) == 60.0
    assert resume_pause(60.0, 12.0) == 240.0
    assert resume_pause(0.0, 12.0) == 0.0


@pytest.mark.parametrize("fused", [False, True], ids=["as on a CPU", "as on a GPU"])
def test_layers_of_a_stack_are_compiled_once(monkeypatch, fused):
    """Six layers a stack, and T5's first has the positions: two pieces of code in the encoder and two in the decoder."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    model = build(dataclasses.replace(CONFIG.shape, num_layers=6), CONFIG.vocab_size, 0)
    model = fusing._fuse(model) if fused else model
    batch = torch.full((2, 12), 5), torch.full((2, 7), 6)
    plain = mean_loss(model, *batch, 0)
    names = list(model.state_dict())
    compile_blocks(model)
    assert mean_loss(model, *batch, 0) == plain and len(graphs) == 4
    mean_loss(model, *(part[:1] for part in batch), 0)
    assert len(graphs) == 8 and list(model.state_dict()) == names


def test_tf32_is_for_gpus_and_for_the_time_of_a_run():
    settings = torch.backends.cuda.matmul
    before = settings.fp32_precision
    for device, allowed, inside in [("cpu", True, before), ("cuda", False, before), ("cuda", True, "tf32")]:
        with pytest.raises(Interrupted), devices.tf32(torch.device(device), allowed):
            assert settings.fp32_precision == inside
            raise Interrupted
        assert settings.fp32_precision == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="asks CUDA for synchronisations: no GPU here")
def test_no_step_waits_for_the_gpu(tmp_path, monkeypatch):
    from curation_assets.pretraining import trainer

    step = trainer._Training._train_step

    def watched(*arguments):
        torch.cuda.set_sync_debug_mode("error")
        try:
            step(*arguments)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(trainer._Training, "_train_step", watched)
    train(CONFIG, stream(), tmp_path, execution=RuntimeConfig(device="cuda"))


def test_bad_settings_are_refused():
    for change, message in [
        ({"tokens": 0}, "tokens must be positive"),
        ({"warmup_share": 1.0}, "warmup_share"),
        ({"snapshots": (0.0,)}, "snapshots"),
        ({"precision": "fp16"}, "precision"),
        ({"first_sentinel": 160}, "vocabulary"),
    ]:
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(CONFIG, **change)


def test_an_unknown_device_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot train on device 'meta'"):
        train(CONFIG, stream(), tmp_path, execution=RuntimeConfig(device="meta"))
