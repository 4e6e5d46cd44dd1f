"""The judge: its loss by hand, what it learns from a teacher that looks for a word, and that a kill changes no bit."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from scipy.stats import kendalltau, rankdata

from curation_assets.judges import distill as module
from curation_assets.judges.distill import (
    DistillConfig,
    DistillResult,
    distill,
    soft_labels,
    soft_loss,
)
from curation_assets.models import t5
from curation_assets.models.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from curation_assets.pretraining.finetuning import epoch_batches
from curation_assets.scoring import prompt
from curation_assets.scoring.ask_llm import AskLLM
from curation_assets_tests.conftest import stdlib_texts

pytestmark = pytest.mark.slow  # its fixture trains

TEMPLATE = "###\n{document}\n###\nyes or no?"  # short: the paper's is most of a small input
CONFIG = DistillConfig(epochs=4, learning_rate=1e-2, max_tokens=48, template=TEMPLATE)
SHORT = dataclasses.replace(CONFIG, epochs=2.5, batch_size=16)
WORD = "zebra"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    texts = [text for _, text in stdlib_texts()] + [f"yes or no? yes. no: yes no {WORD} the {WORD}"] * 60
    train_tokenizer(texts, 900, folder)
    return load_tokenizer(folder)


@pytest.fixture(scope="module")
def base(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    t5.save(t5.build(t5.Shape(32, 8, 64, 1, 4), tokenizer.vocab_size, seed=1), folder)
    return folder


Labelled = tuple[list[str], np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def labelled() -> Labelled:
    """Documents of 4 to 14 words, which a weak teacher likes a little better the more often they hold one word."""
    rng = np.random.default_rng(0)
    words = sorted({word for _, text in stdlib_texts()[:80] for word in text.split() if word.isalpha()})[:60]
    texts, p = [], []
    for _ in range(360):
        chosen = rng.choice(words, rng.integers(4, 15)).tolist()
        times = rng.integers(4)
        chosen[: 2 * times : 2] = [WORD] * len(chosen[: 2 * times : 2])
        texts.append(" ".join(rng.permutation(chosen)))
        p.append(0.02 * 1.1 ** (chosen.count(WORD) + 0.3 * rng.normal()))
    held_out = np.arange(360) % 6 == 5
    return texts, np.log(p), held_out


def run(base: Path, tokenizer: Tokenizer, labelled: Labelled, folder: Path, **options: Any) -> DistillResult:
    config = options.pop("config", SHORT)
    return distill(config, base, tokenizer, *labelled, folder, device="cpu", **options)


@pytest.fixture(scope="module")
def learned(
    base: Path, tokenizer: Tokenizer, labelled: Labelled, tmp_path_factory: pytest.TempPathFactory
) -> DistillResult:
    return run(base, tokenizer, labelled, tmp_path_factory.mktemp("runs") / "learned", config=CONFIG)


@pytest.mark.slow
def test_a_judge_learns_what_the_teacher_looks_for(learned: DistillResult, labelled: Labelled) -> None:
    assert learned.agreement.tau is not None and learned.agreement.low is not None
    assert learned.agreement.tau > 0.45 and learned.agreement.low > 0.3
    assert learned.agreement.n == 60 and learned.documents == 300 and learned.steps == 4 * 75
    before, *after = learned.history
    assert before["loss"] is None and before["held_out_loss"] > 4  # nearly uniform over 900 pieces
    assert learned.held_out_loss == after[-1]["held_out_loss"] < before["held_out_loss"] - 3
    assert learned.loss == after[-1]["loss"] < after[0]["loss"]
    assert 0 < learned.entropy < learned.held_out_loss < learned.entropy + 0.3
    assert [row["epoch"] for row in learned.history] == [0, 1, 2, 3, 4]
    assert [row["step"] for row in learned.history] == [0, 75, 150, 225, 300]
    assert abs(before["tau"] or 0) < 0.4 < after[-1]["tau"]


def test_its_figures_are_those_of_the_scorer(
    learned: DistillResult, labelled: Labelled, tokenizer: Tokenizer
) -> None:
    texts, log_p, held_out = labelled
    held = [text for text, apart in zip(texts, held_out, strict=True) if apart]
    ask = AskLLM(
        t5.load(learned.model), tokenizer, template=TEMPLATE, max_tokens=CONFIG.max_tokens, device="cpu"
    )
    assert learned.agreement.tau == pytest.approx(kendalltau(ask.score(held), log_p[held_out]).statistic)
    assert learned.agreement.tau == pytest.approx(learned.history[-1]["tau"])
    lengths = [len(ids) for ids in tokenizer.encode_batch(held)]
    assert learned.length.tau == pytest.approx(kendalltau(lengths, log_p[held_out]).statistic)
    assert json.loads(json.dumps(learned.metadata()))["agreement"]["n"] == 60
    assert "/" not in json.dumps({**learned.metadata(), "history": None})


def test_ranks_are_learned_as_probabilities(
    learned: DistillResult, labelled: Labelled, tokenizer: Tokenizer
) -> None:
    """P(yes) is over the whole vocabulary, and all but all of it goes to the two answers."""
    texts, log_p, held_out = labelled
    ask = AskLLM(
        t5.load(learned.model), tokenizer, template=TEMPLATE, max_tokens=CONFIG.max_tokens, device="cpu"
    )
    with torch.no_grad():
        logs = torch.stack([ask.log_softmax([ids], len(ids))[0] for ids in ask.inputs(texts[:40])]).double()
    yes, no = (int(tokenizer.encode_batch([word])[0][0]) for word in ("yes", "no"))
    torch.testing.assert_close(logs.exp().sum(-1), torch.ones(40).double(), atol=1e-5, rtol=0)
    assert (logs[:, [yes, no]].exp().sum(-1) > 0.98).all()
    labels = soft_labels(log_p, ~held_out, "rank")[:40]
    assert np.corrcoef(logs[:, yes].exp(), labels)[0, 1] > 0.6
    assert np.ptp(np.exp(log_p)) < 0.02 < 0.3 < np.ptp(logs[:, yes].exp().numpy())


def test_the_loss_is_that_of_transformers_forward(tokenizer: Tokenizer, base: Path) -> None:
    model = t5.load(base)
    texts, p = [text[:100] for _, text in stdlib_texts()[:4]], torch.tensor([0.1, 0.5, 0.9, 1.0])
    ask = AskLLM(t5.load(base), tokenizer, max_tokens=512, device="cpu")
    inputs = ask.inputs(texts)
    yes, no = (int(tokenizer.encode_batch([word])[0][0]) for word in ("yes", "no"))
    padded = max(map(len, inputs)) + 3
    found = soft_loss(ask.log_softmax(inputs, padded), p, yes, no)
    found.mean().backward()
    losses = []
    for text, chance in zip(texts, p.tolist(), strict=True):
        whole = tokenizer.encode_batch([prompt.PREFIX + prompt.neutralise(text)[0].strip() + prompt.SUFFIX])[
            0
        ]
        ids = torch.tensor([[*whole.tolist(), tokenizer.eos_id]])
        start = torch.tensor([[tokenizer.pad_id]])
        for answer, share in ((yes, chance), (no, 1 - chance)):  # transformers' own loss for each answer
            labels = torch.tensor([[answer]])
            losses.append(share * model(input_ids=ids, decoder_input_ids=start, labels=labels).loss)
    wanted = torch.stack(losses).view(4, 2).sum(1)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    wanted.mean().backward()
    for one, two in zip(ask.model.parameters(), model.parameters(), strict=True):
        gradient = (
            torch.zeros_like(one) if one.grad is None else one.grad
        )  # of what one token's answer does not read
        torch.testing.assert_close(gradient, two.grad, atol=1e-5, rtol=1e-3)


@pytest.mark.slow
def test_the_target_can_be_the_probability(
    base: Path, tokenizer: Tokenizer, labelled: Labelled, tmp_path: Path
) -> None:
    texts, _, held_out = labelled
    likes = np.array([WORD in text for text in texts])
    sure = np.log(np.where(likes, 0.9, 0.3))
    config = dataclasses.replace(CONFIG, target="probability", epochs=3)
    made = run(base, tokenizer, (texts, sure, held_out), tmp_path, config=config)
    ask = AskLLM(
        t5.load(made.model), tokenizer, template=TEMPLATE, max_tokens=CONFIG.max_tokens, device="cpu"
    )
    p = np.exp(ask.score([text for text, apart in zip(texts, held_out, strict=True) if apart]))
    assert p[likes[held_out]].mean() == pytest.approx(0.9, abs=0.12)
    assert p[~likes[held_out]].mean() == pytest.approx(0.3, abs=0.12)
    rows = np.exp(sure[held_out])
    assert made.entropy == pytest.approx(-np.mean(rows * np.log(rows) + (1 - rows) * np.log(1 - rows)))


class Interrupted(Exception):
    """Stands for whatever ends a process half-way."""


def _die_at(
    at: int,
    monkeypatch: pytest.MonkeyPatch,
    base: Path,
    tokenizer: Tokenizer,
    labelled: Labelled,
    folder: Path,
) -> None:
    """Train up to a step, in which the process dies."""
    step = module._Distilling._train_step

    def dying(self: Any, number: int, rows: Any) -> None:
        if number == at:
            raise Interrupted
        step(self, number, rows)

    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(module._Distilling, "_train_step", dying)
        run(base, tokenizer, labelled, folder, resume_seconds=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "at", [1, 19, 27, 46]
)  # before an epoch's end, at one, within the second, in the last
def test_a_killed_run_ends_with_the_same_bits(
    at: int,
    base: Path,
    tokenizer: Tokenizer,
    labelled: Labelled,
    tmp_path: Path,
    whole: DistillResult,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _die_at(at, monkeypatch, base, tokenizer, labelled, tmp_path)
    again = run(base, tokenizer, labelled, tmp_path)
    assert again.resumed_from == at and again.metadata() == whole.metadata()
    first, second = (load_file(made.model / "model.safetensors") for made in (whole, again))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert np.array_equal(*(np.load(made.folder / "losses.npy") for made in (whole, again)))


@pytest.mark.slow
@pytest.mark.parametrize("how", ["flipped", "lost"])
def test_a_damaged_history_is_measured_anew(
    how: str,
    base: Path,
    tokenizer: Tokenizer,
    labelled: Labelled,
    tmp_path: Path,
    whole: DistillResult,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _die_at(22, monkeypatch, base, tokenizer, labelled, tmp_path)
    history = tmp_path / "history.json"
    text = history.read_text()
    history.write_text(text.replace('"epoch": 1.0', '"epoch": 1.5'))
    assert history.read_text() != text
    if how == "lost":
        history.unlink()
    again = run(base, tokenizer, labelled, tmp_path)
    assert again.resumed_from == 0
    assert again.history == whole.history


@pytest.fixture(scope="module")
def whole(
    base: Path, tokenizer: Tokenizer, labelled: Labelled, tmp_path_factory: pytest.TempPathFactory
) -> DistillResult:
    return run(base, tokenizer, labelled, tmp_path_factory.mktemp("runs") / "whole")


def test_a_finished_run_returns_at_once_and_a_folder_has_one_owner(
    whole: DistillResult, base: Path, tokenizer: Tokenizer, labelled: Labelled
) -> None:
    assert whole.steps == math.ceil(2.5 * 19) and [row["step"] for row in whole.history] == [0, 19, 38, 48]
    again = run(base, tokenizer, labelled, whole.folder)
    assert again == whole and again.resumed_from == whole.steps
    with pytest.raises(ValueError, match="seed was 0, now 1"):
        run(base, tokenizer, labelled, whole.folder, config=dataclasses.replace(SHORT, seed=1))
    texts, log_p, held_out = labelled
    with pytest.raises(ValueError, match="data was"):
        run(base, tokenizer, (texts, log_p * 1.01, held_out), whole.folder)


def test_progress_counts_documents_to_the_end(
    base: Path, tokenizer: Tokenizer, labelled: Labelled, tmp_path: Path
) -> None:
    told: list[Any] = []
    config = dataclasses.replace(SHORT, epochs=1)
    run(base, tokenizer, labelled, tmp_path, config=config, progress=lambda *line: told.append(line))
    assert told[-1][:3] == (300, 300, "documents") and told[-1][3].startswith("loss ")


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-5, 0), min_size=3, max_size=30))
def test_a_rank_is_the_mid_rank_percentile_among_the_training_labels(values: list[int]) -> None:
    log_p = np.array(values, float)
    train = np.arange(len(values)) % 3 != 2
    labels = soft_labels(log_p, train, "rank")
    known = log_p[train]
    np.testing.assert_allclose(labels[train], (rankdata(known) - 0.5) / len(known))
    wanted = [(np.sum(known < one) + np.sum(known == one) / 2) / len(known) for one in log_p[~train]]
    np.testing.assert_allclose(labels[~train], wanted)
    np.testing.assert_allclose(soft_labels(log_p, train, "probability"), np.exp(log_p))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 99), min_size=2, max_size=300), st.integers(1, 20), st.integers(0, 9))
def test_an_epoch_has_every_row_once(lengths: list[int], size: int, epoch: int) -> None:
    batches = epoch_batches(np.array(lengths), size, 7, epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    assert len(batches) == math.ceil(len(lengths) / size)
    assert max(map(len, batches)) <= size and max(map(len, batches)) - min(map(len, batches)) <= 1


def test_batches_are_shuffled_and_of_like_length() -> None:
    lengths = np.random.default_rng(0).integers(50, 500, 400)
    one, two, three = (epoch_batches(lengths, 8, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0)))
    for other in (two, three):
        assert any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    spread = np.mean([np.ptp(lengths[rows]) for rows in one])
    assert spread < 0.3 * np.mean([np.ptp(lengths[k : k + 8]) for k in range(0, 400, 8)])
    means = np.array([lengths[rows].mean() for rows in one])
    assert abs(np.corrcoef(means[1:], means[:-1])[0, 1]) < 0.5, (
        "batches do not come in the order of their lengths"
    )


def test_what_cannot_be_learned_from_is_refused(
    base: Path, tokenizer: Tokenizer, labelled: Labelled, tmp_path: Path
) -> None:
    texts, log_p, held_out = labelled

    def broken(row: int, value: float) -> Labelled:
        labels = log_p.copy()
        labels[row] = value
        return texts, labels, held_out

    for row, value in ((7, np.nan), (9, 0.5), (11, -np.inf)):
        with pytest.raises(ValueError, match=rf"label in row {row} is .*not the logarithm"):
            run(base, tokenizer, broken(row, value), tmp_path)
    with pytest.raises(ValueError, match="1 documents are held out and 359 left"):
        run(base, tokenizer, (texts, log_p, np.arange(360) == 3), tmp_path)
    with pytest.raises(ValueError, match="359 documents are held out and 1 left"):
        run(base, tokenizer, (texts, log_p, np.arange(360) != 3), tmp_path)
    with pytest.raises(ValueError, match=r"360 texts need .*float64\[359\]"):
        run(base, tokenizer, (texts, log_p[1:], held_out), tmp_path)
    with pytest.raises(ValueError, match=r"bool\[360\] held_out, not .*int64\[360\]"):
        run(base, tokenizer, (texts, log_p, held_out.astype(np.int64)), tmp_path)
    assert not list(tmp_path.iterdir()), "a folder is claimed by runs that can begin"


def test_a_tokenizer_without_a_piece_for_no_is_refused(
    base: Path, labelled: Labelled, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = type(tokenizer).encode_batch

    def mute(self: Tokenizer, texts: Any) -> list[np.ndarray]:
        return [
            np.append(ids, ids) if text == "no" else ids
            for text, ids in zip(texts, encode(self, texts), strict=True)
        ]

    monkeypatch.setattr(type(tokenizer), "encode_batch", mute)
    with pytest.raises(ValueError, match=r"'no' is 2 tokens.*train it with \"no\""):
        run(base, tokenizer, labelled, tmp_path)


def test_a_diverging_run_says_so_and_keeps_no_judge(
    base: Path, tokenizer: Tokenizer, labelled: Labelled, tmp_path: Path
) -> None:
    model = t5.load(base)
    with torch.no_grad():
        model.lm_head.weight.mul_(1e30)
    t5.save(model, tmp_path)
    with pytest.raises((FloatingPointError, ValueError), match=r"diverged|finite"):
        run(
            tmp_path,
            tokenizer,
            labelled,
            tmp_path / "run",
            config=dataclasses.replace(SHORT, learning_rate=1e9),
        )
    assert not list((tmp_path / "run").glob("step-*"))


@pytest.mark.parametrize(
    ("field", "value"),
    [("epochs", 0), ("batch_size", 0), ("learning_rate", -1), ("warmup_share", 1), ("target", "best")],
)
def test_a_config_that_cannot_train_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(CONFIG, **{field: value})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_a_judge_learns_as_well(
    base: Path, tokenizer: Tokenizer, labelled: Labelled, tmp_path: Path
) -> None:
    made = distill(CONFIG, base, tokenizer, *labelled, tmp_path, device="cuda")
    assert made.agreement.low is not None and made.agreement.low > 0.3
