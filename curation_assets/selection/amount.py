"""How much of a corpus to keep: a share of its documents, a number of them, or a budget of tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_FACTORS = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9}
_SHARE = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE]-?[0-9]+)?)\s*(%|percent)?\s*")
_COUNT = re.compile(r"\s*([0-9][0-9_,]*(?:\.[0-9]+)?)\s*([kMB]?)\s*(document|doc|token)s?\s*")


@dataclass(frozen=True)
class Amount:
    """How much to keep: a "rate" in (0, 1], or a positive whole number of "documents" or "tokens"."""

    kind: Literal["rate", "documents", "tokens"]
    value: float

    def __post_init__(self) -> None:
        """Refuse what cannot be an amount."""
        if self.kind == "rate":
            if not 0 < self.value <= 1:
                raise ValueError(f"a rate must be above 0 and at most 1, not {self.value}")
        elif self.value < 1 or self.value != int(self.value):
            raise ValueError(f"a number of {self.kind} must be positive and whole, not {self.value}")

    def __str__(self) -> str:
        """Say it as `amount` reads it."""
        if self.kind == "rate":
            return f"{100 * self.value:.10g}%"
        return f"{int(self.value):,} {self.kind}"


def amount(value: float | str | Amount) -> Amount:
    """Return the amount that a number or a text means.

    A number is a rate in (0, 1]. A text is "0.33", "33%", "5000 documents" or "2.5M tokens" (k, M and B count by
    thousands; "_" and "," may group digits).

    Raises
    ------
    ValueError
        It is none of these.
    """
    if isinstance(value, Amount):
        return value
    if not isinstance(value, str):
        return Amount("rate", value)
    if match := _SHARE.fullmatch(value):
        share = float(match[1])
        if not match[2] and share > 1:
            raise ValueError(f'{value} is no rate: say "{value}%", "{value} documents" or "{value} tokens"')
        return Amount("rate", share / 100 if match[2] else share)
    if match := _COUNT.fullmatch(value):
        digits, factor = match[1].replace(",", "").replace("_", ""), _FACTORS[match[2]]
        count = int(digits) * factor if digits.isdecimal() else round(float(digits) * factor, 6)
        return Amount("documents" if match[3] != "token" else "tokens", count)
    raise ValueError(f'{value!r} is no amount: say "0.33", "33%", "5000 documents" or "2M tokens"')
