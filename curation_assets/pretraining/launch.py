"""Train in several processes, one per GPU, of this machine or of several nodes, and hear of them as if it were one call.

`train_distributed` describes the run in a file and starts `python -m curation_assets.pretraining FILE` so many times, with the
environment variables of torch's distributed runs (RANK, WORLD_SIZE, ...). They meet at a file and talk over the loopback interface alone: NCCL on
GPUs, gloo on CPUs. They are started directly, so that they end with the caller, tell it their progress, and their errors arrive as
the exceptions that they were.

Processes that torchrun or accelerate's launcher has started, on one node or several, train as one group instead: in rank 0 `train_distributed`
is called, by whoever builds a checkpoint, `leading` tells the others when there is nothing more to train, and they call `follow`.

What passes from the caller to rank 0 is JSON and .npy files in `.launch/` in the run's folder: job.json, the arrays of the stream that lie in no
file of their own, and each process's log and error. What passes between the processes, `process_group` says.
"""

from __future__ import annotations

import json
import mmap
import os
import queue
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from curation_assets.common.progress import Progress, silent
from curation_assets.models.t5 import Shape
from curation_assets.pretraining.config import RuntimeConfig, TrainConfig, TrainResult
from curation_assets.pretraining.devices import device_of, process_count
from curation_assets.pretraining.packing import Shard, TokenStream
from curation_assets.pretraining.process_group import MEETING, launched, meet
from curation_assets.pretraining.trainer import assist, finished, open_run, train

_FOLDER = ".launch"
_PATIENCE = 10.0  # seconds that processes have to end by themselves after one has failed, or when asked to
_ERRORS = {
    kind.__name__: kind for kind in (FloatingPointError, ValueError, FileNotFoundError, OSError, RuntimeError)
}


@dataclass(frozen=True)
class Job:
    """One run, as its processes read it."""

    config: TrainConfig
    execution: RuntimeConfig
    stream: TokenStream
    folder: Path


def train_distributed(
    config: TrainConfig,
    stream: TokenStream,
    folder: Path | str,
    *,
    progress: Progress = silent,
    execution: RuntimeConfig | None = None,
) -> TrainResult:
    """Train as `trainer.train` does, in `execution.processes` processes; with one, in this process.

    In rank 0 of processes that a launcher has started, those train, however many. The processes share each batch and read the same sequences as one would; sums are taken in another order, so the result
    agrees to rounding. A run may go on with another number of processes. All of them end when this process does, however suddenly.

    Parameters
    ----------
    stream
        Memory maps of whole .npy files are opened again by their paths; other arrays are written beside the run.

    Raises
    ------
    ValueError, FloatingPointError, RuntimeError
        As `trainer.train` does; RuntimeError also where a process dies without a word.
    """
    execution = execution or RuntimeConfig()
    count = meet().count if launched() else process_count(execution)
    if config.batch_size % count:
        raise ValueError(f"a batch of {config.batch_size} cannot be shared by {count} processes")
    if launched():
        return _lead(config, stream, folder, progress, execution)
    if count == 1:
        return train(config, stream, folder, progress=progress, execution=execution)
    run = open_run(config, stream, Path(folder).absolute())
    with run.locked():
        run.claim()
        if run.result() is not None:
            return finished(run, config.steps)
        home = run.path / _FOLDER
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
    job = Job(config, replace(execution, processes=1), stream, run.path)
    resumed = _run(write_job(job, home), count, progress)
    shutil.rmtree(home, ignore_errors=True)
    return finished(run, resumed)


def _lead(
    config: TrainConfig, stream: TokenStream, folder: Path | str, progress: Progress, execution: RuntimeConfig
) -> TrainResult:
    device, meeting = device_of(execution), meet()
    if device.index is not None:
        raise ValueError(f"device {execution.device!r} is one GPU, for one process, not {meeting.count}")
    with meeting.explaining():
        meeting.offer({"config": asdict(config), "execution": asdict(execution)})
        group = meeting.group(device)
        return train(config, stream, folder, progress=progress, execution=execution, group=group)


@contextmanager
def leading() -> Iterator[None]:
    """Be rank 0 of the processes that a launcher has started: at the end the others are told so. Nothing in a process alone."""
    if not launched():
        yield
        return
    meeting = meet()
    try:
        with meeting.explaining():
            yield
    finally:
        meeting.offer(None)
    meeting.close()


def follow() -> None:
    """Train what rank 0 trains, as another of the processes that a launcher has started, until rank 0 is done.

    Raises
    ------
    RuntimeError
        Another process failed; the message names its rank, where it ran, and the reason.
    """
    meeting = meet()
    with meeting.explaining():
        while (job := meeting.take()) is not None:
            config, execution = _config(job["config"]), RuntimeConfig(**job["execution"])
            assist(config, execution, meeting.group(device_of(execution)))
    meeting.must_be_well()
    meeting.close()


def write_job(job: Job, home: Path) -> Path:
    """Write a job and what belongs to it into a folder; return the file that `read_job` reads."""
    shards = [
        {name: _describe(array, home / f"{number}-{name}.npy") for name, array in vars(shard).items()}
        for number, shard in enumerate(job.stream.shards)
    ]
    path = home / "job.json"
    path.write_text(
        json.dumps(
            {
                "config": asdict(job.config),
                "execution": asdict(job.execution),
                "stream": {"shards": shards, "eos": job.stream.eos, "seed": job.stream.seed},
                "folder": str(job.folder),
            }
        )
    )
    return path


def read_job(path: Path) -> Job:
    """Read a job; the stream's arrays are memory maps."""
    job = json.loads(path.read_text())
    stream = job["stream"]
    shards = [
        Shard(**{name: _open(where) for name, where in shard.items()}) for shard in stream.pop("shards")
    ]
    return Job(
        _config(job["config"]),
        RuntimeConfig(**job["execution"]),
        TokenStream(shards, **stream),
        Path(job["folder"]),
    )


def _config(fields: dict[str, Any]) -> TrainConfig:
    tuples = {name: tuple(fields[name]) for name in ("betas", "snapshots")}
    return TrainConfig(**fields | tuples | {"shape": Shape(**fields["shape"])})


def _describe(array: NDArray[Any] | None, path: Path) -> str | None:
    """Return the path of a .npy file with this array, written now unless it is the map of a whole one."""
    if array is None:
        return None
    if (
        isinstance(array, np.memmap)
        and isinstance(array.base, mmap.mmap)
        and str(array.filename).endswith(".npy")
    ):
        return str(array.filename)
    np.save(path, array, allow_pickle=False)
    return str(path)


def _open(path: str | None) -> Any:
    return None if path is None else np.load(path, mmap_mode="r", allow_pickle=False)


def _run(job: Path, count: int, progress: Progress) -> int:
    """Start the processes and listen to the first until all are done; return the step that they began at."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    resumed, failing = 0, None
    with _started(job, count) as processes:
        listener = threading.Thread(target=_listen, args=(processes[0], lines), daemon=True)
        listener.start()
        while listener.is_alive() or not lines.empty() or any(p.poll() is None for p in processes):
            try:
                message = json.loads(lines.get(timeout=0.1))
            except queue.Empty:
                message = {}
            resumed = message.get("resumed_from", resumed)
            if "progress" in message:
                progress(*message["progress"])
            if failing is None and any(p.poll() for p in processes):
                failing = time.monotonic()
            if failing is not None and time.monotonic() - failing > _PATIENCE:
                break
        codes = [p.poll() for p in processes]
    if any(code != 0 for code in codes):
        raise _failure(job.parent, codes)
    return resumed


def _listen(process: subprocess.Popen[str], lines: queue.SimpleQueue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)


@contextmanager
def _started(job: Path, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Start the processes; whatever happens, none is left afterwards."""
    loopback = next(name for _, name in socket.if_nameindex() if name in ("lo", "lo0"))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MASTER_")}
    shared = {
        "GLOO_SOCKET_IFNAME": loopback,
        "NCCL_SOCKET_IFNAME": loopback,
        MEETING: str(job.parent / "meeting"),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // count)),
    }
    command = [sys.executable, "-m", "curation_assets.pretraining", str(job)]
    processes: list[subprocess.Popen[str]] = []
    try:
        for rank in range(count):
            with (job.parent / f"process-{rank}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        command,
                        env=inherited | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                        stdin=subprocess.PIPE,  # never written to: its end is that of this process
                        stdout=subprocess.PIPE if rank == 0 else log,
                        stderr=log,
                        text=True,
                        start_new_session=True,  # Ctrl-C is for this process, which then stops them
                    )
                )
        yield processes
    finally:
        _stop(processes)


def _stop(processes: list[subprocess.Popen[str]]) -> None:
    """Ask the processes that are left to stop, and end those that do not."""
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _PATIENCE
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _failure(home: Path, codes: list[int | None]) -> Exception:
    """Return the error of the process that failed first; the others' are about its absence."""
    errors = [json.loads(path.read_text()) for path in home.glob("error-*.json")]
    if errors:
        first = min(errors, key=lambda error: error["time"])
        name, message = first["type"], first["message"]
        return _ERRORS[name](message) if name in _ERRORS else RuntimeError(f"{name}: {message}")
    rank = next(i for i, code in enumerate(codes) if code != 0)
    log = home / f"process-{rank}.log"
    last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing"]
    return RuntimeError(
        f"training process {rank} of {len(codes)} ended with code {codes[rank]}; the last line of {log}: {last[0]}"
    )
