"""Span perplexity against transformers' own loss, one document at a time, and its independence of batches."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.common.windows import cut_windows
from curation_assets.models.span_corruption import mix
from curation_assets.models.t5 import Shape, build
from curation_assets.scoring.perplexity import SpanPerplexity
from curation_assets_tests.models.one_document import corrupt_document

VOCABULARY, SENTINEL, WINDOW = 300, 299, 64
LENGTHS = np.array([1, 2, 3, 10, 64, 65, 200, 7, 128, 33, 300, 5, 64, 90])


@pytest.fixture(scope="module")
def model():
    made = build(Shape(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4), VOCABULARY, 0)
    with torch.no_grad():  # far from uniform, so that a mistake shows
        made.lm_head.weight.mul_(4)
    return made


def scorer(model, **changes):
    settings = {"eos": 1, "first_sentinel": SENTINEL, "window": WINDOW, "device": "cpu", "batch_tokens": 400}
    return SpanPerplexity(model, **(settings | changes))


def documents(lengths=LENGTHS):
    rng = np.random.default_rng(0)
    return [rng.integers(2, 190, n).astype(np.uint16) for n in lengths], mix(1, np.arange(len(lengths)))


def test_nll_is_the_loss_of_transformers_on_each_window_alone(model):
    tokens, hashes = documents()
    total, count = scorer(model, seed=3).nll(tokens, hashes)
    for i, ids in enumerate(tokens):
        windows = -(-len(ids) // WINDOW)
        nll = targets_seen = 0
        for w in range(windows):
            part = ids[len(ids) * w // windows : len(ids) * (w + 1) // windows]
            inputs, targets = corrupt_document(part, hashes[i], w, 3, eos=1, first_sentinel=SENTINEL)
            with torch.no_grad():
                loss = model(
                    input_ids=torch.tensor(inputs[None]), labels=torch.tensor(targets[None])
                ).loss.item()
            nll, targets_seen = nll + loss * len(targets), targets_seen + len(targets)
        assert count[i] == targets_seen
        assert total[i] == pytest.approx(nll, rel=1e-5)
        assert scorer(model, seed=3).score_tokens([ids], hashes[i : i + 1])[0] == pytest.approx(
            -np.exp(nll / targets_seen), rel=1e-4
        )


def test_scores_do_not_depend_on_batch_or_order(model):
    tokens, hashes = documents()
    wanted = scorer(model).score_tokens(tokens, hashes)
    order = np.random.default_rng(2).permutation(len(tokens))
    for batch_tokens in (90, 1000, 10**6):
        got = scorer(model, batch_tokens=batch_tokens).score_tokens([tokens[i] for i in order], hashes[order])
        np.testing.assert_allclose(got, wanted[order], rtol=1e-5)
    assert not np.allclose(scorer(model, seed=1).score_tokens(tokens, hashes)[4:], wanted[4:])


def test_flat_ids_give_the_same_as_lists_and_may_be_a_memory_map(model, tmp_path):
    tokens, hashes = documents()
    np.save(tmp_path / "ids.npy", np.concatenate(tokens))
    offsets = np.concatenate([[0], LENGTHS.cumsum()])
    flat = scorer(model).nll_flat(np.load(tmp_path / "ids.npy", mmap_mode="r"), offsets, hashes)
    listed = scorer(model).nll([ids.tolist() for ids in tokens], hashes)
    assert np.array_equal(flat[0], listed[0])
    assert np.array_equal(flat[1], listed[1])


def test_no_batch_is_larger_than_allowed(model):
    tokens, hashes = documents()
    limited = scorer(model)
    sizes = []
    handle = limited.model.register_forward_pre_hook(
        lambda _, __, kwargs: sizes.append(kwargs["input_ids"].numel() + kwargs["decoder_input_ids"].numel()),
        with_kwargs=True,
    )
    limited.nll(tokens, hashes)
    handle.remove()
    assert max(sizes) <= 400
    assert sum(sizes) < 1.35 * (LENGTHS.sum() * 1.2 + 10 * len(sizes)), "padding stays small"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 300), min_size=1, max_size=6), st.integers(1, 70), st.none() | st.integers(1, 4)
)
def test_windows_cover_a_document_evenly(lengths, window, cap):
    document, begin, end, number = cut_windows(lengths, window, cap)
    for i, n in enumerate(lengths):
        mine = document == i
        low, high, count = begin[mine], end[mine], max(-(-n // window), 1)
        assert ((high - low) <= window).all()
        assert np.ptp(high - low) <= 1
        if cap is None or cap >= count:
            assert mine.sum() == count
            assert (low[0], high[-1]) == (0, n)
            assert np.array_equal(low[1:], high[:-1])
        else:
            assert mine.sum() == cap
            assert low[0] == 0
            assert cap == 1 or high[-1] == n
            assert (np.diff(number[mine]) >= 1).all()


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary():
    uniform = build(Shape(16, 8, 32, 1, 2), VOCABULARY, 0)
    torch.nn.init.zeros_(uniform.lm_head.weight)
    tokens, hashes = documents()
    np.testing.assert_allclose(scorer(uniform).score_tokens(tokens, hashes), -VOCABULARY, rtol=1e-5)


def test_texts_are_tokenized_whole_and_masked_by_id_and_text(model):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from curation_assets.common.hashing import hash_documents, text_digest

    vocabulary = {"</s>": 1, "<unk>": 2, "<extra_id_0>": SENTINEL} | {f"w{i}": i for i in range(3, 190)}
    plain = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=plain, unk_token="<unk>", eos_token="</s>", model_max_length=5
    )
    texts = [" ".join(f"w{(i * k) % 180 + 3}" for i in range(40 * k)) for k in (1, 2, 3)]
    ids = ["a", "b", "c"]
    hashes = hash_documents(ids, [text_digest(text) for text in texts])
    wanted = scorer(model).score_tokens([plain.encode(text).ids for text in texts], hashes)
    for tokenizer in (plain, wrapped):
        made = SpanPerplexity(model, tokenizer, window=WINDOW, device="cpu")
        assert (made.eos, made.first_sentinel) == (1, SENTINEL)
        np.testing.assert_allclose(made.score(texts, ids), wanted, rtol=1e-5)


def test_bad_input_is_refused(model):
    tokens, hashes = documents()
    with pytest.raises(ValueError, match="document 2 has a token id outside"):
        scorer(model).nll([[3, 4], [5], [3, 300, 4]], hashes[:3])
    with pytest.raises(ValueError, match=r"doc_hash must be uint64\[14\]"):
        scorer(model).nll(tokens, hashes[:3])
    with pytest.raises(ValueError, match="sentinels"):
        scorer(model, window=5000)
    with pytest.raises(ValueError, match="outside the vocabulary"):
        scorer(model, first_sentinel=300)
    with pytest.raises(ValueError, match="first_sentinel must be given"):
        SpanPerplexity(model, eos=1)
    with pytest.raises(ValueError, match="needs a tokenizer"):
        scorer(model).score(["x"], ["a"])
    with pytest.raises(ValueError, match="dtype"):
        scorer(model, dtype="float16")
    broken = build(Shape(8, 8, 8, 1, 1), VOCABULARY, 0)
    torch.nn.init.constant_(broken.lm_head.weight, float("nan"))
    with pytest.raises(FloatingPointError, match="document 0"):
        scorer(broken).nll(tokens, hashes)


def test_no_documents_give_no_scores(model):
    assert scorer(model).score_tokens([], np.zeros(0, np.uint64)).shape == (0,)


def test_an_empty_document_has_a_finite_score(model):
    assert np.isfinite(scorer(model).score_tokens([[], [4, 5]], np.arange(2, dtype=np.uint64))).all()
