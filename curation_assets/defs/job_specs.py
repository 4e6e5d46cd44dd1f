"""The jobs that people launch from the UI: what each makes, in which parts, and what a person may choose."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from curation_assets.config.profile import Profile, ProfileError
from curation_assets.config.registry import RATES, SAMPLERS
from curation_assets.engine.graph import STEPS
from curation_assets.engine.planner import targets, wanted_steps
from curation_assets.engine.step import Step
from curation_assets.engine.workspace import Workspace

_VERBS = {
    "model": "score",
    "scores": "score",
    "subset": "select",
    "checkpoint": "train",
    "metrics": "evaluate",
}
_PARTS = {
    "corpus": "read_the_corpus",
    "embeddings": "embed",
    "evaluation": "gather_evaluation_data",
    "coverage": "cluster_and_sketch",
    "full_data": "train_full_data",
    "judge": "make_judges",
    "report": "report",
}
"""What the parts are called that make the groups of the graph."""


@dataclass(frozen=True)
class Choice:
    """What a person chose; () is everything that the profile's [run] names."""

    samplers: tuple[str, ...] = ()
    rates: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()


def choice_of(config: Mapping[str, Any]) -> Choice:
    """Return what a job's config says: `rate: 20` and `rates: [20]` are the same."""
    found = {}
    for name in ("sampler", "rate", "size", "section"):
        values = [*config.get(f"{name}s", ()), *([config[name]] if name in config else [])]
        found[f"{name}s"] = tuple(str(value.value if isinstance(value, Enum) else value) for value in values)
    return Choice(**found)


@dataclass(frozen=True)
class Part:
    """A part of a job: its name, the parts right before it, and the steps that it may make."""

    name: str
    before: set[str]
    steps: list[Step]


@dataclass(frozen=True)
class Offer:
    """One job.

    Attributes
    ----------
    name : the job's name.
    what : its description, Markdown; the first line stands for it in lists.
    steps : what it makes under a profile that names what was chosen.
    part : the name of the part of the job that makes a step.
    """

    name: str
    what: str
    steps: Callable[[Profile, Choice], list[Step]]
    part: Callable[[Step], str]

    def parts(self, profile: Profile) -> list[Part]:
        """Return the parts, whatever is chosen; each stands after those before it."""
        able = [name for name, spec in SAMPLERS.items() if not spec.model or profile.model_source(name)]
        steps = {step.key: step for step in self.steps(chosen(profile, Choice(tuple(able))), Choice())}
        members: dict[str, list[Step]] = {}
        before: dict[str, set[str]] = {}
        for step in steps.values():
            part = self.part(step)
            members.setdefault(part, []).append(step)
            needs = {self.part(steps[key]) for key in step.reads(profile) if key in steps}
            before.setdefault(part, set()).update(needs - {part})
        return [Part(name, needs, members[name]) for name, needs in _in_order(before).items()]

    def work(self, profile: Profile, choice: Choice) -> list[Step]:
        """Return what the job makes, each step after what it needs.

        Raises
        ------
        ProfileError
            Something was chosen that there is not.
        """
        return self.steps(chosen(profile, choice), choice)


def asked_for(profile: Profile, choice: Choice, step: Step, steps: list[Step]) -> list[str]:
    """Return the partitions of a step that a job of these steps makes: a subset at all rates unless some were chosen."""
    found = targets(Workspace(chosen(profile, choice)), step, steps)
    return [p for p in found if step.by != "rate" or not choice.rates or p in choice.rates]


def chosen(profile: Profile, choice: Choice) -> Profile:
    """Return the profile with its [run] narrowed, or widened, to what was chosen."""
    named = {"samplers": choice.samplers, "rates": choice.rates, "sizes": choice.sizes}
    known = {"samplers": list(SAMPLERS), "rates": list(RATES), "sizes": profile.sizes}
    for what, names in named.items():
        for name in names:
            if name not in known[what]:
                raise ProfileError(f"{what}: there is no {name!r}; there are {', '.join(known[what])}")
    for name in choice.samplers:
        if SAMPLERS[name].model and profile.model_source(name) is None:
            raise ProfileError(f"samplers: {name} needs a model, and this profile names none for it")
    update = {what: list(names) for what, names in named.items() if names}
    return profile.model_copy(update={"run": profile.run.model_copy(update=update)})


def _in_order(before: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return the parts so that each comes after those that it needs, and needs only what others do not need for it."""
    left, done, all_before = dict(before), dict[str, set[str]](), dict[str, set[str]]()
    while left:
        part = next((part for part, needs in left.items() if needs <= done.keys()), None)
        if part is None:
            raise ValueError(f"parts wait for each other: {', '.join(left)}")
        needs = left.pop(part)
        implied = set().union(*(all_before[need] for need in needs))
        done[part], all_before[part] = needs - implied, needs | implied
    return done


def by_family(step: Step) -> str:
    """Name the part of a step by what it does, and for samplers by family: `embed`, `score_coverage`, `train_ask_llm`."""
    owner, _, stage = step.key.partition("/")
    if step.key == "full_data/metrics":
        return "evaluate_full_data"
    if owner in SAMPLERS and stage in _VERBS:
        return f"{_VERBS[stage]}_{SAMPLERS[owner].family}"
    return _PARTS.get(step.group, step.group)


def by_stage(step: Step) -> str:
    """Name the part of a step by how far along a sampler's chain it is: all before the subset is `prepare`."""
    owner, _, stage = step.key.partition("/")
    verb = _VERBS.get(stage, "score") if owner in SAMPLERS else "score"
    return "prepare" if verb == "score" else verb


def _closure(profile: Profile, ends: Iterable[str]) -> list[Step]:
    """Return what is needed for some assets, and they, each after what it needs."""
    found, todo = set(), list(ends)
    while todo:
        key = todo.pop()
        if key not in found:
            found.add(key)
            todo.extend(STEPS[key].reads(profile))
    return [step for step in STEPS.values() if step.key in found]


def _up_to(end: str) -> Callable[[Profile, Choice], list[Step]]:
    return lambda profile, choice: _closure(profile, [f"{name}/{end}" for name in profile.chosen_samplers])


def _subsets(profile: Profile, choice: Choice) -> list[Step]:
    return [STEPS[f"{name}/subset"] for name in profile.chosen_samplers]


def _sections(profile: Profile, choice: Choice) -> list[Step]:
    wanted = {f"report/{name}" for name in choice.sections}
    reports = [step for step in STEPS.values() if step.group == "report"]
    return [s for s in reports if not wanted or s.key in wanted or s.key == "report/page"]


def _everything(profile: Profile, choice: Choice) -> list[Step]:
    return wanted_steps(profile)


OFFERS = {
    offer.name: offer
    for offer in (
        Offer(
            "score_what_changed",
            "Bring scores and subsets up to date with the corpus.\n\n"
            "Lists the corpus, then makes what is missing or out of date, up to the subsets at all rates: documents, embeddings, "
            "sketch, scores. Nothing is made that is current. Trains only the models that scorers need and do not have yet.",
            _up_to("subset"),
            by_family,
        ),
        Offer(
            "select_at_all_rates",
            "Draw every sampler's subsets anew from the scores that are there.\n\n"
            "No model runs and nothing is scored: seconds. Use it after a change of `selection` or `evaluation.decontaminate`, or "
            "when scores were made one by one. A sampler without scores is named, and the others go on.",
            _subsets,
            by_family,
        ),
        Offer(
            "train_and_evaluate_one_cell",
            "Train a T5 on one sampler's subset and measure it.\n\n"
            "One sampler, one rate, one model size. Makes first what is missing or out of date before that: scores, the subset. "
            "Then look at the sampler's `metrics`, and run `make_the_report`.",
            _up_to("metrics"),
            by_stage,
        ),
        Offer(
            "make_the_report",
            "Make every section of the report from the measurements that are there.\n\n"
            "Nothing is trained or scored; what is missing is shown as missing. The page is copied to `report/index.html` in the "
            "data folder.",
            _sections,
            by_family,
        ),
        Offer(
            "first_comparison",
            "Everything, from the corpus to the report: what `make run` makes.\n\n"
            "Makes what is missing or out of date for the samplers, rates and sizes of the profile's `[run]`, or for those that you "
            "choose. One thing after the other in one process: on a CPU with several cores `make run` is faster. Stopped or killed, "
            "it continues where it was.",
            _everything,
            by_family,
        ),
    )
}
"""The jobs by name."""
