import hashlib
import os

import fsspec
import pytest

from curation_assets.corpus.discover import digest, list_shards, split_suffixes


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def keys(url, **options):
    return [shard.key for shard in list_shards(str(url), **options)]


def test_lists_a_folder_recursively_and_sorted(tmp_path):
    make(
        tmp_path,
        "b.jsonl",
        "a/x.jsonl.gz",
        "a/y.jsonl.zst",
        "c.parquet",
        "d.txt",
        "e.json.gz",
        "f.ndjson",
        "g.txt.zst",
    )
    assert keys(tmp_path) == [
        "a/x.jsonl",
        "a/y.jsonl",
        "b.jsonl",
        "c.parquet",
        "d.txt",
        "e.json",
        "f.ndjson",
        "g.txt",
    ]
    (shard,) = [shard for shard in list_shards(str(tmp_path)) if shard.key == "a/x.jsonl"]
    assert shard.size == len("a/x.jsonl.gz")
    assert shard.mtime == pytest.approx(os.stat(tmp_path / "a/x.jsonl.gz").st_mtime)  # noqa: PTH116
    with fsspec.open(shard.url, "rb") as file:
        assert file.read() == b"a/x.jsonl.gz"


def test_passes_over_hidden_unfinished_and_foreign_files(tmp_path):
    make(tmp_path, ".a.jsonl", "_b.jsonl", "_temporary/c.jsonl", ".git/d.txt", "e.jsonl.tmp", "f.jsonl.part")
    make(tmp_path, "g.jsonl.crdownload", "h.csv", "README.md", "i.parquet.gz", "_SUCCESS", "ok.jsonl")
    assert keys(tmp_path) == ["ok.jsonl"]


def test_a_hidden_parent_of_the_corpus_does_not_hide_it(tmp_path):
    make(tmp_path, ".cache/_corpus/a.jsonl")
    assert keys(tmp_path / ".cache/_corpus") == ["a.jsonl"]


def test_globs_and_single_files(tmp_path):
    make(tmp_path, "en/a.jsonl.gz", "en/b.jsonl.gz", "de/a.jsonl.gz", "en/[odd].jsonl", "en/deep/c.jsonl.gz")
    assert keys(tmp_path / "en/*.gz") == ["a.jsonl", "b.jsonl"]
    assert keys(tmp_path / "*/a.jsonl.gz") == ["de/a.jsonl", "en/a.jsonl"]
    assert keys(tmp_path / "en/**/*.gz") == ["a.jsonl", "b.jsonl", "deep/c.jsonl"]
    assert keys(tmp_path / "en/a.jsonl.gz") == ["a.jsonl"]
    assert keys(tmp_path / "en/[odd].jsonl") == ["[odd].jsonl"]


def test_reads_any_file_system_that_fsspec_knows(tmp_path):
    fs = fsspec.filesystem("memory")
    fs.pipe("/lake/part/a.jsonl.gz", b"x")
    try:
        (shard,) = list_shards("memory://lake")
        assert (shard.key, shard.size) == ("part/a.jsonl", 1)
        assert shard.mtime is not None
        assert digest(shard.url) == hashlib.sha256(b"x").hexdigest()
    finally:
        fs.rm("/lake", recursive=True)


def test_an_empty_folder_has_no_shards_but_a_missing_one_is_an_error(tmp_path):
    assert list_shards(str(tmp_path)) == []
    for url in (tmp_path / "absent", tmp_path / "*.jsonl"):
        with pytest.raises(FileNotFoundError, match="no corpus at"):
            list_shards(str(url))


@pytest.mark.parametrize(
    "name",
    [
        *("a,b.jsonl", "a|b.jsonl", "a\tb.jsonl", "a...jsonl", "x::y.jsonl", "d,e/a.txt"),
        *("a\x1b[2J.jsonl", "a\x9b2J.jsonl", "a\u202elnosj.txt", "a\u2028b.txt"),
    ],
)
def test_refuses_names_that_cannot_be_partition_keys(tmp_path, name):
    make(tmp_path, name)
    with pytest.raises(ValueError, match="cannot be a partition key") as refused:
        list_shards(str(tmp_path))
    assert str(refused.value).isprintable()


def test_refuses_two_files_of_one_key(tmp_path):
    make(tmp_path, "a.jsonl", "a.jsonl.gz")
    with pytest.raises(ValueError, match=r"a\.jsonl.*a\.jsonl\.gz.*same partition key 'a\.jsonl'"):
        list_shards(str(tmp_path))


def test_a_single_file_of_another_format_is_an_error(tmp_path):
    make(tmp_path, "a.csv")
    with pytest.raises(ValueError, match=r"a\.csv is no corpus file"):
        list_shards(str(tmp_path / "a.csv"))


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("d/a.jsonl.gz", ("d/a.jsonl", "jsonl", ".gz")),
        ("a.b.txt", ("a.b.txt", "text", "")),
        ("a.parquet", ("a.parquet", "parquet", "")),
        ("d.JSONL", ("d.JSONL", "jsonl", "")),
        ("d.Jsonl.GZ", ("d.Jsonl", "jsonl", ".gz")),
        ("a.ndjson.bz2", ("a.ndjson", "jsonl", ".bz2")),
        ("a.json.xz", ("a.json", "json", ".xz")),
        ("a.csv.zst", ("a.csv", "csv", ".zst")),
        ("a.TSV", ("a.TSV", "tsv", "")),
        ("data-00000-of-00001.arrow", ("data-00000-of-00001.arrow", "arrow", "")),
        ("a.feather", ("a.feather", "arrow", "")),
    ],
)
def test_split_suffixes(name, split):
    assert split_suffixes(name) == split


@pytest.mark.parametrize(
    "name", ["a", "a.gz", "a.parquet.gz", "a.arrow.zst", "a.warc.gz", "a.jsonl.zip", "gz"]
)
def test_other_suffixes_are_no_corpus_file(name):
    with pytest.raises(ValueError, match="is no corpus file"):
        split_suffixes(name)


def test_digest_follows_the_content_and_not_the_date(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * 3_000_000)
    first = digest(str(path))
    assert first == hashlib.sha256(b"x" * 3_000_000).hexdigest()
    os.utime(path, (1, 1))
    assert digest(str(path)) == first
    path.write_bytes(b"y")
    assert digest(str(path)) != first
