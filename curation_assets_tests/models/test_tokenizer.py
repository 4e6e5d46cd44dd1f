import hashlib
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import curation_assets
from curation_assets.models.tokenizer import SENTINELS, load_tokenizer, sentinel, train_tokenizer

T5 = Path(curation_assets.__file__).parents[2] / "shared" / "models" / "t5-spiece"
needs_t5 = pytest.mark.skipif(not T5.is_dir(), reason="T5's own tokenizer is not on this machine")
VOCAB = 1000


def texts():
    """Yield prose-like text: words of syllables, with Zipf's law, line breaks and some rare characters."""
    rng = random.Random(0)
    syllables = [a + b for a in "bcdfghklmnprst" for b in ("a", "e", "i", "o", "u", "an", "er")]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(2000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    for number in range(300):
        line = " ".join(rng.choices(words, weights, k=60))
        yield f"{line.capitalize()}.\n\nLine {number}: {line} \u00e9\u00a0x"


def train(folder):
    """Train on `texts()` and print the digest of the result; what the other process runs."""
    train_tokenizer(texts(), VOCAB, folder)
    print(digest(folder))


def digest(folder):
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(folder).iterdir()))).hexdigest()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(texts(), VOCAB, folder)
    return folder


@pytest.fixture(scope="module")
def trained(folder):
    return load_tokenizer(folder)


def test_has_t5s_layout(trained, folder):
    assert (trained.pad_id, trained.eos_id, trained.unk_id) == (0, 1, 2)
    assert trained.vocab_size == VOCAB
    assert trained.first_sentinel_id == VOCAB - 1
    added = {
        one["content"]: one["id"]
        for one in json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    }
    assert all(added[sentinel(k)] == VOCAB - 1 - k for k in range(SENTINELS))


@pytest.mark.process
def test_is_the_same_in_another_process(folder, tmp_path):
    code = (
        f"from curation_assets_tests.models.test_tokenizer import train; train({str(tmp_path / 'again')!r})"
    )
    root = Path(curation_assets.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=root)
    assert done.stdout.split()[-1] == digest(folder)


def test_encodes_without_special_tokens_and_decodes_back(trained):
    text = "The quick, brown fox: 42 words?"
    (ids,) = trained.encode_batch([text])
    assert ids.dtype == np.int32
    assert not np.isin(ids, [trained.pad_id, trained.eos_id, trained.unk_id]).any()
    assert (ids <= trained.first_sentinel_id - SENTINELS).all()
    assert trained.decode(ids) == text
    assert [len(one) for one in trained.encode_batch(["", " \n"])] == [0, 0]
    assert trained.encode_batch([]) == []


@pytest.mark.parametrize(
    "text",
    ["\U0001f600\U0001f468\u200d\U0001f469", "漢字かな交じり文", "Ωμέγα", "\u0fd5\U00013000", "{}<>~\\"],
)
def test_no_character_is_unknown(trained, text):
    (ids,) = trained.encode_batch([text])
    assert trained.unk_id not in ids
    assert trained.decode(ids) == text


def test_white_space_collapses_and_compatibility_forms_are_folded(trained):
    (one,), (other,) = trained.encode_batch(["  a \n\n b\u00a0\tc  "]), trained.encode_batch(["a b c"])
    assert one.tolist() == other.tolist()
    assert trained.decode(trained.encode_batch(["\uff21\ufb01"])[0]) == "Afi"


SPECIAL = [
    "</s>",
    "<pad>",
    "<unk>",
    "<extra_id_0>",
    "<extra_id_99>",
    "<0x41>",
    "\uff1c/s\uff1e",
    "a</s>b <pad>",
]


@pytest.mark.parametrize("text", SPECIAL)
def test_a_special_token_quoted_in_a_text_stays_text(trained, text):
    (ids,) = trained.encode_batch([text])
    names = [trained._backend.id_to_token(int(one)) for one in ids]
    assert not np.isin(ids, [trained.pad_id, trained.eos_id, trained.unk_id]).any()
    assert (ids <= trained.first_sentinel_id - SENTINELS).all()
    assert "<0x41>" not in names
    assert trained.decode(ids) == text.replace("\uff1c", "<").replace("\uff1e", ">")


def test_decode_shows_special_tokens_on_demand(trained):
    ids = [trained.first_sentinel_id, trained.eos_id]
    assert trained.decode(ids) == ""
    assert trained.decode(ids, skip_special_tokens=False) == "<extra_id_0></s>"


def test_a_batch_gives_what_each_text_gives_alone(trained):
    batch = list(texts())[:40]
    for alone, together in zip(batch, trained.encode_batch(batch), strict=True):
        assert trained.encode_batch([alone])[0].tolist() == together.tolist()


def test_transformers_loads_it_with_the_same_ids(trained, folder):
    from transformers import AutoTokenizer

    other = AutoTokenizer.from_pretrained(folder)
    assert len(other) == VOCAB
    assert (other.pad_token_id, other.eos_token_id, other.unk_token_id) == (0, 1, 2)
    assert other.convert_tokens_to_ids(sentinel(0)) == VOCAB - 1
    text = next(texts())
    assert other(text).input_ids == [*trained.encode_batch([text])[0], 1]


def test_a_small_corpus_gives_a_smaller_vocabulary(tmp_path):
    small = train_tokenizer(["a few words are all there is, and that is that"], 4096, tmp_path)
    assert 256 + SENTINELS < small.vocab_size < 600
    assert small.first_sentinel_id == small.vocab_size - 1
    assert small.decode(small.encode_batch(["that is new"])[0]) == "that is new"


def test_impossible_training_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no tokenizer of 1000 tokens from these texts"):
        train_tokenizer(["", " \n "], 1000, tmp_path)
    with pytest.raises(ValueError, match="must be at least 420"):
        train_tokenizer(["a"], 300, tmp_path)


def test_wrong_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no tokenizer\.json and no spiece\.model"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text(
        '{"version": "1.0", "model": {"type": "WordLevel", "vocab": {}, "unk_token": "?"}}'
    )
    with pytest.raises(ValueError, match=r"tokenizer\.json: not a T5 tokenizer: it has no <pad>"):
        load_tokenizer(tmp_path)
    (tmp_path / "spiece.model").write_bytes(b"\x00garbage")
    with pytest.raises(ValueError, match=r"spiece\.model"):
        load_tokenizer(tmp_path / "spiece.model")


@needs_t5
def test_t5s_own_tokenizer_has_its_known_ids():
    t5 = load_tokenizer(T5)
    assert (t5.vocab_size, t5.pad_id, t5.eos_id, t5.unk_id, t5.first_sentinel_id) == (32100, 0, 1, 2, 32099)
    assert t5.encode_batch(["Hello world"])[0].tolist() == [8774, 296]
    text = "translate English to German: The house is wonderful."
    assert t5.encode_batch([text])[0].tolist() == [13959, 1566, 12, 2968, 10, 37, 629, 19, 1627, 5]
    assert t5.decode(t5.encode_batch([text])[0]) == text
    quoted = t5.encode_batch(["a </s> <extra_id_0> <pad>"])[0]
    assert not np.isin(quoted, [0, 1]).any()
    assert (quoted < 32000).all()


@needs_t5
def test_t5s_sentencepiece_model_alone_gives_the_same_tokenizer(tmp_path):
    (tmp_path / "spiece.model").write_bytes((T5 / "spiece.model").read_bytes())
    alone, whole = load_tokenizer(tmp_path), load_tokenizer(T5)
    assert alone.vocab_size == whole.vocab_size
    batch = [
        *list(texts())[:20],
        "x ------- \U0001f600 {} \uff21\u2026 \u00bd </s>",
        "  Some\tprose, as it comes.\n\nYes!  ",
    ]
    for one, other in zip(alone.encode_batch(batch), whole.encode_batch(batch), strict=True):
        assert one.tolist() == other.tolist()


@needs_t5
def test_t5s_ids_are_sentencepieces_own(tmp_path):
    import sentencepiece

    reference = sentencepiece.SentencePieceProcessor(model_file=str(T5 / "spiece.model"))
    batch = [
        *list(texts())[:50],
        "It's 3.14 -- isn't it? (Yes, \u201cit\u201d is.) na\u00efve caf\u00e9 \u2026 \uff21\u00bd",
    ]
    for text, ids in zip(batch, load_tokenizer(T5).encode_batch(batch), strict=True):
        assert ids.tolist() == reference.encode(text)


def test_yes_and_no_are_pieces_whatever_the_corpus(tmp_path: Path) -> None:
    made = train_tokenizer(["zebra quilt fjord jumble", "eleven yesterdays"] * 50, 440, tmp_path)
    for word in ("yes", "no"):
        (ids,) = made.encode_batch([word])
        assert len(ids) == 1 and made.decode(ids) == word
        assert made.encode_batch([f"zebra {word} quilt"])[0].tolist().count(int(ids[0])) == 1
    assert (
        made.decode(made.encode_batch(["eleven yesterdays know no zebra"])[0])
        == "eleven yesterdays know no zebra"
    )
    assert len(set(made.vocabulary().values())) == made.vocab_size


def test_an_endless_word_does_not_keep_the_trainer_busy(tmp_path: Path) -> None:
    start = time.monotonic()
    made = train_tokenizer(["x" * 50_000, "word " * 50_000, *["a line of common words"] * 50], 440, tmp_path)
    assert time.monotonic() - start < 20
    assert made.decode(made.encode_batch(["a line of common words"])[0]) == "a line of common words"
