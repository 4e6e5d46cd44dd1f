"""The messages in docs/troubleshooting.md are what is said: each is brought about, and compared word for word."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from curation_assets_tests.conftest import stdlib_texts, write_shard
from curation_assets_tests.docs import trouble_reading as reading
from curation_assets_tests.docs import trouble_running as running
from curation_assets_tests.docs.markdown import ROOT, of_language
from curation_assets_tests.docs.trouble import Trouble
from curation_assets_tests.docs.walk import Reader

pytestmark = pytest.mark.graph

PAGE = ROOT / "docs" / "troubleshooting.md"
MESSAGES = {block.heading: block.text for block in of_language(PAGE, "text")}
CAUSES: dict[str, Callable[[Trouble], str]] = {
    "Python is too old": reading.an_old_python,
    "A misspelt setting": reading.a_misspelt_setting,
    "No such profile": reading.a_profile_that_is_not_there,
    "Rates that are called amounts now": reading.rates,
    "No amount": reading.no_amount,
    "A model without a commit": reading.a_model_without_a_commit,
    "A data folder of another profile": reading.anothers_folder,
    "A data folder that cannot be written": reading.an_unwritable_folder,
    "No files": reading.no_files,
    "No folder": reading.no_folder,
    "A missing column": reading.no_column,
    "A damaged file": reading.a_damaged_file,
    "A folder that cannot be listed": reading.a_shut_folder,
    "Files that are passed over": reading.a_web_archive,
    "A store without a driver": reading.no_driver,
    "Documents that are not there": running.no_such_document,
    "A package that is not installed": reading.no_package,
    "Pickled weights": reading.pickles,
    "The hub cannot be reached": reading.no_hub,
    "A model that is no chat model": reading.no_chat,
    'A tokenizer without "yes"': reading.no_yes,
    "A judge's base with another tokenizer": reading.other_pieces,
    "Text that the embedder cannot read": reading.unknown_script,
    "Text that is not embedded": reading.cut_text,
    "Two runs of one folder": running.two_runs,
    "A port that is taken": running.a_taken_port,
    "Two UIs of one folder": running.two_uis,
    "A UI for others": running.a_ui_for_others,
    "Stopped": running.ctrl_c,
    "A worker that died": running.a_killed_worker,
    "No GPU": running.no_gpu,
    "Fewer GPUs than processes": running.too_few_gpus,
    "A batch that cannot be shared": running.an_odd_number,
    "A training that diverged": running.divergence,
    "Something that is needed is not there": running.out_of_order,
    "A damaged artifact": running.damage,
    "A damaged catalog": running.a_damaged_catalog,
    "A damaged database of Dagster": running.a_damaged_database,
    "Held-out text is missing": running.nothing_held_out,
    "Data of an evaluation suite are missing": running.no_evaluation_data,
    "Nothing to compare": running.nothing_measured,
    "A score that is no number": running.no_number,
    "Scores that are out of date": running.stale_scores,
    "An amount without a unit": running.no_amount,
    "A budget that the corpus cannot fill": running.too_much,
    "A folder that is not empty": running.an_occupied_folder,
    "Another export in the folder": running.another_export,
    "A corpus that changed since it was scored": running.a_corpus_that_changed,
    "Models that are not learned": running.not_learned,
}
"""Heading -> what brings its message about."""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, teacher: Path) -> Iterator[Reader]:
    """A reader with 24 documents in two files."""
    home = tmp_path_factory.mktemp("trouble")
    (home / "models").mkdir()
    (home / "models" / "my-judge").symlink_to(teacher)
    with pytest.MonkeyPatch.context() as patch:
        found = Reader(home / "project", home / "models", patch)
        texts = stdlib_texts()
        write_shard(Path("texts/a.jsonl"), texts[:12])
        write_shard(Path("texts/b.jsonl"), texts[12:24])
        yield found


def test_every_message_has_a_cause() -> None:
    assert list(MESSAGES) == list(CAUSES)
    assert len(of_language(PAGE, "text")) == len(MESSAGES), "two messages under one heading"


@pytest.mark.parametrize("heading", MESSAGES)
def test_it_is_what_is_said(heading: str, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    said = CAUSES[heading](Trouble(reader, monkeypatch))
    for path, name in ((reader.folder, "/home/me/project"), (reader.models, "/models")):
        said = said.replace(str(path), name)
    first, _, others = said.strip().partition("\n")
    assert first == MESSAGES[heading]
    assert all(line.startswith(("FAILED", "BLOCKED")) for line in others.split("\n") if line), others
