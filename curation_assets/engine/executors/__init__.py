"""Carrying out work: what the driver hands to an executor, and what comes back. Neither knows Dagster.

An executor makes artifacts and evaluates checks somewhere: in this process (`inline`), in processes of this machine
(`local`). It is given tasks, at most `slots` at a time, and gives back one message after the other. Nothing that it makes
is current before the driver commits it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from curation_assets.common.progress import Line
from curation_assets.engine.check_result import Outcome
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.resolved import Inputs


@dataclass(frozen=True)
class Make:
    """Make partitions of an asset, one by one, from these inputs; None: from what the catalog has, which is on the driver's machine."""

    key: str
    partitions: tuple[str, ...]
    inputs: Inputs | None
    run_id: str = ""


@dataclass(frozen=True)
class Check:
    """Evaluate the checks of an asset, and those of other assets that go with them."""

    key: str


Task = Make | Check


@dataclass(frozen=True)
class Made:
    """An artifact lies in the store; it is not current yet."""

    key: str
    receipt: Receipt


class Damage(NamedTuple):
    """An artifact that is not what its receipt says, and what is wrong with it."""

    receipt: Receipt
    problem: str


@dataclass(frozen=True)
class Failed:
    """An artifact could not be made.

    Attributes
    ----------
    kind, trace : the error's class, and where it came from.
    missing : for want of an input.
    damaged : the input that is not what its receipt says, where that is why.
    """

    key: str
    partition: str
    reason: str
    kind: str = ""
    trace: str = ""
    missing: bool = False
    damaged: Damage | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}" if self.kind else self.reason


@dataclass(frozen=True)
class Checked:
    """A check's verdict."""

    key: str
    name: str
    outcome: Outcome


@dataclass(frozen=True)
class Ended:
    """A task is through; its slot is free."""

    task: Task


Message = Line | Made | Failed | Checked | Ended


class Executor(Protocol):
    """Carries out tasks."""

    @property
    def slots(self) -> int:
        """How many tasks it takes at a time."""

    def submit(self, task: Task) -> None:
        """Take a task; there must be a free slot."""

    def receive(self, timeout: float | None = None) -> Message | None:
        """Wait for the next message of the tasks that are at work; None where none came within `timeout` seconds.

        Raises
        ------
        WorkerDied
            What carried a task out has ended in the middle of it.
        """


class WorkerDied(RuntimeError):
    """A worker process ended in the middle of its task."""
