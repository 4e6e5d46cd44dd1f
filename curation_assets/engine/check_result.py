"""What a check says, and what checks look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from curation_assets.engine.workspace import Workspace


@dataclass(frozen=True)
class Outcome:
    """A check's verdict, what it says of it in one sentence, and figures behind it; `warns` where a failure is no error."""

    passed: bool
    description: str
    metadata: dict[str, Any] = field(default_factory=dict)
    warns: bool = False


def made(workspace: Workspace, key: str, keys: list[str]) -> list[str]:
    """Return which of an asset's partitions are there."""
    return [k for k in keys if workspace.receipt(key, k) is not None]
