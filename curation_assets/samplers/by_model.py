"""Scores that a neural model gives: perplexity and Ask-LLM. The model is loaded once for all shards of a run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation_assets.common.batching import Flat
from curation_assets.common.files import read_rows, safe_name
from curation_assets.common.progress import Progress
from curation_assets.corpus.reading import open_documents, open_hashes
from curation_assets.corpus.tokens import read_tokens
from curation_assets.engine.context import Artifacts, Context
from curation_assets.engine.workspace import Builder, BuildOne, Metadata
from curation_assets.models.build import open_scorer
from curation_assets.models.encoding import document_encoder
from curation_assets.models.tokenizer import Tokenizer, load_tokenizer
from curation_assets.samplers.parts import in_parts, part_size

_TEXTS = 1_024  # encoded at a time: an encoding is many times as large as its ids


_Reader = Callable[[str], Callable[[slice], Flat]]
"""Gives, for a shard, a function that gives the token ids of a range of its documents."""


class _Likelihood(Protocol):
    def nll_flat(
        self,
        ids: NDArray[np.integer],
        offsets: NDArray[np.int64],
        doc_hash: NDArray[np.uint64],
        progress: Progress = ...,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]: ...


def perplexity_scores(sampler: str) -> Builder:
    """Return the builder of a perplexity sampler's scores: minus perplexity, and how many tokens it was taken over."""

    def load(workspace: Context) -> BuildOne:
        settings = workspace.profile.perplexity
        model, tokenizer = open_scorer(workspace, f"{sampler}/model")
        scorer = likelihood(workspace, model, tokenizer)
        read = _cached_ids(workspace) if same_pieces(workspace, tokenizer) else _own_ids(workspace, tokenizer)
        tokens = settings.window * (settings.max_windows or 4)
        size = part_size(_parameters(model), tokens, workspace.device)

        def build(shard: str, folder: Path, progress: Progress) -> Metadata:
            hashes = open_hashes(workspace, shard)
            ids_of = read(shard)

            def score(rows: slice, progress: Progress) -> pa.Table:
                nll, count = scorer.nll_flat(*ids_of(rows), hashes[rows], progress)
                return pa.table({"score": -np.exp(nll / count), "target_tokens": count.astype(np.int32)})

            table = in_parts(_home(workspace, sampler, shard), len(hashes), size, score, progress)
            return _write(workspace, shard, folder, table)

        return build

    return load


def likelihood(workspace: Artifacts, model: Any, tokenizer: Any) -> _Likelihood:
    """Return the perplexity scorer that suits the model: span corruption for a T5, next tokens for a decoder alone."""
    from curation_assets.scoring.perplexity import SpanPerplexity
    from curation_assets.scoring.token_perplexity import TokenPerplexity

    settings, execution = workspace.profile.perplexity, workspace.profile.execution
    common: dict[str, Any] = {
        "window": settings.window,
        "max_windows": settings.max_windows or None,
        "batch_tokens": settings.batch_tokens,
        "device": workspace.device,
        "dtype": execution.dtype,
    }
    if not model.config.is_encoder_decoder:
        return TokenPerplexity(model, tokenizer, **common)
    if not isinstance(tokenizer, Tokenizer):
        raise ValueError(f"a {model.config.model_type} has no span-corruption perplexity: it is no T5")
    return SpanPerplexity(
        model,
        eos=tokenizer.eos_id,
        first_sentinel=tokenizer.first_sentinel_id,
        seed=settings.seed,
        **common,
    )


def ask_llm_scores(sampler: str) -> Builder:
    """Return the builder of an Ask-LLM sampler's scores: log P(yes), tokens read, whether cut, and flags."""

    def load(workspace: Context) -> BuildOne:
        model, tokenizer = open_scorer(workspace, f"{sampler}/model")
        judge = ask_llm(workspace, model, tokenizer)
        read = _cached_ids(workspace) if same_pieces(workspace, tokenizer) else None
        size = part_size(_parameters(model), judge.max_tokens, workspace.device)

        def build(shard: str, folder: Path, progress: Progress) -> Metadata:
            documents = open_documents(workspace, shard)
            n = pq.ParquetFile(documents).metadata.num_rows
            ids_of = read(shard) if read else None

            def score(rows: slice, progress: Progress) -> pa.Table:
                texts = read_rows(documents, ["text"], rows)["text"].to_pylist()
                found = judge.score_table(texts, progress, tokens=ids_of(rows) if ids_of else None)
                return pa.table(vars(found))

            table = in_parts(_home(workspace, sampler, shard), n, size, score, progress)
            cut, flags = table["cut"].to_numpy(), table["flags"].to_numpy()
            about = _write(workspace, shard, folder, table)
            if len(table):
                about |= {"cut_share": float(cut.mean()), "flagged": int((flags > 0).sum())}
            return about

        return build

    return load


def ask_llm(workspace: Artifacts, model: Any, tokenizer: Any, max_tokens: int | None = None) -> Any:
    """Return an `AskLLM` with the profile's prompt; `max_tokens` is the profile's for the samplers unless given."""
    from curation_assets.scoring.ask_llm import AskLLM

    settings, execution = workspace.profile.ask_llm, workspace.profile.execution
    return AskLLM(
        model,
        tokenizer,
        template=settings.prompt,
        max_tokens=max_tokens or settings.max_tokens,
        batch_tokens=settings.batch_tokens or None,
        device=workspace.device,
        dtype=execution.dtype,
    )


def same_pieces(workspace: Artifacts, tokenizer: Any) -> bool:
    """Tell whether a model reads with the corpus's tokenizer, so that `corpus/tokens` holds what it reads."""
    if not isinstance(tokenizer, Tokenizer):
        return False
    return tokenizer.vocabulary() == load_tokenizer(workspace.open("corpus/tokenizer")).vocabulary()


def _cached_ids(workspace: Context) -> _Reader:
    """Read what `corpus/tokens` holds."""

    def of(shard: str) -> Callable[[slice], Flat]:
        ids, offsets = read_tokens(workspace.open("corpus/tokens", shard), "documents")
        return lambda rows: _cut_out(ids, offsets, rows)

    return of


def _own_ids(workspace: Context, tokenizer: Any) -> _Reader:
    """Read the documents with a model's own tokenizer."""
    encode = document_encoder(tokenizer)

    def of(shard: str) -> Callable[[slice], Flat]:
        documents = open_documents(workspace, shard)

        def read(rows: slice) -> Flat:
            texts = read_rows(documents, ["text"], rows)["text"].to_pylist()
            found = [ids for low in range(0, len(texts), _TEXTS) for ids in encode(texts[low : low + _TEXTS])]
            ends = np.cumsum([0, *map(len, found)], dtype=np.int64)
            return (np.concatenate(found) if found else np.zeros(0, np.int32)), ends

        return read

    return of


def _cut_out(ids: NDArray[np.integer], offsets: NDArray[np.int64], rows: slice) -> Flat:
    ends = np.asarray(offsets[rows.start : rows.stop + 1])
    return ids[ends[0] : ends[-1]], ends - ends[0]


def _write(workspace: Context, shard: str, folder: Path, table: pa.Table) -> Metadata:
    from curation_assets.samplers.build import write_scores

    more = {name: table[name] for name in table.column_names if name != "score"}
    return write_scores(workspace, shard, folder, table["score"].to_numpy(), **more)


def _home(workspace: Context, sampler: str, shard: str) -> Path:
    """Return where parts of a shard's scores wait; parts of other versions of it are removed."""
    version = workspace.recipe(shard)
    home = workspace.scratch / "scores" / sampler / safe_name(shard)
    for other in home.glob("*"):
        if other.name != version:
            shutil.rmtree(other, ignore_errors=True)
    return home / version


def _parameters(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
