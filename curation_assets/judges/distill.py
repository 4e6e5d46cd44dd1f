"""Teach a T5 to answer the Ask-LLM prompt as a teacher does: a small judge that costs little enough for a whole corpus.

The soft label of a document is the teacher's probability p of "yes": the loss is the cross entropy between (yes: p, no:
1 - p) and the judge's softmax over its whole vocabulary at the first decoder position, so that the judge's P("yes") comes
to be the label. It reads exactly what `scoring.ask_llm.AskLLM` has it read when it scores.

A batch is a function of (seed, step): a killed run ends with the bits of one left alone, on the CPU of one machine with one
thread count. The last weights are the result; documents held out are only measured on, so that their figures are honest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from curation_assets.common.batching import Ids, length_batches
from curation_assets.common.files import seal, unseal, write_bytes
from curation_assets.common.progress import Progress, silent
from curation_assets.judges.agreement import Agreement, kendall
from curation_assets.judges.distill_config import DistillConfig, DistillResult
from curation_assets.models import t5
from curation_assets.models.encoding import document_encoder
from curation_assets.models.files import file_digest
from curation_assets.models.tokenizer import Tokenizer
from curation_assets.pretraining.finetuning import Tuning
from curation_assets.pretraining.run_folder import RunFolder
from curation_assets.scoring.ask_llm import AskLLM, answer_ids

_HISTORY = "history.json"  # in the run's folder
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
        A T5 that `models.t5.save` wrote.
    texts, log_p_yes, held_out : [n]
        Documents, the teacher's log P("yes") of each, and which of them are measured on and not trained on.
    folder
        A local folder for this run alone; see `pretraining.run_folder`.
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
    check_labels(texts, log_p_yes, held_out)
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
            start = _Distilling(config, ask, tokenizer, inputs, log_p_yes, held_out, run).run(
                texts, resume_seconds, progress
            )
            done = run.result()
    assert done is not None
    parts: dict[str, Any] = {name: Agreement(**done.pop(name)) for name in ("agreement", "length")}
    history, scores = tuple(done.pop("history")), tuple(done.pop("held_out_scores"))
    model = run.snapshots()[-1].folder
    resumed = done["steps"] if start is None else start
    return DistillResult(
        folder=run.path,
        model=model,
        **done,
        **parts,
        held_out_scores=scores,
        history=history,
        resumed_from=resumed,
    )


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


class _Distilling(Tuning):
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
        self.history = _read_history(run)
        lengths, train = np.fromiter(map(len, inputs), np.int64, len(inputs)), np.flatnonzero(~held_out)
        super().__init__(config, ask.model, train, lengths, config.steps(len(train)), run)
        self.config, self.ask, self.tokenizer, self.inputs = config, ask, tokenizer, inputs
        (self.yes,) = ask.answer_ids
        (self.no,) = answer_ids(document_encoder(tokenizer), ("no",), tokenizer.unk_id)
        self.teacher, self.held = log_p_yes, np.flatnonzero(held_out)
        self.labels = soft_labels(log_p_yes, ~held_out, config.target)
        self.history = [row for row in self.history if row["step"] <= self.start]

    def run(self, texts: Sequence[str], resume_seconds: float, progress: Progress) -> int:
        """Train to the end and measure; return the step that training began at."""
        if not self.history:
            self.epoch_ended(0)
        self.train(resume_seconds, progress, "documents")
        tokens = round(self.steps / self.per_epoch * int(self.lengths[self.rows].sum()))
        self.run_folder.write_snapshot(self.ask.model, self.steps, tokens)
        self.run_folder.finish(self._result(texts))
        return self.start

    def batch_loss(self, rows: NDArray[np.int64]) -> torch.Tensor:
        padded = self.padded(int(self.lengths[rows].max()), self.config.max_tokens)
        return self._losses(rows, padded)[0].mean()

    def _losses(self, rows: NDArray[np.int64], padded: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return each document's loss and log P("yes"), [B] each, as the scorer would compute it."""
        logs = self.ask.log_softmax([self.inputs[row] for row in rows], padded)
        labels = torch.from_numpy(self.labels[rows]).float().to(logs.device)
        return soft_loss(logs, labels, self.yes, self.no), logs[:, self.yes]

    @torch.inference_mode()
    def epoch_ended(self, step: int) -> None:
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
        write_bytes(self.run_folder.path / _HISTORY, seal({"rows": self.history}))

    def _result(self, texts: Sequence[str]) -> dict[str, Any]:
        """Measure the scorer itself on the documents held out; return what `DistillResult` needs."""
        held = [texts[row] for row in self.held.tolist()]
        teacher, p = self.teacher[self.held], self.labels[self.held]
        scores = self.ask.score(held)
        with np.errstate(divide="ignore", invalid="ignore"):
            entropy = -(np.nan_to_num(p * np.log(p)) + np.nan_to_num((1 - p) * np.log1p(-p)))
        return {
            "steps": self.steps,
            "documents": len(self.rows),
            "loss": self.history[-1]["loss"],
            "held_out_loss": self.history[-1]["held_out_loss"],
            "entropy": float(entropy.mean()),
            "held_out_scores": scores.tolist(),
            "agreement": asdict(kendall(scores, teacher, seed=self.config.seed)),
            "length": asdict(length_agreement(self.tokenizer, held, teacher, self.config.seed)),
            "history": self.history,
        }


def length_agreement(
    tokenizer: Tokenizer, texts: Sequence[str], log_p_yes: NDArray[np.float64], seed: int
) -> Agreement:
    """Return tau of the teacher's score and the documents' number of tokens: what a judge of length alone would reach."""
    lengths = np.array([len(ids) for ids in document_encoder(tokenizer)(texts)])
    return kendall(lengths, log_p_yes, seed=seed)


def _read_history(run: RunFolder) -> list[dict[str, Any]]:
    """Return the lines of the epochs so far; where they are damaged or lost, the run begins again: they cannot be measured later."""
    path = run.path / _HISTORY
    history = unseal(path.read_bytes()) if path.exists() else None
    if history is None:
        run.go_back(0)
        return []
    return list(history["rows"])


def check_labels(texts: Sequence[str], log_p_yes: NDArray[np.float64], held_out: NDArray[np.bool_]) -> None:
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
