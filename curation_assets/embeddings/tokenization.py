"""Texts as the token ids of an embedding model, and how much of each text its vocabulary cannot say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import tokenizers

_UNREADABLE = 0.2  # with a third unknown, as Thai to MiniLM, different texts have a cosine similarity of 0.98
_CHARS = 1 << 20  # read at a time: an encoding is many times as large as its ids


@dataclass(frozen=True)
class Tokens:
    """Texts as token ids, without special tokens.

    Attributes
    ----------
    ids : int32 [tokens]
        Of all texts, end to end.
    offsets : int64 [n + 1]
        Text i has `ids[offsets[i] : offsets[i + 1]]`.
    unknown : int64 [n]
        Tokens of each text that are the unknown token.
    readable : bool [n]
        False where more than a fifth of a text's characters stand in unknown tokens, or all are dropped by the tokenizer.
    first_row : int
        Number of the first text, for errors.
    """

    ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    unknown: NDArray[np.int64]
    readable: NDArray[np.bool_]
    first_row: int = 0


class Reader:
    """Reads whole texts with a fast tokenizer.

    WordPiece says a word of which one character is not in its vocabulary, or which is longer than 100 characters, by one
    unknown token: a whole text in a script without spaces, a line of minified code. Such a word, and no other, is read
    again in parts: cut to 100 characters, and only the characters that the vocabulary lacks are unknown. Texts without
    such words have the ids that the tokenizer gives by itself.

    Parameters
    ----------
    backend
        A tokenizer of the `tokenizers` package; its padding and truncation are switched off.
    unknown_id
        Of the unknown token; None where there is none (byte-level vocabularies).
    prompt
        Put before each text.

    Attributes
    ----------
    prefix, suffix : int64 [k]
        The special tokens that the model expects around a text.
    """

    def __init__(self, backend: tokenizers.Tokenizer, unknown_id: int | None, prompt: str = "") -> None:
        backend.no_padding()
        backend.no_truncation()
        self._whole, self._parts = backend, _in_parts(backend)
        self._unknown_id, self._prompt = unknown_id, prompt
        example = backend.encode("a")
        ids, special = np.array(example.ids, np.int64), np.array(example.special_tokens_mask, bool)
        body = np.flatnonzero(~special)
        self.prefix, self.suffix = ids[: body[0]], ids[body[-1] + 1 :]

    def read(self, texts: Sequence[str], first_row: int = 0) -> Tokens:
        """Return the texts as token ids; `first_row` is added to the row that an error names.

        Raises
        ------
        TypeError
            Something is no string.
        ValueError
            A text is not valid Unicode.
        """
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"text in row {first_row + row} is {type(text).__name__}, not a string")
        parts, unknown = [np.zeros(0, np.int32)], np.zeros(len(texts), np.int64)
        readable = np.ones(len(texts), bool)
        for rows in _groups(texts):
            for row, encoding in zip(rows, self._encode(texts, rows, first_row), strict=True):
                ids = encoding.ids
                if not ids or self._unknown_id in ids:
                    ids, readable[row] = self._read_again(self._prompt + texts[row], encoding)
                    unknown[row] = sum(one == self._unknown_id for one in ids)
                parts.append(np.array(ids, np.int32))
        offsets = np.cumsum([len(part) for part in parts], dtype=np.int64)
        return Tokens(np.concatenate(parts), offsets, unknown, readable, first_row)

    def _encode(self, texts: Sequence[str], rows: range, first_row: int) -> list[tokenizers.Encoding]:
        try:
            prompted = [self._prompt + texts[row] for row in rows]
            return self._whole.encode_batch(prompted, add_special_tokens=False)
        except (TypeError, UnicodeEncodeError):  # which of the two depends on the version of tokenizers
            for row in rows:
                if not _is_utf8(texts[row]):
                    reason = "holds a lone surrogate: not valid Unicode"
                    raise ValueError(f"text in row {first_row + row} {reason}") from None
            raise

    def _read_again(self, text: str, encoding: tokenizers.Encoding) -> tuple[list[int], bool]:
        """Return a text's ids, unknown words read in parts, and whether the text is readable."""
        lost = np.array(encoding.ids) == self._unknown_id
        spans = np.array(encoding.offsets, np.int64).reshape(-1, 2)
        sizes = spans[:, 1] - spans[:, 0]
        own = spans[:, 1] > len(self._prompt)  # what the prompt has is not the text's to be read
        words = np.flatnonzero(lost & (sizes > 1)) if self._parts else np.zeros(0, np.int64)
        counted = np.bincount(
            lost.astype(np.int64), weights=sizes * own, minlength=2
        )  # characters that are known, and that are not
        counted[1] -= sizes[words].sum()
        pieces = [[one] for one in encoding.ids]
        if self._parts and len(words):
            encodings = self._parts.encode_batch(
                [text[a:b] for a, b in spans[words]], add_special_tokens=False
            )
            for word, part in zip(words, encodings, strict=True):
                pieces[word] = part.ids
                for one, (begin, end) in zip(part.ids, part.offsets, strict=True):
                    counted[int(one == self._unknown_id)] += end - begin
        known, unknown = counted
        readable = known > 0 and unknown <= _UNREADABLE * (known + unknown)
        return [one for piece in pieces for one in piece], bool(readable)


def _in_parts(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer | None:
    """Return a WordPiece tokenizer that cuts words where they cannot be read; None for other kinds, which do so anyway."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    model = backend.model
    if not isinstance(model, models.WordPiece):
        return None
    vocabulary, within = backend.get_vocab(with_added_tokens=False), model.continuing_subword_prefix
    known = sorted(piece for piece in vocabulary if len(piece) == 1 and within + piece in vocabulary)
    characters = "".join(f"\\x{{{ord(one):x}}}" for one in ["\0", *known])
    cut = Tokenizer.from_str(backend.to_str())
    cut.pre_tokenizer = pre_tokenizers.Sequence(
        [
            backend.pre_tokenizer,
            pre_tokenizers.Split(Regex(f"[^{characters}]+"), "isolated"),
            pre_tokenizers.Split(Regex(f".{{{model.max_input_chars_per_word}}}"), "isolated"),
        ]
    )
    return cut


def _groups(texts: Sequence[str]) -> Iterator[range]:
    """Yield rows in order, as many together as have `_CHARS` characters, but at least one."""
    start, size = 0, 0
    for row, text in enumerate(texts):
        if row > start and size + len(text) > _CHARS:
            yield range(start, row)
            start, size = row, 0
        size += len(text)
    if len(texts):
        yield range(start, len(texts))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
