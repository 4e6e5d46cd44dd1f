"""The code location: every asset, check and job of the graph, under the profile that CURATION_PROFILE names."""

import os

import dagster as dg

from curation_assets.checks import all_checks
from curation_assets.corpus.assets import corpus_assets
from curation_assets.embeddings.assets import embedding_assets
from curation_assets.evaluation.assets import evaluation_assets
from curation_assets.models.assets import model_assets
from curation_assets.pretraining.assets import pretraining_assets
from curation_assets.profile import Profile, load_profile
from curation_assets.report.assets import report_assets
from curation_assets.resources import Curation
from curation_assets.sampling.assets import sampling_assets
from curation_assets.scoring.assets import scoring_assets
from curation_assets.sensors import all_schedules, all_sensors, refresh_models


def definitions(profile: Profile) -> dg.Definitions:
    """Return the definitions of the whole graph for one profile."""
    return dg.Definitions(
        assets=[
            *corpus_assets(profile),
            *embedding_assets(profile),
            *model_assets(profile),
            *scoring_assets(profile),
            *sampling_assets(profile),
            *pretraining_assets(profile),
            *evaluation_assets(profile),
            *report_assets(profile),
        ],
        asset_checks=all_checks(),
        jobs=[dg.define_asset_job("checks", selection=dg.AssetSelection.all_asset_checks()), refresh_models],
        sensors=all_sensors(profile),
        schedules=all_schedules(profile),
        resources={"curation": Curation(profile=profile.source)},
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions that Dagster loads."""
    return definitions(load_profile(os.environ.get("CURATION_PROFILE")))
