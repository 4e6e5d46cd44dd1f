"""Token files: what each trainer's own reader gives is what the tokenizer gives for each text, and an end behind it."""

from __future__ import annotations

import shutil
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.models.tokenizer import load_tokenizer, train_tokenizer
from curation_assets.selection.export import token_files
from curation_assets.selection.export.document_tokenizer import DocumentTokenizer, tokenizer_of_source
from curation_assets.selection.export.exported import open_export
from curation_assets.selection.export.token_files import write_token_files
from curation_assets_tests.selection.export.written import rows, write_export


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> DocumentTokenizer:
    """A tokenizer of the corpus's kind, named by its folder."""
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer([row["text"] for row in rows(300)], 512, folder)
    return tokenizer_of_source(f"path:{folder}", folder)


def gpt(folder: Path, vocabulary: int = 0, **options: Any) -> str:
    """Save a byte-level BPE tokenizer with an end of its own, that pads and cuts off; return its source."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*letters, *(f"unused{number}" for number in range(vocabulary))]
    made = Tokenizer(models.BPE({piece: number for number, piece in enumerate(pieces)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken("<|endoftext|>", special=True), AddedToken("<pad>", special=True)])
    made.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", made.token_to_id("<|endoftext|>"))]
    )
    made.enable_truncation(8)
    made.enable_padding(length=8, pad_token="<pad>", pad_id=made.token_to_id("<pad>"))
    PreTrainedTokenizerFast(tokenizer_object=made, **options).save_pretrained(folder)
    return f"path:{folder}"


def read_megatron(prefix: Path) -> list[np.ndarray]:
    """Read a `.bin` and its `.idx` as Megatron-LM describes them (megatron/core/datasets/indexed_dataset.py)."""
    index = prefix.with_suffix(".idx").read_bytes()
    assert index[:9] == b"MMIDIDX\x00\x00"
    version, code, sequences, documents = struct.unpack("<QBQQ", index[9:34])
    assert version == 1
    dtype = {4: np.int32, 8: np.uint16}[code]
    lengths, pointers, ends = np.split(np.frombuffer(index[34:], np.int32), [sequences, 3 * sequences])
    pointers, ends = pointers.view(np.int64), ends.view(np.int64)
    assert len(ends) == documents == sequences + 1
    assert ends.tolist() == list(range(sequences + 1))
    content = prefix.with_suffix(".bin").read_bytes()
    assert len(content) == lengths.sum() * np.dtype(dtype).itemsize
    return [
        np.frombuffer(content, dtype, length, pointer)
        for length, pointer in zip(lengths, pointers, strict=True)
    ]


def read_nanotron(prefix: Path, dtype: type) -> list[np.ndarray]:
    """Read a `.ds` and its index of where documents end."""
    ends = np.frombuffer(prefix.with_suffix(".ds.index").read_bytes(), np.uint64).astype(np.int64)
    ids = np.frombuffer(prefix.with_suffix(".ds").read_bytes(), dtype)
    assert len(ids) == ends[-1]
    return np.split(ids, ends[:-1])


def _expected(texts: list[str], tokenizer: DocumentTokenizer) -> list[list[int]]:
    return [[*ids.tolist(), tokenizer.end_id] for ids in tokenizer.encode(texts)]


@pytest.mark.parametrize("kind", ["parquet", "jsonl.zst"])
@pytest.mark.parametrize("trainer", ["megatron", "nanotron"])
def test_files_hold_each_document_and_its_end(
    tmp_path: Path, t5: DocumentTokenizer, kind: Any, trainer: Any
) -> None:
    """In the order of the export; counts and digests are the manifest's."""
    written = write_export(tmp_path / "out", kind=kind)
    manifest = write_token_files(open_export(str(tmp_path / "out")), t5, tmp_path / "tokens", trainer)
    parts = [tmp_path / "tokens" / file["part"] for file in manifest["files"]]
    assert [part.name for part in parts] == ["part-00000", "part-00001", "part-00002"]
    read = [
        ids
        for part in parts
        for ids in (read_megatron(part) if trainer == "megatron" else read_nanotron(part, np.uint16))
    ]
    assert [ids.tolist() for ids in read] == _expected([row["text"] for row in written], t5)
    assert manifest["documents"] == len(written)
    assert manifest["tokens"] == sum(map(len, read))
    named = {name for file in manifest["files"] for name in file["sha256"]}
    assert {path.name for path in (tmp_path / "tokens").iterdir()} == {*named, "manifest.json"}


def test_a_special_token_in_a_text_ends_nothing(tmp_path: Path, t5: DocumentTokenizer) -> None:
    """Each document has one end, at its end, whatever it quotes."""
    write_export(tmp_path / "out", texts=["a </s> b</s>", "</s>"])
    manifest = write_token_files(open_export(str(tmp_path / "out")), t5, tmp_path / "tokens")
    for file in manifest["files"]:
        for ids in read_megatron(tmp_path / "tokens" / file["part"]):
            assert np.flatnonzero(ids == t5.end_id).tolist() == [len(ids) - 1]


def test_a_given_tokenizer_neither_cuts_nor_pads_nor_begins_documents(tmp_path: Path) -> None:
    """However it is set up: the ids are those of the bytes, and its own end."""
    source = gpt(tmp_path / "gpt", eos_token="<|endoftext|>")
    tokenizer = tokenizer_of_source(source, tmp_path)
    written = write_export(tmp_path / "out")
    write_token_files(open_export(str(tmp_path / "out")), tokenizer, tmp_path / "tokens")
    read = read_megatron(tmp_path / "tokens" / "part-00000")
    assert [len(ids) for ids in read] == [len(row["text"].encode()) + 1 for row in written[:10]]
    assert {int(ids[-1]) for ids in read} == {256}


def test_ids_beyond_two_bytes_take_four(tmp_path: Path) -> None:
    """As both readers expect them of such a tokenizer."""
    tokenizer = tokenizer_of_source(gpt(tmp_path / "gpt", 1 << 16, eos_token="<|endoftext|>"), tmp_path)
    write_export(tmp_path / "out")
    for trainer in ("megatron", "nanotron"):
        made = write_token_files(open_export(str(tmp_path / "out")), tokenizer, tmp_path / trainer, trainer)  # type: ignore[arg-type]
        assert made["dtype"] == "int32"
    assert read_megatron(tmp_path / "megatron" / "part-00002")[-1][-1] == tokenizer.end_id > 1 << 16
    assert read_nanotron(tmp_path / "nanotron" / "part-00002", np.uint32)[-1][-1] == tokenizer.end_id


def test_a_tokenizer_without_an_end_is_refused(tmp_path: Path) -> None:
    """Unless one is named that it has."""
    source = gpt(tmp_path / "gpt")
    with pytest.raises(ValueError, match="does not say which token ends a document: name it by --end"):
        tokenizer_of_source(source, tmp_path)
    with pytest.raises(ValueError, match="has no token '</s>'"):
        tokenizer_of_source(source, tmp_path, "</s>")
    assert tokenizer_of_source(source, tmp_path, "<|endoftext|>").end_id == 256
    with pytest.raises((ValueError, FileNotFoundError)):
        tokenizer_of_source(f"path:{tmp_path}/none", tmp_path)


def test_what_was_killed_goes_on_at_its_part(
    tmp_path: Path, t5: DocumentTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parts before it are not written again, and all is as if nothing had happened."""
    write_export(tmp_path / "out")
    exported, parts = open_export(str(tmp_path / "out")), []
    whole = write_token_files(exported, t5, tmp_path / "whole")
    original = token_files._write_part

    def write_part(texts: Any, tokenizer: Any, form: Any, target: Path, part: str) -> None:
        parts.append(part)
        original(texts, tokenizer, form, target, part)
        if parts == ["part-00000", "part-00001"]:
            (target / f"{part}.idx").unlink()  # killed between the names of the two files
            (target / ".tmp-draft").mkdir()
            (target / ".tmp-draft" / f"{part}.bin").write_bytes(b"half")
            raise KeyboardInterrupt

    monkeypatch.setattr(token_files, "_write_part", write_part)
    with pytest.raises(KeyboardInterrupt):
        write_token_files(exported, t5, tmp_path / "tokens")
    assert not (tmp_path / "tokens" / "manifest.json").exists()
    assert write_token_files(exported, t5, tmp_path / "tokens") == whole
    assert parts == ["part-00000", "part-00001", "part-00001", "part-00002"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "tokens").iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()
    }
    assert write_token_files(exported, t5, tmp_path / "tokens") == whole  # is there, and costs nothing
    assert len(parts) == 4


def test_killed_before_anything_was_noted_it_begins_anew(tmp_path: Path, t5: DocumentTokenizer) -> None:
    """What is left of the first note is no folder of somebody else's."""
    write_export(tmp_path / "out")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / ".tmp-.tmp-begun.json.0123abcd").write_text("{")
    write_token_files(open_export(str(tmp_path / "out")), t5, tmp_path / "tokens")
    assert not list((tmp_path / "tokens").glob(".tmp-*"))


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, t5: DocumentTokenizer) -> None:
    """Of another tokenizer or export, or of somebody's own."""
    write_export(tmp_path / "out")
    exported = open_export(str(tmp_path / "out"))
    write_token_files(exported, t5, tmp_path / "tokens")
    with pytest.raises(ValueError, match="of another export, tokenizer or trainer"):
        write_token_files(exported, t5, tmp_path / "tokens", "nanotron")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("")
    with pytest.raises(ValueError, match="is no empty folder"):
        write_token_files(exported, t5, tmp_path / "mine")


def test_what_is_not_whole_is_not_tokenized(tmp_path: Path, t5: DocumentTokenizer) -> None:
    """A file that changed since is named."""
    write_export(tmp_path / "out")
    shutil.copyfile(tmp_path / "out/data/part-00000.parquet", tmp_path / "out/data/part-00001.parquet")
    with pytest.raises(
        ValueError, match=r"data/part-00001.parquet is not the file that the manifest tells of"
    ):
        write_token_files(open_export(str(tmp_path / "out")), t5, tmp_path / "tokens")
    with pytest.raises(ValueError, match=r"has no manifest.json: no export was finished there"):
        open_export(str(tmp_path / "tokens"))


def test_datatrove_is_asked_for(
    tmp_path: Path, t5: DocumentTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is not installed, the extra that has it is named."""
    write_export(tmp_path / "out")
    monkeypatch.setitem(sys.modules, "datatrove.pipeline.tokens", None)
    with pytest.raises(ValueError, match=r"pip install 'curation-assets\[tokens\]'"):
        write_token_files(open_export(str(tmp_path / "out")), t5, tmp_path / "tokens")


def test_megatrons_reader_gives_the_documents(tmp_path: Path, t5: DocumentTokenizer) -> None:
    """Megatron's own, where megatron-core is installed."""
    indexed = pytest.importorskip("megatron.core.datasets.indexed_dataset")
    written = write_export(tmp_path / "out", files=1)
    write_token_files(open_export(str(tmp_path / "out")), t5, tmp_path / "tokens")
    dataset = indexed.IndexedDataset(str(tmp_path / "tokens" / "part-00000"))
    assert [ids.tolist() for ids in dataset] == _expected([row["text"] for row in written], t5)
    assert dataset.document_indices.tolist() == list(range(len(written) + 1))


def test_datatroves_reader_gives_the_stream(tmp_path: Path, t5: DocumentTokenizer) -> None:
    """Which is what nanotron trains on: windows of the documents one after another."""
    from datatrove.utils.dataset import DatatroveFolderDataset

    write_export(tmp_path / "out", files=1)
    write_token_files(open_export(str(tmp_path / "out")), t5, tmp_path / "tokens", "nanotron")
    stream = np.concatenate(read_nanotron(tmp_path / "tokens" / "part-00000", np.uint16))
    windows = DatatroveFolderDataset(
        str(tmp_path / "tokens"), seq_len=15, filename_pattern="*.ds", return_positions=True
    )
    assert len(windows) == len(stream) // 16
    read = np.concatenate([windows[number]["input_ids"].numpy() for number in range(len(windows))])
    assert np.array_equal(read, stream[: len(read)])


@settings(max_examples=20, deadline=None)
@given(
    texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), min_size=1, max_size=12)
)
def test_any_texts_come_back(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    """Byte for byte, by a tokenizer that loses nothing, in either format."""
    from tokenizers import Tokenizer

    folder = tmp_path_factory.mktemp("any")
    tokenizer = tokenizer_of_source(gpt(folder / "gpt", eos_token="<|endoftext|>"), folder)
    backend = Tokenizer.from_file(str(folder / "gpt" / "tokenizer.json"))
    for kind in ("parquet", "jsonl.zst"):
        write_export(folder / kind, len(texts), 1, kind, texts)  # type: ignore[arg-type]
        write_token_files(open_export(str(folder / kind)), tokenizer, folder / f"{kind}-tokens")
        read = read_megatron(folder / f"{kind}-tokens" / "part-00000")
        assert [backend.decode(ids[:-1].tolist(), skip_special_tokens=False) for ids in read] == texts


def test_the_corpus_tokenizer_counts_what_the_corpus_counts(t5: DocumentTokenizer) -> None:
    """A source that is a T5 tokenizer gives the ids that the corpus's tokens are."""
    own = load_tokenizer(t5.name.removeprefix("path:"))
    texts = [row["text"] for row in rows(50)]
    assert [ids.tolist() for ids in t5.encode(texts)] == [ids.tolist() for ids in own.encode_batch(texts)]
