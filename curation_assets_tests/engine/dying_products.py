"""How artifacts are made, with what may happen to whoever makes them.

`DIES` and `RAISES` name the partitions that kill whoever makes them, or cannot be made. `HOLDS` is a folder: who loads a
step leaves a note there, and who makes an artifact a note of its process, and then waits for the file `go`.
"""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from curation_assets import products
from curation_assets.common.files import safe_name
from curation_assets.engine.context import Context
from curation_assets.engine.product import Product
from curation_assets.engine.workspace import BuildOne, Metadata, title

DIES, RAISES, HOLDS = "CURATION_TEST_DIES", "CURATION_TEST_RAISES", "CURATION_TEST_HOLDS"


def _named(variable: str, name: str) -> bool:
    return name in os.environ.get(variable, "").split()


def _deadly(product: Product) -> Product:
    def build(context: Context) -> BuildOne:
        _note("load", product.key)
        one = product.build(context)

        def make(partition: str, folder: Path, progress: Callable[..., None]) -> Metadata:
            name = title(product.key, partition)
            if _named(DIES, name):
                os.kill(os.getpid(), signal.SIGKILL)
            if _named(RAISES, name):
                raise ValueError("this one cannot be made")
            _hold(name)
            return one(partition, folder, progress)

        return make

    return replace(product, build=build)


def _note(what: str, name: str) -> Path | None:
    folder = os.environ.get(HOLDS)
    note = Path(folder, f"{what}-{safe_name(name)}-{os.getpid()}-{time.monotonic_ns()}") if folder else None
    if note:
        note.touch()
    return note


def _hold(name: str) -> None:
    note = _note("make", name)
    while note and not (note.parent / "go").exists():
        time.sleep(0.05)


PRODUCTS = tuple(map(_deadly, products.PRODUCTS))
CHECKS, CHECKED_WITH = products.CHECKS, products.CHECKED_WITH
