"""Perplexity under a T5 (v1, section 3.4 and appendix B): that of the span-corruption targets given the corrupted inputs.

A document's noise mask is a pure function of its id, the window and the seed, so a score depends on no other document.
Batches change a score only by float32 rounding (below 1e-5 relative), since padding is masked and sums are in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.nn import functional as F

from curation_assets.common.progress import Progress, silent
from curation_assets.common.windows import cut_windows
from curation_assets.models import span_corruption
from curation_assets.models.fusing import fuse_layers
from curation_assets.models.loading import torch_settings
from curation_assets.models.transfer import fetched, padding_mask, to_device

if TYPE_CHECKING:
    from transformers import T5ForConditionalGeneration

_IGNORED = -100


def check_vocabulary(tokens: NDArray[np.int64], vocab_size: int, document: NDArray[np.int64]) -> None:
    """Raise ValueError where a row of tokens, of document `document[row]`, holds an id that the model does not know."""
    wrong = ((tokens < 0) | (tokens >= vocab_size)).any(axis=1)
    if wrong.any():
        raise ValueError(
            f"document {document[wrong.argmax()]} has a token id outside the vocabulary of {vocab_size}"
        )


def by_document(
    document: NDArray[np.int64], total: NDArray[np.float64], count: NDArray[np.int64], n: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sum the windows' likelihoods and target tokens by document; FloatingPointError where one is not finite."""
    if not np.isfinite(total).all():
        row = document[~np.isfinite(total)][0]
        raise FloatingPointError(f"document {row} has no finite likelihood; are the model's weights finite?")
    counts = np.bincount(document, weights=count, minlength=n).astype(np.int64)
    return np.bincount(document, weights=total, minlength=n).astype(np.float64), counts


class SpanPerplexity:
    """Score documents by minus their perplexity under a T5: higher is better, as in the paper's figure 9.

    Parameters
    ----------
    model
        A T5ForConditionalGeneration of any size; it is moved to `device` and `dtype` and put into evaluation mode.
    tokenizer
        Only for `score`: a transformers tokenizer or a `tokenizers.Tokenizer`.
    eos, first_sentinel
        Ids of `</s>` and `<extra_id_0>`. By default those of the tokenizer.
    seed
        Of the noise masks.
    window
        Raw tokens per window; documents longer than that are cut, and no token is lost unless `max_windows` says so.
    max_windows
        Most windows per document; None for all.
    batch_tokens
        Most tokens per forward pass, inputs and targets with their padding. About a fifth of them are targets, each of which takes
        8 bytes per vocabulary entry for a moment: 8,192 tokens and T5's vocabulary, 0.4 GB. None takes 8,192 on a CPU and 65,536
        elsewhere, where smaller batches wait for their kernels to be launched.
    device
        "cpu", "cuda", ...; "auto" for CUDA where there is one.
    dtype
        Of the model's weights: "float32", "bfloat16", or "auto" for bfloat16 on CUDA. T5 overflows in float16. Log-probabilities
        are taken in float32.
    """

    def __init__(
        self,
        model: T5ForConditionalGeneration,
        tokenizer: Any = None,
        *,
        eos: int | None = None,
        first_sentinel: int | None = None,
        seed: int = 0,
        window: int = 512,
        max_windows: int | None = None,
        batch_tokens: int | None = None,
        device: str = "auto",
        dtype: str = "auto",
    ) -> None:
        self.tokenizer, self.seed, self.window, self.max_windows = tokenizer, seed, window, max_windows
        self.eos = _token_id(tokenizer, "</s>", eos, "eos")
        self.first_sentinel = _token_id(tokenizer, "<extra_id_0>", first_sentinel, "first_sentinel")
        if int(span_corruption.noise_counts(window)[1]) > span_corruption.SENTINELS:
            raise ValueError(
                f"a window of {window} tokens needs more sentinels than the {span_corruption.SENTINELS}"
            )
        vocab_size = model.config.vocab_size
        if not max(self.first_sentinel, self.eos) < vocab_size:
            raise ValueError(
                f"ids {self.eos}, {self.first_sentinel} lie outside the vocabulary of {vocab_size}"
            )
        self.device, kind = torch_settings(device, dtype)
        batch_tokens = batch_tokens or (8_192 if self.device.type == "cpu" else 65_536)
        self.batch_tokens = max(batch_tokens, int(np.add(*span_corruption.corrupted_lengths(window))))
        moved: torch.nn.Module = model  # transformers decorates `to` in a way that hides its type
        self.model = fuse_layers(moved.to(device=self.device, dtype=kind).eval(), self.device)
        self._vocab_size, self._pad = vocab_size, int(model.config.pad_token_id or 0)
        self._start = model.config.decoder_start_token_id

    def score(self, texts: Sequence[str], doc_ids: Sequence[str]) -> NDArray[np.float64]:
        """Return minus the perplexity of each text, float64[n]; a document's id and text choose its mask (`hash_documents`)."""
        from curation_assets.common.hashing import hash_documents, text_digest

        if self.tokenizer is None:
            raise ValueError("score needs a tokenizer; without one use score_tokens")
        if len(texts) != len(doc_ids):
            raise ValueError(f"{len(texts)} texts and {len(doc_ids)} document ids")
        hashes = hash_documents(doc_ids, [text_digest(text) for text in texts])
        return self.score_tokens(_encode(self.tokenizer, texts), hashes)

    def score_tokens(
        self, token_ids: Sequence[ArrayLike], doc_hash: NDArray[np.uint64]
    ) -> NDArray[np.float64]:
        """Return minus exp(mean negative log-likelihood per target token), float64[n]."""
        total, count = self.nll(token_ids, doc_hash)
        return -np.exp(total / count)

    def nll(
        self, token_ids: Sequence[ArrayLike], doc_hash: NDArray[np.uint64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return each document's summed negative log-likelihood in nats and its number of target tokens.

        Sentinels and EOS count as targets, as in training. See `nll_flat`; this copies the ids.
        """
        parts = [np.asarray(ids) for ids in token_ids]
        offsets = np.zeros(len(parts) + 1, np.int64)
        np.cumsum([len(part) for part in parts], out=offsets[1:])
        ids = np.concatenate(parts) if parts else np.zeros(0, np.int64)
        return self.nll_flat(ids, offsets, doc_hash)

    def nll_flat(
        self,
        ids: NDArray[np.integer],
        offsets: NDArray[np.int64],
        doc_hash: NDArray[np.uint64],
        progress: Progress = silent,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return `(nll_sum float64[n], n_target_tokens int64[n])` of documents `ids[offsets[i] : offsets[i + 1]]`.

        Holds about 60 bytes a window and one batch; ids may be a memory map.

        Raises
        ------
        ValueError
            Where the arrays do not fit together, or a document holds an id outside the vocabulary.
        FloatingPointError
            Where the model gives a document no finite likelihood.
        """
        doc_hash = np.asarray(doc_hash)
        n = len(offsets) - 1
        if doc_hash.dtype != np.uint64 or doc_hash.shape != (n,):
            raise ValueError(f"doc_hash must be uint64[{n}], not {doc_hash.dtype}{list(doc_hash.shape)}")
        document, begin, end, number = cut_windows(np.diff(offsets), self.window, self.max_windows)
        keys = span_corruption.document_keys(doc_hash[document], number, self.seed)
        place, size = offsets[:-1][document] + begin, end - begin
        total, count = np.zeros(len(size)), np.zeros(len(size), np.int64)
        count[:] = span_corruption.corrupted_lengths(size)[1]

        def launch(part: NDArray[np.int64]) -> torch.Tensor:
            longest = int(size[part[0]])
            inside = np.arange(longest) < size[part, None]
            tokens = np.zeros(inside.shape, np.int64)
            tokens[inside] = ids[(place[part, None] + np.arange(longest))[inside]]
            check_vocabulary(tokens, self._vocab_size, document[part])
            return self._batch_nll(tokens, keys[part], size[part])

        done = 0
        for part, losses in fetched(self._batches(size), launch):
            total[part] = losses
            done += len(part)
            progress(n * done / len(size), n, "documents")
        return by_document(document, total, count, n)

    def _batches(self, size: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        """Yield the windows of each batch, the longest first: what needs most memory fails at once."""
        order, low = np.argsort(-size, kind="stable"), 0
        while low < len(order):
            part = order[low : low + self._rows(size[order[low:]])]
            yield part
            low += len(part)

    def _rows(self, falling: NDArray[np.int64]) -> int:
        """Return how many of the windows, the longest first, make the next batch.

        As many as are allowed, or fewer where a fair batch has one length and the next window another: without padding
        there is no attention mask, which costs a tenth of the time.
        """
        cost = int(np.add(*span_corruption.corrupted_lengths(falling[0])))
        most = self.batch_tokens // cost
        changes = np.flatnonzero(np.diff(falling[:most])) + 1
        fair = changes[changes * cost >= self.batch_tokens / 8]
        return int(fair[0]) if len(fair) else most

    @torch.inference_mode()
    def _batch_nll(
        self, tokens: NDArray[np.int64], keys: NDArray[np.uint64], lengths: NDArray[np.int64]
    ) -> torch.Tensor:
        """Corrupt and score one batch of right-padded windows; the sums, float64, stay on the device."""
        mask = span_corruption.noise_mask(keys, lengths)
        inputs, n_inputs, targets, n_targets = span_corruption.corrupt_padded(
            tokens, mask, lengths, eos=self.eos, first_sentinel=self.first_sentinel, pad=self._pad
        )
        decoder = np.full_like(targets, self._start)
        decoder[:, 1:] = targets[:, :-1]
        labels = np.where(np.arange(targets.shape[1]) < n_targets[:, None], targets, _IGNORED)
        seen = np.arange(inputs.shape[1]) < n_inputs[:, None]
        logits = self.model(
            input_ids=self._tensor(inputs),
            attention_mask=None
            if seen.all()
            else padding_mask(self.model, self._tensor(seen.astype(np.int64))),
            decoder_input_ids=self._tensor(decoder),
            use_cache=False,
        ).logits
        losses = F.cross_entropy(
            logits.flatten(0, 1).float(),
            self._tensor(labels).flatten(),
            ignore_index=_IGNORED,
            reduction="none",
        )
        return losses.view(labels.shape).double().sum(dim=1)

    def _tensor(self, array: NDArray[np.int64]) -> torch.Tensor:
        return to_device(array, self.device)


def _token_id(tokenizer: Any, piece: str, given: int | None, name: str) -> int:
    """Return the given id, or else the tokenizer's for the piece."""
    if given is not None:
        return given
    if tokenizer is None:
        raise ValueError(f"{name} must be given where there is no tokenizer")
    fast = hasattr(tokenizer, "token_to_id")
    piece_id = tokenizer.token_to_id(piece) if fast else tokenizer.convert_tokens_to_ids(piece)
    if piece_id is None or (not fast and piece_id == tokenizer.unk_token_id):
        raise ValueError(f"the tokenizer has no {piece}; give {name}")
    return int(piece_id)


def _encode(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Return the texts' token ids without special tokens and without truncation."""
    if hasattr(tokenizer, "encode_batch"):
        return [encoding.ids for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
    return tokenizer(list(texts), add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
