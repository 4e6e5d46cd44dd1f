"""What Dagster (1.13) has no public name for, in one place.

- A check's verdict names the materialization that it is about: by that the UI tells whether a check was evaluated since
  the asset changed. Dagster fills it in for checks that it runs itself, and does not export its class.
- Dagster takes the standard output and error of the whole process while a run goes on, to show them in the UI. A command
  has a terminal that these belong to; there is no setting for one run.
"""

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as TargetMaterialization,
)
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager

__all__ = ["TargetMaterialization", "leave_output"]


def leave_output(instance: dg.DagsterInstance) -> None:
    """Have runs of an instance leave this process's output where it goes."""
    manager = NoOpComputeLogManager()
    manager.register_instance(instance)
    instance._compute_log_manager = manager
