"""A finished export folder as others read it: its manifest, whether it is whole, and its texts, file by file."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from curation_assets.common.files import file_system, parquet_file
from curation_assets.common.progress import Progress, silent
from curation_assets.selection.export.destination import MANIFEST


@dataclass(frozen=True)
class Exported:
    """An export folder at any fsspec URL, `path` in the file system `fs`, and what its manifest says."""

    url: str
    fs: Any
    path: str
    manifest: dict[str, Any]

    @property
    def files(self) -> list[dict[str, Any]]:
        """The data files, each with its `name` in the folder, `rows`, `bytes` and `sha256`."""
        return list(self.manifest["files"])

    def open(self, name: str) -> Any:
        """Open a file of the folder for reading bytes."""
        return self.fs.open(f"{self.path}/{name}", "rb")

    def check(self, progress: Progress = silent) -> None:
        """Compare every data file with its digest.

        Raises
        ------
        ValueError
            A file is missing or not the one that was exported: names the first.
        """
        for done, file in enumerate(self.files):
            progress(done, len(self.files), "files", "comparing digests")
            try:
                with self.open(file["name"]) as source:
                    digest = hashlib.file_digest(source, "sha256").hexdigest()
            except FileNotFoundError:
                digest = "missing"
            if digest != file["sha256"]:
                what = "is missing" if digest == "missing" else "is not the file that the manifest tells of"
                raise ValueError(f"{self.url}: {file['name']} {what}: export to another folder")

    def texts(self, name: str, size: int = 1024) -> Iterator[list[str]]:
        """Yield the texts of one data file, at most `size` together."""
        with self.open(name) as source:
            if name.endswith(".parquet"):
                with parquet_file(source) as table:
                    for batch in table.iter_batches(batch_size=size, columns=["text"]):
                        yield batch.column("text").to_pylist()
            else:
                yield from _of_lines(source, size)


def _of_lines(source: Any, size: int) -> Iterator[list[str]]:
    """Yield the texts of JSON lines in a zstd stream."""
    import zstandard

    texts: list[str] = []
    with zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True) as lines:
        for line in io.BufferedReader(lines, 1 << 20):
            texts.append(json.loads(line)["text"])
            if len(texts) == size:
                yield texts
                texts = []
    if texts:
        yield texts


def open_export(url: str, options: dict[str, Any] | None = None) -> Exported:
    """Read the manifest of an export folder.

    Raises
    ------
    ValueError
        There is none, so that no export was finished there, or it is of another format.
    """
    fs, path = file_system(url, options or {})
    path = path.rstrip("/")
    try:
        manifest = json.loads(fs.cat_file(f"{path}/{MANIFEST}"))
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(
            f"{url} has no {MANIFEST}: no export was finished there; call the same `curation export` again"
        ) from None
    except ValueError as error:
        raise ValueError(f"{url}: {MANIFEST} is no JSON: {error}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != 1 or "files" not in manifest:
        raise ValueError(f"{url}: {MANIFEST} is not that of an export")
    return Exported(url, fs, path, manifest)
