"""What follows from the reports for somebody who has to choose: samplers that the best cannot be told from, cheapest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from curation_assets.common.drawing.styles import FULL
from curation_assets.common.progress import duration
from curation_assets.report.quality import OVER_SCALING, name_of
from curation_assets.report.section import at
from curation_assets.report.ties import LEVEL

Cell = tuple[str, str]
"""(rate, size)."""
Seconds = Mapping[tuple[str, str, str], float | None]
"""By (sampler, rate, size), what choosing took; None where that is not known."""
_NAMED = 5
_ENOUGH = 3  # seeds

METHOD = (
    "What to use: a sampler is named where it is the best, or cannot be told from the best by Tukey's range test over seeds, in every "
    "metric of that amount and size but over-scaling, which is made of the others; oracle, which goes by labels, is no candidate. A sampler that is as good as the others may be left "
    "out by chance in one metric of many; one that is worse may be named where there are few seeds. Among those named the one "
    "with the fewest seconds of scoring and preparing is the cheapest. It is worse than full data where the paired t test, adjusted by "
    "Holm's method, says so in any metric."
)


def advice(quality: pl.DataFrame, seconds: Seconds) -> list[str]:
    """Return sentences on what to use, by size and rate, where that can be told (`untold` has the rest).

    Parameters
    ----------
    quality
        `quality.quality`'s table.
    seconds
        What choosing took, by run; {} where that is not known.
    """
    return [_one(known, cell, seconds) for cell, known in _cells(_measured(quality)) if len(known)]


def untold(quality: pl.DataFrame) -> list[str]:
    """Return a sentence on where nothing can be told, and what it takes; [] where something can be told everywhere."""
    ours = _measured(quality)
    if ours.is_empty():
        return ["No sampler's model has been measured yet: train and evaluate at least two samplers."]
    cells = list(_cells(ours))
    silent = [at(rate, size) for (rate, size), known in cells if known.is_empty()]
    return [_too_few(ours, silent, some=len(silent) < len(cells))] if silent else []


def _measured(quality: pl.DataFrame) -> pl.DataFrame:
    return quality.filter(
        (pl.col("sampler") != FULL) & pl.col("mean").is_not_null() & (pl.col("metric") != OVER_SCALING)
    )


def _cells(ours: pl.DataFrame) -> Iterator[tuple[Cell, pl.DataFrame]]:
    """Yield for each amount and size the rows that can be compared with the best."""
    for (size, rate), cell in ours.group_by("size", "rate", maintain_order=True):
        yield (str(rate), str(size)), cell.filter(pl.col("tied_with_best").is_not_null())


def _one(known: pl.DataFrame, cell: Cell, seconds: Seconds) -> str:
    rate, size = cell
    metrics = known["metric"].unique(maintain_order=True).to_list()
    compared = known.group_by("sampler", maintain_order=True).agg(pl.len(), pl.col("tied_with_best").all())
    lacking = compared.filter(pl.col("len") < len(metrics))["sampler"].to_list()
    compared = compared.filter(pl.col("len") == len(metrics))
    names = compared.filter(pl.col("tied_with_best"))["sampler"].to_list()
    by = ", ".join(name_of(metric) for metric in metrics)
    where = f"At {at(rate, size)}"
    if len(compared) < 2:
        return f"{where} fewer than two samplers were measured by every metric ({by}): measure all of them by the same suites."
    unjudged = f" Not measured by every metric, and so not judged: {', '.join(lacking)}." if lacking else ""
    where += ", of what was measured by every metric," if lacking else ""
    seeds = min(known["seeds"].to_list())
    if not names:
        return f"{where} none is among the best by each ({by}): the metric that counts for you decides.{unjudged}"
    cheapest = _cheapest(names, cell, seconds)
    if len(names) == len(compared):
        text = f"{where} {seeds} seeds cannot tell any of {len(names)} samplers from the best ({by}): the cheapest will do"
        text += f", {cheapest}" if cheapest else ""
    elif len(names) == 1:
        text = f"{where} use {names[0]}: over {seeds} seeds it is the best or not told from the best, by {by}"
    else:
        listed = ", ".join(names[:_NAMED]) + (
            f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        )
        text = f"{where} use one of {listed}: over {seeds} seeds they are not told from the best, by {by}"
        text += f"; the cheapest is {cheapest}" if cheapest else ""
    return f"{text}. {_against_full(known, names)}{unjudged}"


def _cheapest(names: list[str], cell: Cell, seconds: Seconds) -> str:
    spent = {name: seconds.get((name, *cell)) for name in names}
    if None in spent.values():
        return ""  # one without a known cost may be cheaper
    cost, name = min((cost, name) for name, cost in spent.items() if cost is not None)
    return f"{name} ({duration(cost)} of scoring and preparing)"


def _against_full(known: pl.DataFrame, names: list[str]) -> str:
    """Tell which of those named are worse than full data beyond the noise, in any metric."""
    tested = known.filter(pl.col("sampler").is_in(names) & pl.col("vs_full_p").is_not_null())
    if tested.is_empty():
        return "There is no full data of that size with these seeds to compare with."
    beyond = (pl.col("vs_full_p") < LEVEL) & ((pl.col("vs_full") > 0) != pl.col("higher_is_better"))
    worse = tested.filter(beyond)["sampler"].unique(maintain_order=True).to_list()
    count = tested["sampler"].n_unique()
    those = "them" if count == len(names) else f"the {count} that could be compared with it"
    if not worse:
        start = "It is not" if len(names) == 1 else f"None of {those} is"
        return f"{start} worse than full data beyond the noise."
    if len(worse) == len(names):
        start = "It is" if len(names) == 1 else "All of them are"
        return f"{start} worse than full data beyond the noise: a larger share may be needed."
    return f"Worse than full data beyond the noise: {', '.join(worse)}."


def _too_few(ours: pl.DataFrame, cells: list[str], *, some: bool) -> str:
    where = "; ".join(cells)
    if ours.group_by("size", "rate").agg(pl.col("sampler").n_unique())["sampler"].max() == 1:
        return f"One sampler alone has been measured at {where}: train and evaluate another one with the same seeds to compare with."
    lone = ours["seeds"].max() == 1 and not some
    start = (
        "This run cannot say which sampler to use: there is one seed of training"
        if lone
        else (
            f"Nothing can be said at {where}: no two samplers share two seeds, or their seeds have no spread"
        )
    )
    return (
        f"{start}, and so no way to tell a difference from noise. To find out, give all of them the same seeds (pretraining.seeds), at least "
        f"{_ENOUGH}, and run again."
    )
