"""T5's kind of tokenizer: training one on a corpus, and one face for ours and for T5's own.

SentencePiece trains (on one thread its Unigram trainer is deterministic, which that of the `tokenizers` package is
not); `tokenizers` encodes.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import sentencepiece
    import tokenizers

PAD, EOS, UNK = "<pad>", "</s>", "<unk>"  # ids 0, 1, 2 as in T5
SENTINELS = 100
ANSWERS = ("yes", "no")  # always pieces of their own: a judge answers in one token (`scoring.ask_llm`)
_BYTES = 256
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # how SentencePiece writes a space
# A document may quote "</s>": its "<" is cut off, so that no text is ever encoded as a special token or a raw byte.
_SPECIAL_IN_TEXT = r"<(?=/s>|pad>|unk>|extra_id_\d+>|0x[0-9A-F]{2}>)"


_ENDLESS = re.compile(r"(\S{64})(?=\S)")
_SENTENCE = re.compile(r".{1,512}(?:\s|$)")


class Tokenizer:
    """A T5 tokenizer as the scorers and the trainer use it; ids are T5's: pad, end, unknown, pieces, sentinels.

    Text is NFKC-normalised and its white space collapsed, as T5 does, so line breaks do not survive. A special token
    quoted in a text is encoded as ordinary text.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        from tokenizers import Regex, pre_tokenizers

        names = (PAD, EOS, UNK, sentinel(0), sentinel(SENTINELS - 1))
        ids = {name: token for name in names if (token := backend.token_to_id(name)) is not None}
        if absent := [name for name in names if name not in ids]:
            raise ValueError(f"not a T5 tokenizer: it has no {', '.join(absent)}")
        self._backend = backend
        self.vocab_size: int = backend.get_vocab_size(with_added_tokens=True)
        self.pad_id, self.eos_id, self.unk_id, self.first_sentinel_id, last = ids.values()
        if last != self.first_sentinel_id - SENTINELS + 1:
            raise ValueError(
                f"{sentinel(0)} .. {sentinel(SENTINELS - 1)} must be {SENTINELS} consecutive falling ids"
            )
        backend.no_padding()
        backend.no_truncation()
        backend.encode_special_tokens = True
        guard = pre_tokenizers.Split(Regex(_SPECIAL_IN_TEXT), "merged_with_previous")
        backend.pre_tokenizer = pre_tokenizers.Sequence([backend.pre_tokenizer, guard])

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return each text's ids, int32, without end or other special tokens and without truncation."""
        encoded = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.asarray(one.ids, np.int32) for one in encoded]

    def vocabulary(self) -> dict[str, int]:
        """Return {piece: id}, special tokens included."""
        return self._backend.get_vocab(with_added_tokens=True)

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """Return the text of `ids`."""
        return self._backend.decode([int(one) for one in ids], skip_special_tokens=skip_special_tokens)


def sentinel(number: int) -> str:
    """Name of the sentinel that replaces the masked span `number`; its id is `first_sentinel_id - number`."""
    return f"<extra_id_{number}>"


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Load a tokenizer from a folder or file: `tokenizer.json`, or else a SentencePiece model (`spiece.model`).

    `google/t5-v1_1-*` carry only the latter. Raises FileNotFoundError where neither is there, and ValueError where
    it is no T5 tokenizer.
    """
    from tokenizers import Tokenizer as Backend

    path = Path(path)
    names = [path / "tokenizer.json", path / "spiece.model"] if path.is_dir() else [path]
    file = next((name for name in names if name.is_file()), None)
    if file is None:
        raise FileNotFoundError(f"no tokenizer.json and no spiece.model at {path}")
    try:
        backend = (
            Backend.from_file(str(file)) if file.suffix == ".json" else _from_sentencepiece(file.read_bytes())
        )
        return Tokenizer(backend)
    except Exception as error:
        raise ValueError(f"{file}: {error}") from error


def train_tokenizer(texts: Iterable[str], vocab_size: int, folder: str | Path) -> Tokenizer:
    """Train a Unigram tokenizer (Kudo, 2018) with T5's layout and save it so that `AutoTokenizer` loads it too.

    Deterministic: the same texts in the same order give the same bytes, in any process. Characters that are too rare
    for the vocabulary become UTF-8 byte pieces (`<0x00>` .. `<0xFF>`) and never `<unk>`: a perplexity scorer would
    find unreadable text easy if it were all one token. Memory: SentencePiece holds all texts, several times their
    size; pass a sample of a large corpus.

    Parameters
    ----------
    vocab_size : total, with 3 special tokens, 256 byte pieces and 100 sentinels; "yes" and "no" are pieces whatever the
        texts. A corpus too small for it gives a smaller vocabulary: go by the result's `vocab_size`.
    folder : is made; gets `tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json`.

    Raises
    ------
    ValueError : there is no text, or more distinct characters than `vocab_size` has room for.
    """
    import sentencepiece

    pieces = vocab_size - SENTINELS
    if pieces < _BYTES + 64:
        raise ValueError(f"vocab_size must be at least {_BYTES + 64 + SENTINELS}, not {vocab_size}")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_lines(texts),
            model_writer=model,
            model_type="unigram",
            vocab_size=pieces,
            hard_vocab_limit=False,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            normalization_rule_name="nmt_nfkc",  # T5's
            character_coverage=0.9995,
            byte_fallback=True,
            max_sentence_length=1 << 30,  # longer ones would be left out silently
            num_threads=1,  # with more, the order of floating-point sums varies
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ValueError(f"no tokenizer of {vocab_size} tokens from these texts: {error}") from error
    backend = _from_sentencepiece(model.getvalue(), ANSWERS)
    _save(backend, Path(folder))
    return load_tokenizer(folder)


def _lines(texts: Iterable[str]) -> Iterator[str]:
    """Yield what SentencePiece trains on: lines, in pieces of at most 512 characters, with endless words broken up.

    Its trainer takes time with the length of repeated passages: one line of "word word ..." would keep it busy for minutes.
    """
    for text in texts:
        for line in text.split("\n"):
            if line.strip() and "\0" not in line:
                yield from _SENTENCE.findall(_ENDLESS.sub(r"\1 ", line))


def _from_sentencepiece(proto: bytes, words: Sequence[str] = ()) -> tokenizers.Tokenizer:
    """Build the `tokenizers` form of a SentencePiece Unigram model: `words` made pieces, sentinels after the last piece."""
    import sentencepiece
    from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors
    from tokenizers import Tokenizer as Backend

    model = sentencepiece.SentencePieceProcessor(model_proto=proto)
    vocabulary = [(model.id_to_piece(i), model.get_score(i)) for i in range(model.get_piece_size())]
    _make_pieces(model, vocabulary, words)
    byte_fallback = any(model.is_byte(i) for i in range(model.get_piece_size()))
    backend = Backend(models.Unigram(vocabulary, unk_id=model.unk_id(), byte_fallback=byte_fallback))
    names = [PAD, EOS, UNK, *(sentinel(number) for number in reversed(range(SENTINELS)))]
    backend.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in names])
    backend.normalizer = normalizers.Sequence(
        [
            normalizers.Precompiled(_character_map(proto)),
            normalizers.Strip(left=False, right=True),
            normalizers.Replace(Regex(" {2,}"), _SPACE),
        ]
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace(_SPACE, prepend_scheme="always", split=True)
    spaces = decoders.Metaspace(_SPACE, prepend_scheme="always", split=True)
    backend.decoder = decoders.Sequence([decoders.ByteFallback(), spaces]) if byte_fallback else spaces
    backend.post_processor = processors.TemplateProcessing(
        single=f"$A {EOS}", pair=f"$A {EOS} $B {EOS}", special_tokens=[(EOS, backend.token_to_id(EOS))]
    )
    # Reading JSON moves some scores by one unit in the last place, which decides ties; so go by what a file would give.
    return Backend.from_str(backend.to_str())


def _make_pieces(
    model: sentencepiece.SentencePieceProcessor, vocabulary: list[tuple[str, float]], words: Sequence[str]
) -> None:
    """Put each word that is no piece in the place of the least likely piece, a little likelier than the word's parts."""
    expendable = sorted(
        (
            i
            for i, (piece, _) in enumerate(vocabulary)
            if len(piece.strip(_SPACE)) > 1 and model.get_score(i) < 0
        ),
        key=model.get_score,
    )
    missing = [word for word in words if len(model.encode(word)) != 1]
    for word, place in zip(missing, expendable, strict=False):
        parts = sum(model.get_score(i) for i in model.encode(word))
        vocabulary[place] = (f"{_SPACE}{word}", parts + 0.1)


def _save(backend: tokenizers.Tokenizer, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    special = {"pad_token": PAD, "eos_token": EOS, "unk_token": UNK}
    special_map = special | {"additional_special_tokens": [sentinel(number) for number in range(SENTINELS)]}
    config = special | {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 512,
    }
    (folder / "special_tokens_map.json").write_text(json.dumps(special_map, indent=2) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


# ---- the one field of a SentencePiece model that its library does not give away


def _character_map(proto: bytes) -> bytes:
    """Return `ModelProto.normalizer_spec.precompiled_charsmap` (fields 3 and 2 of sentencepiece_model.proto).

    Read from the wire format: the generated protobuf classes need one certain range of protobuf versions.
    """
    return _field(_field(proto, 3), 2)


def _field(message: bytes, number: int) -> bytes:
    """Return the last length-delimited field number `wanted` of a protobuf message, b"" where it is absent."""
    value, at = b"", 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 2:
            size, at = _varint(message, at)
            if tag >> 3 == number:
                value = message[at : at + size]
            at += size
        elif kind == 0:
            _, at = _varint(message, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError("not a SentencePiece model")
    return value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
