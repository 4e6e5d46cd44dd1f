"""What the files of a model may say: looked through before anything is allocated, looped over or fetched because of it.

Settings are text that anybody may have written. A million layers, a vocabulary beyond the weights or the name of an attention kernel on
the hub are refused by the file and the value, in one line.
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from safetensors import SafetensorError, safe_open

if TYPE_CHECKING:
    import torch

_MOST_BYTES = 512 << 20  # of one JSON file; the largest tokenizers have 40 MB
_DEPTH = 48  # of brackets in brackets; real files have a dozen
_KERNELS = ("eager", "sdpa", "grouped_mm", "batched_mm")
"""Ways to compute attention and experts that come with torch; transformers fetches any other, a hub's by its name."""
_REPEATED = re.compile(r"layers?$|blocks?$|^depth$|^num_labels$", re.IGNORECASE)
"""Settings that loops are made by, before a weight is."""
_CONFIG = re.compile(r"config\.json|sentence_\w+_config\.json")
"""Files with settings of a model; sentence-transformers hands over more of them, from a file of its own."""
_FEWEST = 64  # of what such a setting may say, however few the tensors are
_TIMES = 4  # a T5 with a tied head has its embedding so often in the model, and once in the file
_PACKED = 8  # numbers in an integer of packed weights
_SLACK = 1 << 20
_GGUF_TENSORS, _GGUF_SMALLEST = 8, 24  # where the header has their number; bytes of the shortest entry of one


_BOUND = threading.local()
"""What counts the weights of the models that a thread makes; threads beside it make theirs without a bound, or with one of their own."""


class Weights(NamedTuple):
    """How much weights in files are: tensors, and the most numbers that they may stand for."""

    tensors: int
    numbers: int


def read_shapes(path: Path) -> dict[str, tuple[str, list[int]]]:
    """Return {tensor: (dtype, shape)} of a safetensors file, from its header alone; ValueError where that is none."""
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  (no dictionary)
            return {name: (one.get_dtype(), one.get_shape()) for name, one in slices.items()}
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file: {one_line(error)}") from None


def check_settings(paths: Iterable[Path]) -> None:
    """Refuse a model's JSON files that are no JSON, are too deep or hold NaN, and a configuration beyond the weights beside it.

    Raises
    ------
    ValueError
        Names the file and the value.
    """
    for path in sorted(paths):
        settings = _read(path)
        if _CONFIG.fullmatch(path.name):
            _check_config(path, settings, weights_in(path.parent))
        if path.name.endswith(".safetensors.index.json"):
            _check_index(path, settings)


def weights_in(folder: Path) -> Weights:
    """Count what the safetensors files of a folder hold."""
    shapes = [shape for path in folder.glob("*.safetensors") for shape in read_shapes(path).values()]
    numbers = sum(
        math.prod(shape) * (1 if kind.startswith(("F", "BF")) else _PACKED) for kind, shape in shapes
    )
    return Weights(len(shapes), numbers)


def weights_in_gguf(file: Path) -> Weights:
    """Return how many tensors a GGUF file says it has, as far as it has room for them, and a number for each byte: four at two bits."""
    with file.open("rb") as opened:
        opened.seek(_GGUF_TENSORS)
        tensors = int.from_bytes(opened.read(8), "little")
    size = file.stat().st_size
    return Weights(min(tensors, size // _GGUF_SMALLEST), size)


@contextmanager
def bounded(place: Path, held: Weights) -> Iterator[None]:
    """While it lasts, a model that is made may have so many weights as `held` accounts for: ValueError at the first beyond.

    Before any of them has memory, where it is made on the meta device, as transformers does. What takes the place of a weight, as when
    two are tied or loaded, is not counted again.
    """
    tensors, numbers = 0, 0

    def count(module: torch.nn.Module, name: str, weight: torch.nn.Parameter) -> None:
        nonlocal tensors, numbers
        if module._parameters.get(name) is not None:
            return
        tensors, numbers = tensors + 1, numbers + weight.numel()
        if tensors > _TIMES * held.tensors + _FEWEST or numbers > _TIMES * held.numbers + _SLACK:
            raise ValueError(
                f"{place} describes a larger model than its weights are ({held.tensors} tensors of {held.numbers:,} numbers): "
                f"{type(module).__name__}.{name} of {list(weight.shape)} is beyond"
            )

    _watch()
    _BOUND.count = count
    try:
        yield
    finally:
        del _BOUND.count


@cache
def _watch() -> None:
    """Have torch tell of all weights of modules from now on: a hook that is removed disturbs who makes a module in another thread."""
    from torch.nn.modules.module import register_module_parameter_registration_hook

    def tell(module: torch.nn.Module, name: str, weight: torch.nn.Parameter | None) -> None:
        if weight is not None and (count := getattr(_BOUND, "count", None)):
            count(module, name, weight)

    register_module_parameter_registration_hook(tell)


@contextmanager
def refused_in_one_line(place: Path) -> Iterator[None]:
    """Raise what a loader says of a model's files as a ValueError of one line that names the place."""
    try:
        yield
    except FileNotFoundError:
        raise
    except Exception as error:
        said = one_line(error)
        raise ValueError(said if str(place) in said else f"{place} cannot be loaded: {said}") from error


def check_vocabulary(place: Path, model: Any, tokenizer: Any) -> None:
    """Refuse a tokenizer with a token beyond the model's embedding, which a text could name."""
    vocabulary = tokenizer.vocabulary() if hasattr(tokenizer, "vocabulary") else tokenizer.get_vocab()
    piece, last = max(vocabulary.items(), key=lambda one: one[1])
    rows = model.get_input_embeddings().num_embeddings
    if last >= rows:
        raise ValueError(
            f"{place}: the tokenizer's {_shown(piece)} is token {last}, but the model's vocabulary has {rows} rows: not its tokenizer?"
        )


def one_line(error: BaseException) -> str:
    """Return what an error says, or its kind where that is nothing, on one line of at most 300 characters."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def _read(path: Path) -> Any:
    if (size := path.stat().st_size) > _MOST_BYTES:
        raise ValueError(f"{path} has {size:,} bytes, more than any model's settings")
    try:
        settings = json.loads(path.read_bytes(), parse_constant=_finite_bound)
        deep = _deeper(settings, _DEPTH)
    except RecursionError:
        deep = True
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {one_line(error)}") from None
    if deep:
        raise ValueError(f"{path} has more than {_DEPTH} brackets in one another")
    return settings


def _finite_bound(constant: str) -> float:
    """Let infinities through, the open end of a range in some models; NaN makes every score NaN."""
    if constant == "NaN":
        raise ValueError("it says NaN for a number")
    return float(constant)


def _deeper(value: Any, most: int) -> bool:
    """Tell whether brackets are nested more than `most` deep."""
    level = [value]
    for _ in range(most + 1):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _check_config(path: Path, config: Any, held: Weights) -> None:
    if not isinstance(config, dict):
        raise ValueError(f"{path} is no table of settings, but {_shown(config)}")
    for name, value in _entries(config):
        if name.endswith("_implementation") or name.endswith("_implementation_internal"):
            for kernel in _texts(value):
                if kernel not in _KERNELS:
                    raise ValueError(
                        f"{path}: {name} = {_shown(kernel)} is refused: only {', '.join(_KERNELS)} need no code from elsewhere"
                    )
        counts = isinstance(value, int) and not isinstance(value, bool) and _REPEATED.search(name)
        if counts and held.tensors and not 0 <= value <= max(held.tensors, _FEWEST):
            raise ValueError(
                f"{path}: {name} = {_shown(value)} is refused: the weights beside it are {held.tensors} tensors"
            )
        if name == "auto_map" and not _is_known(config.get("model_type")):
            raise ValueError(
                f"{path}: model_type = {_shown(config.get('model_type'))} is code of its own ({_shown(value)}), which is never run"
            )


def _check_index(path: Path, index: Any) -> None:
    files = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(files, dict):
        raise ValueError(f"{path} has no table weight_map")
    for tensor, file in files.items():
        if not isinstance(file, str) or not (path.parent / file).is_file() or Path(file).name != file:
            raise ValueError(f"{path}: weight_map has {_shown(tensor)} in {_shown(file)}, no file beside it")


def _is_known(model_type: Any) -> bool:
    from transformers import CONFIG_MAPPING

    return isinstance(model_type, str) and model_type in CONFIG_MAPPING


def _entries(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each setting of a configuration and of the tables in it."""
    for name, value in config.items():
        yield name, value
        if isinstance(value, dict):
            yield from _entries(value)


def _texts(value: Any) -> Sequence[Any]:
    """Return the values of a setting that is one, or a table of them by part of the model; what says nothing is left out."""
    values = value.values() if isinstance(value, dict) else [value]
    return [one for one in values if one is not None]


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:80]} ..."
