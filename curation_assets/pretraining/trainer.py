"""Pre-train a T5 by span corruption on a token stream, for a fixed budget of tokens (the paper's section 5.1).

Iso-compute: the budget counts raw tokens read from the stream, so every subset, however small, gets the same number of steps and
a small one is read more often. A batch is a function of (seed, step); a run that was killed goes on with the batch that it
would have had, and on the CPU of one machine with one thread count it ends with the same bits. On a GPU, and with another
micro-batch or number of processes, sums are taken in another order and agree only to rounding.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from curation_assets.common.progress import Progress, silent
from curation_assets.models import span_corruption
from curation_assets.models.fusing import fuse_layers
from curation_assets.models.t5 import build, parameter_count
from curation_assets.pretraining import devices, divergence
from curation_assets.pretraining.config import RuntimeConfig, TrainConfig, TrainResult
from curation_assets.pretraining.flops import device_flops, training_flops
from curation_assets.pretraining.optimizer import ScaledAdamW
from curation_assets.pretraining.packing import Stream
from curation_assets.pretraining.process_group import ALONE, ProcessGroup
from curation_assets.pretraining.run_folder import RunFolder
from curation_assets.pretraining.speed import Meter, Speed

_WRITING = 0.05  # of the time at most goes into resume points: of a T5-Large one has 9 GB


def train(
    config: TrainConfig,
    stream: Stream,
    folder: Path | str,
    *,
    progress: Progress = silent,
    execution: RuntimeConfig | None = None,
    group: ProcessGroup = ALONE,
) -> TrainResult:
    """Train to the end of the budget, from wherever the folder's run has come to; a finished run returns at once.

    Parameters
    ----------
    stream
        Gives the raw sequences. Its `digest` is stored with the configuration.
    folder
        A local folder for this run alone; `run_folder` says what is in it.
    progress
        Called with raw tokens done and to do, every `flush_steps` steps; its note gives the loss and the share of the devices'
        measured matrix multiplication rate since the last call.
    execution
        Where and how.
    group
        The processes that share each batch, of which this is rank 0 and the others call `assist`; see `launch`.

    Raises
    ------
    ValueError
        Where the folder belongs to another configuration or other documents.
    FloatingPointError
        Where the loss or the weights are no longer finite, or the loss has risen clearly above its start (`divergence` says when);
        the snapshots and the resume point that are left are from before.
    RuntimeError
        Where another process is training in the folder.
    """
    execution = execution or RuntimeConfig()
    run = open_run(config, stream, folder)
    with run.locked():
        run.claim()
        resumed = config.steps
        if group.share(run.result() is None):
            resumed = _train(config, stream, run, group, execution, progress)
        return finished(run, resumed)


def assist(config: TrainConfig, execution: RuntimeConfig, group: ProcessGroup) -> None:
    """Train as another process than rank 0, which calls `train` and sends all that is read and keeps all that is written."""
    if group.share(None):
        _train(config, None, None, group, execution, silent)


def _train(
    config: TrainConfig,
    stream: Stream | None,
    run: RunFolder | None,
    group: ProcessGroup,
    execution: RuntimeConfig,
    progress: Progress,
) -> int:
    accelerator = devices.accelerator(config, execution)
    with devices.tf32(accelerator.device, execution.tf32):
        return _Training(config, stream, run, group, accelerator, execution, progress).run()


def open_run(config: TrainConfig, stream: Stream, folder: Path | str) -> RunFolder:
    """Return the folder of this configuration's run on these documents."""
    return RunFolder(folder, {**asdict(config), "stream": stream.digest()})


def finished(run: RunFolder, resumed: int) -> TrainResult:
    """Return what a finished run's folder says."""
    done = run.result()
    assert done is not None
    snapshots = tuple(run.snapshots())
    return TrainResult(folder=run.path, **done, snapshots=snapshots, resumed_from=resumed, speed=run.speed())


def read_losses(folder: Path | str, config: TrainConfig) -> dict[str, NDArray[Any]]:
    """Return the loss curve of a run, finished or not: equally long `step`, `tokens`, `loss` and `rate` columns."""
    losses = np.load(Path(folder) / "losses.npy")
    step = np.flatnonzero(~np.isnan(losses))
    rates = np.array([config.rate(int(s)) for s in step])
    return {
        "step": step + 1,
        "tokens": (step + 1) * config.tokens_per_step,
        "loss": losses[step],
        "rate": rates,
    }


class _Training:
    """One call's part of a run."""

    def __init__(
        self,
        config: TrainConfig,
        stream: Stream | None,
        run: RunFolder | None,
        group: ProcessGroup,
        accelerator: Any,
        execution: RuntimeConfig,
        progress: Progress,
    ) -> None:
        self.config, self.group = config, group
        self.stream, self.run_folder = stream, run  # of rank 0 alone
        self.accelerator, self.execution, self.progress = accelerator, execution, progress
        self.plain = build(config.shape, config.vocab_size, config.seed, eos=config.eos, pad=config.pad)
        fuse_layers(self.plain.to(accelerator.device).train(), accelerator.device)
        self.parameters = list(self.plain.parameters())
        self.optimizer = ScaledAdamW(
            self.parameters, lr=config.learning_rate, betas=config.betas, weight_decay=config.weight_decay
        )
        # The losses, in every process: all must agree on a divergence.
        self.curve = np.full(config.steps, np.nan, np.float32)
        self.start = group.share(self._resume())
        if self.start:
            self._send_state()
        if execution.compile:
            compile_blocks(self.plain)
        self.model = accelerator.prepare_model(self.plain)
        if run:
            self.losses = run.open_losses(config.steps, self.start)
        self.recent = torch.zeros(execution.flush_steps, device=accelerator.device)
        self.flushed = self.start
        self.step_flops = training_flops(config) / config.steps
        dtype = torch.bfloat16 if accelerator.mixed_precision == "bf16" else torch.float32
        rate = accelerator.num_processes * device_flops(accelerator.device, dtype)
        self.meter = Meter(rate, run.speed() if run else Speed())

    def _resume(self) -> int:
        """Go on from the run folder's resume point; return its step. Of the other processes, none."""
        if not self.run_folder:
            return 0
        start = self.run_folder.read_resume(self.plain, self.optimizer)
        self.curve[:start] = self.run_folder.read_losses(start)
        return start

    def _send_state(self) -> None:
        """Bring all that rank 0 has read to the others."""
        with torch.no_grad():
            for parameter in self.parameters:
                for tensor in (parameter, *self.optimizer.moments(parameter)):
                    self.group.broadcast(tensor)
        curve = torch.from_numpy(self.curve).to(self.accelerator.device)
        self.group.broadcast(curve)
        self.curve[:] = curve.cpu().numpy()
        for part in self.optimizer.param_groups:
            part["step"] = self.start

    def run(self) -> int:
        """Train to the end; return the step that training began at."""
        config, snapshot_steps = self.config, set(self.config.snapshot_steps)
        saved, took = time.monotonic(), 0.0
        step = self.start
        self._snapshot(step)  # a kill may have come between a resume point and its snapshot
        self.meter.start()
        for inputs, targets in self._batches(step):
            self._train_step(step, inputs, targets)
            step += 1
            full = step - self.flushed == len(self.recent)
            due = time.monotonic() - saved >= resume_pause(self.execution.resume_seconds, took)
            if step in snapshot_steps or self._agree(due, full):
                self._flush(step)
                begun = time.monotonic()
                self._save(step)
                saved = time.monotonic()
                took = saved - begun
            elif full:
                self._flush(step)
        if self.run_folder and self.stream:
            tail = self.losses[-max(1, config.steps // 10) :]
            tokens = config.steps * config.tokens_per_step
            self.run_folder.finish(
                {
                    "steps": config.steps,
                    "tokens": tokens,
                    "loss": float(np.mean(tail, dtype=np.float64)),
                    "epochs": self.stream.epochs(tokens),
                    "parameters": parameter_count(config.shape, config.vocab_size),
                },
                self.meter.total,
            )
        return self.start

    def _batches(self, start: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield this process's inputs and targets of each step; a thread makes the next while one is trained on."""
        if start == self.config.steps:  # a kill came between the last step and the result
            return
        begin = None
        if self.accelerator.device.type == "cuda":  # pinned memory is the thread's current device's
            begin = partial(torch.cuda.set_device, self.accelerator.device)
        with ThreadPoolExecutor(1, thread_name_prefix="batches", initializer=begin) as pool:
            following = pool.submit(self._make_batch, start)
            for step in range(start, self.config.steps):
                inputs, targets = following.result()
                if step + 1 < self.config.steps:
                    following = pool.submit(self._make_batch, step + 1)
                yield (
                    inputs.to(self.accelerator.device, non_blocking=True),
                    targets.to(self.accelerator.device, non_blocking=True),
                )

    def _make_batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        config, shape = self.config, (self.config.batch_size, self.config.raw_length)
        tokens = self.group.scatter(self.stream.batch(step, *shape) if self.stream else None, shape)
        rows = np.arange(len(tokens)) + len(tokens) * self.group.rank
        keys = span_corruption.batch_keys(config.seed, step, rows)
        mask = span_corruption.noise_mask(
            keys, config.raw_length, config.noise_density, config.mean_noise_span
        )
        arrays = span_corruption.corrupt(tokens, mask, eos=config.eos, first_sentinel=config.first_sentinel)
        tensors = [torch.from_numpy(array) for array in arrays]
        if self.accelerator.device.type == "cuda":
            tensors = [tensor.pin_memory() for tensor in tensors]
        return tensors[0], tensors[1]

    def _train_step(self, step: int, inputs: torch.Tensor, targets: torch.Tensor) -> None:
        """Accumulate the gradient over the micro-batches and update; nothing here waits for the device."""
        size = self.execution.micro_batch_size or len(inputs)
        self.optimizer.zero_grad(set_to_none=True)
        for low in range(0, len(inputs), size):
            part = slice(low, low + size)
            last = low + size >= len(inputs)
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                loss = mean_loss(self.model, inputs[part], targets[part], self.config.pad)
                loss = loss * (len(inputs[part]) / len(inputs))  # all targets are equally long
                self.accelerator.backward(loss)
            self.recent[step - self.flushed] += loss.detach()
        torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm, foreach=True)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate(step)
        self.optimizer.step()

    def _flush(self, step: int) -> None:
        """Fetch, check and log the losses since the last flush: the one place that waits for the device."""
        recent = self.accelerator.reduce(self.recent.clone(), reduction="mean").cpu().numpy()
        recent = recent[: step - self.flushed]
        self.recent.zero_()
        bad = np.flatnonzero(~np.isfinite(recent))
        self.curve[self.flushed : step] = recent
        if len(bad):
            self._diverged(self.flushed + int(bad[0]) + 1, "the loss is not finite")
        if self.run_folder:
            self.losses[self.flushed : step] = recent
        self._check_rise(step)
        part = self.meter.lap(step - self.flushed)
        if self.run_folder:
            done, total = (n * self.config.tokens_per_step for n in (step, self.config.steps))
            share = 100 * part.share(self.step_flops)
            percent = f"{share:.0f}" if share >= 10 else f"{share:.1f}"
            note = f"loss {recent.mean():.2f}, {percent} % of the device's GEMM rate"
            self.progress(done, total, "tokens", note)
        self.flushed = step

    def _check_rise(self, step: int) -> None:
        config = self.config
        at = divergence.risen(self.curve[:step], self.flushed, config.steps, config.warmup_steps)
        if at is not None:
            width = divergence.window(config.steps)
            mean = self.curve[at - width : at].mean()
            start = self.curve[0]
            self._diverged(
                at, f"the mean loss of {width} steps is {mean:.2f}, that of the first step {start:.2f}"
            )

    def _save(self, step: int) -> None:
        """Write the resume point, then the snapshot if one is due. The losses up to here are flushed."""
        finite = torch.stack(torch._foreach_norm([*self.parameters])).isfinite().all()
        if not finite:
            self._diverged(step, "the weights are not finite")
        if self.run_folder:
            self.losses.flush()  # type: ignore[attr-defined]  # a memory map
            self.run_folder.write_resume(self.plain, self.optimizer, step, self.meter.total)
        self._snapshot(step)
        self.meter.lap(0)  # the time that writing took counts, and not as that of the steps to come

    def _snapshot(self, step: int) -> None:
        if self.run_folder and step in self.config.snapshot_steps:
            self.run_folder.write_snapshot(self.plain, step, step * self.config.tokens_per_step)

    def _agree(self, due: bool, full: bool) -> bool:
        """Let rank 0's clock decide for all; asking it waits for the device, so only at a flush."""
        if self.group.count == 1:
            return due
        return full and self.group.share(due)

    def _diverged(self, step: int, why: str) -> NoReturn:
        """Go back to before it and stop, all with rank 0's message."""
        message = self.group.share(self._go_back(step, why) if self.run_folder else None)
        raise FloatingPointError(message)

    def _go_back(self, step: int, why: str) -> str:
        """Remove what is from after the last good step; return what a person should know."""
        assert self.run_folder
        good = divergence.last_good(self.curve[: step - 1])
        self.run_folder.go_back(good)
        kept = self.run_folder.snapshots()
        last = f"the last good snapshot is {kept[-1].folder}" if kept else "there is no snapshot from before"
        return (
            f"{self.run_folder.path}: training diverged at step {step} of {self.config.steps}: {why}; {last}. "
            f"Lower learning_rate ({self.config.learning_rate}) or raise warmup_share, in another folder"
        )


def resume_pause(wanted: float, took: float) -> float:
    """Return after how many seconds the next resume point is due, if the last one took so long to write; 0 is after every step, whatever it costs."""
    return max(wanted, took / _WRITING) if wanted else 0.0


def compile_blocks(model: Any) -> None:
    """Compile each layer in place: all of a stack are one piece of code, so that 48 take as long as four.

    What was compiled before is forgotten: of one function dynamo keeps eight versions, and without a word would run the ninth uncompiled.
    """
    torch.compiler.reset()
    for block in [*model.encoder.block, *model.decoder.block]:
        block.compile(
            dynamic=False
        )  # the last part of a batch may be smaller: another version, not one for all sizes


def mean_loss(model: Any, inputs: torch.Tensor, targets: torch.Tensor, start: int) -> torch.Tensor:
    """Return the mean cross entropy of unpadded targets, nats per token, in float32 whatever the model computes in.

    Parameters
    ----------
    inputs, targets : int64[B, Li], int64[B, Lt]
    start
        The decoder's first token.
    """
    shifted = torch.roll(targets, 1, dims=1)
    shifted[:, 0] = start
    logits = model(input_ids=inputs, decoder_input_ids=shifted, use_cache=False).logits
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
