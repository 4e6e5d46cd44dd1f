"""How the page is put together from the reports that there are, and published beside the artifacts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import polars as pl

from curation_assets.common.files import sha256, write_bytes
from curation_assets.common.progress import Progress
from curation_assets.engine.artifacts import Artifacts
from curation_assets.engine.context import Context, DeclaredVersions
from curation_assets.engine.graph import STEPS
from curation_assets.engine.report_steps import REPORTS
from curation_assets.engine.store import PREVIEW
from curation_assets.engine.workspace import BuildOne, Metadata, MissingInput, Workspace
from curation_assets.lineage.subset_behind import CHAIN
from curation_assets.report.composition import Key
from curation_assets.report.page import Glance, Grid, Part, Report, Source, numbers_of, render
from curation_assets.report.section import SECTION, Section, read_section
from curation_assets.report.summary import facts, first_sentences, glances, to_use
from curation_assets.report.texts_page import FOLDER, Texts, write_pages

PAGE = "index.html"
_KEY = "report/page"
_TITLE = "Which data to train on: samplers compared"
_FIGURES, _DATA = "figures", "data"
_COMPOSITION, _TABLE = "report/composition", "texts.parquet"
_FOLDERS = {"svg": _FIGURES, "png": _FIGURES, "pdf": _FIGURES, "parquet": _DATA}
_ROWS = 100  # shown of the numbers behind a figure; the file has all


def published(workspace: Artifacts) -> Path:
    """Return where people find the page, whatever the store: report/index.html in the data folder."""
    return workspace.data / "report" / PAGE


def published_again(workspace: Workspace) -> Path | None:
    """Return where the page as it was made last lies, copied there again if somebody removed it; None before the first."""
    receipt = workspace.receipt(_KEY)
    if receipt is None:
        return None
    target = published(workspace)
    if not all((target.parent / name).exists() for name in receipt.files if name != PREVIEW):
        _publish(workspace.open(_KEY), target.parent)
    return target


def mend_published(workspace: Workspace) -> Path | None:
    """Copy the page again where a published file is not the artifact's; return where, None where there was nothing to do."""
    receipt, target = workspace.receipt(_KEY), published(workspace)
    if receipt is None or not target.exists():
        return None
    for name, (_, digest) in receipt.files.items():
        if name != PREVIEW and (not (path := target.parent / name).exists() or sha256(path) != digest):
            _publish(workspace.open(_KEY), target.parent)
            return path
    return None


def page(context: Context) -> BuildOne:
    """Write the report as one page, with downloads beside it, and publish it in the data folder."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        versions = context.versions()
        parts = []
        for number, name in enumerate(REPORTS, 1):
            parts.append(_part(context, versions, f"report/{name}", folder))
            progress(number, len(REPORTS), "sections")
        if not any(part.section for part in parts):
            raise MissingInput("no report has been made yet: there is nothing to put on a page")
        seen, texts = glances(context), _texts(context, folder)
        known, unknown = to_use(context)
        current = [part.section for part in parts if part.section and not part.stale]
        lead = first_sentences(known, current, unknown)
        report = Report(
            _TITLE, lead, facts(context), seen, parts, list(_sources(versions, parts, seen, texts))
        )
        write_bytes(folder / PAGE, render(report).encode())
        _publish(folder, published(context).parent)
        return {
            "published": f"report/{PAGE} in the data folder",
            "sections": sum(part.section is not None for part in parts),
            "missing": ", ".join(part.key for part in parts if part.section is None) or "none",
            "out_of_date": ", ".join(part.key for part in parts if part.stale) or "none",
            "bytes": (folder / PAGE).stat().st_size,
        }

    return build


def _part(context: Context, versions: DeclaredVersions, key: str, folder: Path) -> Part:
    """Read a report, and put its figures and tables under `folder` for download; one that cannot be read counts as not made."""
    receipt = versions.receipt(key)
    if receipt is None or SECTION not in receipt.files:
        return Part(key, None)
    source = context.open(key)
    try:
        section = read_section(source)
    except ValueError:
        return Part(key, None, [f"{SECTION} is of another version of the program"])
    downloads = {}
    for name in _wanted(section):
        if (source / name).exists():
            downloads[name] = f"{_FOLDERS[name.rsplit('.', 1)[1]]}/{_file(key, name)}"
            write_bytes(folder / downloads[name], (source / name).read_bytes())
    names = [figure.name for figure in section.figures]
    return Part(
        key,
        section,
        versions.reasons(key),
        {name: (source / f"{name}.svg").read_bytes() for name in names},
        {name: _rows(source / f"{name}.parquet") for name in names if (source / f"{name}.parquet").exists()},
        downloads,
    )


def _wanted(section: Section) -> Iterator[str]:
    for figure in section.figures:
        yield from (f"{figure.name}.{end}" for end in _FOLDERS)
    yield from dict.fromkeys(table.source for table in section.tables if table.source.endswith(".parquet"))


def _file(key: str, name: str) -> str:
    """Return a file's name among the downloads, where those of all reports lie together."""
    report = key.rsplit("/", 1)[1]
    return name if name.startswith(report) else f"{report}-{name}"


def _rows(path: Path) -> Grid:
    total = pl.scan_parquet(path).select(pl.len()).collect().item()
    table = pl.scan_parquet(path).head(_ROWS).collect()
    return numbers_of(table.columns, table.rows(), total)


def _texts(context: Context, folder: Path) -> Mapping[Key, Texts]:
    """Write the pages of texts that `report/composition` has drawn; return where those of each subset are."""
    receipt = context.receipt(_COMPOSITION)
    if receipt is None or _TABLE not in receipt.files:
        return {}
    return write_pages(folder, pl.read_parquet(context.open(_COMPOSITION) / _TABLE))


def _texts_behind(versions: DeclaredVersions, texts: Mapping[Key, Texts], key: str, partition: str) -> str:
    """Return where texts are of the subset behind an artifact, of the version that was read; "" where there are none."""
    sampler, _, end = key.partition("/")
    there = texts.get((sampler, partition.split("|")[0]))
    receipt = versions.receipt(key, partition)
    if end == "metrics" and there and receipt is not None:
        measured = receipt.inputs.get(f"{sampler}/checkpoint")
        receipt = versions.receipt(f"{sampler}/checkpoint", partition)
        receipt = receipt if receipt is not None and receipt.version == measured else None
    if there is None or receipt is None or end not in CHAIN:
        return ""
    version = receipt.version if end == "subset" else receipt.inputs.get(f"{sampler}/subset")
    return there.address if version == there.version else ""


def _sources(
    versions: DeclaredVersions, parts: list[Part], seen: list[Glance], texts: Mapping[Key, Texts]
) -> Iterator[Source]:
    """Yield the reports, then what their rows are about, in the graph's order."""
    linked = {mark.link for one in seen for marks in one.rows.values() for mark in marks if mark.link}
    for part in parts:
        if part.section is not None:
            linked |= {link for table in part.section.tables for link in table.links if link}
            linked |= {e.link for e in part.section.excerpts if e.link}
    order = {key: number for number, key in enumerate(STEPS)}
    asked = [(part.key, "") for part in parts]
    asked += sorted((at for at in linked if at[0] in STEPS), key=lambda at: (order[at[0]], at[1]))
    for key, partition in dict.fromkeys(asked):
        receipt = versions.receipt(key, partition)
        version, where = receipt.version if receipt else "", _texts_behind(versions, texts, key, partition)
        yield Source(key, partition, version, _state(versions, key, partition), where)


def _state(versions: DeclaredVersions, key: str, partition: str) -> str:
    """Tell what is wrong with an artifact, or that a model right above it is kept although the corpus moved on; "" where neither is."""
    if stale := versions.reasons(key, partition):
        return "; ".join(stale)
    kept = versions.kept(key, partition)
    return f"current, of a model that is kept: {kept}" if kept else ""


def _publish(folder: Path, target: Path) -> None:
    """Copy the artifact's files, the page last, each in one step; then remove downloads that the page no longer names."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    names = [name for name in names if name not in (PAGE, PREVIEW)]
    for name in [*names, PAGE]:
        write_bytes(target / name, (folder / name).read_bytes())
    for below in (_FIGURES, _DATA, FOLDER):
        for old in (target / below).glob("*"):
            if old.is_file() and f"{below}/{old.name}" not in names:
                old.unlink()
