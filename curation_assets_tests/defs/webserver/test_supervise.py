"""What a UI leaves in the system's folder for temporary files."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.defs.webserver.supervise import folder_for_sockets


def test_what_a_killed_ui_left_goes_when_the_next_one_of_its_data_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    killed, of_other_data = folder_for_sockets(Path("/data/mine")), folder_for_sockets(Path("/data/theirs"))
    (Path(killed.name) / "code.sock").touch()
    with folder_for_sockets(Path("/data/mine")) as folder:
        assert sorted(tmp_path.iterdir()) == sorted([Path(folder), Path(of_other_data.name)])
    of_other_data.cleanup()
    killed.cleanup()
    assert not list(tmp_path.iterdir())
