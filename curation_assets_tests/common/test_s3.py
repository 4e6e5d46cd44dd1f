"""A server that is busy, or away for a while, delays what is asked of it and fails nothing."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from curation_assets.common.files import file_system
from curation_assets.common.s3 import with_defaults
from curation_assets_tests.s3_server import S3Server

pytestmark = pytest.mark.process


@pytest.mark.parametrize("fault", ["busy", "away"])
def test_sixteen_readers_and_writers_wait_for_a_server(
    s3: S3Server,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    monkeypatch.setattr("curation_assets.common.s3._warned", [-1e9])
    url = s3.bucket(f"patient-{fault}")
    fs, root = file_system(url, s3.options)
    fs.pipe_file(f"{root}/a", b"content")
    caplog.set_level(logging.WARNING)
    started = time.monotonic()
    if fault == "busy":
        s3.busy(seconds=3)
    else:
        s3.away(3)

    def use(number: int) -> Any:
        fs.get_file(f"{root}/a", str(tmp_path / f"a{number}"))
        fs.pipe_file(f"{root}/{number}", b"x" * number)
        return (tmp_path / f"a{number}").read_bytes()

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(use, range(1, 17))) == {b"content"}
    assert time.monotonic() - started > 2.5
    assert {name: about["size"] for name, about in fs.find(root, detail=True).items()} == {f"{root}/a": 7} | {
        f"{root}/{number}": number for number in range(1, 17)
    }
    assert [record.name for record in caplog.records] == ["curation_assets.common.s3"]


def test_what_will_not_pass_is_told_at_once(s3: S3Server) -> None:
    fs, root = file_system(s3.bucket("not-there"), s3.options)
    started = time.monotonic()
    with pytest.raises(FileNotFoundError):
        fs.cat_file(f"{root}/a")
    with pytest.raises(FileNotFoundError):
        file_system("s3://no-such-bucket/a", s3.options)[0].pipe_file("no-such-bucket/a", b"")
    assert time.monotonic() - started < 10


def test_the_user_has_the_last_word() -> None:
    mine = {"retries": {"mode": "adaptive"}, "read_timeout": 5}
    given = {"key": "k", "config_kwargs": mine, "use_listings_cache": True}
    assert with_defaults(given) == given
