"""An export of a large corpus: memory, speed against plain decompress-and-copy, two kills, and a replay of every row.

    python -m benchmarks.export --corpus FOLDER --documents 1000000 --folder FOLDER

The corpus is made of the texts of another by repetition, with ids of its own; what is exported is a `random` subset of 20 %, made by the
engine. Token counts are made up: to encode a million documents would take most of the time, and says nothing of exports.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import zstandard

from benchmarks.harness import Row, figures, report_peak
from curation_assets.common.progress import Progress
from curation_assets.config.profile import load_profile
from curation_assets.corpus.reading import open_documents
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import BuildOne, Metadata
from curation_assets.products import PRODUCTS as ALL

_PROFILE = """
extends = "local"
name = "export"
[corpus]
url = "texts"
hq_url = ""
keep_fields = ["source"]
[tokenizer]
vocab_size = 4000
training_documents = 2000
[run]
samplers = ["random"]
[execution]
data = "data"
"""
_PIECE = 1 << 20


def main() -> None:
    """Make the corpus and its subset, if they are not there, and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, required=True, help="a folder of .jsonl.gz files")
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=16)
    parser.add_argument("--compression", choices=("gz", "zst"), default="gz")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument(
        "--options", nargs="*", default=[], help="of `curation export`, without the dashes: shard-size=50MB"
    )
    options = parser.parse_args()
    os.environ["CURATION_PROFILE"] = str(options.folder.resolve() / "export.toml")
    os.environ["CURATION_DATA"] = ""
    options.folder.mkdir(parents=True, exist_ok=True)
    if not (options.folder / "made").exists():
        (options.folder / "export.toml").write_text(_PROFILE, "utf-8")
        if not (options.folder / "texts").exists():
            _write_corpus(options)
        _make()
        (options.folder / "made").touch()
    asked = [f"--{option}" for option in options.options]
    for row in _measure(options.folder, asked):
        print(row, flush=True)


def _write_corpus(options: argparse.Namespace) -> None:
    texts = options.folder / "texts.part"
    texts.mkdir(parents=True)
    documents = _documents(options.corpus)
    each = -(-options.documents // options.files)
    for number in range(options.files):
        lines = (
            json.dumps({**document, "id": f"{number}-{i}"}, ensure_ascii=False).encode() + b"\n"
            for i, document in enumerate(islice(documents, each))
        )
        with _written(texts / f"s{number:03}.jsonl.{options.compression}") as out:
            out.writelines(lines)
    texts.rename(options.folder / "texts")


def _documents(corpus: Path) -> Iterator[dict[str, str]]:
    for file in cycle(sorted(corpus.glob("shard-*.jsonl.gz"))):
        with gzip.open(file) as lines:
            yield from map(json.loads, lines)


def _written(path: Path) -> Any:
    return gzip.open(path, "wb", 6) if path.suffix == ".gz" else zstandard.open(path, "wb")


def _opened(path: Path) -> Any:
    return gzip.open(path) if path.suffix == ".gz" else io.BufferedReader(zstandard.open(path, "rb"), _PIECE)


def _tokens(context: Context) -> BuildOne:
    """Make up how many tokens documents have."""

    def build(shard: str, folder: Path, progress: Progress) -> Metadata:
        counts = (
            pq.read_table(open_documents(context, shard), columns=["n_chars"])["n_chars"].to_numpy() // 5 + 1
        )
        for name, sizes in (("documents", counts), ("validation", counts[:0])):
            ends = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
            np.save(folder / f"{name}.offsets.npy", ends)
            ids = np.lib.format.open_memmap(
                folder / f"{name}.ids.npy", "w+", np.uint16, (max(int(ends[-1]), 1),)
            )
            del ids
        return {"documents": len(counts), "tokens": int(counts.sum()), "validation_tokens": 0}

    return build


PRODUCTS = [replace(product, build=_tokens) if product.key == "corpus/tokens" else product for product in ALL]
CHECKS: dict[str, dict[str, object]] = {}
CHECKED_WITH: dict[str, tuple[str, ...]] = {}


def _make() -> None:
    """Make the subset at 20 % and what it needs."""
    from curation_assets.engine.driver import bring_up_to_date
    from curation_assets.engine.executors.inline import InlineExecutor
    from curation_assets.engine.graph import STEPS
    from curation_assets.engine.scope import Scope
    from curation_assets.engine.workspace import Workspace

    workspace = Workspace(load_profile())
    keys, todo = set[str](), ["random/subset"]
    while todo:
        keys.add(key := todo.pop())
        todo += STEPS[key].reads(workspace.profile)
    steps = tuple(step for step in STEPS.values() if step.key in keys)
    scope = Scope(steps, workspace.profile, steps, named={"random/subset": ("20",)})
    with InlineExecutor(
        workspace, __name__ if __name__ != "__main__" else "benchmarks.export", print
    ) as executor:
        for event in bring_up_to_date(workspace, scope, executor, checks=False):
            if type(event).__name__ in ("Failed", "Blocked"):
                raise SystemExit(str(event))


def _measure(folder: Path, options: list[str]) -> Iterator[Row]:
    files = sorted((folder / "texts").iterdir())
    copied, plain = _copy(files, folder / "copy")
    shutil.rmtree(folder / "copy")
    for name in ("exported", "killed"):
        shutil.rmtree(folder / name, ignore_errors=True)
    started = time.perf_counter()
    told = figures("benchmarks.export", "--child", str(folder / "exported"), *options)
    seconds = time.perf_counter() - started
    manifest = json.loads((folder / "exported" / "manifest.json").read_text())
    note = f"{manifest['rows']:,} rows in {len(manifest['files'])} files"
    yield Row("peak memory of an export", told["peak_mib"], "MiB", note=note)
    yield Row("plain decompress and copy", copied / plain / 1e6, "MB/s", note=f"{copied / 1e6:,.0f} MB")
    yield Row("export", copied / told["seconds"] / 1e6, "MB/s", note=f"{seconds:.1f} s with imports")
    yield Row("export / plain decompress and copy", plain / told["seconds"], "x", 0.5)
    kills = _killed(folder / "killed", len(manifest["files"]), options)
    same = (folder / "killed" / "manifest.json").read_bytes() == (
        folder / "exported" / "manifest.json"
    ).read_bytes()
    yield Row("kills after which the manifest is the same", kills if same else 0, "kills", 2)
    yield Row(
        "rows equal byte for byte to their corpus rows",
        _replayed(files, folder / "killed"),
        "rows",
        manifest["rows"],
    )


def _copy(files: list[Path], to: Path) -> tuple[int, float]:
    """Decompress files and write them out; return the bytes and seconds."""
    to.mkdir()
    started, size = time.perf_counter(), 0
    for file in files:
        with _opened(file) as source, (to / file.stem).open("wb") as out:
            while piece := source.read(_PIECE):
                size += out.write(piece)
    return size, time.perf_counter() - started


def _child(to: str, options: list[str]) -> None:
    """Export in this process, and print its peak and seconds."""
    from curation_assets.cli.main import main as curation

    started = time.perf_counter()
    if curation(["export", "random/subset", "--partition", "20", "--to", to, *options]):
        raise SystemExit("the export failed")
    report_peak(seconds=time.perf_counter() - started)


def _killed(to: Path, files: int, options: list[str]) -> int:
    """Kill an export twice on its way and let it end; return how many kills came before its end."""
    command = [sys.executable, "-m", "benchmarks.export", "--child", str(to), *options]
    kills = 0
    for share in (0.3, 0.6):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and len(list(to.glob("data/part-*"))) < max(share * files, 1):
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return kills


def _replayed(files: list[Path], exported: Path) -> int:
    """Compare each exported text with its row of the corpus, read by gzip and json alone; return how many are equal."""
    by_name, equal = {file.name.split(".")[0]: file for file in files}, 0
    name, number, lines = "", 0, iter(list[bytes]())
    for part in sorted((exported / "data").iterdir()):
        for batch in pq.ParquetFile(part).iter_batches(columns=["source_file", "source_row", "text", "id"]):
            for row in batch.to_pylist():
                if row["source_file"] != name:
                    name, number = row["source_file"], 0
                    lines = iter(_opened(by_name[name.split(".")[0]]))
                line: bytes = next(islice(lines, row["source_row"] - number - 1, None))
                number = row["source_row"]
                said = json.loads(line)
                equal += said["text"].encode() == row["text"].encode() and said["id"] == row["id"]
    return equal


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _child(sys.argv[2], sys.argv[3:])
    else:
        main()
