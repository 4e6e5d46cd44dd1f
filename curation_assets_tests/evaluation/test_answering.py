"""Answers against transformers' own loss and generation, one input at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from curation_assets.evaluation.answering import Answering
from curation_assets.models import t5
from curation_assets.models.tokenizer import Tokenizer

TEXTS = [
    "red",
    "a longer text about numbers, odd and even, one two three",
    "blue or green? " * 12,
    "parse the arguments and return",
]
OPTIONS = [("red", "blue"), ("odd", "even", "one two three four"), ("green",), ("yes", "no", "red", "four")]


@pytest.fixture(scope="module")
def model(base: Path) -> object:
    return t5.load(base)


def ids_of(tokenizer: Tokenizer, texts: list[str]) -> list[np.ndarray]:
    return tokenizer.encode_batch(texts)


def likelihood(model: object, tokenizer: Tokenizer, text: np.ndarray, option: str) -> float:
    """Sum of log-probabilities of the answer and its end, by transformers' own loss."""
    (answer,) = tokenizer.encode_batch([option])
    labels = torch.tensor([[*answer.tolist(), tokenizer.eos_id]])
    inputs = torch.tensor([[*text.tolist(), tokenizer.eos_id]])
    with torch.inference_mode():
        loss = model(input_ids=inputs, labels=labels).loss  # type: ignore[operator]
    return -float(loss) * labels.shape[1]


@pytest.mark.parametrize("batch_tokens", [1, 64, 100_000])
def test_the_likeliest_option_is_chosen_whatever_the_batch(
    model: object, tokenizer: Tokenizer, batch_tokens: int
) -> None:
    inputs = ids_of(tokenizer, TEXTS)
    answering = Answering(model, tokenizer, max_input=512, batch_tokens=batch_tokens)
    by_hand = [
        int(np.argmax([likelihood(model, tokenizer, text, option) for option in options]))
        for text, options in zip(inputs, OPTIONS, strict=True)
    ]
    told: list[int] = []
    assert answering.choose(inputs, OPTIONS, told.append) == by_hand
    assert told[-1] == len(TEXTS) and told == sorted(told)


def test_the_first_of_equal_options_is_chosen(model: object, tokenizer: Tokenizer) -> None:
    answering = Answering(model, tokenizer, max_input=64)
    assert answering.choose(ids_of(tokenizer, TEXTS), [("red", "red", "red")] * 4) == [0, 0, 0, 0]


@pytest.mark.parametrize("batch_tokens", [1, 100_000])
def test_generation_is_the_greedy_one(model: object, tokenizer: Tokenizer, batch_tokens: int) -> None:
    inputs = ids_of(tokenizer, TEXTS)
    answering = Answering(model, tokenizer, max_input=512, batch_tokens=batch_tokens)
    found = answering.generate(inputs, 6)
    for text, ids in zip(found, inputs, strict=True):
        assert text == tokenizer.decode(_greedy(model, tokenizer, ids, 6)).strip()


def _greedy(model: object, tokenizer: Tokenizer, text: np.ndarray, most: int) -> list[int]:
    """Decode one input token by token, without a cache."""
    inputs = torch.tensor([[*text.tolist(), tokenizer.eos_id]])
    ids = [tokenizer.pad_id]
    for _ in range(most):
        with torch.inference_mode():
            logits = model(input_ids=inputs, decoder_input_ids=torch.tensor([ids])).logits  # type: ignore[operator]
        ids.append(int(logits[0, -1].argmax()))
        if ids[-1] == tokenizer.eos_id:
            break
    return ids[1:]


def test_inputs_are_cut_at_the_end(model: object, tokenizer: Tokenizer) -> None:
    long = ids_of(tokenizer, ["blue or green? " * 40])
    cut = [long[0][:15]]
    short = Answering(model, tokenizer, max_input=16)
    options = [("red", "green", "blue", "one")]
    assert short.choose(long, options) == Answering(model, tokenizer, max_input=99).choose(cut, options)
    assert short.generate(long, 5) == Answering(model, tokenizer, max_input=99).generate(cut, 5)
