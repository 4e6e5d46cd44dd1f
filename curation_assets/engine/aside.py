"""Artifacts of files that are no part of the corpus: made by the builders of the graph, kept in a folder of their own, in no catalog."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from curation_assets.common.files import parquet_file, safe_name
from curation_assets.common.progress import Progress, silent
from curation_assets.config.profile import Profile
from curation_assets.engine.artifact_cache import Hold
from curation_assets.engine.context import LoadedBuilder
from curation_assets.engine.graph import STEPS
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.step import EDGE
from curation_assets.engine.workspace import Builder, Workspace

ASIDE = "aside"
"""The version of such an artifact: nothing depends on it."""


class AsideWorkspace(Workspace):
    """A workspace that has, beside its own artifacts, some of files that are no part of the corpus. Only the latter can be made.

    Each such file is a shard that is called by its URL, as no file of the corpus is.

    Parameters
    ----------
    profile : whose artifacts are read.
    builders : {asset key: builder} of what may be made.
    corpus : settings of `corpus` that are others for these files; none of them is held out.
    """

    def __init__(self, profile: Profile, builders: Mapping[str, Builder], **corpus: Any) -> None:
        settings = profile.corpus.model_copy(update={"validation_share": 0.0, **corpus})
        super().__init__(profile.model_copy(update={"corpus": settings}))
        self._builders = builders
        self._stack = ExitStack()
        self._home = self._stack.enter_context(self.store.temporary())
        self._progress: Progress = silent
        self._loaded: dict[str, LoadedBuilder] = {}
        self._receipts: dict[tuple[str, str], Receipt] = {}
        self._files: dict[str, dict[str, Any]] = {}

    def close(self) -> None:
        """Remove what was made here."""
        for loaded in self._loaded.values():
            loaded.close()
        self._stack.close()

    @contextmanager
    def file(self, url: str, progress: Progress = silent) -> Iterator[None]:
        """Have a file for a while: what is asked for of it is made then, as the graph makes it of a corpus file.

        One that is of a source of the corpus is read as that is.
        """
        listed = next((about for about in super().listing().values() if about["url"] == url), {})
        of_source: dict[str, Any] = {name: listed[name] for name in ("source", "read_as") if name in listed}
        self._files[url] = {"url": url, "bytes": 0, "modified": None, **of_source}
        self._progress = progress
        self._loaded.pop(EDGE[1], None)  # it has read the listing
        try:
            yield
        finally:
            del self._files[url]
            self._receipts = {at: one for at, one in self._receipts.items() if at[1] != url}
            shutil.rmtree(self._home / safe_name(url), ignore_errors=True)

    def make(self, key: str, partition: str = "") -> Receipt:
        """Make an artifact by the builder of its step."""
        step = STEPS[key]
        if key not in self._loaded:
            self._loaded[key] = LoadedBuilder(self._builders[key], self, step)
        folder = self._home / safe_name(partition) / safe_name(key)
        folder.mkdir(parents=True)
        metadata = self._loaded[key](partition, folder, self._progress)
        receipt = Receipt(key, partition, ASIDE, ASIDE, "", {}, str(folder), {}, metadata, time.time())
        self._receipts[key, partition] = receipt
        return receipt

    def receipt(self, key: str, partition: str = "") -> Receipt | None:
        """Return the receipt of what is made here, or else of the workspace's artifact, or None."""
        if there := self._receipts.get((key, partition)):
            return there
        return self.make(key, partition) if partition in self._files else super().receipt(key, partition)

    def folder(self, receipt: Receipt, hold: Hold | None = None) -> Path:
        """Return a local folder with the files of an artifact."""
        return Path(receipt.folder) if receipt.version == ASIDE else super().folder(receipt, hold)

    @contextmanager
    def open_parquet(self, key: str, partition: str, name: str) -> Iterator[pq.ParquetFile]:
        """Open a Parquet file of an artifact; MissingInput where there is none."""
        if partition in self._files:
            with parquet_file(self.open(key, partition) / name) as table:
                yield table
            return
        with super().open_parquet(key, partition, name) as table:
            yield table

    def listing(self) -> dict[str, dict[str, Any]]:
        """Return the corpus's files, and those that are here for a while."""
        return super().listing() | self._files

    def shards(self) -> list[str]:
        """Return the shards that the graph works on: none of those that are here for a while."""
        return [shard for shard in super().shards() if shard not in self._files]

    def withdraw(self, receipt: Receipt, problem: str = "withdrawn") -> None:
        """Leave the workspace's artifacts as they are: who runs the graph sees what is damaged."""
