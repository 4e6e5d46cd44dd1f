"""A small corpus of every kind of file, with texts that normalisation changes, whose rows are known without the readers of the product."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from curation_assets.config.profile import load_profile
from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.graph import STEPS
from curation_assets.engine.workspace import Builder, Workspace
from curation_assets.samplers.build import scores
from curation_assets.selection.build import subset
from curation_assets_tests.conftest import TINY, stdlib_texts
from curation_assets_tests.corpus_builders import CORPUS
from curation_assets_tests.making import load, materialize

ODD = (
    "Carriage returns\r\nand line feeds\rof old machines, {n}",
    "Combining marks as they were typed: cafe\u0301, A\u030angstro\u0308m, {n}",
    "Emoji with joiners \U0001f469\u200d\U0001f680 and flags \U0001f1e9\U0001f1ea, {n}",
    "An escape of zero, written out: \\u0000 and \\x00, {n}",
    "A line separator \u2028 and a paragraph's \u2029, a mark of order \ufeff inside, {n}",
    'Quotation "marks", back\\slashes,\ttabs, commas, {n}',
    "  white space around, and a form feed \x0c within, {n}  ",
    "\u1112\u1161\u11ab\u1100\u1173\u11af in jamo, \u0130stanbul, \ufb01ligatures, {n}",
)
"""Texts of documents, of which {n} makes a different one each time."""
Key = tuple[str, int]


def write_corpus(home: Path) -> dict[Key, str]:
    """Write files of all kinds; return {(shard, row): text as it stands there}."""
    texts = home / "texts"
    (texts / "below").mkdir(parents=True)
    prose = [text for _, text in stdlib_texts()]
    many = iter(f"{odd.format(n=n)} {prose[n % len(prose)]}" for n in range(1_000) for odd in ODD)
    rows = {name: [next(many) for _ in range(40)] for name in ("a", "b", "c", "d", "e", "f", "g")}
    lines = {
        name: "".join(
            json.dumps({"id": f"{name}{n}", "text": text, "score": f"s{n}"}) + "\n"
            for n, text in enumerate(of)
        )
        for name, of in rows.items()
    }
    (texts / "a.jsonl").write_bytes(lines["a"].replace("\n", "\r\n").encode())
    (texts / "below" / "b.jsonl.gz").write_bytes(gzip.compress(lines["b"].encode()))
    (texts / "c.ndjson.zst").write_bytes(zstandard.compress(("\n\n{broken\n" + lines["c"]).encode()))
    (texts / "d.json").write_text(
        json.dumps([json.loads(line) for line in lines["d"].splitlines()], indent=1)
    )
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerows(
        [("id", "text", "score"), *((f"e{n}", text, f"s{n}") for n, text in enumerate(rows["e"]))]
    )
    (texts / "e.csv").write_bytes(table.getvalue().encode())
    chats = [
        [{"role": "user", "content": text}, {"role": "assistant", "content": f"Yes.\r\n{text}"}]
        for text in rows["f"]
    ]
    (texts / "f.jsonl").write_text(
        "".join(json.dumps({"id": f"f{n}", "text": c}) + "\n" for n, c in enumerate(chats))
    )
    columns = {"text": rows["g"], "id": list(range(40))}
    pq.write_table(pa.table(columns), texts / "g.parquet", row_group_size=7)
    texts_of_h = [f"h {text}" for text in rows["g"][:30]]
    batches = pa.table({"text": texts_of_h, "id": [f"h{n}" for n in range(30)]}).to_batches(15)
    with pa.ipc.new_file(texts / "h.arrow", batches[0].schema) as out:
        for batch in batches:
            out.write_batch(batch)
    paragraphs = [text.replace("\r\n", "\n").replace("\n\n", "\n").strip() for text in rows["a"][:20]]
    (texts / "i.txt").write_bytes("\n\n".join(f"i {one}" for one in paragraphs).encode())
    known: dict[Key, str] = {}
    for name, shard, first in (
        ("a", "a.jsonl", 1),
        ("b", "below/b.jsonl", 1),
        ("c", "c.ndjson", 4),
        ("d", "d.json", 1),
    ):
        known |= {(shard, first + n): text for n, text in enumerate(rows[name])}
    line = 2
    for text in rows["e"]:
        known["e.csv", line] = text.replace("\r\n", "\n")  # lines are read before cells are
        line += 1 + text.count("\n")
    known |= {
        ("f.jsonl", n + 1): "\n\n".join(f"{m['role']}: {m['content']}" for m in c)
        for n, c in enumerate(chats)
    }
    known |= {("g.parquet", n): text for n, text in enumerate(rows["g"])}
    known |= {("h.arrow", n): text for n, text in enumerate(texts_of_h)}
    return known


def write_profile(home: Path, more: str = "") -> None:
    """Write a profile of this corpus, `tiny.toml`, whose only sampler is random."""
    profile = TINY.replace("{teacher}", str(home)).replace(
        'url = "shards"\nhq_url = "hq.jsonl"',
        'url = "texts"\nhq_url = ""\nkeep_fields = ["score"]\nsample_by = "paragraph"',
    )
    run = '\n[run]\nsamplers = ["random"]\n'
    (home / "tiny.toml").write_text(f"{profile}{run}{more}", "utf-8")


def scored(home: Path, patch: pytest.MonkeyPatch, *rates: str) -> Workspace:
    """Score the corpus at random, and make its subsets at some rates."""
    patch.setenv("CURATION_DATA", str(home / "data"))
    patch.setattr("curation_assets.selection.build._picture", lambda spec, draw: {})
    workspace = Workspace(load_profile(home / "tiny.toml"))
    builders: dict[str, Builder] = {
        **CORPUS,
        "random/scores": scores(SAMPLERS["random"]),
        "random/subset": subset(SAMPLERS["random"]),
    }
    for key, builder in builders.items():
        step = STEPS[key]
        for partition in rates if step.by == "rate" else workspace.partitions(step.by):
            materialize(workspace, step, partition, lambda inputs, b=builder, s=step: load(b, workspace, s))
    return workspace
