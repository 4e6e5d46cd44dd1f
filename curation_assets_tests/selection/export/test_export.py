"""An export of a corpus of odd files: each text is its row's, byte for byte; killed, changed, repeated, in both formats."""

from __future__ import annotations

import io
import json
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from curation_assets.common.files import sha256
from curation_assets.common.progress import Progress
from curation_assets.config.export_settings import Export
from curation_assets.selection.export import documents as row_groups
from curation_assets.selection.export.chosen import Chosen
from curation_assets.selection.export.destination import DamagedExport, Destination
from curation_assets.selection.export.export import export
from curation_assets.selection.export.sources import of_subset
from curation_assets_tests.selection.export.odd_corpus import Key, scored, write_corpus, write_profile


class Corpus:
    """A corpus that has been scored, its known rows, and what was chosen of it."""

    def __init__(self, home: Path, patch: pytest.MonkeyPatch) -> None:
        self.home, self.known = home, write_corpus(home)
        write_profile(home)
        self.workspace = scored(home, patch, "60")

    def chosen(self, rate: str = "60") -> Chosen:
        receipt = self.workspace.artifact("random/subset", rate)
        return of_subset(self.workspace, "random", receipt, self.workspace.folder(receipt), duplicates=False)

    def subset(self) -> pa.Table:
        return pq.read_table(self.workspace.open("random/subset", "60") / "subset.parquet")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_groups, "ROW_GROUP", 16)
        yield Corpus(tmp_path_factory.mktemp("odd"), patch)


def how(**settings: Any) -> Export:
    return Export(
        **{"samplers": [], "format": "parquet", "shard_size": 6_000, "normalized": False, "repeat": ()}
        | settings
    )


def read(folder: Path, manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """Read an export with none of the product's code."""
    rows: list[dict[str, Any]] = []
    for file in manifest["files"]:
        path = folder / file["name"]
        assert (path.stat().st_size, sha256(path)) == (file["bytes"], file["sha256"])
        if path.suffix == ".parquet":
            mine = pq.read_table(path).to_pylist()
        else:
            with zstandard.open(path, "rb") as lines:
                mine = [json.loads(line) for line in io.BytesIO(lines.read())]
        assert len(mine) == file["rows"]
        rows += mine
    return rows


@pytest.mark.parametrize("format", ["parquet", "jsonl.zst"])
def test_every_text_is_its_rows_byte_for_byte(corpus: Corpus, tmp_path: Path, format: str) -> None:
    manifest = export(corpus.chosen(), how(format=format), Destination(str(tmp_path)))
    rows, subset = read(tmp_path, manifest), corpus.subset()
    places: list[Key] = [(row["source_file"], row["source_row"]) for row in rows]
    assert places == list(zip(subset["shard"].to_pylist(), subset["source_row"].to_pylist(), strict=True))
    for place, row in zip(places, rows, strict=True):
        if place[0] != "i.txt":
            assert row["text"] == corpus.known[place], place
            assert row["corpus_score"] == (
                None if place[0] in ("f.jsonl", "g.parquet", "h.arrow") else row["corpus_score"]
            )
    assert {place[0] for place in places} == {*corpus.workspace.shards()}, "of every kind of file"
    for name in ("id", "n_tokens", "score"):
        assert [row[name] for row in rows] == subset["doc_id" if name == "id" else name].to_pylist()
    assert manifest["rows"] == manifest["documents"] == len(rows) and manifest["repeat"] is None
    assert manifest["tokens"] == sum(row["n_tokens"] for row in rows)
    assert manifest["columns"] == list(rows[0])
    assert len(manifest["files"]) > 3
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert names == sorted(["README.md", "manifest.json", *(file["name"] for file in manifest["files"])])
    assert json.loads((tmp_path / "manifest.json").read_text()) == manifest


def test_normalised_texts_are_what_was_scored(corpus: Corpus, tmp_path: Path) -> None:
    rows = read(tmp_path, export(corpus.chosen(), how(normalized=True), Destination(str(tmp_path))))
    changed = 0
    for row in rows:
        text = corpus.known.get((row["source_file"], row["source_row"]))
        if text is not None:
            assert row["text"] == unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n"))
            changed += row["text"] != text
    assert changed > 20


def test_a_percentile_is_the_share_of_scores_that_are_not_above(corpus: Corpus, tmp_path: Path) -> None:
    rows = read(tmp_path, export(corpus.chosen(), how(), Destination(str(tmp_path))))
    scores = np.concatenate(
        [
            pq.read_table(corpus.workspace.open("random/scores", shard) / "scores.parquet")[
                "score"
            ].to_numpy()
            for shard in corpus.workspace.shards()
        ]
    )
    for row in rows:
        assert row["percentile"] == pytest.approx(100 * (scores <= row["score"]).mean())


def _killed_after(files: int) -> Progress:
    seen: set[str] = set()

    def progress(done: float, total: float, unit: str, note: str = "") -> None:
        seen.add(note)
        if len(seen) > files:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("format", ["parquet", "jsonl.zst"])
def test_killed_twice_it_goes_on_and_writes_the_same(corpus: Corpus, tmp_path: Path, format: str) -> None:
    layout = how(format=format, repeat=("top 30% x 2", "next 20% x 1.5"))
    whole = export(corpus.chosen(), layout, Destination(str(tmp_path / "whole")))
    place = tmp_path / "killed"
    kept: dict[str, int] = {}
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            export(corpus.chosen(), layout, Destination(str(place)), _killed_after(2))
        (place / "data" / ".tmp-part-00009.parquet.0123abcd").write_text("what a kill leaves")
        assert not (place / "manifest.json").exists()
        now = {path.name: path.stat().st_mtime_ns for path in place.glob("data/part-*")}
        assert kept.items() <= now.items() and len(now) > len(kept), "what was finished stays as it is"
        kept = now
    assert export(corpus.chosen(), layout, Destination(str(place))) == whole
    assert kept.items() <= {path.name: path.stat().st_mtime_ns for path in place.glob("data/*")}.items()
    assert sorted(path.name for path in place.rglob("*")) == sorted(
        p.name for p in (tmp_path / "whole").rglob("*")
    )
    assert read(place, whole) == read(tmp_path / "whole", whole)
    before = (place / "manifest.json").stat().st_mtime_ns
    assert export(corpus.chosen(), layout, Destination(str(place))) == whole, (
        "complete: nothing is left to do"
    )
    assert (place / "manifest.json").stat().st_mtime_ns == before


def test_killed_before_anything_was_noted_it_begins_anew(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / ".tmp-_progress.json.0123abcd").write_text("{")
    manifest = export(corpus.chosen(), how(), Destination(str(tmp_path)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "data", "manifest.json"]
    assert len(read(tmp_path, manifest)) == len(corpus.subset())


def test_a_second_export_to_a_folder_at_the_same_time_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    """It neither waits nor takes what the first one is writing for what a killed one left."""
    to, refused = Destination(str(tmp_path)), []

    def second(*_: object) -> None:
        if not refused:
            with pytest.raises(ValueError, match="another export is at work in this folder") as found:
                export(corpus.chosen(), how(), Destination(str(tmp_path)))
            refused.append(found)

    manifest = export(corpus.chosen(), how(), to, second)
    assert refused and len(read(tmp_path, manifest)) == manifest["rows"]
    assert not list(tmp_path.rglob(".tmp-*")), "no lock is left in what people upload"
    assert export(corpus.chosen(), how(), to) == manifest


@pytest.mark.parametrize("damage", ["cut off", "flip"])
def test_a_file_that_was_damaged_after_a_kill_is_written_anew(
    corpus: Corpus, tmp_path: Path, damage: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        export(corpus.chosen(), how(), Destination(str(tmp_path)), _killed_after(3))
    part = tmp_path / "data" / "part-00001.parquet"
    content = part.read_bytes()
    part.write_bytes(content[:7] if damage == "cut off" else content[:99] + b"?" + content[100:])
    manifest = export(corpus.chosen(), how(), Destination(str(tmp_path)))
    assert part.read_bytes() == content
    assert len(read(tmp_path, manifest)) == len(corpus.subset())


def test_no_changed_byte_of_how_far_it_was_is_believed(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        export(corpus.chosen(), how(), Destination(str(tmp_path)), _killed_after(3))
    path = tmp_path / "_progress.json"
    content = path.read_bytes()
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 2]) + content[at + 1 :])
        with suppress(DamagedExport):  # a changed blank is none
            assert Destination(str(tmp_path)).progress()["files"][0]["rows"] > 0
            assert path.read_bytes()[at : at + 1].isspace() or content[at : at + 1].isspace()


def test_repeats_come_a_pass_later_and_are_counted(corpus: Corpus, tmp_path: Path) -> None:
    layout = how(repeat=("top 10% x 3", "next 20% x 2"))
    manifest = export(corpus.chosen(), layout, Destination(str(tmp_path)))
    rows, subset = read(tmp_path, manifest), corpus.subset()
    n, keys = len(subset), np.sort(subset["key"].to_numpy())[::-1]
    top, upto = round(0.1 * n), round(0.3 * n)
    assert manifest["repeat"] == {"bands": ["top 10% x 3", "next 20% x 2"], "passes": [n, upto, top]}
    assert manifest["rows"] == len(rows) == n + upto + top and manifest["documents"] == n
    assert [row["repeat"] for row in rows] == [0] * n + [1] * upto + [2] * top
    key = dict(zip(subset["doc_id"].to_pylist(), subset["key"].to_pylist(), strict=True))
    times = Counter(row["id"] for row in rows)
    for name, count in times.items():
        assert count == 1 + (key[name] >= keys[upto - 1]) + (key[name] >= keys[top - 1])
    for number, size in enumerate((n, upto, top)):
        mine = [(row["source_file"], row["source_row"]) for row in rows if row["repeat"] == number]
        assert mine == sorted(mine) and len(mine) == size
    assert manifest["tokens"] == sum(row["n_tokens"] for row in rows)


def test_another_export_or_anything_else_in_the_folder_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="no empty folder"):
        export(corpus.chosen(), how(), Destination(str(tmp_path / "mine")))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
    with pytest.raises(KeyboardInterrupt):
        export(corpus.chosen(), how(), Destination(str(tmp_path / "begun")), _killed_after(1))
    export(corpus.chosen(), how(), Destination(str(tmp_path / "done")))
    for name in ("begun", "done"):
        with pytest.raises(
            ValueError, match=r"holds another export.*: name another folder, or remove it first$"
        ):
            export(corpus.chosen(), how(normalized=True), Destination(str(tmp_path / name)))
    (tmp_path / "done" / "data" / "part-00000.parquet").unlink()
    with pytest.raises(ValueError, match=r"part-00000.parquet is gone or damaged"):
        export(corpus.chosen(), how(), Destination(str(tmp_path / "done")))


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        (
            "a.jsonl",
            lambda data: data.replace(b"Combining", b"Together"),
            r"a.jsonl has another document in row \d+",
        ),
        (
            "a.jsonl",
            lambda data: data.replace(b'"id": "a', b'"id": "z'),
            r"a.jsonl has another document in row \d+",
        ),
        ("a.jsonl", lambda data: data[:500], r"a.jsonl has no (such document in )?row \d+"),
        ("a.jsonl", lambda data: b"{}\r\n" + data, r"a.jsonl has (no such|another) document in row \d+"),
        ("g.parquet", lambda data: data[:-3], r"g.parquet cannot be read any more \(.*damaged"),
        ("e.csv", None, r"e.csv cannot be read any more \(.*No such file"),
    ],
)
def test_a_corpus_that_changed_is_refused(
    corpus: Corpus, tmp_path: Path, file: str, change: Any, said: str
) -> None:
    path = corpus.home / "texts" / file
    content = path.read_bytes()
    try:
        path.unlink() if change is None else path.write_bytes(change(content))
        with pytest.raises(ValueError, match=said + r".*run `curation run` first$"):
            export(corpus.chosen(), how(), Destination(str(tmp_path / "out")))
        assert not (tmp_path / "out" / "manifest.json").exists()
    finally:
        path.write_bytes(content)


def test_row_groups_are_small_where_documents_are_long(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_groups, "GROUP_BYTES", 2_000)
    manifest = export(corpus.chosen(), how(shard_size=10**9), Destination(str(tmp_path)))
    [file] = manifest["files"]
    with pq.ParquetFile(tmp_path / file["name"]) as source:
        for number in range(source.num_row_groups):
            texts = source.read_row_group(number, columns=["text"])["text"].to_pylist()
            sizes = [len(text.encode()) for text in texts]
            assert len(texts) <= 16 and sum(sizes[:-1]) < 2_000


def test_the_table_of_a_choice_is_opened_once_for_all_files(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its footer tells of every corpus file: read for each, that would take the square of their number."""
    opened, open_file = list[Any](), pq.ParquetFile
    monkeypatch.setattr(pq, "ParquetFile", lambda path, **how: opened.append(path) or open_file(path, **how))
    files = dict(corpus.chosen().by_file(["source_row"]))
    assert len(files) == len(corpus.workspace.shards()) > len(opened) == 1
    subset = corpus.subset()
    assert (
        np.concatenate([f["source_row"] for f in files.values()]).tolist() == subset["source_row"].to_pylist()
    )


def test_nothing_chosen_is_a_file_without_rows(corpus: Corpus, tmp_path: Path) -> None:
    chosen = corpus.chosen()
    empty = tmp_path / "subset.parquet"
    pq.write_table(corpus.subset().slice(0, 0), empty)
    none = Chosen(corpus.workspace, empty, chosen.scores, 0, 0, 0, chosen.selection)
    manifest = export(none, how(repeat=("top 10% x 2",)), Destination(str(tmp_path / "out")))
    assert read(tmp_path / "out", manifest) == [] and manifest["rows"] == 0
    assert pq.read_schema(tmp_path / "out" / manifest["files"][0]["name"]).names == manifest["columns"]


def test_a_mixture_says_of_each_document_which_source_it_is_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each source is read as its own settings say, and `source_name` comes with the kept fields."""
    write_corpus(tmp_path)
    lines = [
        json.dumps({"id": n, "content": f"cafe\u0301 number {n} of the other source"}) for n in range(40)
    ]
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "x.jsonl").write_text("\n".join(lines))
    write_profile(tmp_path)
    profile = (tmp_path / "tiny.toml").read_text()
    sources = """
[corpus.sources.web]
url = "texts"
[corpus.sources.notes]
url = "others"
text_field = "content"
"""
    (tmp_path / "tiny.toml").write_text(profile.replace('url = "texts"', 'url = ""') + sources)
    workspace = scored(tmp_path, monkeypatch, "60")
    receipt = workspace.artifact("random/subset", "60")
    chosen = of_subset(workspace, "random", receipt, workspace.folder(receipt), duplicates=False)
    rows = read(tmp_path / "out", export(chosen, how(), Destination(str(tmp_path / "out"))))
    notes = [row for row in rows if row["source_name"] == "notes"]
    assert len(notes) > 10 and {row["source_name"] for row in rows} == {"web", "notes"}
    assert all(row["text"] == json.loads(lines[int(row["id"])])["content"] for row in notes)


@pytest.mark.process
def test_to_an_object_store(corpus: Corpus, tmp_path: Path, s3: Any) -> None:
    url, temporary = f"{s3.bucket('exports')}/chosen", corpus.workspace.store.temporary
    to = Destination(url, s3.options, temporary)
    with pytest.raises(KeyboardInterrupt):
        export(corpus.chosen(), how(), to, _killed_after(2))
    manifest = export(corpus.chosen(), how(), Destination(url, s3.options, temporary))
    assert manifest == export(corpus.chosen(), how(), Destination(str(tmp_path / "here")))
    s3.file_system().get("exports/chosen/", str(tmp_path / "there"), recursive=True)
    assert read(tmp_path / "there", manifest) == read(tmp_path / "here", manifest)
    assert sorted(p.name for p in (tmp_path / "there").iterdir()) == ["README.md", "data", "manifest.json"]
    assert not list((corpus.workspace.scratch / "temporary").iterdir())
    with pytest.raises(ValueError, match="holds another export"):
        export(corpus.chosen(), how(normalized=True), to)
