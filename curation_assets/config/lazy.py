"""A dict that is made when it is first looked into, so that modules that need one another may import each other's names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import TypeVar

T = TypeVar("T")


class LazyDict(Mapping[str, T]):
    """What `make` returns, read-only, in its order.

    Raises
    ------
    ImportError
        It is looked into while it is being made, as by a module that is imported for it.
    """

    def __init__(self, name: str, make: Callable[[], dict[str, T]]) -> None:
        self._name, self._make, self._making = name, make, False

    @cached_property
    def _made(self) -> dict[str, T]:
        if self._making:
            raise ImportError(f"{self._name} are being loaded: look into them within a function")
        self._making = True
        try:
            return self._make()
        finally:
            self._making = False

    def __getitem__(self, key: str) -> T:
        """Return a value."""
        return self._made[key]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the keys."""
        return iter(self._made)

    def __reversed__(self) -> Iterator[str]:
        """Iterate over the keys from the last to the first."""
        return reversed(self._made)

    def __len__(self) -> int:
        """Return how many keys there are."""
        return len(self._made)
