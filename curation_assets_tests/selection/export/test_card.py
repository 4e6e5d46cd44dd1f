"""The dataset card: what the hub and `datasets` read in it, and that nothing of a corpus is markup."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard

from curation_assets.selection.export.card import commands, dataset_card, size_category
from curation_assets_tests.selection.export.written import SCHEMA, write_export


def _manifest(**others: Any) -> dict[str, Any]:
    return {
        "files": [{"name": "data/part-00000.jsonl.zst", "rows": 3, "bytes": 10, "sha256": ""}],
        "rows": 3,
        "documents": 2,
        "tokens": 22,
        "text": "as read",
        "selection": {"sampler": "density", "rate": "20", "versions": {"density/subset": "0123"}},
        "corpus": {"files": 4, "documents": 15},
        "repeat": {"bands": ["top 10% x 2"], "passes": [2, 1]},
        **others,
    }


def test_the_front_matter_is_what_the_hub_reads(tmp_path: Path) -> None:
    """Files, columns and counts, by the hub's own reader and that of `datasets`."""
    write_export(tmp_path)
    data = DatasetCard.load(tmp_path / "README.md").data
    assert (data.license, data.size_categories, data.pretty_name) == (
        "unknown",
        ["n<1K"],
        "Chosen by density",
    )
    assert data.tags == ["curation-assets", "data-selection", "density"]
    config = MetadataConfigs.from_dataset_card_data(data)["default"]
    assert config["data_files"] == [{"split": "train", "path": "data/*.parquet"}]
    info = DatasetInfosDict.from_dataset_card_data(data)["default"]
    assert info.features.arrow_schema.equals(SCHEMA)
    assert info.splits["train"].num_examples == 30
    assert info.dataset_size == sum(path.stat().st_size for path in (tmp_path / "data").iterdir())


def test_the_format_decides_what_is_read() -> None:
    """JSON lines are read as such."""
    data = DatasetCard(dataset_card(_manifest(), SCHEMA, {}, "cc-by-4.0")).data
    assert data.license == "cc-by-4.0"
    assert data.configs[0]["data_files"] == [{"split": "train", "path": "data/*.jsonl.zst"}]


@pytest.mark.parametrize(
    "evil",
    [
        "<script>alert(1)</script>",
        "a|b\n# c\n---\nlicense: mit",
        "[x](javascript:y)",
        "`x`",
        "\x1b[31m\u202e",
        "![](//x)",
    ],
)
def test_nothing_of_a_corpus_is_markup(evil: str) -> None:
    """Neither paths nor fields nor settings: they are one line of plain text in a table."""
    schema = SCHEMA.append(pa.field(evil, pa.string()))
    corpus = {"url": evil, "documents": 15}
    card = dataset_card(_manifest(corpus=corpus), schema, {evil: (2, 22)}, "unknown")
    body = DatasetCard(card).text
    plain = dataset_card(_manifest(corpus={"url": "x", "documents": 15}), schema, {"y": (2, 22)}, "unknown")
    assert body.count("\n") == DatasetCard(plain).text.count("\n")
    for raw in ("<script", "[x]", "\x1b", "\u202e", "\n# c", "![]"):
        assert raw not in body
    assert DatasetCard(card).data.license == "unknown"
    assert DatasetCard(card).data.dataset_info["features"][-1]["name"] == evil


def test_a_card_says_what_was_chosen_of_what() -> None:
    """Counts, what is repeated, the files with most tokens first, and whose score is whose."""
    selection = {
        "samplers": [
            {"sampler": "density", "technique": "ips"},
            {"sampler": "semdedup", "technique": "top_k"},
        ],
        "amount": {"kind": "tokens", "value": 2.5e6},
        "combine": "union",
        "seed": 7,
        "versions": {"density/scores": "01", "semdedup/scores": "23"},
    }
    schema = SCHEMA.append(pa.field("semdedup_score", pa.float64()))
    sources = {f"{n:03d}.jsonl": (1, n) for n in range(200)}
    card = dataset_card(_manifest(selection=selection), schema, sources, "unknown")
    assert "# Chosen by density and semdedup" in card
    assert "| repeat: bands | top 10% x 2 |" in card
    assert card.index("199.jsonl") < card.index("150.jsonl")
    assert "149.jsonl" not in card
    assert "first 50 of 200 rows" in card
    assert "| semdedup_score | double | what the sampler gave it: semdedup |" in card
    assert (
        "    curation select density semdedup --keep '2.5M tokens' --combine union --seed 7 --to FOLDER"
        in card
    )


def test_commands_are_what_the_command_line_takes() -> None:
    """Of a subset of the graph, and of a choice."""
    assert commands(_manifest()["selection"]) == [
        "curation trace density/subset --partition 20",
        "curation export density/subset --partition 20 --to FOLDER",
    ]
    of_rate = {
        "samplers": [{"sampler": "density", "technique": "ips"}],
        "amount": {"kind": "rate", "value": 0.335},
        "combine": "",
        "seed": 0,
        "first": "semdedup < 0.9",
        "within": "a b",
        "versions": {"density/scores": "0"},
    }
    words = shlex.split(commands(of_rate)[0])
    assert words[2:] == [
        *("density", "--keep", "33.5%", "--technique", "ips", "--seed", "0"),
        *("--first", "semdedup < 0.9", "--within", "a b", "--to", "FOLDER"),
    ]


@pytest.mark.parametrize(
    ("rows", "category"),
    [
        (0, "n<1K"),
        (999, "n<1K"),
        (1000, "1K<n<10K"),
        (123_456, "100K<n<1M"),
        (10**9, "1B<n<10B"),
        (10**12 - 1, "100B<n<1T"),
        (10**12, "n>1T"),
    ],
)
def test_sizes_are_those_of_the_hub(rows: int, category: str) -> None:
    """From the hub's list of size categories."""
    assert size_category(rows) == category
