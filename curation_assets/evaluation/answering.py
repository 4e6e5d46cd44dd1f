"""What a T5 answers: the likeliest of given answers, or freely generated text. One pass of the encoder an input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from curation_assets.common.batching import Ids, ended, length_batches, padded
from curation_assets.models.tokenizer import Tokenizer


class Answering:
    """A T5 and its tokenizer, ready to answer.

    An answer does not depend on the other inputs but for floating point: an input is padded to its own length bucket, so it
    is computed in one shape in any company, and only near ties can turn with the size of a batch.

    Parameters
    ----------
    model
        A T5 in evaluation mode, on its device.
    max_input
        Tokens of an input, its end included. Longer ones are cut at the end.
    batch_tokens
        Padded encoder tokens of a batch, at most, counted once for each answer that is weighed.
    """

    def __init__(
        self, model: Any, tokenizer: Tokenizer, *, max_input: int, batch_tokens: int = 16_384
    ) -> None:
        self.model, self.tokenizer = model.eval(), tokenizer
        self.max_input, self.batch_tokens = max_input, batch_tokens
        self.device = next(model.parameters()).device
        self._answers: dict[str, Ids] = {}

    @torch.inference_mode()
    def choose(
        self,
        inputs: Sequence[Ids],
        options: Sequence[Sequence[str]],
        progress: Callable[[int], object] = lambda done: None,
    ) -> list[int]:
        """Return, for each input, which of its options is likeliest: sum of log-probabilities, end included; the first of equals.

        `inputs` are token ids without their end; `told` is called with the number of inputs answered.
        """
        prompts, lengths = self._ended(inputs)
        widest = max((len(o) for o in options), default=1)
        chosen, done = np.zeros(len(inputs), np.int64), 0
        for rows, length in length_batches(lengths, self.batch_tokens // widest, self.max_input):
            hidden, mask = self._encode([prompts[row] for row in rows], length)
            counts = [len(options[row]) for row in rows]
            repeats = torch.tensor(counts, device=self.device)
            targets = self._targets([option for row in rows for option in options[row]])
            scores = self._log_likelihood(
                hidden.repeat_interleave(repeats, 0), mask.repeat_interleave(repeats, 0), targets
            )
            for row, part in zip(rows, np.split(scores, np.cumsum(counts)[:-1]), strict=True):
                chosen[row] = int(part.argmax())
            done += len(rows)
            progress(done)
        return chosen.tolist()

    @torch.inference_mode()
    def generate(
        self, inputs: Sequence[Ids], most: int, progress: Callable[[int], object] = lambda done: None
    ) -> list[str]:
        """Return, for each input, the text that greedy decoding gives, of at most `most` tokens."""
        prompts, lengths = self._ended(inputs)
        texts, done = [""] * len(inputs), 0
        for rows, length in length_batches(lengths, self.batch_tokens, self.max_input):
            hidden, mask = self._encode([prompts[row] for row in rows], length)
            for row, ids in zip(rows, self._greedy(hidden, mask, most).tolist(), strict=True):
                texts[row] = self.tokenizer.decode(ids).strip()
            done += len(rows)
            progress(done)
        return texts

    def _ended(self, inputs: Sequence[Ids]) -> tuple[list[Ids], NDArray[np.int64]]:
        """Return what the encoder reads of each input, and how long that is."""
        prompts = [ended(ids, self.max_input, self.tokenizer.eos_id) for ids in inputs]
        return prompts, np.fromiter(map(len, prompts), np.int64, len(prompts))

    def _encode(self, inputs: Sequence[Ids], length: int) -> tuple[torch.Tensor, torch.Tensor]:
        ids = torch.from_numpy(padded(inputs, length, self.tokenizer.pad_id)).to(self.device)
        mask = padded([np.ones_like(one) for one in inputs], length, 0)
        on_device = torch.from_numpy(mask).to(self.device)
        hidden = self.model.get_encoder()(input_ids=ids, attention_mask=on_device)
        return hidden.last_hidden_state, on_device

    def _targets(self, answers: Sequence[str]) -> torch.Tensor:
        """Return answers as token ids with their ends, int64[n, longest], -100 after it."""
        new = list(dict.fromkeys(a for a in answers if a not in self._answers))
        for answer, ids in zip(new, self.tokenizer.encode_batch(new), strict=True):
            self._answers[answer] = np.append(ids, self.tokenizer.eos_id).astype(np.int32)
        rows = [self._answers[answer] for answer in answers]
        return torch.from_numpy(padded(rows, max(map(len, rows)), -100)).to(self.device)

    def _log_likelihood(
        self, hidden: torch.Tensor, mask: torch.Tensor, targets: torch.Tensor
    ) -> NDArray[np.float32]:
        read = self.model.prepare_decoder_input_ids_from_labels(targets)
        logits = self.model(
            encoder_outputs=(hidden,), attention_mask=mask, decoder_input_ids=read, use_cache=False
        ).logits
        losses = F.cross_entropy(logits.float().transpose(1, 2), targets, reduction="none", ignore_index=-100)
        return -losses.sum(1).cpu().numpy()

    def _greedy(self, hidden: torch.Tensor, mask: torch.Tensor, most: int) -> torch.Tensor:
        """Return the greedy continuation, int64[n, <= most], padded from its end on."""
        from transformers.modeling_outputs import BaseModelOutput

        return self.model.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden),
            attention_mask=mask,
            max_new_tokens=most,
            do_sample=False,
            num_beams=1,
        )[:, 1:]
