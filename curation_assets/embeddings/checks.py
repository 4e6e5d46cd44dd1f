"""Checks of how much text the models do not read: tokens that are unknown to them, and what no window holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from curation_assets.corpus.names import decoded, visible
from curation_assets.engine.check_result import Outcome, made
from curation_assets.engine.workspace import Workspace

_UNKNOWN = 0.05  # of a shard
_CUT = 0.5  # of the documents
_SHARDS_SHOWN = 10
_VOCABULARY = {"corpus/embeddings": "embeddings.model", "corpus/tokens": "the tokenizer"}


def unknown_tokens(key: str, workspace: Workspace) -> Outcome:
    """At most 5 % of a shard's tokens are unknown, and of its documents too unknown to be embedded (a warning)."""
    shares = {}
    for shard in made(workspace, key, workspace.shards()):
        about = workspace.metadata(key, shard)
        documents = about.get("unreadable_documents", 0) / max(about["documents"], 1)
        shares[shard] = max(about.get("unknown_share", 0.0), documents)
    above = sorted((shard for shard in shares if shares[shard] > _UNKNOWN), key=lambda s: -shares[s])
    summary = f"at most {max(shares.values(), default=0):.1%} of a shard is unknown to {_VOCABULARY[key]}"
    if above:
        worst = visible(decoded(above[0]))
        summary = f"{len(above):,} of {len(shares):,} shards are in good part unknown to {_VOCABULARY[key]}: {worst} {shares[above[0]]:.0%}"
    return Outcome(not above, summary, {"unknown": {s: shares[s] for s in above[:_SHARDS_SHOWN]}}, warns=True)


def cut_documents(workspace: Workspace) -> Outcome:
    """At least half of the documents are embedded by at least half of their tokens (a warning)."""
    key, totals = "corpus/embeddings", Counter[str]()
    names = ("documents", "cut_documents", "mostly_cut_documents")
    for shard in made(workspace, key, workspace.shards()):
        about = workspace.metadata(key, shard)
        totals.update({name: about.get(name, 0) for name in names})
    documents, cut, mostly = (totals[name] for name in names)
    summary = f"{cut:,} of {documents:,} documents are embedded in part, {mostly:,} of them by less than half of their tokens"
    if mostly > _CUT * documents:
        summary += f" (embeddings.windows = {workspace.profile.embeddings.windows})"
    return Outcome(mostly <= _CUT * documents, summary, dict(totals), warns=True)


def unread_text(workspace: Workspace) -> Iterator[tuple[str, Outcome]]:
    """Yield what the checks say of text that models do not read; they look at metadata alone."""
    yield "corpus/tokens", unknown_tokens("corpus/tokens", workspace)
    yield "corpus/embeddings", unknown_tokens("corpus/embeddings", workspace)
    yield "corpus/embeddings", cut_documents(workspace)
