"""Two tasks made from the corpus itself, so that something can be fine-tuned where no benchmark is at hand.

`document_origin`: which source a document comes from, told from its beginning. `shuffled_words`: whether a sentence's words
stand in their order. Test examples come from held-out documents, which no subset has, training examples from the others.
They are probes of what a small model has learned, not measures of language understanding. The second is hard: a T5 of a
million parameters stays at chance for the first 20,000 examples and has 91 % after 50,000.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
import pyarrow as pa

from curation_assets.common.hashing import noise
from curation_assets.evaluation.examples import Example

ORIGIN, SHUFFLED = "document_origin", "shuffled_words"
INTACT = ("yes", "no")
_CHARS = 600  # of a document, from its start: more than a probe's input holds
_LEAST_SHARE = 0.02  # of the documents: a rarer source is not asked for
_MOST_SOURCES = 12
_WORDS = range(6, 25)  # in a sentence that is used
_SENTENCES = 4  # of a document
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]")


def origins(sources: Iterable[str]) -> tuple[str, ...]:
    """Return the sources that are asked for: the most frequent, at most 12, each with at least 2 % of the documents."""
    counts = Counter(sources)
    total = sum(counts.values())
    common = [name for name, n in counts.most_common(_MOST_SOURCES) if name and n >= _LEAST_SHARE * total]
    return tuple(sorted(common)) if len(common) > 1 else ()


def document_origin(documents: pa.Table, field: str, known: Sequence[str]) -> list[Example]:
    """Return an example for each document of a known source; columns `doc_id`, `text` and `field` are read."""
    examples = []
    columns = (documents[name].to_pylist() for name in ("doc_id", "text", field))
    for doc_id, text, source in zip(*columns, strict=True):
        if source in known:
            start = " ".join(text[:_CHARS].split())
            examples.append(
                Example(doc_id, f"origin of the document: {start}", source, tuple(known), (source,), "")
            )
    return examples


def shuffled_words(documents: pa.Table, seed: int, limit: int = 0) -> list[Example]:
    """Return two examples for each sentence of 6 to 24 words, of at most 4 sentences a document: as it is, and shuffled.

    How it is shuffled follows from hashes of (seed, document, sentence). Documents are taken in their order until there are
    `limit` examples (0: all); columns `doc_id`, `doc_hash` and `text` are read.
    """
    examples: list[Example] = []
    ids = documents["doc_id"].to_pylist()
    hashes = documents["doc_hash"].to_numpy()
    for doc_id, key, text in zip(ids, hashes, documents["text"].to_pylist(), strict=True):
        if limit and len(examples) >= limit:
            break
        sentences = (sentence.split() for sentence in _SENTENCE.findall(text))
        usable = islice((words for words in sentences if len(words) in _WORDS), _SENTENCES)
        for number, words in enumerate(usable):
            mixed = _reordered(words, key ^ np.uint64(number << 32), seed)
            if mixed != words:
                examples += [
                    _question(f"{doc_id}#{number}{end}", shown, answer)
                    for end, shown, answer in (("", words, INTACT[0]), ("*", mixed, INTACT[1]))
                ]
    return examples[:limit] if limit else examples


def _question(name: str, words: list[str], answer: str) -> Example:
    return Example(name, f"are the words in order? {' '.join(words)}", answer, INTACT, (answer,), "")


def _reordered(words: list[str], key: np.uint64, seed: int) -> list[str]:
    places = key ^ (np.arange(len(words), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return [words[place] for place in np.argsort(noise(places, seed), kind="stable")]
