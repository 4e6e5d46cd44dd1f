"""The code location: every asset, check and job of the graph, under the profile that CURATION_PROFILE names."""

import os

import dagster as dg

from curation_assets.config.profile import Profile, load_profile
from curation_assets.defs.assets import step_asset
from curation_assets.defs.checks import all_checks, all_checks_job
from curation_assets.defs.jobs import all_jobs
from curation_assets.defs.resources import curation
from curation_assets.defs.sensors import all_schedules, all_sensors, refresh_models
from curation_assets.products import PRODUCTS


def definitions(profile: Profile) -> dg.Definitions:
    """Return the definitions of the whole graph for one profile."""
    return dg.Definitions(
        assets=[step_asset(product, profile) for product in PRODUCTS],
        asset_checks=all_checks(),
        jobs=[*all_jobs(profile), all_checks_job(), refresh_models],
        sensors=all_sensors(profile),
        schedules=all_schedules(profile),
        resources={
            "curation": curation(profile.source),
            "io_manager": dg.mem_io_manager,  # nothing is handed on: steps open artifacts
        },
        executor=dg.in_process_executor,  # of one op: its work goes to the engine's own workers
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions that Dagster loads."""
    return definitions(load_profile(os.environ.get("CURATION_PROFILE")))
