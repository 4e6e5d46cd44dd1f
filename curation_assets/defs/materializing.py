"""A run of the engine inside a Dagster run: what it tells of becomes Dagster's events and the run's log.

Each artifact gets its own materialization event, with its own data version, the moment it is committed, so that a run
that dies leaves what it finished. Assets, the jobs of the UI, the automation and `curation run` all do it here.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import dagster as dg

from curation_assets.corpus.rejected_rows import no_documents
from curation_assets.defs import partitions
from curation_assets.defs.checks import escaped_description, severity
from curation_assets.defs.dagster_private import TargetMaterialization
from curation_assets.defs.metadata import AssetLink, Columns, Place, about
from curation_assets.defs.table_schemas import Column
from curation_assets.engine.driver import Blocked, Committed, Current, Started, bring_up_to_date
from curation_assets.engine.executors import Checked, Executor, Failed
from curation_assets.engine.executors.inline import InlineExecutor
from curation_assets.engine.executors.local import LocalExecutor
from curation_assets.engine.executors.ray import RayExecutor
from curation_assets.engine.graph import STEPS
from curation_assets.engine.reasons import Reason
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.scope import Scope
from curation_assets.engine.step import EDGE, Step
from curation_assets.engine.store import DamagedArtifact
from curation_assets.engine.workspace import Markdown, Workspace, title

PRODUCTS = "curation_assets.products"
"""The module that says how artifacts are made: whoever makes them imports it, and this process does not."""
_SHOWN = 5  # failures in a message; the log has all

RunContext = dg.AssetExecutionContext | dg.OpExecutionContext
Tell = Callable[[str], object]
Retell = Literal["all", "unknown", "none"]
Shown = Callable[[Step, Receipt, dict[str, Any], dict[str, str]], Any]
"""Makes Dagster's event of an artifact: (step, receipt, metadata, what `seen` returned)."""


@dataclass
class RunOutcome:
    """What a run did: artifacts made by asset key, what failed, and what had nothing to be made from."""

    made: dict[str, int] = field(default_factory=dict)
    current: int = 0
    failures: list[Failed] = field(default_factory=list)
    lacking: dict[str, Blocked] = field(default_factory=dict)

    @property
    def failed(self) -> dict[str, str]:
        """{asset key: reasons}; where nothing failed, what had nothing to be made from has failed itself."""
        if not self.failures:
            return {key: str(blocked) for key, blocked in self.lacking.items()}
        reasons: dict[str, list[str]] = {}
        for failure in self.failures:
            of = f"{failure.partition}: " if failure.partition else ""
            reasons.setdefault(failure.key, []).append(f"{of}{failure}")
        return {key: _some(each) for key, each in reasons.items()}

    @property
    def blocked(self) -> list[str]:
        """Keys of assets that wait for what failed."""
        return list(self.lacking) if self.failures else []


def _some(reasons: list[str]) -> str:
    more = f"; and {len(reasons) - _SHOWN:,} more" if len(reasons) > _SHOWN else ""
    return "; ".join(reasons[:_SHOWN]) + more


def executor_for(
    workspace: Workspace, tell: Tell, *, inline: bool | None = None
) -> InlineExecutor | LocalExecutor | RayExecutor:
    """Return what carries out a run: a cluster where the profile names one, else this process if it is to be, or other ones.

    Where `inline` is not given, it is this process that works if the profile wants one worker.
    """
    execution = workspace.profile.execution
    if execution.engine == "ray":
        return RayExecutor(workspace, PRODUCTS, tell)
    if inline is None:
        inline = execution.workers == 1
    return InlineExecutor(workspace, PRODUCTS, tell) if inline else LocalExecutor(workspace, PRODUCTS)


def event(
    step: Step, receipt: Receipt, metadata: dict[str, Any], inputs: dict[str, str]
) -> dg.AssetMaterialization:
    """Return the event that an artifact is there, with its data version.

    `inputs` is what `seen` returned. All of it is what Dagster writes down by itself for a run of one asset partition.
    """
    versions = {
        "dagster/data_version": receipt.version,
        "dagster/code_version": receipt.code,
        "dagster/data_version_is_user_provided": "true",
    }
    for need, version in receipt.inputs.items():
        versions[f"dagster/input_data_version/{need}"] = version
        versions[f"dagster/input_event_pointer/{need}"] = inputs.get(need, "NULL")
    return dg.AssetMaterialization(
        step.key.split("/"), metadata=metadata, partition=receipt.partition or None, tags=versions
    )


def carry_out(
    context: RunContext,
    workspace: Workspace,
    scope: Scope,
    executor: Executor,
    tell: Tell,
    *,
    relearn: bool = False,
    checks: bool = True,
    retell: Retell = "unknown",
    shown: Shown = event,
) -> Generator[Any, None, RunOutcome]:
    """Bring a scope up to date inside a Dagster run: yield its events, write its log, return what came of it.

    `relearn` and `checks` are those of `bring_up_to_date`. `retell`: of what is current already, which artifacts have an
    event: "all", those that Dagster takes to be missing or failed ("unknown"), or "none"; whose event was lost gets it always.
    """
    outcome = RunOutcome()
    inputs: dict[str, dict[str, str]] = {}
    reasons: dict[str, Mapping[str, tuple[Reason, ...]]] = {}
    partitions.sync_shards(context.instance, workspace.listed())
    for happened in bring_up_to_date(
        workspace,
        scope,
        executor,
        run_id=context.run_id,
        relearn=relearn,
        checks=checks,
        refusal=nothing_to_read,
    ):
        match happened:
            case str():
                tell(happened)
            case Current(step, current, unannounced):
                outcome.current += len(current)
                wanted = _to_retell(context.instance, step, workspace, current, retell) | unannounced
                yield from _retold(context, workspace, step, sorted(wanted), shown, outcome.failures)
            case Started(step):
                inputs[step.key], reasons[step.key] = seen(context, step, workspace), happened.reasons
            case Committed(key, receipt, made, unannounced):
                step = STEPS[key]
                if key == EDGE[0]:
                    partitions.sync_shards(context.instance, workspace.listed())
                elif made:
                    outcome.made[key] = outcome.made.get(key, 0) + 1
                else:
                    outcome.current += 1
                if not made and not unannounced and retell != "all":  # the run that made it says so
                    continue
                why = reasons[key].get(receipt.partition, ())
                if (about := _metadata(workspace, step, receipt, made, outcome.failures, why)) is not None:
                    yield shown(step, receipt, about, inputs[key])
            case Failed():
                outcome.failures.append(happened)
                if happened.trace:
                    context.log.error(f"{title(happened.key, happened.partition)}: {happened.trace}")
            case Blocked():
                outcome.lacking.setdefault(happened.key, happened)
            case Checked():
                yield from _verdict(context, happened, tell)
    return outcome


def nothing_to_read(workspace: Workspace, step: Step) -> str:
    """Say why there is no document, of a step that reads documents."""
    return no_documents(workspace) if "corpus/documents" in step.reads(workspace.profile) else ""


def seen(context: RunContext, step: Step, workspace: Workspace) -> dict[str, str]:
    """Return {input: number of its latest event}: by them Dagster tells whether an input changed since. Look before you read."""
    needs = list(step.reads(workspace.profile))
    records = context.instance.get_asset_records([dg.AssetKey(need.split("/")) for need in needs])
    latest = {
        record.asset_entry.asset_key.to_user_string(): record.asset_entry.last_materialization_storage_id
        for record in records
    }
    return {need: str(latest[need]) if latest.get(need) is not None else "NULL" for need in needs}


def _retold(
    context: RunContext,
    workspace: Workspace,
    step: Step,
    current: list[str],
    shown: Shown,
    failures: list[Failed],
) -> Iterator[Any]:
    """Yield the events of what is current."""
    inputs = seen(context, step, workspace) if current else {}
    for partition in current:
        receipt = workspace.receipt(step.key, partition)
        if (
            receipt is not None
            and (about := _metadata(workspace, step, receipt, False, failures)) is not None
        ):
            yield shown(step, receipt, about, inputs)


def _to_retell(
    instance: dg.DagsterInstance,
    step: Step,
    workspace: Workspace,
    current: tuple[str, ...],
    which: Retell,
) -> set[str]:
    """Return what of the current artifacts gets an event."""
    if which == "none":
        return set()
    return set(current) if which == "all" else _unknown(instance, step, workspace, current)


def _unknown(
    instance: dg.DagsterInstance, step: Step, workspace: Workspace, current: tuple[str, ...]
) -> set[str]:
    """Return what Dagster takes to be missing or failed: it was made in another home, or a later run of it died."""
    key, by = dg.AssetKey(step.key.split("/")), partitions.definition(step, workspace.profile)
    if by is None:
        return set() if instance.get_latest_materialization_event(key) else set(current)
    status = instance.get_status_by_partition(key, list(current), by) or {}
    unknown = {p for p in current if (known := status.get(p)) is None or known.value == "FAILED"}
    # What the profile does not ask for is no partition of its; that it was told of has to be enough.
    others = unknown - set(by.get_partition_keys(dynamic_partitions_store=instance))
    return unknown - (others & instance.get_materialized_partitions(key)) if others else unknown


def _metadata(
    workspace: Workspace,
    step: Step,
    receipt: Receipt,
    made: bool,
    failures: list[Failed],
    reasons: tuple[Reason, ...] = (),
) -> dict[str, Any] | None:
    """Return what people are shown of an artifact; None, and one failure more, where its files are damaged."""
    try:
        shown = about(workspace, step, receipt, made, reasons)
    except DamagedArtifact as error:  # its receipt is withdrawn: the next run makes it
        failures.append(Failed(step.key, receipt.partition, str(error), type(error).__name__))
        return None
    return {name: _value(value) for name, value in shown.items()}


def _verdict(context: RunContext, checked: Checked, tell: Tell) -> Iterator[dg.AssetCheckEvaluation]:
    """Yield a check's verdict on the latest materialization, if there is one."""
    key, outcome = dg.AssetKey(checked.key.split("/")), checked.outcome
    latest = context.instance.fetch_materializations(key, limit=1).records
    if not latest:
        return
    verdict = "passed" if outcome.passed else "warns" if outcome.warns else "FAILED"
    tell(f"{checked.key}: check {checked.name} {verdict}: {outcome.description}")
    yield dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=checked.name,
        passed=outcome.passed,
        metadata=outcome.metadata,
        description=escaped_description(outcome),
        severity=severity(outcome),
        target_materialization_data=TargetMaterialization(
            storage_id=latest[0].storage_id, run_id=latest[0].run_id, timestamp=latest[0].timestamp
        ),
    )


def schema(columns: list[Column]) -> dg.TableSchema:
    """Return Dagster's form of a table's columns."""
    return dg.TableSchema([dg.TableColumn(c.name, c.type, description=c.description) for c in columns])


def _value(value: Any) -> Any:
    """Return a value in the form that Dagster's UI shows it best in."""
    if isinstance(value, Markdown):
        return dg.MetadataValue.md(str(value))
    if isinstance(value, Place):
        return dg.MetadataValue.path(str(value))
    if isinstance(value, AssetLink):
        return dg.MetadataValue.url(value.address)
    if isinstance(value, Columns):
        return dg.MetadataValue.table_schema(schema(value.columns))
    return value
