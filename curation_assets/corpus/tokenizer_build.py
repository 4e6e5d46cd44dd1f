"""How the tokenizer is made: learned from a sample of the corpus, or copied."""

from __future__ import annotations

import shutil
from pathlib import Path

from curation_assets.common.progress import Progress
from curation_assets.corpus.rejected_rows import no_documents
from curation_assets.corpus.smallest import find_smallest, read_chosen
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import BuildOne, Metadata
from curation_assets.models.sources import resolve
from curation_assets.models.tokenizer import load_tokenizer, train_tokenizer


def tokenizer(context: Context) -> BuildOne:
    """Train the tokenizer on the corpus, or copy the one that the profile names."""
    settings = context.profile.tokenizer

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        about: Metadata = {"model": settings.model}
        if settings.model == "train":
            if lost := no_documents(context):
                raise ValueError(lost)
            texts = _sample(context, settings.training_documents, progress)
            about["training_documents"] = len(texts)
            trained = train_tokenizer(texts, settings.vocab_size, folder)
        else:
            model = resolve(settings.model, cache=context.scratch / "models", weights=False)
            for name in (
                "tokenizer.json",
                "spiece.model",
                "tokenizer_config.json",
                "special_tokens_map.json",
            ):
                if (model.folder / name).exists():
                    shutil.copyfile(model.folder / name, folder / name)
            about["digest"] = model.digest
            trained = load_tokenizer(folder)
        return {**about, "vocab_size": trained.vocab_size, "first_sentinel": trained.first_sentinel_id}

    return build


def _sample(context: Context, limit: int, progress: Progress) -> list[str]:
    """Return the texts of the `limit` documents with the smallest hashes, by hash: the same for any shard layout."""
    chosen = find_smallest(context, limit, progress=progress)
    texts: list[str] = read_chosen(context, chosen, ["text"])["text"].to_pylist()
    return texts
