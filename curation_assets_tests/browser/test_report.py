"""The report as people open it, from disk: it asks for nothing, fits its window, and says what its tables say."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from curation_assets.report.page import visible
from curation_assets_tests.browser.conftest import Made, Watched

pytestmark = pytest.mark.browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser

_SCHEMES = ("light", "dark")
_WIDTHS = (1280, 400, 390)
_CONTRAST = 4.5  # of WCAG's level AA, for text of ordinary size
_TABLES = """() => [...document.querySelectorAll('table')].map(table => ({
  source: (table.closest('figure') ?? table).querySelector('a[href^="data/"]')?.getAttribute('href'),
  figure: table.closest('figure') !== null,
  title: table.caption?.textContent ?? '',
  columns: [...table.querySelectorAll('thead tr:last-child th')].map(cell => cell.textContent),
  rows: [...table.querySelectorAll('tbody tr')].map(row => [...row.children].map(cell => cell.textContent)),
}))"""
_COLOURS = """() => {
  const colour = (node, name) => getComputedStyle(node)[name].match(/[0-9.]+/g).map(Number);
  const texts = [...document.querySelectorAll('p, li, td, th, dt, dd, a, code, figcaption')].filter(node => node.textContent.trim());
  return {
    paper: colour(document.body, 'backgroundColor'),
    ink: texts.map(node => colour(node, 'color')),
  };
}"""


_TOO_WIDE = """() => [...document.querySelectorAll('.box')]
  .filter(box => !box.closest('details:not([open])') && box.checkVisibility() && box.scrollWidth > box.clientWidth)
  .map(box => `${box.getAttribute('aria-label')}: ${box.scrollWidth} in ${box.clientWidth}`)"""


@pytest.mark.parametrize("width", _WIDTHS)
def test_tables_fit_and_what_has_no_room_is_behind_a_click(browser: Browser, made: Made, width: int) -> None:
    with browser.new_context(viewport={"width": width, "height": 800}) as context:
        page = context.new_page()
        page.goto(made.report.as_uri())
        assert page.evaluate(_TOO_WIDE) == []
        fold = next(fold for fold in page.locator("details.whole").all() if fold.is_visible())
        heads = fold.locator("xpath=preceding-sibling::div[1]").locator("thead tr").last.locator("th")
        assert not fold.locator("table").is_visible()
        shown = [head for head in heads.all() if head.is_visible()]
        fold.locator("summary").click()
        every = fold.locator("thead tr").last.locator("th").all_inner_texts()
        assert fold.locator("table").is_visible() and len(every) > len(shown) > 0


def test_provenance_is_folded_and_a_link_to_it_opens_it(made: Made, watched: Watched) -> None:
    page = watched.page
    page.goto(made.report.as_uri())
    rows = page.locator("#sources tbody tr")
    assert rows.count() > 10 and not rows.first.is_visible()
    page.locator("p.origin a").first.click()
    target = page.locator("tr:target")
    target.wait_for(state="visible")
    assert "report/comparison" in target.inner_text()


def test_three_sentences_first_and_of_the_whole_four(made: Made, watched: Watched) -> None:
    watched.page.goto(made.report.as_uri())
    for section in watched.page.locator(".found, .part").all():
        lists = section.locator("ul.findings")
        shown = [line for line in lists.locator("li").all() if line.is_visible()]
        assert len(shown) <= (4 if "found" in (section.get_attribute("class") or "") else 3)


@pytest.mark.parametrize("scheme", _SCHEMES)
@pytest.mark.parametrize("width", _WIDTHS)
def test_it_opens_from_disk_and_fits_its_window(
    browser: Browser, made: Made, scheme: Any, width: int
) -> None:
    with browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme) as context:
        watched = Watched(context.new_page())
        page = watched.page
        page.goto(made.report.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
        wide = page.evaluate("[document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth]")
        assert wide[0] <= wide[1] == width
        images = page.locator("figure img")
        assert images.count() >= 8 and page.locator("table").count() >= 10
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        pixels = np.asarray(Image.open(io.BytesIO(images.first.screenshot())).convert("L"))
        assert (np.median(pixels) < 64) == (scheme == "dark"), (
            "paper is dark where the page is, and ink is not"
        )
        assert (np.abs(pixels.astype(int) - np.median(pixels)) > 128).any()
        found = page.evaluate(_COLOURS)
        assert (_luminance(found["paper"]) < 0.1) == (scheme == "dark")
        ratios = [_contrast(ink, found["paper"]) for ink in found["ink"]]
        assert len(ratios) > 100 and min(ratios) >= _CONTRAST
        assert watched.requests == [made.report.as_uri()], "it needs nothing else"
        assert not watched.errors and not watched.dialogs


def _contrast(one: list[float], other: list[float]) -> float:
    """Return WCAG's ratio of contrast, 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: list[float]) -> float:
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (c / 255 for c in colour[:3])
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_its_links_lead_somewhere(made: Made, watched: Watched) -> None:
    watched.page.goto(made.report.as_uri())
    links = watched.page.eval_on_selector_all("a", "found => found.map(a => a.getAttribute('href'))")
    inside = [link[1:] for link in links if link.startswith("#")]
    files = [link for link in links if not link.startswith("#")]
    ids = watched.page.eval_on_selector_all("[id]", "found => found.map(node => node.id)")
    assert len(ids) == len(set(ids)) and inside and set(inside) <= set(ids)
    texts = [link.split("#") for link in files if link.startswith("texts/")]
    assert texts and all(f'id="{at}"' in (made.report.parent / name).read_text("utf-8") for name, at in texts)
    files = [link for link in files if not link.startswith("texts/")]
    assert files and all((made.report.parent / link).stat().st_size for link in files)


def test_the_comparison_on_the_page_is_that_of_the_table(made: Made, watched: Watched) -> None:
    watched.page.goto(made.report.as_uri())
    first, shown = [t for t in watched.page.evaluate(_TABLES) if t["title"].startswith("All runs")]
    table = pl.read_parquet(made.report.parent / first["source"])
    assert set(first["columns"]) <= set(shown["columns"])
    assert len(shown["rows"]) == len(table) == 3
    by_name = {row["sampler"]: row for row in table.iter_rows(named=True)}
    for cells in shown["rows"]:
        cell = dict(zip(shown["columns"], cells, strict=True))
        row = by_name[cell["sampler"]]
        assert (cell["amount"], cell["T5"]) == (f"{row['rate']} %", row["size"])
        for name in ("documents", "tokens"):
            assert int(cell[name].replace(",", "")) == row[name]
        assert float(cell["epochs"]) == pytest.approx(row["epochs"], abs=5.1e-3)
        for column, name in (("perplexity", "perplexity"), ("HQ perplexity", "perplexity_hq")):
            assert float(cell[column].split()[0].replace(",", "")) == pytest.approx(row[name], rel=5.1e-3)
    *_, glance = [t for t in watched.page.evaluate(_TABLES) if t["title"].startswith("Each sampler")]
    told = {row[0]: row[glance["columns"].index("perplexity (%)")] for row in glance["rows"]}
    difference = 100 * by_name["density"]["vs_random_perplexity"] / by_name["random"]["perplexity"]
    assert float(told["density"].split()[0].replace("−", "-")) == pytest.approx(difference, abs=0.51)
    assert "semdedup" not in told and "semdedup" in _note(watched), (
        "what was not run is not there, and that is said"
    )


def _note(watched: Watched) -> str:
    """Return what the page says of samplers that were not measured."""
    text: str = watched.page.evaluate("document.body.innerText")
    return text.split("Not measured: ", 1)[1].split(".", 1)[0]


def test_the_numbers_under_a_figure_are_those_of_its_file(made: Made, watched: Watched) -> None:
    watched.page.goto(made.report.as_uri())
    tables = [t for t in watched.page.evaluate(_TABLES) if t["figure"]]
    assert len(tables) >= 4
    for shown in tables:
        table = pl.read_parquet(made.report.parent / shown["source"])
        assert shown["columns"] == table.columns and len(shown["rows"]) == min(len(table), 100)
        for cells, row in zip(shown["rows"], table.iter_rows(), strict=False):
            assert all(_is_told(cell, value) for cell, value in zip(cells, row, strict=True)), (cells, row)


def _is_told(cell: str, value: Any) -> bool:
    """Tell whether a cell shows a value, to the three digits that people are shown."""
    if value is None:
        return cell == "–"
    if isinstance(value, bool):
        return cell == ("yes" if value else "no")
    if isinstance(value, int | float):
        return math.isclose(float(cell.replace(",", "")), value, rel_tol=5.1e-3, abs_tol=1e-12)
    return cell == visible(str(value))
