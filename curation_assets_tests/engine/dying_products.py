"""How artifacts are made, by a worker that dies of it: `DIES` names the partitions that kill whoever makes them."""

import os
import signal
from dataclasses import replace
from pathlib import Path

from curation_assets import products
from curation_assets.engine.context import Context
from curation_assets.engine.product import Product
from curation_assets.engine.workspace import BuildOne, Metadata, title

DIES = "CURATION_TEST_DIES"


def _deadly(product: Product) -> Product:
    def build(context: Context) -> BuildOne:
        one = product.build(context)

        def make(partition: str, folder: Path, progress: object) -> Metadata:
            if title(product.key, partition) in os.environ[DIES].split():
                os.kill(os.getpid(), signal.SIGKILL)
            return one(partition, folder, progress)  # type: ignore[arg-type]

        return make

    return replace(product, build=build)


PRODUCTS = tuple(map(_deadly, products.PRODUCTS))
CHECKS, CHECKED_WITH = products.CHECKS, products.CHECKED_WITH
