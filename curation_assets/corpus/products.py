"""The corpus assets: shards -> documents -> tokenizer, tokens, index, validation sets."""

from __future__ import annotations

from curation_assets.corpus import build, tokenizer_build
from curation_assets.corpus.reference import reference
from curation_assets.corpus.source import source
from curation_assets.engine.product import Product

CORPUS = (
    Product(
        "corpus/source",
        source,
        "The list of corpus files: start here.",
        "Materializing it builds the default corpus where the profile says `builtin`, lists the files with their sizes and "
        "times, and makes each a partition of everything below. Files that are passed over are listed with the reason.",
        files="`shards.json`, `hq.json`, `reference.json`, `passed_over.json`",
        use="after files came, changed or went, if the sensor `corpus_changes` is off.",
    ),
    Product(
        "corpus/shards",
        build.shards,
        "One corpus file, by the digest of its content.",
        "A touched or renamed file is no change; of one that was renamed, what is there is taken over without scoring.",
        files="nothing but the digest in its metadata",
    ),
    Product(
        "corpus/documents",
        build.documents,
        "The documents of a corpus file, and the rows that are none.",
        "Unicode NFC, line feeds, stable ids. A row that cannot be a document goes to the quarantine table with file, row and reason "
        "and stops nobody; a fixed share, chosen by hash of id and text, is held out and reaches no scorer and no subset.",
        paper="C4: 364M documents, 184B tokens",
        use="read `quarantine` in the metadata when `reasons` names many rows.",
    ),
    Product(
        "corpus/tokenizer",
        tokenizer_build.tokenizer,
        "The tokenizer of every model trained here.",
        "T5's unigram tokenizer (pieces, special tokens, 100 sentinels): learned from the corpus, or T5's own.",
        files="`tokenizer.json` and its configuration",
    ),
    Product(
        "corpus/tokens",
        build.token_ids,
        "The documents of a corpus file as token ids.",
        "Made once for all scorers and trainings that share the tokenizer.",
        files="for `documents` and `validation`: `NAME.ids.npy` (one after the other) and `NAME.offsets.npy` (where each begins)",
    ),
    Product(
        "corpus/index",
        build.index,
        "The whole corpus in figures, and documents that stand in several files.",
        "A document whose id and text stand in two files counts once, in the first file by name; subsets and trainings go by this. "
        "An id that stands for several texts is told, and all of them stay.",
        files="`shards.json` (counts of each file)",
        use="look here for documents, tokens, quarantined rows and files that are left out.",
    ),
    Product(
        "corpus/validation",
        build.validation,
        "The two evaluation sets for perplexity, as texts and as token ids.",
        "`in_distribution` are held-out documents of the corpus, `hq` the half of the high-quality texts that no sampler is fitted to.",
        files="for each set `NAME.ids.npy` and `NAME.offsets.npy`",
        paper="C4's validation set and HQ: English wiki40b, realnews and webtext of C4, LM1B news",
    ),
    Product(
        "corpus/reference",
        reference,
        "Text of the kind that is wanted, to which samplers are fitted.",
        "Of `corpus.reference_url`, or where that is empty of `corpus.hq_url`, the half that models are never measured on: which half a text "
        "is in follows from its hash alone.",
    ),
)
