"""`curation train`: one checkpoint, trained in this process or in all those that torchrun started with it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from contextlib import AbstractContextManager, nullcontext

from curation_assets.cli.live_progress import Watching
from curation_assets.common.stopping import stoppable
from curation_assets.config.profile import Profile


def train(profile: Profile, options: argparse.Namespace) -> int:
    """Make one checkpoint current; as rank 0 of several processes, which then all train it."""
    from curation_assets.engine.graph import STEPS
    from curation_assets.engine.scope import only
    from curation_assets.engine.workspace import Workspace

    started = time.monotonic()
    with stoppable(lambda line: print(f"curation: {line}", file=sys.stderr, flush=True)), _leading():
        workspace, step = Workspace(profile), STEPS.get(options.checkpoint)
        if step is None or not step.key.endswith("/checkpoint"):
            raise ValueError(f"{options.checkpoint} is no checkpoint: name one as density/checkpoint")
        partitions = workspace.partitions(step.by)
        if options.partition not in partitions:
            raise ValueError(f"{step.key} has no partition {options.partition!r}: {', '.join(partitions)}")
        print(f"profile {profile.name}, data in {profile.data}", flush=True)
        from curation_assets.cli.summary import report_end
        from curation_assets.defs.run_graph import run_here

        with Watching(started) as watching:
            outcome = run_here(profile, watching, only(profile, step, [options.partition]))
    made, seconds = sum(outcome.made.values()), time.monotonic() - started
    return report_end(workspace, made, outcome.failed, outcome.blocked, seconds)


def _leading() -> AbstractContextManager[None]:
    """Have the processes that a launcher started with this one know when it is done."""
    if "RANK" not in os.environ:
        return nullcontext()
    from curation_assets.pretraining.launch import leading

    return leading()


def follow() -> int:
    """Train what rank 0 trains."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # what a lost connection means is said in one line
    from curation_assets.pretraining.launch import follow as assist

    try:
        with stoppable(lambda line: None):
            assist()
    except RuntimeError as error:
        print(f"curation: {error}", file=sys.stderr)
        return 1
    return 0
