"""What a page of another server can do to the UI, with a browser in which both are open: open a link, and nothing else."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from curation_assets_tests.browser.conftest import Watched
from curation_assets_tests.browser.serving import asked

pytestmark = pytest.mark.browser

if TYPE_CHECKING:
    from playwright.sync_api import Page

EVENTS = '{ assetOrError(assetKey: {path: ["density", "subset"]}) { ... on Asset { assetMaterializations { timestamp } } } }'
WIPE = 'mutation { wipeAssets(assetPartitionRanges: [{assetKey: {path: ["density", "subset"]}}]) { __typename } }'
TRY = """async ([ui, wipe]) => {
  const body = JSON.stringify({query: wipe}), told = {};
  const tell = async (name, send) => told[name] = await send().then(answer => `${answer.type} ${answer.status}`, error => 'failed');
  const post = (type, mode) => fetch(`${ui}/graphql`, {method: 'POST', mode, headers: {'content-type': type}, body, credentials: 'include'});
  await tell('json', () => post('application/json', 'cors'));
  await tell('text', () => post('text/plain', 'no-cors'));
  await tell('query', () => fetch(`${ui}/graphql?query=${encodeURIComponent(wipe)}`, {mode: 'no-cors'}));
  await tell('read', () => fetch(`${ui}/server_info`));
  told.image = await new Promise(done => { const i = new Image(); i.onload = () => done('loaded'); i.onerror = () => done('failed');
    i.src = `${ui}/graphql?query=${encodeURIComponent(wipe)}`; });
  told.socket = await new Promise(done => { const s = new WebSocket(ui.replace('http', 'ws') + '/graphql', 'graphql-ws');
    s.onopen = () => done('open'); s.onerror = () => done('failed'); });
  const form = document.createElement('form');
  form.method = 'post'; form.action = `${ui}/graphql?query=${encodeURIComponent(wipe)}`; form.target = 'inside';
  const frame = document.createElement('iframe'); frame.name = 'inside'; frame.src = ui;
  document.body.append(frame, form); form.submit();
  await new Promise(done => setTimeout(done, 2000));
  return told;
}"""


@pytest.fixture
def stranger() -> Iterator[str]:
    """A server on another port of this machine: the same site, which is what makes it dangerous, and another origin."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><body>a page</body>")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{{}}:{server.server_port}"
        server.shutdown()


def _events(ui: str) -> Any:
    return asked(ui, EVENTS)["assetOrError"]["assetMaterializations"]


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_page_of_another_origin_drives_nothing(watched: Watched, ui: str, stranger: str, name: str) -> None:
    page: Page = watched.page
    before = _events(ui)
    assert before
    page.goto(stranger.format(name))
    told = page.evaluate(TRY, [ui, WIPE])
    assert len(told) == 6 and set(told.values()) == {"failed"}, json.dumps(told)
    assert _events(ui) == before, "nothing was wiped"
    frames = [frame.url for frame in page.frames if frame != page.main_frame]
    assert not any(url.startswith(ui) for url in frames), "it stands in no frame"


def test_a_link_leads_to_a_page(watched: Watched, ui: str, stranger: str) -> None:
    page: Page = watched.page
    page.goto(stranger.format("localhost"))
    page.evaluate(f"location.href = '{ui}/assets/density/subset?view=partitions&partition=20'")
    page.get_by_text("rate_realised", exact=True).wait_for()
