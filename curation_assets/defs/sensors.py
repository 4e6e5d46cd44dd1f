"""What Dagster does by itself: notice that the corpus changed, and make what follows. All of it can be switched in the UI."""

import time
import warnings
from contextlib import suppress
from datetime import datetime
from enum import Enum
from typing import Any

import dagster as dg
from pydantic import Field

from curation_assets.config.profile import Profile, ProfileError, load_profile
from curation_assets.corpus.watch import check_listing
from curation_assets.defs.job_specs import OFFERS, choice_of
from curation_assets.defs.resources import CHANGE, JOB, Curation
from curation_assets.defs.webserver.holder import another
from curation_assets.engine.follow import Follow
from curation_assets.engine.graph import STEPS
from curation_assets.engine.refresh import ask_refresh, learned_steps, to_text
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import Workspace

warnings.filterwarnings("ignore", message="Parameter `use_user_code_server`", category=dg.BetaWarning)

SOURCE = dg.AssetKey(["corpus", "source"])
_SECONDS = 10  # between two looks at the graph
_GOING_ON = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_last: tuple[Any, Any, Follow, set[str]] | None = None


class OutOfDate(dg.AutomationCondition):
    """True for the artifacts that `follow.Follow` says are due."""

    def __init__(self, profile: str) -> None:
        self.profile = profile

    @property
    def name(self) -> str:
        """The condition's name in the UI."""
        return "out_of_date"

    @property
    def description(self) -> str:
        """What the UI says of it."""
        return "Out of date, and everything that it reads has settled"

    async def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:  # type: ignore[override]
        """Return the part of the candidates that is due and not being made."""
        step = STEPS["/".join(context.key.path)]
        look, in_jobs = _look(context, self.profile)
        due = [] if step.key in in_jobs else look.due(step)
        subset, view = context.candidate_subset, context.asset_graph_view
        if not due or subset.is_empty:
            return dg.AutomationResult(context, context.get_empty_subset())
        if subset.is_partitioned:
            subset = subset.compute_intersection_with_partition_keys(set(due))
        for at_work in (view.compute_run_in_progress_subset, view.compute_backfill_in_progress_subset):
            subset = subset.compute_difference(await at_work(key=context.key, from_subset=subset))
        return dg.AutomationResult(context, subset)


def _look(context: dg.AutomationContext, source: str) -> tuple[Follow, set[str]]:
    """Return one look for all assets of a tick, and the assets that are left to others: jobs, another UI's daemon.

    It is the last look again while nothing has happened since that found nothing to do.
    """
    global _last
    view = context.asset_graph_view
    if _last is None or _last[0] is not view:
        profile = load_profile(source)
        workspace = Workspace(profile)
        happened = (profile, view.last_event_id, workspace.refresh_asked())
        idle = (
            _last is not None and _last[1] == happened and _last[2].idle() and time.time() < _last[2].next_try
        )
        follow = _last[2] if _last and idle else Follow(workspace)
        # Where another UI works on the same data its daemon does all of it: this one leaves everything to that.
        elsewhere = set(STEPS) if another(profile.data) else _in_jobs(view.instance, profile)
        _last = (view, happened, follow, elsewhere)
    return _last[2:]


def _in_jobs(instance: dg.DagsterInstance, profile: Profile) -> set[str]:
    """Return the assets that jobs are making now, or will when their turn comes: those are left to them."""
    found: set[str] = set()
    for run in instance.get_runs(dg.RunsFilter(statuses=_GOING_ON, tags={JOB: "true"})):
        with suppress(ProfileError):  # what was chosen is not there: the job says so itself
            config: Any = run.run_config
            choice = choice_of(config.get("ops", {}).get("config", {}))
            found |= {step.key for step in OFFERS[run.job_name].work(profile, choice)}
    return found


def condition(step: Step, profile: Profile) -> dg.AutomationCondition | None:
    """Return when a step's asset is made by itself; the listing is made by the sensor and the schedule."""
    if step.key == "corpus/source":
        return None
    return OutOfDate(profile.source)


def all_sensors(profile: Profile) -> list[dg.SensorDefinition]:
    """Return the sensors: one looks at the corpus, one at the graph."""
    running = dg.DefaultSensorStatus
    status = running.RUNNING if profile.automation.follow else running.STOPPED

    @dg.sensor(
        name="corpus_changes",
        asset_selection=dg.AssetSelection.assets(SOURCE),
        minimum_interval_seconds=profile.automation.interval_seconds,
        default_status=status,
        description="Lists the corpus and has it listed anew in the graph when files came, changed or went. Reads no file.",
    )
    def corpus_changes(
        context: dg.SensorEvaluationContext, curation: dg.ResourceParam[Curation]
    ) -> dg.SensorResult:
        if (other := another(curation.workspace.profile.data)) is not None:
            return dg.SensorResult(
                skip_reason=f"the UI at {other.url} (process {other.pid}) follows this corpus"
            )
        found = check_listing(curation.workspace, context.cursor)
        if found.changed:
            change = f"{datetime.now():%Y-%m-%d %H:%M:%S}: {found.reason}"
            return dg.SensorResult([dg.RunRequest(tags={CHANGE: change})], cursor=found.cursor)
        return dg.SensorResult(skip_reason=found.reason, cursor=found.cursor)

    follow = dg.AutomationConditionSensorDefinition(
        "follow_changes",
        target=dg.AssetSelection.all() - dg.AssetSelection.assets(SOURCE),
        default_status=status,
        minimum_interval_seconds=_SECONDS,
        use_user_code_server=True,
        description="Makes what is out of date once all that it reads has settled: scores and subsets; training if the profile says so.",
    )
    return [corpus_changes, follow]


Learned = Enum("Learned", {step.key: step.key for step in learned_steps()})  # type: ignore[misc]


class Refresh(dg.Config):
    """Which models to learn anew; none for all of them."""

    assets: list[Learned] = Field(default_factory=list, description="Which; none for all of them")


@dg.op
def ask_for_new_models(
    context: dg.OpExecutionContext, config: Refresh, curation: dg.ResourceParam[Curation]
) -> None:
    """Mark the pinned models that are behind the corpus to be learned anew; `follow_changes` or `curation run` does it."""
    found = ask_refresh(curation.workspace, [asset.value for asset in config.assets])
    for line in to_text(found).splitlines():
        context.log.info(line)


@dg.job(
    description="Have the models that were learned from the corpus learned anew.\n\n"
    "Tokenizer, T5 ladder, judges, centroids, as far as they are behind the corpus now; its log says what that takes. This job only asks: the sensor `follow_changes`, "
    "`score_what_changed` or `curation run` makes them, and rescores what depends on them."
)
def refresh_models() -> None:
    """Ask for new models."""
    ask_for_new_models()


def all_schedules(profile: Profile) -> list[dg.ScheduleDefinition]:
    """Return the schedules that the profile names: listing the corpus at fixed times, refreshing pinned models."""
    automation, status = profile.automation, dg.DefaultScheduleStatus
    found = []
    if automation.listing_cron:
        found.append(
            dg.ScheduleDefinition(
                name="corpus_listing",
                target=dg.AssetSelection.assets(SOURCE),
                cron_schedule=automation.listing_cron,
                default_status=status.RUNNING if automation.follow else status.STOPPED,
                description="Lists the corpus at fixed times, for stores that are expensive to watch.",
            )
        )
    if automation.refresh_cron:
        found.append(
            dg.ScheduleDefinition(
                name="model_refresh",
                job=refresh_models,
                cron_schedule=automation.refresh_cron,
                default_status=status.STOPPED,
                description="Has the models that were learned from the corpus learned anew, and everything that depends on them rescored.",
            )
        )
    return found
