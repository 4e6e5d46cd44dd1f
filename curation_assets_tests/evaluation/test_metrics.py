"""Every metric against hand-made numbers, its official definition, and predictions that are nonsense."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.evaluation.examples import Example
from curation_assets.evaluation.metrics import METRICS, last_number, measure, squad_normalised

PAIR, NLI = ("no", "yes"), ("entailment", "contradiction", "neutral")


def of(targets: list[str], options: tuple[str, ...] = (), groups: str = "") -> list[Example]:
    return [
        Example(str(i), "?", target, options, (target,), groups[i] if groups else "")
        for i, target in enumerate(targets)
    ]


def test_accuracy_takes_any_accepted_answer_and_ignores_outer_space() -> None:
    examples = [Example("0", "?", "a", (), ("a", "b"), ""), *of(["c", "d", "e"])]
    assert measure("accuracy", [" b\n", "c", "D", ""], examples) == {"accuracy": 50.0}


def test_exact_match_is_equality_of_stripped_texts() -> None:
    assert measure("exact_match", ["(A) ", "(b)", "] ]"], of(["(A)", "(B)", "] ]"])) == {
        "exact_match": pytest.approx(200 / 3)
    }


def test_accuracy_f1_is_the_mean_and_its_parts() -> None:
    # tp 2, fp 1, fn 1: F1 4/6; accuracy 2/4
    found = measure("accuracy_f1", ["yes", "yes", "yes", "no"], of(["yes", "yes", "no", "yes"], PAIR))
    assert list(found) == ["accuracy_f1", "accuracy", "f1"]
    assert found["accuracy"] == 50
    assert found["f1"] == pytest.approx(200 / 3)
    assert found["accuracy_f1"] == pytest.approx((50 + 200 / 3) / 2)


def test_an_invalid_label_is_the_opposite_of_the_truth_in_f1() -> None:
    examples = of(["yes", "yes", "no", "no"], PAIR)
    nonsense = measure("accuracy_f1", ["yes", "maybe", "", "no"], examples)
    opposite = measure("accuracy_f1", ["yes", "no", "yes", "no"], examples)
    assert nonsense == opposite
    assert nonsense["f1"] == 50


def test_f1_is_zero_and_not_undefined_without_positives() -> None:
    assert measure("accuracy_f1", ["no", "no"], of(["no", "no"], PAIR))["f1"] == 0


def test_matthews_of_two_labels_is_the_textbook_formula() -> None:
    truth = ["yes"] * 6 + ["no"] * 4
    guess = ["yes"] * 4 + ["no"] * 2 + ["yes"] + ["no"] * 3
    tp, fn, fp, tn = 4, 2, 1, 3
    wanted = (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert measure("matthews", guess, of(truth, PAIR))["matthews"] == pytest.approx(100 * wanted)


def test_matthews_is_minus_100_for_all_wrong_and_0_for_a_constant() -> None:
    assert measure("matthews", ["no", "yes"], of(["yes", "no"], PAIR)) == {"matthews": pytest.approx(-100)}
    assert measure("matthews", ["entailment"] * 3, of(list(NLI), NLI)) == {"matthews": 0}
    assert measure("matthews", ["?"] * 3, of(list(NLI), NLI)) == {"matthews": 0}


def test_correlations_against_hand_computed_ranks() -> None:
    # x = 1 2 3 4, y = 1 3 2 4: both correlations are 1 - 6*2/(4*15) = 0.8
    found = measure("pearson_spearman", ["1.0", "3.0", "2.0", "4.0"], of(["1.0", "2.0", "3.0", "4.0"]))
    assert list(found) == ["pearson_spearman", "pearson", "spearman"]
    assert list(found.values()) == pytest.approx([80, 80, 80])
    # a monotone curve: ranks agree, values do not
    curved = measure("pearson_spearman", ["1", "8", "27", "64"], of(["1.0", "2.0", "3.0", "4.0"]))
    assert curved["spearman"] == pytest.approx(100)
    assert curved["pearson"] == pytest.approx(100 * 104 / math.sqrt(5 * 2390))


@pytest.mark.parametrize("word", ["2.0", "rubbish", "nan", "inf", "1e999", ""])
def test_a_constant_has_no_correlation_rather_than_nan(word: str) -> None:
    found = measure("pearson_spearman", [word] * 3, of(["1.0", "2.0", "5.0"]))
    assert list(found.values()) == [0, 0, 0]


def test_an_invalid_number_counts_as_minus_one() -> None:
    examples = of(["0.0", "1.0", "2.0"])
    assert measure("pearson_spearman", ["nan", "1", "2"], examples) == measure(
        "pearson_spearman", ["-1", "1", "2"], examples
    )


def test_em_f1_needs_all_answers_of_a_question() -> None:
    examples = of(["yes", "no", "yes", "no", "yes"], PAIR, groups="aabbc")
    found = measure("em_f1", ["yes", "no", "yes", "yes", "yes"], examples)
    assert found["exact_match"] == pytest.approx(200 / 3)
    assert found["f1"] == pytest.approx(600 / 7)  # tp 3, fp 1
    assert found["em_f1"] == pytest.approx((200 / 3 + 600 / 7) / 2)


def test_em_f1_joins_a_question_that_is_not_in_one_piece() -> None:
    examples = of(["yes", "yes", "yes"], PAIR, groups="aba")
    assert measure("em_f1", ["yes", "yes", "no"], examples)["exact_match"] == 50


def test_cb_averages_f1_over_labels_and_not_over_rows() -> None:
    truth = ["entailment", "entailment", "contradiction", "neutral"]
    found = measure("cb", ["entailment", "contradiction", "contradiction", "?"], of(truth, NLI))
    assert found["accuracy"] == 50
    assert found["f1"] == pytest.approx(100 * (2 / 3 + 2 / 3 + 0) / 3)
    assert found["cb"] == pytest.approx((found["accuracy"] + found["f1"]) / 2)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("The  Cat's hat!", "cats hat"), ("an apple, a day", "apple day"), ("theatre", "theatre"), ("The", "")],
)
def test_squad_normalisation(text: str, wanted: str) -> None:
    assert squad_normalised(text) == wanted


def test_squad_takes_the_best_reference() -> None:
    examples = [
        Example("0", "?", "Denver Broncos", (), ("Denver Broncos", "the Broncos"), ""),
        Example("1", "?", "in 1916", (), ("in 1916",), ""),
        Example("2", "?", "gold", (), ("gold",), ""),
    ]
    found = measure("squad", ["broncos.", "1916", "silver"], examples)
    assert found["squad"] == found["exact_match"] == pytest.approx(100 / 3)
    assert found["f1"] == pytest.approx(100 * (1 + 2 / 3 + 0) / 3)
    assert next(iter(found)) == "squad"


def test_record_is_the_mean_of_both() -> None:
    examples = [Example("0", "?", "Benazir Bhutto", ("x",), ("Benazir Bhutto", "Bilawal"), "")] * 2
    found = measure("record_em_f1", ["Bilawal", "Bhutto"], examples)
    assert found == {
        "record_em_f1": pytest.approx((50 + 500 / 6) / 2),
        "exact_match": 50,
        "f1": pytest.approx(500 / 6),
    }


def test_rouge2_counts_pairs_of_words_without_stemming() -> None:
    examples = of(["the cat sat on mats", "one two three"])
    # 2 of 4 pairs in 2 of 3: F = 2*2/(4+3); the second has nothing in common
    found = measure("rouge2", ["The cat sat mat", "nothing at all"], examples)
    assert found == {"rouge2": pytest.approx(100 * (4 / 7) / 2)}
    assert measure("rouge2", ["the cats sat on mat"], examples[:1])["rouge2"] == pytest.approx(25)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The answer is 18.", 18),
        ("so $1,234.50", 1234.5),
        ("it costs -$5", -5),
        ("it is −7 degrees", -7),
        ("10-4", 4),
        ("5 - 3 = 2", 2),
        ("1,2,3", 3),
        ("12,5000", 5000),
        ("109,200,000 people", 109_200_000),
        ("0.46 dollars.", 0.46),
        (".5", 0.5),
        ("3 apples", 3),
        ("none", None),
        ("", None),
        ("9" * 400, math.inf),
    ],
)
def test_last_number(text: str, wanted: float | None) -> None:
    assert last_number(text) == wanted


def test_numeric_takes_the_last_number_and_else_the_last_saying() -> None:
    answers = ["18", "2125", "0.5", "5/2", "3:30 p.m.", "Sara", "11; 12; 13", "4"]
    texts = [
        "2 + 16 = 18. The answer is 18.0.",
        "$2,125",
        "5.0",
        "10/4. The answer is 5/2.",
        "The answer is 3:30 P.M.",
        "sara",
        "the answer is 11; 12",
        "",
    ]
    right = [
        measure("numeric", [text], of([answer]))["numeric"]
        for text, answer in zip(texts, answers, strict=True)
    ]
    assert right == [100, 100, 0, 100, 100, 100, 0, 0]


def test_yes_no_takes_the_last_word() -> None:
    texts = ["Yes, but no. The answer is no.", "The answer is yes", "nobody knows", "no"]
    assert measure("yes_no", texts, of(["no", "yes", "no", "yes"])) == {"yes_no": 50}


@pytest.mark.parametrize("metric", METRICS)
def test_one_prediction_per_example(metric: str) -> None:
    for predictions, examples in (([], []), (["a"], of(["a", "b"], ("a", "b")))):
        with pytest.raises(ValueError, match=f"{metric}: {len(predictions)} predictions"):
            measure(metric, predictions, examples)


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'bleu'.*accuracy"):
        measure("bleu", ["a"], of(["a"]))


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=25, deadline=None)
@given(texts=st.lists(st.text(max_size=12), min_size=4, max_size=4))
def test_nonsense_scores_between_bounds_and_never_fails(metric: str, texts: list[str]) -> None:
    targets, options = (
        (["0.0", "2.0", "4.0", "2.0"], ("0.0", "2.0", "4.0"))
        if "pearson" in metric
        else (
            ["yes", "no", "yes", "no"],
            PAIR,
        )
    )
    found = measure(metric, texts, of(targets, options, groups="aabb"))
    assert next(iter(found)) == metric
    low = -100.0001 if metric in ("matthews", "pearson_spearman") else 0
    assert all(low <= value <= 100.0001 for value in found.values())


def test_labels_agree_with_the_official_definitions() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    draw = random.Random(5)
    truth, guess = (draw.choices(range(2), k=200) for _ in range(2))
    examples, texts = of([PAIR[t] for t in truth], PAIR), [PAIR[g] for g in guess]
    found = measure("accuracy_f1", texts, examples)
    assert found["accuracy"] == pytest.approx(100 * sklearn.accuracy_score(truth, guess))
    assert found["f1"] == pytest.approx(100 * sklearn.f1_score(truth, guess))
    found_matthews = measure("matthews", texts, examples)["matthews"]
    assert found_matthews == pytest.approx(100 * sklearn.matthews_corrcoef(truth, guess))
    truth, guess = (draw.choices(range(3), weights=[6, 3, 1], k=200) for _ in range(2))
    three = measure("cb", [NLI[g] for g in guess], of([NLI[t] for t in truth], NLI))
    assert three["f1"] == pytest.approx(100 * sklearn.f1_score(truth, guess, average="macro"))


def test_balanced_accuracy_counts_rare_labels_as_frequent_ones() -> None:
    labels = ["a"] * 8 + ["b"] * 2
    examples = [Example(str(n), "", label, ("a", "b"), (label,), "") for n, label in enumerate(labels)]
    assert measure("balanced_accuracy", ["a"] * 10, examples) == {"balanced_accuracy": 50.0}
    assert measure("balanced_accuracy", ["a"] * 4 + ["b"] * 6, examples) == {"balanced_accuracy": 75.0}
    assert measure("balanced_accuracy", labels, examples) == {"balanced_accuracy": 100.0}
