import errno
import hashlib
import os
import socket
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from curation_assets.corpus.discover import ShardFile, digest, find_files, open_file, split_suffixes
from curation_assets.corpus.names import visible
from curation_assets.corpus.walk import IncompleteListing
from curation_assets_tests.corpus.shut_folders import unlistable


def list_shards(url: str, **options: Any) -> list[ShardFile]:
    return find_files(url, **options).files


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


def test_suffixes_count_in_any_case_and_compressions_are_no_part_of_the_key(tmp_path):
    make(tmp_path, "a.JSONL", "b.Jsonl.GZ", "c.csv.BZ2", "d.tsv.xz", "e.ARROW", "f.Txt.Zst")
    assert keys(tmp_path) == ["a.JSONL", "b.Jsonl", "c.csv", "d.tsv", "e.ARROW", "f.Txt"]


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


ODD = [
    *(b"a,b.jsonl", b"a|b.jsonl", b"a\tb.jsonl", b"a...jsonl", b"x::y.jsonl", b"d,e/a.jsonl", b"a\nb.jsonl"),
    *(b"a\x1b[2J.jsonl", "a\x9b2J.jsonl".encode(), "a\u202elnosj.jsonl".encode(), "a\u2028b.jsonl".encode()),
    *(b"caf\xe9.jsonl", b" a.jsonl", b"a.jsonl ", b"a.jsonl\n", b"100%.jsonl", b"a%2Cb.jsonl", b"?#*&.jsonl"),
    *(b"memory://a.jsonl", b"~/a.jsonl", b"-rf.jsonl", b"\\.jsonl", b"[a].jsonl", b"x" * 240 + b".jsonl"),
    *(
        "\U0001f3f3\ufe0f\u200d\U0001f308.jsonl".encode(),
        b"%.jsonl",
        b"'\".jsonl",
        b"{a}.jsonl",
        b"$HOME.jsonl",
    ),
]


@pytest.mark.parametrize("name", ODD, ids=repr)
def test_any_name_is_listed_and_its_file_opened(tmp_path, name):
    path = Path(tmp_path, os.fsdecode(name))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"content of " + name)
    make(tmp_path, "plain.jsonl")
    found = {shard.key: shard for shard in list_shards(str(tmp_path))}
    assert len(found) == 2 and found.pop("plain.jsonl")
    ((key, shard),) = found.items()
    assert key == visible(key) and shard.url.encode() and split_suffixes(key)[1] == "jsonl"
    assert split_suffixes(shard.url)[1] == "jsonl"
    with open_file(shard.url) as file:
        assert file.read() == b"content of " + name
    assert digest(shard.url) == hashlib.sha256(b"content of " + name).hexdigest()


def test_odd_names_of_a_corpus_folder_and_of_single_files(tmp_path):
    make(tmp_path, "a::b [1], c/x,y.jsonl")
    assert keys(tmp_path / "a::b [1], c") == ["x%2Cy.jsonl"]
    assert keys(tmp_path / "a::b [1], c/x,y.jsonl") == ["x%2Cy.jsonl"]
    assert keys(tmp_path / "a::b [1], c/*.jsonl") == ["x%2Cy.jsonl"]
    assert keys(f"file://{tmp_path}/a::b [1], c") == ["x%2Cy.jsonl"]


def test_files_that_differ_in_their_compression_are_both_read_and_told_of(tmp_path):
    make(tmp_path, "a.jsonl", "a.jsonl.gz", "b.txt.gz", "b.txt.xz", "c.csv.gz", "d/a.jsonl.zst")
    found = find_files(str(tmp_path))
    assert [f.key for f in found.files] == [
        *("a.jsonl", "a.jsonl.gz", "b.txt.gz", "b.txt.xz", "c.csv", "d/a.jsonl")
    ]
    assert found.alike == [["a.jsonl", "a.jsonl.gz"], ["b.txt.gz", "b.txt.xz"]]
    assert [split_suffixes(f.key)[2] for f in found.files[:2]] == ["", ".gz"]


def test_a_single_file_of_another_format_is_an_error(tmp_path):
    make(tmp_path, "a.warc.gz", "_b.jsonl")
    with pytest.raises(ValueError, match=r"a\.warc\.gz is no corpus file \(\.warc\.gz: a web archive"):
        list_shards(str(tmp_path / "a.warc.gz"))
    assert keys(tmp_path / "_b.jsonl") == ["_b.jsonl"], "asked for by name"


# ---- links


def test_links_to_files_and_folders_are_followed_by_folder_and_by_glob(tmp_path):
    make(tmp_path, "corpus/real.jsonl", "blobs/abc", "other/deep/x.jsonl", "other/y.txt")
    (tmp_path / "corpus/linked.jsonl").symlink_to("../blobs/abc")
    (tmp_path / "corpus/again.jsonl").symlink_to("linked.jsonl")
    (tmp_path / "corpus/sub").symlink_to("../other")
    (tmp_path / "way").symlink_to("corpus")
    files = ["again.jsonl", "linked.jsonl", "real.jsonl"]
    assert keys(tmp_path / "corpus") == [*files, "sub/deep/x.jsonl", "sub/y.txt"]
    assert keys(tmp_path / "corpus/*.jsonl") == files
    assert keys(tmp_path / "corpus/**/*.jsonl") == [*files, "sub/deep/x.jsonl"]
    assert keys(tmp_path / "corpus/*/*.txt") == ["sub/y.txt"]
    assert keys(tmp_path / "w*/real.jsonl") == ["way/real.jsonl"]
    (linked,) = [f for f in list_shards(str(tmp_path / "corpus")) if f.key == "linked.jsonl"]
    assert linked.size == len("blobs/abc") and digest(linked.url) == hashlib.sha256(b"blobs/abc").hexdigest()


def test_loops_of_links_end_and_dead_links_are_passed_over(tmp_path):
    make(tmp_path, "c/a/x.jsonl", "c/b/y.jsonl", "z.jsonl")
    for place, target in {
        **{"c/self": ".", "c/a/up": "..", "c/a/to-b": "../b", "c/b/to-a": "../a", "c/out": ".."},
        **{"c/round.jsonl": "round.jsonl", "c/gone.jsonl": "/nowhere/x", "c/through.txt": "z.jsonl/x"},
    }.items():
        (tmp_path / place).symlink_to(target)
    found = find_files(str(tmp_path / "c"))
    assert [f.key for f in found.files] == [
        *("a/to-b/y.jsonl", "a/x.jsonl", "b/to-a/x.jsonl", "b/y.jsonl", "out/z.jsonl")
    ]
    why = dict(found.passed_over)
    for name in ("self/", "a/up/", "a/to-b/to-a/", "out/c/"):
        assert why[name] == "a link that leads back to a folder that it is in"
    assert why["round.jsonl"] == "a link that leads back to itself"
    assert why["gone.jsonl"] == why["through.txt"] == "a broken link: nothing is where it leads"


def test_links_that_multiply_are_an_error_and_no_endless_walk(tmp_path, monkeypatch):
    monkeypatch.setattr("curation_assets.corpus.walk._LINKED_FOLDERS", 500)
    names = [f"f{number}" for number in range(9)]
    for name in names:
        (tmp_path / name).mkdir()
        for other in names:
            (tmp_path / name / other).symlink_to(f"../{other}")
    with pytest.raises(ValueError, match="they lead to one another"):
        list_shards(str(tmp_path))


def test_a_link_that_leads_elsewhere_is_another_file_even_of_equal_size_and_time(tmp_path):
    make(tmp_path, "v1/a.jsonl", "v2/a.jsonl", "v1/deep/b.txt", "v2/deep/b.txt")
    for path in (p for p in tmp_path.rglob("*") if p.is_file()):
        os.utime(path, (1e9, 1e9))
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    seen = []
    for version in ("v1", "v2"):
        for name, target in (("a.jsonl", f"../{version}/a.jsonl"), ("deep", f"../{version}/deep")):
            (corpus / name).unlink(missing_ok=True)
            (corpus / name).symlink_to(target)
        seen.append(list_shards(str(corpus)))
    assert [f.key for f in seen[0]] == [f.key for f in seen[1]] == ["a.jsonl", "deep/b.txt"]
    assert [f.mtime for f in seen[0]] == [f.mtime for f in seen[1]]
    assert all(before != after for before, after in zip(*seen, strict=True))


# ---- what cannot be listed, and what is no file


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.ENOENT])
@pytest.mark.parametrize("url", ["", "/**/*.jsonl", "/*/*.jsonl", "/part*/**"])
def test_a_folder_that_cannot_be_listed_is_an_error_that_names_it(tmp_path, number, url):
    make(tmp_path, "a.jsonl", "part2/b.jsonl", "part2/c.jsonl")
    with (
        unlistable(tmp_path / "part2", number),
        pytest.raises(
            IncompleteListing, match=f"part2 cannot be looked at .{os.strerror(number)}.*stays as it was"
        ),
    ):
        list_shards(f"{tmp_path}{url}")


def test_folders_that_do_not_count_need_not_be_listed(tmp_path):
    make(tmp_path, "a.jsonl", "lost+found/b.jsonl", "en/c.jsonl", "de/d.jsonl")
    with unlistable(tmp_path / "lost+found"):
        assert keys(tmp_path) == ["a.jsonl", "de/d.jsonl", "en/c.jsonl"]
    with unlistable(tmp_path / "de"):
        assert keys(tmp_path / "*.jsonl") == ["a.jsonl"]
        assert keys(tmp_path / "e*/*.jsonl") == ["en/c.jsonl"]


class HalfShut(MemoryFileSystem):
    """A store that lists folder by folder, and refuses one of them."""

    protocol = "halfshut"
    find = fsspec.AbstractFileSystem.find

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix(f"{cls.protocol}:/"))

    def ls(self, path, detail=True, **kwargs):
        if path.endswith("shut"):
            raise PermissionError(errno.EACCES, "not yours", path)
        return super().ls(path, detail, **kwargs)


class Whole(HalfShut):
    """A store that lists a whole tree in one go, and fails."""

    protocol = "whole"

    def find(self, path, maxdepth=None, withdirs=False, detail=False, **kwargs):
        raise OSError(errno.EIO, "a page of the listing failed")


@pytest.mark.parametrize(
    ("scheme", "why"), [("halfshut", "not yours"), ("whole", "a page of the listing failed")]
)
def test_a_store_that_cannot_list_a_folder_is_an_error_too(scheme, why):
    for kind in (HalfShut, Whole):
        fsspec.register_implementation(kind.protocol, kind, clobber=True)
    fs = fsspec.filesystem(scheme)
    for name in ("a.jsonl", "open/b.jsonl", "open/x,y.jsonl", "shut/c.jsonl"):
        fs.pipe(f"/half/{name}", b"x")
    try:
        for url in (f"{scheme}://half", f"{scheme}://half/**/*.jsonl"):
            with pytest.raises(IncompleteListing, match=why):
                list_shards(url)
        assert keys(f"{scheme}://half/o*/*.jsonl") == ["open/b.jsonl", "open/x%2Cy.jsonl"]
        assert keys(f"{scheme}://half/*.jsonl") == ["a.jsonl"]
        (odd,) = list_shards(f"{scheme}://half/open/x*")
        assert digest(odd.url) == hashlib.sha256(b"x").hexdigest()
    finally:
        fsspec.filesystem("memory").rm("/half", recursive=True)


class Marked(HalfShut):
    """A store that keeps objects that stand for folders."""

    protocol = "marked"

    def find(self, path, maxdepth=None, withdirs=False, detail=False, **kwargs):
        names = ("", "part/", "part/a.jsonl")
        return {f"{path}/{name}": {"type": "file", "size": len(name)} for name in names}


def test_objects_that_stand_for_folders_are_no_files():
    fsspec.register_implementation("marked", Marked, clobber=True)
    fsspec.filesystem("marked").mkdir("/marked")
    found = find_files("marked://marked")
    assert [f.key for f in found.files] == ["part/a.jsonl"]
    assert not found.passed_over and not found.ignored


def test_pipes_and_sockets_are_passed_over_and_never_waited_for(tmp_path):
    make(tmp_path, "a.jsonl")
    os.mkfifo(tmp_path / "b.jsonl")
    (tmp_path / "c.jsonl").symlink_to("b.jsonl")
    (tmp_path / "n.jsonl").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "d.jsonl"))
        found = find_files(str(tmp_path))
    assert [f.key for f in found.files] == ["a.jsonl"]
    assert dict(found.passed_over) == {
        **{"b.jsonl": "a named pipe, no file", "c.jsonl": "a named pipe, no file"},
        **{"d.jsonl": "a socket, no file", "n.jsonl": "a device, no file"},
    }
    with pytest.raises(ValueError, match=r"b\.jsonl is a named pipe, no file"):
        list_shards(str(tmp_path / "b.jsonl"))


def test_a_file_that_became_a_pipe_or_a_folder_since_the_listing_is_an_error(tmp_path):
    make(tmp_path, "a.jsonl", "b.jsonl")
    pipe, folder = list_shards(str(tmp_path))
    (tmp_path / "a.jsonl").unlink()
    (tmp_path / "b.jsonl").unlink()
    os.mkfifo(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").mkdir()
    with pytest.raises(OSError, match="a named pipe, no file"):
        digest(pipe.url)
    with pytest.raises(OSError, match="a folder, no file"):
        digest(folder.url)


def test_a_folder_that_a_glob_matches_but_does_not_enter_is_told_of(tmp_path):
    make(tmp_path, "a.jsonl", "deep/b.jsonl")
    found = find_files(f"{tmp_path}/*")
    assert [f.key for f in found.files] == ["a.jsonl"]
    assert [name for name, _ in found.passed_over] == ["deep/"]


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
