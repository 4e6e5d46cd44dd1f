"""What the jobs bring up to date: which steps and partitions, and what a choice changes."""

from __future__ import annotations

from enum import Enum

import pytest

from curation_assets.config.profile import Profile, ProfileError, load_profile
from curation_assets.config.registry import RATES, SAMPLERS
from curation_assets.defs.jobs import FOLLOW, JOBS, Chosen, chosen, narrowed, scope_of
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import wanted_steps
from curation_assets.engine.report_steps import REPORTS
from curation_assets.engine.workspace import Workspace

LOCAL = load_profile("local")


def _keys(name: str, choice: Chosen) -> list[str]:
    return [step.key for step in scope_of(LOCAL, name, choice).steps]


@pytest.mark.parametrize("name", [*JOBS, FOLLOW])
def test_steps_stand_after_what_they_read(name: str) -> None:
    keys = _keys(name, Chosen())
    assert keys == sorted(keys, key=list(STEPS).index) and len(set(keys)) == len(keys)


def test_what_each_job_makes() -> None:
    everything = {step.key for step in wanted_steps(LOCAL)}
    assert set(_keys("first_comparison", Chosen())) == everything
    scored = set(_keys("score_what_changed", Chosen()))
    scorers = {scorer for name in LOCAL.chosen_samplers for scorer in LOCAL.scorers(name)}
    assert {f"{name}/scores" for name in scorers} | {
        f"{name}/subset" for name in LOCAL.chosen_samplers
    } <= scored
    assert not {key for key in scored if key.endswith("/metrics") or key.startswith("report/")}
    assert {key for key in scored if STEPS[key].trains} == {"full_data/checkpoint", "judge/checkpoint"}
    assert set(_keys("select_at_all_rates", Chosen())) == {f"{name}/subset" for name in LOCAL.chosen_samplers}
    assert set(_keys("make_the_report", Chosen())) == {f"report/{name}" for name in (*REPORTS, "page")}
    assert _keys("make_the_report", Chosen(sections=("quality",))) == ["report/quality", "report/page"]
    assert set(_keys(FOLLOW, Chosen())) == everything
    assert set(_keys(FOLLOW, Chosen(listing=False))) == everything - {"corpus/source"}


def test_a_cell_needs_its_own_sampler_alone() -> None:
    made = _keys("train_and_evaluate_one_cell", Chosen(("density",), ("40%",), ("base",)))
    assert {"density/scores", "density/subset", "density/checkpoint", "density/metrics"} <= set(made)
    owners = {key.split("/")[0] for key in made}
    assert owners & {*SAMPLERS, "judge", "full_data"} == {"density"}
    assert "full_data/checkpoint" in _keys("train_and_evaluate_one_cell", Chosen(("perplexity_xl",)))


def _partitions(profile: Profile, job: str, choice: Chosen, key: str) -> list[str]:
    return scope_of(profile, job, choice).partitions(Workspace(profile), STEPS[key])


def test_partitions_follow_the_choice(tiny: Profile) -> None:
    cell, choice = "train_and_evaluate_one_cell", Chosen(("density",), ("40%",), ("base",))
    assert _partitions(tiny, cell, choice, "density/metrics") == ["40|base"]
    assert _partitions(tiny, cell, choice, "density/subset") == ["40"]
    assert _partitions(tiny, cell, Chosen(), "density/metrics") == ["20|small"]
    assert _partitions(tiny, cell, Chosen(), "density/subset") == list(RATES)
    assert _partitions(tiny, cell, Chosen(), "corpus/index") == [""]


def test_models_on_all_data_are_trained_where_something_is_made_of_them(tiny: Profile) -> None:
    few = Chosen(("perplexity_large_20k",), sizes=("xxl",))
    assert _partitions(tiny, "score_what_changed", few, "full_data/checkpoint") == ["large"]
    assert _partitions(tiny, "train_and_evaluate_one_cell", few, "full_data/checkpoint") == ["large"]
    assert _partitions(tiny, "first_comparison", few, "full_data/checkpoint") == ["large", "xxl"]
    assert _partitions(tiny, "first_comparison", few, "full_data/metrics") == ["large", "xxl"]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (Chosen(("densty",)), "samplers: there is no 'densty'; there are random, density"),
        (Chosen(amounts=("25%",)), "amounts: there is no '25%'; there are 10%, 20%, 40%, 60%, 80%"),
        (Chosen(amounts=("25",)), 'amounts: 25 is no rate: say "25%"'),
        (Chosen(sizes=("xxxl",)), "sizes: there is no 'xxxl'"),
    ],
)
def test_a_choice_that_there_is_not_is_named(choice: Chosen, said: str) -> None:
    with pytest.raises(ProfileError, match=said.replace("(", r"\(")):
        narrowed(LOCAL, choice)


def test_a_sampler_without_a_model_is_named() -> None:
    models = {k: v for k, v in LOCAL.samplers.ask_llm.models.items() if k != "xl"}
    asking = LOCAL.samplers.ask_llm.model_copy(update={"models": models})
    samplers = LOCAL.samplers.model_copy(update={"ask_llm": asking})
    profile = LOCAL.model_copy(update={"samplers": samplers})
    with pytest.raises(ProfileError, match=r"models\.xl is missing: sampler ask_llm_xl needs it"):
        narrowed(profile, Chosen(("ask_llm_xl",)))


def test_a_choice_is_read_from_config_in_any_form() -> None:
    size = Enum("size", {"base": "base"})
    assert chosen({"sampler": "density", "amount": "20%", "size": size["base"]}) == Chosen(
        ("density",), ("20%",), ("base",)
    )
    assert chosen({"samplers": ["random"], "amounts": ["10%", "80%"]}) == Chosen(("random",), ("10%", "80%"))
    assert chosen({}) == Chosen() and not chosen({"listing": False}).listing
