"""Documents to unit vectors with a local sentence-transformers model (MiniLM, Sentence-T5, ...)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curation_assets.common.batching import length_batches
from curation_assets.common.progress import Progress, silent
from curation_assets.common.windows import cut_windows
from curation_assets.embeddings.tokenization import Reader, Tokens

if TYPE_CHECKING:
    import torch

_BUCKET = 8  # a document is padded to a multiple of this, whatever its neighbours: about 4 wasted tokens
_FP16_OVERFLOWS = ("t5", "mt5", "umt5", "longt5")  # their activations leave float16's range and turn to NaN


class Encoder:
    """A sentence-transformers model that turns documents into unit float32 vectors.

    The modules are those of the folder's `modules.json` (transformer, pooling, dense, normalize); tokenizing
    and batching are done here: each window is padded to its own length bucket, windows of one bucket share
    a batch. So a vector depends on the document, the weights, `max_tokens`, `windows` and `dtype`; batch neighbours
    move it by rounding alone (below 1e-5 in float32; in bfloat16 or float16 by that type's own rounding).

    A document of at most `max_tokens` is one window. Of a longer one as many windows as it needs are read, at most
    `windows`, evenly spaced from its beginning to its end (`common.windows.cut_windows`), and the vector is the
    normalised mean of theirs. The paper cuts documents at the model's limit, which is `windows = 1`: then documents with
    a common beginning, as files under one licence, are copies of one another.

    Parameters
    ----------
    folder
        A saved sentence-transformers model with safetensors weights. Nothing is fetched; no code in it runs.
    device
        A torch device such as `cpu`, `cuda` or `cuda:1`.
    max_tokens
        Tokens of a window, special tokens included. None takes the model's own limit.
    windows
        Most windows of a document; 1 keeps its first `max_tokens` tokens.
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
        Weights that would need unpickling, a module outside sentence-transformers, an unusable device, dtype,
        token limit or number of windows.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        device: str = "cpu",
        max_tokens: int | None = None,
        windows: int = 1,
        batch_tokens: int | None = None,
        dtype: str = "float32",
    ) -> None:
        self.folder = Path(folder)
        _check_folder(self.folder, dtype)
        self.dtype = dtype
        self._model = _load(self.folder, device, dtype)
        self.device: str = str(self._model.device)
        self.max_tokens = _token_limit(self._model, max_tokens, self.folder)
        if not batch_tokens:
            batch_tokens = max(self.max_tokens, 4096 if self.device == "cpu" else 65536)
        if batch_tokens < self.max_tokens:
            raise ValueError(
                f"batch_tokens is {batch_tokens}, less than one window of {self.max_tokens} tokens"
            )
        if windows < 1:
            raise ValueError(f"windows must be at least 1, not {windows}")
        self.batch_tokens, self.windows = batch_tokens, windows
        tokenizer = self._model[0].tokenizer
        self._pad_id = tokenizer.pad_token_id or 0
        prompt: str = self._model.prompts.get(self._model.default_prompt_name or "") or ""
        # The Rust tokenizer itself: the Python layer above it spends as long again on dictionaries.
        self._reader = Reader(tokenizer.backend_tokenizer, tokenizer.unk_token_id, prompt)
        self._special = len(self._reader.prefix) + len(self._reader.suffix)
        self.dim: int = self._model.get_embedding_dimension()

    def encode(self, texts: Sequence[str], *, progress: Progress = silent) -> np.ndarray:
        """Return one unit vector per text, float32 [n, dim], in the order given: `tokenize`, then `embed`."""
        if isinstance(texts, str | bytes):
            raise TypeError("encode takes a sequence of texts, not a single one")
        return self.embed(self.tokenize(texts), progress=progress)

    def tokenize(self, texts: Sequence[str], *, first_row: int = 0) -> Tokens:
        """Return the whole texts as token ids; see `Reader.read`."""
        return self._reader.read(texts, first_row)

    def embed(self, tokens: Tokens, *, progress: Progress = silent) -> np.ndarray:
        """Return one unit vector per text, float32 [n, dim]. Memory: the windows' vectors and one batch.

        Raises
        ------
        ValueError
            A text without tokens or with a vector that has no direction; the message names its row.
        """
        from curation_assets.models.transfer import fetched

        n, lengths = len(tokens.readable), np.diff(tokens.offsets)
        document, begin, end = self._windows(lengths)
        place, size = tokens.offsets[:-1][document] + begin, end - begin + self._special
        rows = document + tokens.first_row
        if not n:
            return np.empty((0, self.dim), dtype=np.float32)
        if size.min() == 0:
            raise ValueError(f"text in row {rows[size.argmin()]} has no tokens")
        vectors = np.empty((len(document), self.dim), dtype=np.float32)
        done = 0
        progress(0, n, "documents")

        def launch(batch: tuple[np.ndarray, int]) -> torch.Tensor:
            part, padded = batch
            return self._forward(*self._padded(tokens.ids, place[part], size[part], padded))

        batches = length_batches(size, self.batch_tokens, self.max_tokens, _BUCKET)
        for (part, _), some in fetched(batches, launch):
            vectors[part] = some
            done += len(part)
            progress(n * done / len(document), n, "documents")
        return _means(_unit(vectors, rows), rows)

    def seen(self, tokens: Tokens) -> np.ndarray:
        """Return how many tokens of each text its windows hold, int64 [n]."""
        document, begin, end = self._windows(np.diff(tokens.offsets))
        counted = np.bincount(document, weights=end - begin, minlength=len(tokens.readable))
        return counted.astype(np.int64)

    def _windows(self, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return of each window its document and its first and last token (exclusive), int64 [w] each."""
        room = self.max_tokens - self._special
        if self.windows == 1:
            lengths = np.minimum(
                lengths, room
            )  # one window is the beginning, as a model cuts a text by itself
        return cut_windows(lengths, room, self.windows)[:3]

    def _padded(
        self, ids: np.ndarray, place: np.ndarray, size: np.ndarray, length: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Gather windows with their special tokens, padded on the right to int64 [windows, length], and their 0/1 mask."""
        before, after = self._reader.prefix, self._reader.suffix
        column = np.arange(length)
        end = (size - len(after))[:, None]
        body = (column >= len(before)) & (column < end)
        padded = np.full(body.shape, self._pad_id, dtype=np.int64)
        padded[:, : len(before)] = before
        padded[body] = ids[(place[:, None] + column - len(before))[body]]
        np.put_along_axis(padded, end + np.arange(len(after)), after[None], axis=1)
        return padded, (column < size[:, None]).astype(np.int64)

    def _forward(self, ids: np.ndarray, mask: np.ndarray) -> torch.Tensor:
        import torch

        from curation_assets.models.transfer import to_device

        with torch.inference_mode():
            features: dict[str, Any] = {
                "input_ids": to_device(ids, self._model.device),
                "attention_mask": to_device(mask, self._model.device),
            }
            transformer, *heads = self._model
            features = transformer(features)
            features["token_embeddings"] = features["token_embeddings"].float()
            for head in heads:
                features = head(features)
            vectors: torch.Tensor = features["sentence_embedding"]
            return vectors


def _means(vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the normalised mean of the vectors of each row; that of a single vector is the vector. `rows` int64 [w], rising."""
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    if len(starts) == len(vectors):
        return vectors
    sums = np.add.reduceat(vectors, starts)
    several = np.diff(starts, append=len(rows)) > 1
    sums[several] = _unit(sums[several], rows[starts][several])
    return sums


def _unit(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Divide each vector by its norm, in place; an error names the vector's row of `rows`."""
    norms = np.linalg.norm(x, axis=1)
    bad = np.flatnonzero(~np.isfinite(norms) | (norms < 1e-12))
    if len(bad):
        raise ValueError(f"the vector of row {rows[bad[0]]} has norm {norms[bad[0]]}: no direction")
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

    from curation_assets.models.fusing import fuse_layers

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
    return fuse_layers(model.eval(), model.device)


def _token_limit(model: Any, max_tokens: int | None, folder: Path) -> int:
    """Return the tokens kept per document, checked against what the model and its tokenizer can do."""
    first = model[0]
    tokenizer = getattr(first, "tokenizer", None)
    if tokenizer is None or getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ValueError(f"{folder} does not begin with a transformer that has a fast tokenizer")
    if any(getattr(head, "include_prompt", True) is False for head in model):
        raise ValueError(f"{folder} pools without its prompt, which is not supported")
    limit = max_tokens if max_tokens is not None else model.max_seq_length
    positions = getattr(first.config, "max_position_embeddings", None)
    if limit is None or limit > 10**9:  # transformers writes 1e30 for "unknown"
        raise ValueError(f"{folder} states no longest input: give max_tokens")
    if positions and limit > positions:
        raise ValueError(f"max_tokens is {limit}, but {folder} has {positions} positions")
    if limit <= tokenizer.num_special_tokens_to_add():
        raise ValueError(f"max_tokens is {limit}: no room beside the special tokens")
    return int(limit)
