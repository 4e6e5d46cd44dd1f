"""The jobs of `offers` as Dagster jobs: each part is an op that makes its artifacts one by one, as the assets themselves do.

Jobs, sensors, people's clicks and `curation run` may ask for the same at the same time: whoever comes second waits for
the first and finds it current. A job that is killed has lost nothing but the artifact that it was at.
"""

import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import asdict
from enum import Enum
from typing import Any

import dagster as dg
from pydantic import Field

from curation_assets.common.progress import duration
from curation_assets.config.profile import Profile, ProfileError
from curation_assets.config.registry import RATES, SAMPLERS
from curation_assets.defs import partitions
from curation_assets.defs.assets import event, make_each, report_checks, seen, sign
from curation_assets.defs.job_specs import OFFERS, Offer, Part, asked_for, choice_of
from curation_assets.defs.resources import JOB, Curation
from curation_assets.engine.planner import Plan
from curation_assets.engine.product import Product
from curation_assets.engine.report_steps import REPORTS
from curation_assets.engine.run_log import StepLog
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import EDGE, Step
from curation_assets.engine.workspace import title

_BEFORE = "before"
_SHOWN = 5  # failures in the message; the log has all

Products = dict[str, Product]


class PartOfAJob(dg.Config):
    """What an op is told: its job, and what was chosen."""

    offer: str
    choice: dict[str, list[str]]


def all_jobs(profile: Profile, products: tuple[Product, ...]) -> list[dg.JobDefinition]:
    """Return a job for each offer; `products` says how artifacts are made."""
    known = {product.key: product for product in products}
    parts = {offer.name: offer.parts(profile) for offer in OFFERS.values()}
    ops = {part.name: _op(part, known) for several in parts.values() for part in several}
    forms = _forms(profile)
    return [_job(offer, parts[offer.name], ops, forms[offer.name]) for offer in OFFERS.values()]


def _forms(profile: Profile) -> dict[str, type[dg.Config]]:
    """Return what a person may choose for each offer: names are checked, and completed, in the launchpad."""
    Sampler: Any = _choices("Sampler", SAMPLERS)
    Size: Any = _choices("Size", profile.sizes)
    Section: Any = _choices("Section", REPORTS)
    percent = f"percent of the corpus's {profile.selection.rate_of}: {', '.join(RATES)}"
    these = "none for all that the profile's [run] names"

    class Samplers(dg.Config):
        samplers: list[Sampler] = Field(default_factory=list, description=f"Whose; {these}")

    class Subsets(Samplers):
        rates: list[int] = Field(default_factory=list, description=f"Which, in {percent}; none for all")

    class Cells(Samplers):
        rates: list[int] = Field(default_factory=list, description=f"Which, in {percent}; {these}")
        sizes: list[Size] = Field(default_factory=list, description=f"Sizes of the T5; {these}")

    class Cell(dg.Config):
        sampler: Sampler = Field(
            default=Sampler[profile.chosen_samplers[0]], description="Whose subset to train on"
        )
        rate: int = Field(default=int(profile.run.rates[0]), description=f"In {percent}")
        size: Size = Field(default=Size[profile.run.sizes[0]], description="Size of the T5")

    class Sections(dg.Config):
        sections: list[Section] = Field(default_factory=list, description="Which; none for all")

    return {
        "score_what_changed": Samplers,
        "select_at_all_rates": Subsets,
        "train_and_evaluate_one_cell": Cell,
        "make_the_report": Sections,
        "first_comparison": Cells,
    }


def _choices(name: str, values: Iterable[str]) -> Any:
    """Return an enumeration whose members are called what they are."""
    return Enum(name, {value: value for value in values})


def _job(
    offer: Offer, parts: list[Part], ops: dict[str, dg.OpDefinition], form: type[dg.Config]
) -> dg.JobDefinition:
    @dg.config_mapping
    def for_each_part(chosen: form) -> dict[str, Any]:  # type: ignore[valid-type]
        names = asdict(choice_of(chosen.model_dump()))  # type: ignore[attr-defined]
        config = {"offer": offer.name, "choice": {what: list(of) for what, of in names.items()}}
        return {part.name: {"config": config} for part in parts}

    return dg.GraphDefinition(
        name=offer.name,
        description=offer.what,
        node_defs=[ops[part.name] for part in parts],
        dependencies={  # of the parts that are ready, the one that is listed first goes first
            dg.NodeInvocation(part.name, tags={"dagster/priority": str(-number)}): _after(part.before)
            for number, part in enumerate(parts)
        },
        config=for_each_part,
    ).to_job(tags={JOB: "true"})


def _after(parts: set[str]) -> dict[str, Any]:
    """Return that an op comes after parts."""
    if not parts:
        return {}
    return {_BEFORE: dg.MultiDependencyDefinition([dg.DependencyDefinition(part) for part in sorted(parts)])}


def _op(part: Part, products: Products) -> dg.OpDefinition:
    @dg.op(
        name=part.name,
        description=f"Makes what is missing or out of date of: {', '.join(dict.fromkeys(map(_kind, part.steps)))}.",
        ins={_BEFORE: dg.In(dg.Nothing)},
        out=dg.Out(dg.Nothing),
        pool="accelerator" if any(step.accelerated for step in part.steps) else None,
    )
    def make(
        context: dg.OpExecutionContext, config: PartOfAJob, curation: dg.ResourceParam[Curation]
    ) -> Iterator[Any]:
        yield from _make_part(context, config, curation, part.name, products)

    return make


def _kind(step: Step) -> str:
    """Return a step's key, with one name for all samplers."""
    owner, _, stage = step.key.partition("/")
    return f"*/{stage}" if owner in SAMPLERS and step.group == SAMPLERS[owner].family else step.key


def _make_part(
    context: dg.OpExecutionContext, config: PartOfAJob, curation: Curation, part: str, products: Products
) -> Iterator[Any]:
    sign(context, curation.workspace)
    workspace, tell, started = curation.workspace, curation.teller(context.log.info), time.monotonic()
    offer, choice = OFFERS[config.offer], choice_of(config.choice)
    try:
        work = offer.work(workspace.profile, choice)
    except ProfileError as error:
        raise dg.Failure(str(error)) from None
    steps = [step for step in work if offer.part(step) == part]
    plan, failed = Plan(workspace, steps), dict[str, str]()
    made = current = 0
    for number, step in enumerate(steps, 1):
        asked = asked_for(workspace.profile, choice, step, work)
        heading = f"asset {number} of {len(steps)}"
        log = yield from _make_step(context, curation, step, products, asked, plan, heading)
        made, current = made + log.made, current + log.current
        if step.key in EDGE and len(log.failed) < len(asked):
            continue  # a file that cannot be read does not keep the others waiting; the check all_files_read warns
        failed |= {title(step.key, partition): reason for partition, reason in log.failed.items()}
    said = f"{made:,} made, {current:,} already current, {duration(time.monotonic() - started)}"
    if failed:
        some = "; ".join(f"{name}: {reason}" for name, reason in list(failed.items())[:_SHOWN])
        more = f"; and {len(failed) - _SHOWN:,} more" if len(failed) > _SHOWN else ""
        raise dg.Failure(f"{len(failed):,} artifacts could not be made ({said}): {some}{more}")
    tell(f"{part}: {said}")
    yield dg.Output(None, metadata={"made": made, "already_current": current})


def _make_step(
    context: dg.OpExecutionContext,
    curation: Curation,
    step: Step,
    products: Products,
    asked: list[str],
    plan: Plan,
    heading: str,
) -> Generator[dg.AssetMaterialization, None, StepLog]:
    """Make what is not current of the partitions that are asked for, and have the UI show the others as current, too."""
    workspace, tell = curation.workspace, curation.teller(context.log.info)
    stale = set(Versions(workspace).stale(step, asked))
    current = [partition for partition in asked if partition not in stale]
    untold = _shown_otherwise(context.instance, step, workspace.profile, current)
    todo = [partition for partition in asked if partition in stale | untold]
    plan.begin(step, [(partition,) for partition in todo])
    log = StepLog(step, len(asked), f"{heading}{plan.left()}: ", current=len(asked) - len(todo))
    if not todo:
        tell(f"{heading}: {step.key}, all current" + (f" ({len(asked):,})" if step.by else ""))
        return log
    if step.by in ("size", "rate|size"):
        others = [
            partition for partition in todo if partition not in partitions.there(step, workspace.profile)
        ]
        if others:
            named = f"the profile's [run] does not name {', '.join(others)}"
            tell(f"{heading}: {step.key}: {named}: it is made, but is no partition of the asset in the UI")
    build, inputs = products[step.key].build, seen(context, step, workspace.profile)
    for receipt, metadata in make_each(context, curation, step, build, todo, log, relearn=False, go_on=True):
        plan.end(step, (receipt.partition,))
        if metadata["made"] or receipt.partition in untold:  # of what another run made, that one has told
            yield event(step, receipt, metadata, inputs)
    if log.made or log.failed:
        report_checks(context, curation, step)
    return log


def _shown_otherwise(
    instance: dg.DagsterInstance, step: Step, profile: Profile, current: list[str]
) -> set[str]:
    """Return which of the current artifacts Dagster takes to be missing or failed: made in another home, or a later run died."""
    key, by = dg.AssetKey(step.key.split("/")), partitions.definition(step, profile)
    if by is None:
        return set() if instance.get_latest_materialization_event(key) else set(current)
    status = instance.get_status_by_partition(key, current, by) or {}
    untold = {p for p in current if (found := status.get(p)) is None or found.value == "FAILED"}
    # What the profile does not ask for is no partition of its; that it was told of has to be enough.
    others = untold - set(by.get_partition_keys(dynamic_partitions_store=instance))
    return untold - (others & instance.get_materialized_partitions(key)) if others else untold
