"""The pictures in docs/images: the UI and the report, as `make run` leaves them. Run it by `make screenshots`.

It starts `curation ui` on the data folder of the profile (CURATION_PROFILE, CURATION_DATA), looks at it with Chromium, and ends it.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from curation_assets.config.profile import load_profile
from curation_assets.defs.instance import dagster_home
from curation_assets.engine.workspace import Workspace
from curation_assets.report.page_build import published
from curation_assets_tests.browser.serving import asked, launch, served

_OUT = Path(__file__).parent / "images"
_SIZE = {"width": 1280, "height": 800}
_PATIENCE = 120_000  # milliseconds
_STILL = 2_500  # milliseconds after which nothing on a page moves any more
_COLOURS = 128
_METRIC = "density/metrics"

Shot = Callable[[Page, str], Locator | None]
"""Brings a page to where the picture is taken; returns what to take it of, None for the window."""


def graph(page: Page, url: str) -> None:
    """The whole graph, its groups in the order of the flow."""
    page.goto(f"{url}/asset-groups")
    page.get_by_role("button", name="Hide navigation").click()
    page.goto(f"{url}/asset-groups")  # drawn to fit the room that there is now
    page.get_by_role("button", name="Materialize all").wait_for()


def lineage(page: Page, url: str) -> None:
    """One sampler's chain, from the metric back to the corpus."""
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"{url}/assets/{_METRIC}")
    page.get_by_role("button", name="Hide navigation").click()
    page.goto(f"{url}/assets/{_METRIC}?view=lineage&lineageScope=upstream&lineageDepth=9")
    page.get_by_text("subset", exact=True).first.wait_for()
    page.wait_for_timeout(_STILL)
    page.mouse.move(200, 700)
    page.mouse.down()
    page.mouse.move(170, 700, steps=5)  # from under the buttons at the right
    page.mouse.up()


def picture(page: Page, url: str) -> None:
    """A report's picture, in the metadata of its asset."""
    page.set_viewport_size({"width": 1280, "height": 1100})
    page.goto(f"{url}/assets/report/correlation")
    row = page.get_by_role("row").filter(has=page.get_by_text("correlation", exact=True)).first
    row.get_by_text("[Show Markdown]").click()
    page.get_by_role("dialog").locator("img[src^='data:']").first.wait_for()


def metric(page: Page, url: str) -> None:
    """A metric, with the link to its subset and without the paths of this machine."""
    page.goto(f"{url}/assets/{_METRIC}")
    page.get_by_role("link", name="/assets/density/subset").first.wait_for()
    page.get_by_placeholder("Filter metadata keys").fill("subset")
    page.get_by_text("Metadata", exact=True).evaluate("node => node.scrollIntoView({block: 'start'})")


def jobs(page: Page, url: str) -> None:
    """The jobs."""
    page.goto(f"{url}/jobs")
    page.get_by_text("refresh_models").first.wait_for()


def automation(page: Page, url: str) -> None:
    """What happens by itself."""
    page.goto(f"{url}/automation")
    page.get_by_text("corpus_changes").first.wait_for()


def run(page: Page, url: str) -> None:
    """What a run tells of itself."""
    query = "{ runsOrError(limit: 500) { ... on Runs { results { runId status jobName } } } }"
    runs = asked(url, query)["runsOrError"]["results"]
    wanted = [run["runId"] for run in runs if (run["status"], run["jobName"]) == ("SUCCESS", "curation_run")]
    page.goto(f"{url}/runs/{wanted[-1]}")
    page.get_by_text("RUN_SUCCESS").first.wait_for()
    page.get_by_placeholder("Filter").last.fill("density/checkpoint[")


def report(page: Page, address: str) -> None:
    """The report's first screen."""
    page.goto(address)


def figure(page: Page, address: str) -> Locator:
    """A figure of the report."""
    page.goto(address)
    return page.locator("figure .picture").first


UI: dict[str, Shot] = {
    "graph": graph,
    "lineage": lineage,
    "picture": picture,
    "metric": metric,
    "jobs": jobs,
    "automation": automation,
    "run": run,
}
PAGE: dict[str, tuple[str, Shot]] = {"report": ("light", report), "figure-dark": ("dark", figure)}


def main() -> None:
    """Take all pictures, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m docs.screenshots", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"default: all of {', '.join([*UI, *PAGE])}")
    parser.add_argument("--out", type=Path, default=_OUT)
    options = parser.parse_args()
    names = options.names or [*UI, *PAGE]
    profile = load_profile()
    page = published(Workspace(profile))
    if not page.exists():
        parser.error(f"{page} is not there: `make run` makes it")
    options.out.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "DAGSTER_HOME": str(dagster_home(profile)),
        "CURATION_DATA": str(profile.data),
    }
    with sync_playwright() as playwright:
        browser = launch(playwright)
        for name in [name for name in names if name in PAGE]:
            scheme, shot = PAGE[name]
            _take(browser, shot, page.as_uri(), options.out / f"{name}.png", scheme)
        wanted = [name for name in names if name in UI]
        with tempfile.TemporaryDirectory() as folder, served(Path(folder) / "log", environment) as url:
            for name in wanted:
                _take(browser, UI[name], url, options.out / f"{name}.png")
        browser.close()


def _take(browser: Browser, shot: Shot, address: str, path: Path, scheme: str = "light") -> None:
    with browser.new_context(viewport=_SIZE, color_scheme=scheme, reduced_motion="reduce") as context:  # type: ignore[arg-type]
        context.set_default_timeout(_PATIENCE)
        page = context.new_page()
        of = shot(page, address) or page
        page.wait_for_timeout(_STILL)
        image = Image.open(io.BytesIO(of.screenshot())).convert("RGB")
        image.quantize(_COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
        print(f"{path}  {path.stat().st_size:,} bytes", flush=True)


if __name__ == "__main__":
    main()
