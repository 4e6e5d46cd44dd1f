"""How metrics are made: every snapshot of every seed, measured on the validation sets, as one long table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.common.drawing.charts import lines
from curation_assets.common.files import safe_name, write_table
from curation_assets.common.markdown import markdown_table
from curation_assets.common.progress import Progress, one_of, part_of
from curation_assets.corpus.build import VALIDATION_SETS
from curation_assets.corpus.tokens import read_tokens
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import Builder, BuildOne, Markdown, Metadata
from curation_assets.evaluation.examples_build import read_suites
from curation_assets.evaluation.finetune import FineTuneConfig
from curation_assets.evaluation.perplexity import PerplexityResult, TokenSet, evaluate
from curation_assets.evaluation.suites import SuiteConfig, SuiteExamples, run_suite
from curation_assets.models.snapshots import read_snapshots
from curation_assets.models.tokenizer import Tokenizer, load_tokenizer
from curation_assets.scoring.perplexity import SpanPerplexity

METRICS_SCHEMA = pa.schema(
    [
        ("sampler", pa.string()),
        ("rate", pa.string()),
        ("size", pa.string()),
        ("seed", pa.int64()),
        ("tokens_seen", pa.int64()),
        ("suite", pa.string()),
        ("task", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("n", pa.int64()),
    ]
)
PREDICTIONS_SCHEMA = pa.schema(
    [
        ("suite", pa.string()),
        ("task", pa.string()),
        ("seed", pa.int64()),
        ("id", pa.string()),
        ("prediction", pa.string()),
        ("answer", pa.string()),
    ]
)


def metrics(sampler: str) -> Builder:
    """Return the builder of `<sampler>/metrics`: `metrics.parquet` (METRICS_SCHEMA), and what lies behind it.

    `documents.parquet` holds set, doc_id, seed, nll (nats), target tokens under the last snapshot and doc_hash,
    `predictions.parquet` suite, task, seed, id, prediction and answer, so that two runs can be compared document by document.
    """

    def load(context: Context) -> BuildOne:
        sets, held_out = _validation_sets(context)
        tokenizer = load_tokenizer(context.open("corpus/tokenizer"))
        scorer = _scorer(context, tokenizer)
        suites = read_suites(context.open("evaluation/examples"))

        def build(partition: str, folder: Path, progress: Progress) -> Metadata:
            rate, size = partition.split("|") if "|" in partition else ("100", partition)
            runs = sorted(context.open(f"{sampler}/checkpoint", partition).glob("seed-*"))
            home = context.scratch / "evaluations" / sampler / safe_name(partition)
            measured = _Measured()
            for number, run in enumerate(runs):
                seed, snapshots = int(run.name.removeprefix("seed-")), read_snapshots(run)
                measured.begin(
                    {"sampler": sampler, "rate": rate, "size": size, "seed": seed}, snapshots[-1].tokens
                )
                stages = _stages(len(snapshots), sets, suites, context)
                part = one_of(progress, number, len(runs))
                result = evaluate([s.folder for s in snapshots], sets, scorer, next(stages)(part))
                measured.add_perplexities(result, held_out)
                for suite in suites:
                    config = _suite_config(context, tokenizer, seed)
                    at = home / f"seed-{seed}"
                    measured.add_suite(
                        *run_suite(suite, snapshots[-1].folder, tokenizer, config, at, next(stages)(part))
                    )
            return measured.write(folder)

        return build

    return load


class _Measured:
    """The tables of one cell, as its seeds are measured one after another."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.documents: list[pa.Table] = []
        self.predictions: list[dict[str, Any]] = []
        self._fixed: dict[str, Any] = {}
        self._tokens = 0

    def begin(self, fixed: dict[str, Any], tokens: int) -> None:
        """Go on with another seed, whose last snapshot has seen so many tokens."""
        self._fixed, self._tokens = fixed, tokens

    def add_perplexities(self, result: PerplexityResult, held_out: dict[str, pa.Table]) -> None:
        self.rows += [self._fixed | {"suite": "perplexity"} | row for row in result.rows]
        seed = self._fixed["seed"]
        self.documents += [
            _by_document(name, held_out[name], seed, nll) for name, nll in result.documents.items()
        ]

    def add_suite(self, rows: list[dict[str, Any]], predictions: list[dict[str, Any]]) -> None:
        self.rows += [self._fixed | {"tokens_seen": self._tokens} | row for row in rows]
        self.predictions += [{"seed": self._fixed["seed"]} | row for row in predictions]

    def write(self, folder: Path) -> Metadata:
        """Write the tables; return what is shown of them."""
        write_table(folder / "metrics.parquet", pa.Table.from_pylist(self.rows, METRICS_SCHEMA))
        write_table(folder / "documents.parquet", pa.concat_tables(self.documents))
        write_table(
            folder / "predictions.parquet", pa.Table.from_pylist(self.predictions, PREDICTIONS_SCHEMA)
        )
        return _about(self.rows)


def _stages(
    snapshots: int, sets: dict[str, TokenSet], suites: list[SuiteExamples], context: Context
) -> Iterator[Callable[[Progress], Progress]]:
    """Return, for perplexity and then each suite, how its progress becomes part of the cell's: by the examples to read."""
    tuning = context.profile.evaluation.finetuning
    work = [snapshots * sum(len(hashes) for _, _, hashes in sets.values())]
    work += [tuning.steps * tuning.batch_size + sum(map(len, suite.tests.values())) for suite in suites]
    return (
        partial(part_of, before=before, size=size, whole=sum(work), in_unit="examples")
        for before, size in zip(accumulate(work, initial=0), work, strict=False)
    )


def _suite_config(context: Context, tokenizer: Tokenizer, seed: int) -> SuiteConfig:
    settings = context.profile.evaluation
    tuning = settings.finetuning.to(FineTuneConfig, seed=seed, eos=tokenizer.eos_id, pad=tokenizer.pad_id)
    return settings.finetuning.to(
        SuiteConfig, tuning=tuning, device=context.device, batch_tokens=settings.batch_tokens
    )


def _scorer(context: Context, tokenizer: Tokenizer) -> Callable[[Any], SpanPerplexity]:
    """Return what scores with a model, whichever snapshot's it is."""
    settings = context.profile.evaluation
    return lambda model: settings.to(
        SpanPerplexity,
        model=model,
        eos=tokenizer.eos_id,
        first_sentinel=tokenizer.first_sentinel_id,
        max_windows=settings.max_windows or None,
        device=context.device,
        dtype="float32",
    )


def _validation_sets(context: Context) -> tuple[dict[str, TokenSet], dict[str, pa.Table]]:
    """Return the sets as token ids, and which documents they are (doc_id, doc_hash)."""
    folder = context.open("corpus/validation")
    sets, documents = {}, {}
    for name in VALIDATION_SETS:
        about = pq.read_table(folder / f"{name}.parquet")
        if about.num_rows:
            sets[name] = (*read_tokens(folder, name), about["doc_hash"].to_numpy())
            documents[name] = about
    if not sets:
        raise ValueError(
            "there is nothing to evaluate on: the corpus held out no document (corpus.validation_share) and there is "
            "no high-quality set (corpus.hq_url)"
        )
    return sets, documents


def _by_document(name: str, documents: pa.Table, seed: int, nll: Any) -> pa.Table:
    return pa.table(
        {
            "set": pa.array([name] * len(documents), pa.string()),
            "doc_id": documents["doc_id"],
            "seed": pa.array(np.full(len(documents), seed), pa.int64()),
            "nll": pa.array(nll.nll, pa.float64()),
            "target_tokens": pa.array(nll.target_tokens, pa.int64()),
            "doc_hash": documents["doc_hash"],
        }
    )


def _about(rows: list[dict[str, Any]]) -> Metadata:
    tuned = [row for row in rows if row["suite"] != "perplexity"]
    perplexities = [row for row in rows if row["metric"] == "perplexity"]
    last = max(row["tokens_seen"] for row in perplexities)
    about: Metadata = {"rows": len(rows), "tokens_seen": last}
    series: dict[str, tuple[list[int], list[float]]] = {}
    for task in dict.fromkeys(row["task"] for row in perplexities):
        final = [r["value"] for r in perplexities if r["task"] == task and r["tokens_seen"] == last]
        about[f"perplexity_{task}"] = float(np.mean(final))
        first_seed = [r for r in perplexities if r["task"] == task and r["seed"] == perplexities[0]["seed"]]
        series[task] = ([r["tokens_seen"] for r in first_seed], [r["value"] for r in first_seed])
    shown = ["seed", "tokens_seen", "task", "value", "n"]
    picture = lines(series, "perplexity (first seed)", "raw tokens seen", "perplexity")
    about["curve"] = Markdown(picture.markdown("perplexity by tokens seen"))
    about["perplexities"] = Markdown(markdown_table(perplexities, shown))
    if tuned:
        about["tasks"] = Markdown(markdown_table(tuned, ["seed", "suite", "task", "metric", "value", "n"]))
    return about
