"""`curation catalog check`: what is damaged is said and made anew, whatever it is, and nothing else is touched."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from curation_assets.cli.main import main
from curation_assets.engine.verify import verify
from curation_assets.engine.workspace import Workspace
from curation_assets_tests.engine.stocked import DOCUMENTS, make, opened, publish, stocked, titles


@pytest.fixture(params=["local", "memory"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A data folder with a few artifacts, one of which was replaced."""
    workspace = stocked(
        tmp_path, monkeypatch, "" if request.param == "local" else f"memory://{tmp_path.name}"
    )
    make(workspace, DOCUMENTS, "a", "newer")
    return workspace


@pytest.mark.parametrize("digests", [False, True])
def test_nothing_is_wrong_with_what_was_written(workspace: Workspace, digests: bool) -> None:
    before, orphan = titles(workspace), publish(workspace, DOCUMENTS, "a")
    heard: list[tuple[float, float]] = []
    verdict = verify(workspace, digests=digests, progress=lambda *what: heard.append(what[:2]))  # type: ignore[misc]
    assert heard[-1][0] == pytest.approx(heard[-1][1]) and heard == sorted(heard)
    assert verdict.sound and verdict.artifacts == len(before) + 1 and titles(workspace) == before
    assert verdict.unreferenced == [
        sum(size for size, _ in orphan.files.values()) + _manifest_size(workspace, orphan)
    ]


def _manifest_size(workspace: Workspace, receipt: object) -> int:
    return int(workspace.store.fs.size(workspace.store.path(receipt, "receipt.json")))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("flip", "below/losses.npy changed since it was written"),
        ("truncate", "below/losses.npy has 2 bytes, not 5"),
        ("delete", "below/losses.npy is gone"),
        ("all", "below/losses.npy is gone"),
    ],
)
@pytest.mark.parametrize("digests", [False, True])
def test_damage_is_said_and_withdrawn(workspace: Workspace, damage: str, problem: str, digests: bool) -> None:
    before, receipt = titles(workspace), workspace.artifact(DOCUMENTS, "a")
    fs, path = workspace.store.fs, workspace.store.path(receipt, "below/losses.npy")
    if damage == "flip":
        fs.pipe_file(path, b"nevers"[:5])
    elif damage == "truncate":
        fs.pipe_file(path, b"ne")
    else:
        fs.rm(path if damage == "delete" else workspace.store.path(receipt), recursive=damage == "all")
    verdict = verify(workspace, digests=digests)
    if damage == "flip" and not digests:
        assert verdict.sound and titles(workspace) == before, "sizes do not show it"
        return
    assert verdict.damaged == {"corpus/documents[a]": problem}
    del before[DOCUMENTS, "a"]
    assert titles(workspace) == before and verify(workspace, digests=digests).sound
    make(workspace, DOCUMENTS, "a", "anew")
    assert verify(workspace, digests=True).sound


def test_what_a_store_does_not_explain_is_no_damage(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """s3fs gives each answer that it does not know the number of a broken disk."""
    receipt, before = workspace.artifact(DOCUMENTS, "a"), titles(workspace)

    def unknown(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "XMinioServerNotInitialized")

    with monkeypatch.context() as patch:
        patch.setattr(workspace.store.fs, "open", unknown)
        if workspace.store.local:
            assert workspace.store.changed(receipt).endswith("cannot be read (XMinioServerNotInitialized)")
        else:
            with pytest.raises(OSError, match="XMinioServerNotInitialized"):
                verify(workspace, digests=True)
    assert titles(workspace) == before


def test_each_byte_of_an_artifact_counts(workspace: Workspace) -> None:
    receipt = workspace.artifact(DOCUMENTS, "b")
    for name in receipt.files:
        path = workspace.store.path(receipt, name)
        content = workspace.store.read(path)
        for at in range(len(content)):
            workspace.store.fs.pipe_file(path, content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            verdict = verify(workspace, digests=True)
            assert verdict.damaged == {"corpus/documents[b]": f"{name} changed since it was written"}
            workspace.store.fs.pipe_file(path, content)
            receipt = make(workspace, DOCUMENTS, "b")
            path = workspace.store.path(receipt, name)


@pytest.mark.parametrize("damage", ["torn", "gone", "lies"])
def test_a_damaged_manifest_is_written_anew_from_the_catalog(workspace: Workspace, damage: str) -> None:
    before, receipt = titles(workspace), workspace.artifact(DOCUMENTS, "b")
    path, sealed = workspace.store.path(receipt, "receipt.json"), b""
    sealed = workspace.store.read(path)
    if damage == "gone":
        workspace.store.fs.rm_file(path)
    else:
        workspace.store.fs.pipe_file(
            path, sealed[:99] if damage == "torn" else sealed.replace(b'"rows": 3', b'"rows": 4')
        )
    verdict = verify(workspace, digests=True)
    assert verdict.manifests == ["corpus/documents[b]"] and not verdict.damaged and not verdict.sound
    assert workspace.store.read(path) == sealed and titles(workspace) == before
    assert verify(workspace, digests=True).sound


def test_damage_of_a_shared_folder_is_that_of_all_who_share_it(workspace: Workspace) -> None:
    from dataclasses import replace

    first = workspace.artifact(DOCUMENTS, "b")
    with workspace.catalog.writer() as writer:
        lease = workspace.catalog.begin(writer, DOCUMENTS, {"c": ("w", "")}, "")["c"]
        workspace.catalog.commit(replace(first, partition="c"), lease, another=True)
    assert verify(workspace, digests=True).sound
    workspace.store.fs.pipe_file(workspace.store.path(first, "table"), b"a taxis")
    assert verify(workspace, digests=True).damaged.keys() == {"corpus/documents[b]", "corpus/documents[c]"}
    assert titles(workspace).keys() & {(DOCUMENTS, "b"), (DOCUMENTS, "c")} == set()


def test_the_command_says_what_is_wrong_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = stocked(tmp_path, monkeypatch)
    assert main(["catalog", "check"]) == 0
    assert "5 artifacts" in (told := capsys.readouterr().out) and told.strip().endswith(
        "files as well): 0 wrong"
    )
    (Path(workspace.store.path(workspace.artifact(DOCUMENTS, "a"))) / "table").write_text("A table")
    assert main(["catalog", "check"]) == 0
    capsys.readouterr()
    assert main(["catalog", "check", "--digests"]) == 1
    told = capsys.readouterr().out
    assert told.startswith("corpus/documents[a]: table changed since it was written; withdrawn\n")
    assert (
        told.endswith("call `curation run`: it makes anew what was withdrawn\n")
        and "(every byte read): 1 wrong" in told
    )
    assert (DOCUMENTS, "a") not in titles(opened())
    assert main(["catalog", "check", "--digests"]) == 0
