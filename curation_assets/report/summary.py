"""The page's first screen: what was compared, and every sampler against random sampling at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from curation_assets.common.drawing.styles import FULL, RANDOM
from curation_assets.common.files import read_json
from curation_assets.config.registry import RATES, SAMPLERS, SIZES
from curation_assets.engine.artifacts import Artifacts
from curation_assets.report.advice import Seconds, advice
from curation_assets.report.comparison_view import budget
from curation_assets.report.figures import in_title, in_words
from curation_assets.report.page import Glance, Mark, Verdict

_KEY = "report/comparison"
_QUALITY, _COSTS = "report/quality", "report/tradeoff"
_TABLE, _RECIPE = "comparison.parquet", "recipe.json"
_AGAINST = "vs_random_"
_COARSE = 9.95  # percent or points: from here on, of a value or of what it reaches to either side, tenths mean nothing


def facts(workspace: Artifacts) -> list[tuple[str, str]]:
    """Return what was compared, [(word, sentence)], as the comparison has it; [] where that has not been made."""
    receipt = workspace.receipt(_KEY)
    if receipt is None:
        return []
    folder = workspace.open(_KEY)
    table, recipe = pl.read_parquet(folder / _TABLE), read_json(folder / _RECIPE)
    chosen = table.filter(pl.col("sampler") != FULL)
    cells = chosen.select("sampler", "rate", "size").n_unique()
    samplers, rates, sizes = (chosen[name].unique().to_list() for name in ("sampler", "rate", "size"))
    whole = len(samplers) * len(rates) * len(sizes)
    version = receipt.inputs.get("corpus/index", "")
    shown = {
        "Samplers": f"{len(samplers)} of {len(SAMPLERS)}{_lacking(samplers)}",
        "Rates": f"{', '.join(r for r in RATES if r in rates) or 'none'} % of the {recipe.get('rate_of', 'documents')}",
        "Kept": _kept(chosen),
        "Models": f"T5 {', '.join(s for s in SIZES if s in sizes) or 'none'}{_ladder(table)}",
        "Seeds": f"{_span(chosen['seeds'].to_list())} of training for each of {cells:,} runs"
        + ("" if cells == whole else f"; {whole - cells:,} combinations have not been run"),
        "Training": budget(table, recipe),
        "Corpus": f"version {version or 'unknown'}{_seen_by_full_data(table)}",
        "No documents": _quarantined(workspace),
        "Profile": workspace.profile.name,
    }
    return list(shown.items())


def _kept(chosen: pl.DataFrame) -> str:
    """Tell how many documents and tokens the samplers keep at each rate."""
    known = chosen.drop_nulls(["documents", "tokens"])
    said = [
        f"{_span(part['documents'].to_list())} documents, {_span(part['tokens'].to_list())} tokens at {rate} %"
        for (rate,), part in known.group_by("rate", maintain_order=True)
    ]
    return "; ".join(said) or "not known"


def to_use(workspace: Artifacts) -> list[str]:
    """Return what to use, in sentences, as the report on quality and that on costs have it; [] without the first."""
    if workspace.receipt(_QUALITY) is None:
        return []
    spent: Seconds = {}
    if workspace.receipt(_COSTS) is not None:
        costs = pl.read_parquet(workspace.open(_COSTS) / "tradeoff.parquet")
        both = pl.col("scoring_seconds") + pl.col("preparing_seconds")
        spent = {row[:3]: row[3] for row in costs.select("sampler", "rate", "size", both).rows()}
    return advice(pl.read_parquet(workspace.open(_QUALITY) / "quality.parquet"), spent)


def _lacking(samplers: list[str]) -> str:
    lacking = [name for name in SAMPLERS if name not in samplers]
    return f"; without {', '.join(lacking)}" if 0 < len(lacking) <= len(SAMPLERS) // 2 else ""


def _ladder(table: pl.DataFrame) -> str:
    full = table.filter(pl.col("sampler") == FULL)["size"].to_list()
    return f"; trained on everything: {', '.join(s for s in SIZES if s in full)}" if full else ""


def _seen_by_full_data(table: pl.DataFrame) -> str:
    """Tell what the models on all data were trained on, which is the corpus as it was then."""
    known = table.filter(pl.col("sampler") == FULL).drop_nulls(["documents", "tokens"])
    said = {
        f"{row['documents']:,} documents, {row['tokens']:,} tokens" for row in known.iter_rows(named=True)
    }
    return "".join(f"; models on all data were trained on {each}" for each in sorted(said))


def _quarantined(workspace: Artifacts) -> str:
    """Tell how many rows of the corpus are in quarantine, by reason."""
    index = workspace.receipt("corpus/index")
    if index is None:
        return "not known"
    reasons = sorted(index.metadata["reasons"].items(), key=lambda reason: (-reason[1], reason[0]))
    told = ", ".join(f"{number:,} {reason.replace('_', ' ')}" for reason, number in reasons)
    return f"{sum(n for _, n in reasons):,} of {index.metadata['rows']:,} rows are in quarantine{': ' + told if told else ''}"


def _span(counts: list[int]) -> str:
    if not counts:
        return "none"
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def glances(workspace: Artifacts) -> list[Glance]:
    """Return the comparison's tables at a glance, perplexity first; [] where it has not been made."""
    if workspace.receipt(_KEY) is None:
        return []
    table = pl.read_parquet(workspace.open(_KEY) / _TABLE)
    return glances_of(table)


def glances_of(table: pl.DataFrame) -> list[Glance]:
    """Return one table for each score, columns by size and rate; all scores in one where there is one size and rate.

    A run that is not in `table` is "missing", and one without a test (a single seed) "unknown": neither is zero. Samplers
    without any run are named in the note.
    """
    groups = [name.removeprefix(_AGAINST) for name in table.columns if name.startswith(_AGAINST)]
    groups = [g for g in groups if not g.endswith(("_low", "_high"))]
    runs = {
        (r["sampler"], r["rate"], r["size"]): r for r in table.iter_rows(named=True) if r["sampler"] != FULL
    }
    present = {run[1:] for run in runs}
    cells = [(rate, size) for size in SIZES for rate in RATES if (rate, size) in present]
    others = [name for name in SAMPLERS if name != RANDOM]
    names = [name for name in others if any(run[0] == name for run in runs)]
    if not cells or not groups:
        return []
    absent = ", ".join(name for name in others if name not in names)
    unmeasured = f" Not measured: {absent}." if absent else ""

    tenths = {
        (group, *cell): not any(_coarse(_difference(runs, name, group, *cell)) for name in names)
        for group in groups
        for cell in cells
    }

    def marks(name: str, columns: list[tuple[str, str, str]]) -> list[Mark]:
        return [_mark(runs, name, *column, places=int(tenths[column])) for column in columns]

    def one(
        title: str, spans: list[tuple[str, int]], heads: list[str], columns: list[tuple[str, str, str]]
    ) -> Glance:
        rows = {name: marks(name, columns) for name in names}
        return Glance(title, spans, heads, rows, _note(columns, table) + unmeasured)

    if len(cells) == 1:
        [(rate, size)] = cells
        columns = [(group, rate, size) for group in groups]
        title = "Each sampler against random sampling"
        return [one(title, [(f"{rate} %, {size} T5", len(groups))], [_head(g) for g in groups], columns)]
    spans = [
        (f"{size} T5", sum(s == size for _, s in cells)) for size in SIZES if any(s == size for _, s in cells)
    ]
    return [
        one(
            f"{in_title(in_words(group))} against random sampling",
            spans,
            [f"{rate} %" for rate, _ in cells],
            [(group, rate, size) for rate, size in cells],
        )
        for group in groups
    ]


Runs = Mapping[tuple[str, str, str], Mapping[str, Any]]


def _difference(runs: Runs, name: str, group: str, rate: str, size: str) -> tuple[float, float] | None:
    """Return the difference to random in percent or points, and what its interval reaches to either side, 0 without one."""
    run, reference = runs.get((name, rate, size)), runs.get((RANDOM, rate, size))
    difference = run[f"{_AGAINST}{group}"] if run else None
    if run is None or reference is None or difference is None:
        return None
    scale = 100 / reference[group] if _lower_is_better(group) else 1.0
    low, high = (run.get(f"{_AGAINST}{group}_{end}") for end in ("low", "high"))
    return difference * scale, 0.0 if low is None or high is None else (high - low) / 2 * scale


def _coarse(found: tuple[float, float] | None) -> bool:
    """Tell whether tenths of a difference mean nothing."""
    return found is not None and max(abs(found[0]), found[1]) >= _COARSE


def _mark(runs: Runs, name: str, group: str, rate: str, size: str, *, places: int) -> Mark:
    found = _difference(runs, name, group, rate, size)
    if found is None:
        return Mark("", "missing")
    beyond = runs[name, rate, size][f"beyond_noise_{group}"]
    verdict: Verdict = "unknown" if beyond is None else "noise"
    if beyond:
        verdict = "better" if (found[0] > 0) != _lower_is_better(group) else "worse"
    shown = f"{round(found[0], places) + 0.0:+.{places}f}"
    return Mark(shown.replace("-", "−"), verdict, (f"{name}/metrics", f"{rate}|{size}"))


def _lower_is_better(group: str) -> bool:
    return group.startswith("perplexity")


def _head(group: str) -> str:
    return f"{in_words(group)} {'(%)' if _lower_is_better(group) else '(points)'}"


def _note(columns: list[tuple[str, str, str]], table: pl.DataFrame) -> str:
    lower = {_lower_is_better(group) for group, _, _ in columns}
    parts = []
    if True in lower:
        parts.append("of perplexity in percent of random sampling's (less is better)")
    if False in lower:
        parts.append("of averages in points (more is better)")
    seeds = max(table["seeds"].to_list(), default=0)
    means = ", means over seeds" if seeds > 1 else ", of one seed"
    return f"Differences to random sampling of the same rate and size{means}: {', '.join(parts)}."
