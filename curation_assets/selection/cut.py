"""Where a draw is cut: the threshold that keeps a share of the documents or of the tokens, or a number of either."""

from __future__ import annotations

from collections.abc import Callable

from curation_assets.selection.amount import Amount
from curation_assets.selection.candidates import Draw, count_tokens
from curation_assets.selection.select import kept_count
from curation_assets.selection.threshold import Threshold, global_threshold, token_threshold


def cut(draw: Draw, amount: Amount, n: int, each: Callable[[int], object] = lambda shards: None) -> Threshold:
    """Return the threshold that keeps `wanted` of a draw's `n` candidates.

    A rate is a share of what the profile's `selection.rate_of` says, documents or tokens. Of a budget of tokens the largest keys
    stay, up to the first document that no longer fits.

    Parameters
    ----------
    each
        Is called with the number of shards that a pass has read.

    Raises
    ------
    ValueError
        There are fewer documents than wanted, or as `global_threshold`.
    """
    if amount.kind == "tokens":
        return token_threshold(lambda: draw.weighted_blocks(each), n, int(amount.value))
    if amount.kind == "rate" and draw.workspace.profile.selection.rate_of == "tokens":
        budget = kept_count(amount.value, count_tokens(draw))
        return token_threshold(lambda: draw.weighted_blocks(each), n, budget)
    count = kept_count(amount.value, n) if amount.kind == "rate" else int(amount.value)
    if count > n:
        raise ValueError(f"cannot keep {amount}: there are {n:,}")
    return global_threshold(lambda: draw.blocks(each), n, count)
