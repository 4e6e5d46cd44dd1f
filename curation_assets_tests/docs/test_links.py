"""What the docs point at is there: pages, headings, files, pictures, assets, settings, checks and jobs."""

from __future__ import annotations

import re
from pathlib import Path

import dagster as dg
import pytest

from curation_assets.config.profile import Profile, load_profile
from curation_assets.config.registry import SAMPLERS
from curation_assets.definitions import definitions
from curation_assets.engine.graph import STEPS
from curation_assets.invariants import INVARIANTS
from curation_assets_tests.docs.markdown import PAGES, ROOT, anchors, links, prose, spans

MAINTAINED = [page for page in PAGES if page.name != "LOG.md"]  # the log says how things were called then
SECTIONS = set(Profile.model_fields)
_KEY = re.compile(r"(\([a-z ]+\)|[a-z_*]+)/[a-z_*]+")
_SETTING = re.compile(r"([a-z_]+)\.([a-z_.0-9*]+)")
_FILE = re.compile(r"[\w.-]+(/[\w.-]+)*\.(md|py|toml|csv|yaml|txt|html)|[\w.-]+(/[\w.-]+)*/")
MADE = ("data/", "dist/", "site/", "report/index.html", "mine.toml", "subset.parquet", "manifest.json")
"""Files that are made by a reader or a run."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith("https://"):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.is_file() and target.is_relative_to(ROOT), f"{page.name}: {link} leads nowhere"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}: there is no such heading"


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, todo = set(), [PAGES[0]]
    while todo:
        page = todo.pop()
        if page not in seen:
            seen.add(page)
            todo += [
                (page.parent / link.partition("#")[0]).resolve()
                for link in links(page)
                if ".md" in link and "://" not in link
            ]
    assert set(PAGES) <= seen


@pytest.mark.parametrize("page", MAINTAINED, ids=lambda page: page.name)
def test_assets_settings_and_files_that_are_named_exist(page: Path) -> None:
    for span in spans(page):
        if _KEY.fullmatch(span) and not _is_asset(span):
            assert (ROOT / span).exists() or span.startswith(MADE), f"{page.name}: there is no asset {span}"
        elif (found := _SETTING.fullmatch(span)) and found[1] in SECTIONS:
            assert _is_setting(span), f"{page.name}: there is no setting {span}"
        elif _FILE.fullmatch(span) and not span.startswith(MADE):
            assert _is_file(span) or _is_made(span), f"{page.name}: there is no file {span}"


@pytest.mark.parametrize("page", MAINTAINED, ids=lambda page: page.name)
def test_checks_jobs_sensors_and_schedules_that_are_named_exist(
    page: Path, there: dict[str, set[str]]
) -> None:
    text = prose(page)
    named = re.findall(r"\b(check|job|sensor|schedule) `(\w+)`", text)
    for table in re.findall(r"(?m)^\| job \|.*\n(?:\|.*\n)+", text):
        named += [("job", name) for name in re.findall(r"(?m)^\| `(\w+)`", table)]
    for kind, name in named:
        assert name in there[kind], f"{page.name}: there is no {kind} {name}"


def test_searches_for_assets_find_some(local: dg.Definitions) -> None:
    graph, searches = local.resolve_asset_graph(), []
    for page in MAINTAINED:
        for table in re.findall(r"(?m)^\| search \|.*\n(?:\|.*\n)+", prose(page)):
            searches += re.findall(r"(?m)^\| `([^`]+)`", table)
    assert searches
    for search in searches:
        found = dg.AssetSelection.from_string(search).resolve(graph)
        assert found and found != graph.get_all_asset_keys(), f"{search} finds {len(found)} assets"


@pytest.fixture(scope="module")
def local() -> dg.Definitions:
    return definitions(load_profile("local"))


@pytest.fixture(scope="module")
def there(local: dg.Definitions) -> dict[str, set[str]]:
    """What there is of each kind, by name."""
    return {
        "check": {name for checks in INVARIANTS.values() for name in checks},
        "job": {job.name for job in local.jobs or []},
        "sensor": {sensor.name for sensor in local.sensors or []},
        "schedule": {schedule.name for schedule in local.schedules or []},
    }


def _is_asset(span: str) -> bool:
    """Tell whether there is an asset, or where a sampler is a pattern, one of every sampler that it fits."""
    owner, _, end = span.partition("/")
    if owner.startswith("(") or "*" in span:
        fits = re.compile(re.escape(owner).replace(r"\*", ".*") if "*" in owner else ".*")
        return any(f"{name}/{end}" in STEPS for name in SAMPLERS if fits.fullmatch(name))
    return span in STEPS


def _is_setting(span: str) -> bool:
    value: object = load_profile("local")
    for name in span.split("."):
        if isinstance(value, dict):
            return name in value
        if not hasattr(value, name):
            return False
        value = getattr(value, name)
    return True


def _is_file(span: str) -> bool:
    """Tell whether the project has such a file or folder, by its path or by its name alone."""
    return (ROOT / span).exists() or any((ROOT / "curation_assets").rglob(span.strip("/")))


def _is_made(span: str) -> bool:
    """Tell whether a page has a block that is this file."""
    return any(f"# {span}\n" in other.read_text("utf-8") for other in PAGES)
