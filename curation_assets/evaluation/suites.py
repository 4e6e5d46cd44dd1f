"""Measure one checkpoint by a suite: fine-tune it on the suite's training sets, let it answer every test example, count.

Everything that is finished is kept in the suite's folder, task by task, so that a killed evaluation goes on where it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from curation_assets.common.files import fingerprint, read_json, safe_name, write_json
from curation_assets.common.progress import Progress, after, part_of, silent
from curation_assets.evaluation.answering import Answering
from curation_assets.evaluation.examples import SHOT_BREAK, Example
from curation_assets.evaluation.finetune import FineTuneConfig, Pairs, fine_tune
from curation_assets.evaluation.metrics import measure
from curation_assets.evaluation.tasks import lookup
from curation_assets.models.files import file_digest
from curation_assets.models.tokenizer import Tokenizer

_SHOWN = 300  # characters of a prediction that are kept


@dataclass(frozen=True)
class SuiteExamples:
    """What a suite trains on and is measured on; `tests` by task name."""

    suite: str
    train: Sequence[Example]
    tests: Mapping[str, Sequence[Example]]

    @cached_property
    def digest(self) -> str:
        """A name for all of it, worked out once for all checkpoints and seeds."""
        tests = {task: [tuple(e) for e in rows] for task, rows in self.tests.items()}
        return fingerprint([tuple(e) for e in self.train], tests)


@dataclass(frozen=True)
class SuiteConfig:
    """How a suite is run. The last three do not decide the values, but for rounding."""

    tuning: FineTuneConfig
    max_prompt: int = 2_048
    device: str = "cpu"
    resume_seconds: float = 60.0
    batch_tokens: int = 16_384


def run_suite(
    examples: SuiteExamples,
    checkpoint: Path | str,
    tokenizer: Tokenizer,
    config: SuiteConfig,
    home: Path,
    progress: Progress = silent,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return (measurements, predictions) of a pre-trained checkpoint.

    Measurements are `suite, task, metric, value, n`, the metric of record first and its parts after it, in percent;
    predictions are `suite, task, id, prediction, answer`, texts cut to 300 characters.

    Parameters
    ----------
    checkpoint
        A folder that `models.t5.save` wrote.
    home
        Where the work is kept while it goes on; a finished suite leaves its results there and no weights.

    Raises
    ------
    ValueError
        The suite has no training or no test example.
    """
    if not examples.train or not examples.tests:
        raise ValueError(
            f"suite {examples.suite}: {len(examples.train)} training examples, {len(examples.tests)} tasks"
        )
    identity = {**asdict(config.tuning), "max_prompt": config.max_prompt}
    digest = file_digest(Path(checkpoint) / "model.safetensors")
    folder = home / f"{examples.suite}-{fingerprint(identity, digest, examples.digest)}"
    for other in home.glob(f"{examples.suite}-*"):
        if other != folder:
            shutil.rmtree(other)  # of other weights, examples or settings
    folder.mkdir(parents=True, exist_ok=True)
    trained = config.tuning.steps * config.tuning.batch_size
    tested = sum(map(len, examples.tests.values()))
    paths = {task: folder / f"{safe_name(task)}.json" for task in examples.tests}
    if not all(path.exists() for path in paths.values()):
        part = after(progress, 0, trained + tested)
        tuned = _tune(examples, checkpoint, tokenizer, config, folder / "tuned", part)
        part = after(progress, trained, trained + tested)
        _answer_all(examples, tuned, tokenizer, config, paths, part)
    shutil.rmtree(folder / "tuned", ignore_errors=True)
    results = [read_json(path) for path in paths.values()]
    return [row for one in results for row in one["rows"]], [
        row for one in results for row in one["predictions"]
    ]


def _tune(
    examples: SuiteExamples,
    checkpoint: Path | str,
    tokenizer: Tokenizer,
    config: SuiteConfig,
    folder: Path,
    progress: Progress,
) -> Path:
    inputs = tokenizer.encode_batch([example.input for example in examples.train])
    targets = tokenizer.encode_batch([example.target for example in examples.train])
    share = config.tuning.steps * config.tuning.batch_size

    return fine_tune(
        config.tuning,
        checkpoint,
        Pairs(inputs, targets),
        folder,
        device=config.device,
        resume_seconds=config.resume_seconds,
        progress=part_of(progress, 0, share, share, prefix=f"{examples.suite}: "),
    )


def _answer_all(
    examples: SuiteExamples,
    tuned: Path,
    tokenizer: Tokenizer,
    config: SuiteConfig,
    paths: Mapping[str, Path],
    progress: Progress,
) -> None:
    from curation_assets.models.t5 import load

    model, done = load(tuned), 0
    model.to(torch.device(config.device))  # type: ignore[arg-type]  # mypy sees a decorated function
    total = sum(map(len, examples.tests.values()))
    for task, tests in examples.tests.items():
        if not paths[task].exists():
            part = after(progress, done, total)
            predictions = answer(examples.suite, task, tests, model, tokenizer, config, part)
            write_json(paths[task], measured(examples.suite, task, tests, predictions))
        done += len(tests)


def answer(
    suite: str,
    task: str,
    tests: Sequence[Example],
    model: Any,
    tokenizer: Tokenizer,
    config: SuiteConfig,
    progress: Progress = silent,
) -> list[str]:
    """Return a tuned model's answers: the likeliest option where an example has options, else generated text."""
    few_shot = lookup(suite, task).shots > 0
    limit = config.max_prompt if few_shot else config.tuning.max_input
    answering = Answering(model, tokenizer, max_input=limit, batch_tokens=config.batch_tokens)
    inputs = prompts([e.input for e in tests], tokenizer, limit if few_shot else 0)
    with_options = np.array([bool(e.options) for e in tests])
    predictions = [""] * len(tests)
    done = 0
    for mask, choose in ((with_options, True), (~with_options, False)):
        rows: list[int] = np.flatnonzero(mask).tolist()
        if not rows:
            continue
        part = after(progress, done, len(tests))

        def report(n: int, part: Progress = part, of: int = len(rows)) -> None:
            part(n, of, "examples", f"{suite}/{task}")

        chosen_inputs = [inputs[row] for row in rows]
        if choose:
            options = [tests[row].options for row in rows]
            chosen = answering.choose(chosen_inputs, options, report)
            texts = [o[k] for o, k in zip(options, chosen, strict=True)]
        else:
            texts = answering.generate(chosen_inputs, config.tuning.max_target, report)
        for row, text in zip(rows, texts, strict=True):
            predictions[row] = text
        done += len(rows)
    return predictions


def prompts(texts: Sequence[str], tokenizer: Tokenizer, limit: int) -> list[NDArray[np.int32]]:
    """Return inputs as token ids without their end. Where there is a limit, the first examples of a longer prompt are dropped.

    What stays are whole blocks (see `families`), at least the last one, the question, which is never dropped.
    """
    encoded = tokenizer.encode_batch(list(texts))
    for row, ids in enumerate(encoded):
        text = texts[row]
        while limit and len(ids) + 1 > limit and SHOT_BREAK in text:
            text = text.split(SHOT_BREAK, 1)[1]
            (ids,) = tokenizer.encode_batch([text])
        encoded[row] = ids
    return encoded


def measured(suite: str, task: str, tests: Sequence[Example], predictions: Sequence[str]) -> dict[str, Any]:
    """Return what is kept of a task: its measurements and predictions, as rows."""
    of_record = lookup(suite, task).metric
    values = measure(of_record, predictions, tests)
    return {
        "rows": [
            {"suite": suite, "task": task, "metric": metric, "value": value, "n": len(tests)}
            for metric, value in values.items()
        ],
        "predictions": [
            {
                "suite": suite,
                "task": task,
                "id": example.id,
                "prediction": text[:_SHOWN],
                "answer": example.target[:_SHOWN],
            }
            for example, text in zip(tests, predictions, strict=True)
        ],
    }
