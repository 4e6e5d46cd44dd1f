"""An S3 server on loopback: moto's, in a process of its own, that counts requests and fails when it is told to."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_CONTROL = "/_control"  # no bucket's name begins so
_STARTS_WITHIN = 60.0


class S3Server:
    """Speaks to the server: what was asked of it, and what it is to do wrong."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    @property
    def options(self) -> dict[str, Any]:
        """What fsspec must know to reach it: `execution.store_options`, `corpus.storage_options`."""
        client = {"endpoint_url": self.url, "region_name": "us-east-1"}
        return {"key": "test", "secret": "test", "client_kwargs": client}

    def toml(self, section: str) -> str:
        """Return `options` as a table of a profile."""
        return (
            f'[{section}]\nkey = "test"\nsecret = "test"\n'
            f'client_kwargs = {{ endpoint_url = "{self.url}", region_name = "us-east-1" }}\n'
        )

    def file_system(self) -> Any:
        """Return a file system for tests to look at what there is: nothing is cached, nothing tried again."""
        import s3fs

        return s3fs.S3FileSystem(**self.options, skip_instance_cache=True, use_listings_cache=False)

    def bucket(self, name: str) -> str:
        """Make a bucket, and return its URL."""
        self.file_system().call_s3("create_bucket", Bucket=name)
        return f"s3://{name}"

    def busy(self, requests: int = 0, seconds: float = 0.0) -> None:
        """Answer 503 to so many requests, or for so long."""
        self._control({"busy": requests, "busy_until": time.time() + seconds})

    def away(self, seconds: float) -> None:
        """Refuse connections for so long, as a server that is started anew does."""
        self._control({"away": seconds})

    def requests(self) -> Counter[str]:
        """Return how often each kind of request came since this was called last: LIST, GET, HEAD, PUT, DELETE, POST."""
        return Counter(line.partition(" ")[0] for line in self.request_lines())

    def request_lines(self) -> list[str]:
        """Return the requests since this, or `requests`, was called last: "GET bucket/key"."""
        return self._control({"take": True})["requests"]

    def _control(self, order: dict[str, Any]) -> Any:
        request = urllib.request.Request(f"{self.url}{_CONTROL}", json.dumps(order).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Start a server on a free port, and stop it at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "curation_assets_tests.s3_server", str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            _wait(process, port)
            yield S3Server(port)
        finally:
            process.kill()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + _STARTS_WITHIN
    while process.poll() is None and time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"the S3 server did not start (exit status {process.poll()})")


# ---- the process


class _Faulty:
    """moto's application, with a log of requests and faults; `restart` is called to be away for some seconds."""

    def __init__(self, app: Any, restart: Any) -> None:
        self._app, self._restart = app, restart
        self._lock = threading.Lock()
        self._seen: list[str] = []
        self._busy, self._busy_until = 0, 0.0

    def __call__(self, environ: dict[str, Any], start: Any) -> Any:
        if environ["PATH_INFO"] == _CONTROL:
            length = int(environ.get("CONTENT_LENGTH") or 0)
            answer = self._obey(json.loads(environ["wsgi.input"].read(length)))
            start("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(answer).encode()]
        with self._lock:
            self._seen.append(_line(environ))
            busy = self._busy > 0 or time.time() < self._busy_until
            self._busy -= self._busy > 0
        if busy:
            start("503 Slow Down", [("Content-Type", "application/xml")])
            body = b"<Error><Code>ServiceUnavailable</Code><Message>Please try again.</Message></Error>"
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]
        return self._app(environ, start)

    def _obey(self, order: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            if "busy" in order:
                self._busy, self._busy_until = order["busy"], order["busy_until"]
            if "away" in order:
                self._restart(order["away"])
            if "take" in order:
                seen, self._seen = self._seen, []
                return {"requests": seen}
        return {}


def _line(environ: dict[str, Any]) -> str:
    query, path = environ.get("QUERY_STRING", ""), environ["PATH_INFO"].lstrip("/")
    lists = environ["REQUEST_METHOD"] == "GET" and ("list-type" in query or "prefix=" in query)
    return f"{'LIST' if lists else environ['REQUEST_METHOD']} {path}" + (f"?{query}" if lists else "")


def _serve(port: int) -> None:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    pause = [0.0]

    def restart(seconds: float) -> None:
        pause[0] = seconds
        threading.Thread(target=server.shutdown, daemon=True).start()

    app = _Faulty(DomainDispatcherApplication(create_backend_app), restart)
    while True:
        server = make_server("127.0.0.1", port, app, threaded=True)
        server.serve_forever()
        server.server_close()
        time.sleep(pause[0])


def _end_with_parent() -> None:
    sys.stdin.buffer.read()  # ends when whoever started this does, also by a kill
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _serve(int(sys.argv[1]))
