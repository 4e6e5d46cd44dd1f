"""From a choice to row groups: the columns of an export, a thousand documents at a time, the same wherever it begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from curation_assets.selection.export.chosen import Chosen
from curation_assets.selection.export.repeats import Repeats
from curation_assets.selection.export.texts import CorpusFile, Text

ROW_GROUP = 1024
"""Rows of a row group: what a reader takes at once and shuffles among. `datasets` and datatrove write 1,000, nanochat's loader asks for 1,024."""
GROUP_BYTES = 64 << 20
"""Bytes of text at which a row group ends before it has so many rows, so that long documents take no more memory."""

_FIRST, _LAST = ("text", "id", "source_file", "source_row"), ("duplicate_of", "n_tokens", "repeat")


@dataclass(frozen=True)
class Group:
    """A row group: a table, and the bytes of its texts."""

    table: pa.Table
    text_bytes: int


class Documents:
    """The documents of a choice with all their columns.

    Parameters
    ----------
    normalized : their texts are as scored, not as read.
    """

    def __init__(self, chosen: Chosen, repeats: Repeats | None, *, normalized: bool) -> None:
        self._chosen, self._repeats, self._normalized = chosen, repeats, normalized
        self._scores = [f"{prefix}score" for prefix in chosen.scores]
        self._kept = kept_columns(chosen.artifacts.profile.corpus.kept_columns, list(chosen.scores))
        self.schema = self._columns()

    def _columns(self) -> pa.Schema:
        strings = [(name, pa.string()) for name in ("text", "id", "source_file")]
        scores = [
            (f"{prefix}{what}", pa.float64())
            for prefix in self._chosen.scores
            for what in ("score", "percentile")
        ]
        return pa.schema(
            [
                *strings,
                ("source_row", pa.int64()),
                *((name, pa.string()) for name in self._kept),
                *scores,
                *([("duplicate_of", pa.string())] if self._chosen.duplicates else []),
                ("n_tokens", pa.int64()),
                *([("repeat", pa.int64())] if self._repeats else []),
            ]
        )

    def groups(self, number: int, skip: int) -> Iterator[Group]:
        """Yield the row groups of a pass over the choice, from behind its first `skip` documents.

        Each follows from the documents behind the one before it, so that what goes on where a group ended writes the same groups.
        """
        waiting, rows, size = list[pa.Table](), 0, 0
        for shard, numbers in self._files(number, skip):
            texts = CorpusFile(self._chosen.artifacts, shard, numbers["source_row"])
            duplicates = self._chosen.duplicate_of(shard, numbers["row"]) if self._chosen.duplicates else None
            start, read = 0, texts.take(numbers["source_row"])
            while start < len(numbers["row"]):
                most = min(ROW_GROUP - rows, len(numbers["row"]) - start)
                some, taken = self._some(read, most, GROUP_BYTES - size)
                here = slice(start, start + len(some))
                mine = {name: values[here] for name, values in numbers.items()}
                texts.check(some, mine["source_row"], mine["doc_hash"])
                waiting.append(
                    self._table(shard, some, mine, number, None if duplicates is None else duplicates[here])
                )
                start, rows, size = here.stop, rows + len(some), size + taken
                if rows == ROW_GROUP or size >= GROUP_BYTES:
                    yield Group(pa.concat_tables(waiting), size)
                    waiting, rows, size = [], 0, 0
        if rows:
            yield Group(pa.concat_tables(waiting), size)

    def _files(self, number: int, skip: int) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        """Yield the corpus files of which a pass has documents, behind the first `skip`, and what the subset says of these."""
        columns = ["row", "source_row", "doc_hash", "n_tokens", *self._scores]
        for shard, numbers in self._chosen.by_file([*columns, *(["key"] if self._repeats else [])]):
            if number and self._repeats:
                again = self._repeats.times(numbers["key"], numbers["doc_hash"]) > number
                numbers = {name: values[again] for name, values in numbers.items()}
            gone = min(skip, len(numbers["row"]))
            skip -= gone
            if gone < len(numbers["row"]):
                yield shard, {name: values[gone:] for name, values in numbers.items()}

    def _some(self, texts: Iterator[Text], most: int, room: int) -> tuple[list[Text], int]:
        """Return the next texts, at most so many, up to the one that fills the room; and their bytes."""
        some, size = list[Text](), 0
        while len(some) < most and size < room:
            some.append(next(texts))
            text = self._text(some[-1])
            size += len(text) if text.isascii() else len(text.encode())
        return some, size

    def _text(self, text: Text) -> str:
        return text.scored if self._normalized else text.read

    def _table(
        self,
        shard: str,
        texts: list[Text],
        numbers: dict[str, np.ndarray],
        number: int,
        duplicates: pa.Array | None,
    ) -> pa.Table:
        kept = zip(*(text.kept for text in texts), strict=True) if self._kept else ()
        columns: dict[str, object] = {
            "text": list(map(self._text, texts)),
            "id": [text.doc_id for text in texts],
            "source_file": pa.repeat(shard, len(texts)),
            "source_row": numbers["source_row"],
            **dict(zip(self._kept, kept, strict=True)),
            "n_tokens": numbers["n_tokens"],
        }
        for prefix, ranks in self._chosen.percentiles.items():
            scores = numbers[f"{prefix}score"]
            columns |= {f"{prefix}score": scores, f"{prefix}percentile": ranks.of(scores)}
        if duplicates is not None:
            columns["duplicate_of"] = duplicates
        if self._repeats:
            columns["repeat"] = pa.repeat(number, len(texts))
        arrays = [pa.array(columns[column.name], column.type) for column in self.schema]
        return pa.Table.from_arrays(arrays, schema=self.schema)


def kept_columns(fields: tuple[str, ...], prefixes: list[str]) -> list[str]:
    """Return the columns of kept fields: `corpus_NAME` where an export has a column NAME of its own."""
    taken = {*_FIRST, *_LAST, *(f"{prefix}{what}" for prefix in prefixes for what in ("score", "percentile"))}
    names: list[str] = []
    for field in fields:
        name = field
        while name in taken or (name != field and name in fields):
            name = f"corpus_{name}"
        names.append(name)
    return names
