"""What the jobs make: in which parts, in which order, and what a choice changes."""

from __future__ import annotations

from enum import Enum

import pytest
from curation_assets.defs.job_specs import OFFERS, Choice, asked_for, choice_of, chosen

from curation_assets.config.profile import Profile, ProfileError, load_profile
from curation_assets.config.registry import RATES, SAMPLERS
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import wanted_steps
from curation_assets.engine.report_steps import REPORTS
from curation_assets.engine.workspace import Workspace

LOCAL = load_profile("local")


@pytest.mark.parametrize("profile", ["local", "hub"])
@pytest.mark.parametrize("name", OFFERS)
def test_parts_come_after_all_that_they_read(name: str, profile: str) -> None:
    """Directly or by way of parts before them; and each part's steps are in the graph's order."""
    settings = load_profile(profile)
    parts = OFFERS[name].parts(settings)
    made_in = {step.key: part.name for part in parts for step in part.steps}
    before: dict[str, set[str]] = {}
    order = list(STEPS)
    for part in parts:
        assert part.before <= before.keys(), "each stands after those before it"
        before[part.name] = part.before.union(*(before[other] for other in part.before))
        for step in part.steps:
            needs = {made_in[key] for key in step.reads(settings) if key in made_in} - {part.name}
            assert needs <= before[part.name], step.key
        keys = [step.key for step in part.steps]
        assert keys == sorted(keys, key=order.index)
    for part in parts:
        others = set().union(*(before[other] for other in part.before))
        assert not part.before & others, "no line of the job's graph is there twice"


def test_every_step_that_a_job_makes_is_in_one_part_whatever_is_chosen() -> None:
    choices = (Choice(), Choice(("density",), ("40",), ("base",)), Choice(("ask_llm_xl", "random")))
    for offer in OFFERS.values():
        there = [step.key for part in offer.parts(LOCAL) for step in part.steps]
        assert len(there) == len(set(there))
        for choice in choices:
            steps = offer.work(LOCAL, choice)
            assert {step.key for step in steps} <= set(there) and steps, offer.name


def _keys(name: str, choice: Choice) -> set[str]:
    return {step.key for step in OFFERS[name].work(LOCAL, choice)}


def test_what_each_job_makes() -> None:
    everything = {step.key for step in wanted_steps(LOCAL)}
    assert _keys("first_comparison", Choice()) == everything
    scored = _keys("score_what_changed", Choice())
    assert {f"{name}/{end}" for name in SAMPLERS for end in ("scores", "subset")} <= scored
    assert not {key for key in scored if key.endswith("/metrics") or key.startswith("report/")}
    assert {key for key in scored if STEPS[key].trains} == {"full_data/checkpoint", "judge/checkpoint"}
    assert _keys("select_at_all_rates", Choice()) == {f"{name}/subset" for name in SAMPLERS}
    assert _keys("make_the_report", Choice()) == {f"report/{name}" for name in (*REPORTS, "page")}
    assert _keys("make_the_report", Choice(sections=("quality",))) == {"report/quality", "report/page"}


def test_a_cell_needs_its_own_sampler_alone() -> None:
    made = _keys("train_and_evaluate_one_cell", Choice(("density",), ("40",), ("base",)))
    assert {"density/scores", "density/subset", "density/checkpoint", "density/metrics"} <= made
    assert not {key for key in made if key.split("/")[0] in (*SAMPLERS, "judge", "full_data")} - {
        key for key in made if key.split("/")[0] == "density"
    }
    assert "full_data/checkpoint" in _keys("train_and_evaluate_one_cell", Choice(("perplexity_xl",)))


def _asked(profile: Profile, job: str, choice: Choice, key: str) -> list[str]:
    return asked_for(profile, choice, STEPS[key], OFFERS[job].work(profile, choice))


def test_partitions_follow_the_choice(tiny: Profile) -> None:
    Workspace(tiny)
    cell, choice = "train_and_evaluate_one_cell", Choice(("density",), ("40",), ("base",))
    assert _asked(tiny, cell, choice, "density/metrics") == ["40|base"]
    assert _asked(tiny, cell, choice, "density/subset") == ["40"]
    assert _asked(tiny, cell, Choice(), "density/metrics") == ["20|small"]
    assert _asked(tiny, cell, Choice(), "density/subset") == list(RATES)
    assert _asked(tiny, cell, Choice(), "corpus/index") == [""]


def test_models_on_all_data_are_trained_where_something_is_made_of_them(tiny: Profile) -> None:
    few = Choice(("perplexity_large_20k",), sizes=("xxl",))
    assert _asked(tiny, "score_what_changed", few, "full_data/checkpoint") == ["large"]
    assert _asked(tiny, "train_and_evaluate_one_cell", few, "full_data/checkpoint") == ["large"]
    assert _asked(tiny, "first_comparison", few, "full_data/checkpoint") == ["large", "xxl"]
    assert _asked(tiny, "first_comparison", few, "full_data/metrics") == ["large", "xxl"]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (Choice(("densty",)), "samplers: there is no 'densty'; there are random, density"),
        (Choice(rates=("25",)), "rates: there is no '25'; there are 10, 20, 40, 60, 80"),
        (Choice(sizes=("xxxl",)), "sizes: there is no 'xxxl'"),
    ],
)
def test_a_choice_that_there_is_not_is_named(choice: Choice, said: str) -> None:
    with pytest.raises(ProfileError, match=said.replace("(", r"\(")):
        chosen(LOCAL, choice)


def test_a_sampler_without_a_model_is_named() -> None:
    models = {k: v for k, v in LOCAL.samplers.ask_llm.models.items() if k != "xl"}
    asking = LOCAL.samplers.ask_llm.model_copy(update={"models": models})
    samplers = LOCAL.samplers.model_copy(update={"ask_llm": asking})
    profile = LOCAL.model_copy(update={"samplers": samplers})
    with pytest.raises(ProfileError, match="ask_llm_xl needs a model"):
        chosen(profile, Choice(("ask_llm_xl",)))
    assert all(
        s.key != "ask_llm_xl/scores" for o in OFFERS.values() for p in o.parts(profile) for s in p.steps
    )


def test_a_choice_is_read_from_config_in_any_form() -> None:
    size = Enum("size", {"base": "base"})
    assert choice_of({"sampler": "density", "rate": 20, "size": size["base"]}) == Choice(
        ("density",), ("20",), ("base",)
    )
    assert choice_of({"samplers": ["random"], "rates": [10, 80]}) == Choice(("random",), ("10", "80"))
    assert choice_of({}) == Choice()
