"""How a corpus is read: field names, limits, and the reasons for which a row is set aside."""

from __future__ import annotations

from dataclasses import dataclass

SAMPLE_BY = ("line", "paragraph", "document")

# Columns that every documents table has; a kept metadata field may not take one of these names.
RESERVED = ("doc_id", "doc_hash", "text", "n_chars", "row")

REASONS = {
    "row_too_long": "the raw row is longer than any document within the limit could need",
    "invalid_utf8": "the bytes are not UTF-8",
    "invalid_json": "the line is not JSON",
    "not_an_object": "the line is JSON, but not an object",
    "invalid_csv": "the row is not CSV: a quotation mark is not closed, or a carriage return stands in a cell",
    "ragged_row": "the row has more or fewer cells than the header",
    "missing_text": "the text field is absent or null",
    "text_not_a_string": "the text field is neither a string nor a list of chat messages",
    "empty_text": "the text is empty or has no visible character",
    "too_short": "the text has fewer visible characters or words than a document must have",
    "text_too_long": "the text has more characters than the limit",
    "control_characters": "the text has NUL or another control character than tab, line feed or form feed",
    "invalid_unicode": "a lone surrogate, or more combining marks in a row than any script uses",
    "bad_id": "the id is absent, empty, too long, or neither a string nor an integer",
    "repeated_id": "an earlier document of this shard has the same id and the same text",
    "repeated_text": "an earlier document of this shard has the same text (only where texts give the ids)",
}


@dataclass(frozen=True)
class DocumentSettings:
    """Everything that decides which documents a shard yields.

    Parameters
    ----------
    text_field, id_field : field (or column) names; "a.b" is the field of that name, or else b inside a. A text that is
        a list of chat messages is joined (`rows.joined_chat`). With `id_field=None` a document's id is the hash of its
        text. Plain text files have no fields: their ids are always hashes.
    keep_fields : metadata fields carried along as string columns; what is absent or cannot be a string is null.
    max_chars : longest document, in characters after normalisation.
    min_chars, min_words : least visible characters and words (`normalize.visible_characters`, `normalize.words`).
    validation_share : share of documents held out, in [0, 1]; a pure function of id and text.
    sample_by : what one document of a plain text file is: "line", "paragraph" (blank lines between) or "document".
    """

    text_field: str = "text"
    id_field: str | None = "id"
    keep_fields: tuple[str, ...] = ()
    max_chars: int = 1_000_000
    min_chars: int = 1
    min_words: int = 0
    validation_share: float = 0.01
    sample_by: str = "line"

    def __post_init__(self) -> None:
        """Refuse settings that cannot work."""
        object.__setattr__(self, "keep_fields", tuple(self.keep_fields))
        if not self.text_field:
            raise ValueError("text_field is empty")
        if self.id_field == "":
            raise ValueError("id_field is empty; use None where documents have no id")
        if clash := sorted(set(self.keep_fields) & set(RESERVED)):
            raise ValueError(
                f"keep_fields {clash} clash with columns that every documents table has: {RESERVED}"
            )
        if len(set(self.keep_fields)) != len(self.keep_fields):
            raise ValueError(f"keep_fields repeats a name: {self.keep_fields}")
        if self.max_chars < 1:
            raise ValueError(f"max_chars must be positive, not {self.max_chars}")
        if self.min_chars < 1 or self.min_words < 0:
            raise ValueError(
                f"min_chars must be at least 1 and min_words 0, not {self.min_chars} and {self.min_words}"
            )
        if not 0 <= self.validation_share <= 1:
            raise ValueError(f"validation_share must lie in [0, 1], not {self.validation_share}")
        if self.sample_by not in SAMPLE_BY:
            raise ValueError(f"sample_by must be one of {SAMPLE_BY}, not {self.sample_by!r}")

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that are read: text, id (where there is one) and the kept ones, each once."""
        wanted = (self.text_field, *([self.id_field] if self.id_field else []), *self.keep_fields)
        return tuple(dict.fromkeys(wanted))

    @property
    def max_row_bytes(self) -> int:
        """Bytes beyond which a raw row is not even parsed.

        JSON spends at most 12 bytes on a character (an escaped surrogate pair); 1 MiB is left for other fields.
        """
        return 12 * self.max_chars + (1 << 20)
