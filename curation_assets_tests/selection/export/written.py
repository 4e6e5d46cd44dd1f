"""An export folder in the format that `curation export` writes, of rows that a test makes up."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from curation_assets.selection.export.card import dataset_card

SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("id", pa.string()),
        ("source_file", pa.string()),
        ("source_row", pa.int64()),
        ("topic", pa.string()),
        ("score", pa.float64()),
        ("percentile", pa.float64()),
        ("n_tokens", pa.int64()),
    ]
)


def rows(count: int) -> list[dict[str, Any]]:
    """Return documents with line breaks, quotes, letters beyond ASCII, and a kept field that the first half lack."""
    return [
        {
            "text": f"Document {n}\n\tsays “{'naïve ' * (n % 5)}\U0001f600” and quotes </s> and <|endoftext|>.",
            "id": f"a-{n}",
            "source_file": f"part|{n % 3}.jsonl",
            "source_row": n,
            "topic": None if n < count // 2 else f"topic {n % 2}",
            "score": n / 7,
            "percentile": 100 * n / count,
            "n_tokens": 11,
        }
        for n in range(count)
    ]


def write_export(
    folder: Path,
    count: int = 30,
    files: int = 3,
    kind: Literal["parquet", "jsonl.zst"] = "parquet",
    texts: list[str] | None = None,
) -> list[dict[str, Any]]:
    """Write an export with its card and manifest; return its rows."""
    documents = rows(count)
    for document, text in zip(documents, texts or [], strict=False):
        document["text"] = text
    (folder / "data").mkdir(parents=True)
    listed = []
    each = -(-count // files)
    for number in range(files):
        part = documents[number * each : (number + 1) * each]
        path = folder / "data" / f"part-{number:05d}.{kind}"
        if kind == "parquet":
            pq.write_table(pa.Table.from_pylist(part, SCHEMA), path, compression="zstd")
        else:
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in part)
            path.write_bytes(zstandard.compress(lines.encode()))
        content = path.read_bytes()
        listed.append(
            {
                "name": f"data/{path.name}",
                "rows": len(part),
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
        )
    manifest = {
        "format": 1,
        "files": listed,
        "rows": count,
        "documents": count,
        "tokens": 11 * count,
        "columns": SCHEMA.names,
        "text": "as read",
        "selection": {"sampler": "density", "rate": "20", "versions": {"density/subset": "0123"}, "seed": 7},
        "corpus": {"url": "texts`<b>", "documents": 5 * count},
        "repeat": None,
    }
    sources = {f"part|{n}.jsonl": (count // 3, 11 * count // 3) for n in range(3)}
    card = dataset_card(manifest, SCHEMA, sources, "unknown")
    (folder / "README.md").write_text(card, "utf-8")
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    return documents
