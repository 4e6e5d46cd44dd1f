import pytest

from curation_assets.corpus.discover import find_files
from curation_assets.corpus.skipped_files import grouped
from curation_assets_tests.corpus.test_discover import make


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("crawl.warc.gz", ".warc.gz: a web archive"),
        ("crawl.WARC", ".warc: a web archive"),
        ("all.tar.gz", ".tar.gz: an archive"),
        ("all.tgz", ".tgz: an archive"),
        ("all.zip", ".zip: an archive"),
        ("book.pdf", ".pdf: not read: extract its text"),
        ("page.html.gz", ".html.gz: not read: extract its text"),
        ("a.jsonl.lz4", ".lz4: a compression that is not read"),
        ("a.parquet.gz", ".parquet.gz: compressed as a whole"),
        ("a.gz", ".gz: the name does not say what is in it"),
        ("notes.md", ".md: not read: plain text is"),
        ("model.bin", ".bin: no format that is read"),
        ("blob", "no suffix"),
        ("Mr. Smith goes to town", "no suffix"),
        ("_intro.jsonl", 'a name that begins with "_"'),
        ("_posts/a.txt", 'a name that begins with "_"'),
    ],
)
def test_what_may_be_meant_as_data_is_listed_with_the_reason(tmp_path, name, reason):
    make(tmp_path, name, "ok.jsonl")
    found = find_files(str(tmp_path))
    ((passed, why),) = found.passed_over
    assert name.startswith(passed) and why.startswith(reason)
    assert [f.key for f in found.files] == ["ok.jsonl"] and not found.ignored


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (
            "hidden",
            (".DS_Store", ".a.jsonl", ".git/config", ".part-0.jsonl.crc", "b/.ipynb_checkpoints/a.txt"),
        ),
        ("unfinished", ("a.jsonl.tmp", "a.jsonl.part", "a.parquet.crdownload", "a.jsonl~", "a.gz.PARTIAL")),
        ("bookkeeping", ("_SUCCESS", "_metadata", "_common_metadata", "_temporary/0/a.jsonl", "a.crc")),
        ("bookkeeping", ("README", "README.md", "LICENSE", "LICENCE.md", "SHA256SUMS", "a.parquet.md5")),
        ("bookkeeping", ("_delta_log/0.json", "lost+found/a.txt", "__MACOSX/a.jsonl", "_started_123")),
        ("bookkeeping", ("d/dataset_info.json", "d/state.json", "d/cache-0123456789abcdef.arrow")),
    ],
)
def test_what_nobody_means_as_data_is_only_counted(tmp_path, kind, names):
    make(tmp_path, "ok.jsonl", *names)
    found = find_files(str(tmp_path))
    assert [f.key for f in found.files] == ["ok.jsonl"]
    assert found.ignored == {kind: len(names)} and found.passed_over == []


def test_a_state_json_of_ones_own_is_read(tmp_path):
    make(tmp_path, "state.json", "README.txt")
    assert [f.key for f in find_files(str(tmp_path)).files] == ["README.txt", "state.json"]


def test_reasons_are_told_once_each_the_most_frequent_first():
    rows = [{"file": f"{n}.pdf", "reason": "no"} for n in range(5)] + [{"file": "x", "reason": "why"}]
    assert grouped([rows[-1], *rows[:-1]]) == [("0.pdf, 1.pdf, 2.pdf and 2 more", "no"), ("x", "why")]
