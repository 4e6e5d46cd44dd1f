"""Sampling: scores -> selection keys -> the documents that stay."""

from curation_assets.common.hashing import hash_documents, hash_ids, noise, text_digest
from curation_assets.selection.keys import selection_keys
from curation_assets.selection.select import kept_count, select
from curation_assets.selection.threshold import Threshold, global_threshold

__all__ = [
    "Threshold",
    "global_threshold",
    "hash_documents",
    "hash_ids",
    "kept_count",
    "noise",
    "select",
    "selection_keys",
    "text_digest",
]
