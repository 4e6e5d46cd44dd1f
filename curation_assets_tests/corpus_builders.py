"""How the corpus stage is made, for tests that make artifacts without Dagster."""

from curation_assets.corpus import build as corpus
from curation_assets.corpus.source import source
from curation_assets.corpus.tokenizer_build import tokenizer
from curation_assets.engine.workspace import Builder

CORPUS: dict[str, Builder] = {
    "corpus/source": source,
    "corpus/shards": corpus.shards,
    "corpus/documents": corpus.documents,
    "corpus/tokenizer": tokenizer,
    "corpus/tokens": corpus.token_ids,
    "corpus/index": corpus.index,
}
"""Asset key -> builder, each after what it reads."""
