"""How many tokens a sampler's training needs to be as good as training on everything (v1, figure 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from curation_assets.common.markdown import rounded
from curation_assets.report.figures import FULL
from curation_assets.report.intervals import t_interval
from curation_assets.report.merit import Floats, tokens_to_reach
from curation_assets.report.scores import PERPLEXITY, Run

SCHEMA = {
    "sampler": pl.String,
    "rate": pl.String,
    "size": pl.String,
    "set": pl.String,
    "final": pl.Float64,
    "target": pl.Float64,
    "tokens": pl.Float64,
    "tokens_to_reach": pl.Float64,
    "speed_up": pl.Float64,
    "speed_up_low": pl.Float64,
    "speed_up_high": pl.Float64,
    "seeds_reached": pl.Int64,
    "seeds": pl.Int64,
}

_NAMED = 4
METHOD = (
    "Tokens until the perplexity first is that of full data at the end, between snapshots by straight lines over the logarithm "
    "of the tokens, of the curve averaged over seeds; the speed-up is the share of the budget that is left then. Its interval "
    "is Student's t over seeds, each against the same seed of full data, where every seed got there. A snapshot is no run of "
    "its own: where the learning rate falls to the end, a run of that budget would have come further, and the speed-up is "
    "more a lower bound. A first snapshot that is already good enough gives its own tokens."
)


class Curves:
    """Perplexity by tokens seen: (run, set) -> {seed: (tokens [snapshots], perplexity [snapshots])}."""

    def __init__(self, metrics: pl.DataFrame) -> None:
        rows = metrics.filter((pl.col("suite") == PERPLEXITY) & (pl.col("metric") == PERPLEXITY))
        keys = ["sampler", "rate", "size", "task", "seed"]
        self._curves: dict[tuple[Run, str], dict[int, tuple[Floats, Floats]]] = {}
        for key, part in rows.sort("tokens_seen").group_by(keys, maintain_order=True):
            sampler, rate, size, task, seed = key
            run, values = (str(sampler), str(rate), str(size)), part.select("tokens_seen", "value")
            curve = values.to_numpy().astype(np.float64).T
            self._curves.setdefault((run, str(task)), {})[int(str(seed))] = (curve[0], curve[1])
        wanted = dict.fromkeys(metrics.select("sampler", "rate", "size").unique(maintain_order=True).rows())
        self.runs: list[Run] = [run for run in wanted if any(key[0] == run for key in self._curves)]
        self.sets: list[str] = list(dict.fromkeys(key[1] for key in self._curves))

    def seeds(self, run: Run, task: str) -> dict[int, tuple[Floats, Floats]]:
        """Return a run's curves by seed; none where it was not measured."""
        return self._curves.get((run, task), {})

    def mean(self, run: Run, task: str) -> tuple[Floats, Floats] | None:
        """Return the curve averaged over seeds, at the snapshots that all have."""
        found = average(self.seeds(run, task))
        return None if found is None else (found.tokens, found.mean)

    def together(self, runs: Sequence[Run], task: str) -> dict[int, tuple[Floats, Floats]]:
        """Return the curve averaged over runs, by seed: of the seeds and at the snapshots that all of the runs have."""
        members = [self.seeds(run, task) for run in runs]
        found = {}
        for seed in set.intersection(*map(set, members)) if members else set():
            curve = average({number: member[seed] for number, member in enumerate(members)})
            if curve is not None:
                found[seed] = (curve.tokens, curve.mean)
        return dict(sorted(found.items()))


class Average(NamedTuple):
    """Tokens, the mean over seeds and its 95 % Student t interval, [snapshots]; NaN where there is no interval."""

    tokens: Floats
    mean: Floats
    low: Floats
    high: Floats


def average(by_seed: Mapping[int, tuple[Floats, Floats]]) -> Average | None:
    """Return the mean over seeds at the snapshots that all have; None without any."""
    curves = list(by_seed.values())
    common = [t for t in curves[0][0] if all(t in seen for seen, _ in curves)] if curves else []
    if not common:
        return None
    values = np.array([[y[np.flatnonzero(seen == t)[0]] for t in common] for seen, y in curves])
    found = [t_interval(column) for column in values.T]
    ends = np.array([(i.low, i.high) if i else (np.nan, np.nan) for i in found])
    return Average(np.array(common), values.mean(axis=0), ends[:, 0], ends[:, 1])


def convergence(curves: Curves) -> pl.DataFrame:
    """Return one row (SCHEMA) for each sampler, rate, size and evaluation set that full data was measured by as well."""
    rows = [
        row
        for run in curves.runs
        for task in curves.sets
        if run[0] != FULL and (row := _one(curves, run, task))
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


def _one(curves: Curves, run: Run, task: str) -> dict[str, Any] | None:
    own, full = curves.mean(run, task), curves.mean((FULL, "100", run[2]), task)
    if own is None or full is None:
        return None
    target, total = float(full[1][-1]), float(own[0][-1])
    reached = tokens_to_reach(*own, target, higher_is_better=False)
    targets = curves.seeds((FULL, "100", run[2]), task)
    by_seed = [
        tokens_to_reach(*curve, float(targets[seed][1][-1]), higher_is_better=False)
        for seed, curve in curves.seeds(run, task).items()
        if seed in targets
    ]
    there = [1 - tokens / total for tokens in by_seed if tokens is not None]
    interval = t_interval(there) if len(there) == len(by_seed) else None
    values = (
        *(*run, task, float(own[1][-1]), target, total, reached),
        None if reached is None else 1 - reached / total,
        interval.low if interval else None,
        interval.high if interval else None,
        len(there),
        len(by_seed),
    )
    return dict(zip(SCHEMA, values, strict=True))


def findings(table: pl.DataFrame) -> list[str]:
    """Return sentences: who is as good as full data before the end, of each rate and size by held-out documents."""
    if table.is_empty():
        return [
            "No run of full data of the same size has been measured beside a sampler's: there is nothing to reach."
        ]
    first = table["set"][0]
    shown = "in_distribution" if "in_distribution" in table["set"] else first
    said = []
    for (rate, size), part in table.filter(pl.col("set") == shown).group_by(
        "rate", "size", maintain_order=True
    ):
        where = f"At {rate} % with the {size} T5"
        what = f"the {shown.replace('_', '-')} perplexity that full data has at the end"
        seeds = part["seeds"].max()
        there = part.filter((pl.col("seeds_reached") == pl.col("seeds")) & (pl.col("seeds") > 0))
        some = part.filter((pl.col("seeds_reached") > 0) & (pl.col("seeds_reached") < pl.col("seeds")))
        if not there.is_empty():
            text = (
                f"{where} {len(there)} of {len(part)} samplers reach {what} in every seed: {_savings(there)}."
            )
        else:
            text = f"{where} none of {len(part)} samplers reaches {what} in every seed."
        if not some.is_empty():
            text += f" In some seeds only: {', '.join(some['sampler'])}; that is within the noise."
        said.append(text + (" It is one seed, which may be chance." if seeds == 1 and len(there) else ""))
    return said


def _savings(there: pl.DataFrame) -> str:
    said = []
    for row in there.sort("speed_up", descending=True, nulls_last=True).head(_NAMED).iter_rows(named=True):
        if row["speed_up"] is None:
            said.append(f"{row['sampler']}, though not by the mean over seeds")
            continue
        left = f"{row['sampler']} with {100 * row['speed_up']:.0f} % of its tokens left"
        low, high = row["speed_up_low"], row["speed_up_high"]
        if low is not None:
            noise = ", within the noise" if low <= 0 else ""
            left += f" [{100 * low:.0f}, {100 * high:.0f}{noise}]"
        said.append(left)
    more = f"; and {len(there) - _NAMED} more" if len(there) > _NAMED else ""
    seeds = there["seeds"].to_list()
    over = f" (95 % intervals over {min(seeds)} seeds)" if min(seeds) > 1 else ""
    return "; ".join(said) + more + over


def rows_for_people(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the rows with columns named in words."""
    shown = []
    for row in table.iter_rows(named=True):
        ends = (row["speed_up_low"], row["speed_up_high"])
        between = f" [{100 * ends[0]:.0f}, {100 * ends[1]:.0f}]" if None not in ends else ""
        reached = row["tokens_to_reach"]
        shown.append(
            {
                "sampler": row["sampler"],
                "rate %": row["rate"],
                "T5": row["size"],
                "set": row["set"].replace("_", " "),
                "final": rounded(row["final"]),
                "full data": rounded(row["target"]),
                "tokens to reach it": "never" if reached is None else rounded(reached, 2),
                "speed-up %": None if reached is None else f"{100 * row['speed_up']:.0f}{between}",
                "seeds that did": f"{row['seeds_reached']} of {row['seeds']}",
            }
        )
    return shown
