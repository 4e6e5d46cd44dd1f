"""The reasons for which a row of a corpus file is no document and goes to the quarantine table."""

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
