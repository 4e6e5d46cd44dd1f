"""A server that is away delays a transaction, or ends it in one line; one that refuses us says so at once."""

from __future__ import annotations

import threading
import time

import pytest

from curation_assets.engine import database
from curation_assets.engine.catalog import Catalog
from curation_assets.engine.database import CatalogUnavailable
from curation_assets_tests.postgres_server import PASSWORD, PostgresServer

pytestmark = pytest.mark.process


@pytest.fixture
def url(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    return postgres.url(postgres.database())


def test_a_restart_is_waited_for(postgres: PostgresServer, url: str) -> None:
    catalog = Catalog(url)
    about = catalog.create("store", [], {})
    postgres.stop()
    starting = threading.Timer(1.0, postgres.start)
    starting.start()
    catalog.mark(["a"])
    starting.join()
    assert catalog.about()["id"] == about and catalog.marks().keys() == {"a"}


def test_who_is_refused_or_waits_in_vain_hears_it_in_one_line(
    postgres: PostgresServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_WAIT", 1.0)
    started = time.monotonic()
    with pytest.raises(
        CatalogUnavailable, match=r"^the catalog postgresql.*does not exist\): make it and .*$"
    ):
        Catalog(url + "x").about()
    monkeypatch.setenv("PGPASSWORD", "wrong")
    with pytest.raises(
        CatalogUnavailable,
        match=r"^the catalog .*password authentication failed.*\): mend .* or the password .*$",
    ):
        Catalog(url).about()
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    postgres.stop()
    try:
        with pytest.raises(
            CatalogUnavailable, match=r"^the catalog .*refused.*\): start the server, .*$"
        ) as caught:
            Catalog(url).about()
    finally:
        postgres.start()
    assert "\n" not in str(caught.value) and time.monotonic() - started < 20
