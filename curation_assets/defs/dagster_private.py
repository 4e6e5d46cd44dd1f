"""What Dagster (1.13) has no public name for, in one place.

- A check's verdict names the materialization that it is about: by that the UI tells whether a check was evaluated since
  the asset changed. Dagster fills it in for checks that it runs itself, and does not export its class.
- Dagster takes the standard output and error of the whole process while a run goes on, to show them in the UI. A command
  has a terminal that these belong to; there is no setting for one run.
- An event that cannot be written ends the run, whose error says why; Dagster prints it before that, with the statement and
  its values, and there is no setting for that either.
- Partitions are deleted one by one, each in a transaction of its own: minutes where thousands of files went.
"""

import io
import sys
from collections.abc import Sequence
from types import SimpleNamespace

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as TargetMaterialization,
)
from dagster._core.instance import types
from dagster._core.storage.event_log.schema import DynamicPartitionsTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.noop_compute_log_manager import NoOpComputeLogManager

__all__ = ["TargetMaterialization", "delete_partitions", "leave_output"]

_AT_ONCE = 10_000  # names in a statement


def leave_output(instance: dg.DagsterInstance) -> None:
    """Have runs of an instance leave this process's output where it goes, and print nothing there."""
    manager = NoOpComputeLogManager()
    manager.register_instance(instance)
    instance._compute_log_manager = manager
    types.sys = SimpleNamespace(exc_info=sys.exc_info, stderr=io.StringIO())  # type: ignore[assignment]


def delete_partitions(instance: dg.DagsterInstance, name: str, partitions: Sequence[str]) -> None:
    """Delete dynamic partitions in a few statements."""
    storage, table = instance.event_log_storage, DynamicPartitionsTable.c
    assert isinstance(storage, SqlEventLogStorage)
    for start in range(0, len(partitions), _AT_ONCE):
        names = partitions[start : start + _AT_ONCE]
        with storage.index_connection() as connection:
            connection.execute(
                DynamicPartitionsTable.delete().where(
                    table.partitions_def_name == name, table.partition.in_(names)
                )
            )
