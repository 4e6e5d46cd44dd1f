"""What every sampler makes of labels that none of them has seen: `python -m benchmarks.labels CORPUS FOLDER`.

CORPUS is a folder of JSON lines (`shard-*.jsonl.gz` with id, text, source) with `hq_validation.jsonl.gz` beside them. Three sets of labels
follow from the sources: pages cleaned by people against other pages with their menus, people against GPT-2, mail against spam. Of each
kind `--documents` are taken, by hash. FOLDER gets a corpus of these, label files and profiles; the graph makes scores and subsets of it (as
the local profile does: the T5 ladder and the judges are trained on it), `report/labels` measures the scores. The same command goes on where
it was stopped. Printed are, as Markdown:

- AUC of every score, over all documents and at equal length, with standard errors;
- for samplers that have no score of their own, hybrids, beside those that they are made of: which share of what is kept has the good label;
- which share of each source is kept, and how much of a choice is exchanged when the rate is kept within each source.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation_assets.common.hashing import hash_documents, text_digest
from curation_assets.common.markdown import markdown_table
from curation_assets.config.profile import Profile, load_profile
from curation_assets.config.registry import RATES
from curation_assets.corpus.reading import open_documents
from curation_assets.defs.jobs import Chosen, scope_of
from curation_assets.defs.run_graph import run_graph
from curation_assets.engine.graph import STEPS
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import Workspace
from curation_assets.report.correlation import Z

SETS = {
    "pages": (("wcxb_clean",), ("wcxb_raw",)),
    "people": (("c4_olmo", "blogs_dev"), ("gpt2_adv", "gpt2_sim")),
    "mail": (("spamassassin_ham",), ("spamassassin_spam",)),
}
"""{set of labels: sources of label 1, sources of label 0}."""
COMPARED = ("random", "density", "semdedup", "semdedup_density", "ask_llm_xl", "ask_llm_density")
"""Hybrids, and what they are made of."""
SHARDS, BINS = 4, 20

Kept = dict[str, dict[str, NDArray[np.str_]]]
"""Ids of documents by sampler and rate."""

_PROFILE = """
extends = "local"
name = "labels"
[corpus]
url = {corpus}
hq_url = {hq}
validation_share = 0.0
[labels]
url = {labels}
[selection]
within = {within}
[execution]
data = {data}
"""


def main() -> None:
    """Make what is missing, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--documents", type=int, default=250, help="of each label of each set")
    asked = parser.parse_args()
    folder = asked.folder.resolve()
    lay_out(asked.corpus.resolve(), folder, asked.documents)
    profile = _use(folder / "pages.toml")
    _make(profile, scope_of(profile, "score_what_changed", Chosen()).steps)
    kept = chosen(profile)
    print(f"\n{markdown_table(aucs(folder))}\n")
    documents = labelled(profile, folder)
    for name in SETS:
        print(f"{name}\n\n{markdown_table(good_kept(documents, kept, name))}\n", flush=True)
    within = _use(folder / "within.toml")
    _make(within, [STEPS[f"{name}/subset"] for name in COMPARED])
    print(markdown_table(by_source(documents, kept, chosen(within))))


# The corpus


def labelled_rows(corpus: Path, documents: int) -> list[dict[str, str]]:
    """Return the documents of each label of each set, by hash: id, text, source, set and label."""
    by_source: dict[str, list[dict[str, str]]] = {}
    for path in sorted(corpus.glob("shard-*.jsonl.gz")):
        for row in read_rows(path):
            by_source.setdefault(row["source"], []).append(row)
    rows: list[dict[str, str]] = []
    for name, sides in SETS.items():
        for label, sources in zip("10", sides, strict=True):
            pool = [row for source in sources for row in by_source[source]]
            for at in np.argsort(hashes([row["text"] for row in pool]))[:documents]:
                some = {"id": str(len(rows)), "text": pool[at]["text"], "source": pool[at]["source"]}
                rows.append(some | {"set": name, "label": label})
    return rows


def lay_out(corpus: Path, folder: Path, documents: int) -> None:
    """Write files of documents, a file of labels for each set, and profiles."""
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    rows = labelled_rows(corpus, documents)
    for name in SETS:
        labels = [f"{row['id']},{row['label']}" for row in rows if row["set"] == name]
        _write(folder / f"{name}.csv", "\n".join(["doc_id,label", *labels]))
    fields = ("id", "text", "source")
    texts = [json.dumps({field: row[field] for field in fields}) for row in rows]
    for number in range(SHARDS):
        _write(folder / "corpus" / f"{number}.jsonl", "\n".join(texts[number::SHARDS]))
    for name in (*SETS, "within"):
        values = {
            "corpus": folder / "corpus",
            "hq": corpus / "hq_validation.jsonl.gz",
            "labels": folder / f"{name if name in SETS else 'pages'}.csv",
            "within": "" if name in SETS else "source",
            "data": folder / "data",
        }
        quoted = {key: json.dumps(str(value)) for key, value in values.items()}
        _write(folder / f"{name}.toml", _PROFILE.format(**quoted))


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def hashes(texts: list[str]) -> NDArray[np.uint64]:
    """Return what documents are chosen by."""
    return hash_documents(pa.array([""] * len(texts)), [text_digest(text) for text in texts])


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")


# The graph


def _use(path: Path) -> Profile:
    """Return a profile, which workers use as well."""
    profile = load_profile(str(path))
    data = {"CURATION_DATA": str(profile.data), "DAGSTER_HOME": str(profile.data / "dagster_home")}
    os.environ |= {"CURATION_PROFILE": profile.source, **data}
    return profile


def _make(profile: Profile, steps: Sequence[Step]) -> None:
    outcome = run_graph(profile, lambda line: print(line, flush=True), list(steps))
    if outcome.failed:
        raise SystemExit("; ".join(f"{key}: {reason}" for key, reason in outcome.failed.items()))


def chosen(profile: Profile) -> Kept:
    """Return the ids of what is kept, by sampler of COMPARED and rate."""
    workspace = Workspace(profile)
    return {
        name: {
            rate: pq.read_table(
                workspace.open(f"{name}/subset", rate) / "subset.parquet", columns=["doc_id"]
            )["doc_id"].to_numpy()
            for rate in RATES
        }
        for name in COMPARED
    }


def labelled(profile: Profile, folder: Path) -> pl.DataFrame:
    """Return id, source, characters and, of each set, label (null for a document that it says nothing of)."""
    workspace = Workspace(profile)
    documents = pl.concat(
        pl.read_parquet(open_documents(workspace, shard)).select(
            "doc_id", "source", length=pl.col("text").str.len_chars()
        )
        for shard in workspace.shards()
    )
    for name in SETS:
        labels = pl.read_csv(folder / f"{name}.csv", schema={"doc_id": pl.String, "label": pl.Int8})
        labels = labels.rename({"label": name})
        documents = documents.join(labels, on="doc_id", how="left")
    return documents


# The tables


def aucs(folder: Path) -> list[dict[str, Any]]:
    """Return a row for each score and baseline: of each set AUC ± standard error, over all and at equal length."""
    table: dict[str, dict[str, Any]] = {}
    for name in SETS:
        profile = _use(folder / f"{name}.toml")
        _make(profile, [STEPS["report/labels"]])
        rows = pl.read_parquet(Workspace(profile).open("report/labels") / "labels.parquet")
        for row in rows.iter_rows(named=True):
            line = table.setdefault(row["score"], {"score": row["score"]})
            line[name] = _cell(row["auc"], row["low"], row["high"])
            line[f"{name}, equal length"] = _cell(
                row["controlled"], row["controlled_low"], row["controlled_high"]
            )
    return list(table.values())


def _cell(value: float, low: float, high: float) -> str:
    return f"{value:.3f} ± {max(high - value, value - low) / Z:.3f}"


def good_kept(documents: pl.DataFrame, kept: Kept, name: str) -> list[dict[str, Any]]:
    """Return a row for each sampler: the share of good documents among the labelled ones that it keeps, in percent, by rate.

    After it stand the standard error of as many documents drawn at random, and the share that these lengths have: the mean over the
    kept of the share of good ones within their twentieth of lengths.
    """
    of_set = documents.filter(pl.col(name).is_not_null())
    ids, good = of_set["doc_id"].to_numpy(), of_set[name].to_numpy().astype(float)
    bins = np.argsort(np.argsort(of_set["length"].to_numpy(), kind="stable")) * BINS // len(ids)
    by_length = np.array([good[bins == one].mean() for one in range(BINS)])[bins]
    n, base = len(ids), good.mean()
    rows = []
    for sampler, by_rate in kept.items():
        row: dict[str, Any] = {"sampler": sampler}
        for rate, some in by_rate.items():
            mine = np.isin(ids, some)
            k = int(mine.sum())
            error = np.sqrt(base * (1 - base) / max(k, 1) * (n - k) / (n - 1))
            row[f"{rate} %"] = (
                f"{100 * good[mine].mean():.1f} ± {100 * error:.1f} ({100 * by_length[mine].mean():.1f})"
            )
        rows.append(row)
    return rows


def by_source(documents: pl.DataFrame, kept: Kept, within: Kept, rate: str = "20") -> list[dict[str, Any]]:
    """Return a row for each sampler: which share of each source it keeps, in percent.

    `exchanged` is the share of its choice that another takes the place of when the rate is kept within each source.
    """
    ids, source = documents["doc_id"].to_numpy(), documents["source"].to_numpy()
    sources, sizes = np.unique(source, return_counts=True)
    rows: list[dict[str, Any]] = [
        {"choice": "documents", "exchanged": "", **dict(zip(sources, map(str, sizes), strict=True))}
    ]
    for name, by_rate in kept.items():
        mine, other = by_rate[rate], within[name][rate]
        shares = {one: f"{100 * np.isin(ids[source == one], mine).mean():.1f}" for one in sources}
        rows.append({"choice": name, "exchanged": f"{100 * (1 - np.isin(mine, other).mean()):.0f}", **shares})
    return rows


if __name__ == "__main__":
    main()
