"""`python -m curation_assets.pretraining JOB`: one process of a run of several, see `launch`. Ends when its standard input does."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path

from curation_assets.common.progress import Progress


def main(path: Path) -> int:
    """Train; tell progress and outcome as lines of JSON, an error in a file beside the job."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is for the log

    def tell(done: float, total: float, unit: str, note: str = "") -> None:
        print(json.dumps({"progress": [done, total, unit, note]}), file=channel)

    try:
        resumed = _train(path, tell)
    except Exception as error:
        about = {"type": type(error).__name__, "message": str(error), "time": time.time()}
        path.with_name(f"error-{os.environ.get('RANK', '0')}.json").write_text(json.dumps(about))
        traceback.print_exc()
        return 1
    print(json.dumps({"resumed_from": resumed}), file=channel)
    return 0


def _train(path: Path, tell: Progress) -> int:
    from curation_assets.pretraining.launch import follow, leading, read_job, train_distributed

    if os.environ["RANK"] != "0":
        follow()
        return 0
    with leading():
        job = read_job(path)
        return train_distributed(
            job.config, job.stream, job.folder, progress=tell, execution=job.execution
        ).resumed_from


def _end_with_parent() -> None:
    """End at once when standard input ends, which is when the process at its other end has gone."""
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
