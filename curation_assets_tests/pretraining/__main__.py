"""`python -m curation_assets_tests.pretraining FOLDER STEP`: the small run of the tests, killed in a step."""

import sys

from curation_assets.pretraining.config import RuntimeConfig
from curation_assets.pretraining.trainer import train
from curation_assets_tests.pretraining.small_run import CONFIG, InterruptedStream, stream

if __name__ == "__main__":
    killed = InterruptedStream(stream(), int(sys.argv[2]), kill=True)
    train(CONFIG, killed, sys.argv[1], execution=RuntimeConfig(device="cpu", resume_seconds=0.0))
