"""How a step of the graph becomes a Dagster asset."""

import warnings
from collections.abc import Iterator
from typing import Any

import dagster as dg

from curation_assets.config.profile import Profile
from curation_assets.defs import partitions
from curation_assets.defs.descriptions import description, group, kinds, tags
from curation_assets.defs.materializing import carry_out, event, executor_for, schema
from curation_assets.defs.metadata import COLUMNS
from curation_assets.defs.resources import Curation
from curation_assets.defs.table_schemas import tables
from curation_assets.engine.graph import STEPS
from curation_assets.engine.product import Product
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.scope import only
from curation_assets.engine.step import Step

warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)

OWNERS = ["team:data-curation"]
_MANY = 1_000  # partitions of one run; a different number for each depth of the graph, see `_backfill_policy`


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
        output_required=False,
    )
    def asset(context: dg.AssetExecutionContext, curation: dg.ResourceParam[Curation]) -> Iterator[Any]:
        yield from _materialize(context, curation, step)

    return asset


def _known_before(step: Step, profile: Profile) -> dict[str, Any]:
    """Return what is known before there is an artifact: the columns of its table."""
    columns = next(iter(tables(step, profile).values()), None)
    return {COLUMNS: schema(columns)} if columns else {}


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


def _materialize(context: dg.AssetExecutionContext, curation: Curation, step: Step) -> Iterator[Any]:
    """Bring up to date what a person asks for, and of models that are behind the corpus learn it anew."""
    keys = [str(k) for k in context.partition_keys] if context.has_partition_key_range else [_only(context)]
    alone, tell, workspace = len(keys) == 1, context.log.info, curation.workspace
    with executor_for(workspace, tell, inline=True) as executor:
        outcome = yield from carry_out(
            context,
            workspace,
            only(workspace.profile, step, keys),
            executor,
            tell,
            relearn=True,
            checks=not alone,  # Dagster evaluates those of a single one by itself
            retell="all",
            shown=_result if alone else event,
        )
    if reason := outcome.failed.get(step.key) or str(outcome.lacking.get(step.key, "")):
        raise dg.Failure(reason)


def _result(
    step: Step, receipt: Receipt, metadata: dict[str, Any], inputs: dict[str, str]
) -> dg.MaterializeResult:
    """Return Dagster's ordinary result, to which it adds the rest."""
    return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(receipt.version))


def _only(context: dg.AssetExecutionContext) -> str:
    return str(context.partition_key) if context.has_partition_key else ""
