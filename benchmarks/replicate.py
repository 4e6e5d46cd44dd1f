"""The experiment of docs/experiment.md, seed by seed, and its tables: `python -m benchmarks.replicate [PROFILE]`.

PROFILE is "replicate" or a file that extends it. Every sampler is trained with the first seed, then every sampler with the second, and so
on: whenever it is stopped, as many seeds as there are of all samplers can be compared, and the same command continues. (`curation run
--profile replicate` makes the same artifacts, sampler by sampler.)

- `--all-samplers`: make the choice of every sampler there is, and train nothing on it: for the table of what is chosen.
- `--page FILE`: make nothing; write the tables of what there is into that page, between its marks, and the figure beside it. Without FILE's
  marks nothing is written.
- `--power`: only say, for numbers of seeds, which difference would be told from none, by the spread that the runs so far have.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import optimize, stats
from scipy.special import gammaln

from curation_assets.common.drawing.charts import Dot, Picture, forest
from curation_assets.common.files import read_json
from curation_assets.common.markdown import markdown_table, p_value, within
from curation_assets.common.windows import cut_windows
from curation_assets.config.profile import Profile, load_profile
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.planted import CLEAN
from curation_assets.corpus.tokens import read_tokens
from curation_assets.engine.graph import STEPS
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import Workspace
from curation_assets.models.span_corruption import noise_counts
from curation_assets.models.tokenizer import load_tokenizer
from curation_assets.report.intervals import Difference, compare_all

SIZE, RANDOM, ORACLE, FULL = "small", "random", "oracle", "full_data"
POWER, LEVEL = 0.8, 0.05
MARKS = re.compile(
    r"(<!-- experiment: benchmarks/replicate.py writes this -->\n).*?(<!-- /experiment -->)", re.DOTALL
)
Floats = NDArray[np.float64]


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("profile", nargs="?", default="replicate")
    found.add_argument("--all-samplers", action="store_true")
    found.add_argument("--page", type=Path)
    found.add_argument("--power", action="store_true")
    return found


def main() -> None:
    """Make what is missing, or write what there is."""
    asked = parser().parse_args()
    profile = load_profile(asked.profile)
    if asked.page or asked.power:
        experiment = Experiment(Workspace(profile))
        print(experiment.power() if asked.power else experiment.write(asked.page))
        return
    seeds, begun = profile.pretraining.seeds, seeds_begun(profile)
    if asked.all_samplers:
        subsets = [f"{name}/subset" for name in SAMPLERS if name not in profile.left_out]
        sys.exit(_run(profile, seeds[:begun], subsets))
    for count in range(begun, len(seeds) + 1):
        if code := _run(profile, seeds[:count]):
            sys.exit(code)


def seeds_begun(profile: Profile) -> int:
    """Return with how many seeds it was made last, 1 at first: by full data's model, which comes before all others.

    With fewer, all would be measured again with fewer, and what there is of the others would be gone until they are made once more.
    """
    seeds, step = profile.pretraining.seeds, STEPS[f"{FULL}/checkpoint"]
    for count in range(len(seeds), 1, -1):
        some = profile.pretraining.model_copy(update={"seeds": seeds[:count]})
        workspace = Workspace(profile.model_copy(update={"pretraining": some}))
        if Versions(workspace).current(step, SIZE):
            return count
    return 1


def _run(profile: Profile, seeds: list[int], assets: Iterable[str] = ()) -> int:
    """Run the graph with some of the seeds: what earlier calls have trained is not trained again."""
    command = [
        sys.executable,
        "-m",
        "curation_assets.cli",
        "run",
        "--profile",
        str(with_seeds(profile, seeds)),
        *assets,
    ]
    environment = os.environ | {"CURATION_DATA": str(profile.data)}
    return subprocess.run(command, env=environment, check=False).returncode


def with_seeds(profile: Profile, seeds: list[int]) -> Path:
    """Write a profile that has these seeds and is the same otherwise, also to the data folder, which belongs to one name."""
    profile.data.mkdir(parents=True, exist_ok=True)
    path, base, name = (
        profile.data / f"seeds-{len(seeds)}.toml",
        json.dumps(profile.source),
        json.dumps(profile.name),
    )
    path.write_text(f"extends = {base}\nname = {name}\n\n[pretraining]\nseeds = {seeds}\n", "utf-8")
    return path


@dataclass(frozen=True)
class Experiment:
    """What there is of the experiment so far, as tables."""

    workspace: Workspace

    @cached_property
    def rates(self) -> list[str]:
        """Keys of the amounts that are trained at."""
        return self.workspace.profile.trained_amounts

    @cached_property
    def losses(self) -> dict[tuple[str, str], Floats]:
        """{(sampler, rate): nats per target token of held-out clean text, one a seed}, of the seeds that all have; of all data the rate is "100"."""
        names = [(name, rate) for name in self.workspace.profile.chosen_samplers for rate in self.rates]
        tables = {one: self._last(f"{one[0]}/metrics", f"{one[1]}|{SIZE}") for one in names}
        tables[FULL, "100"] = self._last(f"{FULL}/metrics", SIZE)
        seeds = sorted(set.intersection(*map(set, tables.values())))
        return {one: np.array([by_seed[seed] for seed in seeds]) for one, by_seed in tables.items()}

    def _last(self, key: str, partition: str) -> dict[int, float]:
        if self.workspace.receipt(key, partition) is None:
            return {}
        table = pl.read_parquet(self.workspace.open(key, partition) / "metrics.parquet")
        table = table.filter(task="hq", metric="nll").filter(
            pl.col("tokens_seen") == pl.col("tokens_seen").max()
        )
        return dict(zip(table["seed"], table["value"], strict=True))

    def differences(self, rate: str) -> dict[str, Difference]:
        """Return each sampler's difference from random at a rate, Holm's p over all of them."""
        runs = {name: x for (name, at), x in self.losses.items() if at == rate and name != RANDOM}
        return compare_all(runs, self.losses[RANDOM, rate])

    @property
    def seeds(self) -> int:
        """How many seeds all samplers have."""
        return len(self.losses[FULL, "100"])

    # Tables

    def write(self, page: Path) -> str:
        """Write the tables into a page, and the figure beside it; return the tables."""
        text = page.read_text("utf-8")
        if not MARKS.search(text):
            raise SystemExit(f"{page}: has no place for the tables: {MARKS.pattern}")
        tables = self.tables()
        page.write_text(MARKS.sub(lambda marks: f"{marks[1]}{tables}\n{marks[2]}", text), "utf-8")
        if self.seeds > 1:
            images = page.parent / "images"
            images.mkdir(exist_ok=True)
            (images / "experiment.svg").write_text(self.picture().svg(), "utf-8")
        return tables

    def tables(self) -> str:
        """Return all tables, Markdown."""
        parts = [
            f"**What is chosen**, counted: per cent of the documents; the kinds of noise at {self.rates[-1]} %.",
            self.chosen(),
        ]
        if self.seeds:
            asked = len(self.workspace.profile.pretraining.seeds)
            parts += [
                f"**Perplexity of held-out clean text**, {self.seeds} of {asked} seeds{' (interim)' if self.seeds < asked else ''}. {self.regime()}",
                *(f"At {rate} %:\n\n{self.results(rate)}" for rate in self.rates),
            ]
        if self.seeds > 1:
            parts += [
                "![Differences from random in nats per target token, with 95 % intervals](images/experiment.svg)",
                f"**Power.** {self.power()}",
            ]
        return "\n\n".join(parts) + "\n"

    def chosen(self) -> str:
        """Return which share of each choice is clean, and at the largest amount of which kind the others are; first the corpus itself."""
        kinds = [CLEAN, *self.workspace.profile.corpus.planted.noise]
        shares = {rate: self.shares(rate) for rate in self.rates}
        rows = []
        for name in ("the corpus", *SAMPLERS):
            if any(name not in shares[rate] for rate in self.rates):
                continue
            row = {f"{CLEAN} at {rate} %": f"{100 * shares[rate][name][CLEAN]:.1f}" for rate in self.rates}
            largest = shares[self.rates[-1]][name]
            rows.append({"sampler": name} | row | {kind: f"{100 * largest[kind]:.1f}" for kind in kinds[1:]})
        return markdown_table(rows)

    def shares(self, rate: str) -> dict[str, dict[str, float]]:
        """Return {sampler: {kind: its share of the documents chosen at a rate}} of all samplers with a choice, and of the corpus."""
        kinds = self._kinds
        found = {"the corpus": _shares(kinds["source"])}
        for name in SAMPLERS:
            if self.workspace.receipt(f"{name}/subset", rate) is not None:
                path = self.workspace.open(f"{name}/subset", rate) / "subset.parquet"
                subset = pl.read_parquet(path, columns=["shard", "row"])
                found[name] = _shares(subset.join(kinds, on=["shard", "row"], how="left")["source"])
        return found

    @cached_property
    def _kinds(self) -> pl.DataFrame:
        parts = []
        for shard in self.workspace.shards():
            path = self.workspace.open("corpus/documents", shard) / "documents.parquet"
            sources = pl.read_parquet(path, columns=["source"])
            rows = pl.int_range(len(sources), eager=True).alias("row")
            parts.append(sources.with_columns(rows, pl.lit(shard).alias("shard")))
        return pl.concat(parts)

    def regime(self) -> str:
        """Say how often data are repeated, and how far models get."""
        epochs = ", ".join(f"{self._epochs(RANDOM, f'{rate}|{SIZE}'):.1f} at {rate} %" for rate in self.rates)
        best = float(np.exp(self.losses[FULL, "100"].mean()))
        return (
            f"Every run reads {self.workspace.profile.pretraining.tokens:,} tokens, which are {epochs}, and {self._epochs(FULL, SIZE):.1f} epochs of all data "
            f"(perplexity {best:.1f}). Who knows how often each piece occurs in clean text, and nothing of the context, has {np.exp(self.unigram):.1f}."
        )

    def _epochs(self, name: str, partition: str) -> float:
        return float(
            read_json(self.workspace.open(f"{name}/checkpoint", partition) / "training.json")["epochs"]
        )

    @cached_property
    def unigram(self) -> float:
        """Nats per target token of the frequencies of pieces in clean documents; where spans end is uniform, sentinels are known."""
        counts = np.zeros(load_tokenizer(self.workspace.open("corpus/tokenizer")).vocab_size)
        kinds = self._kinds
        for shard in self.workspace.shards():
            ids, offsets = read_tokens(self.workspace.open("corpus/tokens", shard), "documents")
            clean = (kinds.filter(shard=shard)["source"] == CLEAN).to_numpy()
            counts += np.bincount(ids[np.repeat(clean, np.diff(offsets))], minlength=len(counts))
        held_out, offsets = read_tokens(self.workspace.open("corpus/validation"), "hq")
        settings = self.workspace.profile.evaluation
        _, begin, end, _ = cut_windows(np.diff(offsets), settings.window, settings.max_windows or None)
        noise, spans = noise_counts(end - begin)
        piece = float(-np.log((counts + 0.5) / (counts + 0.5).sum())[held_out].mean())
        ways = (
            gammaln(noise) - gammaln(spans) - gammaln(noise - spans + 1)
        )  # to part so many tokens into so many spans
        return float((noise * piece + ways).sum() / (noise + spans + 1).sum())

    def results(self, rate: str) -> str:
        """Return perplexities at a rate, and differences from random in nats, which are about per cent of perplexity / 100."""
        found = self.differences(rate)
        random, oracle = (float(self.losses[name, rate].mean()) for name in (RANDOM, ORACLE))
        rows = []
        for (name, at), x in self.losses.items():
            if at not in (rate, "100"):
                continue
            one = found.get(name)
            interval = one.interval if one else None
            rows.append(
                {
                    "sampler": name,
                    "perplexity": f"{np.exp(x.mean()):.2f}",
                    "difference from random, nats": within(one.mean, interval.low, interval.high, signed=True)
                    if one and interval
                    else "",
                    "p (Holm)": p_value(one.p) if one and one.p is not None else "",
                    "of the way from random to oracle, %": f"{100 * (random - x.mean()) / (random - oracle):.0f}",
                    "": "" if one is None or not one.beyond_noise else "better" if one.mean < 0 else "worse",
                }
            )
        shares = self.shares(rate)
        names = [name for name, at in self.losses if at == rate]
        tau = stats.kendalltau(
            [shares[name][CLEAN] for name in names], [self.losses[name, rate].mean() for name in names]
        )
        return f"{markdown_table(rows)}\n\nKendall's tau between the share of clean documents and these nats: {tau.statistic:+.2f}."

    def picture(self) -> Picture:
        """Draw differences from random, a panel a rate."""
        panels: dict[str, Mapping[str, Dot]] = {}
        references = {}
        for rate in self.rates:
            found = self.differences(rate)
            panels[f"{rate} %"] = {
                name: Dot(one.mean, *(one.interval[:2] if one.interval else (None, None)))
                for name, one in found.items()
            }
            full = float(self.losses[FULL, "100"].mean() - self.losses[RANDOM, rate].mean())
            references[f"{rate} %"] = {RANDOM: 0.0, FULL: full}
        names = [name for name in self.workspace.profile.chosen_samplers if name != RANDOM]
        labels = dict.fromkeys(panels, "nats (left is better)")
        return forest(
            panels,
            names,
            f"Held-out clean text: difference from random, {self.seeds} seeds",
            labels,
            references,
        )

    def power(self) -> str:
        """Say which differences so many seeds would tell from none, at the spread of paired differences that there is."""
        deviations = [
            float(np.std(self.losses[name, rate] - self.losses[RANDOM, rate], ddof=1))
            for name, rate in self.losses
            if rate in self.rates and name != RANDOM
        ]
        spread, many = float(np.sqrt(np.mean(np.square(deviations)))), len(deviations) // len(self.rates)
        rows = [
            {
                "seeds": n,
                "nats, alone": f"{detectable(n, LEVEL) * spread:.3f}",
                "nats, Holm's strictest": f"{detectable(n, LEVEL / many) * spread:.3f}",
            }
            for n in (3, 4, 5, 6, 8, 10, 15, 20)
        ]
        return (
            f"The standard deviation of a paired difference from random is, over {self.seeds} seeds, {min(deviations):.4f} to {max(deviations):.4f} nats, {spread:.4f} in the root mean square. "
            f"Differences that so many seeds tell from none with {POWER:.0%} power (noncentral t, two-sided {LEVEL:.0%}; the strictest of {many} comparisons):\n\n"
            f"{markdown_table(rows)}"
        )


def _shares(kinds: pl.Series) -> dict[str, float]:
    return defaultdict(float, {kind: count / len(kinds) for kind, count in kinds.value_counts().iter_rows()})


def detectable(seeds: int, level: float) -> float:
    """Return the difference, in standard deviations of a paired difference, that so many seeds tell from none with the power POWER."""
    # Noncentral t as a mean over the spread that is measured: scipy's own distribution fails where shifts are large.
    measured = np.sqrt(stats.chi2.ppf((np.arange(20_000) + 0.5) / 20_000, seeds - 1) / (seeds - 1))
    bound = stats.t.isf(level / 2, seeds - 1) * measured

    def missing(difference: float) -> float:
        shift = difference * np.sqrt(seeds)
        return float(np.mean(stats.norm.cdf(shift - bound) + stats.norm.cdf(-shift - bound))) - POWER

    return float(optimize.brentq(missing, 1e-6, 200.0))


if __name__ == "__main__":
    main()
