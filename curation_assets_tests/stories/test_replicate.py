"""The profile `replicate`, small: any corpus with noise planted in it, an oracle, runs seed by seed, and the tables of what there is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.replicate import Experiment, detectable, seeds_begun, with_seeds
from curation_assets.common.progress import silent
from curation_assets.config.profile import ProfileError, load_profile
from curation_assets.engine.graph import STEPS
from curation_assets.engine.workspace import Workspace
from curation_assets.report.labels_build import labels
from curation_assets_tests.conftest import make_current, stdlib_texts
from curation_assets_tests.making import load

SMALL = """
extends = "replicate"
[corpus.planted]
url = "texts"
documents = 50
held_out = 60
min_chars = 100
[corpus.planted.noise]
exact_copy = 10
near_copy = 10
menu = 10
keyword_stuffing = 10
shuffled_words = 10
[tokenizer]
vocab_size = 800
[ladder.small]
d_model = 16
d_kv = 4
d_ff = 32
num_layers = 1
num_heads = 4
[pretraining]
tokens = 4000
seeds = [0]
[run]
samplers = ["random", "oracle", "dsir"]
"""


def _profile(folder: Path, text: str = SMALL) -> Path:
    texts = folder / "texts" / "0.jsonl"
    if (
        not texts.exists()
    ):  # what has been imported meanwhile (transformers) adds texts to the standard library's
        rows = [json.dumps({"id": name, "text": text}) + "\n" for name, text in stdlib_texts(300)]
        texts.parent.mkdir()
        texts.write_text("".join(rows), "utf-8")
    (folder / "small.toml").write_text(text, "utf-8")
    return folder / "small.toml"


def test_the_packaged_profile_is_the_local_one_but_for_what_it_says() -> None:
    profile, local = load_profile("replicate"), load_profile("local")
    assert profile.name == "replicate" and profile.data == Path("data/replicate").absolute()
    assert (
        profile.embeddings == local.embeddings
        and profile.pretraining.noise_density == local.pretraining.noise_density
    )
    assert len(profile.pretraining.seeds) >= 5 and "oracle" in profile.chosen_samplers
    assert profile.corpus.made == {"planted", "builtin"}
    assert "oracle" not in local.chosen_samplers, "nobody knows which documents are good"


def test_a_corpus_of_ones_own_is_counted_from_the_profiles_folder(tmp_path: Path) -> None:
    profile = load_profile(_profile(tmp_path))
    assert profile.corpus.planted.url == str(tmp_path / "texts") and profile.corpus.made == {"planted"}
    with pytest.raises(
        ProfileError, match=r"labels\.field names no field of the corpus: sampler oracle goes by it"
    ):
        load_profile(_profile(tmp_path, SMALL + '[labels]\nfield = ""\n'))


def test_what_is_clean_is_said_by_a_field_and_its_values(tmp_path: Path) -> None:
    no_copies = load_profile(_profile(tmp_path, SMALL.replace("exact_copy = 10", "exact_copy = 0")))
    assert no_copies.corpus.planted.noise["exact_copy"] == 0, "a kind can be left out"
    with pytest.raises(ProfileError, match="name both"):
        load_profile(_profile(tmp_path, SMALL.replace("documents = 50", 'documents = 50\nvalues = ["good"]')))


def test_seeds_are_all_that_differs_from_one_call_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATION_DATA", str(tmp_path / "data"))
    for base in (load_profile("replicate"), load_profile(_profile(tmp_path))):
        some = load_profile(with_seeds(base, [0, 1]))
        assert some.pretraining.seeds == [0, 1] and some.name == base.name and some.data == base.data
        same = base.pretraining.model_copy(update={"seeds": [0, 1]})
        assert some.identity() == base.model_copy(update={"pretraining": same}).identity()


def test_power_is_that_of_noncentral_t() -> None:
    """Two-sided paired tests with 80 % power, as in G*Power: 1.68 standard deviations for five pairs, 0.66 for twenty."""
    assert [round(detectable(n, 0.05), 2) for n in (5, 10, 20)] == [1.68, 1.0, 0.66]
    assert detectable(5, 0.005) > detectable(5, 0.05)


@pytest.mark.graph
def test_seed_by_seed_and_the_tables_of_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATION_DATA", str(tmp_path / "data"))
    metrics = [f"{name}/metrics" for name in ("full_data", "random", "oracle", "dsir")]
    workspace = Workspace(load_profile(_profile(tmp_path)))
    assert seeds_begun(workspace.profile) == 1
    make_current(workspace, *metrics)
    one = Experiment(workspace)
    trained = workspace.receipt("oracle/checkpoint", "20|small")
    assert one.seeds == 1 and trained is not None and "Power" not in one.tables()

    workspace = Workspace(load_profile(_profile(tmp_path, SMALL.replace("seeds = [0]", "seeds = [0, 1]"))))
    make_current(workspace, *metrics)
    two = Experiment(workspace)
    assert two.seeds == 2
    more = load_profile(_profile(tmp_path, SMALL.replace("seeds = [0]", "seeds = [0, 1, 2]")))
    assert seeds_begun(more) == 2, "whoever goes on does not begin with one seed, which would undo the second"
    for run, losses in two.losses.items():
        assert losses[0] == one.losses[run][0], "the first seed's run is the same, and was not trained again"
        assert np.isfinite(losses).all()
    chosen = workspace.open("oracle/subset", "20") / "subset.parquet"
    assert pl.read_parquet(chosen)["score"].to_list() == [1.0] * len(pl.read_parquet(chosen))

    (tmp_path / "labels").mkdir()
    load(labels, workspace, STEPS["report/labels"])("", tmp_path / "labels", silent)
    measured = pl.read_parquet(tmp_path / "labels" / "labels.parquet")["score"].to_list()
    assert "dsir" in measured and "oracle" not in measured, "it would agree with the labels best"

    page = tmp_path / "page.md"
    page.write_text(
        "Before\n<!-- experiment: benchmarks/replicate.py writes this -->\nold\n<!-- /experiment -->\nafter\n"
    )
    two.write(page)
    text = page.read_text("utf-8")
    assert (
        text.startswith("Before\n") and text.endswith("<!-- /experiment -->\nafter\n") and "old" not in text
    )
    oracle = next(line for line in text.splitlines() if line.startswith("| oracle |"))
    assert [cell.strip() for cell in oracle.split("|")[2:5]] == ["100.0", "100.0", "0.0"]
    assert (tmp_path / "images" / "experiment.svg").read_text("utf-8").startswith("<?xml")
