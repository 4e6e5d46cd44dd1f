"""How much of a corpus to keep: a share of its documents, a number of them, or a budget of tokens; and the keys of partitions made at amounts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cache
from itertools import groupby
from typing import Literal, get_args

Kind = Literal["rate", "documents", "tokens"]

_FACTORS = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_SHARE = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE]-?[0-9]+)?)\s*(%|percent)?\s*")
_COUNT = re.compile(r"\s*([0-9][0-9_,]*(?:\.[0-9]+)?)\s*([kMBT]?)\s*(document|doc|token)s?\s*")
_MOST = 10**15  # whole numbers up to this are exact as float64, and as their tokens are summed


@dataclass(frozen=True)
class Amount:
    """How much to keep: a "rate" in (0, 1], or a positive whole number of "documents" or "tokens"."""

    kind: Kind
    value: float

    def __post_init__(self) -> None:
        """Refuse what cannot be an amount."""
        if self.kind == "rate":
            if not 0 < self.value <= 1:
                raise ValueError(f"a rate must be above 0 and at most 1, not {self.value}")
        elif not 1 <= self.value <= _MOST or self.value != int(self.value):
            raise ValueError(f"a number of {self.kind} must be positive and whole, not {self.value}")

    def __str__(self) -> str:
        """Say it as `amount` reads it: the same text for the same amount, "2.5B tokens" for 2,500M as well."""
        if self.kind == "rate":
            return f"{_digits(Decimal(f'{100 * self.value:.10g}'))}%"
        count = int(self.value)
        unit, factor = max(
            ((name, size) for name, size in _FACTORS.items() if size <= count and 100 * count % size == 0),
            key=lambda unit: unit[1],
        )
        return f"{_digits(Decimal(count) / factor)}{unit} {self.kind}"

    @property
    def key(self) -> str:
        """The key of partitions made at this amount: "20" of 20 %, "2.5B-tokens". `of_key` reads it."""
        return str(self).removesuffix("%").replace(" ", "-")


def _digits(number: Decimal) -> str:
    """Return a number without an exponent, and without zeros at the end of its fraction."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def amount(value: float | str | Amount) -> Amount:
    """Return the amount that a number or a text means.

    A number is a rate in (0, 1]. A text is "0.33", "33%", "5000 documents" or "2.5M tokens" (k, M, B and T count by
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
        with localcontext(prec=60):
            count = Decimal(match[1].replace(",", "").replace("_", "")) * _FACTORS[match[2]]
        return Amount("documents" if match[3] != "token" else "tokens", _whole(value, count))
    raise ValueError(f'{value!r} is no amount: say "0.33", "33%", "5000 documents" or "2M tokens"')


def _whole(text: str, count: Decimal) -> int:
    if count != int(count):
        raise ValueError(f"{text}: {_digits(count)} is no whole number")
    return int(count)


@cache
def of_key(key: str) -> Amount:
    """Return the amount that a partition's key means."""
    return amount(key.replace("-", " ") if "-" in key else f"{key}%")


def by_kind(keys: Iterable[str]) -> list[list[str]]:
    """Return keys as `ordered` does, those of each kind together: what can share an axis."""
    return [list(some) for _, some in groupby(ordered(keys), lambda key: of_key(key).kind)]


def ordered(keys: Iterable[str]) -> list[str]:
    """Return keys, each once: rates, then numbers of documents, then budgets of tokens; of each kind the smaller first."""
    return sorted(set(keys), key=order)


def order(key: str) -> tuple[int, float]:
    """Return what keys are sorted by."""
    size = of_key(key)
    return get_args(Kind).index(size.kind), size.value


def label(*keys: str, joint: str = ", ") -> str:
    """Return what people read for keys: "20 %", "2.5B tokens", "10, 20 %, 4k tokens"."""
    texts = [str(of_key(key)) for key in keys]
    rates, budgets = ([t for t in texts if t.endswith("%") == share] for share in (True, False))
    shares = [f"{joint.join(text.removesuffix('%') for text in rates)} %"] if rates else []
    return joint.join([*shares, *budgets])
