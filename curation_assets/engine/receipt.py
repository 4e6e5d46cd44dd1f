"""The receipt of an artifact: what it is, what it was made from, which files it has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from curation_assets.common.files import unseal


@dataclass(frozen=True)
class Receipt:
    """What is known of one artifact.

    Attributes
    ----------
    version : the artifact's identity, which is also its Dagster data version.
    recipe : fingerprint of code, settings and input versions that made it. Equal to `version`, except for pinned
        artifacts (models learned from the corpus), whose version is the digest of their content.
    code : fingerprint of code and settings alone.
    inputs : version of each input by asset key; of several partitions, the fingerprint of {partition: version}.
    folder : path of its folder in the store; the same of an artifact that was taken over, since folders never change.
    files : {name: [bytes, sha256]}.
    """

    key: str
    partition: str
    version: str
    recipe: str
    code: str
    inputs: dict[str, str]
    folder: str
    files: dict[str, tuple[int, str]]
    metadata: dict[str, Any] = field(default_factory=dict)
    created: float = 0.0
    seconds: float = 0.0
    run_id: str = ""

    @property
    def bytes(self) -> int:
        """The bytes of all its files."""
        return sum(size for size, _ in self.files.values())


def parse_receipt(content: bytes) -> Receipt | None:
    """Return the receipt, or None where it is not what was written: then it counts as none, and the artifact is made anew."""
    fields = unseal(content)
    if fields is None:
        return None
    try:
        files = {name: (size, digest) for name, (size, digest) in fields.pop("files").items()}
        return Receipt(files=files, **fields)
    except (KeyError, TypeError, ValueError, AttributeError):  # sealed by a version that writes other fields
        return None


def title(key: str, partition: str) -> str:
    """Return an artifact's name for people."""
    return f"{key}[{partition}]" if partition else key
