"""A server that speaks as much of the hub's API as an upload of small files needs, and keeps what it is sent."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_a_test"


@dataclass
class Hub:
    """The datasets of one account: whether they are private, and the files of each branch."""

    url: str = ""
    private: dict[str, bool] = field(default_factory=dict)
    branches: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    refuse: dict[str, int] = field(default_factory=dict)
    """A part of an address, and the status that asking for it gets."""

    def answer(self, method: str, path: str, token: str, body: bytes) -> tuple[int, Any]:
        """Return a status and the JSON of an answer."""
        self.asked.append(f"{method} {path}")
        parts = [unquote(part) for part in path.strip("/").split("/")[1:]]
        if status := next((status for part, status in self.refuse.items() if part in path), 0):
            return status, {"error": "refused"}
        if token != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid username or password."}
        if parts == ["whoami-v2"]:
            return 200, {"name": "ann", "type": "user", "orgs": []}
        if parts == ["repos", "create"]:
            return self._create(json.loads(body))
        if parts == ["validate-yaml"]:
            return 200, {"errors": [], "warnings": []}
        if parts[0] != "datasets" or len(parts) < 5:
            return 404, {"error": "not found"}
        repository, what, branch = "/".join(parts[1:3]), parts[3], parts[4]
        if what == "branch":
            self.branches.setdefault((repository, branch), {})
            return 200, {}
        files = self.branches[repository, branch]
        if what == "tree":
            return 200, [_entry(name, content) for name, content in files.items()]
        if what == "preupload":
            wanted = json.loads(body)["files"]
            return 200, {"files": [_mode(one["path"], files) for one in wanted]}
        assert what == "commit"
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        return 200, {
            "commitUrl": f"{self.url}/datasets/{repository}/commit/{'0' * 40}",
            "commitOid": "0" * 40,
        }

    def _create(self, wanted: dict[str, Any]) -> tuple[int, Any]:
        name = f"{wanted['organization']}/{wanted['name']}"
        assert wanted["type"] == "dataset"
        answer = {"url": f"{self.url}/datasets/{name}"}
        if name in self.private:
            return 409, {"error": "exists", **answer}
        self.private[name] = wanted["visibility"] == "private"
        self.branches[name, "main"] = {".gitattributes": b""}
        return 200, answer


def _entry(name: str, content: bytes) -> dict[str, Any]:
    return {"type": "file", "path": name, "size": len(content), "oid": _oid(content)}


def _mode(name: str, files: dict[str, bytes]) -> dict[str, Any]:
    oid = _oid(files[name]) if name in files else None
    return {"path": name, "uploadMode": "regular", "shouldIgnore": False, "oid": oid}


def _oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def hub_server() -> Iterator[Hub]:
    """Serve a hub without datasets on loopback."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            token = self.headers.get("Authorization", "")
            status, answer = hub.answer(self.command, urlsplit(self.path).path, token, body)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _handle

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield hub
        server.shutdown()
        thread.join()
