"""Official metrics of the tasks, in percent. An invalid prediction never stops anything: it is wrong.

Texts are compared without surrounding white space. Where T5's evaluation (Raffel et al. 2020) and a benchmark's own leave a
choice, it is T5's: an invalid label of a binary task counts as the opposite of the truth in F1, an invalid number as -1,
similarities are compared with the reference rounded to 0.2, and ROUGE-2 is without stemming.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from curation_assets.evaluation.examples import Example

_INVALID = -1
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_NUMBER = re.compile(
    r"(?:(?<![\w)])-)?\$?(?:(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|(?<![0-9])\.[0-9]+)"
)
_SAYING = re.compile(r"answer is:?", re.IGNORECASE)
_YES_NO = re.compile(r"\b(yes|no)\b")

Predictions = Sequence[str]
Examples = Sequence[Example]


def measure(metric: str, predictions: Predictions, examples: Examples) -> dict[str, float]:
    """Return {metric: percent} with the metric of record first and its parts after it.

    Parameters
    ----------
    metric
        A key of METRICS.
    predictions
        One text per example.

    Raises
    ------
    ValueError
        The metric is unknown, there is no example, or not one prediction per example.
    """
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}: there are {', '.join(METRICS)}")
    if len(predictions) != len(examples) or not examples:
        raise ValueError(f"{metric}: {len(predictions)} predictions of {len(examples)} examples")
    parts = METRICS[metric]([text.strip() for text in predictions], examples)
    of_record = parts.pop(metric, None)
    value = float(np.mean(list(parts.values()))) if of_record is None else of_record
    return {metric: value, **parts}


def accuracy(predictions: Predictions, examples: Examples) -> dict[str, float]:
    """Return the share of predictions that equal the target or another accepted answer."""
    right = [text in _stripped(example.answers) for text, example in zip(predictions, examples, strict=True)]
    return {"accuracy": _percent(right)}


def balanced_accuracy(predictions: Predictions, examples: Examples) -> dict[str, float]:
    """Return the mean over the labels of the share of their examples that is right, so that rare labels count as frequent ones."""
    right: dict[str, list[bool]] = {}
    for text, example in zip(predictions, examples, strict=True):
        right.setdefault(example.target, []).append(text == example.target)
    return {"balanced_accuracy": float(np.mean([_percent(one) for one in right.values()]))}


def exact_match(predictions: Predictions, examples: Examples) -> dict[str, float]:
    """Return the share of predictions that equal an accepted answer (BIG-Bench-Hard)."""
    return {"exact_match": accuracy(predictions, examples)["accuracy"]}


def accuracy_f1(predictions: Predictions, examples: Examples) -> dict[str, float]:
    """Return accuracy and the F1 of the positive class, which is the second option (MRPC, QQP)."""
    return accuracy(predictions, examples) | {"f1": _positive_f1(predictions, examples)}


def matthews(predictions: Predictions, examples: Examples) -> dict[str, float]:
    """Return Matthews's correlation over all labels (CoLA; with three labels the diagnostics), 0 for constants."""
    from sklearn.metrics import matthews_corrcoef

    truth, guess = _classes(predictions, examples)
    return {"matthews": 100 * float(matthews_corrcoef(truth, guess))}


def pearson_spearman(predictions: Predictions, examples: Examples) -> dict[str, float]:
    """Return both correlations of numbers, 0 where one side is constant (STS-B)."""
    from scipy.stats import pearsonr, spearmanr

    truth = np.array([_float(example.target) for example in examples])
    guess = np.array([_float(text) for text in predictions])
    if np.ptp(truth) == 0 or np.ptp(guess) == 0:
        return {"pearson": 0.0, "spearman": 0.0}
    return {
        "pearson": 100 * float(pearsonr(truth, guess).statistic),
        "spearman": 100 * float(spearmanr(truth, guess).statistic),
    }


def em_f1(predictions: Predictions, examples: Examples) -> dict[str, float]:
    """Return the share of groups with every answer right, and F1 of the positive class over all answers (MultiRC)."""
    right: dict[str, bool] = {}
    for text, example in zip(predictions, examples, strict=True):
        right[example.group] = right.get(example.group, True) and text == example.target
    return {"exact_match": _percent(list(right.values())), "f1": _positive_f1(predictions, examples)}


def commitment_bank(predictions: Predictions, examples: Examples) -> dict[str, float]:
    """Return accuracy and the unweighted mean of the labels' F1 (CB)."""
    from sklearn.metrics import f1_score

    truth, guess = _classes(predictions, examples)
    labels = list(range(len(examples[0].options)))
    macro = f1_score(truth, guess, labels=labels, average="macro", zero_division=0)
    return accuracy(predictions, examples) | {"f1": 100 * float(macro)}


def record_em_f1(predictions: Predictions, examples: Examples) -> dict[str, float]:
    """Return exact match and F1 of tokens, normalised as SQuAD's, the best over the answers (ReCoRD)."""
    parts = squad(predictions, examples)
    return {"exact_match": parts["exact_match"], "f1": parts["f1"]}


def squad(predictions: Predictions, examples: Examples) -> dict[str, float]:
    """Return exact match (of record) and F1 of tokens, the best over the references (SQuAD 1.1's official script)."""
    exact, overlap = [], []
    for text, example in zip(predictions, examples, strict=True):
        guess = squad_normalised(text)
        answers = [squad_normalised(answer) for answer in example.answers]
        exact.append(guess in answers)
        overlap.append(max(_token_f1(guess, answer) for answer in answers))
    return {"squad": _percent(exact), "exact_match": _percent(exact), "f1": _percent(overlap)}


def rouge2(predictions: Predictions, examples: Examples) -> dict[str, float]:
    """Return the mean ROUGE-2 F-measure, the best over the references.

    It is the plain mean; T5's evaluation reports the median of bootstrap means, which differs from it by chance alone.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge2"], use_stemmer=False)
    values = [
        scorer.score_multi(list(example.answers), text)["rouge2"].fmeasure
        for text, example in zip(predictions, examples, strict=True)
    ]
    return {"rouge2": _percent(values)}


def numeric(predictions: Predictions, examples: Examples) -> dict[str, float]:
    """Return the share of texts whose last number is the answer.

    Thousands separators, "$" and a full stop at the end are no part of a number. Where the answer is no single number (a
    name, a time, a ratio), it must be what follows the last "answer is", or the whole text.
    """
    right = [
        any(_says(text, answer) for answer in example.answers)
        for text, example in zip(predictions, examples, strict=True)
    ]
    return {"numeric": _percent(right)}


def yes_no(predictions: Predictions, examples: Examples) -> dict[str, float]:
    """Return the share of texts whose last "yes" or "no" is the answer (StrategyQA)."""
    answers = [_YES_NO.findall(text.lower()) for text in predictions]
    right = [words[-1:] == [example.target] for words, example in zip(answers, examples, strict=True)]
    return {"yes_no": _percent(right)}


METRICS: dict[str, Callable[[Predictions, Examples], dict[str, float]]] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "accuracy_f1": accuracy_f1,
    "matthews": matthews,
    "pearson_spearman": pearson_spearman,
    "em_f1": em_f1,
    "cb": commitment_bank,
    "record_em_f1": record_em_f1,
    "squad": squad,
    "rouge2": rouge2,
    "exact_match": exact_match,
    "numeric": numeric,
    "yes_no": yes_no,
}
"""Metric of record -> its parts; where the metric itself is not among them, it is their mean."""


def squad_normalised(text: str) -> str:
    """Return a text as SQuAD compares it: lower case, no punctuation, no articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def last_number(text: str) -> float | None:
    """Return the last number of a text, None if there is none."""
    numbers = _NUMBER.findall(text.replace("−", "-"))
    return float(re.sub(r"[$,]", "", numbers[-1])) if numbers else None


def _says(text: str, answer: str) -> bool:
    if _NUMBER.fullmatch(answer):
        guess, truth = last_number(text), last_number(answer)
        return (
            guess is not None and truth is not None and math.isclose(guess, truth, rel_tol=1e-9, abs_tol=1e-6)
        )
    return _plain(_SAYING.split(text)[-1]) == _plain(answer)


def _plain(text: str) -> str:
    return " ".join(text.lower().split()).rstrip(".")


def _token_f1(guess: str, truth: str) -> float:
    words, expected = guess.split(), truth.split()
    same = sum((Counter(words) & Counter(expected)).values())
    return 2 * same / (len(words) + len(expected)) if same else 0.0


def _positive_f1(predictions: Predictions, examples: Examples) -> float:
    from sklearn.metrics import f1_score

    truth, guess = _classes(predictions, examples)
    guess = np.where((guess != 0) & (guess != 1), 1 - truth, guess)
    return 100 * float(f1_score(truth, guess, zero_division=0))


def _classes(predictions: Predictions, examples: Examples) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of truth and prediction among the options, int64[n] each; -1 for a prediction that is none."""
    places = [{option: place for place, option in enumerate(example.options)} for example in examples]
    truth = [place[example.target] for place, example in zip(places, examples, strict=True)]
    guess = [place.get(text, _INVALID) for place, text in zip(places, predictions, strict=True)]
    return np.array(truth), np.array(guess)


def _float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return float(_INVALID)
    return value if math.isfinite(value) and abs(value) < 1e9 else float(_INVALID)


def _stripped(texts: Sequence[str]) -> list[str]:
    return [text.strip() for text in texts]


def _percent(values: Sequence[float]) -> float:
    return 100 * float(np.mean(values))
