"""Which names are no corpus files, and why: those that nobody means as data, and those that are not read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from curation_assets.corpus.names import visible

HIDDEN, UNFINISHED, BOOKKEEPING = "hidden", "unfinished", "bookkeeping"
"""Kinds of names that nobody means as data: they are counted, and warn nobody."""

_UNFINISHED = re.compile(
    r"(~|\.(tmp|temp|part|partial|filepart|crdownload|download|incomplete|aria2|swp|bak))\Z", re.IGNORECASE
)
_WRITERS = r"_(temporary|delta_log|spark_metadata|symlink_format_manifest|committed.*|started.*)|__.+"
_SYSTEMS = r"lost\+found|\$RECYCLE\.BIN|System Volume Information|@eaDir"
_FOLDERS = re.compile(rf"{_WRITERS}|{_SYSTEMS}")
_FILES = re.compile(
    r"(readme|licen[cs]e|copying|notice|changelog|authors|citation)(\.(md|rst|cff|bib|html))?"
    r"|(md5|sha\d+)sums?|checksums?|makefile|thumbs\.db|desktop\.ini|dataset_infos?\.json|dataset_dict\.json"
    r"|cache-[0-9a-f]{16}.*\.arrow"
    r"|.+\.(crc|md5|sha1|sha256|sha512|asc|sig|lock|log)",
    re.IGNORECASE,
)

_ARCHIVE = "an archive, which is not read: unpack it"
_TEXT_WITHIN = "not read: extract its text, to .jsonl or .txt"
_PLAIN = "not read: plain text is, where its name ends in .txt"
_PACKED = "a compression that is not read: pack it with gzip, zstd, bzip2 or xz"
_WARC = "a web archive, which is not read: extract its text (with trafilatura, say), to .jsonl"
_WHY = {
    **dict.fromkeys((".tar", ".tgz", ".tbz2", ".txz", ".zip", ".7z", ".rar"), _ARCHIVE),
    **dict.fromkeys((".warc", ".arc", ".wet", ".wat"), _WARC),
    **dict.fromkeys((".pdf", ".docx", ".doc", ".odt", ".rtf", ".epub", ".pptx"), _TEXT_WITHIN),
    **dict.fromkeys((".html", ".htm", ".xhtml", ".xml"), _TEXT_WITHIN),
    **dict.fromkeys((".md", ".markdown", ".rst", ".text", ".tex"), _PLAIN),
    **dict.fromkeys((".lz4", ".lzma", ".lzo", ".br", ".snappy", ".z", ".zstd"), _PACKED),
    **dict.fromkeys((".parquet", ".arrow", ".feather"), "compressed as a whole, which is not read: unpack it"),
}  # fmt: skip
_NAMED = 3  # files of one reason that are named
_KNOWN_PACKING = (".gz", ".zst", ".bz2", ".xz")


def set_aside(path: str) -> tuple[str, str] | None:
    """Return (path as far as that part, kind) if a part of a path in the corpus is a name that nobody means as data.

    The kind is "" of other names with "_" in front, which Spark, Hive and Arrow pass over: there may be data in them.
    """
    parts = path.rstrip("/").split("/")
    for number, part in enumerate(parts):
        folder = number < len(parts) - 1 or path.endswith("/")
        kind = _kind(part, folder)
        if kind is not None:
            return "/".join(parts[: number + 1]) + ("/" if folder else ""), kind
    return None


def _kind(name: str, folder: bool) -> str | None:
    if name.startswith("."):
        return HIDDEN
    if folder:
        return BOOKKEEPING if _FOLDERS.fullmatch(name) else "" if name.startswith("_") else None
    if _UNFINISHED.search(name):
        return UNFINISHED
    if _FILES.fullmatch(name):
        return BOOKKEEPING
    return "" if name.startswith("_") else None


def why_not_read(name: str) -> str:
    """Return why a file whose name is none of a corpus file is not read, and what to do where that is short."""
    suffixes = [suffix.strip().lower() for suffix in PurePosixPath(name).suffixes]
    last = suffixes[-1] if suffixes else ""
    if not last or " " in last:
        return "no suffix: the name does not say what is in it"
    if last not in _KNOWN_PACKING:
        return f"{visible(last)}: {_WHY.get(last, 'no format that is read')}"
    inner = suffixes[-2] if len(suffixes) > 1 else ""
    if inner in _WHY:
        return f"{visible(inner + last)}: {_WHY[inner]}"
    return f"{visible(inner + last)}: the name does not say what is in it; one that does ends in .jsonl{last}, say"


def grouped(files: Iterable[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Return (names, reason) of files that were passed over, the most frequent reason first; of many files the first three."""
    by_reason: dict[str, list[str]] = {}
    for about in files:
        by_reason.setdefault(about["reason"], []).append(about["file"])
    groups = sorted(by_reason.items(), key=lambda item: -len(item[1]))
    return [(_named(names), reason) for reason, names in groups]


def _named(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
