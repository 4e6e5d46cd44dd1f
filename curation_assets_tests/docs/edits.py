"""Carrying out what a page says is to be changed: whole files, and `diff` blocks."""

from __future__ import annotations

from pathlib import Path

from curation_assets_tests.docs.markdown import Block


def apply(block: Block, project: Path) -> None:
    """Write the file that a block is, or change the file that a diff names.

    A diff begins with `--- FILE`; `@@` begins the next place. Of each place, the lines without a sign and those with `-` must stand
    in the file, one after another and only once; they are replaced by those without a sign and those with `+`.
    """
    if block.language != "diff":
        assert not (project / block.file).exists(), f"{block.where}: {block.file} exists already"
        (project / block.file).write_text(block.text + "\n", "utf-8")
        return
    head, *places = ("\n" + block.text).split("\n@@\n")
    path = project / head.strip().removeprefix("--- ")
    text = path.read_text("utf-8").split("\n")
    for place in places:
        lines = place.rstrip("\n").split("\n")
        assert all(not line or line[0] in " +-" for line in lines), f"{block.where}: a line without a sign"
        before = [line[1:] for line in lines if line[:1] != "+"]
        after = [line[1:] for line in lines if line[:1] != "-"]
        assert before, f"{block.where}: nothing shows the place"
        starts = [at for at in range(len(text)) if text[at : at + len(before)] == before]
        told = "\n".join(before)
        assert len(starts) == 1, f"{block.where}: {path.name} has this place {len(starts)} times:\n{told}"
        text[starts[0] : starts[0] + len(before)] = after
    path.write_text("\n".join(text), "utf-8")
