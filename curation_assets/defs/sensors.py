"""What Dagster does by itself: notice that something changed, and have what follows made. All of it can be switched in the UI."""

import time
from datetime import datetime
from enum import Enum
from typing import Any

import dagster as dg
from pydantic import Field

from curation_assets.config.profile import Profile
from curation_assets.corpus.watch import check_listing
from curation_assets.defs.instance import job_at_work
from curation_assets.defs.jobs import FOLLOW, follow_changes
from curation_assets.defs.resources import CHANGE, DUE, Curation
from curation_assets.defs.webserver.holder import another
from curation_assets.engine.follow import Follow
from curation_assets.engine.refresh import ask_refresh, learned_steps, to_text
from curation_assets.engine.workspace import Workspace

_idle: tuple[Any, Follow] | None = None
"""The last look at the graph that found nothing to do, and what had happened up to then."""


def _due(instance: dg.DagsterInstance, workspace: Workspace) -> Follow:
    """Return a look at the graph: the last one, as long as nothing has happened since that found nothing to do."""
    global _idle
    happened = (
        workspace.profile,
        instance.event_log_storage.get_maximum_record_id(),
        workspace.refresh_asked(),
    )
    if _idle is not None and _idle[0] == happened and time.time() < _idle[1].next_try:
        return _idle[1]
    follow = Follow(workspace)
    _idle = (happened, follow) if follow.idle() else None
    return follow


def all_sensors(profile: Profile) -> list[dg.SensorDefinition]:
    """Return the sensor, which looks at the corpus and at the graph."""

    @dg.sensor(
        name="corpus_changes",
        job=follow_changes,
        minimum_interval_seconds=profile.automation.interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING
        if profile.automation.follow
        else dg.DefaultSensorStatus.STOPPED,
        description="Lists the corpus (reads no file) and looks what is out of date; has all of that made in one run of the job "
        f"`{FOLLOW}`, while no other job is at work.",
    )
    def corpus_changes(
        context: dg.SensorEvaluationContext, curation: dg.ResourceParam[Curation]
    ) -> dg.SensorResult:
        workspace, instance = curation.workspace, context.instance
        if (why := _left_to_others(instance, workspace.profile)) is not None:
            return dg.SensorResult(skip_reason=why, cursor=context.cursor)
        found, follow = check_listing(workspace, context.cursor), _due(instance, workspace)
        if not found.changed and follow.idle():
            return dg.SensorResult(
                skip_reason="; ".join([found.reason, *follow.waiting()]), cursor=found.cursor
            )
        change = f"{datetime.now():%Y-%m-%d %H:%M:%S}: {found.reason if found.changed else 'the corpus is as it was'}"
        tags = {CHANGE: change} | ({} if follow.idle() else {DUE: "; ".join(follow.reasons())})
        return dg.SensorResult(
            [dg.RunRequest(run_config=_config(found.changed), tags=tags)], cursor=found.cursor
        )

    return [corpus_changes]


def _config(listing: bool) -> dict[str, Any]:
    return {"ops": {"config": {"listing": listing}}}


def _left_to_others(instance: dg.DagsterInstance, profile: Profile) -> str | None:
    """Say who is at work, whose end is waited for: what is left to do then the next look finds."""
    if (other := another(profile.data)) is not None:
        return f"the UI at {other.url} (process {other.pid}) follows this corpus"
    if (run := job_at_work(instance)) is not None:
        return f"{run.job_name} is at work (run {run.run_id[:8]}): what it leaves to do is looked for when it has ended"
    return None


Learned = Enum("Learned", {step.key: step.key for step in learned_steps()})  # type: ignore[misc]


class Refresh(dg.Config):
    """Which models to learn anew; none for all of them."""

    assets: list[Learned] = Field(default_factory=list, description="Which; none for all of them")


@dg.op
def ask_for_new_models(
    context: dg.OpExecutionContext, config: Refresh, curation: dg.ResourceParam[Curation]
) -> None:
    """Mark the pinned models that are behind the corpus to be learned anew; the automation or `curation run` does it."""
    found = ask_refresh(curation.workspace, [asset.value for asset in config.assets])
    for line in to_text(found).splitlines():
        context.log.info(line)


@dg.job(
    description="Have the models that were learned from the corpus learned anew.\n\n"
    "Tokenizer, T5 ladder, judges, centroids, as far as they are behind the corpus now; its log says what that takes. This job only asks: the sensor `corpus_changes`, "
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

        @dg.schedule(
            name="corpus_listing",
            job=follow_changes,
            cron_schedule=automation.listing_cron,
            default_status=status.RUNNING if automation.follow else status.STOPPED,
            description="Lists the corpus at fixed times and has what follows made, for stores that are expensive to watch.",
        )
        def corpus_listing(
            context: dg.ScheduleEvaluationContext, curation: dg.ResourceParam[Curation]
        ) -> dg.RunRequest | dg.SkipReason:
            if (why := _left_to_others(context.instance, curation.workspace.profile)) is not None:
                return dg.SkipReason(why)
            change = f"{datetime.now():%Y-%m-%d %H:%M:%S}: the time to list the corpus"
            return dg.RunRequest(run_config=_config(True), tags={CHANGE: change})

        found.append(corpus_listing)
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
