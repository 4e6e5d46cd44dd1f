"""What people are shown of an artifact: figures, rows, columns and links that are true, and no text of the corpus that is more than text."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curation_assets.config.profile import Profile
from curation_assets.defs.metadata import (
    ADDRESS,
    COLUMNS,
    ROWS,
    ROWS_OF_PART,
    AssetLink,
    Columns,
    Place,
    about,
)
from curation_assets.defs.run_graph import run_graph
from curation_assets.defs.table_schemas import tables, written
from curation_assets.engine.graph import STEPS
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.workspace import Markdown, Metadata, Workspace
from curation_assets_tests.conftest import write_shard
from curation_assets_tests.making import commit
from curation_assets_tests.report.test_untrusted import EVIL

MADE = [
    *(
        f"corpus/{end}"
        for end in ("source", "shards", "documents", "tokenizer", "tokens", "index", "validation")
    ),
    *("random/scores", "random/subset"),
]
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


@pytest.fixture
def hostile(tiny: Profile, tmp_path: Path) -> Workspace:
    """A workspace over ordinary documents, and some that want to be more than text, ids and file name included."""
    rows = [(f"{name} {text[:150]}", f"{text} of {name}") for name, text in EVIL.items() if name != "nul"]
    write_shard(tmp_path / "shards" / "a<img src=x onerror=alert(1)>![x](y).jsonl", rows)
    outcome = run_graph(tiny, lambda line: None, [STEPS[key] for key in MADE])
    assert not outcome.failed, outcome
    return Workspace(tiny)


def _shown(workspace: Workspace, key: str, partition: str = "") -> Metadata:
    receipt = workspace.receipt(key, partition)
    assert receipt
    return about(workspace, STEPS[key], receipt, made=True)


@pytest.mark.graph
def test_what_is_shown_of_a_hostile_corpus(hostile: Workspace) -> None:
    _rows_and_columns_are_those_of_the_file_and_text_is_text(hostile)
    _it_says_where_it_lies(hostile)
    shown = _shown(hostile, "corpus/validation")
    assert isinstance(shown["first_rows"], Markdown) and shown["first_rows"].startswith("| doc_id |")
    _a_subset_shows_its_texts_and_what_changed(hostile)


def _a_subset_shows_its_texts_and_what_changed(hostile: Workspace) -> None:
    shown = _shown(hostile, "random/subset", "80")
    assert "first_rows" not in shown and "documents_came" not in shown, "it has texts, and replaced nothing"
    old = pq.read_table(hostile.open("random/subset", "80") / "subset.parquet")
    assert str(shown["texts"]).count("\n") == 11 and old["doc_id"][0].as_py()[:5] in str(shown["texts"])
    assert shown["more_texts"] == 'curation show random/subset --partition "80"'
    write_shard(
        hostile.data.parent / "shards" / "s1.jsonl",
        [(f"new.{n}", f"text number {n} of a few") for n in range(50)],
    )
    assert not run_graph(hostile.profile, lambda line: None, [STEPS[key] for key in MADE]).failed
    now = Workspace(hostile.profile)
    shown = _shown(now, "random/subset", "80")
    new = pq.read_table(now.open("random/subset", "80") / "subset.parquet")
    hashes, before = (set(table["doc_hash"].to_pylist()) for table in (new, old))
    came, went = len(hashes - before), len(before - hashes)
    assert (shown["documents_came"], shown["documents_went"]) == (came, went) and came and went
    assert shown["changed"].startswith(f"+{came} documents, -{went} against version ")


def _rows_and_columns_are_those_of_the_file_and_text_is_text(hostile: Workspace) -> None:
    markdown = []
    for key in MADE:
        step = STEPS[key]
        for partition in hostile.partitions(step.by):
            shown = _shown(hostile, key, partition)
            markdown += [str(value) for value in shown.values() if isinstance(value, Markdown)]
            folder = hostile.open(key, partition) if shown["folder"].rstrip("_").split("/")[-1] else Path()
            for number, (name, known) in enumerate(tables(step, hostile.profile).items()):
                if name == "strata":  # there are none
                    assert f"{name}_columns" not in shown and not (folder / f"{name}.parquet").exists()
                    continue
                columns, rows = written(folder / f"{name}.parquet", known)
                assert [(c.name, c.type) for c in columns] == [(c.name, c.type) for c in known], (
                    f"{key} {name}"
                )
                assert all(column.description for column in columns)
                at = COLUMNS if number == 0 else f"{name}_columns"
                assert shown[at] == Columns(columns)
                if number == 0:
                    assert shown[ROWS_OF_PART if step.by else ROWS] == rows
                    assert rows == pq.read_table(folder / f"{name}.parquet").num_rows
    assert any("script" in text for text in markdown), "the hostile rows are among those shown"
    for text in markdown:
        text = re.sub(r"!\[[\w ]+\]\(data:image/png;base64,[\w+/=]+\)", "", text)  # pictures drawn here
        text = text.replace("<!-- -->", "")  # what keeps an address from becoming a link
        assert not re.search(r"(?<!\\)[<>\[\]`$]", text) and not _STEERING.search(text), text


def _it_says_where_it_lies(hostile: Workspace) -> None:
    shown = _shown(hostile, "random/subset", "20")
    assert isinstance(shown["folder"], Place) and (Path(shown["folder"]) / "subset.parquet").exists()
    assert shown[ADDRESS] == f"file://{shown['folder']}"
    assert isinstance(shown["threshold"], float) and len(f"{shown['threshold']:.9g}") < 10, (
        "rounded for people"
    )
    assert shown["made"] is True and set(shown["input_versions"]) == {
        "random/scores",
        "corpus/index",
        "corpus/tokens",
    }


def test_a_metric_links_its_subset(tiny: Profile) -> None:
    workspace = Workspace(tiny)
    for key, inputs in (
        ("density/checkpoint", {"density/subset": "s1"}),
        ("density/metrics", {"density/checkpoint": "c1"}),
    ):
        with workspace.store.staged() as folder:
            commit(
                workspace, folder, Receipt(key, "20|small", "v", "v", "c", inputs, "", {}, {"value": 1 / 3})
            )
    shown = _shown(workspace, "density/metrics", "20|small")
    assert shown["subset"] == AssetLink("density/subset", "20")
    assert shown["subset"].address == "/assets/density/subset?view=partitions&partition=20"
    assert shown["value"] == 0.333333
    assert shown["subset_version"] == (
        "density/metrics[20|small] was made from version c1 of density/checkpoint[20|small], whose files have been removed since "
        "it was replaced; here is version v now"
    )
    assert shown["trace"] == 'curation trace density/metrics --partition "20|small"'
    assert COLUMNS not in shown, "there is no table"
