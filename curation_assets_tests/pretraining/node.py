"""One process of the small run on several nodes: `torchrun ... -m curation_assets_tests.pretraining.node [RANK HOW STEP]`.

Rank 0 trains in the folder `run` of its working folder; the others get no path at all. In rank RANK the batch of step STEP
kills the process, or raises (HOW).
"""

import os
import signal
import sys

from curation_assets.pretraining import process_group
from curation_assets.pretraining.config import RuntimeConfig
from curation_assets.pretraining.launch import follow, leading, train_distributed
from curation_assets_tests.pretraining.small_run import CONFIG, stream

EXECUTION = RuntimeConfig(device="cpu", flush_steps=7, resume_seconds=0.0)


def end(how, step):
    """Let the batch of a step end this process."""
    scatter, batches = process_group._Several.scatter, iter(range(step))

    def scattered(self, *batch):
        if next(batches, None) is not None:
            return scatter(self, *batch)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError("a bad batch")

    process_group._Several.scatter = scattered


def main(rank="", how="", step="0"):
    """Train, as one of several."""
    if os.environ["RANK"] == rank:
        end(how, int(step))
    try:
        if os.environ["RANK"] != "0":
            return follow()
        with leading():
            train_distributed(CONFIG, stream(), "run", execution=EXECUTION)
    except Exception as error:
        print(f"ended: {type(error).__name__}: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
