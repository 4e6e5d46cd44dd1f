"""What runs in an actor of a Ray cluster: a worker in a process of its own on some node, and what it says besides messages."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from curation_assets.common.files import fingerprint
from curation_assets.config.profile import Profile, ProfileError, profile_type
from curation_assets.engine.executors import Message, Task
from curation_assets.engine.executors.ray_cluster import imported
from curation_assets.engine.executors.work import Worker
from curation_assets.engine.graph import STEPS
from curation_assets.engine.store import ABANDONED_AFTER
from curation_assets.engine.workspace import Workspace


@dataclass(frozen=True)
class Ready:
    """An actor is ready: on which node, and with which code."""

    node: str
    code: str


@dataclass(frozen=True)
class Begun:
    """An actor has taken its task up."""


@dataclass(frozen=True)
class Unable:
    """An actor cannot work."""

    reason: str


class RayWorker:
    """A worker in a process of its own on some node; whatever goes wrong comes back as a message."""

    def __init__(
        self,
        settings: dict[str, Any],
        module: str,
        environment: dict[str, str],
        threads: int,
        elsewhere: bool,
        proof: tuple[str, str],
    ) -> None:
        self._settings, self._module, self._environment = settings, module, environment
        self._threads, self._elsewhere, self._proof = max(1, threads), elsewhere, proof
        self._messages: SimpleQueue[Message | Unable | None] = SimpleQueue()

    def ready(self) -> Ready | Unable:
        """Import what is needed, open the store, and say where this is."""
        node = imported().get_runtime_context().get_node_id()
        try:
            for name in [name for name in os.environ if name.startswith("CURATION_")]:
                del os.environ[name]  # the node may have been started with others
            os.environ.update(self._environment)
            # Before torch and faiss are imported, which go by it.
            os.environ["OMP_NUM_THREADS"] = str(self._threads)
            execution = self._settings["execution"]
            os.environ["CURATION_DATA"] = execution["data"] or str(_own_folder(self._settings["name"]))
            workspace = Workspace(profile_type().model_validate(self._settings))
            if self._elsewhere:
                self._see(workspace)
            if not workspace.store.local:  # else who drives the run does that
                workspace.store.remove_abandoned(time.time() - ABANDONED_AFTER)
            self._worker = Worker(
                workspace, self._module, self._messages.put, device_of_its_own=self._elsewhere
            )
            return Ready(node, code_of(workspace.profile))
        except Exception as error:
            return Unable(f"{type(error).__name__}: {error}")

    def _see(self, workspace: Workspace) -> None:
        """Refuse to work where the store or the corpus is another one than on the machine of the run."""
        mark, corpus = self._proof
        node = os.uname().nodename
        try:
            workspace.store.read(mark)
        except FileNotFoundError:
            raise ProfileError(
                f"node {node} does not see the store of this run, {workspace.store.root}: with several nodes, execution.store "
                "must be a URL or a folder that all of them share"
            ) from None
        if unseen := [url for url in corpus if not Path(url).exists()]:
            raise ProfileError(
                f"node {node} does not see the corpus, {unseen[0]}: with several nodes, corpus.url must be a URL or a folder "
                "that all of them share"
            )

    def carry_out(self, task: Task) -> Iterator[Message | Begun | Unable]:
        """Yield what comes of a task and how far it is, each as it happens: its work goes on beside this."""
        yield Begun()
        threading.Thread(target=self._work, args=(task,), daemon=True).start()
        while (message := self._messages.get()) is not None:
            yield message

    def _work(self, task: Task) -> None:
        try:
            for message in self._worker.carry_out(task):
                self._messages.put(message)
        except Exception as error:
            self._messages.put(Unable(f"{type(error).__name__}: {error}"))
        self._messages.put(None)


def _own_folder(profile: str) -> Path:
    """Return a folder of this user below the system's temporary one, for a worker's scratch."""
    folder = Path(tempfile.gettempdir(), f"curation-{os.getuid()}-{profile}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if stat.S_ISLNK(folder.lstat().st_mode) or folder.stat().st_uid != os.getuid():
        raise ProfileError(f"{folder} is somebody else's: name a folder for scratch in execution.ray.scratch")
    return folder


def code_of(profile: Profile) -> str:
    """Return a hash of the code numbers and settings of all steps: equal where the same is installed."""
    return fingerprint(sys.version_info[:2], {key: step.code_version(profile) for key, step in STEPS.items()})
