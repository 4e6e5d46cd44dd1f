"""Datasets of the hub as a corpus, against a server that speaks as the hub does: real requests, ranges and refusals."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from curation_assets.config.profile import load_profile
from curation_assets.config.settings import DocumentSettings
from curation_assets.corpus import discover, hub
from curation_assets.corpus.formats import read_rows
from curation_assets.corpus.walk import IncompleteListing
from curation_assets.corpus.watch import check_listing
from curation_assets.engine.graph import STEPS
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.corpus.hub_server import HubServer, hub_server, parquet
from curation_assets_tests.corpus_builders import CORPUS
from curation_assets_tests.making import load, materialize

ROWS = [{"id": f"d{i}", "text": f"The text of document {i}."} for i in range(600)]
CARD = b"""---
configs:
- config_name: en
  default: true
  data_files:
  - split: train
    path: en/*.parquet
  - split: validation
    path: held_out/en.jsonl
- config_name: de
  data_files: de/*.parquet
---
A dataset.
"""
FILES = {
    "README.md": CARD,
    "en/a.parquet": parquet(ROWS[:300]),
    "en/b.parquet": parquet(ROWS[300:]),
    "de/a.parquet": parquet(ROWS[:7]),
    "held_out/en.jsonl": b'{"id": "1", "text": "held out"}\n',
    "notes.txt": b"These are no data.",
}
URL = "hf://datasets/org/set"


@pytest.fixture
def server() -> Iterator[HubServer]:
    with hub_server() as found:
        hub._files.cache_clear()
        found.commit("org/set", FILES)
        found.asked.clear()
        yield found


def listing(server: HubServer, url: str) -> discover.Listing:
    return discover.find_files(url, {"endpoint": server.url})


def keys(server: HubServer, url: str) -> list[str]:
    return [file.key for file in listing(server, url).files]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("?split=train", ["en/a.parquet", "en/b.parquet"]),
        ("?config=en&split=validation", ["held_out/en.jsonl"]),
        ("/?config=de", ["de/a.parquet"]),
        ("/de/*.parquet", ["a.parquet"]),
        ("/en", ["a.parquet", "b.parquet"]),
        ("@main/de/a.parquet", ["a.parquet"]),
    ],
)
def test_config_and_split_are_those_of_the_card(server: HubServer, asked: str, expected: list[str]) -> None:
    assert keys(server, f"{URL}{asked}") == expected
    assert not any("/resolve/" in path for path, _ in server.asked), "no file is read"


def test_files_are_at_a_commit_and_their_digests_are_known(server: HubServer) -> None:
    [a, b] = listing(server, f"{URL}?split=train").files
    assert a.sha256 == hashlib.sha256(FILES["en/a.parquet"]).hexdigest() and a.size == len(
        FILES["en/a.parquet"]
    )
    assert hub.at_a_commit(a.url) and a.url.endswith("/en/a.parquet")
    server.commit("org/set", FILES | {"en/b.parquet": parquet(ROWS[301:]), "en/c.parquet": parquet(ROWS[:2])})
    changed = {file.key: file.sha256 for file in listing(server, f"{URL}?split=train").files}
    assert changed["en/a.parquet"] == a.sha256 and changed["en/b.parquet"] != b.sha256 and len(changed) == 3
    before = f"{URL}@{a.url.split('@')[1].split('/')[0]}?split=train"
    assert listing(server, before).files == [a, b], "a pinned commit stays what it was"
    rows = [raw.fields for raw in read_rows(b.url, DocumentSettings(), {"endpoint": server.url})]
    assert rows == ROWS[300:] and server.read("en/b.parquet")
    assert all(wanted.startswith("bytes=") for path, wanted in server.asked if "/resolve/" in path)


def test_a_commit_is_listed_once(server: HubServer) -> None:
    first = listing(server, f"{URL}?config=de")
    server.asked.clear()
    assert listing(server, f"{URL}?config=de") == first
    assert [path for path, _ in server.asked if "tree" in path] == []


def test_without_configs_files_are_told_by_their_names_and_other_files_passed_over(server: HubServer) -> None:
    shards = {
        f"data/{split}-0000{i}-of-00002.parquet": parquet(ROWS[:3])
        for split in ("train", "test")
        for i in (0, 1)
    }
    server.commit("org/plain", shards | {"README.md": b"no card"})
    assert keys(server, "hf://datasets/org/plain?split=test") == sorted(shards)[:2]
    server.commit("org/mixed", {"train.jsonl": b"{}\n", "train_pictures.zip": b"zip"})
    mixed = listing(server, "hf://datasets/org/mixed")
    assert [file.key for file in mixed.files] == ["train.jsonl"]
    assert mixed.passed_over == [("train_pictures.zip", ".zip: an archive, which is not read: unpack it")]


def test_the_branch_of_converted_parquet_has_folders_for_config_and_split(server: HubServer) -> None:
    converted = {
        f"{place}/0000.parquet": parquet(ROWS[:9]) for place in ("en/train", "en/test", "de/partial-train")
    }
    server.commit("org/set", converted | {".gitattributes": b"*.parquet filter=lfs"}, "refs/convert/parquet")
    for name in ("~parquet", "refs/convert/parquet"):
        assert keys(server, f"{URL}@{name}?config=en&split=train") == ["en/train/0000.parquet"]
    with pytest.raises(ValueError, match="no split 'train'; did you mean 'partial-train'"):
        listing(server, f"{URL}@~parquet?config=de&split=train")
    with pytest.raises(ValueError, match=r"add \?config=NAME: there are de, en"):
        listing(server, f"{URL}@~parquet")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("", r"add \?split=NAME: there are train, validation"),
        ("?config=fr", "no config 'fr'; there are en, de"),
        ("?split=trian", "no split 'trian'; did you mean 'train'"),
        ("?splt=train", "'splt' is neither config nor split; did you mean 'split'"),
        ("#en/train", r"expected hf://datasets/ORG/NAME, with @REVISION and \?config=CONFIG&split=SPLIT"),
    ],
)
def test_what_is_asked_for_and_not_there_is_named(server: HubServer, asked: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        listing(server, f"{URL}{asked}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "card",
    [
        f'data_files: "{path}"'
        for path in (
            "http://{place}/a.jsonl",
            "{home}/*.jsonl",
            "../other/a.jsonl",
            "hf://datasets/org/set/de/a.parquet",
            "zip://a.jsonl::http://{place}/a.zip",
        )
    ]
    + ['data_dir: "../other"', 'data_files: ["a.jsonl", "http://{place}/a.jsonl"]'],
)
def test_a_card_cannot_have_anything_read_outside_its_repository(
    server: HubServer, card: str, tmp_path: Path
) -> None:
    (tmp_path / "mine.jsonl").write_text("{}\n", "utf-8")
    named = card.format(place=server.url.removeprefix("http://"), home=tmp_path)
    readme = f"---\nconfigs:\n- config_name: default\n  {named}\n---\n".encode()
    server.commit("org/hostile", {"README.md": readme, "a.jsonl": b"{}\n"})
    with pytest.raises(ValueError, match="its card names files that are not in the repository") as raised:
        listing(server, "hf://datasets/org/hostile")
    assert "\n" not in str(raised.value)
    assert all("/datasets/org/hostile" in path for path, _ in server.asked), "nothing else is asked for"


def test_names_of_a_card_cannot_steer_a_terminal(server: HubServer) -> None:
    readme = b'---\nconfigs:\n- config_name: "a\\e[2J\\n"\n  data_files: a.jsonl\n- config_name: b\n  data_files: a.jsonl\n---\n'
    server.commit("org/odd", {"README.md": readme, "a.jsonl": b"{}\n"})
    with pytest.raises(ValueError, match="there are ") as raised:
        listing(server, "hf://datasets/org/odd")
    assert str(raised.value).isprintable() and "[2J" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        (
            "org/gated",
            IncompleteListing,
            "it is gated: accept its terms at https://huggingface.co/datasets/org/gated, and log in",
        ),
        ("org/absent", FileNotFoundError, "no such dataset, or a private one"),
        ("org/set@v9", FileNotFoundError, "no such revision"),
        ("org/broken", IncompleteListing, "the hub answers 501"),
    ],
)
def test_refusals_of_the_hub_are_one_line(
    server: HubServer, name: str, kind: type[OSError], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_pause", lambda wanted, number: 0.0)
    server.refuses |= {"org/gated": "GatedRepo", "org/broken": 501}
    server.repos |= {"org/gated": {}, "org/broken": {}}
    with pytest.raises(kind) as raised:
        listing(server, f"hf://datasets/{name}?split=train")
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_a_busy_hub_is_asked_again(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.busy = 3
    assert keys(server, f"{URL}?config=de") == ["de/a.parquet"]
    server.busy = 99
    monkeypatch.setattr(hub, "_pause", lambda wanted, number: 0.0)
    with pytest.raises(IncompleteListing, match="too many requests"):
        listing(server, f"{URL}?config=de")


def test_pauses_are_those_that_the_hub_asks_for_within_bounds() -> None:
    assert [hub._pause(None, n) for n in range(3)] == [1.0, 2.0, 4.0]
    assert (hub._pause("7", 0), hub._pause("9999", 0), hub._pause("Fri, 1 Jan", 1)) == (7.0, 60.0, 2.0)


def test_a_file_that_cannot_be_read_on_is_not_called_damaged(server: HubServer) -> None:
    [file] = listing(server, f"{URL}?config=de").files
    server.refuses["org/set"] = "GatedRepo"
    with pytest.raises(OSError, match="gated"):
        list(read_rows(file.url, DocumentSettings(), {"endpoint": server.url}))


@pytest.fixture
def workspace(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("CURATION_DATA", str(tmp_path / "data"))
    corpus = f'url = "{URL}?split=train"\nhq_url = ""\nstorage_options = {{ endpoint = "{server.url}" }}\n'
    (tmp_path / "hub.toml").write_text(f"[corpus]\n{corpus}", "utf-8")
    return Workspace(load_profile(tmp_path / "hub.toml"))


def run(workspace: Workspace) -> set[str]:
    """List and read what changed; return what was made."""
    made = set()
    for key in ("corpus/source", "corpus/shards", "corpus/documents"):
        for shard in workspace.partitions(STEPS[key].by):
            _, new = materialize(
                workspace, STEPS[key], shard, lambda inputs, k=key: load(CORPUS[k], workspace, STEPS[k])
            )
            made |= {f"{key}[{shard}]"} if new else set()
    return made


def test_a_new_commit_has_only_the_file_read_that_it_changes(server: HubServer, workspace: Workspace) -> None:
    run(workspace)
    assert workspace.metadata("corpus/documents", "en/a.parquet")["rows"] == 300
    assert not check_listing(workspace, None).changed
    first = workspace.metadata("corpus/source")["commit"]
    second = server.commit("org/set", FILES | {"en/b.parquet": parquet(ROWS[301:])})
    server.asked.clear()
    seen = check_listing(workspace, None)
    assert seen.changed, "at once: what a commit has is never still being written"
    assert {name for name in run(workspace) if "documents" in name} == {"corpus/documents[en/b.parquet]"}
    assert server.read("en/b.parquet") and not server.read("en/a.parquet")
    assert workspace.metadata("corpus/source")["commit"] == second != first
    assert not check_listing(workspace, None).changed


def test_a_hub_that_does_not_answer_is_no_change_of_the_corpus(
    server: HubServer, workspace: Workspace
) -> None:
    run(workspace)
    server.refuses["org/set"] = "GatedRepo"
    with pytest.raises(IncompleteListing, match="so the corpus stays as it was listed last"):
        check_listing(workspace, None)
    assert len(workspace.shards()) == 2


LIST = """
import json, sys
from curation_assets.corpus.discover import find_files
try:
    print(json.dumps([file.key for file in find_files(sys.argv[1]).files]))
except OSError as error:
    print(json.dumps(f"{type(error).__name__}: {error}"))
"""


@pytest.mark.process
def test_the_endpoint_and_being_offline_are_the_clients_own_settings(
    server: HubServer, tmp_path: Path
) -> None:
    def ask(**settings: str) -> object:
        done = subprocess.run(
            [sys.executable, "-c", LIST, f"{URL}?config=de"],
            env={**os.environ, "HF_HOME": str(tmp_path), "NO_PROXY": "*", **settings},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert ask(HF_ENDPOINT=server.url) == ["de/a.parquet"]
    assert "HF_HUB_OFFLINE is set" in str(ask(HF_ENDPOINT=server.url, HF_HUB_OFFLINE="1"))
    assert "cannot be reached" in str(ask(HF_ENDPOINT="http://127.0.0.1:9"))
