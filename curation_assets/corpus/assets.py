"""The corpus assets: shards -> documents -> tokenizer, tokens, index, validation sets."""

from __future__ import annotations

import dagster as dg

from curation_assets.assets import step_asset
from curation_assets.corpus import build
from curation_assets.profile import Profile


def corpus_assets(profile: Profile) -> list[dg.AssetsDefinition]:
    """Return the assets of the corpus stage."""
    return [
        step_asset(
            "corpus/source",
            build.source,
            profile,
            "The list of corpus files. Materialize it first: it builds the default corpus where the profile asks for "
            "it, lists the files and registers each as a shard partition.",
        ),
        step_asset(
            "corpus/shards",
            build.shards,
            profile,
            "One corpus file. Its version is the digest of its content, so a touched or renamed file is no change.",
        ),
        step_asset(
            "corpus/documents",
            build.documents,
            profile,
            "The shard's documents: Unicode NFC, line feeds, stable ids. Rows that cannot be documents go to the "
            "quarantine table with file, row and reason; a fixed share, chosen by hash of the id, is held out.",
        ),
        step_asset(
            "corpus/tokenizer",
            build.tokenizer,
            profile,
            "T5's unigram tokenizer (pieces, special tokens, 100 sentinels): learned from the corpus, or T5's own. "
            "Pinned: it is learned once, and again only on demand or with other settings.",
        ),
        step_asset(
            "corpus/tokens",
            build.token_ids,
            profile,
            "The shard's token ids, cached for every scorer and training run that shares the tokenizer.",
        ),
        step_asset(
            "corpus/index",
            build.index,
            profile,
            "The whole corpus in figures, and which ids stand in more than one shard (the first shard keeps them).",
        ),
        step_asset(
            "corpus/validation",
            build.validation,
            profile,
            "The evaluation sets as token ids: held-out documents of the corpus, and high-quality texts (paper: "
            "wiki40b, realnews, webtext and LM1B news for HQ).",
        ),
    ]
