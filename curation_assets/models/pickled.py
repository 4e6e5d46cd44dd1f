"""Pickled weights of the hub, converted to safetensors once: read as tensors and nothing else, so that no code of theirs runs."""

from __future__ import annotations

import json
import logging
import re
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from curation_assets.common.files import atomic_folder, seal, sha256, unseal, write_json
from curation_assets.models.files import file_digest

if TYPE_CHECKING:
    import torch

PICKLED = ("pytorch_model*.bin", "pytorch_model.bin.index.json")
"""Names of the files that are converted, and of their index."""
_CONVERSION = "conversion.json"
_LOG = logging.getLogger(__name__)
_REFUSED = re.compile(r"GLOBAL (\S+)")


def converted(snapshot: Path, files: Sequence[str], target: Path) -> Path:
    """Return `target`, a folder with some files of `snapshot` and its pickled weights as safetensors, written unless it is there.

    It appears whole or not at all, also when several processes convert at once; `conversion.json` in it has the digests of
    what it was made from, and of its files: one that is damaged is converted anew. Memory: a shard of the weights.

    Raises
    ------
    ValueError
        A file holds more than tensors, which would run as code, or no weights that torch can read.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        if not conversion_holds(target):
            if target.exists():
                _LOG.warning("%s is damaged: converted anew", target)
                shutil.rmtree(target)
            with atomic_folder(target) as draft:
                _convert(snapshot, files, draft)
    return target


def conversion_holds(target: Path) -> bool:
    """Tell whether a folder that `converted` wrote is there, as it was written."""
    try:
        about = unseal((target / _CONVERSION).read_bytes())
        return about is not None and all(
            file_digest(target / name) == digest for name, digest in about["files"].items()
        )
    except FileNotFoundError:
        return False


def _convert(snapshot: Path, files: Sequence[str], draft: Path) -> None:
    from safetensors.torch import save_file

    for name in files:
        (draft / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(snapshot / name, draft / name)
    digests = {}
    for path in sorted(snapshot.glob("pytorch_model*.bin")):
        save_file(_unshared(read_tensors(path)), draft / _renamed(path.name), metadata={"format": "pt"})
        digests[path.name] = sha256(path)
    if (index := snapshot / "pytorch_model.bin.index.json").exists():
        about = json.loads(index.read_text("utf-8"))
        kept = {name: _renamed(file) for name, file in about["weight_map"].items()}
        write_json(draft / "model.safetensors.index.json", {**about, "weight_map": kept})
    names = sorted(path.relative_to(draft).as_posix() for path in draft.rglob("*") if path.is_file())
    about = {"made_from": digests, "files": {name: sha256(draft / name) for name in names}}
    (draft / _CONVERSION).write_bytes(seal(about))


def _renamed(name: str) -> str:
    return name.replace("pytorch_model", "model").replace(".bin", ".safetensors")


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a pickled file by name; ValueError for one that holds anything else, which is not run."""
    import torch

    try:
        mapped = zipfile.is_zipfile(path)  # files of torch before 1.6 are not
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except UnpicklingError as error:
        found = _REFUSED.search(str(error))
        what = f"it would call {found[1]}" if found else "it holds more than tensors"
        raise ValueError(f"{path.name} is refused: {what}; nothing in it was run") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path.name} is no file of weights: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(loaded, Mapping) or not all(
        isinstance(name, str) and isinstance(one, torch.Tensor) for name, one in loaded.items()
    ):
        raise ValueError(f"{path.name} is refused: it is no table of tensors by name")
    return dict(loaded)


def _unshared(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return each tensor once, contiguous: of names that share one (a tied head, T5's embeddings) that of the input embedding."""
    kept: dict[tuple[Any, ...], str] = {}
    for name in sorted(tensors, key=lambda name: (name.endswith("lm_head.weight"), len(name), name)):
        one = tensors[name]
        kept.setdefault((one.data_ptr() or name, one.dtype, one.shape, one.stride()), name)
    return {name: tensors[name].contiguous().clone() for name in sorted(kept.values())}
