"""`curation export --push` and `curation tokenize`: from a choice to a dataset on the hub, and to a trainer's token files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from curation_assets.cli.exports import storage_options
from curation_assets.cli.main import main
from curation_assets.config.profile import load_profile
from curation_assets.corpus.reading import open_documents
from curation_assets.corpus.tokens import read_tokens
from curation_assets.selection.export import documents as row_groups
from curation_assets_tests.selection.export.hub_server import TOKEN, hub_server
from curation_assets_tests.selection.export.test_export import Corpus, read
from curation_assets_tests.selection.export.test_token_files import gpt, read_megatron

EXPORT = ["export", "random/subset", "--partition", "60", "--shard-size", "6KB"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    """A corpus of odd files, and a subset of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_groups, "ROW_GROUP", 16)
        yield Corpus(tmp_path_factory.mktemp("odd"), patch)


@pytest.fixture(autouse=True)
def _profile(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURATION_DATA", str(corpus.home / "data"))
    monkeypatch.setenv("CURATION_PROFILE", str(corpus.home / "tiny.toml"))
    monkeypatch.chdir(tmp_path)


def test_a_store_of_one_of_several_sources_is_known(tmp_path: Path) -> None:
    sources = '[corpus.sources.a]\nurl = "a"\n[corpus.sources.b]\nurl = "s3://bucket/b"\n'
    options = '[corpus]\nstorage_options = { endpoint_url = "http://127.0.0.1:9" }\n'
    (tmp_path / "mix.toml").write_text(options + sources, "utf-8")
    profile = load_profile(tmp_path / "mix.toml")
    assert storage_options(profile, "s3://other/chosen") == {"endpoint_url": "http://127.0.0.1:9"}
    assert storage_options(profile, "gs://other/chosen") == storage_options(profile, "chosen") == {}


def test_what_is_exported_is_pushed(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By one command, which does it again at no cost; the licence may be said afterwards."""
    with hub_server() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        assert main([*EXPORT, "--to", "chosen", "--push", "ann/chosen"]) == 0
        assert capsys.readouterr().out.endswith(f"pushed to {hub.url}/datasets/ann/chosen\n")
        here = {
            path.relative_to("chosen").as_posix(): path.read_bytes()
            for path in Path("chosen").rglob("*")
            if path.is_file()
        }
        assert len(here) > 3
        assert hub.branches["ann/chosen", "main"] == {".gitattributes": b"", **here}
        profile = Path("licensed.toml")
        profile.write_text(
            f'name = "tiny"\nextends = "{corpus.home}/tiny.toml"\n[export]\nlicense = "cc-by-4.0"\n'
        )
        again = ["--profile", str(profile), *EXPORT, "--to", "chosen", "--push", "ann/chosen"]
        assert main(again) == 0
        pushed = hub.branches["ann/chosen", "main"]
        assert pushed["README.md"] == here["README.md"].replace(b"license: unknown", b"license: cc-by-4.0")
        assert {name: pushed[name] for name in here if name != "README.md"} == {
            name: content for name, content in here.items() if name != "README.md"
        }


def test_who_may_not_push_hears_it_before_anything_is_written(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An export may take hours."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with hub_server() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        assert main([*EXPORT, "--to", "chosen", "--push", "ann/chosen"]) == 1
    assert "nobody is logged in to the hub: log in (hf auth login)" in capsys.readouterr().err
    assert not Path("chosen").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [*EXPORT, "--to", "chosen", "--push", "chosen"],
            "'chosen' is no dataset on the hub: expected ORG/NAME",
        ),
        ([*EXPORT, "--to", "memory://chosen", "--push", "ann/chosen"], "is no folder of this machine"),
        (["select", "random", "--keep", "20%", "--push", "ann/chosen"], "--push uploads what --to writes"),
        (
            ["tokenize", "chosen", "--to", "tokens"],
            "chosen has no manifest.json: no export was finished there",
        ),
    ],
)
def test_what_cannot_be_is_one_line_and_writes_nothing(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    told = capsys.readouterr()
    assert message in told.err and told.err.count("\n") == 1
    assert list(Path().iterdir()) == []


def test_the_corpus_tokenizer_gives_the_ids_of_the_corpus(
    corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of every chosen document those that the samplers have read, and its end; so counts are the manifest's."""
    assert main([*EXPORT, "--to", "chosen", "--normalized"]) == 0
    capsys.readouterr()
    assert main(["tokenize", "chosen", "--to", "tokens"]) == 0
    told = capsys.readouterr().out
    exported, tokens = (json.loads(Path(name, "manifest.json").read_text()) for name in ("chosen", "tokens"))
    assert tokens["documents"] == exported["rows"]
    assert tokens["tokens"] == exported["tokens"] + exported["rows"]
    prefixes = [Path(word) for word in told.splitlines()[-1].split()[1:]]
    assert told.splitlines()[-1].startswith("--data-path ") and len(prefixes) == len(exported["files"]) > 1
    assert "the corpus's tokenizer counts" not in told
    documents = [ids for prefix in prefixes for ids in read_megatron(prefix)]
    for row, ids in zip(read(Path("chosen"), exported), documents, strict=True):
        assert len(ids) == row["n_tokens"] + 1
    known = {}
    for shard in corpus.workspace.shards():
        ids, offsets = read_tokens(corpus.workspace.open("corpus/tokens", shard), "documents")
        for number, doc_id in enumerate(_ids(corpus, shard)):
            known[shard, doc_id] = ids[offsets[number] : offsets[number + 1]]
    for row, ids in zip(read(Path("chosen"), exported), documents, strict=True):
        assert np.array_equal(ids[:-1], known[row["source_file"], row["id"]])


def _ids(corpus: Corpus, shard: str) -> list[str]:
    found: list[str] = pq.read_table(open_documents(corpus.workspace, shard), columns=["doc_id"])[
        "doc_id"
    ].to_pylist()
    return found


def test_a_given_tokenizer_says_what_it_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside what the export counts; its source may be any that a profile takes."""
    source = gpt(tmp_path / "gpt")
    assert main([*EXPORT, "--to", "chosen"]) == 0
    assert main(["tokenize", "chosen", "--to", "tokens", "--tokenizer", source]) == 1
    assert "name it by --end" in capsys.readouterr().err
    end = ["--end", "<|endoftext|>", "--for", "nanotron"]
    assert main(["tokenize", "chosen", "--to", "tokens", "--tokenizer", source, *end]) == 0
    told = capsys.readouterr().out
    rows = read(Path("chosen"), json.loads(Path("chosen/manifest.json").read_text()))
    count = sum(len(row["text"].encode()) for row in rows)
    assert (
        f"{len(rows):,} documents with {count + len(rows):,} tokens, of which {len(rows):,} end one" in told
    )
    assert f"this one {count:,}" in told
