"""Teach a T5 to answer the Ask-LLM prompt as a teacher does: a small judge that costs little enough for a whole corpus.

The soft label of a document is the teacher's probability p of "yes": the loss is the cross entropy between (yes: p, no:
1 - p) and the judge's softmax over its whole vocabulary at the first decoder position, so that the judge's P("yes") comes
to be the label. It reads exactly what `scoring.ask_llm.AskLLM` has it read when it scores.

A batch is a function of (seed, step): a killed run ends with the bits of one left alone, on the CPU of one machine with one
thread count. The last weights are the result; documents held out are only measured on, so that their figures are honest.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from curation_assets.corpus.tokenizer import Tokenizer
from curation_assets.models.agreement import Agreement, kendall
from curation_assets.models.distill_config import DistillConfig, DistillResult
from curation_assets.models.files import file_digest
from curation_assets.pretraining import model as t5
from curation_assets.pretraining.optimizer import ScaledAdamW, clip_gradients
from curation_assets.pretraining.snapshots import RunFolder, write_json
from curation_assets.progress import Progress, silent
from curation_assets.sampling.keys import noise
from curation_assets.scoring.ask_llm import AskLLM, answer_ids
from curation_assets.scoring.batching import Ids, document_encoder, length_batches

_WINDOW = 8  # batches among which documents of like length are brought together
_ROUNDING = 1e-6  # by which a teacher's log-probability may exceed 0


def distill(
    config: DistillConfig,
    model_folder: Path | str,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    log_p_yes: NDArray[np.float64],
    held_out: NDArray[np.bool_],
    folder: Path | str,
    *,
    device: str = "auto",
    resume_seconds: float = 60.0,
    progress: Progress = silent,
) -> DistillResult:
    """Fine-tune to the end, from wherever the folder's run has come to; a finished run returns at once.

    Parameters
    ----------
    model_folder
        A T5 that `pretraining.model.save` wrote.
    texts, log_p_yes, held_out : [n]
        Documents, the teacher's log P("yes") of each, and which of them are measured on and not trained on.
    folder
        A local folder for this run alone; see `pretraining.snapshots`.
    device
        A torch device; "auto" for CUDA where there is one, which then computes in bfloat16 with weights in float32.
    resume_seconds
        How often a resume point is written: what a kill can cost.
    progress
        Told in documents, after each epoch and resume point.

    Raises
    ------
    ValueError
        "yes" or "no" is no single token, fewer than 2 documents are held out or trained on, a label is no log-probability
        (the message names its row), or the folder belongs to another run.
    FloatingPointError
        The loss is no longer finite.
    RuntimeError
        Another process is at work in the folder.
    """
    log_p_yes, held_out = np.asarray(log_p_yes, np.float64), np.asarray(held_out)
    _check(texts, log_p_yes, held_out)
    ask = AskLLM(
        t5.load(model_folder),
        tokenizer,
        template=config.template,
        max_tokens=config.max_tokens,
        device=device,
    )
    inputs = ask.inputs(texts)
    run = RunFolder(
        folder,
        {
            **asdict(config),
            "model": file_digest(Path(model_folder) / "model.safetensors"),
            "data": _digest(inputs, log_p_yes, held_out),
        },
    )
    with run.locked():
        run.claim()
        start = None
        if (done := run.result()) is None:
            start = _Training(config, ask, tokenizer, inputs, log_p_yes, held_out, run).run(
                texts, resume_seconds, progress
            )
            done = run.result()
    assert done is not None
    parts: dict[str, Any] = {name: Agreement(**done.pop(name)) for name in ("agreement", "length")}
    history = tuple(done.pop("history"))
    model = run.snapshots()[-1].folder
    resumed = done["steps"] if start is None else start
    return DistillResult(folder=run.path, model=model, **done, **parts, history=history, resumed_from=resumed)


def soft_labels(log_p_yes: NDArray[np.float64], train: NDArray[np.bool_], target: str) -> NDArray[np.float64]:
    """Return what each document's P("yes") is to be, float64[n] in [0, 1]; for `target` see `DistillConfig`.

    Ranks are among the documents of `train` alone; theirs lie strictly between 0 and 1.
    """
    if target == "probability":
        return np.exp(np.minimum(log_p_yes, 0))
    known = np.sort(log_p_yes[train])
    below, within = (np.searchsorted(known, log_p_yes, side) for side in ("left", "right"))
    return (below + within) / (2 * len(known))


def soft_loss(logs: torch.Tensor, labels: torch.Tensor, yes: int, no: int) -> torch.Tensor:
    """Return the cross entropy of each document, [B], from log-probabilities of the whole vocabulary, [B, V]."""
    return -(labels * logs[:, yes] + (1 - labels) * logs[:, no])


def epoch_batches(
    lengths: NDArray[np.integer], batch_size: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Return the rows of each batch of an epoch: every row once, in batches whose sizes differ by at most 1.

    Rows are shuffled, sorted by length among those of 8 batches, and the batches are shuffled again.
    """
    n, count = len(lengths), math.ceil(len(lengths) / batch_size)
    keys = noise(np.arange(n + count, dtype=np.uint64) + np.uint64(epoch * (n + count)), seed)
    pieces = np.array_split(np.argsort(keys[:n], kind="stable"), count)
    batches: list[NDArray[np.int64]] = []
    for low in range(0, count, _WINDOW):
        window = np.concatenate(pieces[low : low + _WINDOW])
        ends = np.cumsum([len(piece) for piece in pieces[low : low + _WINDOW]])
        batches += np.split(window[np.argsort(lengths[window], kind="stable")], ends[:-1])
    return [batches[k] for k in np.argsort(keys[n:], kind="stable")]


class _Training:
    """One call's part of a run."""

    def __init__(
        self,
        config: DistillConfig,
        ask: AskLLM,
        tokenizer: Tokenizer,
        inputs: list[Ids],
        log_p_yes: NDArray[np.float64],
        held_out: NDArray[np.bool_],
        run: RunFolder,
    ) -> None:
        self.config, self.ask, self.tokenizer, self.run_folder = config, ask, tokenizer, run
        self.inputs, self.lengths = inputs, np.fromiter(map(len, inputs), np.int64, len(inputs))
        (self.yes,) = ask.answer_ids
        (self.no,) = answer_ids(document_encoder(tokenizer), ("no",), tokenizer.unk_id)
        self.teacher, self.train, self.held = log_p_yes, np.flatnonzero(~held_out), np.flatnonzero(held_out)
        self.labels = soft_labels(log_p_yes, ~held_out, config.target)
        self.per_epoch, self.steps = config.steps_per_epoch(len(self.train)), config.steps(len(self.train))
        self.on_gpu = ask.device.type == "cuda"
        self.bucket = 32 if self.on_gpu else 1
        self.parameters = list(ask.model.parameters())
        self.optimizer = ScaledAdamW(self.parameters, lr=config.learning_rate)
        self.start = run.read_resume(ask.model, self.optimizer)
        self.losses = run.open_losses(self.steps, self.start)
        self.recent: list[torch.Tensor] = []  # losses that are still on the device
        path = run.path / "history.json"
        past = json.loads(path.read_text())["rows"] if self.start else []
        self.history: list[dict[str, Any]] = [row for row in past if row["step"] <= self.start]

    def run(self, texts: Sequence[str], resume_seconds: float, progress: Progress) -> int:
        """Train to the end and measure; return the step that training began at."""
        saved, documents = time.monotonic(), self.steps * len(self.train) / self.per_epoch
        if not self.history:
            self._measure(0)
        for step in range(self.start, self.steps):
            if step % self.per_epoch == 0 or step == self.start:
                batches = self._batches(step // self.per_epoch)
            self._train_step(step, batches[step % self.per_epoch])
            done = step + 1
            last = done == self.steps
            due = last or time.monotonic() - saved >= resume_seconds
            if last or due or done % self.per_epoch == 0:
                loss = self._flush(done)
                progress(documents * done / self.steps, documents, "documents", f"loss {loss:.3f}")
            if last or done % self.per_epoch == 0:
                self._measure(done)
            if due:
                self.losses.flush()  # type: ignore[attr-defined]  # a memory map
                self.run_folder.write_resume(self.ask.model, self.optimizer, done)
                saved = time.monotonic()
        tokens = round(self.steps / self.per_epoch * int(self.lengths[self.train].sum()))
        self.run_folder.write_snapshot(self.ask.model, self.steps, tokens)
        self.run_folder.finish(self._result(texts))
        return self.start

    def _batches(self, epoch: int) -> list[NDArray[np.int64]]:
        c = self.config
        found = epoch_batches(self.lengths[self.train], c.batch_size, c.seed, epoch)
        return [self.train[rows] for rows in found]

    def _train_step(self, step: int, rows: NDArray[np.int64]) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16) if self.on_gpu else nullcontext():
            padded = min(
                -(-int(self.lengths[rows].max()) // self.bucket) * self.bucket, self.config.max_tokens
            )
            loss = self._losses(rows, padded)[0].mean()
        loss.backward()
        clip_gradients(self.parameters, self.config.clip_norm)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate(step, self.steps)
        self.optimizer.step()
        self.recent.append(loss.detach())

    def _losses(self, rows: NDArray[np.int64], padded: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return each document's loss and log P("yes"), [B] each, as the scorer would compute it."""
        logs = self.ask.log_softmax([self.inputs[row] for row in rows], padded)
        labels = torch.from_numpy(self.labels[rows]).float().to(logs.device)
        return soft_loss(logs, labels, self.yes, self.no), logs[:, self.yes]

    def _flush(self, step: int) -> float:
        """Fetch, check and log the losses since the last flush; return their mean."""
        recent = torch.stack(self.recent).cpu().numpy()
        first = step - len(recent)
        self.recent.clear()
        weights = torch.stack(torch._foreach_norm(self.parameters)).isfinite().all()
        if not (np.isfinite(recent).all() and weights):
            raise FloatingPointError(
                f"{self.run_folder.path}: training diverged between steps {first} and {step} of {self.steps}: lower "
                f"learning_rate ({self.config.learning_rate}) or raise warmup_share, in another folder"
            )
        self.losses[first:step] = recent
        return float(recent.mean(dtype=np.float64))

    @torch.inference_mode()
    def _measure(self, step: int) -> None:
        """Add a line on the documents held out to the history."""
        yes, losses = np.empty(len(self.held)), np.empty(len(self.held))
        lengths, longest = self.lengths[self.held], self.config.max_tokens
        for part, padded in length_batches(lengths, self.ask.batch_tokens, longest, self.bucket):
            loss, score = self._losses(self.held[part], padded)
            losses[part], yes[part] = loss.cpu().numpy(), score.cpu().numpy()
        since = self.losses[self.history[-1]["step"] : step] if self.history else np.empty(0)
        line = {
            "epoch": step / self.per_epoch,
            "step": step,
            "loss": float(since.mean(dtype=np.float64)) if len(since) else None,
            "held_out_loss": float(losses.mean()),
            "tau": kendall(yes, self.teacher[self.held], resamples=0).tau,
        }
        self.history.append(line)
        write_json(self.run_folder.path / "history.json", {"rows": self.history})

    def _result(self, texts: Sequence[str]) -> dict[str, Any]:
        """Measure the scorer itself on the documents held out; return what `DistillResult` needs."""
        held = [texts[row] for row in self.held.tolist()]
        lengths = np.array([len(ids) for ids in document_encoder(self.tokenizer)(held)])
        teacher, p = self.teacher[self.held], self.labels[self.held]
        with np.errstate(divide="ignore", invalid="ignore"):
            entropy = -(np.nan_to_num(p * np.log(p)) + np.nan_to_num((1 - p) * np.log1p(-p)))
        return {
            "steps": self.steps,
            "documents": len(self.train),
            "loss": self.history[-1]["loss"],
            "held_out_loss": self.history[-1]["held_out_loss"],
            "entropy": float(entropy.mean()),
            "agreement": asdict(kendall(self.ask.score(held), teacher, seed=self.config.seed)),
            "length": asdict(kendall(lengths, teacher, seed=self.config.seed)),
            "history": self.history,
        }


def _check(texts: Sequence[str], log_p_yes: NDArray[np.float64], held_out: NDArray[np.bool_]) -> None:
    """Refuse labels that cannot be learned from."""
    n = len(texts)
    if log_p_yes.shape != (n,) or held_out.shape != (n,) or held_out.dtype != np.bool_:
        raise ValueError(
            f"{n} texts need float64[{n}] labels and bool[{n}] held_out, not {log_p_yes.dtype}{list(log_p_yes.shape)} "
            f"and {held_out.dtype}{list(held_out.shape)}"
        )
    good = np.isfinite(log_p_yes) & (log_p_yes <= _ROUNDING)
    if not good.all():
        row = int(good.argmin())
        raise ValueError(f"the label in row {row} is {log_p_yes[row]}: not the logarithm of a probability")
    held = int(held_out.sum())
    if held < 2 or n - held < 2:
        raise ValueError(
            f"{held} documents are held out and {n - held} left to train on: at least 2 of each are needed"
        )


def _digest(inputs: Sequence[Ids], log_p_yes: NDArray[np.float64], held_out: NDArray[np.bool_]) -> str:
    """Return a name for all that is trained and measured on."""
    digest = hashlib.sha256(np.array([len(ids) for ids in inputs], np.int64).tobytes())
    for part in (*inputs, log_p_yes, held_out):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()[:32]
