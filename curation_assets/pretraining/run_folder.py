"""A training run's folder: what is in it, and how it is written so that a kill at any instant loses no more than a minute.

    run.json              the configuration that the folder belongs to
    losses.npy            float32[steps], one loss per step, NaN for steps to come
    step-000123/          a snapshot: model.safetensors, config.json, snapshot.json (step, tokens, digests of the other files)
    resume-DIGEST.safetensors   the latest resume point: weights, both moments, and in its metadata the step, the digest of the
                          losses up to there and the speed so far
    result.json           what came out, and the digest of losses.npy; it exists exactly when the run is finished
    .speed.json           of a finished run, how fast it was: hidden, for it is another one each time

Whole files and folders appear by rename, after fsync. A resume point is always written before the snapshot of the same step,
so no snapshot is ever ahead of where the run would go on; of a run that diverged, what is from after that goes. Everything
carries a digest that is checked before the run goes on: what is damaged goes, and it goes on from what is left.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from curation_assets.common.files import (
    TEMPORARY,
    atomic_file,
    atomic_folder,
    publish,
    seal,
    sha256,
    unseal,
    write_bytes,
)
from curation_assets.models.snapshots import Snapshot, read_snapshots, snapshot_holds
from curation_assets.pretraining.speed import Speed

if TYPE_CHECKING:
    import torch
    from transformers import T5ForConditionalGeneration

    from curation_assets.pretraining.optimizer import ScaledAdamW

_LOG = logging.getLogger(__name__)
_KEPT = "kept"  # in result.json: what else belongs to a finished run
_UNTIMED = Speed()


class RunFolder:
    """The folder of one run. Opening it makes it, checks whose it is, and removes what a kill left half written."""

    def __init__(self, folder: Path | str, identity: dict[str, Any]) -> None:
        self.path = Path(folder)
        self.path.mkdir(parents=True, exist_ok=True)
        self._identity = json.loads(json.dumps(identity))
        self._speed = self.path / ".speed.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against a second process; the kernel lets go of it when this one dies."""
        try:
            lock = FileLock(self.path / ".lock", blocking=False).acquire()
        except Timeout:
            raise RuntimeError(f"{self.path}: another process is at work in this folder") from None
        with lock:
            yield

    def claim(self) -> None:
        """Write the identity into a new folder, or check it in an old one; clean up after a kill, and drop what is damaged.

        Raises
        ------
        ValueError
            Where the folder belongs to another configuration; the message names the fields that differ.
        """
        for left in self.path.glob(f"{TEMPORARY}*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        owner = self.path / "run.json"
        if not owner.exists():
            if self.snapshots() or self._resume():
                raise ValueError(f"{self.path}: holds snapshots but no run.json that says of which run")
            write_bytes(owner, seal(self._identity))
            return
        identity = unseal(owner.read_bytes())
        if identity is None:
            self._drop(*(path for path in self.path.iterdir() if path.name != ".lock"))
            return self.claim()
        if identity != self._identity:
            names = sorted(identity.keys() | self._identity.keys())
            differ = [k for k in names if identity.get(k) != self._identity.get(k)]
            detail = "; ".join(f"{k} was {identity.get(k)!r}, now {self._identity.get(k)!r}" for k in differ)
            raise ValueError(f"{self.path} belongs to another run: {detail}")
        self._check_digests()

    def _check_digests(self) -> None:
        """Drop what is not as it was written, what is later than that, and a result that lacks something of its own."""
        result = (self.path / "result.json", self._speed)
        broken = [folder for folder in self.path.glob("step-*") if not snapshot_holds(folder)]
        first = min((int(folder.name.removeprefix("step-")) for folder in broken), default=None)
        step = self._newest_intact_resume(first)
        if broken:  # only training passes there again, and what came later is made by that
            later = [s.folder for s in read_snapshots(self.path, broken) if s.step > step]
            self._drop(*broken, *later, *result)
        if result[0].exists():
            about, names = unseal(result[0].read_bytes()), {s.folder.name for s in self.snapshots()}
            if about is None or not names >= set(about[_KEPT]["snapshots"]):
                self._drop(*result)
            elif about[_KEPT]["losses"] != self._losses_digest():
                self._drop(*result, self.path / "losses.npy")

    def _newest_intact_resume(self, limit: int | None) -> int:
        """Keep the newest sound resume point, of those up to a step, and no other; return its step, or 0."""
        points = self.path.glob("resume-*.safetensors")
        step = 0
        for path in sorted(points, key=lambda path: path.stat().st_mtime_ns, reverse=True):
            header = _header(path) if path.name == _resume_name(path) else {"step": "0", "losses": "unknown"}
            reached = int(header["step"])
            if header["losses"] != self._losses_digest(reached):
                self._drop(path)
            elif step or (limit is not None and reached > limit):
                path.unlink()
            else:
                step = reached
        return step

    def _drop(self, *paths: Path) -> None:
        for path in paths:
            if path.exists():
                _LOG.warning("%s is damaged: dropped, and made again from what is left of the run", path)
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _resume(self) -> Path | None:
        """Return the resume point, or None."""
        return max(
            self.path.glob("resume-*.safetensors"), key=lambda path: path.stat().st_mtime_ns, default=None
        )

    def _losses_digest(self, steps: int | None = None) -> str:
        return _digest_of_losses(self.path / "losses.npy", steps)

    def snapshots(self) -> list[Snapshot]:
        """Return the snapshots that are there, in the order of training."""
        return read_snapshots(self.path)

    def write_snapshot(self, model: T5ForConditionalGeneration, step: int, tokens: int) -> None:
        """Write the weights of a step, unless they are there."""
        from curation_assets.models.t5 import save

        final = self.path / f"step-{step:06d}"
        if final.exists():
            return
        with atomic_folder(final) as folder:
            save(model, folder)
            digests = {path.name: sha256(path) for path in sorted(folder.iterdir())}
            about = {"step": step, "tokens": tokens, "files": digests}
            (folder / "snapshot.json").write_bytes(seal(about))

    def write_resume(
        self, model: T5ForConditionalGeneration, optimizer: ScaledAdamW, step: int, speed: Speed = _UNTIMED
    ) -> None:
        """Replace the resume point: all that the next step depends on besides (seed, step)."""
        from safetensors.torch import save_file

        tensors: dict[str, torch.Tensor] = {}
        for name, parameter in model.named_parameters():
            mean, square = optimizer.moments(parameter)
            tensors |= {
                f"weight/{name}": parameter.detach().contiguous(),
                f"mean/{name}": mean,
                f"square/{name}": square,
            }
        header = {
            "format": "pt",
            "step": str(step),
            "losses": self._losses_digest(step),
            **speed.to_strings(),
        }
        before = self._resume()
        draft = self.path / f"{TEMPORARY}resume"
        save_file(tensors, draft, metadata=header)
        final = draft.with_name(_resume_name(draft))
        publish(draft, final)
        if before is not None and before != final:
            before.unlink()

    def read_resume(self, model: T5ForConditionalGeneration, optimizer: ScaledAdamW) -> int:
        """Put the latest resume point into model and optimizer; return its step, 0 where there is none."""
        import torch
        from safetensors import safe_open

        resume = self._resume()
        if resume is None:
            return 0
        with safe_open(resume, framework="pt") as file, torch.no_grad():
            step = int(file.metadata()["step"])
            for name, parameter in model.named_parameters():
                mean, square = optimizer.moments(parameter)
                for kind, tensor in (("weight", parameter), ("mean", mean), ("square", square)):
                    tensor.copy_(file.get_tensor(f"{kind}/{name}"))
        for group in optimizer.param_groups:
            group["step"] = step
        return step

    def speed(self) -> Speed:
        """Return how fast the run was up to its end, or up to its resume point."""
        if self._speed.exists():
            return Speed.from_strings(unseal(self._speed.read_bytes()) or {})
        resume = self._resume()
        return _UNTIMED if resume is None else Speed.from_strings(_header(resume))

    def go_back(self, step: int) -> None:
        """Remove the resume point and the snapshots that are from after `step`."""
        resume = self._resume()
        if resume is not None and int(_header(resume)["step"]) > step:
            resume.unlink()
        for snapshot in self.snapshots():
            if snapshot.step > step:
                aside = snapshot.folder.with_name(f"{TEMPORARY}{snapshot.folder.name}")
                snapshot.folder.rename(aside)
                shutil.rmtree(aside)

    def read_losses(self, resumed: int) -> NDArray[np.float32]:
        """Return a copy of the first `resumed` losses."""
        path = self.path / "losses.npy"
        if not resumed:
            return np.empty(0, np.float32)
        if not path.exists():
            raise FileNotFoundError(f"{path}: lost, though the run has come to step {resumed}")
        return np.array(np.load(path, mmap_mode="r")[:resumed])

    def open_losses(self, steps: int, resumed: int) -> NDArray[np.float32]:
        """Return losses.npy as a writable memory map, with NaN from step `resumed` on, to be written again."""
        path = self.path / "losses.npy"
        if resumed and not path.exists():
            raise FileNotFoundError(f"{path}: lost, though the run has come to step {resumed}")
        if not resumed:
            with atomic_file(path) as draft, draft.open("wb") as file:
                np.save(file, np.full(steps, np.nan, np.float32))
        losses = np.lib.format.open_memmap(path, mode="r+")
        losses[resumed:] = np.nan
        return losses

    def result(self) -> dict[str, Any] | None:
        """Return what a finished run left, None of an unfinished one."""
        path = self.path / "result.json"
        if not path.exists():
            return None
        fields = unseal(path.read_bytes())
        if fields is None:
            raise ValueError(f"{path} is damaged")
        return {name: value for name, value in fields.items() if name != _KEPT}

    def finish(self, result: dict[str, Any], speed: Speed = _UNTIMED) -> None:
        """Mark the run as finished and drop its resume point."""
        if speed != _UNTIMED:
            write_bytes(self._speed, seal(dict(speed.to_strings())))
        kept = {"losses": self._losses_digest(), "snapshots": [s.folder.name for s in self.snapshots()]}
        write_bytes(self.path / "result.json", seal({**result, _KEPT: kept}))
        if (resume := self._resume()) is not None:
            resume.unlink()


def damaged_part(folder: Path) -> str | None:
    """Return which file or snapshot of a finished run's folder, or of a copy of it, is not what was written; None where all are."""
    about = unseal((folder / "result.json").read_bytes())
    if about is None:
        return "result.json"
    if unseal((folder / "run.json").read_bytes()) is None:
        return "run.json"
    if about[_KEPT]["losses"] != _digest_of_losses(folder / "losses.npy"):
        return "losses.npy"
    return next((name for name in about[_KEPT]["snapshots"] if not snapshot_holds(folder / name)), None)


def _digest_of_losses(path: Path, steps: int | None = None) -> str:
    """Return the digest of the first so many losses, of all by default; "" where there are none."""
    try:
        losses = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        return ""
    except (ValueError, EOFError, SyntaxError, TokenError):  # NumPy parses its header as Python
        return "damaged"
    if losses.dtype != np.float32 or losses.offset + losses.nbytes != path.stat().st_size:
        return "damaged"  # the header: of the same bytes it would make other losses, or fewer
    return hashlib.sha256(losses[:steps].tobytes()).hexdigest()


def _resume_name(path: Path) -> str:
    return f"resume-{sha256(path)[:32]}.safetensors"


def _header(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())
