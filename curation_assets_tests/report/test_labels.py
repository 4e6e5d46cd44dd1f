import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curation_assets.common.auc import auc, length_controlled_auc
from curation_assets.common.progress import silent
from curation_assets.config.profile import ProfileError, load_profile
from curation_assets.config.settings import Labels
from curation_assets.corpus.label_files import is_good, read_label_files
from curation_assets.engine.graph import STEPS
from curation_assets.engine.workspace import Workspace
from curation_assets.report.labels import LENGTH, baselines, measured
from curation_assets.report.labels_build import labels
from curation_assets.report.labels_view import findings
from curation_assets.report.section import read_section
from curation_assets_tests.making import load
from curation_assets_tests.report.hand_made import texts, workspace

ROWS = texts(90)
CHARS = {i: len(text) for i, text, _ in ROWS}
GOOD = {i: zlib.crc32(i.encode()) % 3 == 0 for i in CHARS}


def _noise(i: str) -> float:
    return zlib.crc32(f"noise {i}".encode()) / 2**32


SCORES = {
    "random": lambda ids: np.array([_noise(i) for i in ids]),
    "density": lambda ids: np.array([_noise(i) - GOOD[i] for i in ids]),  # keeps what is low
    "ask_llm_small": lambda ids: np.array([CHARS[i] / 1e6 for i in ids]),
}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Path]]:
    """Three shards, of which the third repeats documents of the first."""
    folder = tmp_path_factory.mktemp("labels")
    rows = [(i, text, "good" if GOOD[i] else "bad") for i, text, _ in ROWS]
    shards = {"s0.jsonl": rows[:40], "s1.jsonl": rows[40:], "s2.jsonl": rows[:5]}
    with pytest.MonkeyPatch.context() as patch:
        yield workspace(folder, patch, shards, SCORES), folder


def _with(small: tuple[Workspace, Path], table: str) -> Workspace:
    path = small[1] / "labelled.toml"
    path.write_text(f'extends = "tiny.toml"\nname = "tiny"\n[labels]\n{table}\n', "utf-8")
    return Workspace(load_profile(path))


def _made(found: Workspace, folder: Path) -> dict:
    return load(labels, found, STEPS["report/labels"])("", folder, silent)


def _write(small: tuple[Workspace, Path], name: str, rows: dict[str, object], lines: str = "") -> None:
    parts = [json.dumps({"doc_id": i, "label": label}) for i, label in rows.items()]
    (small[1] / name).write_text("\n".join([*parts, lines]), "utf-8")


def test_without_labels_one_line_says_how_to_bring_them(
    small: tuple[Workspace, Path], tmp_path: Path
) -> None:
    assert _made(small[0], tmp_path) == {}
    section = read_section(tmp_path)
    assert "labels.url" in section.intro and not section.findings and not section.tables
    assert [path.name for path in tmp_path.iterdir()] == ["section.json"]


def test_every_score_is_measured_against_a_file_of_labels(
    small: tuple[Workspace, Path], tmp_path: Path
) -> None:
    _write(
        small, "labels.jsonl", {**{i: int(good) for i, good in GOOD.items()}, "nobody": 1, ROWS[0][0]: None}
    )
    about = _made(_with(small, 'url = "labels.jsonl"'), tmp_path)
    table = pl.read_parquet(tmp_path / "labels.parquet")
    assert table["score"].to_list() == [
        "random",
        "density",
        "ask_llm_small",
        "length",
        "sentence_ends",
        "stop_words",
    ]
    ids = [i for i in small[0].shards() for i in _ids(small[0], i)]
    ids = [i for i in dict.fromkeys(ids) if i != ROWS[0][0]]
    good = np.array([GOOD[i] for i in ids])
    assert about["documents"] == len(ids) and about["good"] == good.sum()
    lengths = np.array([CHARS[i] for i in ids], float)
    for name, sign in (("random", 1), ("density", -1), ("ask_llm_small", 1)):
        row = table.row(by_predicate=pl.col("score") == name, named=True)
        scores = sign * SCORES[name](ids)
        assert (row["auc"], row["controlled"]) == pytest.approx(
            (auc(scores, good)[0], length_controlled_auc(scores, good, lengths)[0])
        )
    section = read_section(tmp_path)
    assert section.findings[0].startswith("The score that agrees best with the labels is density, AUC 1")
    assert section.headline == section.findings[0]
    measured_on = f"Measured on {good.sum()} good and {(~good).sum()} bad documents"
    assert any(
        one.startswith(measured_on) and "are not among the documents" in one for one in section.findings
    )
    assert about["place"] == str(small[1]) and list(about["seen"]) == ["labels.jsonl"]


def test_a_field_of_the_corpus_says_the_same_as_a_file(small: tuple[Workspace, Path], tmp_path: Path) -> None:
    _write(small, "same.jsonl", {i: int(good) for i, good in GOOD.items()})
    tables = []
    for name, settings in (("a", 'field = "source"\npositive = ["GOOD"]'), ("b", 'url = "same.jsonl"')):
        (tmp_path / name).mkdir()
        _made(_with(small, settings), tmp_path / name)
        tables.append(pl.read_parquet(tmp_path / name / "labels.parquet"))
    assert tables[0].equals(tables[1])


def _ids(found: Workspace, shard: str) -> list[str]:
    return pl.read_parquet(found.open("corpus/documents", shard) / "documents.parquet")["doc_id"].to_list()


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        ({"x": 1, "y": 0}, "", "none of the 2 labelled ids is a document's, 'x' for one"),
        (dict.fromkeys(GOOD, 1), "", "labelled documents are good: labels.positive names the good labels"),
        ({"x": "superb"}, "", "bad.jsonl, row 1: label 'superb' is neither 1, true, yes"),
        (
            {"x": 1},
            '{"doc_id": "x", "label": 0}',
            "row 2: 'x' is labelled good in one row and bad in another",
        ),
        ({"x": 1}, '{"id": "x", "label": 0}', "row 2 has no doc_id; its fields: id, label"),
        ({"x": 1}, '{"doc_id": ["x"], "label": 0}', r"row 2: doc_id is \['x'\], no string"),
        ({"x": 1}, "{broken", "row 2: invalid json"),
    ],
)
def test_bad_labels_are_refused(
    small: tuple[Workspace, Path], tmp_path: Path, rows: dict[str, object], more: str, message: str
) -> None:
    _write(small, "bad.jsonl", rows, more)
    with pytest.raises(ValueError, match=message):
        _made(_with(small, 'url = "bad.jsonl"'), tmp_path)


def test_labels_that_are_not_there_and_fields_that_are_not_kept(
    small: tuple[Workspace, Path], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"labels\.url: nothing is at .*none.csv"):
        _made(_with(small, 'url = "none.csv"'), tmp_path)
    with pytest.raises(ProfileError, match=r"labels\.field 'quality' is not among corpus.keep_fields"):
        _with(small, 'field = "quality"')


def test_formats_and_spellings(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("doc_id,verdict\n1,yes\n2, No \n3,\n", "utf-8")
    frame = pl.DataFrame({"doc_id": ["4", "5"], "verdict": [1.0, 0.0]})
    frame.write_parquet(tmp_path / "b.parquet")
    settings = Labels(url=str(tmp_path), field="verdict", positive=())
    assert read_label_files(settings, {}).good == {"1": True, "2": False, "4": True, "5": False}
    assert [is_good(v, ("human",)) for v in ("Human", "gpt2", "", None, True)] == [
        True,
        False,
        None,
        None,
        False,
    ]
    assert is_good(True, ()) and not is_good(False, ())


def test_baselines() -> None:
    found = baselines(["He said: “Go.”\nand went\n\n", "", "The cat is on the mat"])
    assert found["length"].tolist() == [25, 0, 21]
    assert found["sentence_ends"].tolist() == [0.5, 0, 0]
    assert found["stop_words"].tolist() == pytest.approx([3 / 5, 0, 4 / 6])


def test_length_alone_would_do_as_well() -> None:
    rng = np.random.default_rng(0)
    good = rng.random(3000) < 0.5
    length = np.exp(rng.normal(6, 1, 3000) + good)
    quality = rng.normal(size=3000) + 1.5 * good
    scores = {
        "ask_llm_small": np.log(length) + rng.normal(size=3000) / 5,
        "ask_llm_xxl": quality,
        "random": rng.random(3000),
    }
    said = findings(measured(scores, {LENGTH: length}, good))
    assert (
        said[0].startswith("The score that agrees best with the labels is ask_llm_xxl")
        and "2 of 3 scores" in said[0]
    )
    assert said[1].startswith("Length alone would do as well as ask_llm_small: AUC 0.7")
    assert said[2].startswith("At equal length 1 of 3 scores are above chance: ask_llm_xxl (0.8")
    assert findings(measured({"random": scores["random"]}, {LENGTH: length}, good))[0].startswith(
        "No score puts the good"
    )
    shorter = findings(measured({"ask_llm_small": -scores["ask_llm_small"]}, {LENGTH: length}, ~good))
    assert shorter[1].startswith("Length alone (the least first) would do as well as ask_llm_small: AUC 0.7")
