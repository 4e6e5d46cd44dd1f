"""The dataset card of an export, `README.md`: front matter that the hub and `datasets` read, and what a person wants to know first.

The front matter names the files, columns and rows: `load_dataset` takes these files alone, without a look at the network, and refuses a
folder in which rows are missing. What comes from the corpus (paths, fields) is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from curation_assets.common.markdown import escaped, markdown_table

_SOURCES = 50  # shown of the corpus's files, those of the most tokens
_COLUMNS = {
    "text": "the document",
    "id": "its id in the corpus",
    "source_file": "the corpus file that it comes from",
    "source_row": "its row in that file",
    "score": "what the sampler gave it; higher is kept first",
    "percentile": "the share of the corpus that scored lower, in percent",
    "duplicate_of": "the document that it is nearly a copy of",
    "n_tokens": "tokens of the text by the corpus's tokenizer",
    "repeat": "which copy of the document this row is",
}


def dataset_card(
    manifest: Mapping[str, Any],
    schema: pa.Schema,
    by_source: Mapping[str, tuple[int, int]],
    *,
    license: str,
    commands: Sequence[str],
) -> str:
    """Return the card.

    Parameters
    ----------
    manifest
        That of the export: `files`, `rows`, `documents`, `tokens`, `selection`, `corpus`.
    schema
        The columns of the data files.
    by_source
        {corpus file: (rows, tokens)}.
    license
        As the hub spells it: "cc-by-4.0", "other", "unknown".
    commands
        What shows or repeats the selection, a command each.
    """
    from huggingface_hub import DatasetCard

    sampler = str(manifest["selection"]["sampler"])
    title = f"Chosen by {sampler}"
    data = _front_matter(manifest, schema, license, title, sampler)
    body = "\n".join(_body(manifest, schema, by_source, title, commands))
    return str(DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{body}"))


def size_category(rows: int) -> str:
    """Return how the hub calls datasets of so many rows."""
    bounds = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
    place = next((i for i in range(len(bounds)) if rows < 1000 * 10**i), len(bounds))
    if place in (0, len(bounds)):
        return "n>1T" if place else "n<1K"
    return f"{bounds[place - 1]}<n<{bounds[place]}"


def _front_matter(
    manifest: Mapping[str, Any], schema: pa.Schema, license: str, title: str, sampler: str
) -> Any:
    from datasets import DatasetInfo, Features
    from datasets.info import DatasetInfosDict
    from datasets.splits import SplitDict, SplitInfo
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCardData

    data = DatasetCardData(
        license=license,
        pretty_name=title,
        size_categories=[size_category(manifest["rows"])],
        task_categories=["text-generation"],
        tags=["curation-assets", "data-selection", sampler],
    )
    names = [str(file["name"]) for file in manifest["files"]]
    ending = names[0][names[0].index(".") :] if names else ".parquet"
    files = [{"split": "train", "path": f"data/*{ending}"}]
    MetadataConfigs({"default": {"data_files": files}}).to_dataset_card_data(data)
    size = sum(int(file["bytes"]) for file in manifest["files"])
    info = DatasetInfo(
        features=Features.from_arrow_schema(schema),
        splits=SplitDict({"train": SplitInfo("train", num_bytes=size, num_examples=manifest["rows"])}),
        download_size=size,
        dataset_size=size,
    )
    DatasetInfosDict({"default": info}).to_dataset_card_data(data)
    return data


def _body(
    manifest: Mapping[str, Any],
    schema: pa.Schema,
    by_source: Mapping[str, tuple[int, int]],
    title: str,
    commands: Sequence[str],
) -> Iterator[str]:
    counts = {
        "documents": manifest["documents"],
        "rows": manifest["rows"],
        "tokens": manifest["tokens"],
        "files": len(manifest["files"]),
        "bytes": sum(int(file["bytes"]) for file in manifest["files"]),
    }
    yield f"# {escaped(title)}\n"
    yield "Documents that were chosen from a corpus to train language models on, with their texts.\n"
    yield _table(counts)
    yield "\n```python\nfrom datasets import load_dataset\n"
    yield 'rows = load_dataset("PATH_OR_ORG/NAME", split="train")  # streaming=True reads without a copy\n```\n'
    yield "## How they were chosen\n"
    yield _table(manifest["selection"])
    yield "\n## From which corpus\n"
    yield _table(manifest["corpus"])
    yield "\nEach of these shows it anew, from the data folder of its profile:\n"
    yield "\n".join(f"    {' '.join(command.split())}" for command in commands) + "\n"
    yield "## From which files\n"
    largest = sorted(by_source.items(), key=lambda item: (-item[1][1], item[0]))
    rows = [{"file": name, "rows": rows, "tokens": tokens} for name, (rows, tokens) in largest]
    yield markdown_table(rows, limit=_SOURCES)
    yield "\n## Columns\n"
    columns = [
        {
            "column": field.name,
            "type": str(field.type),
            "what it is": _COLUMNS.get(field.name, "a field of the corpus"),
        }
        for field in schema
    ]
    yield markdown_table(columns)
    yield "\n`manifest.json` has the digest of each file, the versions and the settings.\n"


def _table(values: Mapping[str, Any]) -> str:
    return markdown_table([{"": name, " ": value} for name, value in _flat(values)])


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values that are neither empty nor a table, and of a table with many entries how many there are."""
    for name, value in values.items():
        key = f"{above}{name}".replace("_", " ")
        if isinstance(value, Mapping) and len(value) <= 8:
            yield from _flat(value, f"{key}: ")
        elif isinstance(value, Mapping | list | tuple) and len(value) > 8:
            yield key, f"{len(value):,} (in manifest.json)"
        elif value not in (None, "", [], {}):
            yield key, ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
