"""Write the tables of samplers in README.md and docs/*.md anew, from the registry: `python docs/sampler_table.py`."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

from curation_assets.config.registry import SAMPLERS

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_PLACE = re.compile(
    r"(?<=<!-- samplers: docs/sampler_table.py writes this -->\n).*?(?=<!-- /samplers -->)", re.DOTALL
)
_DRAWN = {
    "top_k": "the highest stay",
    "bottom_k": "the lowest stay",
    "ips": "inverse propensity sampling, weight 1/score",
    "uniform": "the noise decides",
}


def table() -> str:
    """Return the table of this project's samplers, Markdown: those that share a table of settings have one row."""
    lines = [
        "| sampler | in the paper | score (higher is better) | how a subset is drawn |",
        "|---|---|---|---|",
    ]
    own = [spec for name, spec in SAMPLERS.items() if name not in SAMPLERS.packages]
    for _, group in groupby(own, lambda spec: (spec.section or spec.name, spec.technique)):
        row = list(group)
        cells = [
            f"`{folded([spec.name for spec in row], '[^_]+_?', len(row))}`",
            folded([spec.paper for spec in row]),
        ]
        lines.append(
            f"| {' | '.join(cells)} | {folded([s.description for s in row])} | {_DRAWN[row[0].technique]} |"
        )
    return "\n".join(lines) + "\n"


def folded(texts: list[str], parts: str = r"[\w%]+|[^\w%]", most: int = 5) -> str:
    """Return texts as one: what they have in common once, what differs in braces; of more than `most`, the first and the last."""
    if len(texts) == 1:
        return texts[0]
    words = [re.findall(parts, text) for text in texts]
    start = _common(words)
    end = _common([one[start:][::-1] for one in words])
    middle = ["".join(one[start : len(one) - end]) for one in words]
    shown = middle if len(middle) <= most else [middle[0], "…", middle[-1]]
    return "".join(words[0][:start]) + "{" + ", ".join(shown) + "}" + "".join(words[0][len(words[0]) - end :])


def _common(words: list[list[str]]) -> int:
    """Return how many first words all have in common."""
    return next(
        (at for at, column in enumerate(zip(*words, strict=False)) if len(set(column)) > 1),
        min(map(len, words)),
    )


def renewed(text: str) -> str:
    """Return a page with its tables of samplers as they should be."""
    return _PLACE.sub(lambda _: table(), text)


if __name__ == "__main__":
    for page in PAGES:
        before = page.read_text("utf-8")
        if renewed(before) != before:
            page.write_text(renewed(before), "utf-8")
            print(f"{page.relative_to(ROOT)}: written")
