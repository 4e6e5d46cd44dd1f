"""The first stage of a hybrid sampler: what another sampler keeps, before the hybrid chooses of that."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = r"\s*([a-z][a-z0-9_]*)"
_NUMBER = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*"
_SHARE = re.compile(rf"{_NAME}\s+{_NUMBER}%\s*")
_BOUND = re.compile(rf"{_NAME}\s*(<|>=)\s*{_NUMBER}")


@dataclass(frozen=True)
class FirstStage:
    """What stays of a sampler's scores: its choice at a rate ("" and the share), or what lies on one side of a value.

    Attributes
    ----------
    side : "<" or ">=" of `value`, which is in the unit that people know the score in; "" where `value` is a share in (0, 1).
    """

    sampler: str
    side: str
    value: float

    def __str__(self) -> str:
        """Say it as `first_stage` reads it."""
        return (
            f"{self.sampler} {self.side} {self.value:.12g}"
            if self.side
            else f"{self.sampler} {100 * self.value:.12g}%"
        )


def first_stage(text: str) -> FirstStage:
    """Return what a text means: "ask_llm_xl 40%", "semdedup < 0.9" or "ask_llm_xl >= -0.7". It says what stays.

    Raises
    ------
    ValueError
        It is none of these.
    """
    if match := _SHARE.fullmatch(text):
        share = float(match[2]) / 100
        if not 0 < share < 1:
            raise ValueError(f"{text!r}: a share must be above 0 % and below 100 %")
        return FirstStage(match[1], "", share)
    if match := _BOUND.fullmatch(text):
        return FirstStage(match[1], match[2], float(match[3]))
    raise ValueError(
        f'{text!r} is no first stage: say what stays, as "ask_llm_xl 40%", "semdedup < 0.9" or "ask_llm_xl >= -0.7"'
    )
