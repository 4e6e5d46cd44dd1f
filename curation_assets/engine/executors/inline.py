"""One task at a time in this process: for an asset that a person clicks, and where one worker is enough."""

from __future__ import annotations

from collections.abc import Iterator

from curation_assets.engine.executors import Message, Task
from curation_assets.engine.executors.work import Tell, Worker
from curation_assets.engine.workspace import Workspace


class InlineExecutor:
    """Carries out a task while its messages are asked for; lines of progress go straight to `tell`."""

    slots = 1

    def __init__(self, workspace: Workspace, products: str, tell: Tell) -> None:
        self._worker = Worker(workspace, products, tell)
        self._messages: Iterator[Message] = iter(())

    def __enter__(self) -> InlineExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        """End nothing: there are no other processes."""

    def submit(self, task: Task) -> None:
        """Take a task."""
        self._messages = self._worker.carry_out(task)

    def receive(self, timeout: float | None = None) -> Message:
        """Go on with the task up to its next message, however long that takes: this process has nothing else to do."""
        return next(self._messages)
