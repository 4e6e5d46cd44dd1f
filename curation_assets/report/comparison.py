"""The comparison of samplers: one row for each sampler, rate and size that has been evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from curation_assets.common.files import read_json, write_json
from curation_assets.common.markdown import markdown_table, p_value, plus_minus, rounded, text_table, within
from curation_assets.config.registry import SIZES
from curation_assets.report.figures import FULL, RANDOM, Figures, in_words
from curation_assets.report.scores import EPOCH, SETS

COLUMNS = ["sampler", "rate", "size", "seeds", "documents", "tokens", "tokens_seen", "epochs"]
_KEYS = ["sampler", "rate", "size"]
_ON_A_SCREEN = 3  # suites in the terminal's table
_NOT_ON_A_SCREEN = ("documents", "tokens", "effective size", "mean rank")
_NOT_MEASURED = "not measured"
_EQUAL = 0.01  # share by which counts may differ and still be called equal


def compare(metrics: pl.DataFrame, trained: pl.DataFrame, order: list[str]) -> pl.DataFrame:
    """Join final metrics with what the models were trained on, and rank nothing: rows come in the registry's order.

    Parameters
    ----------
    metrics : the long table (design: sampler, rate, size, seed, tokens_seen, suite, task, metric, value, n).
    trained : as `inputs.read_trained` gives it.
    order : sampler names, the full-data baseline first.

    Returns
    -------
    One row for each (sampler, rate, size): the mean over seeds of each set's final perplexity and, where there are at
    least two seeds, the sample standard deviation over them (`..._sd`).
    """
    final = metrics.filter(
        (pl.col("metric") == "perplexity")
        & (pl.col("tokens_seen") == pl.col("tokens_seen").max().over("sampler", "rate", "size", "seed"))
    )
    table = final.group_by(_KEYS).agg(pl.col("seed").n_unique().alias("seeds"), pl.col("tokens_seen").max())
    for task, column in SETS.items():
        one = final.filter(pl.col("task") == task).group_by(_KEYS)
        spread = one.agg(pl.col("value").mean().alias(column), pl.col("value").std().alias(f"{column}_sd"))
        table = table.join(spread, on=_KEYS, how="left")
    table = table.join(trained, on=_KEYS, how="left")
    rank = {name: i for i, name in enumerate(order)}
    sizes = {size: i for i, size in enumerate(SIZES)}
    return (
        table.with_columns((pl.col("tokens_seen") / EPOCH).alias("epochs"))
        .with_columns(pl.col("sampler").replace_strict(rank, default=len(rank)).alias("_rank"))
        .sort(
            "_rank", pl.col("rate").cast(pl.Int32), pl.col("size").replace_strict(sizes, default=len(sizes))
        )
        .select(*COLUMNS, *(c for column in SETS.values() for c in (column, f"{column}_sd")))
    )


def with_figures(table: pl.DataFrame, figures: Figures) -> pl.DataFrame:
    """Return the comparison with the columns of the figures of merit."""
    return table.join(figures.columns, on=_KEYS, how="left", maintain_order="left")


def rows_for_people(
    table: pl.DataFrame, suites: list[str] | None = None, chance: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """Return the comparison's rows with "mean ± spread", columns named in words.

    `suites` are columns of averages, `chance` what knowing nothing scores in some of them, which stands in their headings.
    """
    shown = []
    for row in table.iter_rows(named=True):
        cells = {
            "sampler": row["sampler"],
            "rate %": row["rate"],
            "T5": row["size"],
            "documents": row["documents"],
            "tokens": row["tokens"],
            "epochs": f"{row['epochs']:.2f}" if row["epochs"] is not None else None,
        }
        for column, title in (("perplexity", "perplexity"), ("perplexity_hq", "HQ perplexity")):
            cells[title] = plus_minus(row[column], row[f"{column}_sd"]) or _NOT_MEASURED
        for suite in suites or []:
            cells[_heading(suite, chance)] = plus_minus(row[suite], row[f"{suite}_sd"]) or _NOT_MEASURED
        if "over_scaling" in row:
            cells["over-scaling %"] = _over_scaling(row)
            cells["effective size"] = _effective_size(row)
            cells["mean rank"] = _mean_rank(row)
            cells["against random"] = _against_random(row, table)
        shown.append(cells)
    return shown


def _heading(suite: str, chance: Mapping[str, float] | None) -> str:
    known = (chance or {}).get(suite)
    return f"{suite} %" if known is None else f"{suite} % (chance {rounded(known)})"


def _mean_rank(row: dict[str, Any]) -> str | None:
    """Return the mean rank; none for one seed, whose ranks are those of its noise."""
    mean = row.get("mean_rank")
    return None if mean is None or row["seeds"] < 2 else f"{mean:.1f}"


def _over_scaling(row: dict[str, Any]) -> str | None:
    if row["over_scaling"] is None:
        return None
    return within(row["over_scaling"], row["over_scaling_low"], row["over_scaling_high"], signed=True)


def _effective_size(row: dict[str, Any]) -> str | None:
    if row["effective_size"] is None:
        return None
    ends = [row["effective_size_low"], row["effective_size_high"]]
    low, high = (_size(row, f"effective_size_{end}") for end in ("low", "high"))
    return _size(row, "effective_size") + ("" if None in ends else f" [{low}, {high}]")


def _size(row: dict[str, Any], name: str) -> str:
    return "" if row[name] is None else f"{row[f'{name}_bound']}{parameters(row[name])}"


def parameters(count: float) -> str:
    """Return a parameter count as people write it: 713M, 1.5B."""
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{float(f'{count / unit:.3g}'):g}{name}"
    return f"{count:.0f}"


def _against_random(row: dict[str, Any], table: pl.DataFrame) -> str | None:
    if row["sampler"] in (FULL, RANDOM):
        return None
    told = {
        column.removeprefix("beyond_noise_"): row[column]
        for column in table.columns
        if column.startswith("beyond_noise_") and row[f"vs_random_{column[13:]}"] is not None
    }
    if not told:
        return _NOT_MEASURED
    if all(beyond is None for beyond in told.values()):
        return "one seed" if row["seeds"] < 2 else "no spread"
    found = []
    for group, beyond in told.items():
        if beyond:
            better = (row[f"vs_random_{group}"] > 0) != group.startswith("perplexity")
            found.append(f"{'better' if better else 'worse'}: {in_words(group)}")
    return ", ".join(found) or "within noise"


def how_to_read(table: pl.DataFrame, recipe: dict[str, Any]) -> str:
    """Return the sentences under the table: what was held equal, and what the figures can and cannot tell."""
    sets = (("perplexity", "held-out documents of the corpus"), ("perplexity_hq", "high-quality texts"))
    on = " and on ".join(words for column, words in sets if table[column].is_not_null().any())
    said = [f"Span-corruption perplexity (lower is better) on {on}."] if on else []
    said += [budget(table, recipe), _noise(table["seeds"].to_list())]
    return " ".join(
        [
            *said,
            *_chance(recipe),
            *tokens_kept(table, recipe.get("rate_of", "documents")),
            *recipe.get("verdicts", []),
            *recipe.get("gaps", []),
        ]
    )


def _chance(recipe: dict[str, Any]) -> list[str]:
    told = [f"{rounded(value)} in {suite}" for suite, value in recipe.get("chance", {}).items()]
    return [f"Knowing nothing scores {', '.join(told)}."] if told else []


def _noise(seeds: list[int]) -> str:
    low, high = min(seeds, default=0), max(seeds, default=0)
    if high < 2:
        return (
            "One seed: differences between samplers cannot be told from the noise of training; set `pretraining.seeds` to "
            "several for a spread."
        )
    over = f"{high}" if max(low, 2) == high else f"{max(low, 2)} to {high}"
    some = "" if low > 1 else " (none for one seed)"
    return f"± is the standard deviation over {over} seeds of training{some}; it is no confidence interval."


def budget(table: pl.DataFrame, recipe: dict[str, Any]) -> str:
    """Tell how many tokens the runs saw, whether that is the same for all, and whether subsets are repeated in it."""
    seen = sorted(set(table["tokens_seen"].drop_nulls().to_list()))
    if len(seen) > 1:
        return f"Runs saw {seen[0]:,} to {seen[-1]:,} raw tokens: they are not compared at equal compute."
    steps = f" ({recipe['steps']:,} steps of {recipe['batch_size']:,} x {recipe['raw_length']:,})"
    same = seen == [recipe["tokens"]]
    every = f"Every run sees {seen[0] if seen else recipe['tokens']:,} raw tokens{steps if same or not seen else ''}"
    how_often = repetition(table)
    return f"{every}: {how_often}." if how_often else f"{every}."


def repetition(table: pl.DataFrame) -> str:
    """Tell whether the samplers' runs repeat their subsets, and how often; "" where that is not known."""
    passes = table.filter((pl.col("sampler") != FULL) & pl.col("epochs").is_not_null())["epochs"].to_list()
    if not passes:
        return ""
    low, high = min(passes), max(passes)
    alike = f"{low:.2f}" == f"{high:.2f}"
    if high <= 1:
        share = f"{low:.0%}" if alike else f"{low:.0%} to {high:.0%}"
        return f"that is {share} of its subset, and nothing is repeated"
    if alike:
        return f"every subset is seen {low:.2f} times"
    if low >= 1:
        return f"subsets are seen {low:.2f} to {high:.2f} times, the smaller ones more often"
    return f"the smallest subset is seen {high:.2f} times, the largest not whole ({low:.0%} of it)"


def tokens_kept(table: pl.DataFrame, rate_of: str = "documents") -> list[str]:
    """Tell at which rates the samplers' subsets differ in tokens although not in documents, or the other way round."""
    subsets = table.filter((pl.col("sampler") != FULL) & pl.col("tokens").is_not_null())
    said, unequal = [], False
    for (rate,), part in subsets.group_by("rate", maintain_order=True):
        documents, tokens = (part[name].to_list() for name in ("documents", "tokens"))
        if _differs(documents) or _differs(tokens):
            said.append(f"at {rate} % {_span(documents)} documents with {_span(tokens)} tokens")
            unequal = unequal or (rate_of == "documents" and _differs(tokens))
    hint = ' (selection.rate_of = "tokens" compares at equally many tokens)' if unequal else ""
    return [f"Samplers keep {'; '.join(said)}{hint}."] if said else []


def _differs(counts: list[int]) -> bool:
    return max(counts) - min(counts) > _EQUAL * max(counts)


def _span(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,} to {high:,}" if _differs(counts) else f"{high:,}" if low == high else f"about {high:,}"


METHOD = """\
**Suites** are averages over their tasks, in percent, of each task's metric of record; stand-ins for a missing official split \
are never part of them, and a run that lacks one of the tasks has no average.

**Over-scaling** (v1, table 1) is the mean over metrics of 100 (sampled - full data) / (next larger model on full data - full \
data): 0 is as good as the same model on everything, 100 as the next larger one. A metric counts only where the next larger \
model is really better, by more than 1 % of the value and by more than twice the standard error over seeds. The brackets are \
a 95 % Student t interval over seeds, with the noise of the larger model in it; there is none for one seed.

**Effective size** (ICLR version) is the number of parameters at which training on everything reaches the same score, read off \
the ladder: straight lines over the logarithm of the size, a rung that is no better than the one below it pooled with it. Beyond \
the ladder it is only known as < or >. The score is the mean over metrics, each scaled from the smallest to the largest rung; the \
brackets are its 95 % interval over seeds, taken through the ladder as measured.

**Mean rank** is among the samplers of the same rate and size, 1 for the best, over the metrics that they all have; it knows \
nothing of noise, and is not shown for one seed.

**Against random** compares with random sampling of the same rate and size, seed by seed: a difference counts as beyond the noise \
where Student's t test, adjusted for the number of samplers by Holm's method, has p below 5 %. Several scores, rates and sizes \
are so many tables, and are not adjusted for. The noise is that of training (initial weights, masks, order of documents), \
not of another corpus or another evaluation set.\
"""


def write(
    folder: Path, table: pl.DataFrame, recipe: dict[str, Any], figures: Figures | None = None
) -> dict[str, str]:
    """Write the comparison's files to `folder`; return the Markdown by name, the table itself as "comparison".

    comparison.parquet, .csv and .md; with figures also over_scaling.parquet (by metric) and differences.parquet.
    """
    table.write_parquet(folder / "comparison.parquet")
    table.write_csv(folder / "comparison.csv")
    shown = rows_for_people(table, recipe.get("suites"), recipe.get("chance"))
    parts = {"comparison": f"{markdown_table(shown)}\n\n{how_to_read(table, recipe)}\n"}
    if figures is not None:
        figures.by_metric.write_parquet(folder / "over_scaling.parquet")
        figures.differences.write_parquet(folder / "differences.parquet")
        parts["how_to_read"] = METHOD
        parts["differences_to_random"] = markdown_table(difference_rows(figures.differences))
        if figures.left_out:
            parts["metrics_that_do_not_count"] = markdown_table(figures.left_out)
    text = "\n\n".join(
        f"## {name.replace('_', ' ').capitalize()}\n\n{part}" if name != "comparison" else part
        for name, part in parts.items()
    )
    (folder / "comparison.md").write_text(f"# Comparison of samplers\n\n{text}\n", "utf-8")
    write_json(folder / "recipe.json", recipe)
    return parts


def difference_rows(differences: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the differences to random sampling with columns named in words."""
    return [
        {
            "rate %": row["rate"],
            "T5": row["size"],
            "score": in_words(row["score"]),
            "sampler": row["sampler"],
            "difference [95 % over seeds]": within(row["difference"], row["low"], row["high"], signed=True),
            "seeds": row["seeds"],
            "p (Holm)": None if row["p_adjusted"] is None else p_value(row["p_adjusted"]),
            "verdict": row["verdict"],
        }
        for row in differences.sort("size", "rate", "score", maintain_order=True).iter_rows(named=True)
    ]


def terminal_table(folder: Path) -> str:
    """Return the comparison in `folder` for a terminal."""
    table = pl.read_parquet(folder / "comparison.parquet")
    recipe = read_json(folder / "recipe.json")
    suites = recipe.get("suites", [])[:_ON_A_SCREEN]
    rows = rows_for_people(table, suites)
    columns = [name for name in (rows[0] if rows else {}) if name not in _NOT_ON_A_SCREEN]
    return f"{text_table(rows, columns)}\n\n{how_to_read(table, recipe)}"
