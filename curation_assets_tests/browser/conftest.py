"""One small run, `curation ui` on it and a browser, shared by all tests here: each costs seconds to start.

They end with the last test here: the browser's driver keeps an event loop, beside which Dagster cannot start one.

The corpus is half made of documents that want to be more than text; some of them try to reach an address that listens.
"""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from curation_assets.config.profile import load_profile
from curation_assets.engine.workspace import Workspace
from curation_assets.report.page_build import published
from curation_assets_tests.browser.serving import CHROMIUM, launch, served
from curation_assets_tests.conftest import TINY, stdlib_texts
from curation_assets_tests.report.test_untrusted import EVIL, HOST

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

PATIENCE = 90_000.0  # milliseconds that anything may take on a busy machine
EVIL_SHARD = "a<img src=x onerror=alert(1)>'$(x).jsonl"
_SMALL = """
[run]
samplers = ["random", "density"]
amounts = ["20%"]
sizes = ["small"]
[automation]
follow = false
"""


@dataclass
class Canary:
    """An address that nobody should ever ask for anything, and what was asked for all the same."""

    host: str
    seen: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Made:
    """A data folder with everything in it, how to work on it, and what `curation run` printed."""

    workspace: Workspace
    environment: dict[str, str]
    printed: str

    @property
    def report(self) -> Path:
        """The page that people open."""
        return published(self.workspace)


def curation(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would; `stdout` is all that it prints, on both streams."""
    command = [sys.executable, "-m", "curation_assets.cli", *arguments]
    folder = Path(environment["CURATION_PROFILE"]).parent
    return subprocess.run(
        command, env=environment, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@dataclass
class Watched:
    """A page, and what it did that a page of text does not do."""

    page: Page
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Listen."""
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("dialog", self._dismiss)

    def _dismiss(self, dialog: object) -> None:
        self.dialogs.append(dialog.message)  # type: ignore[attr-defined]
        dialog.dismiss()  # type: ignore[attr-defined]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH: apt-get install chromium")
    driver = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    driver.expect.set_options(timeout=PATIENCE)
    with driver.sync_playwright() as playwright:
        found = launch(playwright)
        yield found
        found.close()


@pytest.fixture(scope="package")
def canary() -> Iterator[Canary]:
    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.seen.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        found = Canary(f"127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield found
        server.shutdown()


@pytest.fixture(scope="package")
def made(browser: Browser, canary: Canary, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Run the whole graph for two samplers, as a user would; without a browser there is no need to."""
    folder = tmp_path_factory.mktemp("browser")
    ordinary = [(name, text, "stdlib") for name, text in stdlib_texts()]
    _write(folder / "shards" / EVIL_SHARD, [*evil_documents(canary.host), *ordinary[:40]])
    _write(folder / "shards" / "b.jsonl", ordinary[40:100])
    _write(folder / "hq.jsonl", ordinary[100:120])
    profile = folder / "small.toml"
    profile.write_text(TINY.replace("{teacher}", str(folder / "nobody")) + _SMALL, "utf-8")
    data = folder / "data"
    environment = os.environ | {
        "CURATION_PROFILE": str(profile),
        "CURATION_DATA": str(data),
        "DAGSTER_HOME": str(data / "dagster_home"),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CURATION_DATA", str(data))
        workspace = Workspace(load_profile(str(profile)))
    done = curation(environment, "run")
    assert done.returncode == 0, done.stdout
    return Made(workspace, environment, done.stdout)


def evil_documents(host: str) -> list[tuple[str, str, str]]:
    """Return (id, text, source) with hostile text in all three, and then in the id and source of a harmless text.

    The address that listens is another one each time. It is not in the ids, so that the same documents are chosen.
    """
    found = []
    for (name, text), (_, harmless) in zip(EVIL.items(), stdlib_texts(), strict=False):
        hostile = text.replace(HOST, host)
        found.append((f"{name} {text[:150]}", f"{hostile} of document {name}\n{harmless}", hostile[:200]))
        if name in ("terminal", "bidi", "nul"):
            found.append((f"{name}2 {text}", f"A harmless text. {harmless}", hostile))
    return found


def _write(path: Path, rows: list[tuple[str, str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"id": i, "text": text, "source": source}) for i, text, source in rows]
    path.write_text("\n".join(lines) + "\n", "utf-8")


@pytest.fixture(scope="package")
def ui(made: Made) -> Iterator[str]:
    """The address of `curation ui`."""
    with served(made.workspace.data.parent / "ui.log", made.environment) as url:
        yield url


@pytest.fixture(scope="package")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser as one person uses it: what it has loaded once, it need not load again."""
    with browser.new_context(viewport={"width": 1280, "height": 800}) as found:
        found.set_default_timeout(PATIENCE)
        yield found


@pytest.fixture
def watched(context: BrowserContext) -> Iterator[Watched]:
    """A page of its own."""
    with context.new_page() as page:
        yield Watched(page)
