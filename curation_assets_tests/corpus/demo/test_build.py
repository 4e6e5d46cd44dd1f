import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import curation_assets
from curation_assets.config.settings import DocumentSettings
from curation_assets.corpus.demo import build as builtin
from curation_assets.corpus.demo.build import BuiltinSettings, build, split_text
from curation_assets.corpus.discover import find_files
from curation_assets.corpus.documents import parse_shard, write_documents
from curation_assets.corpus.tokens import read_tokens, write_tokens
from curation_assets.models.tokenizer import train_tokenizer

if not (find_spec("gensim") and find_spec("mwparserfromhell")):
    pytest.skip("needs the extra `local`", allow_module_level=True)

TINY = BuiltinSettings(
    documents=(("docstring", 30), ("readme", 6), ("license", 4), ("wikipedia", 20)),
    shards=3,
    articles=8,
    hq_article_share=0.4,
    hq_wikipedia=5,
    packages=("click", "numpy", "requests", "no-such-package"),
)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(tmp_path_factory.mktemp("builtin"), TINY)


def read(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def corpus(built):
    return [one for path in sorted(built.shards.iterdir()) for one in read(path)]


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()
    }


def build_again(folder):
    """Build the tiny corpus; what the other process runs."""
    build(folder, TINY)


def test_has_what_was_asked_for(built):
    assert built.fresh
    documents = corpus(built)
    assert {path.name for path in built.shards.iterdir()} == {
        "shard-0.jsonl",
        "shard-1.jsonl",
        "shard-2.jsonl",
    }
    counted = {source: one["documents"] for source, one in built.counts["corpus"].items()}
    assert counted == {"docstring": 30, "readme": 6, "license": 4, "wikipedia": 20}
    assert len(documents) == 60
    assert all(set(one) == {"id", "text", "source", "url"} for one in documents)
    assert all(TINY.min_chars <= len(one["text"]) <= TINY.max_chars for one in documents)
    sizes = [len(read(path)) for path in built.shards.iterdir()]
    assert max(sizes) - min(sizes) <= 1


def test_no_article_is_in_both_sets(built):
    hq = read(built.hq_validation)
    assert {one["source"] for one in hq} == {"wikipedia", "news"}
    assert sum(one["source"] == "wikipedia" for one in hq) == 5
    assert sum(one["source"] == "news" for one in hq) > 250
    trained_on = {one["url"] for one in corpus(built) if one["source"] == "wikipedia"}
    assert trained_on
    assert not trained_on & {one["url"] for one in hq}


def test_packages_share_the_room(built):
    of = [one["id"].split(":")[0] for one in corpus(built) if one["source"] == "docstring"]
    assert [of.count(name) for name in ("click", "numpy", "requests")] == [10, 10, 10]


@pytest.mark.process
def test_is_the_same_in_another_process_with_another_hash_seed(built, tmp_path):
    code = f"from curation_assets_tests.corpus.demo.test_build import build_again; build_again({str(tmp_path)!r})"
    root = Path(curation_assets.__file__).parents[1]
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, env=environment)
    assert contents(tmp_path) == contents(built.shards.parent)


@pytest.mark.slow
def test_a_finished_build_is_kept_and_a_half_build_is_done_again(tmp_path, monkeypatch):
    tiny = BuiltinSettings(documents=(("readme", 4),), shards=2, articles=1, packages=("click", "requests"))
    first = build(tmp_path, tiny)
    truth = contents(tmp_path)
    (first.shards / "shard-0.jsonl").write_text("changed by a user")
    (first.shards / "mine.jsonl").write_text("added by a user")
    kept = build(tmp_path, tiny)
    assert not kept.fresh
    assert kept.counts == first.counts
    assert (first.shards / "shard-0.jsonl").read_text() == "changed by a user"

    fewer = BuiltinSettings(documents=(("readme", 2),), shards=1, articles=1, packages=("click", "requests"))
    assert build(tmp_path, fewer).fresh
    assert {path.name for path in first.shards.iterdir()} == {"shard-0.jsonl", "mine.jsonl"}

    def stop(path, documents):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(builtin, "_write", stop)
        build(tmp_path, tiny)
    assert build(tmp_path, tiny).fresh
    (first.shards / "mine.jsonl").unlink()
    assert contents(tmp_path) == truth


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(builtin.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"needs gensim .*pip install 'curation-assets\[local\]'"):
        build(tmp_path, TINY)


def test_goes_through_the_whole_stage(built, tmp_path):
    options = DocumentSettings(keep_fields=("source", "url"), validation_share=0.1)
    texts = []
    for shard in find_files(str(built.shards)).files:
        folder = tmp_path / shard.key
        folder.mkdir()
        counts = write_documents(shard.url, options, folder, file=shard.key)
        assert counts.quarantined == 0
        texts += [t for batch in parse_shard(shard.url, options) for t in batch.documents["text"].to_pylist()]
    tokenizer = train_tokenizer(texts, 800, tmp_path)
    assert write_tokens([texts[:20], texts[20:]], tokenizer, tmp_path, "documents")[0] == len(texts)
    ids, offsets = read_tokens(tmp_path, "documents")
    for at, text in enumerate(texts):
        mine = ids[offsets[at] : offsets[at + 1]]
        assert mine.tolist() == tokenizer.encode_batch([text])[0].tolist()
        assert 2 not in mine


words = st.text(st.sampled_from("abc.!? \n"), max_size=200)


@given(words, st.integers(3, 40))
@settings(max_examples=200, deadline=None)
def test_split_pieces_fit_and_lose_only_white_space_and_unbroken_strings(text, limit):
    pieces = split_text(text, limit)
    assert all(len(piece) <= limit for piece in pieces)
    solid = [word for piece in pieces for word in piece.split()]
    # A sentence's end is a break too, so a word may stand in two pieces only where it is longer than the limit.
    assert solid == [word for word in text.split() if len(word) <= limit]


def test_splits_between_paragraphs_first():
    first, second, third = "a" * 30, "b " * 20 + "b", "c. " * 12 + "c"
    assert split_text(f"{first}\n\n{second}\n\n\n{third}", 75) == [f"{first}\n\n{second}", third]
    assert split_text("one two\nthree\n\nfour", 8) == ["one two", "three", "four"]
    assert split_text("One is. Two is. Three.", 15) == ["One is. Two is.", "Three."]
    assert split_text("short", 10) == ["short"]
