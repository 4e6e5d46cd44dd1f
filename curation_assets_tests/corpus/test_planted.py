"""The planted corpus: what each kind of noise is, that it follows from texts and seed alone, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curation_assets.common.hashing import hash_documents, noise, text_digest
from curation_assets.corpus import discover
from curation_assets.corpus.planted import CLEAN, KINDS, PlantedSettings, build
from curation_assets_tests.conftest import stdlib_texts

SETTINGS = PlantedSettings(
    documents=40,
    held_out=20,
    noise=dict.fromkeys(KINDS, 10),
    field="",
    values=(),
    text_field="text",
    id_field="id",
    min_chars=200,
    max_chars=1_500,
    shards=3,
    seed=0,
)


def _corpus(folder: Path, files: int = 2) -> list[discover.ShardFile]:
    folder.mkdir(parents=True)
    rows = [
        {"id": name, "text": text, "kind": "a" if len(name) % 2 else "b"} for name, text in stdlib_texts(400)
    ]
    for number in range(files):
        lines = [json.dumps(row) + "\n" for row in rows[number::files]]
        (folder / f"{number}.jsonl").write_text("".join(lines), "utf-8")
    return discover.find_files(str(folder), {}).files


def _rows(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _planted(
    folder: Path, files: list[discover.ShardFile], settings: PlantedSettings = SETTINGS
) -> list[dict[str, str]]:
    build(folder, files, settings, {})
    return [row for path in sorted((folder / "shards").glob("*.jsonl")) for row in _rows(path)]


def test_there_is_as_much_of_each_kind_as_was_asked_for_and_held_out_text_is_nowhere_else(
    tmp_path: Path,
) -> None:
    rows = _planted(tmp_path / "planted", _corpus(tmp_path / "corpus"))
    held_out = {row["text"] for row in _rows(tmp_path / "planted" / "hq_validation.jsonl")}
    assert Counter(row["source"] for row in rows) == {CLEAN: 40, **SETTINGS.noise}
    assert len(held_out) == 20 and not held_out & {row["text"] for row in rows}
    assert len({row["id"] for row in rows}) == len(rows)
    assert all(200 <= len(row["text"]) <= 1_500 for row in rows if row["source"] == CLEAN)


def test_each_kind_is_what_it_is_called(tmp_path: Path) -> None:
    rows = _planted(tmp_path / "planted", _corpus(tmp_path / "corpus"))
    by_kind = {kind: [row["text"] for row in rows if row["source"] == kind] for kind in (CLEAN, *KINDS)}
    clean = set(by_kind[CLEAN])
    assert sorted(Counter(by_kind["exact_copy"]).values()) == [5, 5] and set(by_kind["exact_copy"]) <= clean
    words = {tuple(sorted(text.split())) for text in clean}
    for text in by_kind["shuffled_words"]:
        assert text not in clean and tuple(sorted(text.split())) in words
    for text in by_kind["near_copy"]:
        same = max(
            np.mean([a == b for a, b in zip(text.split(), other.split(), strict=False)]) for other in clean
        )
        assert text not in clean and same > 0.7
    lengths = {len(text) for text in clean}
    for kind in ("menu", "keyword_stuffing"):
        assert not set(by_kind[kind]) & clean and len(set(by_kind[kind])) == 10
        assert all(min(lengths) <= len(text) <= max(lengths) + 100 for text in by_kind[kind])


def test_it_follows_from_texts_and_seed_whatever_the_files(tmp_path: Path) -> None:
    first = _planted(tmp_path / "one", _corpus(tmp_path / "corpus", 2))
    assert first == _planted(tmp_path / "two", _corpus(tmp_path / "other", 5)[::-1])
    assert first != _planted(tmp_path / "three", _corpus(tmp_path / "third"), replace(SETTINGS, seed=1))


def test_what_is_taken_goes_by_no_samplers_noise(tmp_path: Path) -> None:
    """Else `random` with the same seed would prefer clean documents to noise, or noise to them."""
    rows = _planted(tmp_path / "planted", _corpus(tmp_path / "corpus"))
    clean = [row for row in rows if row["source"] == CLEAN]
    digests = [text_digest(row["text"]) for row in clean]
    drawn = noise(hash_documents(pa.array([row["id"] for row in clean]), digests), SETTINGS.seed)
    assert 0.3 < drawn.mean() < 0.7 and drawn.min() < 0.2 and drawn.max() > 0.8


def test_it_is_made_once_and_anew_when_what_it_is_made_of_changes(tmp_path: Path) -> None:
    files, home = _corpus(tmp_path / "corpus"), tmp_path / "planted"
    _planted(home, files)
    (home / "shards" / "shard-00.jsonl").write_text("")
    build(home, files, SETTINGS, {})
    assert not (home / "shards" / "shard-00.jsonl").read_text(), "it was made again"
    assert len(_planted(home, files, replace(SETTINGS, shards=1))) == 90
    assert [path.name for path in (home / "shards").iterdir()] == ["shard-00.jsonl"]


def test_a_field_says_which_documents_are_clean_and_too_few_are_refused(tmp_path: Path) -> None:
    files = _corpus(tmp_path / "corpus")
    kinds = {name: "a" if len(name) % 2 else "b" for name, _ in stdlib_texts(400)}
    rows = _planted(tmp_path / "planted", files, replace(SETTINGS, field="kind", values=("a",)))
    assert {kinds[row["id"]] for row in rows if row["source"] == CLEAN} == {"a"}
    with pytest.raises(
        ValueError, match=r"5,020 different clean documents are asked for .*, and there are \d+ of 200 to"
    ):
        build(tmp_path / "more", files, replace(SETTINGS, documents=5_000), {})
