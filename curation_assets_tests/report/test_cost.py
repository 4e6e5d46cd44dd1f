"""Costs against hand-computed operations, and the paper's cost table as a worked example of the break-even."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from curation_assets.models.t5 import Shape
from curation_assets.report import cost

SHAPE = Shape(d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
HOURS = {"xxl": 49.0, "xl": 10.0, "large": 1.7, "base": 0.76, "small": 0.24}  # ICLR: scoring C4
TRAINING = {"large": 24.0, "small": 9.3}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """One operation for an input and a thousand for a target, so that what is read can be told from the sum."""
    fake = SimpleNamespace(forward_flops=lambda shape, vocab, inputs, targets: inputs + 1000 * targets)
    monkeypatch.setitem(sys.modules, "curation_assets.pretraining.flops", fake)


def test_histograms_add_up() -> None:
    both = cost.added(cost.histogram([5, 5, 7]), cost.histogram([7, 2]))
    assert both.tokens.tolist() == [2, 5, 7] and both.counts.tolist() == [1, 2, 2] and both.documents == 5
    assert both.read(most=5) == 2 + 5 + 5 + 5 + 5 and both.read(most=100) == 26


def test_ask_llm_reads_the_question_and_cuts_the_document(counted: None) -> None:
    documents = cost.histogram([10, 10, 500])
    found = cost.ask_llm_flops(SHAPE, 100, documents, max_tokens=208, question=100)
    assert found == 2 * 110 + 208 + 3 * 1000, "one decoder step each"


def test_perplexity_reads_windows_and_no_more_than_it_may(counted: None) -> None:
    # 20 tokens: 3 noise tokens in 1 span, so 20 - 3 + 1 + 1 = 19 inputs and 3 + 1 + 1 = 5 targets.
    one = 19 + 5000
    documents = cost.histogram([20, 60, 200])
    assert cost.perplexity_flops(SHAPE, 100, documents, window=20, max_windows=2) == 5 * one
    assert cost.perplexity_flops(SHAPE, 100, documents, window=20, max_windows=None) == 14 * one


def test_every_document_counts_as_often_as_there_are(counted: None) -> None:
    few = cost.perplexity_flops(SHAPE, 100, cost.histogram([33, 50]), window=20, max_windows=2)
    many = cost.perplexity_flops(SHAPE, 100, cost.histogram([33, 50] * 7), window=20, max_windows=2)
    assert many == pytest.approx(7 * few)


def test_judges_learn_with_three_passes_an_example(counted: None) -> None:
    assert cost.judge_training_flops(SHAPE, 100, 75, 2.0, 200.0) == 3 * 75 * 2 * 1200


def test_coverage_by_hand() -> None:
    x, table = np.ones((6, 4)), np.ones((4, 3))
    multiply_adds = x.shape[0] * x.shape[1] * table.shape[1]
    assert cost.assignment_flops(6, 3, 4) == 2 * multiply_adds
    assert cost.kmeans_flops(6, 3, 4, 25) == 25 * 2 * multiply_adds
    assert cost.sketch_flops(6, 4, 3) == 2 * 2 * multiply_adds, "two passes"
    assert cost.similarity_flops([3, 1, 0, 4], 5) == 2 * 5 * (3 + 6), "3 and 6 pairs"
    assert cost.by_parameters(10, 7) == 140


def test_break_even_of_the_papers_table() -> None:
    """Ask-LLM reaches full data with up to 70 % fewer tokens: 0.7 of 24 hours is saved by a training of T5-Large."""
    pays = {size: cost.break_even(hours, TRAINING["large"], 0.7) for size, hours in HOURS.items()}
    assert pays == {"xxl": 3, "xl": 1, "large": 1, "base": 1, "small": 1}
    small = {size: cost.break_even(hours, TRAINING["small"], 0.7) for size, hours in HOURS.items()}
    assert small == {"xxl": 8, "xl": 2, "large": 1, "base": 1, "small": 1}
    assert cost.break_even(49, 24, 0.0) is None and cost.break_even(49, 24, -0.1) is None
    assert cost.break_even(0.0, 24, 0.5) == 0 and cost.break_even(3 * 0.1, 1, 0.1) == 3
    with pytest.raises(ValueError, match="positive"):
        cost.break_even(1, 0, 0.5)
