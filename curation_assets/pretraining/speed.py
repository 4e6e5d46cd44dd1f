"""How fast a run trained, kept with the run so that a resumed one can say it of all its parts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple


class Speed(NamedTuple):
    """What the steps of a run took, over all calls that had a part in it.

    Steps that a kill cost are in none of the numbers: they were trained again, and the second time counts.
    """

    steps: int = 0
    """Steps that were timed: fewer than the run has where a part of it was trained without a clock."""
    seconds: float = 0.0
    """Wall-clock seconds of these steps, batches and resume points included, the set-up left out."""
    available: float = 0.0
    """FLOPs that the devices' measured matrix multiplication rate allows in these seconds."""

    def plus(self, other: Speed) -> Speed:
        """Return the speed of both parts together."""
        return Speed(self.steps + other.steps, self.seconds + other.seconds, self.available + other.available)

    def share(self, flops_per_step: float) -> float:
        """Return which share of the measured rate was used, 0 where nothing was timed."""
        return flops_per_step * self.steps / self.available if self.available else 0.0

    def to_strings(self) -> dict[str, str]:
        """Return the fields as a safetensors header holds them."""
        return {f"speed.{name}": repr(value) for name, value in self._asdict().items()}

    @classmethod
    def from_strings(cls, header: Mapping[str, str]) -> Speed:
        """Read what `to_strings` gave; of a header without it, that nothing was timed."""
        if "speed.steps" not in header:
            return cls()
        return cls(
            int(header["speed.steps"]), float(header["speed.seconds"]), float(header["speed.available"])
        )


class Meter:
    """Takes the time of a run's steps.

    Parameters
    ----------
    rate
        Of all devices together, FLOPs a second.
    earlier
        The speed of the run's steps so far.
    """

    def __init__(self, rate: float, earlier: Speed) -> None:
        self.total, self._rate = earlier, rate
        self.start()

    def start(self) -> None:
        """Let the time run from now."""
        self._clock = time.monotonic()

    def lap(self, steps: int) -> Speed:
        """Return the speed of so many steps since the last call, having added it to the total."""
        now = time.monotonic()
        seconds, self._clock = now - self._clock, now
        part = Speed(steps, seconds, seconds * self._rate)
        self.total = self.total.plus(part)
        return part
