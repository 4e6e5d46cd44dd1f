"""A server that answers as the hub does of datasets: revisions and cards, trees with digests, files in ranges, and its refusals."""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

_CODES = {
    "RepoNotFound": (401, "RepoNotFound"),
    "GatedRepo": (403, "GatedRepo"),
    "RevisionNotFound": (404, "RevisionNotFound"),
}


@dataclass
class HubServer:
    """What lies on the hub, and what was asked of it.

    Attributes
    ----------
    repos : {name: {commit: {path: content}}}; the last commit is `main`.
    refs : {name: {other revision: commit}}.
    refuses : {name: error code}, or an HTTP status, of every request.
    busy : so many of the next requests are answered by 429.
    asked : (path, Range) of each request.
    """

    url: str = ""
    repos: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    refs: dict[str, dict[str, str]] = field(default_factory=dict)
    refuses: dict[str, str | int] = field(default_factory=dict)
    busy: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)

    def commit(self, name: str, files: dict[str, bytes], ref: str = "main") -> str:
        """Add a commit with these files, and return its hash."""
        state = sorted((path, hashlib.sha256(content).hexdigest()) for path, content in files.items())
        commit = hashlib.sha1(json.dumps([name, ref, state]).encode(), usedforsecurity=False).hexdigest()
        self.repos.setdefault(name, {})[commit] = files
        self.refs.setdefault(name, {})[ref] = commit
        return commit

    def read(self, path: str) -> bool:
        """Tell whether content of a file was asked for."""
        return any("/resolve/" in asked and asked.endswith(path) for asked, _ in self.asked)


def parquet(rows: list[dict[str, Any]]) -> bytes:
    """Return rows as a Parquet file."""
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    return out.getvalue()


def _tree(files: dict[str, bytes], folder: str) -> list[dict[str, Any]]:
    below = {path: content for path, content in files.items() if path.startswith(folder)}
    folders = {
        path[: at.start()]
        for path in below
        for at in re.finditer("/", path)
        if path[: at.start()] + "/" != folder
    }
    listed: list[dict[str, Any]] = [
        {"type": "directory", "path": name, "size": 0, "oid": "0" * 40}
        for name in sorted(folders)
        if f"{name}/".startswith(folder)
    ]
    for path, content in below.items():
        about: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": "0" * 40}
        if not path.endswith((".md", ".txt")):
            about["lfs"] = {
                "oid": hashlib.sha256(content).hexdigest(),
                "size": len(content),
                "pointerSize": 130,
            }
        listed.append(about)
    return listed


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode(), Content_Type="application/json")

    def _refused(self, code: str | int) -> None:
        if isinstance(code, int):
            return self._answer(code)
        status, error = _CODES[code]
        self._answer(status, X_Error_Code=error, X_Error_Message=error)

    def do_GET(self) -> None:
        """Answer."""
        hub: HubServer = self.server.hub
        path = unquote(self.path.split("?")[0])
        hub.asked.append((path, self.headers.get("Range", "")))
        if hub.busy:
            hub.busy -= 1
            return self._answer(429, Retry_After="0")
        match = re.fullmatch(r"/(?:api/)?datasets/([^/]+/[^/]+)(?:/(revision|tree|resolve)/(.*))?", path)
        if match is None or match[1] not in hub.repos:
            return self._refused(hub.refuses.get(match[1], "RepoNotFound") if match else 404)
        name, what, rest = match[1], match[2], match[3] or ""
        if name in hub.refuses:
            return self._refused(hub.refuses[name])
        known = {**{commit: commit for commit in hub.repos[name]}, **hub.refs[name]}
        revision = next((ref for ref in known if f"{rest}/".startswith(f"{ref}/")), "" if what else "main")
        if not revision:
            return self._refused("RevisionNotFound")
        files = hub.repos[name][known[revision]]
        inside = rest[len(revision) + 1 :]
        if what == "tree":
            return self._json(_tree(files, f"{inside}/" if inside else ""))
        if what == "resolve":
            return self._file(files, inside, known[revision])
        front = re.match(rb"---\n(.*?)\n---", files.get("README.md", b""), re.DOTALL)
        card = yaml.safe_load(front[1]) if front else None
        self._json({"id": name, "sha": known[revision], "cardData": card, "tags": [], "siblings": []})

    do_HEAD = do_GET

    def _file(self, files: dict[str, bytes], path: str, commit: str) -> None:
        if path not in files:
            return self._answer(404, X_Error_Code="EntryNotFound")
        content, wanted = files[path], re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        more = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X_Repo_Commit": commit}
        if not wanted:
            return self._answer(200, content, **more)
        start, end = int(wanted[1]), min(int(wanted[2]), len(content) - 1)
        self._answer(
            206, content[start : end + 1], Content_Range=f"bytes {start}-{end}/{len(content)}", **more
        )

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def hub_server() -> Iterator[HubServer]:
    """Serve an empty hub."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    hub = HubServer(f"http://127.0.0.1:{server.server_port}")
    server.hub = hub  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
