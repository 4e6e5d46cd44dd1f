"""The comparison for people: who differs from random beyond the noise, in sentences, figures and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from curation_assets.common.drawing.charts import Dot, amount_curves, axis, forest, over_amounts
from curation_assets.common.drawing.styles import FULL, PANELS, RANDOM
from curation_assets.common.files import read_json
from curation_assets.common.markdown import p_value, plus_minus, rounded, text_table, within
from curation_assets.config.amount import by_kind, label, of_key, ordered
from curation_assets.config.registry import SAMPLERS
from curation_assets.report.comparison import place
from curation_assets.report.figures import Figures, in_title, in_words
from curation_assets.report.intervals import no_intervals
from curation_assets.report.scores import PERPLEXITY
from curation_assets.report.section import (
    Drawn,
    Figure,
    Section,
    at,
    figure_name,
    groups,
    kind_of,
    metrics_links,
    some,
    table,
)

_BEYOND = ("better", "worse")
_NAMED = 4  # in a sentence; more are counted
_ON_A_SCREEN = 3  # suites in the terminal's table
_NOT_ON_A_SCREEN = ("documents", "tokens", "effective size", "mean rank")
_NOT_MEASURED = "not measured"
_EQUAL = 0.01  # share by which counts may differ and still be called equal
_FIRST = ("sampler", "amount", "T5", "perplexity", "against random", "documents", "tokens")
_DIFFERENCE = "difference [95 % over seeds]"

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

**Mean rank** is among the samplers of the same amount and size, 1 for the best, over the metrics that they all have; it knows \
nothing of noise, and is not shown for one seed.

**Against random** compares with random sampling of the same amount and size, seed by seed: a difference counts as beyond the noise \
where Student's t test, adjusted for the number of samplers by Holm's method, has p below 5 %. Several scores, amounts and sizes \
are so many tables, and are not adjusted for. The noise is that of training (initial weights, masks, order of documents), \
not of another corpus or another evaluation set.\
"""


def section(runs: pl.DataFrame, merit: Figures, recipe: Mapping[str, Any]) -> Section:
    """Return the section of a comparison with its figures of merit; `recipe` is that of recipe.json."""
    rows = run_rows(runs, recipe["suites"], recipe["chance"])
    first = [*_FIRST, *(name for name in rows[0] if name not in _FIRST)]
    text = ("sampler", "T5", "against random")
    links = metrics_links(runs)
    tables = [table(rows, "All runs", "comparison.parquet", text=text, first=first, links=links)]
    if len(merit.differences):
        in_order = merit.differences.sort(
            "size", place("rate", ordered(merit.differences["rate"])), "score", maintain_order=True
        )
        first = ["sampler", "score", "amount", "T5", _DIFFERENCE, "verdict", "p (Holm)"]
        about: dict[str, Any] = {
            "text": ("T5", "score", "sampler", "verdict"),
            "links": metrics_links(in_order),
        }
        words = "Differences to random sampling"
        tables.append(table(difference_rows(in_order), words, "differences.parquet", first=first, **about))
    if merit.left_out:
        about = {"text": ("figure", "T5", "metric", "reason"), "first": ("metric", "reason", "figure")}
        tables.append(table(merit.left_out, "Metrics that do not count, and why", **about))
    beside = [
        words for name, words in ((RANDOM, "random sampling"), (FULL, "full data")) if name in runs["sampler"]
    ]
    with_them = f", side by side with {' and with '.join(beside)}" if beside else ""
    intro = f"Every sampler, amount and size that has been trained and evaluated{with_them}."
    method = f"{how_to_read(runs, recipe)}\n\n{METHOD}"
    sentences = findings(runs, merit.differences, recipe)
    return Section("Comparison of samplers", intro, sentences, tables=tables, method=method)


def terminal_table(folder: Path) -> str:
    """Return the comparison in `folder` for a terminal."""
    runs, differences = (
        pl.read_parquet(folder / f"{name}.parquet") for name in ("comparison", "differences")
    )
    recipe = read_json(folder / "recipe.json")
    rows = run_rows(runs, recipe["suites"][:_ON_A_SCREEN], {})
    columns = [name for name in (rows[0] if rows else {}) if name not in _NOT_ON_A_SCREEN]
    sentences = [how_to_read(runs, recipe), *findings(runs, differences, recipe)]
    return f"{text_table(rows, columns)}\n\n{' '.join(sentences)}"


def run_rows(runs: pl.DataFrame, suites: list[str], chance: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the comparison's rows with "mean ± spread", columns named in words.

    `suites` are columns of averages, `chance` what knowing nothing scores in some of them, which stands in their headings.
    """
    heads = {"perplexity": "perplexity", "perplexity_hq": "HQ perplexity"}
    for suite in suites:
        heads[suite] = f"{suite} %" + (f" (chance {rounded(chance[suite])})" if suite in chance else "")
    scores = [name.removeprefix("beyond_noise_") for name in runs.columns if name.startswith("beyond_noise_")]
    shown = []
    for row in runs.iter_rows(named=True):
        over = row.get("over_scaling")
        ends = (row.get("over_scaling_low"), row.get("over_scaling_high"))
        rank = row.get("mean_rank") if row["seeds"] > 1 else None  # ranks of one seed are those of its noise
        shown.append(
            {
                "sampler": row["sampler"],
                "amount": label(row["rate"]),
                "T5": row["size"],
                "documents": row["documents"],
                "tokens": row["tokens"],
                "epochs": None if row["epochs"] is None else f"{row['epochs']:.2f}",
                **{
                    head: plus_minus(row[name], row[f"{name}_sd"]) or _NOT_MEASURED
                    for name, head in heads.items()
                },
                "over-scaling %": None if over is None else within(over, *ends, signed=True),
                "effective size": _effective_size(row),
                "mean rank": None if rank is None else f"{rank:.1f}",
                "against random": _against_random(row, scores),
            }
        )
    return shown


def _effective_size(row: Mapping[str, Any]) -> str | None:
    size, low, high = (
        f"{row[f'{name}_bound']}{parameters(row[name])}" if row.get(name) is not None else None
        for name in ("effective_size", "effective_size_low", "effective_size_high")
    )
    return size if low is None or high is None else f"{size} [{low}, {high}]"


def parameters(count: float) -> str:
    """Return a parameter count as people write it: 713M, 1.5B."""
    for unit, name in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{float(f'{count / unit:.3g}'):g}{name}"
    return f"{count:.0f}"


def _against_random(row: Mapping[str, Any], scores: list[str]) -> str | None:
    """Return by which scores a run differs from random sampling beyond the noise."""
    if row["sampler"] in (FULL, RANDOM):
        return None
    beyond = {s: row[f"beyond_noise_{s}"] for s in scores if row[f"vs_random_{s}"] is not None}
    if not beyond:
        return _NOT_MEASURED
    if all(value is None for value in beyond.values()):
        return "one seed" if row["seeds"] < 2 else "no spread"
    parts = []
    for score in (score for score, value in beyond.items() if value):
        better = (row[f"vs_random_{score}"] > 0) != score.startswith(PERPLEXITY)
        parts.append(f"{'better' if better else 'worse'}: {in_words(score)}")
    return ", ".join(parts) or "within noise"


def difference_rows(differences: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the differences to random sampling with columns named in words."""
    return [
        {
            "amount": label(row["rate"]),
            "T5": row["size"],
            "score": in_words(row["score"]),
            "sampler": row["sampler"],
            _DIFFERENCE: within(row["difference"], row["low"], row["high"], signed=True),
            "seeds": row["seeds"],
            "p (Holm)": None if row["p_adjusted"] is None else p_value(row["p_adjusted"]),
            "verdict": row["verdict"],
        }
        for row in differences.iter_rows(named=True)
    ]


def how_to_read(runs: pl.DataFrame, recipe: Mapping[str, Any]) -> str:
    """Return the sentences under the table: what was held equal, and what the numbers can and cannot tell."""
    sets = (("perplexity", "held-out documents of the corpus"), ("perplexity_hq", "high-quality texts"))
    on = " and on ".join(words for column, words in sets if runs[column].is_not_null().any())
    sentences = [f"Span-corruption perplexity (lower is better) on {on}.", *_unseen(recipe)] if on else []
    fitted = [
        name for name, spec in SAMPLERS.items() if spec.reads_reference and name in runs["sampler"].unique()
    ]
    if fitted and runs["perplexity_hq"].is_not_null().any():
        sentences.append(
            f"{' and '.join(fitted)} {'is' if len(fitted) == 1 else 'are'} fitted to other texts of the place that the high-quality texts "
            "are from (unless `corpus.reference_url` names another), which favours them on these."
        )
    sentences += [budget(runs, recipe), _noise(runs["seeds"].to_list())]
    chance = [f"{rounded(value)} in {suite}" for suite, value in recipe["chance"].items()]
    sentences += [f"Knowing nothing scores {', '.join(chance)}."] if chance else []
    return " ".join(sentences)


def _unseen(recipe: Mapping[str, Any]) -> list[str]:
    window, trained = recipe.get("window", 0), recipe["raw_length"]  # comparisons made before have no window
    if window <= trained:
        return []
    return [
        f"Its windows of {window} tokens (`evaluation.window`) are longer than what the models are trained on, {trained}: "
        "positions and sentinels that they have not seen count as well."
    ]


def _noise(seeds: list[int]) -> str:
    low, high = min(seeds, default=0), max(seeds, default=0)
    if high < 2:
        return (
            "One seed: differences between samplers cannot be told from the noise of training; set `pretraining.seeds` to "
            "several for a spread."
        )
    over = f"{high}" if max(low, 2) == high else f"{max(low, 2)} to {high}"
    lone = "" if low > 1 else " (none for one seed)"
    return f"± is the standard deviation over {over} seeds of training{lone}; it is no confidence interval."


def budget(runs: pl.DataFrame, recipe: Mapping[str, Any]) -> str:
    """Tell how many tokens the runs saw, whether that is the same for all, and whether subsets are repeated in it."""
    seen = sorted(set(runs["tokens_seen"].drop_nulls().to_list()))
    if len(seen) > 1:
        return f"Runs saw {seen[0]:,} to {seen[-1]:,} raw tokens: they are not compared at equal compute."
    steps = f" ({recipe['steps']:,} steps of {recipe['batch_size']:,} x {recipe['raw_length']:,})"
    same = seen in ([], [recipe["tokens"]])
    every = f"Every run sees {seen[0] if seen else recipe['tokens']:,} raw tokens{steps if same else ''}"
    how_often = repetition(runs)
    return f"{every}: {how_often}." if how_often else f"{every}."


def repetition(runs: pl.DataFrame) -> str:
    """Tell whether the samplers' runs repeat their subsets, and how often; "" where that is not known."""
    passes = runs.filter(pl.col("sampler") != FULL)["epochs"].drop_nulls().to_list()
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


def findings(runs: pl.DataFrame, differences: pl.DataFrame, recipe: Mapping[str, Any]) -> list[str]:
    """Return sentences: each difference to random that is beyond the noise, with interval and p; what is not; what is missing."""
    tested = differences.filter(pl.col("p_adjusted").is_not_null())
    sentences: list[str] = []
    quiet: dict[tuple[str, str], list[str]] = {}
    for (rate, size, score), part in groups(tested, "rate", "size", "score"):
        if part["verdict"].is_in(_BEYOND).any():
            sentences.append(_beyond(f"{at(rate, size)} by {in_words(score)}", part))
        else:
            quiet.setdefault((rate, size), []).append(in_words(score))
    cells, compared, decided = (
        frame.select("rate", "size").unique(maintain_order=True).rows()
        for frame in (runs.filter(pl.col("sampler") != FULL), differences, tested)
    )
    silent = [at(*cell) for cell in compared if cell not in decided]
    sentences += _none(quiet)
    if silent:
        sentences.append(
            f"One seed, or no spread over seeds, cannot tell any sampler from random: at {'; '.join(silent)}."
        )
    for rate, size in (cell for cell in cells if cell not in compared):
        own = runs.filter((pl.col("rate") == rate) & (pl.col("size") == size))
        lacking = "another sampler" if RANDOM in own["sampler"] else RANDOM
        sentences.append(f"At {at(rate, size)} there is no run of {lacking} to compare with.")
    return [*sentences, *tokens_kept(runs, recipe["rate_of"]), *_gaps(**recipe["gaps"])]


def _none(quiet: Mapping[tuple[str, str], list[str]]) -> list[str]:
    """Tell where no sampler differs from random, {(rate, size): scores}: what holds of several amounts once."""
    where: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (rate, size), scores in quiet.items():
        where.setdefault((size, tuple(scores)), []).append(rate)
    parts = [
        f"at {label(*rates, joint=' and ')} with the {size} T5 by {', '.join(scores)}"
        for (size, scores), rates in where.items()
    ]
    start = "No sampler differs from random beyond the noise of training"
    return [f"{start}: {'; '.join(parts)}."] if parts else []


def _beyond(where: str, tested: pl.DataFrame) -> str:
    parts = []
    for verdict in _BEYOND:
        rows = tested.filter(pl.col("verdict") == verdict).sort(pl.col("difference").abs(), descending=True)
        names = [
            f"{r['sampler']} ({within(r['difference'], r['low'], r['high'], signed=True)}, p {_equals(r['p_adjusted'])})"
            for r in rows.iter_rows(named=True)
        ]
        parts += [f"{verdict} than random: {some(names, _NAMED)}"] if names else []
    rest = len(tested.filter(~pl.col("verdict").is_in(_BEYOND)))
    parts += [f"{rest} of {len(tested)} within the noise"] if rest else []
    seeds = min(tested["seeds"].to_list())
    return f"At {where}, over {seeds} seeds (Holm, {len(tested)} samplers): {'; '.join(parts)}."


def _equals(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p_value(p)}"


def tokens_kept(runs: pl.DataFrame, rate_of: str) -> list[str]:
    """Tell at which amounts the samplers' subsets differ in tokens although not in documents, or the other way round."""
    subsets = runs.filter((pl.col("sampler") != FULL) & pl.col("tokens").is_not_null())
    parts, unequal = [], False
    for (rate,), part in groups(subsets, "rate"):
        documents, tokens = (part[name].to_list() for name in ("documents", "tokens"))
        if _differ(documents) or _differ(tokens):
            parts.append(f"at {label(rate)} {_span(documents)} documents with {_span(tokens)} tokens")
            unequal = unequal or (rate_of == "documents" and of_key(rate).kind == "rate" and _differ(tokens))
    hint = (
        ' (a budget of tokens in run.amounts, or selection.rate_of = "tokens", compares at equally many tokens)'
        if unequal
        else ""
    )
    return [f"Samplers keep {'; '.join(parts)}{hint}."] if parts else []


def _differ(counts: list[int]) -> bool:
    return max(counts) - min(counts) > _EQUAL * max(counts)


def _span(counts: list[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,} to {high:,}" if _differ(counts) else f"{high:,}" if low == high else f"about {high:,}"


def _gaps(suites: list[str], tasks: list[str], standins: list[str]) -> list[str]:
    """Return sentences on what was not measured, or not as it should be."""
    sentences = {
        f"No run has been measured by {', '.join(suites)}, which the profile names.": suites,
        f"There were no data for {', '.join(tasks)}.": tasks,
        f"On a stand-in split and part of no figure: {', '.join(standins)}.": standins,
    }
    return [sentence for sentence, names in sentences.items() if names]


def figures(differences: pl.DataFrame) -> Iterator[Drawn]:
    """Yield a figure of the differences to random by amount, for each size, kind of amount and perplexity.

    A size with a single amount of a kind has one figure of it with all scores instead.
    """
    for (size,), of_size in groups(differences, "size"):
        for keys in by_kind(of_size["rate"]):
            of_kind = of_size.filter(pl.col("rate").is_in(keys))
            if len(keys) == 1:
                yield _at_one_amount(size, of_kind)
                continue
            part = of_kind.filter(pl.col("score").str.starts_with(PERPLEXITY))
            for (score,), here in groups(part, "score"):
                yield _by_amount(size, score, keys, here)


def _spread(rows: pl.DataFrame) -> str:
    if rows["low"].is_not_null().any():
        return "Bars are 95 % intervals over seeds, not adjusted for the number of samplers."
    return no_intervals(rows["seeds"].to_list())


def _by_amount(size: str, score: str, keys: list[str], here: pl.DataFrame) -> Drawn:
    rows = {(r["sampler"], r["rate"]): r for r in here.iter_rows(named=True)}
    charts = {
        p: {name: over_amounts(keys, rows, name, "difference") for name in names}
        for p, names in PANELS.items()
    }
    title = f"Difference to random in {in_words(score)}, {size} T5"
    picture = amount_curves(
        keys, charts, title, "below 0 is better", {panel: {RANDOM: 0.0} for panel in charts}
    )
    alt = f"{title}, by {axis(keys)}, one line a sampler"
    return Figure(figure_name("difference", score, *kind_of(keys), size), alt, _spread(here)), picture


def _at_one_amount(size: str, here: pl.DataFrame) -> Drawn:
    rate = here["rate"][0]
    panels: dict[str, dict[str, Dot]] = {}
    xlabels = {}
    for row in here.iter_rows(named=True):
        panel = in_title(in_words(row["score"]))
        panels.setdefault(panel, {})[row["sampler"]] = Dot(row["difference"], row["low"], row["high"])
        xlabels[panel] = f"{'below' if row['score'].startswith(PERPLEXITY) else 'above'} 0 is better"
    title = f"Difference to random at {label(rate)}, {size} T5"
    names = [name for name in SAMPLERS if name != RANDOM]
    picture = forest(panels, names, title, xlabels, {panel: {RANDOM: 0.0} for panel in panels})
    alt = f"{title}: a line for each sampler, a panel for each score"
    return Figure(figure_name("difference", rate, size), alt, _spread(here)), picture
