"""How a step of the graph becomes a Dagster asset. The stages' `assets.py` say which ones, this says how.

A run of one partition ends with Dagster's ordinary result. A run of many partitions commits them one by one: each gets
its own materialization event, with its own data version, the moment its artifact is complete, so that a run that dies
leaves what it finished.
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

from curation_assets import partitions
from curation_assets.checks import severity
from curation_assets.files import fingerprint
from curation_assets.graph import STEPS
from curation_assets.invariants import INVARIANTS
from curation_assets.making import materialize, shown
from curation_assets.profile import Profile
from curation_assets.progress import Throttled
from curation_assets.registry import SAMPLERS
from curation_assets.resources import HOST, PID, Curation
from curation_assets.sensors import condition
from curation_assets.step import Step
from curation_assets.storage import Receipt
from curation_assets.workspace import Builder, BuildOne, Markdown, Workspace

warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)

_CHECKED_WITH = {f"{name}/subset": f"{name}/metrics" for name in SAMPLERS}
"""Whose checks are evaluated with a step's own: a new subset leaves metrics behind."""
OWNERS = ["team:data-curation"]
_MANY = 1_000  # partitions of one run; a different number for each depth of the graph, see `_backfill_policy`


def step_asset(key: str, build: Builder, profile: Profile, description: str) -> dg.AssetsDefinition:
    """Define the asset of step `key`, made by `build`."""
    step = STEPS[key]

    @dg.asset(
        key=key.split("/"),
        deps=[
            dg.AssetDep(need.split("/"), partition_mapping=partitions.mapping(step.by, STEPS[need].by, only))
            for need, only in step.reads(profile).items()
        ],
        partitions_def=partitions.definition(step.by, profile),
        backfill_policy=_backfill_policy(step, profile),
        code_version=step.code_version(profile),
        description=description,
        group_name=step.group,
        kinds=set(step.kinds),
        owners=OWNERS,
        pool="accelerator" if step.accelerated else None,
        output_required=False,
        automation_condition=condition(step, profile),
    )
    def asset(context: dg.AssetExecutionContext, curation: Curation) -> Iterator[Any]:
        yield from _commit_each(context, curation, step, build)

    return asset


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
    workspace = curation.workspace
    if HOST not in context.run.tags:
        context.instance.add_run_tags(context.run_id, {PID: str(os.getpid()), HOST: socket.gethostname()})
    keys = [str(k) for k in context.partition_keys] if context.has_partition_key_range else [_only(context)]
    load = _once(build, workspace, step)
    tell = curation.teller(context.log.info)
    failed: dict[str, Exception] = {}
    for number, partition in enumerate(keys, 1):
        label = f"{step.key}[{partition}]" if partition else step.key
        try:
            receipt, made = materialize(
                workspace,
                step,
                partition,
                load,
                Throttled(tell, label),
                run_id=context.run_id,
                relearn=True,  # only what is out of date is made unasked: for a model that is behind, a person asks
            )
        except Exception as error:
            if len(keys) == 1:
                raise
            failed[partition] = error  # one bad shard does not keep the others waiting
            context.log.exception(f"{label}: failed")
            continue
        tell(
            f"{label}: {'made' if made else 'already current'} ({number} of {len(keys)}), {receipt.seconds:.1f} s"
        )
        if step.key == "corpus/source":
            partitions.sync_shards(context.instance, workspace.listed())
        metadata = {name: _value(value) for name, value in shown(workspace, receipt).items()}
        metadata |= {
            "made": made,
            "seconds": receipt.seconds,
            "artifact": workspace.store.place(step.key, partition),
            "input_versions": receipt.inputs,
            **_measured_on(workspace, step, partition),
        }
        if len(keys) == 1:
            yield dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(receipt.version))
        else:
            yield _event(step, receipt, metadata)
    if len(keys) > 1:
        _report_checks(context, workspace, step)
    if step.key in _CHECKED_WITH:
        _report_checks(context, workspace, STEPS[_CHECKED_WITH[step.key]])
    if failed:
        reasons = "; ".join(f"{partition}: {error}" for partition, error in failed.items())
        raise dg.Failure(f"{len(failed)} of {len(keys)} partitions of {step.key} failed: {reasons}")


def _once(build: Builder, workspace: Workspace, step: Step) -> Callable[[dict[str, str]], BuildOne]:
    """Return a function that loads what all partitions share: on its first call, and when that has changed since."""
    shared = [key for key, only in step.reads(workspace.profile).items() if only or not STEPS[key].by]
    loaded: dict[str, BuildOne] = {}

    def load(inputs: dict[str, str]) -> BuildOne:
        version = fingerprint({key: inputs[key] for key in shared})
        if version not in loaded:
            loaded.clear()
            loaded[version] = build(workspace)
        return loaded[version]

    return load


def _only(context: dg.AssetExecutionContext) -> str:
    return str(context.partition_key) if context.has_partition_key else ""


def _measured_on(workspace: Workspace, step: Step, partition: str) -> dict[str, Any]:
    """Return, for a metric, the subset that it is about: a link, and the version that the model was trained on."""
    sampler, _, stage = step.key.partition("/")
    checkpoint = workspace.store.receipt(f"{sampler}/checkpoint", partition) if stage == "metrics" else None
    if checkpoint is None or sampler not in SAMPLERS:
        return {}
    rate = partition.split("|")[0]
    version = checkpoint.inputs[f"{sampler}/subset"]
    return {
        "subset": dg.MetadataValue.asset(dg.AssetKey([sampler, "subset"])),
        "subset_partition": rate,
        "subset_version": version,
        "trace": f'curation trace {step.key} --partition "{partition}"',
    }


def _event(step: Step, receipt: Receipt, metadata: dict[str, Any]) -> dg.AssetMaterialization:
    tags = {
        "dagster/data_version": receipt.version,
        "dagster/code_version": receipt.code,
        "dagster/data_version_is_user_provided": "true",
    }
    tags |= {f"dagster/input_data_version/{need}": version for need, version in receipt.inputs.items()}
    return dg.AssetMaterialization(
        step.key.split("/"), metadata=metadata, partition=receipt.partition, tags=tags
    )


def _report_checks(context: dg.AssetExecutionContext, workspace: Workspace, step: Step) -> None:
    """Evaluate the step's checks here: Dagster skips check steps after a run that reports partition by partition."""
    key = dg.AssetKey(step.key.split("/"))
    latest = context.instance.fetch_materializations(key, limit=1).records
    for name, check in INVARIANTS.get(step.key, {}).items() if latest else ():
        outcome = check(workspace)
        context.instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=key,
                check_name=name,
                passed=outcome.passed,
                metadata=outcome.metadata,
                description=outcome.description,
                severity=severity(outcome),
                target_materialization_data=AssetCheckEvaluationTargetMaterializationData(
                    storage_id=latest[0].storage_id, run_id=latest[0].run_id, timestamp=latest[0].timestamp
                ),
            )
        )


def _value(value: Any) -> Any:
    return dg.MetadataValue.md(str(value)) if isinstance(value, Markdown) else value
