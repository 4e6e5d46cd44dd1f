"""The tags that tell what brought a run about, and that it is a job's."""

from __future__ import annotations

import os

import dagster as dg
import pytest

from curation_assets.config.profile import Profile
from curation_assets.defs.instance import instance_for, jobs_at_work
from curation_assets.defs.resources import ASKED, COMMAND, HOST, JOB, PID
from curation_assets.defs.run_graph import run_graph
from curation_assets.engine.graph import STEPS

pytestmark = pytest.mark.graph


def test_a_command_is_one_run_that_says_which_it_was(tiny: Profile) -> None:
    run_graph(tiny, lambda line: None, [STEPS["corpus/source"], STEPS["corpus/shards"]])
    with instance_for(tiny) as instance:
        [run] = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.SUCCESS and run.tags[COMMAND].endswith(" run")
        assert run.tags[PID] == str(os.getpid()) and run.tags[JOB] == ASKED
        assert not jobs_at_work(instance)
        events = instance.all_logs(run.run_id, dg.DagsterEventType.ASSET_MATERIALIZATION)
        made = [m.asset_key.to_user_string() for e in events if (m := e.asset_materialization)]
        assert sorted(made) == ["corpus/shards"] * 3 + ["corpus/source"]


@dg.job(tags={JOB: ASKED})
def some_job() -> None:
    """Stands for any job."""


def test_a_job_whose_process_died_is_not_waited_for(tiny: Profile) -> None:
    with instance_for(tiny) as instance:
        started = dg.DagsterRunStatus.STARTED
        going = instance.create_run_for_job(
            some_job, status=started, tags={JOB: ASKED, PID: str(os.getpid()), HOST: os.uname().nodename}
        )
        assert [run.run_id for run in jobs_at_work(instance)] == [going.run_id]
        instance.add_run_tags(going.run_id, {PID: str(2**22 + 1)})
        assert not jobs_at_work(instance)
        assert instance.get_run_by_id(going.run_id).status == dg.DagsterRunStatus.FAILURE  # type: ignore[union-attr]
