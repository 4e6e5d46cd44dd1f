"""The tables inside artifacts: their columns and what each means, as columns.toml tells. For people; no step reads it."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import pyarrow.parquet as pq

from curation_assets.common.files import parquet_file
from curation_assets.config.profile import Profile
from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.step import Step

_TYPES = {"large_string": "string", "large_list": "list", "double": "float64"}
_KEPT = "string: A field of the corpus, carried along for people to read"
_BY_PATTERN = (  # columns that depend on samplers and suites
    (r"(.+)_sd", "Standard deviation of {} over seeds; empty with one seed"),
    (r"(.+)_low", "Lower end of the 95 % interval of {}"),
    (r"(.+)_high", "Upper end of the 95 % interval of {}"),
    (r"(.+)_bound", "Whether {} lies beyond the ladder"),
    (r"vs_random_(.+)", "Difference of {} to random at the same amount and size"),
    (r"beyond_noise_(.+)", "Whether the difference of {} to random is beyond the noise of training"),
    (r"score_(.+)", "Score of {}"),
    (r"percentile_(.+)", "Percentile of {}'s score in the corpus"),
    (r"q([0-9.]+)", "Score below which {} % of the documents are"),
)


@dataclass(frozen=True)
class Column:
    """One column as people are told of it; `description` is "" where nothing is known."""

    name: str
    type: str
    description: str


def tables(step: Step, profile: Profile) -> dict[str, list[Column]]:
    """Return the tables of a step's artifact, {name: columns}: the one to look at first is first. NAME.parquet is its file.

    Columns that depend on samplers and suites are left out: `written` returns those of one artifact.
    """
    owner, _, stage = step.key.partition("/")
    described = _described()
    columns_of = {
        name: dict(columns)
        for name, columns in described.get(step.key, described.get(f"*/{stage}", {})).items()
    }
    if step.key == "corpus/documents":
        for name in ("documents", "validation"):
            columns_of[name] |= dict.fromkeys(profile.corpus.kept_columns, _KEPT)
    schemas = {name: [_column(*column) for column in columns.items()] for name, columns in columns_of.items()}
    if owner in SAMPLERS and stage == "scores":
        schemas["scores"] += [Column(name, *about) for name, about in SAMPLERS[owner].columns.items()]
    return schemas


def written(file: Path | pq.ParquetFile, known: list[Column]) -> tuple[list[Column], int]:
    """Return the columns that a Parquet file has, told of where something is known of them, and its number of rows."""
    descriptions = {column.name: column for column in known}
    file = parquet_file(file) if isinstance(file, Path) else file
    columns = []
    for one in file.schema_arrow:
        kind, about = (
            _plain(str(one.type)),
            descriptions.get(one.name, Column(one.name, "", _by_pattern(one.name))),
        )
        columns.append(
            Column(one.name, about.type if kind == "null" and about.type else kind, about.description)
        )
    return columns, file.metadata.num_rows


@cache
def _described() -> dict[str, dict[str, dict[str, str]]]:
    return tomllib.loads(files("curation_assets.defs").joinpath("columns.toml").read_text("utf-8"))


def _column(name: str, text: str) -> Column:
    kind, _, description = text.partition(": ")
    return Column(name, kind, description)


def _plain(kind: str) -> str:
    """Return an Arrow type's name with one word for what is the same to people."""
    name = kind.split("<")[0]
    return _TYPES.get(name, name)


def _by_pattern(name: str) -> str:
    for pattern, text in _BY_PATTERN:
        if match := re.fullmatch(pattern, name):
            return text.format(match[1])
    return ""
