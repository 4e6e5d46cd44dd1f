"""Which requests the guard hands on, tried with an application that answers everything."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from curation_assets.defs.webserver import guard
from curation_assets.defs.webserver.guard import Guard

OWN = "127.0.0.1:3000"
NAMES = [OWN, "localhost:3000", "[::1]:3000", "data.example.org"]
JSON = {"content-type": "application/json"}
SAME = {"origin": f"http://{OWN}", "sec-fetch-site": "same-origin", "referer": f"http://{OWN}/runs"}
LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


def client(password: str = "") -> TestClient:
    async def answer(request: Any) -> PlainTextResponse:
        return PlainTextResponse("answered", headers={"content-security-policy": "script-src 'self'"})

    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("answered")
        await socket.close()

    methods = ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]
    routes = [WebSocketRoute("/graphql", talk), Route("/{path:path}", answer, methods=methods)]
    return TestClient(Guard(Starlette(routes=routes), NAMES, password), base_url=f"http://{OWN}")


def asked(method: str, path: str, password: str = "", **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client(password).request(method, path, headers=named).status_code


@pytest.mark.parametrize("name", [*NAMES, "LOCALHOST:3000", "Data.Example.org"])
def test_its_own_names_are_answered(name: str) -> None:
    assert asked("GET", "/", host=name) == 200
    assert (
        asked("POST", "/graphql", host=name, origin=f"http://{name}", content_type="application/json") == 200
    )


@pytest.mark.parametrize(
    "name",
    [
        "evil.example",
        "evil.example:3000",
        "127.0.0.1",  # the port of another server
        "127.0.0.1:3001",
        "localhost:3000.evil.example",
        "127.0.0.1.nip.io:3000",
        "localhost.:3000",
        "0.0.0.0:3000",
        "user@127.0.0.1:3000",
        "127.0.0.1:3000, evil.example",
        "",
    ],
)
def test_other_names_are_not(name: str) -> None:
    """Whatever the method, the path and what else stands there: a page that was pointed here looks like its own."""
    for method, path in (("GET", "/"), ("GET", "/server_info"), ("POST", "/graphql")):
        assert (
            asked(method, path, host=name, origin=f"http://{name}", **{"content_type": "application/json"})
            == 421
        )
    with pytest.raises(WebSocketDisconnect):
        client().websocket_connect("/graphql", headers={"host": name, "origin": f"http://{name}"}).__enter__()


def test_two_names_are_none() -> None:
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": [(b"host", OWN.encode()), (b"host", b"evil")],
    }
    refusal = Guard(None, NAMES).refusal(scope)  # type: ignore[arg-type]
    assert refusal is not None and refusal.status == 421
    refusal = Guard(None, NAMES).refusal({**scope, "headers": []})  # type: ignore[arg-type]
    assert refusal is not None and refusal.status == 421


def test_what_its_pages_and_programs_ask_is_answered() -> None:
    assert asked("POST", "/graphql", **{**SAME, **JSON}) == 200
    assert asked("POST", "/graphql", content_type="application/json; charset=utf-8") == 200
    assert asked("GET", "/static/main.js", referer=f"http://{OWN}/", sec_fetch_site="same-origin") == 200
    assert asked("GET", "/", sec_fetch_site="none", sec_fetch_mode="navigate") == 200
    assert asked("GET", "/graphql", accept="text/html,*/*", sec_fetch_site="none") == 200
    assert asked("GET", "/logs/run/compute_logs/step.out", **SAME) == 200


def test_a_link_of_another_site_opens_a_page_and_nothing_else() -> None:
    link = {name.replace("-", "_"): value for name, value in LINK.items()}
    assert asked("GET", "/assets/density/metrics", referer="http://evil.example/", **link) == 200
    assert asked("GET", "/", referer="http://evil.example/") == 200, "an old browser tells no more"
    for path in (
        "/graphql?query={version}",
        "/graphql",
        "/logs/a/b.out",
        "/notebook?path=/x.ipynb",
        "/download_debug/1",
    ):
        assert asked("GET", path, accept="text/html", **link) == 403, path
    assert asked("POST", "/graphql", content_type="application/json", **link) == 403
    for kind in ("iframe", "frame", "embed", "object", "empty", "image"):
        assert asked("GET", "/", **{**link, "sec_fetch_dest": kind}) == 403, kind


FOREIGN = [
    {"origin": "http://evil.example"},
    {"origin": "null"},  # a sandboxed frame, a file
    {"origin": "http://127.0.0.1:8888"},  # another server of this machine
    {"origin": "http://localhost:3000"},  # a name of this server, but not the one that was asked
    {"origin": f"http://{OWN}.evil.example"},
    {"origin": f"file://{OWN}"},
    {"origin": f"http://{OWN}@evil.example"},
    {"origin": f"http://{OWN}", "sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"referer": "http://evil.example/127.0.0.1:3000/"},
    {"referer": "http://[evil/"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_what_other_pages_ask_is_refused(headers: dict[str, str]) -> None:
    for method, path in (
        ("POST", "/graphql"),
        ("POST", "/report_asset_materialization/a"),
        ("GET", "/graphql"),
    ):
        answer = client().request(method, path, headers={**JSON, **headers})
        assert (
            answer.status_code == 403
            and answer.text == "curation ui: requests of other sites' pages are refused\n"
        )
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=application/json",
        "text/plain; x=application/json",
        "application/graphql",
        "application/json-seq",
        "",
    ],
)
def test_a_form_cannot_post(kind: str) -> None:
    """These need no leave of the browser beforehand, and Dagster takes the query from some of them."""
    assert asked("POST", "/graphql?query=mutation{x}", content_type=kind) == 415
    assert asked("POST", "/graphql?query=mutation{x}") == 415


def test_nothing_is_done_by_get_and_other_methods_are_not_there() -> None:
    assert asked("GET", "/graphql?query=mutation{x}") == 405
    assert asked("GET", "/graphql/?query={version}", accept="application/json") == 405
    assert asked("HEAD", "/graphql?query=mutation{x}") == 405
    for method in ("OPTIONS", "PUT", "DELETE", "PATCH"):
        assert asked(method, "/graphql") == 405


@pytest.mark.parametrize("origin", ["", "http://evil.example", "null", "http://localhost:3000"])
def test_a_websocket_is_for_its_own_pages(origin: str) -> None:
    headers = {"host": OWN, **({"origin": origin} if origin else {})}
    with pytest.raises(WebSocketDisconnect):
        client().websocket_connect("/graphql", headers=headers).__enter__()
    with client().websocket_connect("/graphql", headers={"host": OWN, "origin": f"http://{OWN}"}) as socket:
        assert socket.receive_text() == "answered"


@pytest.mark.parametrize("path", ["/", "/assets/a", "/static/x.js"])
def test_its_pages_stand_in_no_frame(path: str) -> None:
    answer = client().get(path)
    assert answer.headers["x-frame-options"] == "DENY"
    policies = answer.headers.get_list("content-security-policy")
    assert "frame-ancestors 'none'" in policies and "script-src 'self'" in policies


def _basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


def test_a_password_is_asked_for_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_WRONG_PASSWORD_SECONDS", 0.0)
    secret = "correct höрse: battery"
    unknown = client(secret).get("/")
    assert unknown.status_code == 401 and unknown.headers["www-authenticate"].startswith("Basic realm=")
    for wrong in (_basic("me:wrong"), _basic(secret), "Bearer x", "Basic %%%", "Basic", _basic("me:"), ""):
        assert asked("GET", "/", secret, authorization=wrong) == 401, wrong
    assert asked("GET", "/", secret, authorization=_basic(f"anybody:{secret}")) == 200
    assert (
        asked("POST", "/graphql", secret, authorization=_basic(f":{secret}"), content_type="application/json")
        == 200
    )
    assert asked("GET", "/", secret, authorization=_basic(f":{secret}"), host="evil") == 421
    assert asked("GET", "/logs/x", secret, authorization=_basic(f":{secret}"), origin="http://evil") == 403
    socket = {"host": OWN, "origin": f"http://{OWN}"}
    with pytest.raises(WebSocketDisconnect):
        client(secret).websocket_connect("/graphql", headers=socket).__enter__()
    with client(secret).websocket_connect(
        "/graphql", headers={**socket, "authorization": _basic(f"x:{secret}")}
    ):
        pass


_HOSTILE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40).map(str.strip)


@given(origin=_HOSTILE, site=_HOSTILE, referer=_HOSTILE, kind=_HOSTILE)
def test_a_change_is_asked_for_by_its_own_pages_alone(
    origin: str, site: str, referer: str, kind: str
) -> None:
    """Of whatever headers: what is handed on has no header that a foreign page's request has."""
    given_headers = {"origin": origin, "sec-fetch-site": site, "referer": referer, "content-type": kind}
    headers = [(n.encode(), v.encode()) for n, v in given_headers.items()]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/graphql",
        "headers": [(b"host", OWN.encode()), *headers],
    }
    own = f"http://{OWN}"
    if Guard(None, NAMES).refusal(scope) is None:  # type: ignore[arg-type]
        assert origin.removeprefix("https").removeprefix("http").startswith(own.removeprefix("http"))
        assert (
            site in ("same-origin", "none") and kind.partition(";")[0].strip().lower() == "application/json"
        )
