"""Where evaluation data comes from: the hub, or a folder that mirrors it; rows as the hub gives them, nothing else."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz")


class MissingData(LookupError):
    """Data that is not there, or whose labels are not public. The message names dataset, config, split and where it looked."""


class BadRow(ValueError):
    """A row that is not what the hub has. The message names dataset, config, split and row (from 0)."""


class Row(dict[str, Any]):
    """One row that knows where it stands, so that a missing column is reported with its place."""

    __slots__ = ("where",)

    def __init__(self, values: dict[str, Any], where: str) -> None:
        super().__init__(values)
        self.where = where

    def __missing__(self, column: str) -> Any:
        raise BadRow(f"{self.where} has no column {column!r}; it has {', '.join(sorted(self))}")


class Rows:
    """The rows of a split, in order, as often as wanted: every iteration reads them anew and keeps none."""

    def __init__(self, where: str, open_rows: Callable[[], Iterable[Any]]) -> None:
        self.where = where
        self._open = open_rows

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows.

        Raises
        ------
        BadRow
            One is not a JSON object.
        """
        for number, values in enumerate(self._open()):
            where = f"{self.where} row {number}"
            if isinstance(values, bytes):
                values = _parse(values, where)
            if not isinstance(values, dict):
                raise BadRow(f"{where} is not an object with columns")
            yield Row(values, where)


class Source:
    """Evaluation data by hub id, config and split.

    Parameters
    ----------
    root
        "" for the hub (read with `datasets`), or a folder with `<dataset>/<config>/<split>` files: `.parquet`, `.jsonl` or
        `.jsonl.gz`, whose columns are the hub's.
    cache_dir
        Where `datasets` keeps what it downloads; None for its default. A folder is read without it.
    """

    def __init__(self, root: str, cache_dir: str | Path | None = None) -> None:
        self.root = root
        self._cache = None if cache_dir is None else str(cache_dir)

    def splits(self, dataset: str, config: str) -> set[str]:
        """Return the names of the splits that are there.

        Raises
        ------
        MissingData
            The dataset or config is not there, or the hub cannot be asked.
        """
        if self.root:
            folder = self._folder(dataset, config)
            names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
            splits = {name.removesuffix(end) for name in names for end in SUFFIXES if name.endswith(end)}
            if not splits:
                raise MissingData(f"{dataset} {config}: {folder} has no {', '.join(SUFFIXES)} file")
            return splits
        self._must_be_on_the_hub(dataset, config, "")
        import datasets

        try:
            return set(datasets.get_dataset_split_names(dataset, config))
        except Exception as error:
            raise _hub_failed(dataset, config, "", error) from error

    def rows(self, dataset: str, config: str, split: str) -> Rows:
        """Return the rows of a split.

        Raises
        ------
        MissingData
            It is not there, or the hub cannot be read.
        """
        where = f"{dataset} {config} {split}"
        if self.root:
            path = self.files(dataset, config, split)[0]
            read = _parquet_rows if path.suffix == ".parquet" else _lines
            return Rows(where, lambda: read(path))
        self._must_be_on_the_hub(dataset, config, split)
        import datasets

        try:
            table = datasets.load_dataset(dataset, config, split=split, cache_dir=self._cache)
        except Exception as error:
            raise _hub_failed(dataset, config, split, error) from error
        return Rows(where, lambda: table)

    def files(self, dataset: str, config: str, split: str) -> list[Path]:
        """Return the files of a split in a mirror, so that a caller can note their digests; none for the hub.

        Raises
        ------
        MissingData
            There is none.
        ValueError
            There is more than one, so that it is not said which counts.
        """
        if not self.root:
            return []
        folder = self._folder(dataset, config)
        paths = [path for end in SUFFIXES if (path := folder / f"{split}{end}").is_file()]
        if not paths:
            expected = folder / f"{split}{{{','.join(SUFFIXES)}}}"
            raise MissingData(f"{dataset} {config} {split}: there is no {expected}")
        if len(paths) > 1:
            raise ValueError(
                f"{dataset} {config} {split} is there twice: keep one of {', '.join(map(str, paths))}"
            )
        return paths

    def _folder(self, dataset: str, config: str) -> Path:
        return Path(self.root, *dataset.split("/"), config)

    def _must_be_on_the_hub(self, dataset: str, config: str, split: str) -> None:
        if "/" not in dataset:
            raise MissingData(
                f"{dataset} {config} {split}: it is not on the hub; set evaluation.eval_root to a folder that has "
                f"{dataset}/{config}/{split or '<split>'}.jsonl"
            )


def _hub_failed(dataset: str, config: str, split: str, error: Exception) -> MissingData:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return MissingData(
        f"{dataset} {config} {split}: the hub did not give it ({reason}); see that it can be reached, or set "
        f"evaluation.eval_root to a folder that has {dataset}/{config}/{split or '<split>'}.jsonl"
    )


def _lines(path: Path) -> Iterator[bytes]:
    # Line by line with `json`, since readers that guess column types turn strings that look like dates into dates.
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as source:
        for line in source:
            if line.strip():
                yield line


def _parse(line: bytes, where: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise BadRow(f"{where} is not valid JSON: {error}") from None


def _parquet_rows(path: Path) -> Iterator[Any]:
    with pq.ParquetFile(path) as source:
        for batch in source.iter_batches(batch_size=1024):
            yield from batch.to_pylist()
