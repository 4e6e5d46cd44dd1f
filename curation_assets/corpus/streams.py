"""From the stored bytes of a file to its unpacked bytes and lines, in bounded memory."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import zstandard

from curation_assets.corpus.rows import HEAD, Damaged

_READ = 1 << 20
_FEED = 1 << 10  # compressed bytes a step: even at zstd's highest ratio this unpacks to no more than 32 MiB,
_FEED_GZIP = 1 << 14  # and this at gzip's, 1,032
_ZSTD_WINDOW = 1 << 31  # the largest there is (`zstd --long=31`), as large web dumps use it
_BOM = b"\xef\xbb\xbf"

_UNPACKERS: dict[str, Callable[[], Any]] = {
    ".gz": lambda: zlib.decompressobj(wbits=31),
    ".zst": lambda: zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj(),
    ".bz2": bz2.BZ2Decompressor,
    ".xz": lzma.LZMADecompressor,
}

Lines = Iterable[tuple[int, bytes, bool]]
"""(1-based line number, line without its end, whether it is whole)."""


def unpacked(read: Callable[[int], bytes], compression: str) -> Iterator[bytes]:
    """Yield the unpacked bytes in pieces of at most 32 MiB, of several streams in one file one after the other.

    Zeros after a stream are padding, as tapes and block devices leave it, however many. Other bytes that begin no stream
    are damage: behind them there may have been documents.

    Raises
    ------
    Damaged : the stream is broken or cut off; all that it still holds has been yielded.
    """
    if not compression:
        while piece := read(_READ):
            yield piece
        return
    step = _FEED_GZIP if compression == ".gz" else _FEED
    unpacker: Any = _UNPACKERS[compression]()  # also for no bytes at all: an empty file is a cut-off one
    while piece := read(_READ):
        for start in range(0, len(piece), step):
            feed = piece[start : start + step]
            while feed:
                if unpacker is None:
                    if not (feed := feed.lstrip(b"\0")):
                        break
                    unpacker = _UNPACKERS[compression]()
                yield from _steps(unpacker, feed, compression)
                feed = b""
                if unpacker.eof:
                    feed, unpacker = unpacker.unused_data, None
    if unpacker is not None:
        raise Damaged(f"the {compression} stream ends too early")


def _steps(unpacker: Any, feed: bytes, compression: str) -> Iterator[bytes]:
    """Yield what a few compressed bytes unpack to: of bzip2, which can pack a gigabyte into one KiB, piece by piece."""
    limited = {"max_length": _READ} if compression in (".bz2", ".xz") else {}
    while True:
        try:
            some = unpacker.decompress(feed, **limited)
        except (zlib.error, zstandard.ZstdError, lzma.LZMAError, OSError) as error:
            raise Damaged(f"{compression} stream: {error}") from error
        if some:
            yield some
        if not limited or unpacker.eof or unpacker.needs_input:
            return
        feed = b""


def without_bom(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Drop a UTF-8 byte order mark at the start."""
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= len(_BOM):
            yield start.removeprefix(_BOM)
            yield from chunks
            return
    if start:
        yield start


def bounded_lines(chunks: Iterable[bytes], limit: int) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (1-based line number, line without its end, whole) of every line.

    Of a line longer than `limit` bytes only the start is kept and `whole` is False.
    """
    number, tail, skipping = 1, b"", False
    for chunk in chunks:
        if skipping:
            end = chunk.find(b"\n")
            if end < 0:
                continue
            yield number, tail, False
            number, tail, skipping, chunk = number + 1, b"", False, chunk[end + 1 :]
        *lines, tail = (tail + chunk).split(b"\n")
        for line in lines:
            whole = len(line) <= limit
            yield number, (line.removesuffix(b"\r") if whole else line[:HEAD]), whole
            number += 1
        if len(tail) > limit:
            tail, skipping = tail[:HEAD], True
    if tail:
        yield number, tail.removesuffix(b"\r"), not skipping
