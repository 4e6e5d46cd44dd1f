"""What people are told of an asset before they open it: what it is, what the paper calls it, what it reads and writes, its tags.

Each stage's `assets.py` lists its products; what follows from the graph (inputs, partitions, when it is made again) is
added here, so that it cannot say anything else than the graph does.
"""

from __future__ import annotations

import re

from curation_assets.config.profile import Profile
from curation_assets.config.registry import SAMPLERS
from curation_assets.defs.table_schemas import tables
from curation_assets.engine.graph import STEPS
from curation_assets.engine.product import Product
from curation_assets.engine.step import By, Step, reads_all

_NAMES: dict[By, str] = {
    "": "",
    "shard": "corpus file",
    "group": "of `execution.groups` parts of the clusters",
    "rate": "amount of the corpus",
    "size": "model size that the profile asks for",
    "rate|size": "amount and model size that the profile's `[run]` names",
}
_EXAMPLE: dict[By, str] = {
    "": "",
    "shard": "<FILE>",
    "group": "0-of-1",
    "rate": "20",
    "size": "small",
    "rate|size": "20|small",
}
_READ_SHOWN = 8
_PLACE = re.compile("(section|appendix|algorithm|figure|table) [0-9A-Z.]+")


def group(step: Step) -> str:
    """Return the group that the UI shows a step in: numbered, since the UI sorts by name, in the order of the flow.

    Each sampler has one of its own: a node is named by the last part of its key alone, the same for all samplers.
    """
    name = _group(step)
    return f"{_GROUPS.index(name) + 1:02d}_{name}"


def _group(step: Step) -> str:
    owner = step.key.partition("/")[0]
    return owner if owner in SAMPLERS and step.group == SAMPLERS[owner].family else step.group


_SHARED = [name for name in dict.fromkeys(_group(step) for step in STEPS.values()) if name not in SAMPLERS]
_GROUPS = [*_SHARED[:-1], *SAMPLERS, _SHARED[-1]]
"""What all samplers share, the samplers, the report."""


def tags(step: Step, paper: str = "") -> dict[str, str]:
    """Return the tags that assets are found by: `tag:stage=scores and tag:family=ask_llm`, `tag:cost=training`."""
    owner, _, stage = step.key.partition("/")
    pairs = {"cost": _cost(step)}
    if owner in SAMPLERS and step.group == SAMPLERS[owner].family:
        pairs |= {"sampler": owner, "family": SAMPLERS[owner].family}
    if owner in (*SAMPLERS, "full_data"):
        pairs["stage"] = stage
    if step.learned():
        pairs["kept"] = "until_refreshed"
    if place := _PLACE.search(paper):
        pairs["paper"] = place[0].replace(" ", "_")
    return pairs


def kinds(step: Step) -> set[str]:
    """Return what the graph shows on a node besides the last part of its key, which is the same for every sampler: whose it is."""
    sampler = tags(step).get("sampler")
    return {*step.kinds, *([sampler] if sampler else [])}


def _cost(step: Step) -> str:
    """Return what making it takes: training, large products on an accelerator if there is one, or neither."""
    return "training" if step.trains else "accelerator" if step.accelerated else "light"


def description(product: Product, profile: Profile) -> str:
    """Return everything that is told of an asset, as Markdown."""
    step = STEPS[product.key]
    points = {
        "In the paper": product.paper,
        "One for each": _NAMES[step.by],
        "Reads": _reads(step, profile),
        "Writes": _writes(step, profile, product.files),
        "Made again": _again(step),
        "Use it": product.use.rstrip("."),
        "Follow it": _follow(step),
    }
    listed = "\n".join(f"- **{name}**: {text}" for name, text in points.items() if text)
    return "\n\n".join(part for part in (product.what, product.more, listed) if part)


def _reads(step: Step, profile: Profile) -> str:
    inputs = []
    for key, only in step.reads(profile).items():
        which = f" `{only}`" if only else " (all)" if reads_all(step.by, STEPS[key].by) else ""
        inputs.append(f"`{key}`{which}")
    if len(inputs) > _READ_SHOWN:
        inputs = [*inputs[:_READ_SHOWN], f"{len(inputs) - _READ_SHOWN} more (tab *Lineage*)"]
    text = ", ".join(inputs)
    return f"what there is of {text}" if text and step.partial else text


def _writes(step: Step, profile: Profile, files: str) -> str:
    written = []
    for name, columns in tables(step, profile).items():
        written.append(f"`{name}.parquet` ({', '.join(column.name for column in columns)})")
    return "; ".join([*written, *([files] if files else [])])


def _again(step: Step) -> str:
    if step.key == "corpus/source":
        return "by the sensor `corpus_changes` and by every run"
    if step.drift:
        return f"when its settings change, when the corpus drifted by `{step.drift}`, or when you ask (job `refresh_models`)"
    if step.learned():
        how = ", by a person or `automation.training`" if step.trains else ""
        return f"when its settings change{how}, or when you ask (job `refresh_models`); not when the corpus changes"
    if step.trains or step.partial:
        return "when its inputs or settings change: by a job, a click, `curation run`, or by itself with `automation.training`"
    return "by itself, when its inputs or settings change"


def _follow(step: Step) -> str:
    partition = f' --partition "{_EXAMPLE[step.by]}"' if step.by else ""
    return f'`+key:"{step.key}"` in the search of *Lineage* shows what it is made from; `curation trace {step.key}{partition}` in a shell'
