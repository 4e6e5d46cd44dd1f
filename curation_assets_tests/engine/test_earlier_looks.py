"""A look that takes from an earlier one what it read sees what one sees that reads everything, whatever happened in between."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest

from curation_assets.config.profile import Profile
from curation_assets.engine.follow import Follow
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import wanted_steps
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import Workspace, title
from curation_assets_tests.conftest import work_in, write_tiny
from curation_assets_tests.lineage.imagined import imagine

SHARDS = ["s0.jsonl", "s1.jsonl"]
SOURCE = ("corpus/source", "")
At = tuple[str, str]


@dataclass
class Corpus:
    """A graph of artifacts in a catalog, in which everything is current, and the latest look at it."""

    profile: Profile
    first: dict[At, Receipt]
    latest: Versions | None = None

    @property
    def workspace(self) -> Workspace:
        """A new one, as each tick has."""
        return Workspace(self.profile)


def _write(workspace: Workspace, receipt: Receipt) -> None:
    for name, (size, _) in receipt.files.items():
        path = Path(workspace.store.path(receipt, name))
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.stat().st_size != size:
            path.write_bytes(b"x" * size)


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    write_tiny(tmp_path, tmp_path, '[run]\nsamplers = ["density"]\n')
    profile = work_in(tmp_path, monkeypatch)
    workspace = Workspace(profile)
    imagined = imagine(workspace, SHARDS, [step.key for step in wanted_steps(profile)])
    made = {
        (key, partition): replace(
            receipt,
            folder=f"{workspace.store.place(key, partition)}/{receipt.version}-0",
            files={"values.npy": (3, sha256(b"xxx").hexdigest())},
        )
        for (key, partition), receipt in imagined.made.items()
    }
    listing = json.dumps(imagined.listing).encode()
    made[SOURCE] = replace(made[SOURCE], files={"shards.json": (len(listing), sha256(listing).hexdigest())})
    path = Path(workspace.store.path(made[SOURCE], "shards.json"))
    path.parent.mkdir(parents=True)
    path.write_bytes(listing)
    for receipt in made.values():
        _write(workspace, receipt)
    for key in {key for key, _ in made}:
        workspace.catalog.rebuild(key, [(one, True) for at, one in made.items() if at[0] == key])
    return Corpus(profile, made)


def _current(corpus: Corpus, at: At) -> Receipt | None:
    return corpus.workspace.catalog.current(*at)


def _make(corpus: Corpus, at: At, *, other: bool = False) -> None:
    """Make an artifact anew as it would be made now, or with other content, where its inputs are there."""
    workspace, (key, partition) = corpus.workspace, at
    versions, step = Versions(workspace), STEPS[key]
    if at == SOURCE or versions._missing_input(step, partition):
        return
    recipe = versions.recipe(step, partition)
    receipt = replace(
        corpus.first[at],
        version=uuid.uuid4().hex[:20] if other else recipe,
        recipe=recipe,
        code=versions.code_version(step),
        inputs=versions.inputs(step, partition),
        folder=f"{workspace.store.place(key, partition)}/{uuid.uuid4().hex}",
        created=corpus.first[at].created + 1,
    )
    _write(workspace, receipt)
    before = workspace.catalog.current(key, partition)
    with workspace.catalog.writer() as writer:
        wanted = {partition: (recipe, before.folder if before else "")}
        for attempt in workspace.catalog.begin(writer, key, wanted, "run").values():
            workspace.catalog.commit(receipt, attempt)


def _fail(corpus: Corpus, at: At) -> None:
    before, catalog = _current(corpus, at), corpus.workspace.catalog
    wanted = {at[1]: (before.recipe if before else "x", before.folder if before else "")}
    with catalog.writer() as writer:
        for attempt in catalog.begin(writer, at[0], wanted, "run").values():
            catalog.fail(attempt, "OSError: no space left")


def _withdraw(corpus: Corpus, at: At) -> None:
    if at != SOURCE and (receipt := _current(corpus, at)):
        corpus.workspace.withdraw(receipt, "x is gone")


def _resize(corpus: Corpus, at: At) -> None:
    if at != SOURCE and (receipt := _current(corpus, at)):
        Path(corpus.workspace.store.path(receipt, "values.npy")).write_bytes(b"longer")


def _remove(corpus: Corpus, at: At) -> None:
    if at != SOURCE and (receipt := _current(corpus, at)):
        Path(corpus.workspace.store.path(receipt, "values.npy")).unlink(missing_ok=True)


def _put_back(corpus: Corpus, at: At) -> None:
    if receipt := _current(corpus, at):
        _write(corpus.workspace, receipt)


def _rebuild(corpus: Corpus, at: At) -> None:
    """Make the catalog of a key anew: of what there is, the artifact that was there at first is the current one."""
    catalog = corpus.workspace.catalog
    there = {(one.partition, one.folder): one for one, _ in catalog.all_of(at[0])}
    first = {key: one for key, one in corpus.first.items() if key[0] == at[0]}
    there |= {(one.partition, one.folder): one for one in first.values()}
    folders = {(one.partition, one.folder) for one in first.values()}
    catalog.rebuild(at[0], [(one, place in folders) for place, one in there.items()])


def _mark(corpus: Corpus, at: At) -> None:
    corpus.workspace.catalog.mark([title(*at)])


def _set(corpus: Corpus, at: At) -> None:
    """Change a setting: of the profile that the next look has."""
    seed = corpus.profile.selection.seed + 1
    selection = corpus.profile.selection.model_copy(update={"seed": seed})
    corpus.profile = corpus.profile.model_copy(update={"selection": selection})


def _train(corpus: Corpus, at: At) -> None:
    other = not corpus.profile.automation.training
    automation = corpus.profile.automation.model_copy(update={"training": other})
    corpus.profile = corpus.profile.model_copy(update={"automation": automation})


def _restart(corpus: Corpus, at: At) -> None:
    corpus.latest = None


EVENTS: dict[str, Callable[[Corpus, At], None]] = {
    "made": _make,
    "made otherwise": lambda corpus, at: _make(corpus, at, other=True),
    "failed": _fail,
    "withdrawn": _withdraw,
    "resized": _resize,
    "removed": _remove,
    "put back": _put_back,
    "rebuilt": _rebuild,
    "marked": _mark,
    "another setting": _set,
    "training": _train,
    "restarted": _restart,
}


def _seen(follow: Follow) -> dict[str, Any]:
    """Return all that a look tells: what is due, what waits and for what, and why each artifact is what it is."""
    versions = follow.versions
    reasons = {
        (step.key, p): [str(reason) for reason in versions.reasons(step, p)]
        for step in wanted_steps(versions.profile)
        for p in versions.partitions(step.by)
    }
    return {
        "due": follow.all_due(),
        "fingerprint": follow.fingerprint(),
        "why": follow.reasons(),
        "waiting": follow.waiting(),
        "next try": follow.next_try,
        "reasons": reasons,
        "receipts": {step.key: versions.receipts(step.key) for step in wanted_steps(versions.profile)},
    }


def _look(corpus: Corpus, now: float) -> dict[str, Any]:
    follow = Follow(corpus.workspace, now, earlier=corpus.latest)
    corpus.latest = follow.versions
    return _seen(follow)


@pytest.mark.parametrize("seed", range(2))
def test_it_sees_what_one_sees_that_reads_everything(corpus: Corpus, seed: int) -> None:
    random = Random(seed)
    for number in range(5):
        _look(corpus, now := 1e10 + number)
        for _ in range(random.randrange(5)):
            EVENTS[random.choice(sorted(EVENTS))](corpus, random.choice(sorted(corpus.first)))
        assert _look(corpus, now) == _seen(Follow(corpus.workspace, now)), (seed, number)


@pytest.mark.parametrize("event", ["withdrawn", "resized", "removed", "made otherwise", "another setting"])
def test_it_sees_what_happened(corpus: Corpus, event: str) -> None:
    at = ("density/subset", "20")
    before = _look(corpus, 1e10)
    assert not before["due"], "everything is current at first"
    EVENTS[event](corpus, at if event != "made otherwise" else ("corpus/documents", "s1.jsonl"))
    after = _look(corpus, 1e10)
    assert after["due"] and after["due"] == _seen(Follow(corpus.workspace, 1e10))["due"]


def test_what_is_current_still_is_not_read_again(corpus: Corpus) -> None:
    before = _look(corpus, 1e10)["receipts"]["corpus/tokens"]
    _make(corpus, ("corpus/tokens", "s1.jsonl"), other=True)
    after = _look(corpus, 1e10)["receipts"]["corpus/tokens"]
    assert [after[shard] is before[shard] for shard in SHARDS] == [True, False]
    assert after["s1.jsonl"].version != before["s1.jsonl"].version
