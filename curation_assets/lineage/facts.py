"""What a line of text says of an artifact's metadata: a few figures, and for many artifacts their sums."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_SHOWN: dict[str, tuple[str, ...]] = {
    "metrics": ("perplexity_in_distribution", "perplexity_hq", "tokens_seen"),
    "checkpoint": ("documents", "base", "tau", "tokens_seen", "epochs", "seeds", "parameters", "loss"),
    "subset": (
        "technique",
        "documents",
        "candidates",
        "rate_realised",
        "tokens",
        "token_rate_realised",
        "threshold",
    ),
    "model": ("source", "digest", "parameters", "bytes"),
    "teacher": ("source", "digest", "parameters", "bytes"),
    "scores": ("documents", "min", "mean", "max"),
    "source": ("url", "hq_url", "shards", "bytes"),
    "shards": ("url", "bytes", "sha256"),
    "documents": ("documents", "validation", "quarantined"),
    "embeddings": ("documents", "dimensions", "model", "weights_digest"),
    "index": ("documents", "shards", "tokens", "repeated_in_later_shards"),
}
"""By the last part of the asset key; of others, all that is a number, a text or a yes or no."""

_SUMMED = ("documents", "validation", "quarantined", "tokens", "bytes", "rows", "characters")
_EXTREMES = {"min": min, "max": max}
_DIGEST = 40  # hexadecimal digits that make a text a digest, of which the first 12 are shown


def facts(key: str, metadata: dict[str, Any]) -> str:
    """Return the figures of one artifact as text: "documents 52, min 0.0041, ..."."""
    names = _SHOWN.get(key.rpartition("/")[2], tuple(metadata))
    return _joined({name: metadata[name] for name in names if name in metadata})


def facts_of_all(key: str, of_each: Iterable[dict[str, Any]]) -> str:
    """Return the figures of many artifacts as text: counts as sums, others where all have the same."""
    total: dict[str, Any] = {}
    names = _SHOWN.get(key.rpartition("/")[2])
    mixed: set[str] = set()
    for metadata in of_each:
        for name in metadata if names is None else names:
            if name not in metadata or name in mixed:
                continue
            value = metadata[name]
            if name not in total:
                total[name] = value
            elif name in _SUMMED:
                total[name] += value
            elif name in _EXTREMES:
                total[name] = _EXTREMES[name](total[name], value)
            elif total[name] != value:
                mixed.add(name)
    return _joined({name: value for name, value in total.items() if name not in mixed})


def _joined(values: dict[str, Any]) -> str:
    shown = {name: value for name, value in values.items() if isinstance(value, int | float | str)}
    return ", ".join(f"{name.replace('_', ' ')} {_text(value)}" for name, value in shown.items())


def _text(value: float | str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value[:12] if len(value) >= _DIGEST and set(value) <= set("0123456789abcdef") else value
