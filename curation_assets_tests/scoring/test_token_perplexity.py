"""Token perplexity against transformers' own loss, one document at a time, and its independence of batches."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    BertConfig,
    BertLMHeadModel,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from curation_assets.models import t5
from curation_assets.models.span_corruption import mix
from curation_assets.models.tokenizer import train_tokenizer
from curation_assets.scoring.perplexity import SpanPerplexity
from curation_assets.scoring.token_perplexity import TokenPerplexity
from curation_assets_tests.conftest import stdlib_texts
from curation_assets_tests.models.small_models import byte_level

VOCABULARY, WINDOW, START, END = 600, 64, 1, 2
LENGTHS = np.array([1, 2, 3, 10, 64, 65, 200, 7, 128, 33, 300, 5, 64, 90])
TEXTS = [text for _, text in stdlib_texts()[:30]]
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,  # far from uniform, so that a mistake shows
    "bos_token_id": START,
    "eos_token_id": END,
    "pad_token_id": None,
}


def llama(**changes: Any) -> Any:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SHAPE | changes)).eval()


def gpt2() -> Any:
    torch.manual_seed(0)
    size: dict[str, Any] = {"n_positions": 128, "n_embd": 32, "n_layer": 2, "n_head": 4}
    ends = {"bos_token_id": START, "eos_token_id": END}
    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, initializer_range=0.3, **size, **ends)).eval()


def gemma2() -> Any:
    torch.manual_seed(0)
    return Gemma2ForCausalLM(Gemma2Config(**SHAPE, head_dim=8, final_logit_softcapping=2.0)).eval()


MAKERS = {"llama": llama, "gpt2": gpt2, "gemma2": gemma2}


@lru_cache
def made(name: str) -> Any:
    return MAKERS[name]()


def scorer(model: Any = None, tokenizer: Any = None, **changes: Any) -> TokenPerplexity:
    chosen: dict[str, Any] = {"window": WINDOW, "device": "cpu", "batch_tokens": 400}
    return TokenPerplexity(model or made("llama"), tokenizer, **chosen | changes)


def flat(lengths: Any = LENGTHS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return np.random.default_rng(seed).integers(3, VOCABULARY, offsets[-1]).astype(np.uint16), offsets


def documents(ids: np.ndarray, offsets: np.ndarray) -> list[np.ndarray]:
    return np.split(ids, offsets[1:-1])


def loss(model: Any, ids: Any) -> float:
    """The mean negative log-likelihood that transformers gives the ids after the start token."""
    whole = torch.tensor([[START, *np.asarray(ids).tolist()]])
    with torch.no_grad():
        return model(input_ids=whole, labels=whole).loss.item()


def windows(ids: np.ndarray, window: int = WINDOW) -> list[np.ndarray]:
    count = max(-(-len(ids) // window), 1)
    return [ids[len(ids) * w // count : len(ids) * (w + 1) // count] for w in range(count)]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return byte_level(TEXTS)


@pytest.mark.parametrize("name", MAKERS)
def test_nll_is_the_loss_of_transformers_on_each_window_alone(name: str) -> None:
    model = made(name)
    ids, offsets = flat()
    total, count = scorer(model).nll_flat(ids, offsets)
    assert np.array_equal(count, LENGTHS)
    assert (total.dtype, count.dtype) == (np.float64, np.int64)
    for row, document in enumerate(documents(ids, offsets)):
        expected = sum(loss(model, part) * len(part) for part in windows(document))
        assert total[row] == pytest.approx(expected, rel=1e-5)
    assert np.ptp((total / count)[LENGTHS > 60]) > 0.01  # the model does tell documents apart


def test_a_score_is_minus_the_exponential_of_the_loss(tokenizer: Any) -> None:
    texts = [text for text in TEXTS if len(tokenizer.encode(text)) <= 127]
    assert len(texts) >= 5
    expected = [
        -np.exp(loss(made("llama"), tokenizer.encode(text, add_special_tokens=False))) for text in texts
    ]
    ours = scorer(None, tokenizer, window=127)
    np.testing.assert_allclose(ours.score(texts), expected, rtol=2e-5)
    assert np.array_equal(ours.score(texts, [f"d{i}" for i in range(len(texts))]), ours.score(texts))


@pytest.mark.parametrize("bucket", [1, 8, 64])
@pytest.mark.parametrize("batch_tokens", [WINDOW, 1_000, 10**6])
def test_order_batches_and_shards_change_nothing(batch_tokens: int, bucket: int) -> None:
    ids, offsets = flat()
    total, count = scorer().nll_flat(ids, offsets)
    other = scorer(batch_tokens=batch_tokens)
    other._bucket = bucket
    order = np.random.default_rng(2).permutation(len(LENGTHS))
    shuffled = [documents(ids, offsets)[row] for row in order]
    bounds = np.concatenate([[0], LENGTHS[order].cumsum()])
    got = other.nll_flat(np.concatenate(shuffled), bounds)
    np.testing.assert_allclose(got[0], total[order], rtol=1e-5)
    assert np.array_equal(got[1], count[order])
    shards = [other.nll_flat(ids, offsets[low : low + 6]) for low in (0, 5, 10)]
    np.testing.assert_allclose(np.concatenate([part[0] for part in shards]), total, rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 90), min_size=1, max_size=8),
    window=st.integers(1, 100),
    batch_tokens=st.integers(1, 300),
    seed=st.integers(0, 9),
)
def test_a_document_is_scored_as_if_alone(
    lengths: list[int], window: int, batch_tokens: int, seed: int
) -> None:
    ids, offsets = flat(lengths, seed)
    ours = scorer(window=window, batch_tokens=batch_tokens)
    total, count = ours.nll_flat(ids, offsets)
    assert np.array_equal(count, np.maximum(lengths, 1))
    for row in range(len(lengths)):
        alone = ours.nll_flat(ids, offsets[row : row + 2])[0]
        np.testing.assert_allclose(total[row], alone[0], rtol=1e-5)


def test_max_windows_reads_evenly_spaced_windows() -> None:
    ids, offsets = flat([300, 40])
    parts = windows(ids[:300])
    assert len(parts) == 5
    total, count = scorer(max_windows=3).nll_flat(ids, offsets)
    kept = [parts[0], parts[2], parts[4]]
    assert count.tolist() == [sum(map(len, kept)), 40]
    assert total[0] == pytest.approx(sum(loss(made("llama"), part) * len(part) for part in kept), rel=1e-5)


def test_flat_ids_may_be_a_memory_map_and_serve_both_scorers(tmp_path: Path) -> None:
    ids, offsets = flat()
    np.save(tmp_path / "ids.npy", ids)
    mapped = np.load(tmp_path / "ids.npy", mmap_mode="r")
    span = SpanPerplexity(
        t5.build(t5.Shape(16, 8, 32, 1, 2), VOCABULARY + 100, 0),
        eos=1,
        first_sentinel=VOCABULARY + 99,
        window=WINDOW,
        device="cpu",
    )
    hashes = mix(1, np.arange(len(LENGTHS)))
    for one in (scorer(), span):
        total, count = one.nll_flat(mapped, offsets, hashes)
        assert (total.shape, total.dtype, count.dtype) == ((len(LENGTHS),), np.float64, np.int64)
        assert np.isfinite(total).all() and (total > 0).all()
    by_memory = scorer().nll_flat(ids.astype(np.int64), offsets)
    assert np.array_equal(scorer().nll_flat(mapped, offsets, hashes)[0], by_memory[0])


def test_no_batch_and_no_logits_are_larger_than_allowed() -> None:
    ids, offsets = flat()
    limited = scorer()
    wanted, _ = limited.nll_flat(ids, offsets)
    sizes: list[int] = []
    seen: list[int] = []
    parts: list[int] = []

    def count(_: Any, __: Any, given: dict[str, Any]) -> None:
        mask = given["attention_mask"]
        sizes.append(given["input_ids"].numel())
        seen.append(sizes[-1] if mask is None else int(mask.sum()))

    handles = [
        limited.model.model.register_forward_pre_hook(count, with_kwargs=True),
        limited.model.lm_head.register_forward_hook(lambda _, __, out: parts.append(out.numel())),
    ]
    for most in (limited._part, 7):
        for told in (sizes, seen, parts):
            told.clear()
        limited._part = most
        np.testing.assert_allclose(limited.nll_flat(ids, offsets)[0], wanted, rtol=1e-6)
        assert max(sizes) <= 400
        assert LENGTHS.sum() < sum(sizes) < 1.1 * LENGTHS.sum(), "padding stays small"
        assert sum(seen) == LENGTHS.sum(), "padding is masked"
        assert max(parts) == min(most, 200) * VOCABULARY  # with their log-softmax at most 400 tokens' worth
        assert sum(parts) == LENGTHS.sum() * VOCABULARY, "padding has no logits"
    for handle in handles:
        handle.remove()


def test_logits_are_computed_in_parts_only_where_the_head_is_all_there_is() -> None:
    assert scorer(made("gpt2"))._body is made("gpt2").transformer
    assert scorer(made("llama"))._body is made("llama").model
    assert scorer(made("gemma2"))._body is made("gemma2")  # it caps its logits


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary() -> None:
    uniform = llama(tie_word_embeddings=False)
    torch.nn.init.zeros_(uniform.lm_head.weight)
    total, count = scorer(uniform).nll_flat(*flat([0, *LENGTHS]))
    np.testing.assert_allclose(np.exp(total / count), VOCABULARY, rtol=1e-5)


def test_an_empty_document_is_its_end_after_the_start(tokenizer: Any) -> None:
    ids, offsets = flat([0, 5, 0])
    total, count = scorer().nll_flat(ids, offsets)
    assert count.tolist() == [1, 5, 1]
    np.testing.assert_allclose(total[[0, 2]], loss(made("llama"), [END]), rtol=1e-5)
    assert np.isfinite(scorer(None, tokenizer).score(["", " "])).all()
    with pytest.raises(ValueError, match="document 1 has no tokens"):
        scorer(llama(eos_token_id=None)).nll_flat(*flat([5, 0]))
    assert scorer().nll_flat(*flat([]))[0].shape == (0,)
    assert scorer(None, tokenizer).score([]).shape == (0,)


@pytest.mark.parametrize("kind", ["transformers", "tokenizers", "corpus"])
def test_special_tokens_in_a_text_are_text(kind: str, tokenizer: Any, tmp_path: Path) -> None:
    quoting = ["a </s> b <pad> <extra_id_3>", "", "x<|im_end|>y<|im_start|>", "plain"]
    if kind == "corpus":
        used = train_tokenizer(TEXTS, VOCABULARY, tmp_path)
        special = {used.pad_id, used.eos_id, *range(used.vocab_size - 100, used.vocab_size)}
        decode = used.decode
    else:
        used = tokenizer if kind == "transformers" else tokenizer.backend_tokenizer
        special = {0, 1}
        decode = tokenizer.decode
    ids, offsets = scorer(None, used).encode(quoting)
    assert (ids.dtype, offsets.dtype, offsets[0], offsets[-1]) == (np.int32, np.int64, 0, len(ids))
    assert not special & set(ids.tolist())
    for text, document in zip(quoting, documents(ids, offsets), strict=True):
        assert decode(document.tolist()).strip() == text


def test_texts_are_encoded_whole_and_in_order_however_many(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [tokenizer.encode(text, add_special_tokens=False) for text in TEXTS]
    monkeypatch.setattr("curation_assets.scoring.token_perplexity._TEXTS", 7)
    ids, offsets = scorer(None, tokenizer).encode(TEXTS)
    assert [document.tolist() for document in documents(ids, offsets)] == wanted


def test_any_text_has_a_finite_score(tokenizer: Any) -> None:
    long = " ".join(TEXTS) * (1_000_000 // sum(map(len, TEXTS)) + 1)
    texts = [
        "🧑‍🚀🚀 👨‍👩‍👧",
        "\u202eשלום עולם مرحبا بالعالم",
        "\0\ufeff\u200b",
        "the " * 3_000,
        "a" * 20_000,
        long,
    ]
    ours = scorer(None, tokenizer, max_windows=3, batch_tokens=2_048)
    scores = ours.score(texts)
    assert len(long) >= 1_000_000 and np.isfinite(scores).all() and (scores < -1).all()
    ids = np.full(1_000, 7)
    repeated, _ = ours.nll_flat(ids, np.array([0, 1_000]))
    assert repeated[0] == pytest.approx(
        sum(loss(made("llama"), part) * len(part) for part in _kept(ids)), rel=1e-5
    )


def _kept(ids: np.ndarray) -> list[np.ndarray]:
    parts = windows(ids)
    return [parts[0], parts[(len(parts) - 1) // 2], parts[-1]]


def test_the_start_is_bos_or_else_eos_or_else_pad_the_tokenizers_first() -> None:
    def start(tokenizer: Any, **config: Any) -> tuple[int, int | None]:
        from curation_assets.scoring.token_perplexity import _special_ids

        return _special_ids(SimpleNamespace(**tokenizer), SimpleNamespace(**config), VOCABULARY)

    assert start({"bos_token_id": 5, "eos_token_id": 6}, bos_token_id=7, eos_token_id=8) == (5, 6)
    assert start({"bos_token_id": None, "eos_token_id": 6}, bos_token_id=7) == (7, 6)
    assert start({"eos_id": 6, "pad_id": 0}) == (6, 6)  # corpus.tokenizer.Tokenizer
    assert start({}, eos_token_id=[8, 9], pad_token_id=3) == (8, 8)
    assert start({}, pad_token_id=0) == (0, None)


def test_progress_ends_with_all_documents() -> None:
    told: list[tuple[float, float, str]] = []
    scorer().nll_flat(*flat(), None, lambda done, total, unit, note="": told.append((done, total, unit)))
    done = [one[0] for one in told]
    assert len(done) > 3 and done == sorted(done) and (done[0], done[-1]) == (0, len(LENGTHS))
    assert {one[1:] for one in told} == {(len(LENGTHS), "documents")}


def test_models_and_settings_that_cannot_work_are_refused() -> None:
    scorer(window=127)  # 128 positions
    with pytest.raises(ValueError, match=r"window of 128 tokens after a start token .* 128 positions"):
        scorer(window=128)
    with pytest.raises(ValueError, match="no token to start with"):
        scorer(llama(bos_token_id=None, eos_token_id=None))
    with pytest.raises(ValueError, match="special token 600 lies outside the vocabulary of 600"):
        scorer(llama(bos_token_id=600))
    with pytest.raises(ValueError, match="special token 601 lies outside"):
        scorer(llama(eos_token_id=601))
    with pytest.raises(ValueError, match="T5ForConditionalGeneration has an encoder"):
        scorer(t5.build(t5.Shape(8, 8, 8, 1, 1), VOCABULARY, 0))
    torch.manual_seed(0)
    size: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    bert = BertLMHeadModel(
        BertConfig(vocab_size=VOCABULARY, intermediate_size=64, initializer_range=0.3, **size)
    )
    with pytest.raises(ValueError, match="BertLMHeadModel looks ahead"):
        scorer(bert.eval())
    for changes, message in (
        ({"window": 0}, "at least 1"),
        ({"max_windows": 0}, "at least 1"),
        ({"dtype": "float16"}, "dtype"),
        ({"device": "abacus"}, "abacus"),
    ):
        with pytest.raises(ValueError, match=message):
            scorer(**changes)


def test_bad_documents_are_refused_by_row(tokenizer: Any) -> None:
    with pytest.raises(ValueError, match="document 2 has a token id outside the vocabulary of 600"):
        scorer().nll_flat(np.array([3, 4, 5, 3, 600, 4]), np.array([0, 2, 3, 6]))
    with pytest.raises(ValueError, match="document 0 has a token id outside"):
        scorer().nll_flat(np.array([-1]), np.array([0, 1]))
    with pytest.raises(ValueError, match="need a tokenizer"):
        scorer().score(["x"])
    with pytest.raises(ValueError, match="2 texts and 1 document ids"):
        scorer(None, tokenizer).score(["x", "y"], ["a"])
    with pytest.raises(TypeError, match="not one string"):
        scorer(None, tokenizer).score("text")
    with pytest.raises(ValueError, match="row 1 holds a lone surrogate"):
        scorer(None, tokenizer).score(["fine", "not \ud800"])
    with pytest.raises(TypeError, match="row 0 is int"):
        scorer(None, tokenizer).encode([3])  # type: ignore[list-item]
    broken = llama(tie_word_embeddings=False)
    torch.nn.init.constant_(broken.lm_head.weight, float("nan"))
    with pytest.raises(FloatingPointError, match="document 0"):
        scorer(broken).nll_flat(*flat())


@pytest.mark.parametrize(
    ("ids", "offsets", "message"),
    [
        (np.zeros(4), [0, 4], "ids must be integers"),
        (np.zeros((2, 2), np.int64), [0, 4], "ids must be integers in one row"),
        (np.zeros(4, np.int64), [0.0, 4.0], "offsets must be"),
        (np.zeros(4, np.int64), [], "offsets must be"),
        (np.zeros(4, np.int64), [0, 5], "from 0 to 5, but there are 4"),
        (np.zeros(4, np.int64), [-1, 4], "from -1 to 4"),
        (np.zeros(4, np.int64), [0, 3, 2, 4], "fall at document 1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(ids: np.ndarray, offsets: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scorer().nll_flat(ids, np.array(offsets))


def test_bfloat16_is_near_and_only_when_asked() -> None:
    ids, offsets = flat()
    exact, count = scorer().nll_flat(ids, offsets)
    assert scorer(llama(), dtype="auto").model.dtype == torch.float32  # on a CPU
    rounded = scorer(llama(), dtype="bfloat16")
    assert rounded.model.dtype == torch.bfloat16
    total, _ = rounded.nll_flat(ids, offsets)
    assert 0 < (np.abs(total - exact) / count).max() < 0.1
