"""Running the graph in this process: only what is missing or out of date, in order, as ordinary Dagster runs."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import dagster as dg
from dagster._utils.error import SerializableErrorInfo

from curation_assets import partitions
from curation_assets.definitions import definitions
from curation_assets.graph import STEPS, Step
from curation_assets.profile import Profile
from curation_assets.progress import duration
from curation_assets.resources import Curation
from curation_assets.storage import write_bytes
from curation_assets.workspace import MissingInput, Versions, Workspace

PID, HOST = "curation/pid", "curation/host"
_EFFORT = {
    "checkpoint": 12.0,
    "metrics": 2.0,
    "embeddings": 3.0,
}  # of one partition, relative to the others' 0.2
_RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")

Tell = Callable[[str], object]


@dataclass
class Outcome:
    """What a run of the graph did: artifacts made by asset key, and what failed with its reason."""

    made: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    blocked: list[str] = field(default_factory=list)


def dagster_home(profile: Profile) -> Path:
    """Return DAGSTER_HOME (default: `dagster_home` in the data folder), made ready with the packaged dagster.yaml."""
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(profile.data / "dagster_home")))
    settings = home / "dagster.yaml"
    if not settings.exists():
        write_bytes(settings, files("curation_assets").joinpath("dagster.yaml").read_bytes())
    return home


@contextmanager
def instance_for(profile: Profile) -> Iterator[dg.DagsterInstance]:
    """Open the Dagster instance, with the runs of dead processes reported as failed and their pool slots freed."""
    dagster_home(profile)
    with dg.DagsterInstance.get() as instance:
        _bury_orphans(instance)
        yield instance


def _bury_orphans(instance: dg.DagsterInstance) -> None:
    living = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING]
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=living, tags={HOST: socket.gethostname()})):
        if not _alive(run.tags[PID]):
            instance.report_run_failed(run, "The process of this run died.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _alive(pid: str) -> bool:
    """Tell whether a process of this machine is there; signal 0 only asks."""
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def targets(workspace: Workspace, step: Step) -> list[str]:
    """Return the partitions of a step that the profile's [run] asks for."""
    run = workspace.profile.run
    if step.by == "rate|size":
        return [f"{rate}|{size}" for rate in run.rates for size in run.sizes]
    if step.by == "size":
        return list(run.sizes)
    return workspace.partitions(step.by)


def wanted_steps(profile: Profile) -> list[Step]:
    """Return the steps that the profile's samplers need, each after what it needs."""
    chains = ("subset", "metrics")
    roots = [f"{name}/{end}" for name in profile.samplers for end in chains]
    keys, todo = set(), ["full_data/metrics", "report/comparison", *roots]
    while todo:
        key = todo.pop()
        if key in keys:
            continue
        keys.add(key)
        if not STEPS[key].partial:
            todo.extend(STEPS[key].needs)
    return [step for step in STEPS.values() if step.key in keys]


def waves(steps: list[Step]) -> Iterator[list[Step]]:
    """Group steps so that each wave needs only earlier ones, and equal stages of all samplers share a wave."""
    chosen = {step.key for step in steps}
    done: set[str] = set()
    left = list(steps)
    while left:
        ready = [s for s in left if all(need in done or need not in chosen for need in s.needs)]
        single = [s for s in ready if not _is_chain(s)]
        stage = min((_stage(s) for s in ready), default=0)
        wave = single or [s for s in ready if _stage(s) == stage]
        yield wave
        done |= {s.key for s in wave}
        left = [s for s in left if s not in wave]


def _is_chain(step: Step) -> bool:
    return step.key.split("/")[-1] in _STAGES


_STAGES = ("scores", "subset", "checkpoint", "metrics")


def _stage(step: Step) -> int:
    last = step.key.split("/")[-1]
    return _STAGES.index(last) if last in _STAGES else len(_STAGES)


def run_graph(profile: Profile, tell: Tell) -> Outcome:
    """Make everything current that the profile's [run] asks for; what already is current is not touched."""
    workspace = Workspace(profile)
    job = definitions(profile).resolve_implicit_global_asset_job_def()
    outcome = Outcome()
    steps = wanted_steps(profile)
    clock = _Clock(workspace, steps)
    Curation.listener = tell
    try:
        with instance_for(profile) as instance:
            for wave in waves(steps):
                _run_wave(workspace, job, instance, wave, outcome, clock, tell)
            partitions.sync_shards(instance, workspace.shards())
    finally:
        Curation.listener = None
    return outcome


def _run_wave(
    workspace: Workspace,
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    wave: list[Step],
    outcome: Outcome,
    clock: _Clock,
    tell: Tell,
) -> None:
    versions = Versions(workspace)
    together: dict[tuple[str, ...], list[Step]] = {}
    for step in wave:
        stale = versions.stale(step, targets(workspace, step))
        if stale and _inputs_there(versions, step, stale):
            for chunk in _chunks(step, stale, workspace, instance):
                together.setdefault(chunk, []).append(step)
        elif stale:
            outcome.blocked.append(step.key)
        clock.skip(step, len(targets(workspace, step)) - len(stale))
    for chunk, steps in together.items():
        quiet = steps[0].key == "corpus/source"
        if not quiet:
            names = ", ".join(step.key for step in steps)
            tell(f"--- {names}: {len(chunk)} to make{clock.left()}")
        before = {(s.key, p): _version(workspace, s, p) for s in steps for p in chunk}
        result = _execute(job, instance, steps, chunk)
        _note_failures(result, instance, steps, outcome)
        for step in steps:
            now = [p for p in chunk if _version(workspace, step, p) != before[step.key, p]]
            if now and not quiet:
                outcome.made[step.key] = outcome.made.get(step.key, 0) + len(now)
            clock.spend(step, len(chunk))


def _execute(
    job: dg.JobDefinition, instance: dg.DagsterInstance, steps: list[Step], chunk: tuple[str, ...]
) -> dg.ExecuteInProcessResult:
    """Run steps on the same partitions (one, or a contiguous range) as one Dagster run."""
    tags = {PID: str(os.getpid()), HOST: socket.gethostname()}
    if len(chunk) > 1:
        tags |= dict(zip(_RANGE, (chunk[0], chunk[-1]), strict=True))
    return job.execute_in_process(
        instance=instance,
        asset_selection=[dg.AssetKey(step.key.split("/")) for step in steps],
        partition_key=chunk[0] if len(chunk) == 1 and chunk[0] else None,
        tags=tags,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        raise_on_error=False,
    )


def _note_failures(
    result: dg.ExecuteInProcessResult, instance: dg.DagsterInstance, steps: list[Step], outcome: Outcome
) -> None:
    """Write down which steps failed and why; pass an interrupt on, which Dagster turns into a cancelled run."""
    run = instance.get_run_by_id(result.run_id)
    if run and run.status in (dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.CANCELING):
        raise KeyboardInterrupt
    for failure in result.filter_events(lambda event: event.is_step_failure):
        error = failure.step_failure_data.error
        cause = (error.cause or error) if error else None
        if _interrupted(error):
            raise KeyboardInterrupt
        key = next((s.key for s in steps if s.key.replace("/", "__") == failure.step_key), failure.step_key)
        outcome.failed[str(key)] = cause.message.strip() if cause else "failed"


def _interrupted(error: SerializableErrorInfo | None) -> bool:
    """Tell whether an interrupt stands anywhere in an error's chain of causes."""
    while error:
        if error.cls_name in ("DagsterExecutionInterruptedError", "KeyboardInterrupt"):
            return True
        error = error.cause or error.context
    return False


def _inputs_there(versions: Versions, step: Step, stale: list[str]) -> bool:
    """Tell whether at least one stale partition could be made: the rest will say for itself what it lacks."""
    for partition in stale:
        try:
            versions.inputs(step, partition)
        except MissingInput:
            continue
        return True
    return False


def _version(workspace: Workspace, step: Step, partition: str) -> str:
    receipt = workspace.store.receipt(step.key, partition)
    return f"{receipt.version}@{receipt.created}" if receipt else ""


def _chunks(
    step: Step, stale: list[str], workspace: Workspace, instance: dg.DagsterInstance
) -> Iterator[tuple[str, ...]]:
    """Split stale partitions into what one Dagster run takes: a contiguous range in the definition's own order."""
    if step.by in ("", "rate|size") or step.trains:
        yield from ((partition,) for partition in stale)
        return
    order = (
        instance.get_dynamic_partitions(partitions.SHARD) if step.by == "shard" else targets(workspace, step)
    )
    at = sorted(order.index(partition) for partition in stale)
    start = 0
    for i in range(1, len(at) + 1):
        if i == len(at) or at[i] != at[i - 1] + 1:
            yield tuple(order[j] for j in at[start:i])
            start = i


class _Clock:
    """Time left, from the effort of what has been made and of what has not."""

    def __init__(self, workspace: Workspace, steps: list[Step]) -> None:
        shards = max(len(workspace.shards()), 1)
        count = {"": 1, "shard": shards}
        self._left = {s.key: count.get(s.by) or len(targets(workspace, s)) for s in steps}
        self._spent, self._started = 0.0, time.monotonic()

    def skip(self, step: Step, partitions_: int) -> None:
        """Drop what is current from what is left."""
        self._left[step.key] = max(self._left[step.key] - partitions_, 0)

    def spend(self, step: Step, partitions_: int) -> None:
        """Count partitions as made."""
        self._spent += _effort(step) * partitions_
        self.skip(step, partitions_)

    def left(self) -> str:
        """Return ", about N min left", or "" while too little is known."""
        if self._spent < 2:
            return ""
        remaining = sum(_effort(STEPS[key]) * count for key, count in self._left.items())
        return f", about {duration((time.monotonic() - self._started) / self._spent * remaining)} left"


def _effort(step: Step) -> float:
    return _EFFORT.get(step.key.split("/")[-1], 0.2)


def register_shards(profile: Profile, tell: Tell) -> None:
    """List the corpus (building the built-in one where the profile asks for it) and register its shards."""
    workspace = Workspace(profile)
    job = definitions(profile).resolve_implicit_global_asset_job_def()
    source = STEPS["corpus/source"]
    clock = _Clock(workspace, [source])
    Curation.listener = tell
    try:
        with instance_for(profile) as instance:
            outcome = Outcome()
            _run_wave(workspace, job, instance, [source], outcome, clock, tell)
            for reason in outcome.failed.values():
                tell(f"the corpus cannot be listed: {reason}")
    finally:
        Curation.listener = None
