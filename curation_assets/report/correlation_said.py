"""What the correlation of scores says: the table of pairs, the heat map, the mean over families, and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from curation_assets.common.drawing.pictures import png_markdown
from curation_assets.common.files import write_bytes, write_table
from curation_assets.common.markdown import markdown_table
from curation_assets.config.registry import SAMPLERS
from curation_assets.report.correlation import Correlation
from curation_assets.report.correlation_figure import heat_map
from curation_assets.report.section import Figure, Section, table

TITLE = "Kendall's tau of the samplers' scores"
SCHEMA = pa.schema(
    [
        ("sampler_a", pa.string()),
        ("sampler_b", pa.string()),
        ("tau", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int64()),
    ]
)
"""Columns of correlation.parquet: one row for each ordered pair; tau, low and high are null where there is no tau."""

_INTRO = (
    "How alike the samplers order the documents of the corpus: where two agree, one may stand for the other."
)


def family_agreement(correlation: Correlation, family: Mapping[str, str]) -> list[dict[str, str | None]]:
    """Return the mean tau over the pairs of two different samplers, one of each family, as rows of a table.

    A cell is None where there is no such pair that has a tau: a family of one sampler has none with itself.

    Raises
    ------
    ValueError
        A sampler's family is not known.
    """
    unknown = [name for name in correlation.names if name not in family]
    if unknown:
        raise ValueError(f"no family is known for {', '.join(unknown)}")
    of = np.array([family[name] for name in correlation.names])
    families = list(dict.fromkeys(of.tolist()))
    usable = np.isfinite(correlation.matrix) & ~np.eye(len(of), dtype=bool)

    def mean(one: str, other: str) -> str | None:
        cells = correlation.matrix[np.outer(of == one, of == other) & usable]
        return f"{round(float(cells.mean()), 2) + 0.0:.2f}" if len(cells) else None  # + 0.0: no "-0.00"

    return [{"mean tau": one, **{other: mean(one, other) for other in families}} for one in families]


def how_to_read(correlation: Correlation) -> str:
    """Return the sentences under the table: what tau means, how sure it is and what has none."""
    text = (
        f"Kendall's tau-b of the scores that two samplers give to the same {correlation.n:,} documents: 1 is the same "
        "order, -1 the opposite one, 0 no more agreement than by chance. The table has the mean over pairs of "
        "different samplers of two families; a cell is empty where there is no such pair."
    )
    widths = (correlation.high - correlation.low)[np.isfinite(correlation.matrix)] / 2
    if (widths > 0).any():
        text += (
            f" The 95 % intervals reach at most {widths.max():.2g} to either side; they are conservative, and tell only of "
            "the choice of documents, not of the seeds and the training of the models that score."
        )
    against = [n for n in correlation.names if n in SAMPLERS and SAMPLERS[n].technique in ("ips", "bottom_k")]
    if against:
        text += (
            f" Prefers low scores, so that its signs turn where choices are compared: {', '.join(against)}."
        )
    if correlation.constant:
        text += (
            f" No tau, because every document has the same score: {', '.join(correlation.constant)} "
            "(null in the table of pairs, empty in the figure)."
        )
    return text


def write(folder: Path, correlation: Correlation, family: Mapping[str, str] | None = None) -> str:
    """Write correlation.parquet (SCHEMA), .png (where there is any tau) and .md to `folder`.

    `family` maps each sampler to its family; the registry's if None.

    Returns
    -------
    Markdown with the heat map inside, for a metadata entry.
    """
    family = {name: spec.family for name, spec in SAMPLERS.items()} if family is None else family
    text = f"{markdown_table(family_agreement(correlation, family))}\n\n{how_to_read(correlation)}\n"
    write_table(folder / "correlation.parquet", _pairs(correlation))
    linked = shown = ""
    figures = []
    if np.isfinite(correlation.matrix).any():
        picture = heat_map(correlation, TITLE)
        picture.save(folder, "correlation")
        png, alt = picture.png(), f"{TITLE}, one row and one column a sampler"
        grey = "; grey has no tau" if correlation.constant else ""
        figures.append(Figure("correlation", alt, f"Of {correlation.n:,} documents{grey}."))
        linked, shown = f"![{TITLE}](correlation.png)\n\n", f"{png_markdown(png, TITLE)}\n\n"
    write_bytes(folder / "correlation.md", f"# {TITLE}\n\n{linked}{text}".encode())
    tables = [
        table(
            family_agreement(correlation, family),
            "Mean tau over pairs of two families",
            "correlation.parquet",
        )
    ]
    Section(TITLE, _INTRO, findings(correlation), figures, tables, how_to_read(correlation)).write(folder)
    return shown + text


def findings(correlation: Correlation) -> list[str]:
    """Return sentences: the most alike and the most opposed pair, and how many pairs agree or disagree beyond chance."""
    i, j = np.triu_indices(len(correlation.names), 1)
    tau, low, high = (m[i, j] for m in (correlation.matrix, correlation.low, correlation.high))
    known = np.flatnonzero(np.isfinite(tau))
    if not len(known):
        return ["No two samplers that order the documents have scores: there is nothing to compare."]

    def pair(k: int) -> str:
        names = f"{correlation.names[i[k]]} and {correlation.names[j[k]]}"
        return f"{names}, tau {tau[k]:.2f} [{low[k]:.2f}, {high[k]:.2f}]"

    agree, oppose = int((low[known] > 0).sum()), int((high[known] < 0).sum())
    said = [f"The most alike are {pair(known[int(np.argmax(tau[known]))])}."]
    if tau[known].min() < 0:
        said.append(f"The most opposed are {pair(known[int(np.argmin(tau[known]))])}.")
    said.append(
        f"Of {len(known)} pairs, {agree} agree and {oppose} disagree more than by chance (95 % intervals without 0, not adjusted for "
        f"the number of pairs); {len(known) - agree - oppose} cannot be told from independent orders on {correlation.n:,} documents."
    )
    return said


def _pairs(correlation: Correlation) -> pa.Table:
    k = len(correlation.names)
    names = np.array(correlation.names, dtype=object)
    values = (m.ravel() for m in (correlation.matrix, correlation.low, correlation.high))
    columns = [
        pa.array(names.repeat(k), pa.string()),
        pa.array(np.tile(names, k), pa.string()),
        *(pa.array(x, pa.float64(), mask=np.isnan(x)) for x in values),
        pa.array(np.full(k * k, correlation.n), pa.int64()),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)
