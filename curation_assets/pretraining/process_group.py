"""The processes of one training: how they meet, what rank 0 sends the others, and how all learn why one of them ended.

Rank 0 alone has a run folder and the documents. It sends the others what to train (`Meeting.offer`), where to go on
(`ProcessGroup.share`, `broadcast`) and their part of each batch (`scatter`): so they need neither a shared file system, nor the store, nor
a profile. A batch is 4 bytes a token; the gradients of a step, which all exchange anyway, are 4 bytes a parameter.

Processes that a launcher started (torchrun, `accelerate launch`) meet at its store, those of `launch` at a file. They talk over the
interface by which MASTER_ADDR is reached: over loopback where that is an address of loopback.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.distributed as distributed
from numpy.typing import NDArray

MEETING = "CURATION_MEETING"
"""Environment variable that names the file at which the processes of `launch` meet."""
_NO_LIMIT = timedelta(days=365)
_TIMEOUT = timedelta(minutes=30)  # of one message: a machine that lost its power says nothing
_PATIENCE = 5.0  # seconds in which processes that noticed a failure say so
_LOST = ("gloo", "NCCL", "Connection", "Broken pipe", "Socket", "recv", "store")


def launched() -> bool:
    """Tell whether this process is one of several that a launcher started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


class ProcessGroup:
    """The processes that share each batch; by itself, a process alone.

    Parameters
    ----------
    meeting
        Where they met.
    device
        Of the run: NCCL on GPUs, one for each process, gloo on CPUs.
    """

    rank, count = 0, 1

    def share(self, value: Any) -> Any:
        """Return the value that rank 0 gave, which is what JSON can say."""
        return value

    def broadcast(self, tensor: torch.Tensor) -> None:
        """Fill a tensor on the run's device with rank 0's."""

    def scatter(self, batch: NDArray[np.integer] | None, shape: tuple[int, int]) -> NDArray[np.integer]:
        """Return this process's rows of rank 0's batch of that shape. One thread at a time calls it, beside the other methods."""
        assert batch is not None
        return batch


ALONE = ProcessGroup()


class _Several(ProcessGroup):
    def __init__(self, meeting: Meeting, device: torch.device) -> None:
        self.rank, self.count = meeting.rank, meeting.count
        if device.type == "cuda":
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
            torch.cuda.set_device(device)
        self._device = device
        if not distributed.is_initialized():
            distributed.init_process_group(
                "nccl" if device.type == "cuda" else "gloo",
                store=meeting.store,
                rank=self.rank,
                world_size=self.count,
                timeout=_TIMEOUT,
            )
        self._batches = _batches_group()

    def share(self, value: Any) -> Any:
        content = json.dumps(value).encode() if self.rank == 0 else b""
        size = torch.tensor(len(content), device=self._device)
        self.broadcast(size)
        data = torch.empty(int(size), dtype=torch.uint8, device=self._device)
        if self.rank == 0:
            data.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        self.broadcast(data)
        return json.loads(data.cpu().numpy().tobytes())

    def broadcast(self, tensor: torch.Tensor) -> None:
        distributed.broadcast(tensor, 0)

    def scatter(self, batch: NDArray[np.integer] | None, shape: tuple[int, int]) -> NDArray[np.integer]:
        part = torch.empty((shape[0] // self.count, shape[1]), dtype=torch.int32)
        parts = None if batch is None else list(torch.from_numpy(batch.astype(np.int32)).chunk(self.count))
        distributed.scatter(part, parts, src=0, group=self._batches)
        return part.numpy()


@cache
def _batches_group() -> Any:
    """Batches have a group of their own: they are sent ahead, while the others' messages go on."""
    return distributed.new_group(backend="gloo", timeout=_TIMEOUT)


class Meeting:
    """Where the processes of a launch meet: torch's store, with what each has to say outside of a training."""

    def __init__(self, store: distributed.Store, rank: int, count: int) -> None:
        self.store, self.rank, self.count = distributed.PrefixStore("curation", store), rank, count
        self._jobs = 0
        self._names: list[str] = []
        self.store.set(f"name/{rank}", f"{socket.gethostname()}, process {os.getpid()}")

    def group(self, device: torch.device) -> ProcessGroup:
        """Return the processes, all of which call this."""
        self.learn_names()
        return _Several(self, device)

    def learn_names(self) -> None:
        """Wait until all have come, and note who they are."""
        self._names = [self.store.get(f"name/{rank}").decode() for rank in range(self.count)]

    def offer(self, job: dict[str, Any] | None) -> None:
        """Tell the others what to train next; None: nothing any more."""
        self.store.set(f"job/{self._jobs}", json.dumps(job))
        self._jobs += 1

    def close(self) -> None:
        """Take the group apart, once all is trained."""
        if distributed.is_initialized():
            distributed.destroy_process_group()

    def take(self) -> dict[str, Any] | None:
        """Wait for what rank 0 offers next, however long."""
        key = f"job/{self._jobs}"
        self.store.wait([key], _NO_LIMIT)
        self._jobs += 1
        job: dict[str, Any] | None = json.loads(self.store.get(key))
        return job

    def must_be_well(self) -> None:
        """Raise RuntimeError where a process has failed, once all is over."""
        for rank in range(self.count):
            if self.store.check([f"failure/{rank}"]):
                failure = json.loads(self.store.get(f"failure/{rank}"))
                raise RuntimeError(f"{self._name(rank)} failed: {failure['message']}")

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Say what failed here to the others; where it is that another has gone, raise RuntimeError with that one's rank and reason."""
        try:
            yield
        except BaseException as error:
            if (cause := self._cause(error)) is None:
                raise
            raise RuntimeError(cause) from error

    def _cause(self, error: BaseException) -> str | None:
        """Return which process failed and of what; None where it is this one."""
        lost = isinstance(error, distributed.DistError | RuntimeError) and any(w in str(error) for w in _LOST)
        about = {"lost": lost, "message": f"{type(error).__name__}: {error}".splitlines()[0]}
        try:
            self.store.set(f"failure/{self.rank}", json.dumps(about))
            return self._of_another() if lost else None
        except RuntimeError as unreachable:
            why = str(unreachable).splitlines()[0]
            return f"{self._name(0)}, or the launcher that started it, is gone: {why}" if lost else None

    def _of_another(self) -> str | None:
        end = time.monotonic() + _PATIENCE
        while True:
            told = [rank for rank in range(self.count) if self.store.check([f"failure/{rank}"])]
            for rank in told:
                failure = json.loads(self.store.get(f"failure/{rank}"))
                if not failure["lost"]:
                    return f"{self._name(rank)} failed: {failure['message']}"
            silent = [rank for rank in range(self.count) if rank not in told]
            if not silent:
                return None
            if time.monotonic() > end:
                names = " and ".join(self._name(rank) for rank in silent)
                return f"{names} ended without a word: killed, out of memory, or its machine is lost"
            time.sleep(0.1)

    def _name(self, rank: int) -> str:
        where = f" ({self._names[rank]})" if self._names else ""
        return f"rank {rank} of {self.count}{where}"


@cache
def meet() -> Meeting:
    """Return the meeting of the launch that this process belongs to."""
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    threads = torch.get_num_threads() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, threads)))  # accelerate would guess, and warn
    if file := os.environ.get(MEETING):
        # Torch's usual store is a server that listens on all interfaces, with no regard to its address.
        return Meeting(distributed.FileStore(file, count), rank, count)
    if interface := _interface(os.environ["MASTER_ADDR"]):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    store, _, _ = next(distributed.rendezvous("env://"))
    return Meeting(store, rank, count)


def _interface(host: str) -> str | None:
    """Return the name of the network interface by which a host is reached."""
    import psutil

    family, kind, _, _, address = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(address)  # of a datagram socket: nothing is sent
        mine = probe.getsockname()[0]
    addresses = psutil.net_if_addrs().items()
    return next((name for name, each in addresses if mine in [a.address for a in each]), None)
