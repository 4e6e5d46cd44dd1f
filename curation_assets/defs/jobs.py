"""The jobs that people launch from the UI, and the one of the automation: each brings a choice of the graph up to date.

Jobs, sensors, people's clicks and `curation run` may ask for the same at the same time: whoever comes second waits for
the first and finds it current. A job that is killed has lost nothing but the artifacts that it was at.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import dagster as dg
from pydantic import Field, ValidationError

from curation_assets.common.progress import duration
from curation_assets.config.amount import amount, of_key
from curation_assets.config.profile import Profile, ProfileError
from curation_assets.config.registry import SAMPLERS
from curation_assets.defs.materializing import carry_out, executor_for
from curation_assets.defs.resources import ASKED, FOLLOWING, JOB, Curation
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import wanted_steps
from curation_assets.engine.report_steps import REPORTS
from curation_assets.engine.scope import Scope, following
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import Workspace

FOLLOW = "follow_changes"
"""The job of the automation."""


@dataclass(frozen=True)
class Chosen:
    """What a person chose; () is everything that the profile's [run] names. `listing` is the automation's."""

    samplers: tuple[str, ...] = ()
    amounts: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    listing: bool = True


def chosen(config: dict[str, Any]) -> Chosen:
    """Return what a job's config says: `amount: 20%` and `amounts: [20%]` are the same."""
    names: dict[str, Any] = {}
    for name in ("sampler", "amount", "size", "section"):
        values = [*config.get(f"{name}s", ()), *([config[name]] if name in config else [])]
        names[f"{name}s"] = tuple(str(value.value if isinstance(value, Enum) else value) for value in values)
    return Chosen(**names, listing=config.get("listing", True))


def narrowed(profile: Profile, choice: Chosen) -> Profile:
    """Return the profile with its [run] narrowed, or widened, to what was chosen.

    Raises
    ------
    ProfileError
        Something was chosen that there is not.
    """
    try:
        amounts = tuple(str(amount(text)) for text in choice.amounts)
    except ValueError as error:
        raise ProfileError(f"amounts: {error}") from None
    named = {"samplers": choice.samplers, "amounts": amounts, "sizes": choice.sizes}
    known = {"samplers": list(SAMPLERS), "amounts": _amounts(profile), "sizes": profile.sizes}
    for what, names in named.items():
        for name in names:
            if name not in known[what]:
                raise ProfileError(f"{what}: there is no {name!r}; there are {', '.join(known[what])}")
    for name in choice.samplers:
        if name in profile.left_out:
            raise ProfileError(f"samplers: {profile.left_out[name]}")
    update = {what: list(names) for what, names in named.items() if names}
    return profile.model_copy(update={"run": profile.run.model_copy(update=update)})


def _amounts(profile: Profile) -> list[str]:
    """Return the amounts at which there are subsets, as people write them."""
    return [str(of_key(key)) for key in profile.amounts]


def _closure(profile: Profile, ends: Iterable[str]) -> list[Step]:
    """Return what is needed for some assets, and they, each after what it needs."""
    keys, todo = set(), list(ends)
    while todo:
        key = todo.pop()
        if key not in keys:
            keys.add(key)
            todo.extend(STEPS[key].reads(profile))
    return [step for step in STEPS.values() if step.key in keys]


def _up_to(end: str) -> Callable[[Profile, Chosen], list[Step]]:
    return lambda profile, choice: _closure(profile, [f"{name}/{end}" for name in profile.chosen_samplers])


def _sections(profile: Profile, choice: Chosen) -> list[Step]:
    wanted = {f"report/{name}" for name in choice.sections}
    reports = [step for step in STEPS.values() if step.group == "report"]
    return [s for s in reports if not wanted or s.key in wanted or s.key == "report/page"]


JOBS: dict[str, tuple[str, Callable[[Profile, Chosen], list[Step]]]] = {
    "score_what_changed": (
        "Bring scores and subsets up to date with the corpus.\n\n"
        "Lists the corpus, then makes what is missing or out of date, up to the subsets at all amounts: documents, embeddings, "
        "sketch, scores. Nothing is made that is current. Trains only the models that scorers need and do not have yet.",
        _up_to("subset"),
    ),
    "select_at_all_rates": (
        "Draw every sampler's subsets anew from the scores that are there.\n\n"
        "No model runs and nothing is scored: seconds. Use it after a change of `selection` or `evaluation.decontaminate`, or "
        "when scores were made one by one. A sampler without scores is named, and the others go on.",
        lambda profile, choice: [STEPS[f"{name}/subset"] for name in profile.chosen_samplers],
    ),
    "train_and_evaluate_one_cell": (
        "Train a T5 on one sampler's subset and measure it.\n\n"
        "One sampler, one amount, one model size. Makes first what is missing or out of date before that: scores, the subset. "
        "Then look at the sampler's `metrics`, and run `make_the_report`.",
        _up_to("metrics"),
    ),
    "make_the_report": (
        "Make every section of the report from the measurements that are there.\n\n"
        "Nothing is trained or scored; what is missing is shown as missing. The page is copied to `report/index.html` in the "
        "data folder.",
        _sections,
    ),
    "first_comparison": (
        "Everything, from the corpus to the report: what `make run` makes.\n\n"
        "Makes what is missing or out of date for the samplers, amounts and sizes of the profile's `[run]`, or for those that you "
        "choose. Stopped or killed, it continues where it was.",
        lambda profile, choice: wanted_steps(profile),
    ),
}
"""{name: (description, its first line stands for it in lists; the steps that it makes under a profile narrowed to a choice)}."""

_FOLLOW = (
    "Make what follows from a change by itself.\n\n"
    "That is scores and subsets; training and the report with `automation.training`. The sensor `corpus_changes` and the schedule `corpus_listing` start it; it can be started by hand as well. Lists the corpus, "
    "unless told otherwise, and makes what is out of date once all that it reads has settled. Its log says why each was made."
)


def scope_of(profile: Profile, job: str, choice: Chosen) -> Scope:
    """Return what a job brings up to date; ProfileError where something was chosen that there is not."""
    if job == FOLLOW:
        return following(profile, listing=choice.listing)
    narrow = narrowed(profile, choice)
    steps = tuple(JOBS[job][1](narrow, choice))
    return Scope(steps, narrow, steps, tuple(narrow.trained_amounts) if choice.amounts else ())


def comes_to(workspace: Workspace, run: dg.DagsterRun, due: Mapping[str, Iterable[str]]) -> bool:
    """Tell whether a run at work comes by itself to some of what is due, {asset key: partitions}.

    A job that people launch does if that is in its scope and not behind it; `curation run` and the automation always do.
    """
    if run.job_name not in JOBS:
        return True
    form = _forms(workspace.profile)[run.job_name]
    config: dict[str, Any] = dict(run.run_config).get("ops", {}).get("config", {})  # type: ignore[attr-defined]
    try:
        scope = scope_of(workspace.profile, run.job_name, chosen(_choice(form(**config))))
    except (ProfileError, ValidationError):
        return False  # it says so, and ends
    behind = _behind(workspace, scope, run.run_id)
    return any(
        step.key in due
        and step.key not in behind
        and not set(due[step.key]).isdisjoint(scope.partitions(workspace, step))
        for step in scope.steps
    )


def _behind(workspace: Workspace, scope: Scope, run_id: str) -> set[str]:
    """Return the steps that a run has behind it: all that comes before a training that it is at."""
    training: dict[str, set[str]] = {}
    for (key, partition), attempt in workspace.catalog.attempts().items():
        if STEPS[key].trains and attempt.run_id == run_id and attempt.running():
            training.setdefault(key, set()).add(partition)
    needs: set[str] = set()
    for step in scope.steps:
        if not training.get(step.key, set()).isdisjoint(scope.partitions(workspace, step)):
            needs |= set(step.reads(workspace.profile))
    return {step.key for step in _closure(workspace.profile, needs)}


def all_jobs(profile: Profile) -> list[dg.JobDefinition]:
    """Return the jobs under a profile."""
    forms = _forms(profile)
    return [
        *(_job(name, description, forms[name]) for name, (description, _) in JOBS.items()),
        follow_changes,
    ]


class Listing(dg.Config):
    """How the automation begins."""

    listing: bool = Field(default=True, description="Whether to list the corpus first")


def _forms(profile: Profile) -> dict[str, type[dg.Config]]:
    """Return what a person may choose for each job: names are checked, and completed, in the launchpad."""
    Sampler: Any = _choices("Sampler", SAMPLERS)
    Size: Any = _choices("Size", profile.sizes)
    Section: Any = _choices("Section", REPORTS)
    listed = f"{', '.join(_amounts(profile))} (% of the corpus's {profile.selection.rate_of})"
    these = "none for all that the profile's [run] names"

    class Samplers(dg.Config):
        samplers: list[Sampler] = Field(default_factory=list, description=f"Whose; {these}")

    class Subsets(Samplers):
        amounts: list[str] = Field(default_factory=list, description=f"Which, of {listed}; none for all")

    class Cells(Samplers):
        amounts: list[str] = Field(default_factory=list, description=f"Which, of {listed}; {these}")
        sizes: list[Size] = Field(default_factory=list, description=f"Sizes of the T5; {these}")

    class Cell(dg.Config):
        sampler: Sampler = Field(
            default=Sampler[profile.chosen_samplers[0]], description="Whose subset to train on"
        )
        amount: str = Field(default=profile.run.amounts[0], description=f"One of {listed}")
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


class _JobConfig(dg.Config):
    """What the op is told: its job, and the job's config."""

    job: str
    choice: dict[str, Any]


def _job(name: str, description: str, form: type[dg.Config]) -> dg.JobDefinition:
    """Return a job of one op, whose config is the form alone."""

    @dg.config_mapping
    def work(config: form) -> dict[str, Any]:  # type: ignore[valid-type]
        return {bring_up_to_date.name: {"config": {"job": name, "choice": _choice(config)}}}

    return dg.GraphDefinition(
        name=name, description=description, node_defs=[bring_up_to_date], config=work
    ).to_job(tags={JOB: FOLLOWING if name == FOLLOW else ASKED})


def _choice(form: dg.Config) -> dict[str, Any]:
    return {key: _plain(value) for key, value in form.model_dump().items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.value if isinstance(value, Enum) else value


@dg.op(
    out=dg.Out(dg.Nothing), description="Makes what is missing or out of date, each step after what it needs."
)
def bring_up_to_date(
    context: dg.OpExecutionContext, config: _JobConfig, curation: dg.ResourceParam[Curation]
) -> Iterator[Any]:
    """Carry a job out."""
    workspace, tell, started = curation.workspace, context.log.info, time.monotonic()
    try:
        scope = scope_of(workspace.profile, config.job, chosen(config.choice))
    except ProfileError as error:
        raise dg.Failure(str(error)) from None
    with executor_for(workspace, tell) as executor:
        retell: Any = "none" if scope.by_itself else "unknown"
        outcome = yield from carry_out(context, workspace, scope, executor, tell, retell=retell)
    made = sum(outcome.made.values())
    summary = f"{made:,} made, {outcome.current:,} already current, {duration(time.monotonic() - started)}"
    if failed := outcome.failed:
        reasons = "; ".join(f"{key}: {reason}" for key, reason in failed.items())
        raise dg.Failure(f"not everything could be made ({summary}): {reasons}")
    tell(summary)
    yield dg.Output(None, metadata={"made": made, "already_current": outcome.current})


follow_changes = _job(FOLLOW, _FOLLOW, Listing)
"""The job of the automation."""
