"""Ask-LLM (v1, section 3.1): the log-probability with which an instruction-tuned model answers "yes".

The probability is the softmax over the whole vocabulary at the first generated token, and not yes / (yes + no). An
encoder-decoder (Flan-T5) reads the prompt in its encoder and takes one decoder step; a decoder-only chat model reads it
as the user's turn of its own chat template.

Document, prompt and template are tokenized apart: whatever a document holds, the tokens around it stay the same, a
special token in it is ordinary text, and a long document is cut by its own tokens, never the question.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from curation_assets.common.batching import Flat, Ids, encode_beginnings, length_batches
from curation_assets.common.progress import Progress, silent
from curation_assets.models import t5
from curation_assets.models.encoding import document_encoder
from curation_assets.models.fusing import fuse_layers
from curation_assets.models.loading import torch_settings
from curation_assets.models.transfer import fetched, padding_mask, to_device
from curation_assets.scoring import prompt
from curation_assets.scoring.frames import answer_ids, chat_frame, named_id, plain_frame

_WINDOW = 8192  # documents tokenized and sorted by length at a time: bounds memory for any number of texts
SPELLINGS = ("yes", "Yes", " yes", " Yes")
"""A chat model's; for an encoder-decoder the first alone counts."""
_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class ScoreTable:
    """What Ask-LLM says of n documents: arrays [n], in the order given.

    `score` is log P("yes"), float64, at most 0 and higher for better; `tokens` how many of the document's tokens the judge
    read, int32; `cut` whether there were more, bool; `flags` bits of `prompt.Flag`, uint8.
    """

    score: NDArray[np.float64]
    tokens: NDArray[np.int32]
    cut: NDArray[np.bool_]
    flags: NDArray[np.uint8]


class AskLLM:
    """Score documents by the log-probability that a judge answers "yes" to the Ask-LLM prompt.

    A score is a function of the document, the weights, `max_tokens` and `dtype`. Batch neighbours move it by rounding
    alone (below 1e-4 in float32; in bfloat16 by that type's own rounding, some 1e-2, although the head is in float32 then too).

    Parameters
    ----------
    model
        A transformers encoder-decoder (T5, Flan-T5) or an instruction-tuned causal model; it is moved to `device` and
        `dtype` and put into evaluation mode.
    tokenizer
        Its tokenizer: of transformers (a fast one), or a `models.tokenizer.Tokenizer`.
    template
        The prompt, with `{document}` where the document goes. The default is the paper's, verbatim.
    max_tokens
        Tokens of the whole input, template and question included. Longer documents are cut at the end. (The paper does
        not say how it cuts; 512 is T5's length.)
    batch_tokens
        Padded tokens per forward pass. Affects speed and memory only. None takes 4,096 on a CPU and 65,536 elsewhere.
    device
        A torch device; "auto" for CUDA where there is one.
    dtype
        "float32", "bfloat16", or "auto" for bfloat16 on CUDA. The head and the softmax are in float32 always.

    Raises
    ------
    ValueError
        The template has not one place for the document, "yes" is no single token of the tokenizer, a causal model has no chat template, the tokenizer is larger than the
        model's vocabulary, or `max_tokens` leaves no room for a document or is more than the model can read.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        template: str = prompt.TEMPLATE,
        max_tokens: int = 512,
        batch_tokens: int | None = None,
        device: str = "auto",
        dtype: str = "float32",
    ) -> None:
        self.device, kind = torch_settings(device, dtype)
        self.is_encoder_decoder: bool = bool(model.config.is_encoder_decoder)
        self._encode = document_encoder(tokenizer)
        spellings = SPELLINGS[:1] if self.is_encoder_decoder else SPELLINGS
        self.answer_ids = answer_ids(self._encode, spellings, named_id(tokenizer, "unk"))
        frame = plain_frame if self.is_encoder_decoder else chat_frame
        self._before, self._after = frame(tokenizer, self._encode, *prompt.frame_of(template))
        _check_sizes(model, tokenizer, max_tokens, len(self._before) + len(self._after))
        self.max_tokens = max_tokens
        self.document_tokens = max_tokens - len(self._before) - len(self._after)
        on_cpu = self.device.type == "cpu"
        self.batch_tokens = batch_tokens or (4096 if on_cpu else 65536)
        # A CPU needs no large batches, and a padding mask costs a small T5 a third of its speed there. An accelerator needs
        # them: on an H100 T5-Large reads 29,000 tokens a second with buckets of 1, 92,000 with 8 and 97,000 with 32.
        self._bucket = 1 if on_cpu else 32
        self.model = fuse_layers(model.to(device=self.device, dtype=kind).eval(), self.device)
        self._answers = torch.tensor(self.answer_ids, device=self.device)
        pad = model.config.pad_token_id
        self._pad = int(pad if pad is not None else self._before[0])
        self._is_plain_t5 = t5.is_plain(model)
        self._start: Any = getattr(model.config, "decoder_start_token_id", None)
        if self.is_encoder_decoder and self._start is None:
            raise ValueError("the model's configuration has no decoder_start_token_id")

    def score(self, texts: Sequence[str], progress: Progress = silent) -> NDArray[np.float64]:
        """Return log P("yes") of each text, float64[n]; see `score_table`."""
        return self.score_table(texts, progress).score

    def score_table(
        self, texts: Sequence[str], progress: Progress = silent, tokens: Flat | None = None
    ) -> ScoreTable:
        """Return scores and what was noticed on the way. Memory beyond that does not grow with the number of texts.

        `tokens` are the texts' ids under the judge's tokenizer where they are at hand (ids, int64[n + 1] offsets); a text
        that is read as it is then needs no tokenizing. White space around a text is not read. A text that talks to the judge is neutralised, and if it is suspicious it is
        judged again without the passages that did: the lower score counts (see `prompt`; of web text about 0.3 %).

        Raises
        ------
        TypeError
            `texts` is one string, or holds something other than strings.
        ValueError
            A text is not valid Unicode, or the model gives it no finite score; the message names its row.
        """
        if isinstance(texts, str | bytes):
            raise TypeError("texts must be a sequence of strings, not one string")
        n, done = len(texts), 0
        table = ScoreTable(
            np.full(n, np.nan), np.zeros(n, np.int32), np.zeros(n, np.bool_), np.zeros(n, np.uint8)
        )
        progress(0, n, "documents")
        for start in range(0, n, _WINDOW):
            window = texts[start : start + _WINDOW]
            check_texts(window, start)
            clean, flags, again = prompt.readings(window)
            documents, cut = self._tokenize(clean, self._known(window, clean, tokens, start))
            lengths = np.fromiter(map(len, documents), np.int32, len(documents))
            scores = np.empty(len(documents))
            whole = lengths + len(self._before) + len(self._after)
            batches = length_batches(whole, self.batch_tokens, self.max_tokens, self._bucket)
            for (batch, _), logs in fetched(batches, partial(self._log_yes, documents)):
                scores[batch] = logs
                done += int((batch < len(window)).sum())
                progress(done, n, "documents")
            rows = slice(start, start + len(window))
            table.flags[rows], table.cut[rows] = flags, cut[: len(window)]
            table.tokens[rows] = lengths[: len(window)]
            np.minimum.at(scores, again, scores[len(window) :])
            table.score[rows] = scores[: len(window)]
            if not np.isfinite(table.score[rows]).all():
                row = start + int(np.isfinite(table.score[rows]).argmin())
                raise ValueError(
                    f"the model gives the text in row {row} no finite score: are its weights finite?"
                )
        return table

    def _known(
        self, texts: Sequence[str], clean: Sequence[str], tokens: Flat | None, first: int
    ) -> dict[int, Ids]:
        """Return {row: ids} of the texts that are read as they are; one token more than fits, to see whether there is more."""
        if tokens is None:
            return {}
        ids, offsets = tokens
        begin = offsets[first : first + len(texts)]
        end = np.minimum(offsets[first + 1 : first + 1 + len(texts)], begin + self.document_tokens + 1)
        plain = (row for row, text in enumerate(texts) if clean[row] == text and text == text.strip())
        return {row: np.asarray(ids[begin[row] : end[row]], np.int32) for row in plain}

    def _tokenize(
        self, texts: Sequence[str], known: dict[int, Ids] | None = None
    ) -> tuple[list[Ids], NDArray[np.bool_]]:
        """Return each text's ids, cut to `document_tokens`, and whether there were more; `known` texts are not encoded."""
        encoded_by_row = dict(known or {})
        rest = [row for row in range(len(texts)) if row not in encoded_by_row]
        stripped = [texts[row].strip() for row in rest]
        encoded = encode_beginnings(self._encode, stripped, self.document_tokens + 1)
        encoded_by_row.update(zip(rest, encoded, strict=True))
        ids = [encoded_by_row[row] for row in range(len(texts))]
        cut = np.fromiter((len(one) > self.document_tokens for one in ids), np.bool_, len(ids))
        return [one[: self.document_tokens] for one in ids], cut

    def inputs(self, texts: Sequence[str]) -> list[Ids]:
        """Return the whole input of each text as `score_table` first reads it, int32 ids: neutralised, cut, in its frame.

        Raises TypeError or ValueError, with the row, for what is no valid Unicode string.
        """
        return [np.concatenate(parts) for parts in self.input_parts(texts)]

    def input_parts(self, texts: Sequence[str]) -> list[tuple[Ids, Ids, Ids]]:
        """Return what `inputs` joins, of each text: the ids before the document, the document's, and those after it."""
        check_texts(texts)
        documents, _ = self._tokenize(prompt.neutralise_all(texts)[0])
        return [(self._before, document, self._after) for document in documents]

    def _framed(self, document: Ids) -> Ids:
        return np.concatenate([self._before, document, self._after])

    def _log_yes(self, documents: Sequence[Ids], batch: tuple[NDArray[np.int64], int]) -> torch.Tensor:
        rows, padded = batch
        logs = self._log_softmax([documents[row] for row in rows], padded)
        return logs[:, self._answers].logsumexp(dim=-1).double()

    @torch.inference_mode()
    def _log_softmax(self, documents: Sequence[Ids], padded: int) -> torch.Tensor:
        return self.log_softmax([self._framed(document) for document in documents], padded)

    def log_softmax(self, inputs: Sequence[Ids], padded: int) -> torch.Tensor:
        """Return the log-probability of every token as the first of the answer, float32 [inputs, vocabulary].

        `inputs` are from the method of that name, none longer than `padded`. Gradients are kept where torch keeps them.

        The tokens before the document are not kept as a shared key-value cache: the question comes after it, so SmolLM2 has
        26 of them and 79 that must be read each time. On a CPU it would save 3 % at 400 tokens, 15 % at 160.
        """
        ids = np.full((len(inputs), padded), self._pad, np.int64)
        mask = np.zeros((len(inputs), padded), np.int64)
        for row, line in enumerate(inputs):
            place = slice(0, len(line)) if self.is_encoder_decoder else slice(padded - len(line), padded)
            ids[row, place], mask[row, place] = line, 1
        with self.model.get_output_embeddings().register_forward_hook(_in_float32):
            return self._first_logits(ids, mask).float().log_softmax(dim=-1)

    def _first_logits(self, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> torch.Tensor:
        present = None if mask.all() else self._tensor(mask)
        if self._is_plain_t5:
            return t5.first_logits(self.model, self._tensor(ids), present, self._start)
        tensors: dict[str, Any] = {"input_ids": self._tensor(ids), "use_cache": False}
        if present is not None:
            tensors["attention_mask"] = padding_mask(self.model, present)
        if self.is_encoder_decoder:
            tensors["decoder_input_ids"] = self._tensor(np.full((len(ids), 1), self._start, np.int64))
        else:  # padded on the left, so that the last position is every document's
            tensors["position_ids"] = self._tensor(np.maximum(mask.cumsum(axis=1) - 1, 0))
            tensors["logits_to_keep"] = 1
        return self.model(**tensors).logits[:, -1]

    def _tensor(self, array: NDArray[np.int64]) -> torch.Tensor:
        return to_device(array, self.device)


def _in_float32(head: torch.nn.Linear, inputs: tuple[torch.Tensor], logits: torch.Tensor) -> torch.Tensor:
    """Return the head's product in float32: in bfloat16 logits of 16 and more are multiples of an eighth.

    Only the position that answers gets here, so a second product and the weights as float32 for its duration cost nothing.
    """
    if logits.dtype == torch.float32:
        return logits
    bias = None if head.bias is None else head.bias.float()
    return torch.nn.functional.linear(inputs[0].float(), head.weight.float(), bias)


def check_texts(texts: Sequence[str], first: int = 0) -> None:
    """Refuse what is no valid Unicode string, by TypeError or ValueError; `first` is the row of the first text."""
    for row, text in enumerate(texts, first):
        if not isinstance(text, str):
            raise TypeError(f"the text in row {row} is {type(text).__name__}, not a string")
        if not text.isascii() and _SURROGATE.search(text):
            raise ValueError(f"the text in row {row} holds a lone surrogate: not valid Unicode")


def _check_sizes(model: Any, tokenizer: Any, max_tokens: int, frame: int) -> None:
    """Refuse a tokenizer that outgrows the model, and lengths that neither document nor model allow."""
    pieces = tokenizer.vocab_size if hasattr(tokenizer, "encode_batch") else len(tokenizer)
    rows = model.get_input_embeddings().num_embeddings
    if pieces > rows:
        raise ValueError(
            f"the tokenizer has {pieces} tokens, but the model's vocabulary only {rows}: not its tokenizer?"
        )
    if max_tokens <= frame:
        raise ValueError(
            f"max_tokens is {max_tokens}: no room for a document beside the prompt's {frame} tokens"
        )
    limit = (
        None if model.config.is_encoder_decoder else getattr(model.config, "max_position_embeddings", None)
    )
    if limit and max_tokens > limit:
        raise ValueError(f"max_tokens is {max_tokens}, but the model has {limit} positions")
