"""What a check says, and what checks look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from curation_assets.common.terminal import plain
from curation_assets.engine.workspace import Workspace


@dataclass(frozen=True)
class Outcome:
    """A check's verdict, what it says of it in one sentence, and figures behind it; `warns` where a failure is no error."""

    passed: bool
    description: str
    metadata: dict[str, Any] = field(default_factory=dict)
    warns: bool = False


def verdict(check: Callable[[Workspace], Outcome], workspace: Workspace) -> Outcome:
    """Return what a check says; where what it looks at cannot be read, that is its verdict, and nobody's failure."""
    try:
        return check(workspace)
    except Exception as error:
        return Outcome(False, plain(f"this cannot be told: {type(error).__name__}: {error}"))


def made(workspace: Workspace, key: str, keys: list[str]) -> list[str]:
    """Return which of an asset's partitions are there."""
    return [k for k in keys if workspace.receipt(key, k) is not None]
