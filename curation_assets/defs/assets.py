"""How a step of the graph becomes a Dagster asset. The stages' `assets.py` say which ones, this says how.

A run of one partition ends with Dagster's ordinary result. A run of many partitions commits them one by one: each gets
its own materialization event, with its own data version, the moment its artifact is complete, so that a run that dies
leaves what it finished. The jobs of `launchpad` make artifacts by the same function.
"""

import os
import socket
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)

from curation_assets.common.files import fingerprint
from curation_assets.common.progress import Line, Throttled
from curation_assets.config.profile import Profile
from curation_assets.config.registry import SAMPLERS
from curation_assets.defs import partitions
from curation_assets.defs.checks import severity, told
from curation_assets.defs.descriptions import description, group, kinds, tags
from curation_assets.defs.invariants import INVARIANTS
from curation_assets.defs.metadata import COLUMNS, AssetLink, Columns, Place, about
from curation_assets.defs.resources import CHANGE, COMMAND, HOST, PID, Curation
from curation_assets.defs.sensors import condition
from curation_assets.defs.table_schemas import Column, tables
from curation_assets.engine.check_result import Outcome
from curation_assets.engine.context import load as load_step
from curation_assets.engine.graph import STEPS
from curation_assets.engine.materialize import materialize
from curation_assets.engine.product import Product
from curation_assets.engine.run_log import StepLog
from curation_assets.engine.step import Step
from curation_assets.engine.store import Receipt
from curation_assets.engine.workspace import Builder, BuildOne, Markdown, MissingInput, Workspace, title

warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)

_CHECKED_WITH = {f"{name}/subset": [f"{name}/metrics"] for name in SAMPLERS}
"""Whose checks are evaluated with a step's own: a new subset leaves metrics behind."""
_AUTOMATIC = {"dagster/sensor_name", "dagster/from_automation_condition"}
"""Tags of runs that nobody asked for."""
OWNERS = ["team:data-curation"]
_MANY = 1_000  # partitions of one run; a different number for each depth of the graph, see `_backfill_policy`

Context = dg.AssetExecutionContext | dg.OpExecutionContext


def step_asset(product: Product, profile: Profile) -> dg.AssetsDefinition:
    """Define the asset of a product's step."""
    step = STEPS[product.key]

    @dg.asset(
        key=step.key.split("/"),
        deps=[
            dg.AssetDep(
                need.split("/"), partition_mapping=partitions.mapping(step, STEPS[need], only, profile)
            )
            for need, only in step.reads(profile).items()
        ],
        partitions_def=partitions.definition(step, profile),
        backfill_policy=_backfill_policy(step, profile),
        code_version=step.code_version(profile),
        description=description(product, profile),
        metadata=_known_before(step, profile),
        group_name=group(step),
        kinds=kinds(step),
        tags=tags(step, product.paper),
        owners=OWNERS,
        pool="accelerator" if step.accelerated else None,
        output_required=False,
        automation_condition=condition(step, profile),
    )
    def asset(context: dg.AssetExecutionContext, curation: dg.ResourceParam[Curation]) -> Iterator[Any]:
        yield from _commit_each(context, curation, step, product.build)

    return asset


def _known_before(step: Step, profile: Profile) -> dict[str, Any]:
    """Return what is known before there is an artifact: the columns of its table."""
    columns = next(iter(tables(step, profile).values()), None)
    return {COLUMNS: _schema(columns)} if columns else {}


def _schema(columns: list[Column]) -> dg.TableSchema:
    return dg.TableSchema([dg.TableColumn(c.name, c.type, description=c.description) for c in columns])


def _backfill_policy(step: Step, profile: Profile) -> dg.BackfillPolicy | None:
    """Let a backfill take many partitions in one run, but never two dependent steps in the same run.

    Dagster joins dependent assets of equal policy in one run, and then skips the dependent one when the first reports
    its partitions by events of its own. Policies that differ with the depth keep them in separate, ordered runs.
    """
    if step.by == "":
        return None
    return dg.BackfillPolicy.multi_run(1 if step.trains else _MANY + _depth(step, profile))


def _depth(step: Step, profile: Profile) -> int:
    return 1 + max((_depth(STEPS[need], profile) for need in step.reads(profile)), default=0)


def _commit_each(
    context: dg.AssetExecutionContext, curation: Curation, step: Step, build: Builder
) -> Iterator[Any]:
    keys = [str(k) for k in context.partition_keys] if context.has_partition_key_range else [_only(context)]
    sign(context, curation.workspace)
    log, several = StepLog(step, len(keys)), len(keys) > 1
    inputs = seen(context, step, curation.workspace.profile) if several else {}
    # Only what is out of date is made unasked: for a model that is behind, a person asks.
    each = make_each(context, curation, step, build, keys, log, relearn=True, go_on=several)
    try:
        for receipt, metadata in each:
            if several:
                yield event(step, receipt, metadata, inputs)
            else:
                yield dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(receipt.version))
    except Exception:
        report_checks(context, curation, step)  # Dagster would have them fail, too, without a verdict
        raise
    report_checks(context, curation, step, alone=not several)
    if log.failed:
        reasons = "; ".join(f"{partition}: {error}" for partition, error in log.failed.items())
        raise dg.Failure(f"{len(log.failed)} of {len(keys)} partitions of {step.key} failed: {reasons}")


def sign(context: Context, workspace: Workspace) -> None:
    """Write down which process a run is in, so that a run whose process died is told from one that goes on, and its cause."""
    if HOST not in context.run.tags:
        tags = {PID: str(os.getpid()), HOST: socket.gethostname(), **_cause(context, workspace)}
        context.instance.add_run_tags(context.run_id, tags)


def _cause(context: Context, workspace: Workspace) -> dict[str, str]:
    """Return, for a run of the automation, the tag of what had the corpus listed last: it is that which it follows from."""
    tags, listed = context.run.tags, workspace.store.receipt("corpus/source")
    if not tags.keys() & _AUTOMATIC or CHANGE in tags or listed is None:
        return {}
    run = context.instance.get_run_by_id(listed.run_id) if listed.run_id else None
    return {name: run.tags[name] for name in (COMMAND, CHANGE) if name in run.tags} if run else {}


def make_each(
    context: Context,
    curation: Curation,
    step: Step,
    build: Builder,
    keys: list[str],
    log: StepLog,
    *,
    relearn: bool,
    go_on: bool,
) -> Iterator[tuple[Receipt, dict[str, Any]]]:
    """Make partitions of a step current, one by one, and yield each one's receipt and what Dagster shows of it.

    `relearn`: learn anew what is pinned and behind the corpus. `go_on`: one bad partition does not keep the others
    waiting, and why it failed is in `log` as well; otherwise its error is raised.
    """
    workspace, tell = curation.workspace, curation.teller(context.log.info)
    load = _once(build, workspace, step)
    tell(log.opening(workspace, keys))
    for partition in keys:
        try:
            receipt, made = materialize(
                workspace,
                step,
                partition,
                load,
                Throttled(_advancing(tell, step, partition), title(step.key, partition)),
                run_id=context.run_id,
                relearn=relearn,
                tell=tell,
            )
            shown = about(workspace, step, receipt, made, log.reasons.get(partition, ()))
        except Exception as error:
            if not go_on:
                raise
            line = log.went_wrong(partition, error)
            if isinstance(error, MissingInput):
                context.log.error(line)  # says all by itself
            else:
                context.log.exception(line)
            continue
        tell(log.finished(receipt, made))
        if step.key == "corpus/source":
            partitions.sync_shards(context.instance, workspace.listed())
        yield receipt, {name: _value(value) for name, value in shown.items()}


def _advancing(tell: Callable[[str], None], step: Step, partition: str) -> Callable[[str], None]:
    return lambda line: tell(Line.about(line, (step.key,), (partition,), "during"))


def _once(build: Builder, workspace: Workspace, step: Step) -> Callable[[dict[str, str]], BuildOne]:
    """Return a function that loads what all partitions share: on its first call, and when that has changed since."""
    shared = [key for key, only in step.reads(workspace.profile).items() if only or not STEPS[key].by]
    loaded: dict[str, BuildOne] = {}

    def load(inputs: dict[str, str]) -> BuildOne:
        version = fingerprint({key: inputs[key] for key in shared})
        if version not in loaded:
            loaded.clear()
            loaded[version] = load_step(build, workspace, step)
        return loaded[version]

    return load


def _only(context: dg.AssetExecutionContext) -> str:
    return str(context.partition_key) if context.has_partition_key else ""


def seen(context: Context, step: Step, profile: Profile) -> dict[str, str]:
    """Return {input: number of its latest event}: by them Dagster tells whether an input changed since. Look before you read."""
    found = {}
    for need in step.reads(profile):
        latest = context.instance.fetch_materializations(dg.AssetKey(need.split("/")), limit=1).records
        found[need] = str(latest[0].storage_id) if latest else "NULL"
    return found


def event(
    step: Step, receipt: Receipt, metadata: dict[str, Any], inputs: dict[str, str]
) -> dg.AssetMaterialization:
    """Return the event that an artifact is there, with its data version, where a run reports partition by partition.

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


def report_checks(context: Context, curation: Curation, step: Step, alone: bool = False) -> None:
    """Evaluate a step's checks, and those that go with them, where Dagster does not.

    It skips check steps after a run that reports partition by partition, and has none in a job; `alone`: it runs the
    step's own by itself.
    """
    for key in ([] if alone else [step.key]) + _CHECKED_WITH.get(step.key, []):
        _report_checks(context, curation, key)


def _report_checks(context: Context, curation: Curation, of: str) -> None:
    key, tell = dg.AssetKey(of.split("/")), curation.teller(context.log.info)
    latest = context.instance.fetch_materializations(key, limit=1).records
    for name, check in INVARIANTS.get(of, {}).items() if latest else ():
        try:
            outcome = check(curation.workspace)
        except Exception as error:
            # What it looks at is damaged: that is its verdict, and no failure of this run.
            outcome = Outcome(False, f"this cannot be told: {type(error).__name__}: {error}")
        verdict = "passed" if outcome.passed else "warns" if outcome.warns else "FAILED"
        tell(f"{of}: check {name} {verdict}: {outcome.description}")
        context.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=key,
                check_name=name,
                passed=outcome.passed,
                metadata=outcome.metadata,
                description=told(outcome),
                severity=severity(outcome),
                target_materialization_data=AssetCheckEvaluationTargetMaterializationData(
                    storage_id=latest[0].storage_id, run_id=latest[0].run_id, timestamp=latest[0].timestamp
                ),
            )
        )


def _value(value: Any) -> Any:
    """Return a value in the form that Dagster's UI shows it best in."""
    if isinstance(value, Markdown):
        return dg.MetadataValue.md(str(value))
    if isinstance(value, Place):
        return dg.MetadataValue.path(str(value))
    if isinstance(value, AssetLink):
        return dg.MetadataValue.url(value.address)
    if isinstance(value, Columns):
        return dg.MetadataValue.table_schema(_schema(value.columns))
    return value
