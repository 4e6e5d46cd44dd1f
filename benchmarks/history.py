"""Dagster's history of a state that is laid out: an event of each artifact, inserted in bulk as Dagster writes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import dagster as dg
from dagster._core.events import DagsterEvent, StepMaterializationData
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

from curation_assets.defs.materializing import event
from curation_assets.engine.graph import STEPS
from curation_assets.engine.receipt import Receipt

_AT_ONCE = 2_000


def write(instance: dg.DagsterInstance, receipts: Iterable[Receipt]) -> None:
    """Write a materialization of each artifact, of one run."""
    run = instance.create_run_for_job(_job)
    instance.report_run_failed(run)  # no run that goes on
    storage, entries = instance.event_log_storage, _entries(run, receipts)
    assert isinstance(storage, SqlEventLogStorage)
    while batch := list(islice(entries, _AT_ONCE)):
        with storage.index_connection() as connection:
            numbers = [
                connection.execute(
                    SqlEventLogStorageTable.insert().values(**storage._event_to_row(entry))
                ).inserted_primary_key[0]  # type: ignore[index]
                for entry in batch
            ]
        storage.store_asset_event_tags(batch, numbers)
        last = {entry.get_dagster_event().asset_key: at for at, entry in enumerate(batch)}
        for at in last.values():
            storage.store_asset_event(batch[at], numbers[at])


def _entries(run: dg.DagsterRun, receipts: Iterable[Receipt]) -> Iterator[EventLogEntry]:
    for receipt in receipts:
        step = STEPS[receipt.key]
        about = {
            "made": True,
            "seconds": receipt.seconds,
            "input_versions": receipt.inputs,
            **receipt.metadata,
        }
        yield EventLogEntry(
            error_info=None,
            level=20,
            user_message="",
            run_id=run.run_id,
            timestamp=receipt.created,
            job_name=run.job_name,
            step_key="bring_up_to_date",
            dagster_event=DagsterEvent(
                "ASSET_MATERIALIZATION",
                run.job_name,
                step_key="bring_up_to_date",
                event_specific_data=StepMaterializationData(event(step, receipt, about, {})),
            ),
        )


@dg.job(name="curation_run")
def _job() -> None:
    """Stand for the run in which everything was made."""
