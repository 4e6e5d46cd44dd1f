"""The receipt of an artifact: what it is, what it was made from, which files it has."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

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

    @classmethod
    def damaged(cls, key: object, partition: object, folder: object, created: object) -> Receipt:
        """Return what is left of an entry of the catalog that is not what was written: where it stands, and nothing that it says."""
        since = created if isinstance(created, float) and math.isfinite(created) else 0.0
        return cls(str(key), str(partition), "", "", "", {}, str(folder), {}, created=since)

    @classmethod
    def of_row(cls, row: Iterable[Any]) -> Receipt:
        """Return a receipt by the values of its fields; those of `AS_JSON` are decoded when they are asked for.

        A look at the graph reads hundreds of thousands, and needs all of few.
        """
        receipt = object.__new__(cls)
        values = vars(receipt)
        values.update(zip(_NAMES, row, strict=True))
        values["partition"] = sys.intern(values["partition"])  # one string for all steps: found by what it is
        return receipt

    if not TYPE_CHECKING:  # a checker would take every name for one that there is

        def __getattr__(self, name: str) -> Any:
            """Decode a field that was given as JSON; asked for what is not there yet, and so once."""
            if name not in AS_JSON:
                raise AttributeError(name)
            value, _ = _decode(vars(self)[_ENCODED[name]])
            if name == "files":
                value = {file: (size, digest) for file, (size, digest) in value.items()}
            vars(self)[name] = value
            return value

    @property
    def sound(self) -> bool:
        """Tell whether it is what was written; of a `damaged` one nothing is to be believed, and no file to be touched."""
        return self.recipe != ""

    @property
    def seen(self) -> dict[str, list[int]]:
        """The states of files outside the graph that it was made from, as `file_states` gives them; few artifacts have some."""
        encoded = vars(self).get(_ENCODED["metadata"])
        return {} if encoded is not None and '"seen"' not in encoded else self.metadata.get("seen", {})

    @property
    def bytes(self) -> int:
        """The bytes of all its files."""
        return sum(size for size, _ in self.files.values())


AS_JSON = ("inputs", "files", "metadata")
"""Fields that stand in the catalog as JSON."""
FIELDS = tuple(field.name for field in fields(Receipt))
_ENCODED = {name: f"encoded {name}" for name in AS_JSON}
_NAMES = tuple(_ENCODED.get(name, name) for name in FIELDS)
_decode = json.JSONDecoder().raw_decode


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
