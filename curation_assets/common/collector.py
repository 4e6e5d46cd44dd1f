"""Python's collector of cycles, which costs more than what it is kept from, where very many objects are made that are none."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """Keep it from looking for cycles, time and again, among very many objects that are none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
