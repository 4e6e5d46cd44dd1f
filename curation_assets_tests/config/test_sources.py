"""Several sources in a profile: who has which place, weights, and that profiles with one url keep their versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation_assets.config.profile import Profile, ProfileError, load_profile
from curation_assets.engine.graph import STEPS

MIX = """
[corpus.sources.web]
url = "web"
weight = 3
[corpus.sources.books]
url = "/books/*.txt"
weight = 1
sample_by = "paragraph"
"""


def profile(folder: Path, text: str, name: str = "mix.toml") -> Profile:
    (folder / name).write_text(text, "utf-8")
    return load_profile(folder / name)


def test_sources_take_the_place_of_a_url_and_the_other_way_round(tmp_path: Path) -> None:
    corpus = profile(tmp_path, MIX).corpus
    assert corpus.url == "" and {name: one.url for name, one in corpus.sources.items()} == {
        "web": str(tmp_path / "web"),
        "books": "/books/*.txt",
    }
    assert corpus.weights == {"web": 3, "books": 1} and corpus.sources["books"].read_as == {
        "sample_by": "paragraph"
    }
    one = profile(tmp_path, 'extends = "mix.toml"\n[corpus]\nurl = "texts"\n', "one.toml").corpus
    assert (one.url, one.sources) == (str(tmp_path / "texts"), {})
    other = profile(tmp_path, 'extends = "mix.toml"\n[corpus.sources.web]\nweight = 9\n', "other.toml").corpus
    assert other.weights == {"web": 9, "books": 1}, "what a source does not say is what it was"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[corpus]\nurl = "a"\n[corpus.sources.b]\nurl = "b"', "give a url, or sources by name"),
        ('[corpus]\nurl = ""', "give a url, or sources by name"),
        (MIX.replace("weight = 1", ""), "sources.books has no weight, and others do"),
        (
            MIX.replace("weight = 1", "weight = 0").replace("weight = 3", "weight = 0"),
            "the weights of all sources are 0",
        ),
        (MIX.replace("weight = 1", "weight = -1"), "corpus.sources.books.weight"),
        (MIX.replace("weight = 1", "weight = inf"), "corpus.sources.books.weight"),
        (MIX.replace("weight = 1", "wieght = 1"), "wieght: unknown key; did you mean 'weight'"),
        (MIX.replace("sources.web", 'sources."a/b"'), "corpus.sources.a/b"),
        (MIX + '[selection]\nwithin = "cluster"', "a rate is kept within one of the two"),
        (MIX + '[corpus]\nkeep_fields = ["source_name"]', "says which of the sources a document is of"),
    ],
)
def test_sources_that_cannot_be_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ProfileError, match=message):
        profile(tmp_path, text)


def test_a_rate_is_kept_within_sources_with_weights_and_may_be_without(tmp_path: Path) -> None:
    weighted = profile(tmp_path, MIX)
    assert weighted.within == "source_name"
    union = MIX.replace("weight", "# weight")
    assert profile(tmp_path, union).within == ""
    assert profile(tmp_path, union + '[selection]\nwithin = "source_name"').within == "source_name"
    assert "corpus/documents" in STEPS["density/subset"].reads(weighted)


def test_one_url_has_the_versions_that_it_had_before_there_were_sources() -> None:
    local = load_profile("local")
    for key in ("corpus/source", "density/subset", "semdedup_density/subset"):
        assert "corpus.sources" in STEPS[key].settings and "corpus.sources" not in STEPS[key].identity(local)


def test_a_weight_is_in_the_version_of_subsets_and_where_a_source_lies_is_not(tmp_path: Path) -> None:
    def code(text: str, key: str = "density/subset") -> str:
        return STEPS[key].code_version(profile(tmp_path, text))

    assert code(MIX) != code(MIX.replace("weight = 3", "weight = 2"))
    assert code(MIX) == code(MIX.replace('"web"', '"elsewhere"'))
    for key in ("corpus/documents", "density/scores", "corpus/index"):
        assert code(MIX, key) == code(MIX.replace("weight = 3", "weight = 2"), key)
