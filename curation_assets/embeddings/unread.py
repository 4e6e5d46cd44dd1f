"""Checks of how much text the models do not read: tokens that are unknown to them, and what no window holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from curation_assets.outcome import Outcome, made
from curation_assets.workspace import Workspace

_UNKNOWN = 0.05  # of a shard
_CUT = 0.5  # of the documents
_SHARDS_SAID = 10
_VOCABULARY = {"corpus/embeddings": "embeddings.model", "corpus/tokens": "the tokenizer"}


def unknown_tokens(key: str, workspace: Workspace) -> Outcome:
    """At most 5 % of a shard's tokens are unknown, and of its documents too unknown to be embedded (a warning)."""
    shares = {}
    for shard in made(workspace, key, workspace.shards()):
        about = workspace.metadata(key, shard)
        documents = about.get("unreadable_documents", 0) / max(about["documents"], 1)
        shares[shard] = max(about.get("unknown_share", 0.0), documents)
    above = sorted((shard for shard in shares if shares[shard] > _UNKNOWN), key=lambda s: -shares[s])
    said = f"at most {max(shares.values(), default=0):.1%} of a shard is unknown to {_VOCABULARY[key]}"
    if above:
        said = f"{len(above):,} of {len(shares):,} shards are in good part unknown to {_VOCABULARY[key]}: {above[0]} {shares[above[0]]:.0%}"
    return Outcome(not above, said, {"unknown": {s: shares[s] for s in above[:_SHARDS_SAID]}}, warns=True)


def cut_documents(workspace: Workspace) -> Outcome:
    """At least half of the documents are embedded whole (a warning: others are compared by a part of their text)."""
    key, totals = "corpus/embeddings", Counter[str]()
    for shard in made(workspace, key, workspace.shards()):
        about = workspace.metadata(key, shard)
        totals.update({name: about.get(name, 0) for name in ("documents", "cut_documents", "tokens")})
        totals["cut_tokens"] += round(about.get("cut_share", 0.0) * about.get("tokens", 0))
    cut = totals["cut_documents"] / max(totals["documents"], 1)
    unseen = totals["cut_tokens"] / max(totals["tokens"], 1)
    windows = workspace.profile.embeddings.windows
    said = f"of {cut:.0%} of the documents a part is not embedded with embeddings.windows = {windows}: {unseen:.0%} of all tokens"
    return Outcome(cut <= _CUT, said, {"cut_documents": cut, "cut_share": unseen}, warns=True)


def unread_text(workspace: Workspace) -> Iterator[tuple[str, Outcome]]:
    """Yield what the checks say of text that models do not read; they look at metadata alone."""
    yield "corpus/tokens", unknown_tokens("corpus/tokens", workspace)
    yield "corpus/embeddings", unknown_tokens("corpus/embeddings", workspace)
    yield "corpus/embeddings", cut_documents(workspace)
