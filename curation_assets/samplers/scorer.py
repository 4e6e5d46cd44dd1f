"""A sampler at work on documents that are no part of the corpus: files, or texts. What scores them is what scores the corpus.

A document's score is a function of the document and of what the sampler has been fitted to (a sketch, centroids, a model), so it can be
had of any document. Whoever scores a file of the corpus here gets the scores that the graph has.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.common.files import fingerprint
from curation_assets.common.hashing import text_digest
from curation_assets.common.progress import Progress, after, silent
from curation_assets.config.profile import Profile, address
from curation_assets.config.registry import SAMPLERS
from curation_assets.config.settings import unknown_sampler
from curation_assets.corpus.discover import READ, find_files
from curation_assets.corpus.names import visible
from curation_assets.corpus.normalize import defect, normalize
from curation_assets.engine.aside import AsideWorkspace
from curation_assets.engine.context import Context
from curation_assets.engine.graph import STEPS
from curation_assets.engine.workspace import Builder, title
from curation_assets.samplers.build import checked, score_table, set_up
from curation_assets.samplers.documents import Documents
from curation_assets.samplers.spec import Sampler

_TEXTS = {"text_field": "text", "id_field": "id", "keep_fields": (), "min_chars": 1, "min_words": 0}
"""Settings of `corpus` for texts that somebody has in hand: how short they are is no matter."""


class FileScores(NamedTuple):
    """The scores of a file's documents, as the graph writes them (doc_id, doc_hash, source_row, score, ...), and its rows that are none."""

    scores: pa.Table
    quarantine: pa.Table


class Scorer:
    """A sampler, loaded once, that scores files or texts.

    Parameters
    ----------
    profile : whose settings and artifacts are taken.
    name : the sampler.
    builders : {asset key: builder} of the graph.
    corpus : settings of `corpus` that are others for these files.

    Raises
    ------
    ValueError
        There is no such sampler, or none whose score is a function of one document.
    MissingInput
        What the sampler is fitted to, or its model, has not been made.
    """

    def __init__(self, profile: Profile, name: str, builders: Mapping[str, Builder], **corpus: Any) -> None:
        self.sampler, self._key = scoring_sampler(name), f"{name}/scores"
        self.workspace = AsideWorkspace(profile, builders, **corpus)
        try:
            if self.sampler.model and not self._has_model(profile, name):
                self.workspace.make(f"{name}/model")
            self.context = Context(self.workspace, STEPS[self._key])
            self.state = None if self.sampler.placed else set_up(self.sampler, self.context)
        except BaseException:
            self.workspace.close()
            raise

    def __enter__(self) -> Scorer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _has_model(self, profile: Profile, name: str) -> bool:
        """Tell whether the graph knows the files of the model that the profile names."""
        note = self.workspace.receipt(f"{name}/model")
        return note is not None and note.metadata["source"] == str(profile.model_source(name))

    def fingerprint(self) -> str:
        """Return what its scores depend on beside the document: equal where all of them are."""
        profile, todo, found = self.workspace.profile, [STEPS[self._key]], {}
        while todo:
            step = todo.pop()
            found[step.key] = step.code_version(profile)
            for key, only in step.reads(profile).items():
                if STEPS[key].by == "shard" and only is None:
                    todo.append(STEPS[key])
                    continue
                for partition in self.workspace.partitions(STEPS[key].by) if only is None else [only]:
                    if receipt := self.workspace.receipt(key, partition):
                        found[title(key, partition)] = str(receipt.metadata.get("digest", receipt.version))
        found.pop("corpus/source", None)
        return fingerprint(found, str(profile.model_source(self.sampler.name)))

    def close(self) -> None:
        """Let go of what is loaded."""
        self.context.hold.release()
        self.workspace.close()

    def files(self, url: str | os.PathLike[str]) -> list[str]:
        """Return the URLs of the files at a path or URL of fsspec: a file, a folder or a glob.

        Raises
        ------
        FileNotFoundError, ValueError
            There is nothing, or no file in a format of corpus files.
        """
        files = find_files(address(os.fspath(url)), self.workspace.profile.corpus.storage_options).files
        if not files:
            raise ValueError(f"{visible(os.fspath(url))} has no file that can be read: expected {READ}")
        return [file.url for file in files]

    def score_file(self, url: str, progress: Progress = silent) -> FileScores:
        """Score the documents of a file, by its URL as `files` gives it. What is wrong with a row stands in the quarantine."""
        workspace = self.workspace
        with workspace.file(url, progress):
            documents = Documents(Context(workspace, STEPS[self._key], url), url)
            folder = workspace.open("corpus/documents", url)
            about = pq.read_table(folder / "documents.parquet", columns=["doc_id", "doc_hash", "row"])
            table = about.rename_columns(["doc_id", "doc_hash", "source_row"])
            for name, column in self._scored(documents, progress).items():
                table = table.append_column(name, column)
            return FileScores(table, pq.read_table(folder / "quarantine.parquet"))

    def _context_of(self, shard: str) -> Callable[[str], Context]:
        """Return what gives the context of a step, of a file where the step is made for each."""
        return lambda key: Context(self.workspace, STEPS[key], shard if STEPS[key].by == "shard" else None)

    def _scored(self, documents: Documents, progress: Progress) -> dict[str, pa.ChunkedArray]:
        """Score documents part by part, as many at a time as the graph does."""
        n = len(documents)
        if self.sampler.unseen is not None:
            returned = self.sampler.unseen(self._context_of(documents.shard), documents, progress)
            table = checked(self.sampler, returned, documents)
            return {name: table[name] for name in table.column_names}
        size = (self.sampler.part(self.state) if self.sampler.part else n) or 1
        parts = [
            score_table(
                self.sampler,
                self.state,
                documents.part(slice(start, min(start + size, n))),
                after(progress, start, n),
            )
            for start in range(0, max(n, 1), size)
        ]
        table = pa.concat_tables(parts)
        return {name: table[name] for name in ("score", *self.sampler.columns)}


class TextScorer(Scorer):
    """A sampler, loaded once, that scores texts in memory; see `Scorer`."""

    def __init__(self, profile: Profile, name: str, builders: Mapping[str, Builder]) -> None:
        super().__init__(profile, name, builders, **_TEXTS)

    def table(
        self, texts: Sequence[str], ids: Sequence[str] | None = None, progress: Progress = silent
    ) -> pa.Table:
        """Score texts: a row for each, in order, with its doc_id, score and what else the sampler says.

        Parameters
        ----------
        ids : what noise is drawn by beside the text (`random`, span corruption); without them the hash of the text, as in a corpus
            without ids.

        Raises
        ------
        ValueError
            A text can be no document: names its row, from 0, and why.
        """
        if isinstance(texts, str | bytes):
            raise TypeError("texts must be a sequence of strings, not one string")
        if ids is not None and len(ids) != len(texts):
            raise ValueError(f"{len(texts)} texts and {len(ids)} ids")
        clean = [text if defect(text) else normalize(text) for text in texts]
        keys = [*zip(clean, map(_own_id, clean) if ids is None else ids, strict=True)]
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        with self.workspace.store.temporary() as folder:
            path = folder / "texts.jsonl"
            rows = ({"text": text, "id": name} for text, name in numbers)
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
            (url,) = self.files(path)
            scores, quarantine = self.score_file(url, progress)
        if len(quarantine):
            self._refuse(quarantine.slice(0, 1).to_pylist()[0], [*numbers], keys)
        return scores.drop_columns(["source_row"]).take(pa.array([numbers[key] for key in keys], pa.int64()))

    def score(
        self, texts: Sequence[str], ids: Sequence[str] | None = None, progress: Progress = silent
    ) -> np.ndarray:
        """Score texts: float64 [n], higher is better; see `table`."""
        return cast(np.ndarray, self.table(texts, ids, progress)["score"].to_numpy())

    def _refuse(self, row: dict[str, Any], unique: list[Any], keys: list[Any]) -> None:
        at = keys.index(unique[row["row"] - 1])
        raise ValueError(f"the text in row {at} can be no document: {row['reason']}, {row['detail']}")


def _own_id(text: str) -> str:
    """Return the id that a document without one has: the hash of its text."""
    return text_digest(text.encode("utf-8", "replace").decode()).hex()


def scoring_sampler(name: str) -> Sampler:
    """Return a sampler that scores one document at a time; ValueError for another name, with what to ask instead."""
    if name not in SAMPLERS:
        raise ValueError(unknown_sampler(name))
    spec = SAMPLERS[name]
    if spec.hybrid:
        raise ValueError(
            f"{name} has no scores of its own: it draws by those of {spec.then}; score with that"
        )
    sampler = cast(Sampler, spec)
    if sampler.placed and sampler.unseen is None:
        raise ValueError(
            f"{name} scores a document by its place in the corpus, so one that is no part of it has no such score: add the file to the corpus"
        )
    return sampler
