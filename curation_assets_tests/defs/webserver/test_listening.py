"""Where the UI may listen, and what it is called there."""

from __future__ import annotations

import argparse
import os
import socket
from pathlib import Path

import pytest

from curation_assets.config.profile import ProfileError
from curation_assets.defs.webserver.listening import PASSWORD, Listening, add_options, open_for


def opened(*words: str) -> Listening:
    parser = argparse.ArgumentParser()
    add_options(parser)
    found = open_for(parser.parse_args(["--port", "0", *words]))
    found.bound.close()
    return found


@pytest.fixture(autouse=True)
def _no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD, raising=False)


def test_loopback_is_the_default_and_needs_no_password() -> None:
    found = opened()
    port = found.url.rpartition(":")[2]
    assert found.url == f"http://127.0.0.1:{port}" and found.password == ""
    assert set(found.names) == {f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"}


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.1"])
def test_beyond_loopback_a_password_is_needed(address: str) -> None:
    with pytest.raises(ProfileError, match=f"beyond loopback the UI needs a password: set {PASSWORD}"):
        opened("--host", address)


@pytest.mark.parametrize("address", ["localhost", "127.0.0.2"])
def test_other_addresses_of_loopback_are_loopback(address: str) -> None:
    port = (found := opened("--host", address)).url.rpartition(":")[2]
    assert f"{address}:{port}" in found.names


def test_a_password_comes_from_a_file_or_the_environment_and_stays_in_neither_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD, "from the environment")
    found = opened("--host", "0.0.0.0")
    assert found.password == "from the environment" and PASSWORD not in os.environ
    (tmp_path / "secret").write_text("from the file\nand a remark\n")
    assert opened("--password-file", str(tmp_path / "secret")).password == "from the file"
    for text in ("", "\n", "short"):
        (tmp_path / "secret").write_text(text)
        with pytest.raises(ProfileError, match="too short"):
            opened("--password-file", str(tmp_path / "secret"))
    with pytest.raises(ProfileError, match="cannot read this password"):
        opened("--password-file", str(tmp_path / "nowhere"))


def test_on_all_addresses_it_is_called_by_each_and_by_the_machines_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(PASSWORD, "long enough")
    found = opened("--host", "0.0.0.0")
    port = found.url.rpartition(":")[2]
    assert {f"127.0.0.1:{port}", f"{socket.gethostname()}:{port}"} <= set(found.names)
    assert f"0.0.0.0:{port}" not in found.names


def test_names_of_proxies_are_added() -> None:
    names = opened("--allowed-host", "data.example.org", "--allowed-host", "localhost:8080").names
    port = names[0].rpartition(":")[2]
    assert {"data.example.org", f"data.example.org:{port}", "localhost:8080"} <= set(names)


@pytest.mark.parametrize("words", [("--host", "nowhere.invalid"), ("--port", "-1"), ("--port", "70000")])
def test_what_there_is_not_is_one_line(words: tuple[str, str]) -> None:
    with pytest.raises(ProfileError) as refused:
        opened(*words)
    assert "\n" not in str(refused.value)
