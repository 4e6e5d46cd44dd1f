"""The process of the web server: Dagster's application behind the guard, on a socket that is bound already."""

from __future__ import annotations

import json
import os
import socket
import sys

import dagster as dg
import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.app import create_app_from_workspace_process_context

from curation_assets.defs.webserver.guard import Guard
from curation_assets.defs.webserver.listening import PASSWORD

_POLL = 2_000  # milliseconds between two looks of an open page
_STATEMENT, _RECYCLE, _OVERFLOW = 15_000, 3_600, 20  # of Dagster's own server: ms, s, connections
_GRACE = 2  # seconds for open connections, when it stops


def serve(bound: socket.socket, workspace: str, names: list[str], password: str) -> None:
    """Serve until a signal; `workspace` is a workspace file that names the code server."""
    with dg.DagsterInstance.get() as instance:
        instance.optimize_for_webserver(_STATEMENT, _RECYCLE, _OVERFLOW)
        with WorkspaceProcessContext(
            instance,
            version=dg.__version__,
            read_only=False,
            workspace_load_target=WorkspaceFileTarget([workspace]),
        ) as context:
            app = Guard(create_app_from_workspace_process_context(context, "", _POLL), names, password)
            # The address of who asks is taken from nobody's headers.
            config = uvicorn.Config(
                app, log_level="warning", proxy_headers=False, timeout_graceful_shutdown=_GRACE
            )
            uvicorn.Server(config).run(sockets=[bound])


if __name__ == "__main__":
    descriptor, workspace, names = sys.argv[1:]
    serve(socket.socket(fileno=int(descriptor)), workspace, json.loads(names), os.environ.pop(PASSWORD, ""))
