"""Training on several nodes: what it comes to, how it goes on after any of them was killed, and what the others say then."""

import dataclasses

import numpy as np
import pytest
import torch.distributed as distributed

from curation_assets.models.snapshots import read_snapshots
from curation_assets.pretraining import process_group
from curation_assets.pretraining.launch import train_distributed
from curation_assets.pretraining.process_group import Meeting
from curation_assets.pretraining.trainer import train
from curation_assets_tests.pretraining.node import EXECUTION
from curation_assets_tests.pretraining.nodes import two_nodes
from curation_assets_tests.pretraining.small_run import CONFIG, stream

NODE = "curation_assets_tests.pretraining.node"
LOST = RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:16022")


@pytest.mark.process
def test_two_nodes_without_a_shared_folder_go_on_after_kills_and_end_as_two_processes_do(
    tmp_path, monkeypatch
):
    """Losses agree with one process to 1e-5 nats, weights with two processes of one machine to the bit."""
    codes, (of_rank_0, _) = two_nodes(tmp_path, NODE, "1", "kill", "15")
    assert codes == [1, -9]
    assert "ended: RuntimeError: rank 1 of 2 (" in of_rank_0
    assert "ended without a word: killed" in of_rank_0
    run = tmp_path / "node0" / "run"
    (point,) = run.glob("resume-*")
    assert [snapshot.step for snapshot in read_snapshots(run)] == [4]

    codes, (_, of_rank_1) = two_nodes(tmp_path, NODE, "0", "kill", "15")  # step 14 + 15
    assert codes == [-9, 1]
    assert "ended: RuntimeError: rank 0 of 2 (" in of_rank_1
    assert not point.exists(), "they came further"

    codes, logs = two_nodes(tmp_path, NODE, by_torchrun=True)
    assert codes == [0, 0], logs
    assert not list((tmp_path / "node1").iterdir()), "rank 0 alone reads and writes"

    losses = np.load(run / "losses.npy")
    train(CONFIG, stream(), tmp_path / "alone", execution=EXECUTION)
    np.testing.assert_allclose(losses, np.load(tmp_path / "alone" / "losses.npy"), atol=1e-5)

    monkeypatch.setattr("torch.get_num_threads", lambda: 2)  # one each, as the nodes had
    two = dataclasses.replace(EXECUTION, processes=2)
    train_distributed(CONFIG, stream(), tmp_path / "two", execution=two)
    assert np.array_equal(losses, np.load(tmp_path / "two" / "losses.npy"))
    for ours, theirs in zip(read_snapshots(run), read_snapshots(tmp_path / "two"), strict=True):
        name = "model.safetensors"
        assert (ours.folder / name).read_bytes() == (theirs.folder / name).read_bytes()


@pytest.mark.process
def test_one_that_fails_tells_the_others_why(tmp_path):
    codes, (of_rank_0, of_rank_1) = two_nodes(tmp_path, NODE, "1", "raise", "9")
    assert codes == [1, 1]
    assert "ended: ValueError: a bad batch" in of_rank_1
    assert "ended: RuntimeError: rank 1 of 2 (" in of_rank_0
    assert "failed: ValueError: a bad batch" in of_rank_0


@pytest.fixture
def meetings(monkeypatch):
    """Three processes' sides of a meeting, all of which are known by name."""
    monkeypatch.setattr(process_group, "_PATIENCE", 0.2)
    store = distributed.HashStore()
    made = [Meeting(store, rank, 3) for rank in range(3)]
    for meeting in made:
        meeting.learn_names()
    return made


def fails(meeting, error):
    """Return what a process raises in which this was raised."""
    with pytest.raises(type(error)) as raised, meeting.explaining():
        raise error
    return str(raised.value)


def test_the_cause_is_named_and_not_what_followed_from_it(meetings):
    assert fails(meetings[2], ValueError("no such file")) == "no such file"
    for other in meetings[:2]:
        told = fails(other, LOST)
        assert told.startswith("rank 2 of 3 (")
        assert told.endswith("failed: ValueError: no such file")


def test_who_died_is_who_does_not_answer(meetings):
    assert fails(meetings[0], LOST).count("rank 1 of 3") == 1, "nobody has answered yet"
    told = fails(meetings[2], LOST)
    assert "rank 1 of 3 (" in told
    assert "rank 0" not in told
    assert told.endswith("ended without a word: killed, out of memory, or its machine is lost")


def test_where_all_live_the_connection_itself_is_the_reason(meetings):
    for rank in (0, 1):
        fails(meetings[rank], LOST)
    assert fails(meetings[2], LOST) == str(LOST)


def test_a_store_that_is_gone_was_rank_0s(meetings, monkeypatch):
    def gone(*_):
        raise distributed.DistNetworkError("Broken pipe")

    monkeypatch.setattr(type(meetings[1].store), "set", gone)
    assert fails(meetings[1], LOST).endswith("or the launcher that started it, is gone: Broken pipe")
    assert fails(meetings[1], ValueError("mine")) == "mine"


def test_jobs_are_taken_in_order_and_end(meetings):
    meetings[0].offer({"config": {}})
    meetings[0].offer(None)
    assert [meetings[1].take(), meetings[1].take()] == [{"config": {}}, None]
    assert meetings[2].take() == {"config": {}}


def test_processes_talk_over_the_interface_of_the_first_nodes_address():
    assert process_group._interface("127.0.0.1") == process_group._interface("localhost") == "lo"
