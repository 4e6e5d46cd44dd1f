"""The public door to selection, for those who import the library: `from curation_assets.sampling import select`."""

from curation_assets.selection import *  # noqa: F403
from curation_assets.selection import __all__ as __all__
