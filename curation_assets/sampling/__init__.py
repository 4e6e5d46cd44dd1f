"""Sampling: scores -> selection keys -> the documents that stay."""

from curation_assets.sampling.keys import hash_documents, hash_ids, noise, selection_keys, text_digest
from curation_assets.sampling.select import kept_count, select
from curation_assets.sampling.threshold import Threshold, global_threshold

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
