"""What several tests share: a small real corpus and a profile that runs the whole graph on it in seconds."""

from __future__ import annotations

import inspect
import json
import os
import pkgutil
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # models here are tiny, and other tests use the other cores

from curation_assets.config.profile import Profile, load_profile
from curation_assets.engine.workspace import Workspace

pytest_plugins = ["curation_assets_tests.tiers", "curation_assets_tests.servers"]
SHARED = Path(__file__).resolve().parents[2] / "shared"

TINY = """
extends = "local"
name = "tiny"
[corpus]
url = "shards"
hq_url = "hq.jsonl"
id_field = "id"
validation_share = 0.1
[tokenizer]
vocab_size = 800
[embeddings]
max_tokens = 32
[samplers.density]
rows = 64
buckets = 512
[ladder.small]
d_model = 32
d_kv = 8
d_ff = 64
num_layers = 1
num_heads = 4
[ladder.base]
d_model = 32
d_kv = 8
d_ff = 64
num_layers = 1
num_heads = 4
[ladder.large]
d_model = 40
d_kv = 8
d_ff = 80
num_layers = 1
num_heads = 4
[ladder.xl]
d_model = 48
d_kv = 8
d_ff = 96
num_layers = 1
num_heads = 4
[ladder.xxl]
d_model = 56
d_kv = 8
d_ff = 112
num_layers = 1
num_heads = 4
[pretraining]
tokens = 12_000
batch_size = 8
micro_batch_size = 8
input_length = 64
snapshots = [0.1, 0.5, 1.0]
[samplers.perplexity]
window = 64
[samplers.perplexity.models]
large_20k = "asset:full_data/checkpoint#large@0.1"
large_300k = "asset:full_data/checkpoint#large@0.5"
large_700k = "asset:full_data/checkpoint#large@0.5"
[samplers.ask_llm]
max_tokens = 220
[judge]
teacher = "path:{teacher}"
documents = 24
teacher_max_tokens = 220
epochs = 1.0
batch_size = 8
[execution]
workers = 1
[evaluation.finetuning]
steps = 3
batch_size = 4
max_input = 24
max_target = 8
[evaluation]
max_documents = 12
window = 64
max_examples = 8
max_training_examples = 16
"""

_MEMORY = Path("/dev/shm")


def pytest_configure(config: pytest.Config) -> None:
    """Keep the tests' folders in memory where there is room: Dagster opens, syncs and closes a database for each event."""
    if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > 4 << 30:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


def stdlib_texts(least: int = 200) -> list[tuple[str, str]]:
    """Return (name, docstring) of functions and classes of the standard library: real prose on every machine."""
    found: dict[str, str] = {}
    for name in (
        "argparse",
        "collections",
        "datetime",
        "decimal",
        "email.message",
        "fractions",
        "json",
        "logging",
    ):
        _collect(name, found)
    for module in sorted(m.name for m in pkgutil.iter_modules()):
        if len(found) >= least:
            break
        if module in (
            "statistics",
            "random",
            "string",
            "subprocess",
            "tempfile",
            "textwrap",
            "threading",
            "zipfile",
        ):
            _collect(module, found)
    return sorted(found.items())


def _collect(module: str, found: dict[str, str]) -> None:
    loaded = __import__(module, fromlist=["_"])
    for name, value in sorted(vars(loaded).items()):
        text = inspect.getdoc(value) if inspect.isclass(value) or inspect.isfunction(value) else None
        if text and len(text) > 80:
            found.setdefault(f"{module}.{name}", text)
        for member, function in sorted(vars(value).items()) if inspect.isclass(value) else []:
            text = inspect.getdoc(function) if inspect.isfunction(function) else None
            if text and len(text) > 80:
                found.setdefault(f"{module}.{name}.{member}", text)


def write_shard(path: Path, rows: list[tuple[str, str]]) -> None:
    """Write (id, text) rows as JSONL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join(json.dumps({"id": i, "text": t, "source": "stdlib"}) + "\n" for i, t in rows), "utf-8"
    )


def make_current(workspace: Workspace, *keys: str) -> None:
    """Make assets and all that they need current, in this process and without Dagster."""
    from curation_assets.engine.driver import Blocked, bring_up_to_date
    from curation_assets.engine.executors import Failed
    from curation_assets.engine.executors.inline import InlineExecutor
    from curation_assets.engine.graph import STEPS
    from curation_assets.engine.scope import everything

    wanted, todo = set(), list(keys)
    while todo:
        wanted.add(key := todo.pop())
        todo += STEPS[key].reads(workspace.profile)
    scope = everything(workspace.profile, [step for step in STEPS.values() if step.key in wanted])
    with InlineExecutor(workspace, "curation_assets.products", lambda line: None) as executor:
        events = list(bring_up_to_date(workspace, scope, executor, checks=False))
    assert not [event for event in events if isinstance(event, Failed | Blocked)]


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small chat model that judges documents differently."""
    from curation_assets_tests.models.small_models import save_teacher

    return save_teacher(tmp_path_factory.mktemp("teacher"), [text for _, text in stdlib_texts()])


def write_tiny(folder: Path, teacher: Path, more: str = "") -> None:
    """Write three shards of about 50 documents, others of high quality, and the profile `tiny.toml` over them."""
    texts = stdlib_texts()
    for number in range(3):
        write_shard(folder / "shards" / f"s{number}.jsonl", texts[number::4])
    write_shard(folder / "hq.jsonl", texts[3::4][:20])
    (folder / "tiny.toml").write_text(TINY.replace("{teacher}", str(teacher)) + more, "utf-8")


def work_in(folder: Path, patch: pytest.MonkeyPatch, profile: str = "tiny.toml") -> Profile:
    """Load a profile of a folder whose data, and Dagster's, are in that folder."""
    patch.setenv("CURATION_DATA", str(folder / "data"))
    patch.setenv("DAGSTER_HOME", str(folder / "data" / "dagster_home"))
    patch.setenv("CURATION_PROFILE", str(folder / profile))
    return load_profile()


@dataclass(frozen=True)
class Kept:
    """A folder in which much has been made, once; tests that change it get it back as it was."""

    root: Path

    @property
    def _copy(self) -> Path:
        return self.root.with_name(f"{self.root.name}-kept")

    def __post_init__(self) -> None:
        """Copy it."""
        shutil.copytree(self.root, self._copy, symlinks=True)

    def restore(self) -> None:
        """Undo what a test did to it."""
        shutil.rmtree(self.root)
        shutil.copytree(self._copy, self.root, symlinks=True)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teacher: Path) -> Profile:
    """A small corpus and its profile, with a Dagster home of its own."""
    write_tiny(tmp_path, teacher)
    return work_in(tmp_path, monkeypatch)
