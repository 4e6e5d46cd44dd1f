"""A push to the hub: the whole export or nothing, private, and one line where it cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from curation_assets.selection.export.hub import parse_repository, push
from curation_assets_tests.selection.export.hub_server import TOKEN, Hub, hub_server
from curation_assets_tests.selection.export.written import write_export


@pytest.fixture(params=["one commit", "xet"])
def hub(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub, and an account on it; the client sends files in both of its ways."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", request.param != "xet")
    with hub_server() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


def _content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_all_of_an_export_is_pushed_to_a_private_dataset(tmp_path: Path, hub: Hub) -> None:
    """The bytes that arrive are those of the folder."""
    write_export(tmp_path / "out")
    assert push(tmp_path / "out", "ann/chosen") == f"{hub.url}/datasets/ann/chosen"
    assert hub.private == {"ann/chosen": True}
    assert hub.branches["ann/chosen", "main"] == {".gitattributes": b"", **_content(tmp_path / "out")}


def test_a_push_leaves_no_file_of_the_export_before(tmp_path: Path, hub: Hub) -> None:
    """Nor anything that somebody put beside an export's files here; what lies beside them there stays."""
    write_export(tmp_path / "five", files=5)
    push(tmp_path / "five", "ann/chosen")
    hub.branches["ann/chosen", "main"]["LICENSE"] = b"theirs"
    hub.private["ann/chosen"] = False
    write_export(tmp_path / "two", count=20, files=2)
    wanted = _content(tmp_path / "two")
    (tmp_path / "two" / "data" / "notes.txt").write_text("mine")
    push(tmp_path / "two", "ann/chosen")
    files = hub.branches["ann/chosen", "main"]
    assert files == {".gitattributes": b"", "LICENSE": b"theirs", **wanted}
    assert hub.private == {"ann/chosen": False}


def test_a_branch_is_made(tmp_path: Path, hub: Hub) -> None:
    """The main branch stays as it was."""
    write_export(tmp_path / "out")
    push(tmp_path / "out", "ann/chosen@twenty")
    assert set(hub.branches["ann/chosen", "main"]) == {".gitattributes"}
    assert hub.branches["ann/chosen", "twenty"] == _content(tmp_path / "out")


def test_the_same_push_again_sends_nothing(tmp_path: Path, hub: Hub) -> None:
    """As after one that was stopped: what the hub has is not sent again."""
    write_export(tmp_path / "out")
    push(tmp_path / "out", "ann/chosen@b")
    hub.asked.clear()
    hub.refuse["/commit/"] = 500
    with pytest.raises(ValueError, match="HTTP status"):  # the address of the last commit is asked for
        hub.refuse["/revision/"] = 404
        push(tmp_path / "out", "ann/chosen@b")
    assert not [line for line in hub.asked if "/commit/" in line]


@pytest.mark.parametrize("damage", ["manifest", "card", "missing", "changed", "longer"])
def test_what_is_not_whole_is_not_pushed(tmp_path: Path, hub: Hub, damage: str) -> None:
    """The hub is not even asked."""
    out = tmp_path / "out"
    write_export(out)
    part = out / "data" / "part-00001.parquet"
    if damage in ("manifest", "card"):
        (out / {"manifest": "manifest.json", "card": "README.md"}[damage]).unlink()
    elif damage == "missing":
        part.unlink()
    else:
        content = part.read_bytes()
        part.write_bytes(content + b"x" if damage == "longer" else content[:50] + b"x" + content[51:])
    about = {"manifest": "no export was finished", "card": "has no README.md"}.get(
        damage, "part-00001.parquet"
    )
    with pytest.raises(ValueError, match=about):
        push(out, "ann/chosen")
    assert hub.asked == []


def test_without_an_account_there_is_one_line(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That says how to log in; nothing is made."""
    write_export(tmp_path / "out")
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    with pytest.raises(
        ValueError, match=r"ann/chosen: the hub does not let this account write .*hf auth login"
    ):
        push(tmp_path / "out", "ann/chosen")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(ValueError, match="nobody is logged in to the hub: log in"):
        push(tmp_path / "out", "ann/chosen")
    assert hub.private == {}


def test_a_hub_that_refuses_or_is_not_there_is_one_line(
    tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the answer, its status is said."""
    write_export(tmp_path / "out")
    hub.refuse["/repos/create"] = 403
    hub.refuse["/datasets/"] = 403
    with pytest.raises(ValueError, match="does not let this account write"):
        push(tmp_path / "out", "ann/chosen")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match="ann/chosen: the hub cannot be reached"):
        push(tmp_path / "out", "ann/chosen")


@pytest.mark.parametrize(
    "to", ["chosen", "a/b/c", "ann/chosen@", "../x", "https://huggingface.co/a/b", "-a/b", ""]
)
def test_a_name_that_is_none_is_refused(to: str) -> None:
    """Before anything is read."""
    with pytest.raises(ValueError, match="expected ORG/NAME"):
        parse_repository(to)


def test_a_bucket_is_not_pushed(tmp_path: Path) -> None:
    """Files are sent from this machine."""
    with pytest.raises(ValueError, match="is no folder of this machine"):
        push("s3://bucket/out", "ann/chosen")
