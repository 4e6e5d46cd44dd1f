"""Who may drive the UI: pages of its own, under names of its own, with the password where there is one.

A browser sends requests to loopback on behalf of any page that is open in it. What such a page may not do: read an
answer under a name of its own that it has pointed here (DNS rebinding: the Host is checked), and have something done
(cross-site request forgery: where a request comes from is checked, and nothing is done by GET or by a form).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_DATA = ("graphql", "logs", "notebook", "dagit", "download_debug")
"""First parts of the addresses that are no pages: nobody follows a link of another site to them."""
_METHODS = ("GET", "HEAD", "POST")
_WRONG_PASSWORD_SECONDS = 1.0
_HEADERS = {
    "x-frame-options": "DENY",
    "content-security-policy": "frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
"""On every answer; a page's own content-security-policy holds as well."""


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered: a status of HTTP, one line for people, headers of the answer."""

    status: int
    why: str
    headers: dict[str, str] = field(default_factory=dict)


class Guard:
    """An ASGI application that hands on to another what may be asked of it.

    Parameters
    ----------
    names : the values of the header Host that are answered, with their port.
    password : that of HTTP's Basic authentication, with any user's name; "" for none.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str], password: str = "") -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in names)
        self._password = password

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or a WebSocket's handshake."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self.refusal(scope)
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
            return
        if refusal.status == 401 and "authorization" in Headers(scope=scope):
            await asyncio.sleep(_WRONG_PASSWORD_SECONDS)  # guessing takes its time
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.why[:120]})
            return
        answer = PlainTextResponse(f"curation ui: {refusal.why}\n", refusal.status, refusal.headers)
        await answer(scope, receive, _with_headers(send))

    def refusal(self, scope: Scope) -> Refusal | None:
        """Return why a request is refused, or None."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        host = hosts[0].lower() if len(hosts) == 1 else ""
        if host not in self._names:
            return Refusal(
                421,
                f"this server does not answer as {', '.join(hosts) or 'a server without a name'} (--allowed-host adds a name)",
            )
        if not _is_own(scope, headers, host):
            return Refusal(403, "requests of other sites' pages are refused")
        if not self._knows(headers):
            return Refusal(
                401,
                "a password is needed",
                {"www-authenticate": 'Basic realm="curation ui", charset="UTF-8"'},
            )
        return _unsafe(scope, headers) if scope["type"] == "http" else None

    def _knows(self, headers: Headers) -> bool:
        """Tell whether the password is there, where one is needed; in a time that does not depend on what is wrong."""
        if not self._password:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        try:
            decoded = base64.b64decode(given, validate=True) if kind.lower() == "basic" else b""
        except (binascii.Error, ValueError):
            decoded = b""
        password = decoded.partition(b":")[2]
        return hmac.compare_digest(_digest(password), _digest(self._password.encode()))


def _digest(password: bytes) -> bytes:
    return hashlib.sha256(password).digest()


def _is_own(scope: Scope, headers: Headers, host: str) -> bool:
    """Tell whether a request comes from a page of this server, from no page at all, or is a link that somebody followed."""
    origins = headers.getlist("origin")
    if scope["type"] == "websocket":  # whose handshake tells a browser's page by Origin alone
        return len(origins) == 1 and _at(origins[0]) == host
    if any(_at(origin) != host for origin in origins):
        return False
    if _is_a_link(scope, headers):
        return True
    if not set(headers.getlist("sec-fetch-site")) <= {"same-origin", "none"}:
        return False
    return all(_at(page) == host for page in headers.getlist("referer"))


def _is_a_link(scope: Scope, headers: Headers) -> bool:
    """Tell whether a person may have followed a link here: the whole window goes to a page of this server."""
    if scope["method"] not in ("GET", "HEAD") or _first(scope) in _DATA:
        return False
    modes, kinds = headers.getlist("sec-fetch-mode"), headers.getlist("sec-fetch-dest")
    return set(modes) <= {"navigate"} and set(kinds) <= {"document"}


def _unsafe(scope: Scope, headers: Headers) -> Refusal | None:
    """Return what is wrong with how something is asked, whoever asks."""
    method = scope["method"]
    if method not in _METHODS:
        return Refusal(405, f"{method} is not answered", {"allow": ", ".join(_METHODS)})
    if method == "POST":
        kinds = [kind.partition(";")[0].strip().lower() for kind in headers.getlist("content-type")]
        if kinds != ["application/json"]:
            return Refusal(415, "a POST is answered if its Content-Type is application/json")
    elif _first(scope) == "graphql" and "text/html" not in headers.get("accept", ""):
        return Refusal(405, "GraphQL is asked by POST", {"allow": "POST"})
    return None


def _first(scope: Scope) -> str:
    return str(scope["path"]).strip("/").partition("/")[0]


def _at(url: str) -> str:
    """Return the name and port in a URL or an origin, as a Host header has them; "" where there is none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts.netloc.lower() if parts.scheme in ("http", "https") else ""


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.append(name, value)
        await send(message)

    return sending
