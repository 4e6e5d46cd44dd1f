"""The README is true: its graph, its table of samplers and its tree are those of the code."""

from __future__ import annotations

import re
import runpy
from fnmatch import fnmatch
from itertools import pairwise

from curation_assets.config.profile import load_profile
from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.graph import STEPS
from curation_assets_tests.docs.markdown import PAGES, ROOT, of_language

README = PAGES[0]
_NODE = re.compile(r"""(\w+)(?:\[["]?([^\]"]+)["]?\])?""")
_PATTERNS = {
    "perplexity_*/model": "perplexity_*/model",
    "perplexity_*/scores": "perplexity_*/scores",
    "ask_llm_*/model": "ask_llm_*/model",
    "ask_llm_*/scores": "ask_llm_*/scores",
    "(sampler)/subset": "*/subset",
    "(sampler)/export": "*/export",
    "(sampler)/checkpoint": "*/checkpoint",
    "(sampler)/metrics": "*/metrics",
}
"""What stands for many assets -> which; `full_data` and `judge` have nodes of their own."""


def _drawn() -> tuple[dict[str, str], set[tuple[str, str]]]:
    """Return {node id: label} and the arrows of the README's graph, between labels."""
    [block] = of_language(README, "mermaid")
    labels: dict[str, str] = {}
    arrows = set()
    for line in block.text.split("\n"):
        groups = []
        for part in line.split("-->") if "-->" in line else []:
            nodes = [found for each in part.split("&") if (found := _NODE.fullmatch(each.strip()))]
            assert len(nodes) == part.count("&") + 1, f"not understood: {line}"
            labels |= {node[1]: node[2] for node in nodes if node[2]}
            groups.append([node[1] for node in nodes])
        arrows |= {(a, b) for before, after in pairwise(groups) for a in before for b in after}
    return labels, {(labels[a], labels[b]) for a, b in arrows}


def _node(key: str) -> str:
    """Return the label of the node that stands for an asset."""
    for label, pattern in _PATTERNS.items():
        if fnmatch(key, pattern) and key.split("/")[0] in SAMPLERS:
            return label
    return key


def _closed(arrows: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return the arrows and all that follow from them."""
    after: dict[str, set[str]] = {}
    for a, b in arrows:
        after.setdefault(a, set()).add(b)
    found = set()
    for start in after:
        todo, seen = [start], set()
        while todo:
            for node in after.get(todo.pop(), ()):
                if node not in seen:
                    seen.add(node)
                    todo.append(node)
        found |= {(start, node) for node in seen}
    return found


def test_the_graph_is_that_of_the_code() -> None:
    labels, drawn = _drawn()
    profile = load_profile("local")
    real = {(_node(need), _node(key)) for key, step in STEPS.items() for need in step.reads(profile)}
    assert set(labels.values()) == {_node(key) for key in STEPS}
    missing, wrong = _closed(real) - _closed(drawn), _closed(drawn) - _closed(real)
    assert not missing and not wrong, f"not drawn: {sorted(missing)}; drawn but not so: {sorted(wrong)}"


def test_no_arrow_follows_from_others() -> None:
    _, drawn = _drawn()
    idle = [arrow for arrow in sorted(drawn) if _closed(drawn - {arrow}) == _closed(drawn)]
    assert not idle, f"arrows that say nothing new: {idle}"


def test_tables_of_samplers_are_the_registry() -> None:
    """`python docs/sampler_table.py` writes them."""
    writer = runpy.run_path(str(ROOT / "docs" / "sampler_table.py"))
    assert writer["table"]() in README.read_text("utf-8")
    old = [page.name for page in PAGES if writer["renewed"](text := page.read_text("utf-8")) != text]
    assert not old, f"out of date, run docs/sampler_table.py: {old}"


def test_a_row_has_what_its_samplers_share_once() -> None:
    folded = runpy.run_path(str(ROOT / "docs" / "sampler_table.py"))["folded"]
    assert folded(["a_small", "a_large", "a_large_20k"], "[^_]+_?") == "a_{small, large, large_20k}"
    assert folded(["1 of 9", "2 of 9", "4 of 9"], most=2) == "{1, …, 4} of 9"
    assert folded(["Under the xl T5: kept.", "Under the big T5: kept."]) == "Under the {xl, big} T5: kept."
    assert folded(["one"]) == "one" and folded(["one", "two"]) == "{one, two}"


def test_the_tree_is_there_and_whole() -> None:
    [block] = of_language(README, "text")
    folder, named = ROOT, set()
    for line in block.text.split("\n"):
        names = re.findall(r"(?:^|(?<=, )|(?<=      ))\s*([\w-]+(?:/|\.py))", line)
        assert names, f"names nothing: {line}"
        for name in names:
            path = (folder if line.startswith(" ") else ROOT) / name
            assert path.exists(), f"{name} is not there"
            named.add(path.resolve())
        if not line.startswith(" "):
            folder = ROOT / names[0]
    package = ROOT / "curation_assets"
    there = {path for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert {path.name for path in there - named} <= {"__init__.py"}, "the tree does not show them"
