"""Choose the data that language models are trained on: scores, subsets and their comparison as Dagster assets, or as a library.

`from curation_assets import load_scorer, select`: see `curation_assets.api`, which is imported when one of its names is asked for.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """Return what `curation_assets.api` offers."""
    from importlib import import_module

    if not name.startswith("_"):
        api = import_module("curation_assets.api")
        if name in api.__all__:
            return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
