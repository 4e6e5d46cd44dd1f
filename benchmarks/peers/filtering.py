"""Read a corpus, keep what looks like prose, write it: the graph and `curation export`, or the package as a library, against datatrove and NeMo Curator.

The peers are given the rule as a function of one text, in plain Python, as a user of theirs would write it, and the threshold at
which it keeps a fifth: the graph finds that by itself, since its rate is a share. The graph also checks ids and repeats, counts the
tokens of each document by a tokenizer that it trains, and compares each exported text with what was scored.
"""

from __future__ import annotations

import importlib
import json
import re
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from benchmarks.peers import material
from benchmarks.peers.comparison import READY, Comparison

_FILES, _COPIES, _KEPT = 4, 2, 0.2
_PROFILE = """
extends = "local"
name = "peers"
[corpus]
url = "{texts}"
hq_url = ""
validation_share = 0
[tokenizer]
vocab_size = 600
training_documents = 300
[run]
samplers = ["heuristic"]
[execution]
data = "data"
"""


def ours(folder: Path) -> Iterator[np.ndarray]:
    """Make `heuristic/subset` at 20 % and what it needs, export it; yield the numbers of the documents that are kept."""
    from curation_assets.config.profile import load_profile
    from curation_assets.engine.workspace import Workspace

    for module in ("cli.main", "engine.driver", "engine.executors.inline", "products"):
        importlib.import_module(f"curation_assets.{module}")
    with _corpus(folder) as scratch:
        profile = Path(scratch, "peers.toml")
        profile.write_text(_PROFILE.format(texts=Path(scratch, "texts")), "utf-8")
        workspace = Workspace(load_profile(profile))
        yield READY
        _make(workspace, "heuristic/subset", "20")
        _export(str(profile), f"{scratch}/kept")
        yield _kept(Path(scratch, "kept", "data"))


def library(folder: Path) -> Iterator[np.ndarray]:
    """Read, score, select and write by the package's functions, without the graph: what they leave out the graph does."""
    import polars as pl
    import pyarrow as pa
    from pyarrow import json as arrow_json

    from curation_assets import heuristic, select

    with _corpus(folder) as scratch:
        paths = sorted(Path(scratch, "texts").iterdir())
        heuristic(["a text"])
        yield READY
        rows = pa.concat_tables(
            [arrow_json.read_json(pa.input_stream(path, compression="zstd")) for path in paths]
        )
        frame = pl.DataFrame(pl.from_arrow(rows))
        kept = frame.filter(select(frame["id"], heuristic(frame), f"{_KEPT:.0%}"))
        Path(scratch, "kept").mkdir()
        with zstandard.open(Path(scratch, "kept", "part.jsonl.zst"), "wb") as out:
            kept.write_ndjson(out)
        yield _kept(Path(scratch, "kept"))


def _make(workspace: Any, key: str, amount: str) -> None:
    from curation_assets.engine.driver import bring_up_to_date
    from curation_assets.engine.executors.inline import InlineExecutor
    from curation_assets.engine.graph import STEPS
    from curation_assets.engine.scope import Scope

    keys, todo = set[str](), [key]
    while todo:
        keys.add(one := todo.pop())
        todo += STEPS[one].reads(workspace.profile)
    steps = tuple(step for step in STEPS.values() if step.key in keys)
    scope = Scope(steps, workspace.profile, steps, named={key: (amount,)})
    with InlineExecutor(workspace, "curation_assets.products", lambda *_: None) as executor:
        for event in bring_up_to_date(workspace, scope, executor, checks=False):
            if type(event).__name__ in ("Failed", "Blocked"):
                raise SystemExit(str(event))


def _export(profile: str, to: str) -> None:
    import os

    from curation_assets.cli.main import main as curation

    os.environ["CURATION_PROFILE"] = profile
    if curation(["export", "heuristic/subset", "--partition", "20", "--to", to, "--format", "jsonl.zst"]):
        raise SystemExit("the export failed")


def datatrove(folder: Path) -> Iterator[np.ndarray]:
    """Read, filter and write in one task of one pipeline."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.filters import LambdaFilter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    with _corpus(folder) as scratch:
        threshold = _threshold(folder)
        pipeline = [
            JsonlReader(f"{scratch}/texts"),
            LambdaFilter(lambda document: prose(document.text) >= threshold),
            JsonlWriter(f"{scratch}/kept", compression="zstd"),
        ]
        executor = LocalPipelineExecutor(pipeline, tasks=1, workers=1, logging_dir=f"{scratch}/logs")
        yield READY
        executor.run()
        yield _kept(Path(scratch, "kept"))


def nemo_curator(folder: Path) -> Iterator[np.ndarray]:
    """Its stages, called one after another on each file as its executors call them: without Ray, which favours it."""
    from nemo_curator.stages.text.filters import DocumentFilter, ScoreFilter
    from nemo_curator.stages.text.io.reader.jsonl import JsonlReaderStage
    from nemo_curator.stages.text.io.writer import JsonlWriter
    from nemo_curator.tasks import FileGroupTask

    class Prose(DocumentFilter):
        def score_document(self, text: str) -> float:
            return prose(text)

        def keep_document(self, scores: float) -> bool:
            return scores >= threshold

    with _corpus(folder) as scratch:
        threshold = _threshold(folder)
        stages = [JsonlReaderStage(), ScoreFilter(Prose(), text_field="text"), JsonlWriter(f"{scratch}/kept")]
        for stage in stages:
            stage.setup(None)
        yield READY
        for path in sorted(Path(scratch, "texts").iterdir()):
            task: Any = FileGroupTask(dataset_name="peers", data=[str(path)])
            for stage in stages:
                task = stage.process(task)
        yield _kept(Path(scratch, "kept"))


def _corpus(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """Return a folder with the corpus in files of JSON lines, compressed; each text is there in several variants."""
    made = tempfile.TemporaryDirectory()
    place = Path(made.name, "texts")
    place.mkdir()
    lines = [
        json.dumps({"id": f"{copy}-{number}", "text": f"{copy} {text}"}) + "\n"
        for copy in range(_COPIES)
        for number, text in enumerate(material.texts(folder))
    ]
    for file in range(_FILES):
        packed = zstandard.compress("".join(lines[file::_FILES]).encode())
        (place / f"part-{file}.jsonl.zst").write_bytes(packed)
    return made


def _kept(folder: Path) -> np.ndarray:
    """Return the ids of the documents that were written."""
    ids = []
    for path in sorted(folder.rglob("*.jsonl*")):
        opened = zstandard.open(path, "rt", encoding="utf-8") if path.suffix == ".zst" else path.open()
        with opened as lines:
            ids += [str(json.loads(line)["id"]) for line in lines]
    return np.array(sorted(ids))


@cache
def _threshold(folder: Path) -> float:
    """Return the score at which the rule keeps a fifth of the texts."""
    return float(np.quantile([prose(text) for text in material.texts(folder)], 1 - _KEPT))


_WORD = re.compile(r"[^\W\d_]+")
_ENDS = (".", "!", "?")


def prose(text: str) -> float:
    """Return how much a text is running prose, by the three shares of `scoring.heuristic`, in plain Python."""
    from curation_assets.scoring.heuristic import PROSE_LINE, PROSE_STOP_SHARE

    words = _WORD.findall(text.lower())
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    stop = sum(word in _stop_words() for word in words) / max(len(words), 1)
    ended = sum(line.rstrip("\"'”’)]»*_").endswith(_ENDS) for line in lines) / max(len(lines), 1)
    length = sum(map(len, lines)) / max(len(lines), 1)
    return (min(stop / PROSE_STOP_SHARE, 1) + ended + min(length / PROSE_LINE, 1)) / 3


@cache
def _stop_words() -> frozenset[str]:
    from curation_assets.scoring.heuristic import STOP_WORDS

    return frozenset(STOP_WORDS.split())


def agreement(folder: Path, one: np.ndarray, other: np.ndarray) -> str:
    """Compare which documents were written."""
    same = len(np.intersect1d(one, other)) / len(np.union1d(one, other))
    return f"{len(one):,} and {len(other):,} documents kept, {same:.0%} of them by both"


_WORK = f"read, keep a fifth by a heuristic, write; {_COPIES} variants of each text"
COMPARISONS = (
    Comparison("datatrove", "datatrove", f"the graph, {_WORK}", ours, datatrove, agreement),
    Comparison("datatrove", "datatrove", f"as a library, {_WORK}", library, datatrove, agreement),
    Comparison("NeMo Curator", "nemo-curator", f"as a library, {_WORK}", library, nemo_curator, agreement),
)
