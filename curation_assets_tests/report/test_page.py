"""The page: what stands on it, that every link leads somewhere, and how it is published."""

import base64
import hashlib
import itertools
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation_assets.common.files import write_json
from curation_assets.common.progress import silent
from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.graph import STEPS
from curation_assets.engine.report_steps import REPORTS
from curation_assets.engine.workspace import BuildOne, MissingInput, Workspace
from curation_assets.report.documents_build import documents
from curation_assets.report.page import (
    SIGNS,
    Part,
    Report,
    Source,
    anchor,
    fitted,
    numbers_of,
    render,
    visible,
)
from curation_assets.report.page_build import page, published, published_again
from curation_assets.report.section import Excerpt, Figure, Section, Table, publish, read_section
from curation_assets.report.summary import first_sentences, glances_of
from curation_assets_tests.making import commit, load, materialize, withdraw
from curation_assets_tests.report.hand_made import texts, workspace
from curation_assets_tests.report.reading_pages import Page, assert_inert

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M0 0h9"/></svg>'
SECTION = Section(
    "Comparison of samplers",
    "What was done.\n\nAnd **how**.",
    ["density is better than random at 20 %.", "Nothing else can be told apart."],
    [Figure("curve", "a curve going down", "Perplexity by rate")],
    [
        Table(
            "All runs",
            ["sampler", "perplexity", "note"],
            [["density", 12.5, None], ["random", 13.25, "x"]],
            ["sampler", "note"],
            "comparison.parquet",
            [("density/metrics", "20|small"), None],
        )
    ],
    "Counted.",
    [
        Excerpt(
            ["density"],
            "likes most",
            "doc",
            "from s",
            "text",
            {"density": 99.0, "random": 1.0},
            ("density/metrics", "20|small"),
        )
    ],
)
DOWNLOADS = {"curve.png": "figures/comparison-curve.png", "comparison.parquet": "data/comparison.parquet"}


def _runs() -> pl.DataFrame:
    runs = [
        ("full_data", "100", "small", 10.0),
        ("random", "20", "small", 20.0),
        ("random", "40", "small", 10.0),
    ]
    runs += [("density", "20", "small", 19.0), ("density", "40", "small", 11.0)]
    runs += [("semdedup", "20", "small", 20.2), ("prototypes", "20", "small", 21.0)]
    names = ["sampler", "rate", "size", "perplexity"]
    return pl.DataFrame(runs, schema=names, orient="row").with_columns(seeds=pl.lit(3))


def _differences(*more: tuple[str, str, str, float, str]) -> pl.DataFrame:
    rows = [("density", "20", "perplexity", -1.0, "better"), ("density", "40", "perplexity", 1.0, "worse")]
    rows += [("semdedup", "20", "perplexity", 0.2, "within noise")]
    rows += [("prototypes", "20", "perplexity", 1.0, "no spread"), *more]
    names = ["sampler", "rate", "score", "difference", "verdict"]
    none = pl.lit(None, pl.Float64)
    table = pl.DataFrame(rows, schema=names, orient="row")
    return table.with_columns(size=pl.lit("small"), low=none, high=none)


def _report() -> Report:
    parts = [
        Part(
            "report/comparison",
            SECTION,
            [],
            {"curve": SVG},
            {"curve": numbers_of(["x", "y"], [[1, 2.5]], 300)},
            DOWNLOADS,
        ),
        Part(
            "report/quality",
            replace(SECTION, title="Quality", figures=[]),
            ["random/metrics[20|small] changed"],
        ),
        Part("report/tradeoff", None),
    ]
    runs = ["20|small", "40|small"]
    metrics = [
        Source(f"{n}/metrics", p, "0123456789") for n in ("density", "semdedup", "prototypes") for p in runs
    ]
    reports = [Source(part.key, "", "abc") for part in parts[:2]] + [
        Source("report/tradeoff", "", "", "not made yet")
    ]
    return Report(
        "Samplers",
        ["At 20 % use density."],
        [("Seeds", "5"), ("Amounts", "20, 40 %")],
        glances_of(_runs(), _differences()),
        parts,
        [*reports, *metrics],
    )


def test_the_page_is_whole_and_inert() -> None:
    found = Page(render(_report()))
    assert_inert(found)
    assert render(_report()) == render(_report())
    ids = found.attributes("id")
    assert len(ids) == len(set(ids))
    anchors = {href[1:] for href in found.attributes("href") if href.startswith("#")}
    assert anchors <= set(ids)
    files = {href for href in found.attributes("href") if not href.startswith("#")}
    assert files == set(DOWNLOADS.values())


def test_the_policy_lets_in_this_style_sheet_alone() -> None:
    source = render(_report())
    sheet = re.findall(r"<style>(.*?)</style>", source, re.DOTALL)
    assert len(sheet) == 1
    policy = next(a["content"] for n, a, _ in Page(source).elements if a.get("http-equiv"))
    digest = base64.b64encode(hashlib.sha256(sheet[0].encode()).digest()).decode()
    assert policy is not None and f"style-src-elem 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';") and "script" not in policy and "http" not in policy


def test_a_page_for_everybody() -> None:
    found = Page(render(_report()))
    levels = [int(name[1]) for name, _, _ in found.elements if re.fullmatch("h[1-6]", name)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert next(attrs for name, attrs, _ in found.elements if name == "html")["lang"] == "en"
    assert all(attrs.get("scope") for name, attrs, _ in found.elements if name == "th")
    assert sum(name == "caption" for name, _, _ in found.elements) == sum(
        name == "table" for name, _, _ in found.elements
    )
    strips = [attrs for name, attrs, _ in found.elements if name == "svg"]
    assert strips and all(attrs["role"] == "img" and attrs["aria-label"] for attrs in strips)
    (image,) = [attrs for name, attrs, _ in found.elements if name == "img"]
    assert image["alt"] == "a curve going down" and base64.b64decode(image["src"].split(",")[1]) == SVG


def test_what_is_missing_or_stale_is_said() -> None:
    text = Page(render(_report())).text()
    assert "Not made yet." in text and "report/tradeoff" in text and "curation run" in text
    assert "random/metrics[20|small] changed" in text and "Out of date: " in text
    fresh = _report()
    fresh = replace(fresh, parts=[fresh.parts[0]])
    text = Page(render(fresh)).text()
    assert "Out of date" not in text and "Not made" not in text


def test_the_answer_comes_first() -> None:
    source = render(_report())
    first = source[: source.index('<nav id="contents"')]
    assert first.index("At 20 % use density.") < first.index("density is better than random at 20 %.")
    assert "20, 40 %" in first and "against random sampling" in first
    nothing = render(replace(_report(), parts=[Part("report/comparison", None)], glances=[], facts=[]))
    assert "No models have been compared yet." in nothing
    nothing = render(Report("", [], [], [], [Part("report/comparison", None)], []))
    assert "no report has found anything" in nothing


def test_rows_lead_to_where_their_numbers_come_from() -> None:
    found = Page(render(_report()))
    target = anchor("from", "density/metrics", "20|small")
    at = next(i for i, (_, attrs, _) in enumerate(found.elements) if attrs.get("id") == target)
    row = [text for name, _, parts in found.elements[at : at + 11] for text in parts]
    assert "density/metrics" in row and "20|small" in row and "0123456789" in row
    assert "curation trace density/metrics --partition '20|small'" in row
    links = [a for n, a, t in found.elements if n == "a" and a["href"] == f"#{target}" and t == ["density"]]
    assert links and links[0]["title"] == "from density/metrics[20|small]"
    assert Source("report/page", "", "").trace == "curation trace report/page"
    assert Source("a/b", "$(rm -rf ~)'", "").trace == "curation trace a/b --partition '$(rm -rf ~)'\"'\"''"


def test_a_figure_has_its_numbers_and_says_how_many_are_left_out() -> None:
    text = Page(render(_report())).text()
    assert "Numbers of the figure, the first 1 of 300 rows" in text and "Perplexity by rate" in text


def test_glance_tells_noise_from_difference_and_missing_from_zero() -> None:
    [found] = glances_of(_runs(), _differences())
    after = list(SAMPLERS)[list(SAMPLERS).index("ask_llm_xxl") + 1 :]
    assert list(found.spans) == [("small T5", 2)] and list(found.columns) == ["20 %", "40 %"]
    assert list(found.rows) == ["density", "semdedup", "prototypes"], (
        "against random, who was measured at all"
    )
    assert (
        found.note.endswith(f"ask_llm_xxl, {', '.join(after)}.")
        and " Not measured: perplexity_small, " in found.note
    )
    said = {name: [(m.shown, m.verdict) for m in found.rows[name]] for name in found.rows}
    assert said["density"] == [("−5.0", "better"), ("+10", "worse")]
    assert said["semdedup"] == [("+1.0", "noise"), ("", "missing")]
    assert said["prototypes"] == [("+5.0", "unknown"), ("", "missing")]
    assert found.rows["density"][0].link == ("density/metrics", "20|small")
    assert len({sign for sign, _ in SIGNS.values()}) == len(SIGNS)  # colour is not needed to tell them apart


def test_glance_of_one_cell_has_all_scores_and_knows_which_way_is_better() -> None:
    some = pl.col("rate") != "40"
    differences = _differences(("density", "20", "probes", 3.0, "better")).filter(some)
    [found] = glances_of(_runs().filter(some), differences)
    assert [m[:2] for m in found.rows["density"]] == [("−5.0", "better"), ("+3.0", "better")]
    assert glances_of(_runs().filter(pl.col("sampler") == "full_data"), differences.clear()) == []


def test_a_section_survives_its_file(tmp_path: Path) -> None:
    publish(tmp_path, replace(SECTION, figures=[]))
    assert read_section(tmp_path) == replace(SECTION, figures=[])


def _sections(found: Workspace, *names: str, figure: str = "curve") -> None:
    """Make reports by hand."""
    for name in names:

        def build(partition: str, folder: Path, progress: object, name: str = name) -> dict[str, int]:
            section = replace(SECTION, title=name, figures=[Figure(figure, "a curve")])
            write_json(folder / "section.json", asdict(section))
            (folder / f"{figure}.svg").write_bytes(SVG)
            (folder / f"{figure}.png").write_bytes(b"png")
            pl.DataFrame({"x": [1.5], "y": ["<b>"]}).write_parquet(folder / f"{figure}.parquet")
            return {"rows": 1}

        made: BuildOne = build
        withdraw(found, f"report/{name}")
        materialize(found, STEPS[f"report/{name}"], "", lambda inputs, made=made: made)


def _publish(found: Workspace) -> Page:
    withdraw(found, "report/page")
    materialize(found, STEPS["report/page"], "", lambda inputs: load(page, found, STEPS["report/page"]))
    return Page(published(found).read_text("utf-8"))


def _scores(ids: list[str]) -> np.ndarray:
    return np.array([float(len(i)) for i in ids])


@pytest.mark.parametrize("store", ["", "memory://page"])
def test_publishing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str) -> None:
    found = workspace(tmp_path, monkeypatch, {"s.jsonl": texts(40)}, {"density": _scores}, store)
    assert published_again(found) is None
    with pytest.raises(MissingInput, match="no report has been made"):
        load(page, found, STEPS["report/page"])("", tmp_path, silent)
    materialize(
        found, STEPS["report/documents"], "", lambda inputs: load(documents, found, STEPS["report/documents"])
    )
    _sections(found, "convergence", "correlation")
    shown = _publish(found)
    assert_inert(shown)
    assert shown.text("h2").split("\n")[3:] == [
        *("Comparison", "Quality", "convergence", "Tradeoff", "Labels", "correlation", "Distributions"),
        *("Composition", "Duplicates", "Documents to read", "Where the numbers come from"),
    ]
    folder = found.data / "report"
    assert folder == tmp_path / "data" / "report"
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    named = {href for href in shown.attributes("href") if not href.startswith("#")}
    assert named == files - {"index.html"} and "figures/convergence-curve.png" in files
    artifact = found.open("report/page")
    assert all((artifact / name).read_bytes() == (folder / name).read_bytes() for name in files)
    (folder / "figures" / "convergence-curve.png").unlink()
    assert published_again(found) == published(found), (
        "a removed file comes back without the page being made anew"
    )
    assert (folder / "figures" / "convergence-curve.png").exists()
    _sections(found, "convergence", figure="other")
    assert "convergence-other.png" in " ".join(_publish(found).attributes("href"))
    assert {p.name for p in (folder / "figures").glob("convergence*")} == {
        "convergence-other.png",
        "convergence-other.svg",
    }


def test_a_stale_report_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = workspace(tmp_path, monkeypatch, {"s.jsonl": texts(40)}, {"density": _scores})
    materialize(
        found, STEPS["report/documents"], "", lambda inputs: load(documents, found, STEPS["report/documents"])
    )
    assert "Out of date" not in _publish(found).text()
    monkeypatch.setattr(type(found.profile.report), "identity", lambda self: {"other": 1})
    assert "settings or code changed" in _publish(found).text()
    monkeypatch.undo()


def test_a_report_of_stale_inputs_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = workspace(tmp_path, monkeypatch, {"s.jsonl": texts(40)}, {"density": _scores})
    materialize(
        found, STEPS["report/documents"], "", lambda inputs: load(documents, found, STEPS["report/documents"])
    )
    corpus = found.profile.corpus.model_copy(update={"max_chars": 99_999})
    other = Workspace(found.profile.model_copy(update={"corpus": corpus}))
    assert "Made from what is out of date itself." in _publish(other).text()


def test_a_section_of_another_version_counts_as_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = workspace(tmp_path, monkeypatch, {"s.jsonl": texts(40)}, {"density": _scores})
    _sections(found, "convergence", "tradeoff")
    receipt = found.receipt("report/tradeoff")
    assert receipt is not None
    with found.store.staged() as folder:
        write_json(folder / "section.json", {"heading": "Cost", "figures": [{"path": "a.svg"}]})
        commit(found, folder, replace(receipt, version="earlier"))
    text = _publish(found).text()
    assert (
        "Not made yet: section.json is of another version of the program." in text and "convergence" in text
    )


def test_the_page_reads_every_report() -> None:
    assert tuple(STEPS["report/page"].needs) == ("corpus/index", *(f"report/{name}" for name in REPORTS))


def _wide(columns: int, first: list[str] | None = None) -> Page:
    names = [f"column {i}" for i in range(columns)]
    rows: list[list[str | int | float | None]] = [[f"{i}.123456" for i in range(columns)] for _ in range(3)]
    section = Section("Wide", "", tables=[Table("Wide", names, rows, first=first or [])])
    source = render(Report("Wide", [], [], [], [Part("report/comparison", section)], []))
    return Page(source[source.index("<main>") : source.index('<section id="sources"')] + "</main>")


def test_columns_that_matter_come_first_and_all_of_them_behind_a_click() -> None:
    narrow = _wide(3)
    assert not any(name == "details" for name, _, _ in narrow.elements) and "more" not in str(
        narrow.attributes("class")
    )
    found = _wide(30, ["column 29", "column 3"])
    assert found.well_formed and "All 30 columns" in found.text("summary")
    heads = [
        (attrs.get("class", ""), "".join(t))
        for name, attrs, t in found.elements
        if name == "th" and attrs["scope"] == "col"
    ]
    assert [text for kind, text in heads[: len(heads) - 30] if "more" not in kind] == [
        "column 3",
        "column 29",
    ]
    assert [text for _, text in heads[-30:]] == [f"column {i}" for i in range(30)]
    some = _wide(8)
    whole = next(attrs for name, attrs, _ in some.elements if name == "details")
    assert whole["class"] == "whole small", "a large window has room for all: no click is needed there"


def test_what_can_be_told_comes_before_what_cannot() -> None:
    sections = [replace(SECTION, headline=text) for text in ("Three are copies.", "", "Two disagree.")]
    said = first_sentences(["Use a.", "At 40 % use b."], sections, ["Nothing is known at 60 %."])
    assert said == [
        *("Use a.", "Three are copies.", "Two disagree.", "Nothing is known at 60 %."),
        "At 40 % use b.",
    ]


def test_four_sentences_come_first_and_the_rest_behind_a_click() -> None:
    findings = [f"Finding {i}." for i in range(12)]
    parts = [Part("report/comparison", replace(SECTION, findings=findings, figures=[]))]
    for said, first in ((["Use a.", "Use b."], 2), ([], 4)):
        source = render(replace(_report(), lead=said, parts=parts))
        lead = source[source.index('class="found"') : source.index('class="glances"')]
        shown, folded = lead.split("<details", 1)
        assert shown.count("<li>") == 4 and shown.count("Finding") == first
        assert folded.count("<li>") == 12 + len(said) - 4
        assert f"{12 + len(said) - 4} more" in folded
    few = render(
        replace(
            _report(),
            lead=[],
            parts=[replace(parts[0], section=replace(SECTION, findings=findings[:3], figures=[]))],
        )
    )
    assert " more</summary>" not in few


def test_provenance_is_folded() -> None:
    source = render(_report())
    sources = source[source.index('id="sources"') :]
    assert sources.index("<details>") < sources.index("<table>")
    assert "and of its amount and size: the same version means the same numbers" in sources


@given(st.text())
def test_any_text_of_a_section_is_one_text_on_the_page(value: str) -> None:
    table = Table(value, [value, "n"], [[value, 1]], [value])
    section = Section(value, "", [value], tables=[table])
    found = Page(render(Report("t", [], [], [], [Part("report/comparison", section)], [])))
    assert_inert(found)
    parts = [t for name, _, t in found.elements if name in ("caption", "li", "th", "h2")]
    assert sum("".join(part) == visible(value) for part in parts) >= 4


@given(st.text())
def test_visible_leaves_no_control_and_is_stable(value: str) -> None:
    shown = visible(value)
    assert visible(shown) == shown
    assert not any(ord(c) < 32 and c not in "\t\n" for c in shown)
    shown.encode()  # no lone surrogate is left


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred", "␛[31mred"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("\x00\x7f\x9b", "␀␡⟨U+009B⟩"),
        ("\u2066x\u2069\u200e\u061c", "⟨U+2066⟩x⟨U+2069⟩⟨U+200E⟩⟨U+061C⟩"),
        ("\ud800\U000e0041", "⟨U+D800⟩⟨U+E0041⟩"),
        ("tab\tline\nعربي 漢 👩‍👩", "tab\tline\nعربي 漢 👩‍👩"),
    ],
)
def test_visible_word_for_word(raw: str, shown: str) -> None:
    assert visible(raw) == shown


def test_anchors_are_safe_and_differ() -> None:
    names = [
        ("a", "b"),
        ("a-b",),
        ("a/b",),
        ("A-b",),
        ("漢",),
        ("",),
        ('"><script>',),
        ("x" * 500,),
        ("20|small",),
    ]
    made = [anchor(*name) for name in names]
    assert made[0].startswith("a-b-") and made[-1].startswith("x-20-small-")
    assert len(set(made)) == len(names) and made == [anchor(*name) for name in names]
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", one) for one in made)


def test_numbers_are_aligned_right_and_words_are_not() -> None:
    rows: list[list[str | int | float | None]] = [["a", "not measured", "w" * 40], ["b", 2, None]]
    grid = fitted(Table("t", ["name", "number", "text"], rows, ["name", "text"]), {}, None).first
    (first, *_), (second, *_) = (lines for lines, _ in grid.lines)
    assert [column.classes(text) for column, text in next(grid.lines)[0]] == [None, "n", "w"]
    assert (first[1], second[1]) == ("a", "b")
