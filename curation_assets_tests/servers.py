"""Servers that tests share: each starts once a session, when a test first asks for it. Such tests start processes, and bear a mark."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from curation_assets_tests.postgres_server import PostgresServer, postgres_server, programs
from curation_assets_tests.s3_server import S3Server, s3_server


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """An S3 server: moto's."""
    with s3_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real Postgres server; whoever stops it starts it again."""
    if (folder := programs()) is None:
        pytest.skip(
            "there is no Postgres here that this user may start: install Debian's package `postgresql`"
        )
    with postgres_server(folder) as server:
        yield server
