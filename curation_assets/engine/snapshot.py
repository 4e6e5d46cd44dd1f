"""A workspace for who looks at many artifacts: reports, checks, the status."""

from __future__ import annotations

from typing import Any

from curation_assets.engine.receipt import Receipt
from curation_assets.engine.staleness import Versions
from curation_assets.engine.step import By
from curation_assets.engine.workspace import Workspace


class Snapshot(Workspace):
    """A workspace as some versions have it: the receipts of a key are read at once, and once."""

    def __init__(self, versions: Versions) -> None:
        super().__init__(versions.profile)
        self.store, self.catalog = versions.workspace.store, versions.workspace.catalog
        self._versions = versions

    def receipt(self, key: str, partition: str = "") -> Receipt | None:
        """Return an artifact's receipt; None where there is none, or a file of it is missing or resized."""
        return self._versions.receipt(key, partition)

    def receipts(self, key: str) -> dict[str, Receipt]:
        """Return {partition: receipt} of the artifacts of a key that are there and intact."""
        return self._versions.receipts(key)

    def listing(self) -> dict[str, dict[str, Any]]:
        """Return {shard: {url, bytes, modified}} as `corpus/source` found it last."""
        return self._versions.listing

    def set_aside(self) -> dict[str, str]:
        """Return {shard: reason} of listed files that never could be read."""
        return self._versions.set_aside

    def shards(self) -> list[str]:
        """Return the shards that the graph works on."""
        return self._versions.partitions("shard")

    def partitions(self, by: By) -> list[str]:
        """Return all partition keys of a kind."""
        return self._versions.partitions(by)
