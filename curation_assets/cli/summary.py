"""What `curation run` says at its end: what was made, what failed and what waits for that, and what somebody might miss."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from curation_assets.common.progress import duration
from curation_assets.common.terminal import plain, wrapped
from curation_assets.embeddings.checks import unread_text
from curation_assets.engine.failures import waiting, waits_for
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import targets
from curation_assets.engine.snapshot import Snapshot
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import Workspace, title
from curation_assets.lineage.notices import notices
from curation_assets.report.summary import first_screen


def what_was_found(workspace: Workspace) -> str:
    """Return what was found, a line or more for each sentence, and an empty line after it; "" where there is nothing yet."""
    lines = [line for one in first_screen(workspace) for line in wrapped(one, "- ")]
    return "\n".join(["What was found:", *lines, "", ""]) if lines else ""


def report_end(
    workspace: Workspace, made: int, failed: Mapping[str, str], blocked: Sequence[str], seconds: float
) -> int:
    """Print how a run ended, failures to stderr; return its exit status, 1 if anything failed.

    Parameters
    ----------
    made
        Artifacts that were made.
    failed
        {asset key: reason}.
    blocked
        Keys of assets that had nothing to be made from.
    """
    versions = Versions(workspace)
    for key, outcome in unread_text(Snapshot(versions)):
        if not outcome.passed:
            print(f"WARNING  {key}: {outcome.description}")
    for notice in notices(versions):
        print(f"NOTE     {notice}")
    idle = ": nothing to do" if not (made or failed or blocked) else ""
    print(f"{made:,} artifact{'' if made == 1 else 's'} made in {duration(seconds)}{idle}", flush=True)
    for key, reason in failed.items():
        print(f"FAILED   {key}: {plain(reason)}", file=sys.stderr)
    for line in waiting((key, _cause(versions, key)) for key in blocked):
        print(f"BLOCKED  {line}", file=sys.stderr)
    return 1 if failed or blocked else 0


def _cause(versions: Versions, key: str) -> str:
    """Return the failed artifact that an asset waits for."""
    step = STEPS[key]
    causes = (waits_for(versions, step, p) for p in targets(versions, step) or [""])
    cause = next(filter(None, causes), None)
    return title(*cause) if cause else "what failed"
