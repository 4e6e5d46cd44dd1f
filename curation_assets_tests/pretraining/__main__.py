"""`python -m curation_assets_tests.pretraining FOLDER`: the small run of the tests, for those that kill it."""

import sys

from curation_assets.pretraining.config import RuntimeConfig
from curation_assets.pretraining.trainer import train
from curation_assets_tests.pretraining.small_run import CONFIG, stream

if __name__ == "__main__":
    train(CONFIG, stream(), sys.argv[1], execution=RuntimeConfig(device="cpu", resume_seconds=0.0))
