"""Databases for catalogs, and the clock that they go by."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from curation_assets.engine.catalog import Catalog
from curation_assets.engine.database import Database
from curation_assets_tests.postgres_server import PASSWORD, PostgresServer


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.process)])
def catalog_url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    return server.url(server.database())


@pytest.fixture
def catalog(catalog_url: str) -> Catalog:
    """An empty catalog."""
    empty = Catalog(catalog_url)
    empty.create("memory://store", [], {})
    return empty


class Clock:
    """The database's clock, which can be put on."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.ahead, now = 0.0, Database.now
        patch.setattr(Database, "now", lambda database: sa.cast(now(database), sa.Double) + self.ahead)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which hearts beat and attempts begin."""
    return Clock(monkeypatch)
