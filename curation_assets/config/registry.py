"""The samplers: one line each. Everything else in the graph (assets, subsets, training runs, reports) derives from what it names.

Add a sampler by adding a module and its line here; docs/your-sampler.md walks through it. Packages installed beside this one bring
theirs by the entry point group `curation_assets.samplers`. Modules are imported when the samplers are first asked for.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import ValidationError

from curation_assets.config.lazy import LazyDict
from curation_assets.config.section import Section, identity_settings, is_execution, model_settings

MODULES = (
    "curation_assets.samplers.random:SAMPLER",
    "curation_assets.samplers.density:SAMPLER",
    "curation_assets.samplers.semdedup:SAMPLER",
    "curation_assets.samplers.prototypes:SAMPLER",
    "curation_assets.samplers.perplexity:SAMPLERS",
    "curation_assets.samplers.ask_llm:SAMPLERS",
    "curation_assets.samplers.dsir:SAMPLER",
    "curation_assets.samplers.q_classifier:SAMPLER",
    "curation_assets.samplers.heuristic:SAMPLER",
    "curation_assets.samplers.oracle:SAMPLER",
    "curation_assets.samplers.hybrids:SAMPLERS",
)
"""MODULE:ATTRIBUTE, a sampler or several; those of the paper (v1, appendix B) first, in its order, then what its ICLR version adds."""

GROUP = "curation_assets.samplers"
"""The entry point group by which other packages bring samplers; the value of an entry point reads like a line of `MODULES`."""

INPUTS = (
    *("corpus/documents", "corpus/tokenizer", "corpus/tokens", "corpus/index", "corpus/embeddings"),
    *(REFERENCE := ("corpus/reference", "corpus/reference_embeddings")),
    *("evaluation/contamination", "full_data/checkpoint", "judge/labels", "judge/checkpoint"),
)
"""The assets that samplers may read, besides what they and those before them bring: they are made before any sampler's."""

RESERVED = ("corpus", "evaluation", "full_data", "judge", "report")
"""What the assets are called that are no sampler's, and their groups."""
_CHAIN = ("model", "scores", "subset", "export", "checkpoint", "metrics")

Technique = Literal["top_k", "bottom_k", "ips", "uniform"]

SIZES: tuple[str, ...] = ("small", "base", "large", "xl", "xxl")
"""Rungs of the T5 ladder, smallest first."""

_DRAWN = ("chance", *SIZES)
"""What figures draw besides samplers and full data."""

MILESTONES: dict[str, float] = {"20k": 0.02, "100k": 0.1, "300k": 0.3, "500k": 0.5, "700k": 0.7}
"""Of the paper's 1M steps, those after which T5-Large's own training lent a perplexity scorer -> share of the training."""

RATES: tuple[str, ...] = ("10", "20", "40", "60", "80")
"""The paper's sampling rates (section 4), in percent of the corpus's documents, or of its tokens (`selection.rate_of`): of these there are always subsets."""

_NAME = re.compile("[a-z][a-z0-9_]*")
_log = logging.getLogger(__name__)


SCORE_COLUMNS = ("doc_id", "doc_hash", "source_row", "score")
"""The columns that every table of scores has."""


class Column(NamedTuple):
    """A column of a table: its type as pyarrow calls it (int32, float64, bool, string), and what it is."""

    type: str
    description: str


@dataclass(frozen=True, kw_only=True)
class SamplerSpec:
    """What a sampler is called, what its score means, what it reads, and how a subset is drawn; `samplers.spec.Sampler` also scores.

    Attributes
    ----------
    name : the paper's name in snake case; prefix of the sampler's asset keys.
    family : group in tables and figures (paper, appendix B).
    technique : how scores become a choice (paper, section 3; `selection.select`).
    description : what the score is; higher is better throughout.
    paper : what the paper calls it.
    inputs : asset keys that scoring a corpus file reads, besides `corpus/documents`.
    settings : class of its table [samplers.NAME] in a profile.
    section : that table's name, where several samplers share it; "" for the sampler's own name.
    shared_settings : {table under [samplers]: class} of more tables, which steps that it brings read.
    reads : settings outside its own table that a score depends on, as paths: "selection.seed".
    model : path of the setting that says where its model is: "samplers.perplexity.models.small"; "" for none.
    columns : the columns that its table of scores has besides `score`, by name.
    highest : what no score can be above, where there is such a bound.
    minus : where the score is minus something that people know ("cosine similarity"), what that is: thresholds are in its unit.
    steps : the steps that it brings besides its chain (`engine.step.Step`), each after what it needs.
    code : number to raise when its code changes the scores.
    placed : scoring reads what an unpartitioned input has of its corpus file (`engine.step.Step.placed`).
    about_cut : the lowest score of a choice of the highest -> what that says, for people: metadata of the subset.
    """

    name: str
    family: str
    technique: Technique
    description: str
    paper: str = ""
    inputs: tuple[str, ...] = ()
    settings: type[Section] | None = None
    section: str = ""
    shared_settings: Mapping[str, type[Section]] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    model: str = ""
    columns: Mapping[str, Column] = field(default_factory=dict)
    highest: float | None = None
    minus: str = ""
    steps: tuple[Any, ...] = ()
    code: int = 1
    placed: bool = False
    about_cut: Callable[[float], Mapping[str, Any]] | None = None

    def __post_init__(self) -> None:
        """Refuse, in one line, what would otherwise fail far from here."""
        for what, name in (("name", self.name), ("family", self.family), ("section", self.section or "x")):
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise ValueError(
                    f"sampler {self.name!r}: {what} {name!r} must be lower-case letters, digits and _"
                )
        if self.technique not in get_args(Technique):
            known = ", ".join(get_args(Technique))
            raise ValueError(f"sampler {self.name!r}: technique {self.technique!r} is none of {known}")
        if not all(isinstance(cls, type) and issubclass(cls, Section) for cls in self.sections.values()):
            raise ValueError(f"sampler {self.name!r}: its settings are no class derived from Section")
        for table in self.sections:
            if hasattr(Section, table):
                raise ValueError(f"sampler {self.name!r}: no table can be called [samplers.{table}]")
        if self.family in RESERVED or self.name in _DRAWN:
            raise ValueError(f"sampler {self.name!r}: its name, or the family {self.family!r}, is taken")
        table, _, setting = self.model.removeprefix("samplers.").partition(".")
        if self.model and setting.partition(".")[0] not in model_settings(self.sections.get(table, Section)):
            raise ValueError(
                f"sampler {self.name!r}: model {self.model!r} is the path of no `Model` in its settings"
            )
        if taken := self.columns.keys() & SCORE_COLUMNS:
            raise ValueError(f"sampler {self.name!r}: every table of scores has a column {min(taken)!r}")
        for name, column in self.columns.items():
            if not isinstance(column, Column):
                raise ValueError(f"sampler {self.name!r}: column {name!r} must be a Column, not {column!r}")

    @property
    def then(self) -> str:
        """The sampler whose scores it draws by: itself, unless it is a hybrid (`samplers.hybrids`)."""
        return self.name

    @property
    def hybrid(self) -> bool:
        """Whether it has no scores of its own: it draws by those of another what its first stage leaves."""
        return self.then != self.name

    @property
    def reads_reference(self) -> bool:
        """Whether it is fitted to the reference text."""
        return not {*self.inputs, *(key for step in self.steps for key in step.needs)}.isdisjoint(REFERENCE)

    @property
    def reads_labels(self) -> bool:
        """Whether it goes by labels that the corpus carries."""
        return "labels.field" in self.reads

    @property
    def sections(self) -> dict[str, type[Section]]:
        """Its tables under [samplers], by name."""
        own = {} if self.settings is None else {self.section or self.name: self.settings}
        return {**self.shared_settings, **own}

    @property
    def setting_paths(self) -> tuple[str, ...]:
        """The settings that a score depends on: those of its own table but for model sources, whose files count instead."""
        if self.settings is None:
            return self.reads
        own, models = f"samplers.{self.section or self.name}", model_settings(self.settings)
        if not models:
            return (own, *self.reads)
        single = [f"{own}.{name}" for name in identity_settings(self.settings) if name not in models]
        return (*single, *self.reads)


class Samplers(LazyDict[SamplerSpec]):
    """{name: sampler}, in the order of `MODULES`, then by package and entry point. Loaded when first looked into.

    What another package brings and cannot be used is left out, with a warning that names the package: the graph goes on without it,
    and whoever asks for the sampler by name is told why there is none.

    Attributes
    ----------
    packages : {name: package} of those that other packages bring.
    left_out : {name of a sampler, or of its entry point: why there is none}.
    """

    def __init__(self) -> None:
        super().__init__("samplers", self._load)
        self.packages: dict[str, str] = {}
        self.left_out: dict[str, str] = {}

    @property
    def scored(self) -> list[str]:
        """The names of those with scores of their own: all but hybrids."""
        return [name for name, sampler in self.items() if not sampler.hybrid]

    @property
    def sections(self) -> dict[str, type[Section]]:
        """The tables under [samplers] of a profile."""
        return {name: cls for sampler in self.values() for name, cls in sampler.sections.items()}

    def _load(self) -> dict[str, SamplerSpec]:
        accepted = _Accepted()
        for sampler in (s for line in MODULES for s in _samplers_at(EntryPoint("", line, GROUP))):
            if why := accepted.misfit(sampler):
                raise ValueError(why)
            accepted.add(sampler)
        self._add_foreign(accepted)
        return dict(
            sorted(accepted.samplers.items(), key=lambda item: item[1].hybrid)
        )  # after all that they may read

    def _add_foreign(self, accepted: _Accepted) -> None:
        """Add the samplers of other packages that can be used."""
        foreign: list[tuple[str, SamplerSpec]] = []
        for entry in sorted(entry_points(group=GROUP), key=lambda e: (_package(e), e.name)):
            try:
                samplers = _samplers_at(entry)
                for sampler in samplers:
                    _check_defaults(sampler)
            except (Exception, SystemExit) as error:  # whatever a foreign module does when it is imported
                self._refuse(_package(entry), entry.name, f"{entry.value}: {type(error).__name__}: {error}")
            else:
                foreign += [(_package(entry), sampler) for sampler in samplers]
        for package, sampler in foreign:
            twins = [other for other, s in foreign if s is not sampler and s.name == sampler.name]
            try:
                why = (
                    f"{twins[0]} has a sampler {sampler.name!r} as well"
                    if twins
                    else accepted.misfit(sampler)
                )
            except Exception as error:  # whatever stands in place of a text or a tuple
                why = f"sampler {sampler.name!r}: {type(error).__name__}: {error}"
            if why:
                self._refuse(package, sampler.name, why)
            else:
                accepted.add(sampler)
                self.packages[sampler.name] = package

    def _refuse(self, package: str, name: str, why: str) -> None:
        line = f"package {package}: {' '.join(why.split())}"
        self.left_out.setdefault(name, line)
        _log.warning("samplers left out: %s", line)


class _Accepted:
    """The samplers so far, and what they make."""

    def __init__(self) -> None:
        self.samplers: dict[str, SamplerSpec] = {}
        self._sections: dict[str, type[Section]] = {}
        self._made: dict[str, Any] = dict.fromkeys(INPUTS)

    def misfit(self, sampler: SamplerSpec) -> str:
        """Return why a sampler cannot stand beside those that there are; "" where it can."""
        owners = {*RESERVED, *(key.partition("/")[0] for key in self._made)}
        if sampler.name in owners:
            return f"sampler {sampler.name!r} would have the assets of another"
        for name, section in sampler.sections.items():
            if self._sections.get(name, section) is not section:
                return f"sampler {sampler.name!r}: the table [samplers.{name}] is another's"
        if sampler.hybrid:
            then = self.samplers.get(sampler.then)
            if then is None or then.hybrid:
                return f"sampler {sampler.name!r} draws by {sampler.then!r}, which no sampler before it has scores of"
            if then.technique != sampler.technique:
                return f"sampler {sampler.name!r} has the technique {sampler.technique!r}, but {then.name}'s is {then.technique!r}"
        for path in (*sampler.reads, *(path for step in sampler.steps for path in step.settings)):
            if not _is_setting(path, self._sections | sampler.sections):
                return f"sampler {sampler.name!r}: no profile has a setting {path!r} that changes results"
        known = {*self._made, *([f"{sampler.name}/model"] if sampler.model else ())}
        chain = {f"{sampler.name}/{stage}" for stage in _CHAIN}
        for step in sampler.steps:
            owner, *rest = step.key.split("/")
            if not rest or not all(map(_NAME.fullmatch, (owner, *rest, step.group))):
                return f"sampler {sampler.name!r}: a step {step.key!r} in the group {step.group!r} cannot be shown"
            if owner in RESERVED or step.group in RESERVED or step.key in chain:
                return f"sampler {sampler.name!r}: the step {step.key!r} in the group {step.group!r} is no sampler's to bring"
            if step.drift and not _is_setting(step.drift, self._sections | sampler.sections, execution=True):
                return f"sampler {sampler.name!r}: no profile has a setting {step.drift!r} to drift by"
            if self._made.get(step.key, step) is not step:
                return f"sampler {sampler.name!r}: the step {step.key!r} is another's"
            if unknown := set(step.needs) - known:
                return f"sampler {sampler.name!r}: {step.key!r} reads {min(unknown)!r}, which nothing before it makes"
            known.add(step.key)
        if unknown := set(sampler.inputs) - known:
            return f"sampler {sampler.name!r} reads {min(unknown)!r}, which nothing before it makes"
        return ""

    def add(self, sampler: SamplerSpec) -> None:
        """Add a sampler that fits."""
        self.samplers[sampler.name] = sampler
        self._sections |= sampler.sections
        self._made |= {step.key: step for step in sampler.steps}
        self._made |= {f"{sampler.name}/{stage}": sampler for stage in _CHAIN}


def _is_setting(path: str, sections: Mapping[str, type[Section]], execution: bool = False) -> bool:
    """Tell whether a profile that has these tables under [samplers] has a setting that changes results, or also one of `execution`."""
    from curation_assets.config.profile import Profile

    section: Any = Profile
    names = path.split(".")
    if names[0] == "samplers":
        if len(names) == 1:
            return False
        section, names = sections.get(names[1]), names[2:]
    for number, name in enumerate(names, 1):
        if get_origin(section) is dict:
            return number == len(names)  # keys of a table are the profile's
        setting = getattr(section, "model_fields", {}).get(name)
        if setting is None or (is_execution(setting) and not execution):
            return False
        section = setting.annotation
    return section is not None


def _samplers_at(entry: EntryPoint) -> list[SamplerSpec]:
    """Return the sampler, or the samplers, that MODULE:ATTRIBUTE is."""
    loaded = entry.load()
    samplers = list(loaded) if isinstance(loaded, tuple | list) else [loaded]
    for sampler in samplers:
        if not isinstance(sampler, SamplerSpec) or type(sampler) is SamplerSpec:
            raise TypeError(f"{type(sampler).__name__} is no Sampler: write MODULE:ATTRIBUTE of one")
    return samplers


def _check_defaults(sampler: SamplerSpec) -> None:
    """Refuse settings without a default: no packaged profile names them."""
    for name, section in sampler.sections.items():
        if not has_defaults(section):
            raise ValueError(f"[samplers.{name}]: every setting of {section.__name__} needs a default")


def has_defaults(section: type[Section]) -> bool:
    """Tell whether a table may be left out of a profile: each of its settings has a default that is valid."""
    try:
        section()
    except ValidationError:
        return False
    return True


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


SAMPLERS = Samplers()
"""All samplers by name."""
