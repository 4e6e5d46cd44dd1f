"""Token ids of a shard as two flat arrays, written and read without holding the shard in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib import format as npy

from curation_assets.common.files import atomic_file

if TYPE_CHECKING:
    from curation_assets.models.tokenizer import Tokenizer

_BLOCK = 1 << 24  # ids looked at together


def ids_dtype(vocab_size: int) -> np.dtype:
    """Return the narrowest of uint16 and int32 that holds every id."""
    return np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.int32)


def write_tokens(
    batches: Iterable[Sequence[str]], tokenizer: Tokenizer, folder: str | Path, name: str
) -> tuple[int, int]:
    """Encode texts into `NAME.ids.npy` (uint16 or int32) and `NAME.offsets.npy` (int64[n + 1]); return (n, tokens).

    Document i's ids are `ids[offsets[i]:offsets[i + 1]]`, in the order of the texts, without special tokens. Memory:
    one batch. The files appear under their names only when both are complete.
    """
    ids_path, offsets_path = _paths(Path(folder), name)
    documents = tokens = 0
    with (
        atomic_file(ids_path, durable=False) as ids_draft,
        atomic_file(offsets_path, durable=False) as offsets_draft,
        _Appender(ids_draft, ids_dtype(tokenizer.vocab_size)) as ids,
        _Appender(offsets_draft, np.dtype(np.int64)) as offsets,
    ):
        offsets.append(np.zeros(1, np.int64))
        for texts in batches:
            if not len(texts):
                continue
            encoded = tokenizer.encode_batch(texts)
            ends = tokens + np.cumsum([len(one) for one in encoded], dtype=np.int64)
            ids.append(np.concatenate(encoded))
            offsets.append(ends)
            documents, tokens = documents + len(encoded), int(ends[-1])
    return documents, tokens


def read_tokens(folder: str | Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (ids, offsets) as read-only memory maps."""
    ids, offsets = (np.load(path, mmap_mode="r", allow_pickle=False) for path in _paths(Path(folder), name))
    if offsets[-1] != len(ids):
        raise ValueError(f"{name} in {folder}: offsets end at {offsets[-1]}, but there are {len(ids)} ids")
    return ids, offsets


def count_id(folder: str | Path, name: str, token: int) -> int:
    """Return how many of the ids are `token`."""
    ids, _ = read_tokens(folder, name)
    return sum(int((ids[at : at + _BLOCK] == token).sum()) for at in range(0, len(ids), _BLOCK))


def _paths(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}.ids.npy", folder / f"{name}.offsets.npy"


class _Appender:
    """Write a one-dimensional .npy file piece by piece: its header leaves room for the final length."""

    def __init__(self, path: Path, dtype: np.dtype) -> None:
        self._file, self._dtype, self._length = path.open("wb"), dtype, 0
        self._header()
        self._start = self._file.tell()

    def _header(self) -> None:
        shape = {"descr": npy.dtype_to_descr(self._dtype), "fortran_order": False, "shape": (self._length,)}
        npy.write_array_header_1_0(self._file, shape)

    def append(self, values: np.ndarray) -> None:
        """Add values at the end; their dtype is cast to the file's."""
        self._file.write(np.ascontiguousarray(values, self._dtype).data)
        self._length += len(values)

    def __enter__(self) -> _Appender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file as file:
            if kind is None:
                file.seek(0)
                self._header()
                if file.tell() != self._start:
                    raise RuntimeError(f"the .npy header of {file.name} changed its size")
