"""Troubles of runs, and of what is asked afterwards."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from curation_assets.cli.main import main as cli
from curation_assets.common.progress import Progress, silent
from curation_assets.config.profile import load_profile
from curation_assets.corpus.build import documents
from curation_assets.engine.executors import Task
from curation_assets.engine.executors.inline import InlineExecutor
from curation_assets.engine.graph import STEPS
from curation_assets.engine.lock import only_one
from curation_assets.engine.workspace import Workspace
from curation_assets.evaluation.build import metrics
from curation_assets.evaluation.examples_build import examples
from curation_assets.models.loading import torch_settings
from curation_assets.pretraining.config import RuntimeConfig
from curation_assets.pretraining.devices import process_count
from curation_assets.pretraining.launch import train_distributed
from curation_assets.pretraining.trainer import train
from curation_assets.report.build import comparison
from curation_assets.samplers.build import scores
from curation_assets.samplers.documents import Documents
from curation_assets.samplers.spec import Sampler, Scores
from curation_assets_tests.docs.trouble import CORPUS, Trouble, why
from curation_assets_tests.engine import dying_products
from curation_assets_tests.making import load
from curation_assets_tests.pretraining.small_run import CONFIG, stream


def two_runs(t: Trouble) -> str:
    t.profile("")
    with only_one(load_profile("mine.toml")):
        return re.sub(r"process \d+ of \S+", "process 4242 of laptop", t.curation("run"))


def a_taken_port(t: Trouble) -> str:
    t.profile("")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # where it is taken already, that is the trouble as well
            other.bind(("127.0.0.1", 3000))
            other.listen()
        return t.curation("ui")


def two_uis(t: Trouble) -> str:
    t.profile("")
    Path("data/mine").mkdir(parents=True, exist_ok=True)
    with Path("data/mine/.ui.lock").open("w") as lock:
        lock.write("4242 http://127.0.0.1:3000\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        return t.curation("ui")


def a_ui_for_others(t: Trouble) -> str:
    t.profile("")
    return t.curation("ui", "--host", "0.0.0.0")


def no_gpu(t: Trouble) -> str:
    t.patch.setattr(torch.cuda, "is_available", lambda: False)
    return why(lambda: torch_settings("cuda", "auto"))


def too_few_gpus(t: Trouble) -> str:
    t.patch.setattr(torch.cuda, "is_available", lambda: True)
    t.patch.setattr(torch.cuda, "device_count", lambda: 1)
    return why(lambda: process_count(RuntimeConfig(device="cuda", processes=2)))


def an_odd_number(t: Trouble) -> str:
    return why(
        lambda: train_distributed(
            CONFIG, stream(), "odd-run", execution=RuntimeConfig(device="cpu", processes=3)
        )
    )


def divergence(t: Trouble) -> str:
    config, folder = replace(CONFIG, learning_rate=2.0), Path("data/mine/scratch/runs/random").absolute()
    return why(
        lambda: train(config, stream(), folder, execution=RuntimeConfig(device="cpu", resume_seconds=1.0))
    )


def a_killed_worker(t: Trouble) -> str:
    t.profile("workers = 2\n", "killed")
    t.patch.setenv(dying_products.DIES, "corpus/source")
    t.patch.setattr("curation_assets.defs.materializing.PRODUCTS", dying_products.__name__)
    return t.curation("run", name="killed.toml")


def ctrl_c(t: Trouble) -> str:
    def submit(self: InlineExecutor, task: Task) -> None:
        raise KeyboardInterrupt

    t.profile("")
    t.patch.setattr(InlineExecutor, "submit", submit)
    return t.curation("run").strip()


def damage(t: Trouble) -> str:
    t.profile("", "damaged")
    workspace = t.make(CORPUS, "damaged.toml")
    file = workspace.open("corpus/documents", "a.jsonl") / "documents.parquet"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return why(lambda: Workspace(workspace.profile).open("corpus/documents", "a.jsonl"))


def a_damaged_catalog(t: Trouble) -> str:
    t.profile("", "shaken")
    workspace = t.make(CORPUS[:1], "shaken.toml")
    listed = workspace.listed()
    Path(workspace.catalog.name).write_bytes(b"nothing of SQLite" * 999)
    said = t.curation("status", name="shaken.toml")
    assert cli(["--profile", "shaken.toml", "catalog", "rebuild"]) == 0
    assert Workspace(workspace.profile).listed() == listed
    return said


def a_damaged_database(t: Trouble) -> str:
    t.profile("")
    for name in ("runs.db", "runs/index.db"):
        path = Path("data/mine/dagster_home/history", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(range(256)) * 40)
    said = t.curation("run")
    shutil.rmtree("data/mine/dagster_home")
    return said


def nothing_held_out(t: Trouble) -> str:
    t.profile("[corpus]\nvalidation_share = 0.0\n", "all")
    before = ("corpus/tokenizer", "corpus/tokens", "corpus/index", "corpus/validation", "evaluation/examples")
    t.make([*CORPUS, *before, "full_data/checkpoint"], "all.toml")
    return t.making("full_data/metrics", metrics("full_data"), "small", "all.toml")


def out_of_order(t: Trouble) -> str:
    t.profile("", "listed")
    t.make(CORPUS[:1], "listed.toml")
    return t.making("corpus/documents", documents, "a.jsonl", "listed.toml")


def stale_scores(t: Trouble) -> str:
    t.profile("", "stale")
    t.make([*CORPUS, "corpus/tokenizer", "corpus/tokens", "corpus/index", "random/scores"], "stale.toml")
    t.profile("[selection]\nseed = 7\n", "stale")
    return t.curation("select", "random", "--keep", "20%", name="stale.toml")


def no_amount(t: Trouble) -> str:
    t.profile("")
    return t.curation("select", "random", "--keep", "25")


def too_much(t: Trouble) -> str:
    t.profile("", "stale")
    t.make([*CORPUS, "corpus/tokenizer", "corpus/tokens", "corpus/index", "random/scores"], "stale.toml")
    return t.curation("select", "random", "--keep", "1M documents", name="stale.toml")


def no_such_document(t: Trouble) -> str:
    t.profile("", "fresh")
    t.make(CORPUS, "fresh.toml")
    first = json.loads(Path("texts/a.jsonl").read_text("utf-8").split("\n")[0])["id"]
    return t.curation("explain", first + "s", name="fresh.toml")


def not_learned(t: Trouble) -> str:
    t.profile("")
    return t.curation("refresh", "density/scores")


def no_evaluation_data(t: Trouble) -> str:
    Path("eval").mkdir()
    t.profile('[evaluation]\nsuites = ["perplexity", "squad"]\neval_root = "eval"\n', "fresh")
    t.make(CORPUS, "fresh.toml")
    return t.making("evaluation/examples", examples, name="fresh.toml")


def nothing_measured(t: Trouble) -> str:
    t.profile("", "fresh")
    t.make(
        [*CORPUS, "corpus/tokenizer", "corpus/tokens", "corpus/index", "evaluation/examples"], "fresh.toml"
    )
    return t.making("report/comparison", comparison, name="fresh.toml")


def no_number(t: Trouble) -> str:
    t.profile("", "fresh")
    workspace = t.make(CORPUS, "fresh.toml")

    def score(settings: object, documents: Documents, progress: Progress) -> Scores:
        return {"score": np.where(np.arange(len(documents)) == 2, np.nan, 1.0)}

    sampler = Sampler(name="random", family="random", technique="uniform", description="x", score=score)
    build = load(scores(sampler), workspace, STEPS["random/scores"])
    return why(lambda: build("a.jsonl", Path(os.devnull), silent))


def an_occupied_folder(t: Trouble) -> str:
    t.profile("")
    Path("chosen").mkdir()
    Path("chosen/subset.parquet").touch()
    return t.curation("select", "random", "--keep", "25%", "--to", "chosen")


_EXPORTED = (*CORPUS, "corpus/tokenizer", "corpus/tokens", "corpus/index", "random/scores", "random/subset")
_EXPORT = ("export", "random/subset", "--partition", "80", "--to", "chosen")


def another_export(t: Trouble) -> str:
    shutil.rmtree("chosen", ignore_errors=True)
    t.profile("", "exported")
    t.make([*_EXPORTED], "exported.toml")
    assert cli(["--profile", "exported.toml", *_EXPORT]) == 0
    said = t.curation(*_EXPORT, "--normalized", name="exported.toml")
    shutil.rmtree("chosen")
    return said


def a_corpus_that_changed(t: Trouble) -> str:
    t.profile("", "exported")
    t.make([*_EXPORTED], "exported.toml")
    path = Path("texts/a.jsonl")
    content = path.read_bytes()
    first, second, rest = content.split(b"\n", 2)
    path.write_bytes(b"\n".join([first, second.replace(b'"text": "', b'"text": "Now: '), rest]))
    said = t.curation(*_EXPORT, name="exported.toml")
    path.write_bytes(content)
    return said
