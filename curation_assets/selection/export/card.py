"""The dataset card of an export, `README.md`: front matter that the hub and `datasets` read, and what a person wants to know first.

The front matter names the files, columns and rows: `load_dataset` takes these files alone, without a look at the network, and refuses a
folder in which rows are missing. What comes from the corpus (paths, fields) is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from shlex import quote
from typing import Any

import pyarrow as pa

from curation_assets.common.markdown import escaped, markdown_table
from curation_assets.config.amount import Amount

_SOURCES = 50  # shown of the corpus's files, those of the most tokens
_COLUMNS = {
    "text": "the document",
    "id": "its id in the corpus",
    "source_file": "the corpus file that it comes from",
    "source_row": "its row in that file",
    "score": "what the sampler gave it",
    "percentile": "percent of the corpus that score no higher",
    "duplicate_of": "the document that it is nearly a copy of",
    "n_tokens": "tokens of the text by the corpus's tokenizer",
    "repeat": "which copy of the document this row is",
}


def dataset_card(
    manifest: Mapping[str, Any],
    schema: pa.Schema,
    by_source: Mapping[str, tuple[int, int]],
    license: str,
) -> str:
    """Return the card.

    Parameters
    ----------
    manifest
        That of the export: `files`, `rows`, `documents`, `tokens`, `selection`, `corpus`.
    schema
        The columns of the data files.
    by_source
        {corpus file: (documents that were chosen of it, their tokens)}.
    license
        As the hub spells it: "cc-by-4.0", "other", "unknown".
    """
    from huggingface_hub import DatasetCard

    samplers = _samplers(manifest["selection"])
    title = f"Chosen by {' and '.join(samplers)}"
    data = _front_matter(manifest, schema, license, title, samplers)
    body = "\n".join(_body(manifest, schema, by_source, title))
    return str(DatasetCard(f"---\n{data.to_yaml()}\n---\n\n{body}"))


def commands(selection: Mapping[str, Any]) -> list[str]:
    """Return what traces a selection back to the corpus, and what makes it again."""
    samplers = _samplers(selection)
    if (key := f"{samplers[0]}/subset") in selection["versions"]:
        of = f"{key} --partition {quote(str(selection['rate']))}"
        return [f"curation trace {of}", f"curation export {of} --to FOLDER"]
    techniques = {drawn["technique"] for drawn in selection["samplers"]}
    options = {
        "keep": Amount(**selection["amount"]),
        "technique": techniques.pop() if len(techniques) == 1 else "",
        "combine": selection["combine"],
        "seed": selection["seed"],
        "first": selection.get("first"),
        "within": selection.get("within"),
    }
    arguments = [
        f"--{name} {quote(str(value))}" for name, value in options.items() if value not in (None, "")
    ]
    return [" ".join(["curation select", *samplers, *arguments, "--to FOLDER"])]


def _samplers(selection: Mapping[str, Any]) -> list[str]:
    several = selection.get("samplers")
    return [str(one["sampler"]) for one in several] if several else [str(selection["sampler"])]


def size_category(rows: int) -> str:
    """Return how the hub calls datasets of so many rows."""
    bounds = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
    place = next((i for i in range(len(bounds)) if rows < 1000 * 10**i), len(bounds))
    if place in (0, len(bounds)):
        return "n>1T" if place else "n<1K"
    return f"{bounds[place - 1]}<n<{bounds[place]}"


def _front_matter(
    manifest: Mapping[str, Any], schema: pa.Schema, license: str, title: str, samplers: list[str]
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
        tags=["curation-assets", "data-selection", *samplers],
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
) -> Iterator[str]:
    counts = {
        "documents": manifest["documents"],
        "rows": manifest["rows"],
        "tokens": manifest["tokens"],
        "files": len(manifest["files"]),
        "bytes": sum(int(file["bytes"]) for file in manifest["files"]),
        "text": manifest["text"],
    }
    samplers = _samplers(manifest["selection"])
    yield f"# {escaped(title)}\n"
    yield "Documents that were chosen from a corpus to train language models on, with their texts.\n"
    yield _table(counts)
    yield "\n```python\nfrom datasets import load_dataset\n"
    yield 'rows = load_dataset("PATH_OR_ORG/NAME", split="train")  # streaming=True reads without a copy\n```\n'
    yield "## How they were chosen\n"
    yield _table({**manifest["selection"], "repeat": manifest["repeat"]})
    yield "\n## From which corpus\n"
    yield _table(manifest["corpus"])
    yield "\nIn the data folder of its profile this shows where it comes from, and makes it again:\n"
    yield "".join(f"    {' '.join(command.split())}\n" for command in commands(manifest["selection"]))
    yield "## From which files\n"
    largest = sorted(by_source.items(), key=lambda item: (-item[1][1], item[0]))
    rows = [{"file": name, "documents": count, "tokens": tokens} for name, (count, tokens) in largest]
    yield markdown_table(rows, limit=_SOURCES)
    yield "\n## Columns\n"
    columns = [
        {
            "column": field.name,
            "type": str(field.type),
            "what it is": _meaning(field.name, samplers),
        }
        for field in schema
    ]
    yield markdown_table(columns)
    yield "\n`manifest.json` has the digest of each file, the versions and the settings.\n"


def _meaning(column: str, samplers: list[str]) -> str:
    """Return what stands in a column; of several samplers' scores, whose they are."""
    for sampler in samplers:
        if (what := column.removeprefix(f"{sampler}_")) != column and what in ("score", "percentile"):
            return f"{_COLUMNS[what]}: {sampler}"
    return _COLUMNS.get(column, "a field of the corpus")


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
