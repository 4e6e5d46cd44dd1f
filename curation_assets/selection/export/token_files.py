"""The texts of an export folder as token ids in files that trainers map into memory: Megatron's, or nanotron's.

datatrove writes the files. A document is its ids and the id that ends documents; what a text quotes of special tokens is
ordinary text, so nothing else ends one.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from curation_assets.common.files import TEMPORARY, fingerprint, publish, read_json, sha256, write_json
from curation_assets.common.progress import Progress, silent
from curation_assets.selection.export.destination import MANIFEST
from curation_assets.selection.export.document_tokenizer import DocumentTokenizer
from curation_assets.selection.export.exported import Exported
from curation_assets.selection.output import free_place

Trainer = Literal["megatron", "nanotron"]
_BEGUN = f"{TEMPORARY}begun.json"


@dataclass(frozen=True)
class _Format:
    """How a trainer has a part: the suffixes of its files, that of the tokens first; documents in an index of so many bytes; and how to write."""

    suffixes: tuple[str, ...]
    documents: Callable[[int], int]
    open: Callable[[str, str, DocumentTokenizer], Any]
    write: Callable[[Any, np.ndarray], None]


def _megatron(folder: str, part: str, tokenizer: DocumentTokenizer) -> Any:
    from datatrove.pipeline.tokens.megatron_tokenizer import MegatronTokenizedFile

    return MegatronTokenizedFile(folder, part, token_size=tokenizer.dtype.itemsize)


def _nanotron(folder: str, part: str, tokenizer: DocumentTokenizer) -> Any:
    from datatrove.pipeline.tokens.tokenizer import TokenizedFile

    about = {"tokenizer_name_or_path": tokenizer.name, "save_final_metadata": True}
    return TokenizedFile(folder, f"{part}.ds", token_size=tokenizer.dtype.itemsize, **about)


_FORMATS = {
    "megatron": _Format(
        (".bin", ".idx"), lambda size: (size - 42) // 20, _megatron, lambda out, ids: out.write(ids)
    ),
    "nanotron": _Format(
        (".ds", ".ds.index", ".ds.metadata"),
        lambda size: size // 8,
        _nanotron,
        lambda out, ids: out.write(ids, None),
    ),
}


def write_token_files(
    exported: Exported,
    tokenizer: DocumentTokenizer,
    folder: str | Path,
    trainer: Trainer = "megatron",
    progress: Progress = silent,
) -> dict[str, Any]:
    """Tokenize an export folder into a folder of this machine, a token file for each data file; return its manifest.

    Killed, the same call goes on at the part that it was at. `manifest.json` is written last: tokens and documents of each file, its
    digest, the tokenizer and the export. Memory: a batch of texts, and some numbers for each document of one data file.

    Raises
    ------
    ValueError
        The export is not whole, the folder holds something else, or datatrove is not installed.
    """
    _check_installed()
    what = {
        "trainer": trainer,
        "tokenizer": tokenizer.name,
        "tokenizer_digest": tokenizer.digest,
        "end_token": tokenizer.end,
        "end_id": tokenizer.end_id,
        "dtype": tokenizer.dtype.name,
        "export": fingerprint(exported.manifest),
    }
    target = Path(folder).expanduser().resolve()
    if (finished := _begin(target, what)) is not None:
        return finished
    exported.check(progress)
    form, files = _FORMATS[trainer], []
    for number, file in enumerate(exported.files):
        progress(number, len(exported.files), "files", "tokenizing")
        part = PurePosixPath(file["name"]).name.partition(".")[0]
        if not (target / f"{part}{form.suffixes[-1]}").exists():
            _write_part(exported.texts(file["name"]), tokenizer, form, target, part)
        files.append(_described(target, part, form, tokenizer, file))
    counts = {
        "documents": sum(file["documents"] for file in files),
        "tokens": sum(file["tokens"] for file in files),
    }
    manifest = {"format": 1, **what, **counts, "files": files}
    write_json(target / MANIFEST, manifest)
    for left in target.glob(f"{TEMPORARY}*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    return manifest


def prefixes(folder: str | Path, manifest: dict[str, Any]) -> list[str]:
    """Return what Megatron's --data-path takes: the paths of the token files without their suffixes."""
    return [str(Path(folder).expanduser().resolve() / file["part"]) for file in manifest["files"]]


def _check_installed() -> None:
    try:
        import datatrove.pipeline.tokens  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"token files are written by datatrove: pip install 'curation-assets[tokens]' ({error})"
        ) from None


def _begin(target: Path, what: dict[str, Any]) -> dict[str, Any] | None:
    """Make the folder, or find one in which the same was begun; return the manifest if it is finished."""
    try:
        finished = read_json(target / MANIFEST)
        if all(finished.get(name) == value for name, value in what.items()):
            return dict(finished)
        raise ValueError(
            f"{target} holds token files of another export, tokenizer or trainer: name another folder"
        )
    except FileNotFoundError:
        pass
    if (target / _BEGUN).exists():
        if read_json(target / _BEGUN) != what:
            raise ValueError(
                f"{target} holds unfinished token files of another export, tokenizer or trainer: name another folder, "
                "or remove it"
            )
        return None
    if not target.is_dir() or not all(path.name.startswith(TEMPORARY) for path in target.iterdir()):
        free_place(target)  # and else nothing lies there but what a kill left
    target.mkdir(parents=True, exist_ok=True)
    write_json(target / _BEGUN, what)
    return None


def _write_part(
    texts: Iterator[list[str]], tokenizer: DocumentTokenizer, form: _Format, target: Path, part: str
) -> None:
    """Write the files of a part beside the others and give them their names, the one by which it counts as written last."""
    with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=target) as draft:
        out = form.open(draft, part, tokenizer)
        for batch in texts:
            for ids in tokenizer.encode(batch):
                form.write(out, np.append(ids, tokenizer.end_id).astype(tokenizer.dtype))
        out.close()
        for suffix in form.suffixes:
            publish(Path(draft) / f"{part}{suffix}", target / f"{part}{suffix}")


def _described(
    target: Path, part: str, form: _Format, tokenizer: DocumentTokenizer, source: dict[str, Any]
) -> dict[str, Any]:
    """Return what the manifest says of a part; ValueError where it has not the documents of its data file."""
    documents = form.documents((target / f"{part}{form.suffixes[1]}").stat().st_size)
    if documents != source["rows"]:
        raise ValueError(
            f"{part}: {documents:,} documents were tokenized of the {source['rows']:,} rows of {source['name']}"
        )
    names = [f"{part}{suffix}" for suffix in form.suffixes]
    return {
        "part": part,
        "documents": documents,
        "tokens": (target / names[0]).stat().st_size // tokenizer.dtype.itemsize,
        "sha256": {name: sha256(target / name) for name in names},
    }
