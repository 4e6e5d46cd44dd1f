"""Language models and their tokenizers, ready to score with: from a folder with safetensors, or a GGUF file.

Nothing is fetched, unpickled or run: weights are safetensors or GGUF, and code beside them is ignored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation_assets.models.files import check_gguf
from curation_assets.models.sources import PICKLES, settings_in
from curation_assets.models.vetting import (
    bounded,
    check_settings,
    check_vocabulary,
    read_shapes,
    refused_in_one_line,
    weights_in,
    weights_in_gguf,
)

if TYPE_CHECKING:
    import torch


def load_scorer(
    place: str | Path, *, tokenizer: str | Path | None = None, device: str = "auto", dtype: str = "float32"
) -> tuple[Any, Any]:
    """Load a model and its tokenizer for scoring, offline, in evaluation mode and without gradients.

    Parameters
    ----------
    place
        A folder with `config.json` and safetensors (encoder-decoder or decoder-only, also a T5 that
        `models.t5.save` wrote), a `.gguf` file, or a folder with just one.
    tokenizer
        Where the tokenizer is, if not beside the model.
    device
        A torch device; "auto" for CUDA where there is one.
    dtype
        "float32", "bfloat16", or "auto" for bfloat16 on CUDA and float32 elsewhere.

    Returns
    -------
    model, tokenizer
        The tokenizer of a T5 is a `models.tokenizer.Tokenizer`, any other one that of transformers.

    Raises
    ------
    FileNotFoundError
        There is no model there.
    ValueError
        Only pickled weights, weights that do not fit the configuration, settings out of bounds (`models.vetting`), or an unusable
        device or dtype.
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
        check_vocabulary(Path(tokenizer) if tokenizer is not None else place, model, own)
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
    check_gguf(place)
    return place


def _load_gguf(file: Path, kind: torch.dtype, *, with_tokenizer: bool) -> tuple[Any, Any]:
    """Load a decoder-only model from GGUF, its weights dequantised to `kind`."""
    from transformers import AutoModelForCausalLM, GgufConfig, PreTrainedTokenizerFast

    options: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
    # Not AutoTokenizer, which reads the whole file's header once more (4 s for 49,000 pieces) to find this class.
    with refused_in_one_line(file):
        tokenizer = (
            PreTrainedTokenizerFast.from_pretrained(file.parent, **options) if with_tokenizer else None
        )
    causal: Any = AutoModelForCausalLM  # typed as if it returned the model alone
    # dequantize: else transformers may fetch kernels that compute on packed weights.
    packed = GgufConfig(dequantize=True)
    with refused_in_one_line(file), bounded(file, weights_in_gguf(file)):
        model, info = causal.from_pretrained(
            file.parent, **options, dtype=kind, quantization_config=packed, output_loading_info=True
        )
    _check_complete(file, info)
    return model, tokenizer


def _load_folder(folder: Path, kind: torch.dtype) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    from curation_assets.models import t5

    if not any(folder.glob("*.safetensors")):
        pickled = sorted(file.name for file in folder.iterdir() if file.name.endswith(PICKLES))
        raise ValueError(
            f"{folder} has only pickled weights ({pickled[0]}), which are never loaded: convert to safetensors"
            if pickled
            else f"{folder} has no weights in safetensors"
        )
    check_settings(settings_in(folder))
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    with refused_in_one_line(folder), bounded(folder / "config.json", weights_in(folder)):
        config = AutoConfig.from_pretrained(folder, **options)
        if _is_own_t5(folder, config):
            own: torch.nn.Module = t5.load(folder)
            return own.to(dtype=kind)
        of_kind: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model, info = of_kind.from_pretrained(
            folder, **options, dtype=kind, use_safetensors=True, output_loading_info=True
        )
    _check_complete(folder, info)
    return model


def _is_own_t5(folder: Path, config: Any) -> bool:
    """Tell whether `models.t5.save` wrote the folder: one file, a head, and the shared embedding once.

    transformers may tie such a model's head to its embedding, and no message would say so.
    """
    file = folder / "model.safetensors"
    if config.model_type != "t5" or not file.is_file():
        return False
    names = read_shapes(file).keys()
    return {"lm_head.weight", "shared.weight"} <= names and "encoder.embed_tokens.weight" not in names


def _check_complete(place: Path, info: dict[str, Any]) -> None:
    """Refuse a model with weights that no file gave: transformers draws these at random and only warns."""
    if missing := sorted(info["missing_keys"]) + sorted(map(str, info["mismatched_keys"])):
        raise ValueError(f"{place} lacks {len(missing)} of the model's weights, {missing[0]} the first")


def _load_tokenizer(place: Path, config: Any) -> Any:
    from curation_assets.models.tokenizer import load_tokenizer

    if config.model_type == "t5":
        return load_tokenizer(place)
    from transformers import AutoTokenizer

    if place.is_dir():
        check_settings(settings_in(place))
    with refused_in_one_line(place):
        return AutoTokenizer.from_pretrained(place, local_files_only=True, trust_remote_code=False)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the loaders' progress bars out of the log: transformers' own, and one for GGUF that it has no switch for."""
    from transformers import modeling_gguf_pytorch_utils as gguf
    from transformers.utils import logging

    shown, bar = logging.is_progress_bar_enabled(), gguf.tqdm
    logging.disable_progress_bar()
    gguf.tqdm = partial(bar, disable=True)
    try:
        yield
    finally:
        gguf.tqdm = bar
        if shown:
            logging.enable_progress_bar()
