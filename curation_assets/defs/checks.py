"""The invariants as Dagster asset checks, so that each can also be run alone from the UI."""

from typing import Any

import dagster as dg

from curation_assets.common.markdown import escaped
from curation_assets.defs.resources import Curation
from curation_assets.engine.check_result import Outcome, verdict
from curation_assets.invariants import INVARIANTS, Invariant


def all_checks() -> list[dg.AssetChecksDefinition]:
    """Return one asset check for each invariant."""
    return [_check(key, name, check) for key, checks in INVARIANTS.items() for name, check in checks.items()]


def all_checks_job() -> Any:
    """Return the job that runs every check on what is there."""
    return dg.define_asset_job(
        "checks",
        dg.AssetSelection.all_asset_checks(),
        description="Run every check on the artifacts that are there.\n\nNothing is made. What has not been made yet passes.",
    )


def severity(outcome: Outcome) -> dg.AssetCheckSeverity:
    """Return how bad a failed check is."""
    return dg.AssetCheckSeverity.WARN if outcome.warns else dg.AssetCheckSeverity.ERROR


def escaped_description(outcome: Outcome) -> str:
    """Return what a check says of its verdict. Dagster shows it as Markdown, and file names and errors are not ours: escaped."""
    return escaped(outcome.description)


def _check(key: str, name: str, check: Invariant) -> dg.AssetChecksDefinition:
    documented = getattr(check, "func", check)

    @dg.asset_check(asset=key.split("/"), name=name, description=documented.__doc__)
    def run(curation: dg.ResourceParam[Curation]) -> dg.AssetCheckResult:
        outcome = verdict(check, curation.workspace)
        return dg.AssetCheckResult(
            passed=outcome.passed,
            metadata=outcome.metadata,
            description=escaped_description(outcome),
            severity=severity(outcome),
        )

    return run
