import bz2
import gzip
import io
import json
import lzma
import random

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from curation_assets.config.settings import DocumentSettings
from curation_assets.corpus.formats import CorruptShardError, read_rows
from curation_assets.corpus.streams import bounded_lines, unpacked

SETTINGS = DocumentSettings()
PACK = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
    ".bz2": lambda data: bz2.compress(data, 1),  # blocks of 100 kB
    ".xz": lzma.compress,
}
PACKED = [suffix for suffix in PACK if suffix]


def lines(count, words=1):
    rng = random.Random(0)
    objects = ({"id": i, "text": " ".join(str(rng.random()) for _ in range(words))} for i in range(count))
    return [json.dumps(one).encode() for one in objects]


def put(path, data):
    path.write_bytes(data)
    return str(path)


def rows(url, settings=SETTINGS):
    return list(read_rows(url, settings))


@pytest.mark.parametrize("suffix", PACK)
def test_reads_json_lines_with_their_line_numbers(tmp_path, suffix):
    data = b"\xef\xbb\xbf" + b'{"text": "a", "id": 1, "other": 2}\r\n\n  \n{"text": "b"}'
    got = rows(put(tmp_path / f"a.jsonl{suffix}", PACK[suffix](data)))
    assert [(row.row, row.fields) for row in got] == [
        (1, {"text": "a", "id": 1}),
        (4, {"text": "b", "id": None}),
    ]


@pytest.mark.parametrize("suffix", PACK)
def test_reads_through_any_file_system(suffix):
    fs = fsspec.filesystem("memory")
    fs.pipe(f"/formats/a.jsonl{suffix}", PACK[suffix](b'{"text": "a"}\n'))
    try:
        assert [row.fields["text"] for row in rows(f"memory://formats/a.jsonl{suffix}")] == ["a"]
    finally:
        fs.rm("/formats", recursive=True)


def test_a_bad_row_has_a_reason_and_stops_nothing(tmp_path):
    bad = {
        b'{"text": "cut': "invalid_json",
        b"[1, 2]": "not_an_object",
        b'"text"': "not_an_object",
        b'{"text": "\xff"}': "invalid_utf8",
        b'{"text": "\xed\xa0\x80"}': "invalid_utf8",
        b"[" * 100_000: "invalid_json",
        b'{"text": "x", "n": ' + b"9" * 5000 + b"}": "invalid_json",
        b'{"text": "raw \x00"}': "invalid_json",
    }
    data = b"\n".join([*bad, b'{"text": "good"}'])
    got = rows(put(tmp_path / "a.jsonl", data))
    assert [row.reason for row in got] == [*bad.values(), ""]
    assert all(row.detail and row.fields is None for row in got[:-1])
    assert got[-1].fields["text"] == "good"


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("at_end", [False, True])
def test_an_absurdly_long_line_is_skipped_in_bounded_memory(tmp_path, suffix, at_end):
    settings = DocumentSettings(max_chars=10)
    long = b'{"text": "' + b"x" * 30_000_000 + b'"}'
    parts = [b'{"text": "a"}', long] if at_end else [b'{"text": "a"}', long, b'{"text": "b"}']
    got = rows(put(tmp_path / f"a.jsonl{suffix}", PACK[suffix](b"\n".join(parts))), settings)
    assert [row.reason for row in got] == ["", "row_too_long", ""][: len(parts)]
    assert [row.row for row in got] == [1, 2, 3][: len(parts)]
    assert len(got[1].head) <= 1000


@pytest.mark.parametrize("limit", [1, 3, 8])
@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_lines_do_not_depend_on_where_chunks_end(limit, size):
    data = b"ab\n\nabcdefghij\nabc\nabcdefgh\r\n\nxyzxyzxyzxyz"
    chunks = [data[start : start + size] for start in range(0, len(data), size)]
    got = list(bounded_lines(chunks, limit))
    expected = data.split(b"\n")
    assert [number for number, _, _ in got] == list(range(1, len(expected) + 1))
    for (_, line, whole), truth in zip(got, expected, strict=True):
        assert whole == (len(truth) <= limit)
        assert line == truth.removesuffix(b"\r") if whole else truth.startswith(line)


@pytest.mark.parametrize("suffix", PACKED)
def test_a_cut_off_file_yields_the_rows_before_and_names_the_row(tmp_path, suffix):
    truth = lines(2000, words=20)  # several of zstd's blocks of 128 KiB
    packed = PACK[suffix](b"\n".join(truth))
    url = put(tmp_path / f"a.jsonl{suffix}", packed[: len(packed) // 2])
    got = []
    with pytest.raises(
        CorruptShardError, match=r"a\.jsonl\.\w+ is damaged after row \d+: .*ends too early"
    ) as error:
        for row in read_rows(url, SETTINGS):
            got.append(row)  # noqa: PERF402
    assert 200 < len(got) < 2000
    assert f"after row {len(got)}:" in str(error.value)
    assert [row.fields["id"] for row in got] == list(range(len(got)))


@pytest.mark.parametrize("suffix", PACKED)
def test_damage_in_the_middle_of_a_compressed_file_is_an_error(tmp_path, suffix):
    packed = bytearray(PACK[suffix](b"\n".join(lines(2000, words=20))))
    for at in range(len(packed) // 2, len(packed) // 2 + 40):
        packed[at] ^= 0xFF
    with pytest.raises(
        CorruptShardError
    ):  # zstd's frames carry no checksum here, but its blocks do not parse
        rows(put(tmp_path / f"a.jsonl{suffix}", bytes(packed)))


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize("data", [b"not compressed at all", b"\x1f", b""])
def test_a_file_that_is_not_compressed_as_its_name_says(tmp_path, suffix, data):
    with pytest.raises(CorruptShardError, match="before the first row"):
        rows(put(tmp_path / f"a.jsonl{suffix}", data))


@pytest.mark.parametrize("suffix", PACKED)
def test_several_compressed_members_are_one_file(tmp_path, suffix):
    members = b"".join(PACK[suffix](b'{"text": "%d"}\n' % i) for i in range(300))
    got = rows(put(tmp_path / f"a.jsonl{suffix}", members))
    assert [row.fields["text"] for row in got] == [str(i) for i in range(300)]


@pytest.mark.parametrize("suffix", PACKED)
@pytest.mark.parametrize("zeros", [1, 512, 1_024, 1_025, 100_000, 3_000_000])
def test_zeros_after_a_stream_are_padding_however_many(tmp_path, suffix, zeros):
    one, padding = PACK[suffix](b'{"text": "a"}\n'), b"\0" * zeros
    got = rows(put(tmp_path / f"a.jsonl{suffix}", one + padding + one + padding))
    assert [row.fields["text"] for row in got] == ["a", "a"]


@pytest.mark.parametrize("suffix", PACKED)
def test_other_bytes_after_a_stream_are_damage(tmp_path, suffix):
    with pytest.raises(CorruptShardError, match="is damaged"):
        rows(put(tmp_path / f"a.jsonl{suffix}", PACK[suffix](b'{"text": "a"}\n') + b"\0\0garbage"))


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".bz2", ".xz"])
def test_a_small_file_that_unpacks_to_a_large_one_is_unpacked_in_pieces(suffix):
    source = io.BytesIO(PACK[suffix](b"x" * 200_000_000))  # bzip2 packs this into 150 bytes
    assert max(map(len, unpacked(source.read, suffix))) <= 1 << 20


TEXT = b"\xef\xbb\xbfone\r\n\r\ntwo\nthree\n\n\n\nfour \xc3\xa9\n"


@pytest.mark.parametrize(
    ("sample_by", "expected"),
    [
        ("line", [(1, "one"), (3, "two"), (4, "three"), (8, "four é")]),
        ("paragraph", [(1, "one"), (3, "two\nthree"), (8, "four é")]),
        ("document", [(1, "one\n\ntwo\nthree\n\n\n\nfour é")]),
    ],
)
@pytest.mark.parametrize("suffix", PACK)
def test_text_files(tmp_path, sample_by, expected, suffix):
    got = rows(put(tmp_path / f"a.txt{suffix}", PACK[suffix](TEXT)), DocumentSettings(sample_by=sample_by))
    assert [(row.row, row.fields["text"]) for row in got] == expected


@pytest.mark.parametrize("sample_by", ["paragraph", "document"])
def test_a_text_that_grows_beyond_the_limit_line_by_line_is_set_aside(tmp_path, sample_by):
    settings = DocumentSettings(max_chars=10, sample_by=sample_by)
    got = rows(put(tmp_path / "a.txt", b"line of text\n" * 200_000), settings)
    assert [(row.row, row.reason) for row in got] == [(1, "row_too_long")]


def test_an_empty_text_file_has_no_rows(tmp_path):
    for sample_by in ("line", "paragraph", "document"):
        assert rows(put(tmp_path / "a.txt", b"\n\n"), DocumentSettings(sample_by=sample_by)) == []


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())]
)
def test_parquet_streams_the_needed_columns(tmp_path, kind):
    table = pa.table(
        {
            "text": pa.array(["a", None, "c"] * 400, pa.string()).cast(kind),
            "id": pa.array(range(1200)),
            "lang": ["en"] * 1200,
            "unused": pa.array([[1.0]] * 1200),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=500)
    got = rows(str(tmp_path / "a.parquet"), DocumentSettings(keep_fields=("lang",)))
    assert [row.row for row in got] == list(range(1200))
    assert got[2].fields == {"text": "c", "id": 2, "lang": "en"}
    assert got[1].fields["text"] is None


def test_parquet_without_a_needed_column_names_those_it_has_row_by_row(tmp_path):
    pq.write_table(pa.table({"content": ["x", "y"], "id": ["1", "2"]}), tmp_path / "a.parquet")
    got = rows(str(tmp_path / "a.parquet"))
    assert [(row.fields, row.lacks, row.seen) for row in got] == [
        ({"text": None, "id": "1"}, ("text",), ("content", "id")),
        ({"text": None, "id": "2"}, ("text",), ("content", "id")),
    ]


def test_parquet_with_bytes_that_are_not_utf8_sets_only_that_row_aside(tmp_path):
    text = pa.array([b"good", b"\xff\xfe", b"fine"], pa.binary())
    unchecked = pa.StringArray.from_buffers(3, text.buffers()[1], text.buffers()[2])
    pq.write_table(pa.table({"text": unchecked, "id": ["1", "2", "3"]}), tmp_path / "a.parquet")
    assert [row.reason for row in rows(str(tmp_path / "a.parquet"))] == ["", "invalid_utf8", ""]


def test_damaged_parquet_names_the_file_and_the_row(tmp_path):
    path = tmp_path / "a.parquet"
    rng = random.Random(0)
    texts = ["".join(rng.choices("abcdefgh ", k=200)) for _ in range(3000)]
    pq.write_table(
        pa.table({"text": texts, "id": range(3000)}), path, row_group_size=1000, compression="zstd"
    )
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(CorruptShardError, match=r"a\.parquet is damaged at or after row 0"):
        rows(str(path))
    middle = len(data) // 2
    path.write_bytes(
        data[:middle] + bytes(byte ^ 0xFF for byte in data[middle : middle + 2000]) + data[middle + 2000 :]
    )
    with pytest.raises(CorruptShardError, match=r"a\.parquet is damaged at or after row \d+"):
        rows(str(path))


def test_why_a_parquet_file_is_damaged_is_one_line(tmp_path):
    """Thrift's reasons end with an empty line, and some have several."""
    path, reasons = tmp_path / "a.parquet", []
    pq.write_table(pa.table({"text": ["a b c"] * 300, "id": range(300)}), path)
    whole = path.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for at in range(footer, len(whole) - 8, 5):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            rows(str(path))
        except CorruptShardError as error:
            reasons.append(str(error))
    assert len(reasons) > 20 and any("thrift" in reason for reason in reasons)
    assert not [reason for reason in reasons if "\n" in reason or reason != reason.strip()]
