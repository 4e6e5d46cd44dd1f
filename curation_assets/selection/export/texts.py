"""The texts of chosen documents, read from the corpus file again and compared with what was scored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from curation_assets.common.hashing import hash_documents, text_digest
from curation_assets.corpus.documents import document_id
from curation_assets.corpus.fields import kept_fields, text_as_read
from curation_assets.corpus.formats import CorruptShardError, read_rows
from curation_assets.corpus.names import decoded, visible
from curation_assets.corpus.normalize import defect, normalize
from curation_assets.corpus.rows import RawRow
from curation_assets.engine.artifacts import Artifacts


@dataclass(frozen=True)
class Text:
    """A document as it stands in its corpus file: its text as read and as scored, its id, the digest of what was scored, its kept fields."""

    read: str
    scored: str
    doc_id: str
    digest: bytes
    kept: list[str | None]


class CorpusFile:
    """The rows of a corpus file that were chosen, in order; each is compared with what was scored before it is given away."""

    def __init__(self, artifacts: Artifacts, shard: str, rows: NDArray[np.int64]) -> None:
        about, corpus = artifacts.metadata("corpus/shards", shard), artifacts.profile.corpus
        self._shard, self._settings = shard, corpus.documents(**about.get("read_as", {}))
        self._of = [about["source"]] if corpus.sources else []
        self._raw = read_rows(
            about["url"], self._settings, corpus.storage_options, about["of_folders"], only=rows
        )

    def take(self, rows: NDArray[np.int64]) -> Iterator[Text]:
        """Yield the next documents, which stand in these rows.

        Raises
        ------
        ValueError
            There is no such row any more, or no document in it: the file changed since it was scored.
        """
        try:
            for row in rows.tolist():
                raw = next(self._raw, None)
                if raw is None:
                    raise self.changed(f"has no row {row}")
                yield self._text(row, raw)
        except (FileNotFoundError, CorruptShardError) as error:
            raise self.changed(f"cannot be read any more ({error})") from error

    def _text(self, row: int, raw: RawRow) -> Text:
        value = None if raw.fields is None else raw.fields[self._settings.text_field]
        text = text_as_read(value)
        if raw.row != row or raw.fields is None or not isinstance(text, str) or defect(text):
            raise self.changed(f"has no such document in row {row}")
        scored = normalize(text)
        digest = text_digest(scored)
        kept, _ = kept_fields(raw, self._settings)
        doc_id = document_id(raw.fields, digest, self._settings)[1]
        return Text(text, scored, doc_id, digest, [*kept, *self._of])

    def check(self, texts: list[Text], rows: np.ndarray, doc_hash: np.ndarray) -> None:
        """Refuse documents whose id and text are not those that were scored."""
        ids = [text.doc_id if isinstance(text.doc_id, str) else "" for text in texts]
        same = hash_documents(pa.array(ids, pa.string()), [text.digest for text in texts]) == doc_hash
        if not same.all():
            raise self.changed(f"has another document in row {rows[int(same.argmin())]}")

    def changed(self, what: str) -> ValueError:
        """Return the error of a file that is not any more what was scored."""
        return ValueError(
            f"{visible(decoded(self._shard))} {what}: the corpus changed since it was scored, run `curation run` first"
        )
