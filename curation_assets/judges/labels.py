"""A teacher's judgements of some documents: which documents, and a cache from which a killed run goes on.

Judging is slow (a large teacher takes seconds a document) and is therefore never done twice. The cache is a folder for
one teacher with its settings; who changes either takes another folder.

    part-<digest>.parquet    judgements, keyed by a hash of the text: a changed text of an old id is judged anew

A part is named by a digest of its bytes and never changed, so a damaged one is noticed; it appears whole, by rename.
"""

from __future__ import annotations

import hashlib
import logging
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation_assets.common.files import write_bytes
from curation_assets.common.hashing import noise
from curation_assets.common.progress import Progress, silent
from curation_assets.pretraining.run_folder import RunFolder
from curation_assets.scoring.ask_llm import ScoreTable, check_texts

_LOG = logging.getLogger(__name__)
_CHOICE_SALT, _SPLIT_SALT = 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B  # no sampler's noise, nor each other's
_KEY = 16  # bytes of SHA-256
_SCHEMA = pa.schema(
    [
        ("key", pa.binary(_KEY)),
        ("score", pa.float64()),
        ("tokens", pa.int32()),
        ("cut", pa.bool_()),
        ("flags", pa.uint8()),
    ]
)


class Scorer(Protocol):
    """What a teacher is, once loaded; `scoring.ask_llm.AskLLM` is one."""

    def score_table(self, texts: Sequence[str], /) -> ScoreTable:
        """Judge each text."""


@dataclass(frozen=True)
class LabelTable(ScoreTable):
    """What the teacher says of n documents: a `ScoreTable`, whose `score` is log P("yes").

    `reused` is how many of the documents it was not asked about: they were in the cache, or have the text of another.
    """

    reused: int


class _Label(NamedTuple):
    score: float
    tokens: int
    cut: bool
    flags: int


def choice(doc_hash: NDArray[np.uint64], seed: int) -> NDArray[np.float64]:
    """Return what orders documents for labelling, float64 [n]: the `count` smallest are a uniform sample.

    A function of the documents' `doc_hash` (uint64[n]) and the seed, in whatever order or shards they come. Of one seed a
    smaller sample is the beginning of a larger one, so that more labels later keep those that are there.

    Raises
    ------
    ValueError
        The seed is not in [0, 2**64).
    TypeError
        `doc_hash` is not uint64[n].
    """
    return noise(doc_hash, operator.index(seed) ^ _CHOICE_SALT)


def held_out(doc_hash: NDArray[np.uint64], share: float, seed: int) -> NDArray[np.bool_]:
    """Tell which documents are kept from training, bool[n]: each with probability `share`, independent of `choice`.

    A function of the document's hash and the seed alone, so that no document changes sides when others come. Raises as
    `choice` does, where `share` is not in [0, 1].
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must lie in [0, 1], not {share}")
    return noise(doc_hash, operator.index(seed) ^ _SPLIT_SALT) < share


def label(
    teacher: Callable[[], Scorer],
    texts: Sequence[str],
    cache: Path | str,
    *,
    chunk: int = 16,
    progress: Progress = silent,
) -> LabelTable:
    """Return the teacher's judgement of each text, asking it only about those that the cache has not.

    Parameters
    ----------
    teacher
        Loads the teacher. Called once, and only if a text is left to judge.
    texts
        Judged in this order, of equal ones the first.
    cache
        A folder of this teacher with these settings alone. Made if missing.
    chunk
        Texts that are judged and written together: what a kill can cost.
    progress
        Told after each chunk, in documents.

    Raises
    ------
    ValueError
        A text is not valid Unicode, or the teacher fails at one or gives it no finite score; the message names its row.
    RuntimeError
        Another process is at work in the folder.
    """
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, not {chunk}")
    if isinstance(texts, str | bytes):
        raise TypeError("texts must be a sequence of strings, not one string")
    check_texts(texts)
    keys = [_key(text) for text in texts]
    folder = RunFolder(cache, {"format": "labels 1"})
    with folder.locked():
        folder.claim()
        known, parts = _read(folder.path)
        first = {key: row for row, key in reversed(list(enumerate(keys)))}
        left = sorted(row for key, row in first.items() if key not in known)
        reused = len(keys) - len(left)
        progress(reused, len(keys), "documents")
        scorer = teacher() if left else None
        for start in range(0, len(left), chunk):
            rows = left[start : start + chunk]
            assert scorer is not None
            new = {keys[row]: one for row, one in zip(rows, _judge(scorer, texts, rows), strict=True)}
            parts.append(_write(folder.path, new))
            known |= new
            progress(reused + start + len(rows), len(keys), "documents")
        if len(parts) > 1:
            _compact(folder.path, known, parts)
    columns = zip(*(known[key] for key in keys), strict=True) if keys else [()] * len(_Label._fields)
    score, tokens, cut, flags = columns
    return LabelTable(
        np.array(score, np.float64),
        np.array(tokens, np.int32),
        np.array(cut, np.bool_),
        np.array(flags, np.uint8),
        reused,
    )


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:_KEY]


def _judge(scorer: Scorer, texts: Sequence[str], rows: list[int]) -> list[_Label]:
    try:
        table = scorer.score_table([texts[row] for row in rows])
    except ValueError as error:
        raise ValueError(f"the teacher fails at a chunk, rows {rows} of the texts: {error}") from error
    if len(table.score) != len(rows):
        raise ValueError(f"the teacher gives {len(table.score)} scores for {len(rows)} texts")
    if not np.isfinite(table.score).all():
        row = rows[int(np.isfinite(table.score).argmin())]
        raise ValueError(f"the teacher gives the text in row {row} no finite score")
    columns = (table.score, table.tokens, table.cut, table.flags)
    return [_Label(*one) for one in zip(*(column.tolist() for column in columns), strict=True)]


def _read(cache: Path) -> tuple[dict[bytes, _Label], list[Path]]:
    """Return what all sound parts say, and their paths; remove the damaged ones."""
    known: dict[bytes, _Label] = {}
    sound = []
    for path in sorted(cache.glob("part-*.parquet")):
        content = path.read_bytes()
        if path.name != _name(content):
            _LOG.warning("%s is damaged: dropped, its documents are judged again", path)
            path.unlink()
            continue
        key, *columns = pq.ParquetFile(pa.BufferReader(content)).read().to_pydict().values()
        known |= zip(key, map(_Label, *columns), strict=True)
        sound.append(path)
    return known, sound


def _write(cache: Path, labels: dict[bytes, _Label]) -> Path:
    """Write a part and return its path."""
    columns = [list(labels), *map(list, zip(*labels.values(), strict=True))]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_arrays(arrays, schema=_SCHEMA), sink, compression="zstd")
    content = sink.getvalue().to_pybytes()
    path = cache / _name(content)
    write_bytes(path, content)
    return path


def _name(content: bytes) -> str:
    return f"part-{hashlib.sha256(content).hexdigest()[:32]}.parquet"


def _compact(cache: Path, known: dict[bytes, _Label], parts: Sequence[Path]) -> None:
    """Put all judgements into one part, in the order of their keys; the others go once it is there."""
    whole = _write(cache, dict(sorted(known.items())))
    for path in parts:
        if path != whole:
            path.unlink()
