"""Documents to unit vectors with a local sentence-transformers model (MiniLM, Sentence-T5, ...)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from curation_assets.progress import Progress, silent

_BUCKET = 8  # a document is padded to a multiple of this, whatever its neighbours: about 4 wasted tokens
_WINDOW = 4096  # documents tokenized and sorted by length at a time; bounds memory for any number of texts
_PREFIX = 8  # characters read per wanted token before the whole text is tried; English has about 4.5
_FP16_OVERFLOWS = ("t5", "mt5", "umt5", "longt5")  # their activations leave float16's range and turn to NaN


class Encoder:
    """A sentence-transformers model that turns documents into unit float32 vectors.

    The modules are those of the folder's `modules.json` (transformer, pooling, dense, normalize); tokenizing
    and batching are done here: each document is padded to its own length bucket, documents of one bucket share
    a batch. So a vector depends on the document, the weights, `max_tokens` and `dtype`; batch neighbours move
    it by rounding alone (below 1e-5 in float32; in bfloat16 or float16 by that type's own rounding).

    Parameters
    ----------
    folder
        A saved sentence-transformers model with safetensors weights. Nothing is fetched; no code in it runs.
    device
        A torch device such as `cpu`, `cuda` or `cuda:1`.
    max_tokens
        Tokens kept of each document, special tokens included. None takes the model's own limit.
    batch_tokens
        Padded tokens per forward pass, at least `max_tokens`. Affects speed and memory only. None takes 4,096 on
        a CPU (more is no faster there) and 65,536 elsewhere.
    dtype
        `float32`, `bfloat16` or `float16`: the type the transformer runs in. Pooling and what follows, and the
        result, are float32.

    Raises
    ------
    FileNotFoundError
        The folder is not a sentence-transformers model.
    ValueError
        Weights that would need unpickling, a module outside sentence-transformers, an unusable device, dtype
        or token limit.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        device: str = "cpu",
        max_tokens: int | None = None,
        batch_tokens: int | None = None,
        dtype: str = "float32",
    ) -> None:
        self.folder = Path(folder)
        _check_folder(self.folder, dtype)
        self.dtype = dtype
        self._model = _load(self.folder, device, dtype)
        self.device: str = str(self._model.device)
        self.max_tokens = _token_limit(self._model, max_tokens, self.folder)
        if batch_tokens is None:
            batch_tokens = max(self.max_tokens, 4096 if self.device == "cpu" else 65536)
        if batch_tokens < self.max_tokens:
            raise ValueError(
                f"batch_tokens is {batch_tokens}, less than one document of {self.max_tokens} tokens"
            )
        self.batch_tokens = batch_tokens
        tokenizer = self._model[0].tokenizer
        self._pad_id = tokenizer.pad_token_id or 0
        self._prompt: str = self._model.prompts.get(self._model.default_prompt_name or "") or ""
        # The Rust tokenizer itself: the Python layer above it spends as long again on dictionaries.
        self._tokenizer = tokenizer.backend_tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.max_tokens)
        self.dim: int = self._model.get_embedding_dimension()

    def encode(self, texts: Sequence[str], *, progress: Progress = silent) -> np.ndarray:
        """Return one unit vector per text, float32 [n, dim], in the order given.

        Memory beyond the result does not grow with the number of texts.

        Raises
        ------
        TypeError
            `texts` is one string, or holds something other than strings.
        ValueError
            A text without tokens or with a vector that has no direction; the message names its row.
        """
        if isinstance(texts, str | bytes):
            raise TypeError("encode takes a sequence of texts, not a single one")
        out = np.empty((len(texts), self.dim), dtype=np.float32)
        done = 0
        progress(0, len(texts), "documents")
        for start in range(0, len(texts), _WINDOW):
            ids, offsets = self.tokenize(texts[start : start + _WINDOW], first_row=start)
            for rows, padded in self._batches(np.diff(offsets)):
                out[start + rows] = self._forward(*_padded(ids, offsets, rows, padded, self._pad_id))
                done += len(rows)
                progress(done, len(texts), "documents")
        return _unit(out)

    def tokenize(self, texts: Sequence[str], *, first_row: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids of all texts end to end, int64 [tokens], and where each begins, int64 [n + 1].

        Each text keeps its first `max_tokens` tokens, special tokens included. `first_row` is added to the row
        that an error names.
        """
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"text in row {first_row + row} is {type(text).__name__}, not a string")
        try:
            lists = _encode_prefixes(self._encode_batch, texts, self.max_tokens)
        except (TypeError, UnicodeEncodeError):  # which of the two depends on the version of tokenizers
            for row, text in enumerate(texts):
                if not _is_utf8(text):
                    reason = "holds a lone surrogate: not valid Unicode"
                    raise ValueError(f"text in row {first_row + row} {reason}") from None
            raise
        lengths = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
        if len(lengths) and lengths.min() == 0:
            raise ValueError(f"text in row {first_row + int(lengths.argmin())} has no tokens")
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        ids = np.fromiter(chain.from_iterable(lists), dtype=np.int64, count=int(offsets[-1]))
        return ids, offsets

    def _encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch_fast([self._prompt + text for text in texts])
        return [encoding.ids for encoding in encodings]

    def _batches(self, lengths: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
        """Yield (rows, padded length), longest bucket first so that memory peaks at once."""
        buckets = np.minimum(-(-lengths // _BUCKET) * _BUCKET, self.max_tokens)
        order = np.argsort(-buckets, kind="stable")
        padded, starts = np.unique(-buckets[order], return_index=True)
        for length, rows in zip(-padded, np.split(order, starts[1:]), strict=True):
            size = max(1, self.batch_tokens // int(length))
            for begin in range(0, len(rows), size):
                yield rows[begin : begin + size], int(length)

    def _forward(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            features: dict[str, Any] = {
                "input_ids": torch.from_numpy(ids).to(self._model.device),
                "attention_mask": torch.from_numpy(mask).to(self._model.device),
            }
            transformer, *heads = self._model
            features = transformer(features)
            features["token_embeddings"] = features["token_embeddings"].float()
            for head in heads:
                features = head(features)
            return features["sentence_embedding"].cpu().numpy()


def _encode_prefixes(
    encode: Callable[[Sequence[str]], list[list[int]]], texts: Sequence[str], max_tokens: int
) -> list[list[int]]:
    """Return the ids of each text, reading no more of a long text than its first `max_tokens` tokens need.

    A long text is cut at white space. Where the cut left too few tokens the whole text is read; otherwise the
    ids are those of the whole text, because no token of these tokenizers reaches across white space.
    """
    cut = [_prefix(text, max_tokens * _PREFIX) for text in texts]
    lists = encode(cut)
    short = [
        row for row, ids in enumerate(lists) if len(cut[row]) < len(texts[row]) and len(ids) < max_tokens
    ]
    if short:
        for row, ids in zip(short, encode([texts[row] for row in short]), strict=True):
            lists[row] = ids
    return lists


def _prefix(text: str, limit: int) -> str:
    """Return `text` up to the last space or line break before `limit`, or all of it if there is none."""
    if len(text) <= limit:
        return text
    cut = max(text.rfind(" ", 0, limit), text.rfind("\n", 0, limit))
    return text[:cut].rstrip() if cut > 0 else text


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _padded(
    ids: np.ndarray, offsets: np.ndarray, rows: np.ndarray, length: int, pad: int
) -> tuple[np.ndarray, np.ndarray]:
    """Gather the token ids of `rows`, padded on the right to int64 [rows, length], and their 0/1 mask."""
    begins, ends = offsets[rows, None], offsets[rows + 1, None]
    places = begins + np.arange(length)
    mask = places < ends
    return np.where(mask, ids[np.minimum(places, len(ids) - 1)], pad), mask.astype(np.int64)


def _unit(x: np.ndarray) -> np.ndarray:
    """Divide each row by its norm, in place."""
    norms = np.linalg.norm(x, axis=1)
    bad = np.flatnonzero(~np.isfinite(norms) | (norms < 1e-12))
    if len(bad):
        raise ValueError(f"the vector of row {bad[0]} has norm {norms[bad[0]]}: no direction")
    x /= norms[:, None]
    return x


def _check_folder(folder: Path, dtype: str) -> None:
    """Refuse what sentence-transformers would guess at, unpickle or import, and T5 in float16."""
    listing = folder / "modules.json"
    if not listing.is_file():
        raise FileNotFoundError(f"{folder} is not a sentence-transformers model: it has no modules.json")
    for module in json.loads(listing.read_text(encoding="utf-8")):
        kind, place = module["type"], folder / module["path"]
        if not kind.startswith("sentence_transformers."):
            raise ValueError(
                f"{listing} names {kind}: only modules of sentence-transformers itself are loaded"
            )
        if any(place.glob("pytorch_model*.bin")) and not any(place.glob("*.safetensors")):
            raise ValueError(f"{place} has only pickled weights (.bin), which are never loaded")
        config = place / "config.json"
        if dtype == "float16" and config.is_file():
            family = json.loads(config.read_text(encoding="utf-8")).get("model_type")
            if family in _FP16_OVERFLOWS:
                raise ValueError(
                    f"{folder} is a {family}, which overflows in float16: use bfloat16 or float32"
                )


def _load(folder: Path, device: str, dtype: str) -> Any:
    """Load the model offline, its transformer in `dtype` and the rest in float32, ready for inference."""
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype not in kinds:
        raise ValueError(f"dtype is {dtype!r}, expected one of {', '.join(kinds)}")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device is {device!r}, but torch sees no CUDA device here")
    if device.startswith("cuda") and dtype == "bfloat16" and not torch.cuda.is_bf16_supported():
        raise ValueError(f"device {device!r} has no bfloat16")
    if device == "cpu" and dtype == "float16":
        raise ValueError("float16 is not for CPUs: use float32 or bfloat16")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # a bar per load would fill the logs of a run over many shards
    try:
        model = SentenceTransformer(
            str(folder),
            device=device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"dtype": kinds[dtype], "use_safetensors": True},
        )
    finally:
        if shown:
            logging.enable_progress_bar()
    for head in list(model)[1:]:
        head.float()
    return model.eval()


def _token_limit(model: Any, wanted: int | None, folder: Path) -> int:
    """Return the tokens kept per document, checked against what the model and its tokenizer can do."""
    first = model[0]
    tokenizer = getattr(first, "tokenizer", None)
    if tokenizer is None or getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ValueError(f"{folder} does not begin with a transformer that has a fast tokenizer")
    if any(getattr(head, "include_prompt", True) is False for head in model):
        raise ValueError(f"{folder} pools without its prompt, which is not supported")
    limit = wanted if wanted is not None else model.max_seq_length
    positions = getattr(first.config, "max_position_embeddings", None)
    if limit is None or limit > 10**9:  # transformers writes 1e30 for "unknown"
        raise ValueError(f"{folder} states no longest input: give max_tokens")
    if positions and limit > positions:
        raise ValueError(f"max_tokens is {limit}, but {folder} has {positions} positions")
    if limit <= tokenizer.num_special_tokens_to_add():
        raise ValueError(f"max_tokens is {limit}: no room beside the special tokens")
    return int(limit)
