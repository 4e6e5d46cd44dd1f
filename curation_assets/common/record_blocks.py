"""Records of one kind, each with a text, in blocks of one file: who needs some neighbouring blocks reads one range of it.

blocks.bin    of each block: rows and a CRC-32 of what follows (uint32 each), the records, the bytes of each text
              (uint32), the texts (UTF-8, end to end). An empty block has no bytes.
offsets.npy   int64 [blocks + 1, 2]: the byte and the row at which each block begins
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

BLOCKS, OFFSETS = "blocks.bin", "offsets.npy"
_HEADER = struct.Struct("<II")
_LENGTH = np.dtype("<u4")


class DamagedBlocks(ValueError):
    """The bytes are not those that were written."""


class Records(NamedTuple):
    """Some records, and the text of each: `lengths` uint32 [n] bytes of `text`, which has them end to end."""

    fields: np.ndarray
    lengths: np.ndarray
    text: bytes

    def texts(self) -> pa.LargeStringArray:
        """Return the texts."""
        offsets = np.concatenate([[0], np.cumsum(self.lengths, dtype=np.int64)])
        buffers = (pa.py_buffer(offsets), pa.py_buffer(self.text))
        return pa.LargeStringArray.from_buffers(len(self.lengths), *buffers)


def with_texts(fields: np.ndarray, texts: pa.Array) -> Records:
    """Return records with their texts, none of which is null."""
    texts = texts.cast(pa.large_string())
    _, offsets, text = texts.buffers()
    ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    inside = memoryview(text)[ends[0] : ends[-1]] if text is not None else b""
    return Records(fields, np.diff(ends).astype(_LENGTH), bytes(inside))


def join(parts: list[Records], kind: np.dtype) -> Records:
    """Return the records of all parts."""
    return Records(
        np.concatenate([np.empty(0, kind), *(part.fields for part in parts)]),
        np.concatenate([np.empty(0, _LENGTH), *(part.lengths for part in parts)]),
        b"".join(part.text for part in parts),
    )


def split(records: Records, bounds: np.ndarray) -> Iterator[Records]:
    """Yield the records between each two neighbouring bounds, which begin with 0 and end with how many there are."""
    ends = np.concatenate([[0], np.cumsum(records.lengths, dtype=np.int64)])[bounds]
    for (a, b), (begin, end) in zip(pairwise(bounds.tolist()), pairwise(ends.tolist()), strict=True):
        yield Records(records.fields[a:b], records.lengths[a:b], records.text[begin:end])


def write_blocks(folder: Path, blocks: Iterable[Records]) -> None:
    """Write the two files; one block is held at a time."""
    offsets = [(0, 0)]
    with (folder / BLOCKS).open("wb") as file:
        for fields, lengths, text in blocks:
            if len(fields):
                content = b"".join((fields.tobytes(), lengths.tobytes(), text))
                file.write(_HEADER.pack(len(fields), zlib.crc32(content)))
                file.write(content)
            offsets.append((file.tell(), offsets[-1][1] + len(fields)))
    np.save(folder / OFFSETS, np.array(offsets, np.int64))


def parse_blocks(content: bytes, kind: np.dtype) -> Records:
    """Return the records of the blocks in some bytes of `blocks.bin`; DamagedBlocks where they are not what was written."""
    parts, at, view = [], 0, memoryview(content)
    while at < len(content):
        try:
            rows, checksum = _HEADER.unpack_from(content, at)
            begin = at + _HEADER.size
            end = begin + rows * kind.itemsize
            fields = np.frombuffer(content, kind, rows, begin)
            lengths = np.frombuffer(content, _LENGTH, rows, end)
        except (struct.error, ValueError):
            raise DamagedBlocks(f"the block at byte {at} is cut off") from None
        end += lengths.nbytes
        at = end + int(lengths.sum(dtype=np.int64))
        if at > len(content) or zlib.crc32(view[begin:at]) != checksum:
            raise DamagedBlocks(f"the block that ends at byte {at} is not as it was written")
        parts.append(Records(fields, lengths, bytes(view[end:at])))
    return join(parts, kind)
