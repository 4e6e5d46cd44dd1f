"""A Ray cluster: one to connect to, or one of this machine alone for as long as a run takes; and what its nodes have."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from curation_assets.common import stopping
from curation_assets.config.profile import ProfileError

_SECONDS = 10.0  # for a connection to the head of a cluster, or to a node
_OBJECT_STORE = 80 << 20  # bytes: nothing but messages goes through it
_QUIET = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE}
_OWN = {  # besides a token
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Of one machine: every server of Ray's then listens on loopback, and on all interfaces otherwise.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


@dataclass(frozen=True)
class Node:
    """A node that is alive: its id, what people call it, where its raylet listens, and all that it has."""

    id: str
    name: str
    raylet: tuple[str, int]
    cpus: float
    gpus: float

    def responds(self) -> bool:
        """Tell whether its raylet takes connections: Ray itself notices a dead node after half a minute or more."""
        return not _refused(self.raylet)


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Be connected to the cluster at `address` ("auto", "host:port"), or to one that is started for it where that is "".

    One that was started is reached from this machine alone and by who has its token, and ends with this.

    Raises
    ------
    ProfileError
        There is no such cluster, or it does not let us in.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with _joined(address) if address else _started():
        if threading.current_thread() is threading.main_thread():
            # Ray has put its own in the place of ours, others around them.
            for number, handler in handlers.items():
                signal.signal(number, handler)
        yield


@contextmanager
def _joined(address: str) -> Iterator[None]:
    ray = imported()
    where = f"Ray cluster at {address} (execution.ray.address)"
    if address != "auto":  # Ray itself tries for minutes
        host, _, port = address.rpartition(":")
        if why := _refused((host, int(port))):
            raise ProfileError(f"no {where}: {why}")
    try:
        try:
            ray.init(address, log_to_driver=False, logging_level="ERROR")
        except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError) as error:
            raise ProfileError(
                f"cannot join the {where}: {essence(error)}; this machine must be one of its nodes, and have its token "
                "(RAY_AUTH_TOKEN_PATH) if it wants one"
            ) from error
        yield
    finally:
        ray.shutdown()


@contextmanager
def _started() -> Iterator[None]:
    """Have a process start a cluster and end all of it when this one has ended, however suddenly."""
    with (
        tempfile.TemporaryDirectory(prefix="curation-ray-", ignore_cleanup_errors=True) as folder,
        _environment(_of_own_clusters()),
    ):
        errors = Path(folder, "errors")
        with errors.open("w") as file:
            keeper = subprocess.Popen(
                [sys.executable, "-m", __name__, folder],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )
        assert keeper.stdin is not None and keeper.stdout is not None
        keeper.wait()  # what goes on is a child of its own
        try:
            address = keeper.stdout.readline().strip()
            if not address:
                why = (errors.read_text("utf-8").splitlines() or ["it ended"])[-1]
                raise ProfileError(f"no Ray cluster could be started on this machine: {why}")
            with _joined(address):
                yield
        finally:
            keeper.stdin.close()
            keeper.stdout.read()  # until all of it has ended


@cache
def _of_own_clusters() -> dict[str, str]:
    """Return the variables of clusters that this process starts: Ray takes them in when it is imported, and not again."""
    if "ray" in sys.modules:
        raise ProfileError(
            "this process imported Ray before it was to start a cluster, which it could not reach now: name one "
            "(execution.ray.address), or run in another process"
        )
    return _OWN | {"RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Have environment variables, of which Ray's processes are told, for a time."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def imported() -> Any:
    """Return Ray, which comes with an extra of its own."""
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")  # what goes wrong is said by us, in a line
    try:
        import ray
    except ModuleNotFoundError:
        raise ProfileError(
            'execution.engine is "ray", which is not installed: pip install "curation-assets[ray]"'
        ) from None
    return ray


def alive() -> list[Node]:
    """Return the nodes that are alive."""
    return [
        Node(
            node["NodeID"],
            f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})",
            (node["NodeManagerAddress"], node["NodeManagerPort"]),
            node["Resources"].get("CPU", 0.0),
            node["Resources"].get("GPU", 0.0),
        )
        for node in imported().nodes()
        if node["Alive"]
    ]


def essence(error: BaseException) -> str:
    """Return what matters of Ray's long messages, in one line: what comes last says why."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1].partition(". ")[0].rstrip(".")


def _refused(address: tuple[str, int]) -> str:
    """Say why nobody answers at an address; "" where somebody does."""
    try:
        socket.create_connection(address, timeout=_SECONDS).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


# ---- in the process that keeps a cluster of this machine


def _keep(folder: str) -> None:
    """Start a cluster, print its address, and kill all of it once nobody holds the other end of stdin any more.

    It leaves the family of who started it, so that it is not killed with it and has time for that.
    """
    if os.fork():
        os._exit(0)
    os.setsid()
    context = imported().init("local", log_to_driver=False, logging_level="ERROR", _temp_dir=folder, **_QUIET)
    print(context.address_info["gcs_address"], flush=True)
    sys.stdin.read()
    stopping.end_processes(
        process
        for process in psutil.process_iter()
        if os.getsid(process.pid) == os.getsid(0) and process.pid != os.getpid()
    )
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    _keep(sys.argv[1])
