import bz2
import gzip
import io
import json
import lzma
import random
import re
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.common.hashing import hash_documents, hash_ids, text_digest
from curation_assets.config.settings import DocumentSettings
from curation_assets.corpus.documents import (
    BATCH_ROWS,
    Counts,
    document_schema,
    parse_shard,
    validation_mask,
    write_documents,
)
from curation_assets.corpus.quarantine import REASONS
from curation_assets.corpus.rows import CorruptShardError

ALL = DocumentSettings(validation_share=0.0)


def shard(tmp_path, *objects, name="a.jsonl"):
    """Write one shard; bytes are lines as they are, everything else becomes JSON."""
    path = tmp_path / name
    path.write_bytes(b"\n".join(o if isinstance(o, bytes) else json.dumps(o).encode() for o in objects))
    return str(path)


def parse(url, options=ALL):
    """Return the three tables."""
    batches = list(parse_shard(url, options))
    return [
        pa.Table.from_batches([getattr(b, t) for b in batches])
        for t in ("documents", "validation", "quarantine")
    ]


def fates(tmp_path, *objects, options=ALL):
    """Return the ids of the documents and {row: reason} of the quarantine."""
    documents, validation, quarantine = parse(shard(tmp_path, *objects), options)
    assert len(documents) + len(validation) + len(quarantine) == len(objects)
    reasons = dict(zip(quarantine["row"].to_pylist(), quarantine["reason"].to_pylist(), strict=True))
    return documents["doc_id"].to_pylist(), reasons


def test_a_document_is_normalised_and_carries_its_hash_length_and_row(tmp_path):
    url = shard(
        tmp_path, b"not json", {"id": 7, "text": "e\u0301\r\n", "lang": "en", "n": 1.5, "x": {"k": [1, "é"]}}
    )
    options = DocumentSettings(keep_fields=("lang", "n", "x", "absent"), validation_share=0.0)
    documents, _, _ = parse(url, options)
    assert documents.schema == document_schema(options)
    assert documents.to_pylist() == [
        {
            "doc_id": "7",
            "doc_hash": int(hash_documents(["7"], [text_digest("\u00e9\n")])[0]),
            "text": "\u00e9\n",
            "n_chars": 2,
            "row": 2,
            "lang": "en",
            "n": "1.5",
            "x": '{"k": [1, "é"]}',
            "absent": None,
        }
    ]


BAD = {
    "row_too_long": b'{"id": "x", "text": "' + b"y" * 1_100_000 + b'"}',
    "invalid_utf8": b'{"id": "x", "text": "\xff"}',
    "invalid_json": b'{"id": "x", "text": ',
    "not_an_object": ["x"],
    "missing_text": {"id": "x"},
    "text_not_a_string": {"id": "x", "text": ["a"]},
    "empty_text": {"id": "x", "text": " \n\t\u3000\r\n"},
    "too_short": {"id": "x", "text": "a b.\u0301"},
    "text_too_long": {"id": "x", "text": "123456789 1"},
    "control_characters": {"id": "x", "text": "a\0"},
    "invalid_unicode": {"id": "x", "text": "\ud800"},
    "bad_id": {"text": "abcd"},
    "repeated_id": {"id": "first", "text": "0123456789"},
}


@pytest.mark.parametrize("reason", BAD)
def test_every_reason(tmp_path, reason):
    options = DocumentSettings(max_chars=10, min_chars=4, validation_share=0.0)
    kept, reasons = fates(
        tmp_path,
        {"id": "first", "text": "0123456789"},
        BAD[reason],
        {"id": "x", "text": "good"},
        options=options,
    )
    assert reasons == {2: reason}
    assert kept == ["first", "x"]  # a row that is set aside does not use up its id


def test_the_reasons_tested_are_all_there_are():
    assert {*BAD, "repeated_text", "invalid_csv", "ragged_row"} == set(
        REASONS
    )  # those of CSV are tried there


@pytest.mark.parametrize(
    "bad", [None, "", " ", "x" * 513, 1.0, True, ["a"], {"a": 1}, "a\nb", "a\0", "\udc00"]
)
def test_ids_are_non_empty_strings_or_integers(tmp_path, bad):
    kept, reasons = fates(
        tmp_path, {"id": bad, "text": "a"}, {"id": "x" * 512, "text": "a"}, {"id": -3, "text": "a"}
    )
    assert reasons == {1: "bad_id"}
    assert kept == ["x" * 512, "-3"]


def test_an_integer_and_its_digits_are_one_id(tmp_path):
    assert fates(tmp_path, {"id": 1, "text": "a"}, {"id": "1", "text": "a"}) == (["1"], {2: "repeated_id"})


def test_an_id_may_stand_for_several_texts_and_a_text_have_several_ids(tmp_path):
    rows = [(1, "a"), (1, "b"), (2, "a"), (1, "a"), ("1", "b"), (1, "a\r\n"), (1, "a\n")]
    kept, reasons = fates(tmp_path, *({"id": i, "text": text} for i, text in rows))
    assert kept == ["1", "1", "2", "1"]
    assert reasons == {4: "repeated_id", 5: "repeated_id", 7: "repeated_id"}, "after normalisation"


def test_a_documents_hash_is_that_of_its_id_and_text_wherever_it_stands(tmp_path):
    rows = [{"id": i % 3, "text": f"text {i % 5}"} for i in range(15)]
    (tmp_path / "a.txt").write_text("one\n")
    by_text = hash_documents([text_digest("one").hex()], [text_digest("one")])
    assert parse(str(tmp_path / "a.txt"))[0]["doc_hash"].to_pylist() == by_text.tolist()
    found = {}
    for part in (rows, rows[::-1], rows[:4], rows[7:9]):
        documents, _, _ = parse(shard(tmp_path, *part))
        for doc_id, text, doc_hash in zip(
            *(documents[name].to_pylist() for name in ("doc_id", "text", "doc_hash")), strict=True
        ):
            assert found.setdefault((doc_id, text), doc_hash) == doc_hash
    assert len(set(found.values())) == len(found) == 15


def test_without_an_id_field_the_text_gives_the_id_and_exact_repeats_go(tmp_path):
    options = DocumentSettings(id_field="", validation_share=0.0)
    kept, reasons = fates(tmp_path, {"text": "\u00e9"}, {"text": "b"}, {"text": "e\u0301"}, options=options)
    assert kept == [blake2b(text.encode(), digest_size=16).hexdigest() for text in ("\u00e9", "b")]
    assert reasons == {3: "repeated_text"}


def test_text_files_have_no_ids_whatever_the_settings_say(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one\ntwo\none\n")
    documents, _, quarantine = parse(str(path))
    assert documents["text"].to_pylist() == ["one", "two"]
    assert quarantine["reason"].to_pylist() == ["repeated_text"]


def test_a_kept_value_that_is_no_unicode_is_null_and_counted_and_the_document_stays(tmp_path):
    options = DocumentSettings(keep_fields=("title", "more"), validation_share=0.0)
    rows = [
        {"id": i, "text": "a", "title": title, "more": 1}
        for i, title in enumerate(("\ud800", "fine", "x\udfff"))
    ]
    (batch,) = parse_shard(shard(tmp_path, *rows, {"id": 0, "text": "a", "title": "\ud800"}), options)
    assert batch.documents["title"].to_pylist() == [None, "fine", None]
    assert batch.documents["more"].to_pylist() == ["1", "1", "1"]
    assert batch.kept_lost == {"title": 2}, "of documents alone"


def test_the_quarantine_shows_the_start_of_the_row_made_safe(tmp_path):
    raw = b'{"text": "\x1b[31m\xff' + b"z" * 500
    batch = next(parse_shard(shard(tmp_path, raw), ALL, file="part/a.jsonl"))
    (row,) = batch.quarantine.to_pylist()
    assert (row["file"], row["row"], row["reason"]) == ("part/a.jsonl", 1, "invalid_utf8")
    assert len(row["start"]) == 200
    assert row["start"].startswith('{"text": "\ufffd[31m\ufffdz')
    assert row["start"].isprintable()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "text", "k"]), inner, max_size=3)
    ),
    max_leaves=6,
)
ids = st.integers(0, 3) | st.sampled_from(["a", "1", ""])
likely = st.fixed_dictionaries(
    {}, optional={"id": ids | json_values, "text": st.text(max_size=9) | json_values}
)
fuzz = st.lists(
    st.binary(max_size=30) | (likely | json_values).map(lambda v: json.dumps(v).encode()), max_size=12
)


@given(
    fuzz,
    st.sampled_from(["id", ""]),
    st.sampled_from(["line", "paragraph", "document"]),
    st.sampled_from(["jsonl", "txt", "json", "csv", "tsv"]),
)
@settings(max_examples=500, deadline=None)
def test_no_input_raises_and_the_counts_add_up(tmp_path_factory, parts, id_field, sample_by, suffix):
    path = tmp_path_factory.mktemp("fuzz") / f"a.{suffix}.gz"
    path.write_bytes(gzip.compress(b"\n".join(parts), 1))
    options = DocumentSettings(
        id_field=id_field, max_chars=8, validation_share=0.5, sample_by=sample_by, keep_fields=("k",)
    )
    counts = Counts()
    seen = []
    try:
        batches = list(parse_shard(str(path), options))
    except CorruptShardError as error:
        assert suffix == "json" and "the JSON array is not closed" in str(error)
        return
    for batch in batches:
        counts.add(batch)
        for table in (batch.documents, batch.validation):
            seen += zip(*(table[name].to_pylist() for name in ("doc_id", "text")), strict=True)
        for table in (batch.documents, batch.validation, batch.quarantine):
            table.validate(full=True)
    assert counts.rows == counts.documents + counts.validation + counts.quarantined
    assert len(seen) == len(set(seen)) == counts.documents + counts.validation
    assert sum(counts.reasons.values()) == counts.quarantined
    assert set(counts.reasons) <= set(REASONS)
    if suffix == "jsonl":
        assert counts.rows == sum(
            bool(line.strip()) for line in b"\n".join(parts).removeprefix(b"\xef\xbb\xbf").split(b"\n")
        )


def packed_rows():
    rng = random.Random(0)
    objects = [{"id": str(i), "text": f"text {rng.random()} {rng.random()}"} for i in range(300)]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(objects), buffer, row_group_size=100)
    plain = b"\n".join(json.dumps(one).encode() for one in objects)
    zstd = zstandard.ZstdCompressor(write_checksum=True).compress(plain)
    array = json.dumps(objects, indent=1).encode()
    return {
        "a.jsonl.gz": gzip.compress(plain),
        "a.jsonl.zst": zstd,
        "a.jsonl.bz2": bz2.compress(plain),
        "a.json.xz": lzma.compress(array),
        "a.parquet": buffer.getvalue(),
    }


PACKED = packed_rows()


@given(st.sampled_from(sorted(PACKED)), st.data())
@settings(max_examples=500, deadline=None)
def test_a_damaged_file_raises_only_the_stated_error(tmp_path_factory, name, data):
    damaged = bytearray(PACKED[name])
    at = data.draw(st.integers(0, len(damaged) - 1))
    if cut := data.draw(st.booleans()):
        del damaged[at:]
    else:
        damaged[at] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("damaged") / name
    path.write_bytes(damaged)
    try:
        rows = sum(batch.rows for batch in parse_shard(str(path), ALL))
    except CorruptShardError as error:
        assert name in str(error)
    else:
        assert not cut  # a changed byte may go unnoticed, a missing end may not
        assert rows


def test_a_parquet_schema_that_is_not_utf8_is_a_damaged_file(tmp_path):
    raw, outcomes = PACKED["a.parquet"], []
    for at in (match.start() for match in re.finditer(rb"text", raw[-4096:])):
        at += max(len(raw) - 4096, 0)
        (tmp_path / "a.parquet").write_bytes(raw[:at] + b"\xf4" + raw[at + 1 :])
        try:
            list(parse_shard(str(tmp_path / "a.parquet"), ALL))
            outcomes.append("read")
        except CorruptShardError as error:
            assert "a.parquet" in str(error)
            outcomes.append("damaged")
    assert "damaged" in outcomes


def test_the_split_has_its_share_is_pure_and_nested():
    hashes = hash_ids([f"doc-{i}" for i in range(200_000)])
    small, large = validation_mask(hashes, 0.01), validation_mask(hashes, 0.05)
    assert abs(small.mean() - 0.01) < 4 * np.sqrt(0.01 * 0.99 / 200_000)
    assert abs(large.mean() - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 200_000)
    assert (small <= large).all()
    order = np.random.default_rng(0).permutation(len(hashes))
    assert (validation_mask(hashes[order], 0.05) == large[order]).all()
    assert not validation_mask(hashes, 0.0).any()
    assert validation_mask(hashes, 1.0).all()


def test_the_split_does_not_depend_on_the_shard_layout(tmp_path):
    objects = [{"id": f"d{i}", "text": f"text {i}"} for i in range(300)]
    options = DocumentSettings(validation_share=0.3)

    def held_out(groups):
        tables = [
            parse(shard(tmp_path, *group, name=f"{k}.jsonl"), options)[1] for k, group in enumerate(groups)
        ]
        return {one for table in tables for one in table["doc_id"].to_pylist()}

    whole = held_out([objects])
    assert 60 < len(whole) < 120
    assert held_out([objects[::2], objects[1::2][::-1]]) == whole


def test_batches_stay_small_in_rows_and_in_characters(tmp_path):
    many = shard(tmp_path, *({"id": i, "text": "x"} for i in range(2500)))
    assert [batch.rows for batch in parse_shard(many, ALL)] == [BATCH_ROWS, BATCH_ROWS, 500]
    long = shard(tmp_path, *({"id": i, "text": "x" * 1_000_000} for i in range(20)), name="b.jsonl")
    assert [batch.rows for batch in parse_shard(long, ALL)] == [17, 3]


def test_an_empty_file_gives_one_empty_batch(tmp_path):
    (batch,) = parse_shard(shard(tmp_path), ALL)
    assert batch.rows == 0


def test_writes_three_tables_that_add_up_byte_for_byte_the_same(tmp_path):
    objects = [{"id": i % 900, "text": f"text {i % 900}"} for i in range(1200)]
    url = shard(tmp_path, *objects, b"broken")
    options = DocumentSettings(validation_share=0.1)
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        counts = write_documents(url, options, folder, file="a.jsonl")
    assert (counts.rows, counts.quarantined) == (1201, 301)
    assert counts.documents + counts.validation == 900
    assert counts.reasons == {"repeated_id": 300, "invalid_json": 1}
    for name, expected in (
        ("documents", counts.documents),
        ("validation", counts.validation),
        ("quarantine", 301),
    ):
        assert pq.read_table(folders[0] / f"{name}.parquet").num_rows == expected
        assert (folders[0] / f"{name}.parquet").read_bytes() == (folders[1] / f"{name}.parquet").read_bytes()
    documents = pq.read_table(folders[0] / "documents.parquet")
    assert (
        counts.chars == sum(documents["n_chars"].to_pylist()) == sum(map(len, documents["text"].to_pylist()))
    )


def test_a_damaged_shard_fails_as_a_whole(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    packed = gzip.compress(b"\n".join(b'{"id": %d, "text": "a"}' % i for i in range(100)))
    path.write_bytes(packed[:-8])
    with pytest.raises(CorruptShardError, match=r"a\.jsonl\.gz is damaged after row 99"):
        write_documents(str(path), ALL, tmp_path)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"text_field": ""}, "text_field\n.*at least 1 character"),
        ({"keep_fields": ("text",)}, "clash"),
        ({"keep_fields": ("a", "a")}, "repeated"),
        ({"max_chars": 0}, "max_chars\n.*greater than 0"),
        ({"min_chars": 0}, "min_chars\n.*greater than 0"),
        ({"validation_share": 1.5}, "validation_share\n.*less than 1"),
        ({"sample_by": "sentence"}, "sample_by\n.*'line', 'paragraph' or 'document'"),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        DocumentSettings(**wrong)
