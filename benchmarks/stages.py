"""What hybrids and strata keep of a corpus by source: `python -m benchmarks.stages 'CORPUS/shard-00[01].jsonl.gz' --folder FOLDER`.

Scores are those of the local profile, by samplers that need no language model; what is chosen of them is selected as the graph does.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from curation_assets.common.markdown import markdown_table
from curation_assets.config.profile import load_profile
from curation_assets.corpus.reading import left_out, open_documents
from curation_assets.engine.workspace import Workspace
from curation_assets.selection.what_if import what_if
from curation_assets_tests.conftest import make_current

SCORED = ("random", "density", "semdedup", "heuristic")
DISTINCT, PROSE = "semdedup < 0.9", "heuristic 50%"
CHOICES = (
    *((sampler, "", "") for sampler in SCORED),
    ("density", DISTINCT, ""),
    ("density", PROSE, ""),
    ("density", "", "source"),
    ("heuristic", "", "source"),
    ("heuristic", "", "cluster"),
    ("density", PROSE, "source"),
)
"""Sampler, first stage, strata."""


def main() -> None:
    """Score a corpus where that is not done, select of it in several ways, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", help="files with a field `source`: a folder, a glob or a URL")
    parser.add_argument("--folder", type=Path, required=True, help="for what is made")
    parser.add_argument("--keep", default="20%")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    os.environ["CURATION_DATA"] = str(options.folder / "data")
    profile = options.folder / "stages.toml"
    profile.write_text(
        f'extends = "local"\n[corpus]\nurl = "{Path(options.corpus).resolve()}"\nhq_url = ""\n', "utf-8"
    )
    workspace = Workspace(load_profile(profile))
    make_current(workspace, *(f"{name}/scores" for name in SCORED), "corpus/index", "clusters/assignments")
    print(markdown_table(list(rows(workspace, options.keep))))


def rows(workspace: Workspace, keep: str) -> Iterator[dict[str, object]]:
    """Yield the share of each source, in percent, of the corpus and of each choice."""
    corpus = pl.concat([_documents(workspace, shard) for shard in workspace.shards()])
    sources = corpus["source"].value_counts(sort=True)["source"].to_list()
    yield _row("whole corpus", corpus, corpus, sources)
    chosen: dict[tuple[str, str], pl.DataFrame] = {}
    for number, (sampler, first, within) in enumerate(CHOICES):
        folder = workspace.scratch.parent / f"choice-{number}-{os.getpid()}"
        what_if(workspace, [sampler], keep, first=first, within=within, folder=folder)
        table = pl.read_parquet(folder / "subset.parquet", columns=["shard", "row"])
        kept = table.join(corpus, on=["shard", "row"])
        assert len(kept) == len(table)
        plain = chosen.setdefault((sampler, ""), kept)
        name = " ".join(filter(None, (sampler, first and f"of {first}", within and f"within {within}")))
        yield _row(name, kept, plain, sources)


def _documents(workspace: Workspace, shard: str) -> pl.DataFrame:
    table = pl.read_parquet(open_documents(workspace, shard), columns=["source"])
    rows = np.delete(np.arange(len(table)), left_out(workspace).get(shard, np.zeros(0, np.int64)))
    return table[rows].with_columns(shard=pl.lit(shard), row=pl.Series(rows))


def _row(name: str, kept: pl.DataFrame, plain: pl.DataFrame, sources: list[str]) -> dict[str, object]:
    counts = dict(kept["source"].value_counts().rows())
    shares = {source: f"{100 * counts.get(source, 0) / len(kept):.1f}" for source in sources}
    same = len(kept.join(plain, on=["shard", "row"], how="semi"))
    return {
        "choice": name,
        "documents": len(kept),
        "others than plain, %": f"{100 * (1 - same / len(kept)):.1f}",
        **shares,
    }


if __name__ == "__main__":
    main()
