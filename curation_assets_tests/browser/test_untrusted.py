"""Hostile documents, gone the whole way from a corpus file to what people look at: they are text there, in a real browser as well."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from curation_assets.cli.main import main
from curation_assets_tests.browser.conftest import EVIL_SHARD, Canary, Made, Watched, evil_documents
from curation_assets_tests.report.test_untrusted import HOST

pytestmark = pytest.mark.browser

if TYPE_CHECKING:
    from playwright.sync_api import Page

_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What steers a terminal or reverses writing."""
_ASSETS = {
    "corpus/documents": EVIL_SHARD,
    "density/subset": "80",
    "report/composition": "",
}
"""Some of the assets that show ids, texts and sources of documents, with a partition that has hostile ones."""
_ASK = """address => new Promise(done => {
  const image = new Image();
  image.onload = image.onerror = () => done();
  image.src = address;
})"""
_ELEMENT = re.compile("<(script|img|iframe|svg|meta|/svg|!--)")


def _is_inert(watched: Watched, canary: Canary, allowed: tuple[str, ...]) -> None:
    page = watched.page
    assert not watched.dialogs and "owned" not in page.title()
    assert all(address.startswith(allowed) for address in watched.requests)
    assert not canary.seen
    assert not page.locator(
        "iframe, object, embed, base, a[href^='javascript'], meta[http-equiv=refresh]"
    ).count()
    links = page.eval_on_selector_all("a", "found => found.map(a => a.href)")
    for host in (canary.host, HOST.lower()):
        assert not any(link.startswith(f"http://{host}") for link in links), "no text of the corpus is a link"


def test_in_the_report_it_is_text(watched: Watched, made: Made, canary: Canary) -> None:
    page = watched.page
    page.goto(made.report.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    assert "<script" in page.inner_text("body") and canary.host in page.inner_text("body")
    assert not page.locator("script, img:not([src^='data:image/svg+xml;base64,'])").count()
    _is_inert(watched, canary, (made.report.as_uri(),))


def test_in_the_ui_it_is_text(watched: Watched, ui: str, canary: Canary) -> None:
    page = watched.page
    for key, partition in _ASSETS.items():
        query = f"?view=partitions&partition={urllib.parse.quote(partition)}" if partition else ""
        page.goto(f"{ui}/assets/{key}{query}")
        page.get_by_text("input_versions", exact=True).first.wait_for()
        shown = ""
        for text in _opened(page):
            shown += text
            _is_inert(watched, canary, (ui, "data:", "blob:"))
        assert _ELEMENT.search(shown), f"{key} shows nothing hostile"
    page.evaluate(_ASK, f"http://{canary.host}/listens")
    assert canary.seen == ["/listens"], "had it been asked for anything, it would have noticed"
    canary.seen.clear()


def _opened(page: Page) -> Iterator[str]:
    """Yield the text of an asset's page, and then of each part of it that was folded away, while it is open."""
    yield page.inner_text("body")
    for fold in page.get_by_text("[Show Markdown]").all():
        fold.click()
        dialog = page.get_by_role("dialog")
        dialog.locator("table, img, p").first.wait_for()
        yield dialog.inner_text()
        dialog.get_by_role("button", name="Close").click()
        dialog.wait_for(state="detached")


def test_in_the_terminal_it_is_text(
    made: Made, canary: Canary, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("CURATION_PROFILE", "CURATION_DATA", "DAGSTER_HOME"):
        monkeypatch.setenv(name, made.environment[name])
    steering = [i for i, _, _ in evil_documents(canary.host) if _STEERING.search(i)]
    known = [i for i in steering if "\ud800" not in i]  # which is no text at all
    asked = [["explain", i] for i in known]
    asked += [
        ["status"],
        ["trace", "report/documents"],
        ["trace", "random/scores", "--partition", EVIL_SHARD],
    ]
    for words in asked:
        assert main(words) == 0, words
        told = capsys.readouterr()
        assert told.out and not _STEERING.search(told.out + told.err), words
    for unknown in ("\x1b[2J", *(i for i in steering if i not in known)):
        assert main(["explain", unknown]) == 1
        assert not _STEERING.search(capsys.readouterr().err.removesuffix("\n")), unknown
    assert EVIL_SHARD in made.printed and not _STEERING.search(made.printed)
