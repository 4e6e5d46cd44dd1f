"""Perplexity under a decoder-only language model: that of each token given those before it.

The sibling of `scoring.perplexity`, for judges without an encoder. A document's windows are read apart, each after a
start token, so that every token of the document is predicted once and a score depends on no other document. Batches
change a score only by the rounding of the model's arithmetic (below 1e-5 relative in float32).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from curation_assets.common.batching import length_batches
from curation_assets.common.progress import Progress, silent
from curation_assets.common.windows import cut_windows
from curation_assets.models.encoding import document_encoder
from curation_assets.models.fusing import fuse_layers
from curation_assets.models.loading import torch_settings
from curation_assets.models.transfer import fetched, to_device
from curation_assets.scoring.ask_llm import check_texts
from curation_assets.scoring.perplexity import by_document, check_vocabulary

_TEXTS = 1_024  # encoded at a time: an encoding is many times as large as its ids
# Tokens whose logits are there at once: enough for a matrix product to be fast.
_PART_CPU, _PART = 256, 1_024


class TokenPerplexity:
    """Score documents by minus their perplexity under a decoder-only model: higher is better.

    A document without tokens is scored by the end token after the start token, so that it has a score as well.

    Parameters
    ----------
    model
        A decoder-only transformers model with a language modelling head; it is moved to `device` and `dtype` and put into
        evaluation mode.
    tokenizer
        Of transformers (a fast one), of the `tokenizers` package, or a `models.tokenizer.Tokenizer`. None will do where
        only `nll_flat` is called; then the start and end tokens are those of the model's configuration.
    window
        Tokens per window, start token not counted; longer documents are cut (see `cut_windows`), and no token is lost
        unless `max_windows` says so. `window + 1` may not exceed the positions that the model has.
    max_windows
        Most windows per document; None for all.
    batch_tokens
        Most padded tokens per forward pass; None takes 8,192 on a CPU and 65,536 elsewhere. Their logits are computed for 256 tokens at a time (1,024 on an accelerator)
        and at most half of `batch_tokens`, each of which takes 8 bytes per vocabulary entry: 67 MB for 32,768 entries. A
        model that does more to its logits than multiply by the head (it caps or scales them) computes a whole batch's.
    device
        A torch device; "auto" for CUDA where there is one.
    dtype
        Of the model's weights: "float32", "bfloat16", or "auto" for bfloat16 on CUDA. Log-probabilities are taken in
        float32, sums in float64.

    Raises
    ------
    ValueError
        The model has an encoder or looks ahead, neither tokenizer nor configuration has a token to start with, a special
        token lies outside the vocabulary, the window is longer than the model can read, or a setting is not usable.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        *,
        window: int = 512,
        max_windows: int | None = None,
        batch_tokens: int | None = None,
        device: str = "auto",
        dtype: str = "auto",
    ) -> None:
        cut_windows([], window, max_windows)  # refuses a window or a number of them below 1
        self.window, self.max_windows = window, max_windows
        self.device, kind = torch_settings(device, dtype)
        self.batch_tokens = max(batch_tokens or (8_192 if self.device.type == "cpu" else 65_536), window)
        if model.config.is_encoder_decoder:
            raise ValueError(
                f"{type(model).__name__} has an encoder: SpanPerplexity is for T5, this for decoder-only models"
            )
        limit = getattr(model.config, "max_position_embeddings", None)
        if limit and window + 1 > limit:
            raise ValueError(
                f"a window of {window} tokens after a start token is more than the model's {limit} positions"
            )
        self._vocab_size = int(model.get_input_embeddings().num_embeddings)
        self.start, self.eos = _special_ids(tokenizer, model.config, self._vocab_size)
        self.tokenizer = tokenizer
        self._encode = None if tokenizer is None else document_encoder(tokenizer)
        on_cpu = self.device.type == "cpu"
        self._bucket = 8 if on_cpu else 32  # an accelerator needs large batches more than it minds padding
        self._part = max(1, min(_PART_CPU if on_cpu else _PART, self.batch_tokens // 2))
        self.model = fuse_layers(model.to(device=self.device, dtype=kind).eval(), self.device)
        self._body, self._head = self._body_and_head()

    def score(self, texts: Sequence[str], doc_ids: Sequence[str] | None = None) -> NDArray[np.float64]:
        """Return minus the perplexity of each text, float64[n]; ids are only counted: nothing here is random."""
        if doc_ids is not None and len(texts) != len(doc_ids):
            raise ValueError(f"{len(texts)} texts and {len(doc_ids)} document ids")
        total, count = self.nll_flat(*self.encode(texts))
        return -np.exp(total / count)

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the texts' ids one after the other, and `offsets` int64[n + 1]; no special tokens, no truncation.

        A special token quoted in a text is ordinary text.

        Raises
        ------
        TypeError
            `texts` is one string, or holds something other than strings.
        ValueError
            There is no tokenizer, or a text is not valid Unicode; the message names its row.
        """
        if self._encode is None:
            raise ValueError("texts need a tokenizer; without one use nll_flat")
        if isinstance(texts, str | bytes):
            raise TypeError("texts must be a sequence of strings, not one string")
        parts: list[NDArray[np.int32]] = [np.zeros(0, np.int32)]
        offsets = np.zeros(len(texts) + 1, np.int64)
        for start in range(0, len(texts), _TEXTS):
            some = texts[start : start + _TEXTS]
            check_texts(some, start)
            encoded = self._encode(some)
            offsets[start + 1 : start + 1 + len(some)] = [len(one) for one in encoded]
            parts.append(np.concatenate(encoded))
        return np.concatenate(parts), offsets.cumsum()

    def nll_flat(
        self,
        ids: NDArray[np.integer],
        offsets: NDArray[np.int64],
        doc_hash: NDArray[np.uint64] | None = None,
        progress: Progress = silent,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return `(nll_sum float64[n], n_tokens int64[n])`, nats, of documents `ids[offsets[i] : offsets[i + 1]]`.

        Holds about 100 bytes a window and one batch; ids may be a memory map. `doc_hash` is not read: it is there so that
        a caller with flat ids can use this or `SpanPerplexity`. Progress counts documents by the tokens read of all.

        Raises
        ------
        ValueError
            Where the arrays do not fit together, a document holds an id outside the vocabulary, or has no tokens and the
            model no end token to predict.
        FloatingPointError
            Where the model gives a document no finite likelihood.
        """
        offsets = _checked_offsets(ids, offsets)
        n = len(offsets) - 1
        document, begin, end, _ = cut_windows(np.diff(offsets), self.window, self.max_windows)
        place, size = offsets[:-1][document] + begin, end - begin
        if self.eos is None and not size.all():
            row = document[(size == 0).argmax()]
            raise ValueError(f"document {row} has no tokens, and the model has no end token to predict")
        total, count = np.zeros(len(size)), np.maximum(size, 1)
        whole, read = int(count.sum()), 0
        progress(0, n, "documents")

        def launch(batch: tuple[NDArray[np.int64], int]) -> torch.Tensor:
            part, padded = batch
            tokens = self._gather(ids, place[part], size[part], padded)
            check_vocabulary(tokens, self._vocab_size, document[part])
            return self._batch_nll(tokens, count[part])

        batches = length_batches(count, self.batch_tokens, self.window, self._bucket)
        for (part, _), losses in fetched(batches, launch):
            total[part] = losses
            read += int(count[part].sum())
            progress(n * read / whole, n, "documents")
        return by_document(document, total, count, n)

    def _gather(
        self, ids: NDArray[np.integer], place: NDArray[np.int64], size: NDArray[np.int64], padded: int
    ) -> NDArray[np.int64]:
        """Return the windows' tokens, right-padded; an empty window is its end token."""
        inside = np.arange(padded) < size[:, None]
        tokens = np.zeros(inside.shape, np.int64)
        tokens[inside] = ids[(place[:, None] + np.arange(padded))[inside]]
        tokens[size == 0, 0] = 0 if self.eos is None else self.eos
        return tokens

    @torch.inference_mode()
    def _batch_nll(self, tokens: NDArray[np.int64], count: NDArray[np.int64]) -> torch.Tensor:
        """Return the summed negative log-likelihood of the first `count` tokens of each row, float64 on the device."""
        inputs = np.full_like(tokens, self.start)
        inputs[:, 1:] = tokens[:, :-1]
        used = np.arange(tokens.shape[1]) < count[:, None]
        states = self._body(
            input_ids=self._tensor(inputs),
            attention_mask=None if used.all() else self._tensor(used.astype(np.int64)),
            use_cache=False,
        )[0].flatten(0, 1)
        at, targets = self._tensor(np.flatnonzero(used)), self._tensor(tokens[used])
        losses = torch.zeros(used.size, dtype=torch.float64, device=self.device)
        for part, wanted in zip(at.split(self._part), targets.split(self._part), strict=True):
            logits = self._head(states[part]).float()
            losses[part] = F.cross_entropy(logits, wanted, reduction="none").double()
        return losses.view(used.shape).sum(dim=1)

    @torch.inference_mode()
    def _body_and_head(self) -> tuple[torch.nn.Module, torch.nn.Module]:
        """Split the model where its logits are the head's product of the last hidden states, to compute them in parts.

        Tried on eight tokens, because many models cap or scale their logits and each says so elsewhere: of such a one the
        body is the whole model and the head does nothing.
        """
        probe = torch.linspace(0, self._vocab_size - 1, min(8, self.window + 1)).long().repeat(2, 1)
        probe[1, -1] = 0  # the rows differ in their last token alone
        probe = probe.to(self.device)
        logits = self.model(input_ids=probe, use_cache=False).logits.float()
        ahead = (logits[0, :-1] - logits[1, :-1]).abs().max()
        if ahead > 0.01 * logits.std():
            raise ValueError(
                f"{type(self.model).__name__} looks ahead: a token changes the likelihood of those before it"
            )
        body, head = self.model.base_model, self.model.get_output_embeddings()
        if isinstance(head, torch.nn.Linear) and body is not self.model:
            states = body(input_ids=probe, use_cache=False)[0]
            if states.shape[-1] == head.in_features and torch.equal(head(states).float(), logits):
                return body, head
        return self.model, torch.nn.Identity()

    def _tensor(self, array: NDArray[np.int64]) -> torch.Tensor:
        return to_device(array, self.device)


def _special_ids(tokenizer: Any, config: Any, vocab_size: int) -> tuple[int, int | None]:
    """Return the id to start with (of bos, else eos, else pad) and that of the end, None where there is none."""
    ids: dict[str, int] = {}
    for name in ("bos", "eos", "pad"):
        named = [getattr(tokenizer, f"{name}_token_id", None), getattr(tokenizer, f"{name}_id", None)]
        for one in [*named, getattr(config, f"{name}_token_id", None)]:
            several = one if isinstance(one, list | tuple) else [one]  # some models can end in several ways
            if several and several[0] is not None:
                ids.setdefault(name, int(several[0]))
    if not ids:
        raise ValueError(
            "there is no token to start with: neither the tokenizer nor the model's configuration has bos, eos or pad"
        )
    start = next(iter(ids.values()))
    for id_ in (start, ids.get("eos", start)):
        if not 0 <= id_ < vocab_size:
            raise ValueError(f"special token {id_} lies outside the vocabulary of {vocab_size}")
    return start, ids.get("eos")


def _checked_offsets(ids: NDArray[np.integer], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the offsets as int64 where they are bounds of documents within the ids."""
    offsets = np.asarray(offsets)
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"ids must be integers in one row, not {ids.dtype}{list(ids.shape)}")
    if offsets.ndim != 1 or not len(offsets) or not np.issubdtype(offsets.dtype, np.integer):
        raise ValueError(f"offsets must be int64[n + 1], not {offsets.dtype}{list(offsets.shape)}")
    offsets = offsets.astype(np.int64)
    if offsets[0] < 0 or offsets[-1] > len(ids):
        raise ValueError(
            f"offsets run from {offsets[0]} to {offsets[-1]}, but there are {len(ids)} token ids"
        )
    if (falling := np.diff(offsets) < 0).any():
        raise ValueError(f"offsets fall at document {falling.argmax()}")
    return offsets
