"""Several processes: what they read, that they train as one does, and how they end."""

import dataclasses
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from curation_assets.models.snapshots import read_snapshots
from curation_assets.pretraining import devices, launch
from curation_assets.pretraining.config import RuntimeConfig
from curation_assets.pretraining.launch import Job, read_job, train_distributed, write_job
from curation_assets.pretraining.packing import Shard, TokenStream
from curation_assets.pretraining.trainer import _Training, train
from curation_assets_tests.pretraining.small_run import CONFIG, documents, stream

ONE = RuntimeConfig(device="cpu", flush_steps=7)
TWO = dataclasses.replace(ONE, processes=2)


class Stopped(Exception):
    """Stands for Ctrl-C in the process that asked for the run."""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run in one process."""
    folder = tmp_path_factory.mktemp("runs") / "alone"
    train(CONFIG, stream(), folder, execution=ONE)
    return folder


def batch_of(index, count, step):
    """What a process makes of a step, which is sent its rows by rank 0."""

    def scatter(batch, shape):
        return np.split(batch, count)[index]

    process = SimpleNamespace(device=torch.device("cpu"))
    group = SimpleNamespace(rank=index, scatter=scatter)
    return _Training._make_batch(
        SimpleNamespace(config=CONFIG, stream=stream(), group=group, accelerator=process), step
    )


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_the_batch_that_one_would_read(count):
    for step in (0, 7, 39):
        whole = batch_of(0, 1, step)
        parts = [batch_of(index, count, step) for index in range(count)]
        for side in (0, 1):
            assert torch.equal(torch.cat([part[side] for part in parts]), whole[side])


def listening():
    """The addresses that this process and those below it listen on."""
    me = psutil.Process()
    sockets = [s for process in (me, *me.children(recursive=True)) for s in process.net_connections("inet")]
    return {s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN}


@pytest.mark.process
def test_two_processes_train_as_one_and_one_goes_on_after_them(alone, tmp_path):
    """Losses agree to 1e-5 nats: gradients are sums of the same numbers in another order."""
    told, addresses, before = [], set(), set(psutil.Process().children())

    def stop_late(*line):
        told.append(line)
        addresses.update(listening())
        if line[0] > CONFIG.tokens / 2:  # the resume point of step 20 is there
            raise Stopped

    with pytest.raises(Stopped):
        train_distributed(CONFIG, stream(), tmp_path, execution=TWO, progress=stop_late)
    assert not set(psutil.Process().children()) - before, "they ended with it"
    assert addresses == {"127.0.0.1"}, "they talk to each other and to nobody else"
    assert [line[0] for line in told] == sorted(line[0] for line in told)
    assert told[-1][1:3] == (CONFIG.tokens, "tokens")
    assert "GEMM rate" in told[-1][3]
    result = train(CONFIG, stream(), tmp_path, execution=ONE)  # a run may change its number of processes
    assert result.resumed_from >= 20
    assert result.speed.steps == 40
    np.testing.assert_allclose(np.load(tmp_path / "losses.npy"), np.load(alone / "losses.npy"), atol=1e-5)
    assert [s[:2] for s in read_snapshots(tmp_path)] == [s[:2] for s in read_snapshots(alone)]
    again = train_distributed(CONFIG, stream(), tmp_path, execution=TWO)
    assert again == result
    assert again.resumed_from == 40


@pytest.mark.process
def test_two_processes_go_on_after_one_and_their_divergence_arrives_as_what_it_is(tmp_path):
    class Failing(TokenStream):
        def batch(self, step, *size):
            if step == 12:
                raise Stopped
            return super().batch(step, *size)

    config = dataclasses.replace(CONFIG, learning_rate=2.0)
    ids, offsets, hashes = documents()
    with pytest.raises(Stopped):
        train(config, Failing([Shard(ids, offsets, None, hashes)]), tmp_path, execution=ONE)
    before = np.load(tmp_path / "losses.npy")
    with pytest.raises(FloatingPointError, match=r"diverged at step 24 of 40: the mean loss.*no snapshot"):
        train_distributed(config, stream(), tmp_path, execution=TWO)
    assert not read_snapshots(tmp_path)
    assert not list(tmp_path.glob("resume-*"))
    errors = sorted((tmp_path / ".launch").glob("error-*.json"))
    assert [json.loads(path.read_text())["type"] for path in errors] == ["FloatingPointError"] * 2, (
        "all saw it"
    )
    assert np.array_equal(np.load(tmp_path / "losses.npy")[:4], before[:4]), "they went on from step 4"


@pytest.mark.process
def test_a_process_ends_when_the_one_that_started_it_is_gone(tmp_path):
    """Its standard input is a pipe that a killed parent no longer holds open; here it is closed from the start."""
    command = [sys.executable, "-m", "curation_assets.pretraining", str(tmp_path / "job.json")]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
    assert not list(tmp_path.iterdir()), "it did not even look for its job"


def test_a_job_names_mapped_files_and_writes_the_rest(tmp_path):
    ids, offsets, hashes = documents()
    for name, array in (("ids", ids), ("offsets", offsets)):
        np.save(tmp_path / f"{name}.npy", array)
    mapped = [np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("ids", "offsets")]
    rows = np.arange(5, 90)
    shards = [Shard(*mapped, rows, hashes[rows]), Shard(mapped[0][:], mapped[1][:11], None, hashes[:10])]
    made = Job(CONFIG, ONE, TokenStream(shards, eos=1, seed=3), tmp_path / "run")
    (tmp_path / "home").mkdir()
    path = write_job(made, tmp_path / "home")
    written = {p.name for p in (tmp_path / "home").iterdir()}
    assert written == {
        "job.json",
        "0-rows.npy",
        "0-doc_hash.npy",
        "1-ids.npy",  # a view of a map may begin anywhere in the file
        "1-offsets.npy",
        "1-doc_hash.npy",
    }
    read = read_job(path)
    assert (read.config, read.execution, read.folder) == (made.config, made.execution, made.folder)
    assert isinstance(read.stream.shards[0].ids, np.memmap)
    assert read.stream.digest() == made.stream.digest()
    assert np.array_equal(read.stream.read(100, 9000), made.stream.read(100, 9000))


def test_the_first_failure_is_told_and_a_silent_death_too(tmp_path):
    for rank, (when, kind, message) in enumerate([(2.0, "RuntimeError", "gone"), (1.0, "ValueError", "bad")]):
        error = {"type": kind, "message": message, "time": when}
        (tmp_path / f"error-{rank}.json").write_text(json.dumps(error))
    failure = launch._failure(tmp_path, [1, 1])
    assert (type(failure), str(failure)) == (ValueError, "bad")
    (tmp_path / "error-1.json").write_text(
        json.dumps({"type": "OutOfMemoryError", "message": "8 GiB", "time": 0})
    )
    assert str(launch._failure(tmp_path, [1, 1])) == "OutOfMemoryError: 8 GiB"
    for path in tmp_path.glob("error-*"):
        path.unlink()
    (tmp_path / "process-1.log").write_text("loading\nKilled by the system\n")
    with pytest.raises(RuntimeError, match=r"process 1 of 2 ended with code -9.*Killed by the system"):
        raise launch._failure(tmp_path, [0, -9])


def test_how_many_processes(monkeypatch):
    def count(device, processes):
        return devices.process_count(RuntimeConfig(device=device, processes=processes))

    assert [count("cpu", n) for n in (0, 1, 3)] == [1, 1, 3]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert [count("cuda", n) for n in (0, 1, 3)] == [4, 1, 3]
    assert count("cuda:1", 0) == count("auto", 1) == 1
    for device, processes, message in [
        ("cuda", 5, "4 are visible"),
        ("cuda:1", 2, "is one GPU"),
        ("cpu", -1, "not -1"),
    ]:
        with pytest.raises(ValueError, match=message):
            count(device, processes)


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    with pytest.raises(ValueError, match="batch of 4 cannot be shared by 3 processes"):
        train_distributed(CONFIG, stream(), tmp_path, execution=dataclasses.replace(ONE, processes=3))
