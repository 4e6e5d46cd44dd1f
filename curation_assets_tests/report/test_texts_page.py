"""Pages of texts: whatever a text holds is text, and a number leads to the texts of the subset that it is about."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curation_assets.engine.graph import STEPS
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import Workspace
from curation_assets.report.composition_build import composition
from curation_assets.report.page_build import _texts_behind, page, published
from curation_assets.report.texts import TEXTS
from curation_assets.report.texts_page import Texts, write_pages
from curation_assets_tests.making import commit, load, materialize
from curation_assets_tests.report.hand_made import texts, workspace
from curation_assets_tests.report.test_untrusted import EVIL
from curation_assets_tests.selection.scored import BUILDERS


def test_texts_are_text(tmp_path: Path) -> None:
    evil = [name for name in EVIL if name != "nul"]
    rows = [
        ("density", "20", "v1", n, EVIL[name], n, EVIL[name], n, EVIL[name], 0.5, 9_999, EVIL[name])
        for n, name in enumerate(evil)
    ]
    rows.append(("random", "2.5B-tokens", "v2", 1, "a", 1, "s0.jsonl", 7, "", 0.25, 5, "short"))
    places = write_pages(tmp_path, pl.DataFrame(rows, schema=TEXTS, orient="row"))
    assert (
        set(places) == {("density", "20"), ("random", "2.5B-tokens")}
        and places["density", "20"].version == "v1"
    )
    for address, _ in places.values():
        name, anchor = address.split("#")
        html = (tmp_path / name).read_text("utf-8")
        assert f'id="{anchor}"' in html and "default-src &#39;none&#39;" in html
    html = (tmp_path / "texts" / "density.html").read_text("utf-8")
    assert not re.search(
        r"<(script|img|iframe|svg|a href=\"(?!\.\./index))",
        html.replace('<a href="../index.html">', ""),
        re.I,
    )
    assert html.count('<li class="document">') == len(evil)
    plain = (tmp_path / "texts" / "random.html").read_text("utf-8")
    assert "score 0.2500; row 7 of s0.jsonl; 5 characters" in plain
    assert "curation show random/subset --partition 2.5B-tokens --order random" in unescape(plain)


def _made(found: Workspace, key: str, inputs: dict[str, str], version: str) -> Receipt:
    with found.store.staged() as folder:
        (folder / "made").write_text(key, "utf-8")
        return commit(found, folder, Receipt(key, "20|small", version, version, "c", inputs, "", {}))


@pytest.mark.slow
def test_a_number_leads_to_the_texts_of_its_subset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = workspace(
        tmp_path, monkeypatch, {"a.jsonl": texts(60)}, {"random": lambda ids: np.arange(len(ids)) / 100}
    )
    key = "random/subset"
    receipt, _ = materialize(found, STEPS[key], "20", lambda inputs: load(BUILDERS[key], found, STEPS[key]))
    step = STEPS["report/composition"]
    materialize(found, step, "", lambda inputs: load(composition, found, step))
    step = STEPS["report/page"]
    materialize(found, step, "", lambda inputs: load(page, found, step))
    html = published(found).read_text("utf-8")
    (address,) = set(re.findall(r'<a href="(texts/[^"]+)"', html))
    name, anchor = address.split("#")
    shown = (published(found).parent / name).read_text("utf-8")
    assert f'id="{anchor}"' in shown and f"<code>{receipt.version}</code>" in shown
    subset = pl.read_parquet(found.open(key, "20") / "subset.parquet")
    ids = re.findall(r'<p class="id"><code>([^<]+)</code>', shown)
    assert len(ids) == 10 and set(ids) <= set(subset["doc_id"])
    assert html.count(f'href="{address}"') >= 2, "from the tables, and from where the numbers come from"
    places = {("random", "20"): Texts("there", receipt.version)}
    for trained, of, leads in (("c1", receipt.version, ["there", "there"]), ("c2", "another", ["", ""])):
        _made(found, "random/checkpoint", {key: of}, trained)
        _made(found, "random/metrics", {"random/checkpoint": trained}, f"m{trained}")
        behind = [
            _texts_behind(Versions(found), places, f"random/{end}", "20|small")
            for end in ("checkpoint", "metrics")
        ]  # type: ignore[arg-type]
        assert behind == leads, "texts of the version that was read, or none"
    _made(found, "random/checkpoint", {key: receipt.version}, "c3")
    assert _texts_behind(Versions(found), places, "random/metrics", "20|small") == "", "measured before"  # type: ignore[arg-type]
