"""What Dagster does by itself: notice that something changed, and have what follows made. All of it can be switched in the UI."""

import json
import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Any

import dagster as dg
from pydantic import Field

from curation_assets.config.profile import Profile
from curation_assets.corpus.watch import check_listing
from curation_assets.defs.instance import jobs_at_work
from curation_assets.defs.jobs import FOLLOW, JOBS, comes_to, follow_changes
from curation_assets.defs.materializing import nothing_to_read
from curation_assets.defs.resources import CHANGE, DUE, Curation
from curation_assets.defs.webserver.holder import another
from curation_assets.engine.attempts import pause
from curation_assets.engine.follow import Follow
from curation_assets.engine.refresh import ask_refresh, learned_steps, to_text
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import Workspace

Due = dict[str, list[str]]
"""{asset key: partitions to make now}."""
_LISTING: Due = {"corpus/source": [""]}


@dataclass(frozen=True)
class _Look:
    """What a look at the graph saw: what is due, its fingerprint and why; or else what is waited for, and up to when."""

    due: Due
    fingerprint: str
    why: str
    waiting: tuple[str, ...]
    next_try: float


@dataclass(frozen=True)
class _Cursor:
    """What the next tick must know: of the listing, and for what a run was asked for last, when, and how often in a row.

    By that a run that cannot start, or breaks before it has tried anything, is asked for again after longer and longer
    pauses. What was tried and failed has pauses of its own (see `engine.attempts`).
    """

    listing: str = ""
    due: str = ""
    times: int = 0
    at: float = 0.0

    @classmethod
    def read(cls, text: str | None) -> "_Cursor":
        """Return what a tick left; one of another form is forgotten, and so at worst something is asked for once more."""
        try:
            return cls(**json.loads(text or "{}"))
        except (TypeError, ValueError):
            return cls()

    def text(self) -> str:
        """Return the form in which Dagster keeps it."""
        return json.dumps(asdict(self))

    def asked(self, listing: str, due: str, now: float) -> "_Cursor":
        """Return the cursor after a request."""
        return _Cursor(listing, due, self.times + 1 if due and due == self.due else 1, now)


_idle: tuple[Any, _Look] | None = None
"""The last look that found nothing to do, and what had happened up to then."""
_read: Versions | None = None
"""What the last look read, which the next one need not read again where it is current still."""


def _look(instance: dg.DagsterInstance, workspace: Workspace) -> _Look:
    """Look at the graph; as long as nothing has happened since the last look found nothing to do, that one is returned."""
    global _idle, _read
    happened = (
        workspace.profile,
        instance.event_log_storage.get_maximum_record_id(),
        workspace.catalog.marks(),
    )
    if _idle is not None and _idle[0] == happened and time.time() < _idle[1].next_try:
        return _idle[1]
    follow = Follow(workspace, refusal=nothing_to_read, earlier=_read)
    _read = follow.versions
    due = follow.all_due()
    waiting = () if due else tuple(follow.waiting())
    look = _Look(due, follow.fingerprint(), "; ".join(follow.reasons()), waiting, follow.next_try)
    _idle = None if due else (happened, look)
    return look


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
        f"`{FOLLOW}`, unless a run is at work that comes to it by itself.",
    )
    def corpus_changes(
        context: dg.SensorEvaluationContext, curation: dg.ResourceParam[Curation]
    ) -> dg.SensorResult:
        return _tick(context.instance, curation.workspace, _Cursor.read(context.cursor))

    return [corpus_changes]


def _tick(instance: dg.DagsterInstance, workspace: Workspace, cursor: _Cursor) -> dg.SensorResult:
    """Ask for one run of all that is to do, or say why not."""
    if (why := _another_ui(workspace)) is not None:
        return dg.SensorResult(skip_reason=why, cursor=cursor.text())
    listing = check_listing(workspace, cursor.listing)
    # A listing that is not asked for now is one that has not been asked for.
    waited = replace(cursor, listing=cursor.listing if listing.changed else listing.cursor)
    at_work = jobs_at_work(instance)
    if everything := next((run for run in at_work if run.job_name not in JOBS), None):
        return dg.SensorResult(skip_reason=_is_at_work(everything), cursor=waited.text())
    look = _look(instance, workspace)
    if not listing.changed and not look.due:
        reason = "; ".join([listing.reason, *look.waiting])
        return dg.SensorResult(skip_reason=reason, cursor=_Cursor(listing.cursor).text())
    to_do = look.due | (_LISTING if listing.changed else {})
    again = None if listing.changed else _pause(workspace, look, cursor)
    if (why := _left_to_others(instance, workspace, at_work, to_do) or again) is not None:
        return dg.SensorResult(skip_reason=why, cursor=waited.text())
    change = f"{datetime.now():%Y-%m-%d %H:%M:%S}: {listing.reason if listing.changed else 'the corpus is as it was'}"
    request = dg.RunRequest(
        run_config=_config(listing.changed),
        tags={CHANGE: change} | ({DUE: look.why} if look.due else {}),
    )
    asked = cursor.asked(listing.cursor, look.fingerprint, time.time())
    return dg.SensorResult([request], cursor=asked.text())


def _config(listing: bool) -> dict[str, Any]:
    return {"ops": {"config": {"listing": listing}}}


def _another_ui(workspace: Workspace) -> str | None:
    if (other := another(workspace.data)) is not None:
        return f"the UI at {other.url} (process {other.pid}) follows this corpus"
    return None


def _left_to_others(
    instance: dg.DagsterInstance, workspace: Workspace, at_work: list[dg.DagsterRun], due: Due
) -> str | None:
    """Say which run is waited for, that comes to what is due, or after which one that was stopped a pause is made."""
    for run in at_work:
        if comes_to(workspace, run, due):
            return _is_at_work(run)
    last = next(iter(instance.get_run_records(dg.RunsFilter(job_name=FOLLOW), limit=1)), None)
    if last is not None and last.dagster_run.status == dg.DagsterRunStatus.CANCELED:
        until = (last.end_time or 0.0) + pause(1, workspace.profile.automation.retry_seconds)
        if time.time() < until:
            return f"run {last.dagster_run.run_id[:8]} was stopped: followed again at {_clock(until)}"
    return None


def _is_at_work(run: dg.DagsterRun) -> str:
    return f"{run.job_name} is at work (run {run.run_id[:8]}): what it leaves to do is looked for when it has ended"


def _pause(workspace: Workspace, look: _Look, cursor: _Cursor) -> str | None:
    """Say until when the same is not asked for again."""
    if not cursor.times or look.fingerprint != cursor.due:
        return None
    until = cursor.at + pause(cursor.times, workspace.profile.automation.retry_seconds)
    if time.time() >= until:
        return None
    return (
        f"a run was asked for, and all of this is still to do: {look.why}; asked for again at {_clock(until)}"
    )


def _clock(when: float) -> str:
    return f"{datetime.fromtimestamp(when):%H:%M:%S}"


Learned = Enum("Learned", {step.key: step.key for step in learned_steps()})  # type: ignore[misc]


class Refresh(dg.Config):
    """Which models to learn anew; none for all of them."""

    assets: list[Learned] = Field(default_factory=list, description="Which; none for all of them")


@dg.op
def ask_for_new_models(
    context: dg.OpExecutionContext, config: Refresh, curation: dg.ResourceParam[Curation]
) -> None:
    """Mark the pinned models that are behind the corpus to be learned anew; the automation or `curation run` does it."""
    refresh = ask_refresh(curation.workspace, [asset.value for asset in config.assets])
    for line in to_text(refresh).splitlines():
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
    schedules = []
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
            workspace = curation.workspace
            why = _another_ui(workspace) or _left_to_others(
                context.instance, workspace, jobs_at_work(context.instance), _LISTING
            )
            if why is not None:
                return dg.SkipReason(why)
            change = f"{datetime.now():%Y-%m-%d %H:%M:%S}: the time to list the corpus"
            return dg.RunRequest(run_config=_config(True), tags={CHANGE: change})

        schedules.append(corpus_listing)
    if automation.refresh_cron:
        schedules.append(
            dg.ScheduleDefinition(
                name="model_refresh",
                job=refresh_models,
                cron_schedule=automation.refresh_cron,
                default_status=status.STOPPED,
                description="Has the models that were learned from the corpus learned anew, and everything that depends on them rescored.",
            )
        )
    return schedules
