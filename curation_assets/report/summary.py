"""The page's first screen: what was compared, and every sampler against random sampling at a glance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

import polars as pl

from curation_assets.common.drawing.styles import FULL, RANDOM
from curation_assets.common.files import read_json
from curation_assets.config.amount import by_kind, label, of_key, ordered
from curation_assets.config.registry import SAMPLERS, SIZES
from curation_assets.engine.artifacts import Artifacts
from curation_assets.engine.report_steps import REPORTS
from curation_assets.report.advice import Seconds, advice, untold
from curation_assets.report.comparison_view import budget
from curation_assets.report.figures import in_title, in_words
from curation_assets.report.page import Glance, Mark, Verdict
from curation_assets.report.scores import PERPLEXITY
from curation_assets.report.section import Section, groups, read_section

_KEY = "report/comparison"
_QUALITY, _COSTS = "report/quality", "report/tradeoff"
_TABLE, _RECIPE = "comparison.parquet", "recipe.json"
_COARSE = 9.95  # percent or points: from here on, of a value or of what it reaches to either side, tenths mean nothing
_VERDICTS: dict[str, Verdict] = {
    "better": "better",
    "worse": "worse",
    "within noise": "noise",
    "one seed": "unknown",
    "no spread": "unknown",
}


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
        "Amounts": _amounts(rates, recipe.get("rate_of", "documents")),
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


def _amounts(rates: list[str], rate_of: str) -> str:
    """Tell at which amounts there are runs, and what rates are shares of."""
    shares = [f"{label(*some)} of the {rate_of}" for some in by_kind(rates) if of_key(some[0]).kind == "rate"]
    budgets = [label(*some) for some in by_kind(rates) if of_key(some[0]).kind != "rate"]
    return ", ".join([*shares, *budgets]) or "none"


def _kept(chosen: pl.DataFrame) -> str:
    """Tell how many documents and tokens the samplers keep at each amount."""
    known = chosen.drop_nulls(["documents", "tokens"])
    parts = [
        f"{_span(part['documents'].to_list())} documents, {_span(part['tokens'].to_list())} tokens at {label(rate)}"
        for (rate,), part in known.group_by("rate", maintain_order=True)
    ]
    return "; ".join(parts) or "not known"


def to_use(workspace: Artifacts) -> tuple[list[str], list[str]]:
    """Return what to use, and where that cannot be told, in sentences, as the reports on quality and costs have it; [] without the first."""
    if workspace.receipt(_QUALITY) is None:
        return [], []
    spent: Seconds = {}
    if workspace.receipt(_COSTS) is not None:
        costs = pl.read_parquet(workspace.open(_COSTS) / "tradeoff.parquet")
        both = pl.col("scoring_seconds") + pl.col("preparing_seconds")
        spent = {row[:3]: row[3] for row in costs.select("sampler", "rate", "size", both).rows()}
    quality = pl.read_parquet(workspace.open(_QUALITY) / "quality.parquet")
    return advice(quality, spent), untold(quality)


def first_sentences(known: Sequence[str], sections: Iterable[Section], unknown: Sequence[str]) -> list[str]:
    """Return what a reader sees first: what to use, what each section has found, and only then what cannot be told."""
    headlines = [section.headline for section in sections if section.headline]
    return [*known[:1], *headlines, *unknown, *known[1:]]


def first_screen(workspace: Artifacts) -> list[str]:
    """Return the same of the reports as they are, for a terminal."""
    made = [key for name in REPORTS if workspace.receipt(key := f"report/{name}") is not None]
    known, unknown = to_use(workspace)
    return first_sentences(known, [read_section(workspace.open(key)) for key in made], unknown)


def _lacking(samplers: list[str]) -> str:
    lacking = [name for name in SAMPLERS if name not in samplers]
    return f"; without {', '.join(lacking)}" if 0 < len(lacking) <= len(SAMPLERS) // 2 else ""


def _ladder(table: pl.DataFrame) -> str:
    full = table.filter(pl.col("sampler") == FULL)["size"].to_list()
    return f"; trained on everything: {', '.join(s for s in SIZES if s in full)}" if full else ""


def _seen_by_full_data(table: pl.DataFrame) -> str:
    """Tell what the models on all data were trained on, which is the corpus as it was then."""
    known = table.filter(pl.col("sampler") == FULL).drop_nulls(["documents", "tokens"])
    seen = {
        f"{row['documents']:,} documents, {row['tokens']:,} tokens" for row in known.iter_rows(named=True)
    }
    return "".join(f"; models on all data were trained on {each}" for each in sorted(seen))


def _quarantined(workspace: Artifacts) -> str:
    """Tell how many rows of the corpus are in quarantine, by reason."""
    index = workspace.receipt("corpus/index")
    if index is None:
        return "not known"
    reasons = sorted(index.metadata["reasons"].items(), key=lambda reason: (-reason[1], reason[0]))
    parts = ", ".join(f"{number:,} {reason.replace('_', ' ')}" for reason, number in reasons)
    return f"{sum(n for _, n in reasons):,} of {index.metadata['rows']:,} rows are in quarantine{': ' + parts if parts else ''}"


def _span(counts: list[int]) -> str:
    if not counts:
        return "none"
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def glances(workspace: Artifacts) -> list[Glance]:
    """Return the comparison's tables at a glance, perplexity first; [] where it has not been made."""
    if workspace.receipt(_KEY) is None:
        return []
    folder = workspace.open(_KEY)
    return glances_of(*(pl.read_parquet(folder / name) for name in (_TABLE, "differences.parquet")))


def glances_of(runs: pl.DataFrame, differences: pl.DataFrame) -> list[Glance]:
    """Return one table for each score, columns by size and amount; all scores in one where there is one size and amount.

    A run without a difference is "missing", and one without a test (a single seed) "unknown": neither is zero. Samplers
    without any run are named in the note.
    """
    ours = runs.filter(pl.col("sampler") != FULL)
    present = set(ours.select("rate", "size").rows())
    cells = [
        (rate, size)
        for size in SIZES
        for rate in ordered(rate for rate, _ in present)
        if (rate, size) in present
    ]
    scores = differences["score"].unique(maintain_order=True).to_list()
    others = [name for name in SAMPLERS if name != RANDOM]
    absent = [name for name in others if name not in ours["sampler"]]
    reference = {
        (r["rate"], r["size"]): r for r in ours.filter(pl.col("sampler") == RANDOM).iter_rows(named=True)
    }
    marks = {
        (score, rate, size): _marks(part, reference[rate, size][score] if _is_perplexity(score) else 100.0)
        for (score, rate, size), part in groups(differences, "score", "rate", "size")
    }

    def glance(title: str, spans: list[tuple[str, int]], columns: dict[tuple[str, str, str], str]) -> Glance:
        rows = {
            name: [marks.get(column, {}).get(name, Mark("", "missing")) for column in columns]
            for name in others
            if name not in absent
        }
        note = _note([score for score, _, _ in columns], max(runs["seeds"].to_list(), default=0), absent)
        return Glance(title, spans, list(columns.values()), rows, note)

    if len(cells) == 1 and scores:
        [(rate, size)] = cells
        heads = {
            score: f"{in_words(score)} ({'%' if _is_perplexity(score) else 'points'})" for score in scores
        }
        columns = {(score, rate, size): head for score, head in heads.items()}
        return [
            glance(
                "Each sampler against random sampling", [(f"{label(rate)}, {size} T5", len(scores))], columns
            )
        ]
    spans = [(f"{size} T5", len(list(part))) for size, part in groupby(cells, lambda cell: cell[1])]
    return [
        glance(
            f"{in_title(in_words(score))} against random sampling",
            spans,
            {(score, rate, size): label(rate) for rate, size in cells},
        )
        for score in scores
    ]


def _is_perplexity(score: str) -> bool:
    """Tell whether less is better; averages are in points."""
    return score.startswith(PERPLEXITY)


def _marks(differences: pl.DataFrame, whole: float) -> dict[str, Mark]:
    """Return each sampler's difference in percent of `whole`: without tenths where they mean nothing for any of them."""
    rows = differences.with_columns(pl.col("difference", "low", "high") * 100 / whole)
    reach = ((pl.col("high") - pl.col("low")) / 2).fill_null(0.0)
    largest = rows.select(pl.max_horizontal(pl.col("difference").abs(), reach).max()).item()
    places = 0 if largest >= _COARSE else 1
    return {
        row["sampler"]: Mark(
            f"{round(row['difference'], places) + 0.0:+.{places}f}".replace("-", "−"),
            _VERDICTS[row["verdict"]],
            (f"{row['sampler']}/metrics", f"{row['rate']}|{row['size']}"),
        )
        for row in rows.iter_rows(named=True)
    }


def _note(scores: list[str], seeds: int, absent: list[str]) -> str:
    units = {
        "of perplexity in percent of random sampling's (less is better)": any(map(_is_perplexity, scores)),
        "of averages in points (more is better)": not all(map(_is_perplexity, scores)),
    }
    means = ", means over seeds" if seeds > 1 else ", of one seed"
    parts = ", ".join(unit for unit, used in units.items() if used)
    unmeasured = f" Not measured: {', '.join(absent)}." if absent else ""
    return f"Differences to random sampling of the same amount and size{means}: {parts}.{unmeasured}"
