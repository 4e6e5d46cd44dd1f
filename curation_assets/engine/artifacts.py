"""Where artifacts are read: what the code of the stages asks of it, whoever calls them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import pyarrow.parquet as pq

from curation_assets.config.profile import Profile
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.step import By
from curation_assets.engine.workspace import Metadata


class Artifacts(Protocol):
    """Where artifacts are read: a builder's `Context`, or the `Workspace` for what people ask."""

    @property
    def profile(self) -> Profile:
        """The settings."""

    @property
    def data(self) -> Path:
        """The data folder."""

    @property
    def scratch(self) -> Path:
        """Where files wait that no artifact has."""

    @property
    def device(self) -> str:
        """The torch device."""

    def shards(self) -> list[str]:
        """Return the shards that the graph works on."""

    def partitions(self, by: By) -> list[str]:
        """Return all partition keys of a kind."""

    def open(self, key: str, partition: str = "") -> Path:
        """Return a local folder with an artifact's files, their digests checked; MissingInput where there is none."""

    def opened(self, key: str, partition: str) -> AbstractContextManager[Path]:
        """Open an artifact for a while: a loop over many on a remote store keeps no more than one on this machine."""

    def open_parquet(self, key: str, partition: str, name: str) -> AbstractContextManager[pq.ParquetFile]:
        """Open a Parquet file of an artifact, to read some of its columns or rows; MissingInput where there is none."""

    def receipt(self, key: str, partition: str = "") -> Receipt | None:
        """Return an artifact's receipt, or None."""

    def metadata(self, key: str, partition: str = "") -> Metadata:
        """Return the metadata in an artifact's receipt; MissingInput where there is none."""
