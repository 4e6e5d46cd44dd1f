"""What a sampler scores: the documents of one corpus file, and what is known of them, each input opened when it is first used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation_assets.common.batching import Flat
from curation_assets.common.files import read_rows
from curation_assets.corpus.tokens import read_tokens
from curation_assets.engine.context import Context

_BLOCK = 8192  # documents at a time


@dataclass(frozen=True)
class Documents:
    """Documents `rows` of the corpus file `shard`, in its order. What is opened must be among the inputs that the sampler names.

    Attributes
    ----------
    context : opens artifacts of the whole corpus, and says the device.
    shard : key of the corpus file.
    rows : which of its documents; all of them, unless the sampler scores in parts.
    """

    context: Context
    shard: str
    rows: slice = field(default_factory=lambda: slice(None))
    _folders: dict[str, Path] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Return how many documents they are."""
        if self.rows.stop is not None:
            return self.rows.stop - self.rows.start
        return pq.read_metadata(self.open("corpus/documents") / "documents.parquet").num_rows

    def part(self, rows: slice) -> Documents:
        """Return others of the same corpus file."""
        return replace(self, rows=rows)

    def within(self, context: Context) -> Documents:
        """Return the same documents, of which other inputs can be opened."""
        return Documents(context, self.shard, self.rows)

    def open(self, key: str) -> Path:
        """Return the folder with what an input that is made for each corpus file has of this one."""
        if key not in self._folders:
            self._folders[key] = self.context.open(key, self.shard)
        return self._folders[key]

    @property
    def texts(self) -> list[str]:
        """The texts (`corpus/documents`)."""
        return self._column("text").to_pylist()

    @property
    def ids(self) -> list[str]:
        """The ids (`corpus/documents`)."""
        return self._column("doc_id").to_pylist()

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """A hash of each document's id and text, uint64 [n]: what noise is drawn from (`corpus/documents`)."""
        return self._column("doc_hash").to_numpy()

    @property
    def tokens(self) -> Flat:
        """The tokens of the corpus's tokenizer, end to end, and int64 [n + 1] where each document begins and ends (`corpus/tokens`)."""
        ids, offsets = read_tokens(self.open("corpus/tokens"), "documents")
        first, _, _ = self.rows.indices(len(offsets) - 1)
        ends = np.asarray(offsets[first : first + len(self) + 1])
        return ids[ends[0] : ends[-1]], ends - ends[0]

    @property
    def embeddings(self) -> NDArray[np.floating]:
        """The unit vectors, [n, dimensions], a read-only memory map (`corpus/embeddings`)."""
        return np.load(self.open("corpus/embeddings") / "embeddings.npy", mmap_mode="r")[self.rows]

    @property
    def readable(self) -> NDArray[np.bool_]:
        """Which documents the encoder of the embeddings could read, bool [n] (`corpus/embeddings`)."""
        return np.load(self.open("corpus/embeddings") / "readable.npy")[self.rows]

    @property
    def clusters(self) -> NDArray[np.int32]:
        """The cluster of each document, int32 [n] (`clusters/assignments`)."""
        return np.load(self.open("clusters/assignments") / "clusters.npy")[self.rows]

    def kept(self, field: str) -> list[str | None]:
        """Return the values of a field of `corpus.keep_fields`, for what is no judgement of a text (`corpus/documents`).

        Raises
        ------
        ValueError
            The documents carry no such field: texts that are given without a file, say.
        """
        if field not in pq.read_schema(self.open("corpus/documents") / "documents.parquet").names:
            raise ValueError(f"these documents carry no field {field!r}, which the score goes by")
        return self._column(field).to_pylist()

    def _column(self, name: str) -> pa.ChunkedArray:
        path = self.open("corpus/documents") / "documents.parquet"
        if self.rows.stop is None:
            return pq.read_table(path, columns=[name])[name]
        return read_rows(path, [name], self.rows)[name]


def blocks(x: NDArray[np.floating]) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield (rows, float32 copy of those rows) of a matrix, some thousands at a time."""
    for start in range(0, len(x), _BLOCK):
        rows = slice(start, min(start + _BLOCK, len(x)))
        yield rows, np.asarray(x[rows], dtype=np.float32)
