"""The picture of docs/architecture.md, drawn from the code: the layers of pyproject.toml, and the assets that each room makes.

Run it by `make pictures`.
"""

from __future__ import annotations

import textwrap
import tomllib
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.graph import STEPS
from curation_assets.products import PRODUCTS

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "architecture.svg"
HOLDS = {
    "definitions": "what Dagster loads: a table of contents",
    "cli": "the `curation` command",
    "defs": "all that imports Dagster: assets, jobs, sensors, the UI",
    "products": "all builders: what workers import",
    "invariants": "what must hold of artifacts",
    "report": "what is compared, and the page that says it",
    "lineage": "from a number back to its documents",
    "evaluation": "up to 111 tasks, perplexities, decontamination",
    "judges": "a teacher's labels, judges distilled from them",
    "pretraining": "T5: packing, span corruption, the trainer",
    "selection": "scores to keys, one threshold, the subset",
    "samplers": "one module a sampler: row, settings, inputs, score",
    "scoring": "arrays in, scores out: the library",
    "embeddings": "documents to unit vectors",
    "corpus": "files to documents, tokens, index",
    "models": "where weights come from; tokenizer, T5",
    "engine": "what is made, when and by whom",
    "common": "files, hashes, batches, progress",
    "config": "settings, profiles, the registry of samplers",
}
_INK, _PAPER, _LINE = "#1f2933", "#eef3f8", "#7b8794"
_WIDTH = 72  # characters of a line of assets


def layers() -> list[str]:
    """Return the rooms, top first, as the import contract has them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    layered = next(c for c in settings["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    return [name.removeprefix("curation_assets.") for name in layered["layers"]]


def assets() -> dict[str, list[str]]:
    """Return {room: the assets whose builders lie in it}, in the order of the graph; of samplers' own, one name for all."""
    made: dict[str, list[str]] = defaultdict(list)
    for product in PRODUCTS:
        owner, _, stage = product.key.partition("/")
        own = owner in SAMPLERS and STEPS[product.key].group == SAMPLERS[owner].family
        name = f"*/{stage}" if own else product.key
        room = product.build.__module__.split(".")[1]
        if name not in made[room]:
            made[room].append(name)
    return made


def draw() -> None:
    """Write the picture."""
    plt.rcParams |= {"svg.hashsalt": "architecture", "svg.fonttype": "none", "font.family": "sans-serif"}
    names, made = layers(), assets()
    figure, axes = plt.subplots(figsize=(13, 0.62 * len(names) + 0.8))
    axes.set_axis_off()
    axes.set_xlim(0, 13)
    axes.set_ylim(-0.2, len(names) + 0.8)
    for number, name in enumerate(names):
        _room(axes, name, len(names) - 1 - number, made.get(name, []))
    for x, text in (
        (0.75, "room"),
        (2.3, "what lives there"),
        (7.1, "the assets that are made there (* is a sampler)"),
    ):
        axes.text(x, len(names) + 0.2, text, color=_INK, weight="bold")
    for x, ends, text in (
        (0.12, (0, len(names)), "data flows up"),
        (0.42, (len(names), 0), "imports go down"),
    ):
        style = {"arrowstyle": "-|>", "color": _LINE, "linewidth": 1.2}
        axes.annotate("", xy=(x, ends[1]), xytext=(x, ends[0]), arrowprops=style)
        axes.text(
            x + 0.02, len(names) / 2, text, rotation=90, ha="right", va="center", color=_INK, fontsize=9
        )
    figure.savefig(PICTURE, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def _room(axes: Axes, name: str, y: int, made: list[str]) -> None:
    box = FancyBboxPatch((0.6, y + 0.1), 12.3, 0.78, "round,pad=0.02", facecolor=_PAPER, edgecolor=_LINE)
    axes.add_patch(box)
    axes.text(0.75, y + 0.49, name, va="center", color=_INK, weight="bold", family="monospace")
    axes.text(2.3, y + 0.49, HOLDS[name], va="center", color=_INK, fontsize=9.5)
    text = textwrap.fill(", ".join(made), _WIDTH, break_on_hyphens=False)
    axes.text(7.1, y + 0.49, text, va="center", color=_INK, fontsize=7.5, family="monospace")


if __name__ == "__main__":
    draw()
