"""The reader of the docs misses no block, and every block is of a kind that is tested."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets_tests.docs.markdown import (
    PAGES,
    Block,
    blocks,
    commands,
    links,
    of_language,
    prose,
    slug,
    spans,
)

TESTED = {
    "sh": "test_commands.py",
    "python": "test_commands.py, or test_sampler.py and test_judge.py",
    "toml": "test_profiles.py",
    "diff": "test_sampler.py",
    "text": "test_troubleshooting.py, or the tree of README.md in test_readme.py",
    "mermaid": "test_readme.py",
}
"""Language of a block -> the tests that run it."""

PAGE = """# One & two

Text with `code` and a [link](b.md#c).

```sh
A=1 make x \\
  --y "z w"  # why
# nothing
```

    indented [no link](no.md)

    still

  ~~~toml
  a = 1
  ~~~
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


def test_blocks_links_and_spans_are_found(page: Path) -> None:
    shell, indented, toml = blocks(page)
    assert (shell.language, shell.line, shell.heading) == ("sh", 6, "One & two")
    [command] = commands(shell)
    assert (command.variables, command.words) == ({"A": "1"}, ("make", "x", "--y", "z w"))
    assert (indented.language, indented.text) == ("", "indented [no link](no.md)\n\nstill")
    assert (toml.language, toml.text.strip()) == ("toml", "a = 1")
    assert links(page) == ["b.md#c"] and spans(page) == ["code"]
    assert "indented" not in prose(page) and "make" not in prose(page) and slug("One & two") == "one--two"


def test_a_block_without_an_end_is_refused(page: Path) -> None:
    page.write_text("```sh\nmake run\n")
    with pytest.raises(ValueError, match="does not end"):
        list(blocks(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_of_a_kind_that_is_tested(page: Path) -> None:
    strange = [block.where for block in blocks(page) if block.language not in TESTED]
    assert not strange, f"blocks in a language that no test runs: {strange}"


def test_shell_blocks_hold_commands() -> None:
    def empty(block: Block) -> bool:
        return not commands(block)

    assert not [block.where for page in PAGES for block in of_language(page, "sh") if empty(block)]
