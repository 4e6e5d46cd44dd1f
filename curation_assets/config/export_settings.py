"""What the texts of a choice are written as: format, size of files, and which documents appear several times."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ByteSize, Field, TypeAdapter, ValidationError, field_validator

from curation_assets.config.section import EXECUTION, Section
from curation_assets.config.settings import Samplers

Format = Literal["parquet", "jsonl.zst"]
MOST_TIMES = 100
"""Times that a document may appear."""
_BAND = re.compile(r"\s*(top|next)\s+([0-9]*\.?[0-9]+)\s*%\s*[x×*]\s*([0-9]*\.?[0-9]+)\s*")
_EXACT = 1e-9


def file_size(given: Any) -> int:
    """Return the bytes that "500MB" or "2GiB" are; ValueError where that is no size."""
    try:
        found = int(TypeAdapter(ByteSize).validate_python(given))
    except ValidationError:
        found = 0
    if found < 1:
        raise ValueError(f'{given!r} is no size of a file: say "500MB" or "2GiB"')
    return found


@dataclass(frozen=True)
class Band:
    """The documents behind the first share `above` of the chosen ones, up to `upto`, appear `times` times, on average."""

    above: float
    upto: float
    times: float

    def __str__(self) -> str:
        """Say it as `bands` reads it."""
        return f"{'next' if self.above else 'top'} {100 * (self.upto - self.above):.10g}% x {self.times:.10g}"


def bands(given: Iterable[str]) -> tuple[Band, ...]:
    """Return the bands that "top 10% x 2", "next 20% x 1.5" are, each from where the one before it ends.

    Raises
    ------
    ValueError
        One cannot be read, comes out of order, or goes beyond the chosen documents; or a factor is not from 1 to 100.
    """
    read: list[Band] = []
    for text in given:
        match = _BAND.fullmatch(text)
        if not match:
            raise ValueError(f'{text!r} is no repeat: say "top 10% x 2", and after it "next 20% x 1.5"')
        above, share, times = read[-1].upto if read else 0.0, float(match[2]) / 100, float(match[3])
        if (match[1] == "top") != (not read):
            raise ValueError(f'{text!r}: the first repeat begins with "top", each after it with "next"')
        if not 0 < share <= 1 - above + _EXACT:
            raise ValueError(f"{text!r}: {100 * (1 - above):.10g}% of the chosen documents are left for it")
        if not 1 <= times <= MOST_TIMES:
            raise ValueError(f"{text!r}: a document appears from 1 to {MOST_TIMES} times")
        read.append(Band(above, min(above + share, 1.0), times))
    return tuple(read)


class Export(Section):
    """Whose choice every run writes out with its texts, at the amounts of [run], and how; no samplers: nobody's.

    Attributes
    ----------
    shard_size : bytes of text, before compression, after which the next file begins: 500 MB, as `datasets` writes them, are some 200 MB
        compressed, so that there are files enough for many readers at once, and few enough to list.
    normalized : texts as they were scored (Unicode NFC, line feeds), and not as they stand in the corpus.
    repeat : which documents appear several times: "top 10% x 2".
    license : what the dataset card says, as the hub spells it: "cc-by-4.0", "other". A choice has that of its corpus.
    """

    samplers: Samplers = Field(json_schema_extra=EXECUTION)
    format: Format
    shard_size: Annotated[int, BeforeValidator(file_size)]
    normalized: bool
    repeat: Annotated[tuple[str, ...], Field(strict=False)]
    license: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]*$")] = "unknown"

    @field_validator("samplers")
    @classmethod
    def _each_once(cls, samplers: list[str]) -> list[str]:
        return list(dict.fromkeys(samplers))

    @field_validator("repeat")
    @classmethod
    def _readable(cls, repeat: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(str, bands(repeat)))

    @property
    def bands(self) -> tuple[Band, ...]:
        """What is repeated."""
        return bands(self.repeat)
