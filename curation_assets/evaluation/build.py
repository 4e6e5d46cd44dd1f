"""How metrics are made: every snapshot of every seed, measured on the validation sets, as one long table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.corpus.build import VALIDATION_SETS
from curation_assets.corpus.tokenizer import load_tokenizer
from curation_assets.corpus.tokens import read_tokens
from curation_assets.evaluation.perplexity import PerplexitySettings, TokenSet, evaluate
from curation_assets.files import write_table
from curation_assets.pretraining.snapshots import read_snapshots
from curation_assets.progress import Progress, one_of
from curation_assets.report.pictures import lines, png_markdown
from curation_assets.report.tables import markdown_table
from curation_assets.workspace import Builder, BuildOne, Markdown, Metadata, Workspace

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


def metrics(sampler: str) -> Builder:
    """Return the builder of `<sampler>/metrics`: `metrics.parquet` (METRICS_SCHEMA), and each document's likelihood.

    `documents.parquet` holds set, doc_id, seed, nll (nats) and target tokens under the last snapshot, so that two runs
    can be compared document by document.
    """

    def load(workspace: Workspace) -> BuildOne:
        sets, ids = _validation_sets(workspace)
        settings = _settings(workspace)

        def build(partition: str, folder: Path, progress: Progress) -> Metadata:
            rate, size = partition.split("|") if "|" in partition else ("100", partition)
            runs = sorted(workspace.open(f"{sampler}/checkpoint", partition).glob("seed-*"))
            rows: list[dict[str, Any]] = []
            documents = []
            for number, run in enumerate(runs):
                seed = int(run.name.removeprefix("seed-"))
                part = one_of(progress, number, len(runs))
                result = evaluate([s.folder for s in read_snapshots(run)], sets, settings, part)
                fixed = {"sampler": sampler, "rate": rate, "size": size, "seed": seed, "suite": "perplexity"}
                rows += [fixed | row for row in result.rows]
                documents += [
                    _by_document(name, ids[name], seed, nll) for name, nll in result.documents.items()
                ]
            write_table(folder / "metrics.parquet", pa.Table.from_pylist(rows, METRICS_SCHEMA))
            write_table(folder / "documents.parquet", pa.concat_tables(documents))
            return _about(rows)

        return build

    return load


def _settings(workspace: Workspace) -> PerplexitySettings:
    wanted, tokenizer = workspace.profile.evaluation, load_tokenizer(workspace.open("corpus/tokenizer"))
    return PerplexitySettings(
        eos=tokenizer.eos_id,
        first_sentinel=tokenizer.first_sentinel_id,
        seed=wanted.seed,
        window=wanted.window,
        max_windows=wanted.max_windows or None,
        batch_tokens=wanted.batch_tokens,
        device=workspace.device,
    )


def _validation_sets(workspace: Workspace) -> tuple[dict[str, TokenSet], dict[str, list[str]]]:
    folder = workspace.open("corpus/validation")
    sets, ids = {}, {}
    for name in VALIDATION_SETS:
        about = pq.read_table(folder / f"{name}.parquet")
        if about.num_rows:
            sets[name] = (*read_tokens(folder, name), about["doc_hash"].to_numpy())
            ids[name] = about["doc_id"].to_pylist()
    if not sets:
        raise ValueError(
            "there is nothing to evaluate on: the corpus held out no document (corpus.validation_share) and there is "
            "no high-quality set (corpus.hq_url)"
        )
    return sets, ids


def _by_document(name: str, ids: list[str], seed: int, nll: Any) -> pa.Table:
    return pa.table(
        {
            "set": pa.array([name] * len(ids), pa.string()),
            "doc_id": pa.array(ids, pa.string()),
            "seed": pa.array(np.full(len(ids), seed), pa.int64()),
            "nll": pa.array(nll.nll, pa.float64()),
            "target_tokens": pa.array(nll.target_tokens, pa.int64()),
        }
    )


def _about(rows: list[dict[str, Any]]) -> Metadata:
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
    about["curve"] = Markdown(png_markdown(picture, "perplexity by tokens seen"))
    about["perplexities"] = Markdown(markdown_table(perplexities, shown))
    return about
