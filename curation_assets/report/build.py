"""How the comparison is made from the metrics and subsets that there are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from curation_assets.corpus.reading import NO_ROWS, open_hashes, read_repeats
from curation_assets.files import read_json
from curation_assets.graph import STEPS
from curation_assets.pretraining.build import recipe
from curation_assets.progress import Progress
from curation_assets.registry import RATES, SAMPLERS
from curation_assets.report import comparison as table
from curation_assets.report import correlation as tau
from curation_assets.versions import Versions
from curation_assets.workspace import BuildOne, Markdown, Metadata, Workspace


def comparison(workspace: Workspace) -> BuildOne:
    """Join every metrics artifact that there is with its subset's size."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        keys = [(table.FULL, size) for size in workspace.profile.sizes]
        keys += [(name, cell) for name in SAMPLERS for cell in workspace.partitions("rate|size")]
        found = [
            pl.read_parquet(workspace.open(f"{name}/metrics", cell) / "metrics.parquet")
            for name, cell in keys
            if workspace.store.receipt(f"{name}/metrics", cell)
        ]
        if not found:
            raise ValueError("no metrics have been materialized yet: there is nothing to compare")
        joined = table.compare(pl.concat(found), _subsets(workspace), [table.FULL, *SAMPLERS])
        text = table.write(folder, joined, recipe(workspace.profile))
        return {"rows": len(joined), "comparison": Markdown(text)}

    return build


def _subsets(workspace: Workspace) -> pl.DataFrame:
    index = workspace.metadata("corpus/index")
    rows = [(table.FULL, "100", index["documents"], index["tokens"])]
    for name in SAMPLERS:
        for rate in RATES:
            if workspace.store.receipt(f"{name}/subset", rate):
                manifest = read_json(workspace.open(f"{name}/subset", rate) / "manifest.json")
                rows.append((name, rate, manifest["documents"], manifest["tokens"]))
    return pl.DataFrame(rows, schema=["sampler", "rate", "documents", "tokens"], orient="row")


def correlation(workspace: Workspace) -> BuildOne:
    """Correlate the scores of every sampler whose scores are current for the whole corpus, over a hash sample of its documents."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        shards, settings = workspace.shards(), workspace.profile.report
        versions = Versions(workspace)
        names = [n for n in SAMPLERS if not versions.stale(STEPS[f"{n}/scores"], shards)]
        if not names or not shards:
            raise ValueError("no sampler has current scores of every shard: there is nothing to correlate")
        repeats = read_repeats(workspace)
        sample = tau.HashSample(settings.documents, settings.seed)
        for number, shard in enumerate(shards):
            hashes = open_hashes(workspace, shard)
            first = np.ones(len(hashes), np.bool_)
            first[repeats.get(shard, NO_ROWS)] = False
            sample.add(hashes[first], {name: _scores(workspace, name, shard)[first] for name in names})
            progress(number + 1, len(shards), "shards")
        found = tau.kendall(sample.scores())
        text = tau.write(folder, found)
        left_out = ", ".join(name for name in SAMPLERS if name not in names) or "none"
        return {
            "documents": found.n,
            "samplers": len(names),
            "not_current": left_out,
            "correlation": Markdown(text),
        }

    return build


def _scores(workspace: Workspace, sampler: str, shard: str) -> np.ndarray:
    path = workspace.open(f"{sampler}/scores", shard) / "scores.parquet"
    return pq.read_table(path, columns=["score"])["score"].to_numpy()
