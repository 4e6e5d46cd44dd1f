"""Dagster's UI in a browser, as a person clicks through it."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from curation_assets.defs.descriptions import group
from curation_assets.engine.graph import STEPS
from curation_assets.engine.receipt import Receipt
from curation_assets_tests.browser.conftest import PATIENCE, Made, Watched
from curation_assets_tests.browser.serving import asked

pytestmark = pytest.mark.browser

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_the_graph_shows_all_groups_and_an_asset_is_found_in_it(watched: Watched, ui: str) -> None:
    page = watched.page
    page.goto(ui)
    page.locator(
        "a[href='/asset-groups']"
    ).click()  # by name it is two, once the icon of another has its label
    groups = {asset["groupName"] for asset in asked(ui, "{ assetNodes { groupName } }")["assetNodes"]}
    assert groups == {group(step) for step in STEPS.values()}
    for name in groups:
        page.get_by_text(name, exact=True).first.wait_for()
    page.get_by_placeholder("Jump to").fill("density")
    page.get_by_role("menuitem", name="subset density").click()
    page.get_by_text("density / subset", exact=True).first.wait_for()
    page.get_by_text("View in Asset Catalog").click()
    page.wait_for_url(f"{ui}/assets/density/subset**")
    assert not watched.dialogs


def test_a_click_makes_a_report_and_its_picture_is_there(watched: Watched, ui: str, made: Made) -> None:
    """The report is the same as before it was lost, and its picture is drawn in the page, not loaded from anywhere."""
    page, before = watched.page, _receipt(made, "report/correlation")
    shutil.rmtree(made.workspace.open("report/correlation"))
    page.goto(f"{ui}/assets/report/correlation")
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_role("button", name="Confirm").click()  # most samplers have no scores here
    page.get_by_text(re.compile("Launched run")).wait_for()
    page.get_by_role("link", name="View", exact=True).click()
    page.wait_for_url(f"{ui}/runs/**")
    page.get_by_text("Success", exact=True).first.wait_for(timeout=2 * PATIENCE)
    after = _receipt(made, "report/correlation")
    assert after.version == before.version and after.created > before.created
    assert after.run_id == page.url.rsplit("/", 1)[1].partition("?")[0]
    page.goto(f"{ui}/assets/report/correlation")
    assert _metadata(page, "made").endswith("true")
    width = _picture(page, "correlation")
    assert width > 300
    assert all(address.startswith((ui, "data:", "blob:")) for address in watched.requests)


def test_from_a_metric_to_its_subset(watched: Watched, ui: str, made: Made) -> None:
    page = watched.page
    page.goto(f"{ui}/assets/density/metrics")
    assert _metadata(page, "subset_version").endswith(_receipt(made, "density/subset", "20").version)
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="/assets/density/subset?view=partitions&partition=20").first.click()
    opened.value.get_by_text("rate_realised", exact=True).wait_for()
    opened.value.get_by_text("Materialized (5)").wait_for()
    opened.value.close()
    page.goto(f"{ui}/assets/density/metrics?view=partitions&partition=20%7Csmall")
    page.get_by_text("Missing (0)").wait_for()  # nothing that the profile does not ask for
    page.get_by_text("perplexity_in_distribution", exact=True).first.wait_for()
    page.goto(f"{ui}/assets/density/metrics?view=lineage&lineageScope=upstream&lineageDepth=2")
    page.get_by_text("checkpoint", exact=True).first.wait_for()
    page.get_by_text("subset", exact=True).first.click()
    page.wait_for_url(f"{ui}/assets/density/subset**")


def _receipt(made: Made, key: str, partition: str = "") -> Receipt:
    found = made.workspace.receipt(key, partition)
    assert found is not None
    return found


def _metadata(page: Page, name: str) -> str:
    """Return the row of an asset's metadata with a name, as text."""
    row = page.get_by_role("row").filter(has=page.get_by_text(name, exact=True))
    row.first.wait_for()
    return row.first.inner_text().strip()


def _picture(page: Page, name: str) -> int:
    """Return the width, in pixels of its own, of the picture in a row of the metadata, once it is drawn."""
    row = page.get_by_role("row").filter(has=page.get_by_text(name, exact=True)).first
    row.get_by_text("[Show Markdown]").click()
    picture = page.get_by_role("dialog").locator("img[src^='data:image/png']").first
    picture.wait_for()
    page.wait_for_function("image => image.complete", arg=picture.element_handle())
    return int(picture.evaluate("image => image.naturalWidth"))
