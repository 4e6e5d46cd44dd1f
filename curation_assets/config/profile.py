"""One typed settings tree, read from TOML, checked once, then frozen; `settings` has its sections."""

from __future__ import annotations

import logging
import os
import tomllib
from collections.abc import Iterable
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import Field, StringConstraints, ValidationError, create_model, model_validator

from curation_assets.config.amount import amount, ordered
from curation_assets.config.export_settings import Export
from curation_assets.config.first_stage import FirstStage, first_stage
from curation_assets.config.model_sources import ModelSource, parse
from curation_assets.config.paths import value_at
from curation_assets.config.registry import RATES, SAMPLERS, SIZES, has_defaults
from curation_assets.config.section import Section, model_settings
from curation_assets.config.settings import (
    CLUSTER,
    MADE,
    SOURCE_NAME,
    Automation,
    Corpus,
    Embeddings,
    Execution,
    Judge,
    Labels,
    Report,
    Run,
    Selection,
    Size,
    Tokenizer,
    nearest,
    unknown_sampler,
)
from curation_assets.config.training_settings import Evaluation, LadderShape, Pretraining

PACKAGED = ("local", "hub", "replicate")
PATHS = (
    ("corpus", "url"),
    ("corpus", "hq_url"),
    ("corpus", "reference_url"),
    ("evaluation", "eval_root"),
    ("labels", "url"),
    ("execution", "data"),
    ("execution", "store"),
)
"""Settings that are a path or a URL. A relative path counts from the folder of the profile's file."""
MODELS = (
    ("tokenizer", "model"),
    ("embeddings", "model"),
    ("judge", "teacher"),
    ("judge", "bases"),
)
"""Settings that are a model source, or a table of them: of "path:FOLDER" the same holds, as of those of samplers."""
_log = logging.getLogger(__name__)
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class ProfileError(ValueError):
    """A profile that cannot be used; the message has one line per mistake."""


class Profile(Section):
    """The whole tree. `source` is where it was read from: a packaged name, or the absolute path of a file.

    `samplers` has the table of each sampler, or family, that has settings: `samplers.density.rows`.
    """

    name: Name = Field(json_schema_extra={"execution": True})
    source: str = Field(json_schema_extra={"execution": True})
    corpus: Corpus
    tokenizer: Tokenizer
    embeddings: Embeddings
    samplers: Any  # in what `profile_type` returns, a section of the registry's sections
    judge: Judge
    selection: Selection
    ladder: dict[Size, LadderShape]
    pretraining: Pretraining
    evaluation: Evaluation
    report: Report
    labels: Labels
    run: Run
    export: Export
    automation: Automation
    execution: Execution

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [size for size in self.run.sizes if size not in self.ladder]
        if missing:
            raise ValueError(f"run.sizes names {missing[0]!r}, which has no [ladder.{missing[0]}]")
        budgets = [text for text in self.run.amounts if amount(text).kind != "rate"]
        if budgets and self.selection.within and not self.corpus.weights:
            raise ValueError(
                f"run.amounts: within {self.selection.within} (selection.within) a selection keeps a rate, not {budgets[0]}"
            )
        labels = self.labels
        if labels.field and not labels.url and labels.field not in self.corpus.keep_fields:
            raise ValueError(
                f"labels.field {labels.field!r} is not among corpus.keep_fields, which carries it along"
            )
        for name, spec in SAMPLERS.items():
            if spec.hybrid:
                check_first(f"samplers.{name}.first: ", self.first_stage(name), name)
        for name in (*self.chosen_samplers, *self.export.samplers):
            if why := self._lacks(name):
                raise ValueError(why)
        check_within("selection.within: ", self.selection.within, self.corpus.kept_columns)
        if self.corpus.weights and self.within != SOURCE_NAME:
            raise ValueError(
                f"selection.within is {self.within!r}, and corpus.sources have weights: a rate is kept within one of the two"
            )
        return self

    @property
    def within(self) -> str:
        """The field within whose values a rate is kept: `selection.within`, or the source where sources have weights; "" for none."""
        return self.selection.within or (SOURCE_NAME if self.corpus.weights else "")

    def first_stage(self, sampler: str) -> FirstStage | None:
        """Return what a hybrid chooses from; None for a sampler that chooses from the whole corpus."""
        return first_stage(getattr(self.samplers, sampler).first) if SAMPLERS[sampler].hybrid else None

    def scorers(self, sampler: str) -> list[str]:
        """Return the samplers whose scores decide of a sampler's choice: itself, or the stages of a hybrid, the last first."""
        first = self.first_stage(sampler)
        return [SAMPLERS[sampler].then, *([first.sampler] if first else [])]

    def _lacks(self, sampler: str) -> str:
        """Tell that a sampler has no model or no reference text, or a model that this profile never makes; "" where it has all."""
        if SAMPLERS[sampler].hybrid:
            return next(
                (f"{sampler}: {why}" for name in self.scorers(sampler) if (why := self._lacks(name))), ""
            )
        if SAMPLERS[sampler].reads_reference and not (self.corpus.reference_url or self.corpus.hq_url):
            return (
                f"corpus.reference_url and corpus.hq_url are empty: sampler {sampler} needs reference text "
                "(or leave it out of run.samplers)"
            )
        if SAMPLERS[sampler].reads_labels and (self.labels.url or not self.labels.field):
            return f"labels.field names no field of the corpus: sampler {sampler} goes by it (or leave it out of run.samplers)"
        return self._lacks_model(sampler)

    def _lacks_model(self, sampler: str) -> str:
        """Tell that a sampler has no model, or one that this profile never makes; "" where it has all that it needs."""
        where, source = SAMPLERS[sampler].model, self.model_source(sampler)
        if not where:
            return ""
        if source is None:
            return f"{where} is missing: sampler {sampler} needs it (or leave it out of run.samplers)"
        if source.kind != "asset":
            return ""
        if source.partition not in (self.judge.bases if source.name == "judge/checkpoint" else self.ladder):
            return f"{where} is {source}, but this profile makes no {source.name} of that size"
        kept = [1.0] if source.name == "judge/checkpoint" else self.pretraining.snapshots
        if source.share not in kept:
            return f"{where} is {source}, but of {source.name} only the shares {kept} are kept"
        return ""

    def model_source(self, sampler: str) -> ModelSource | None:
        """Return where a sampler's model comes from; None for a sampler without one."""
        path = SAMPLERS[sampler].model
        spec = value_at(self, path) if path else None
        return parse(spec) if spec else None

    @cached_property
    def data(self) -> Path:
        """Local folder for everything that this profile makes; CURATION_DATA overrides `execution.data`.

        What is relative here counts from the working folder: CURATION_DATA, and `data` of a packaged profile.
        """
        given = os.environ.get("CURATION_DATA") or self.execution.data
        if "://" in given:
            raise ProfileError(
                f"{given}: execution.data and CURATION_DATA name a folder of this machine; execution.store takes URLs"
            )
        return Path(os.path.realpath(absolute(given)))

    @cached_property
    def sizes(self) -> list[str]:
        """Ladder sizes that this profile defines, smallest first."""
        return [size for size in SIZES if size in self.ladder]

    @property
    def amounts(self) -> list[str]:
        """Keys of the amounts at which there are subsets: the paper's rates, and those that are trained at."""
        return ordered([*RATES, *self.trained_amounts])

    @property
    def trained_amounts(self) -> list[str]:
        """Keys of the amounts that are trained at, as [run] names them."""
        return [amount(text).key for text in self.run.amounts]

    @cached_property
    def groups(self) -> list[str]:
        """Names of the parts of what is made of the whole corpus in `execution.groups` parts."""
        count = self.execution.groups
        return [f"{number:0{len(str(count))}d}-of-{count}" for number in range(count)]

    @property
    def chosen_samplers(self) -> list[str]:
        """Samplers of `curation run`, in the registry's order; an empty list in the profile means all but `left_out`."""
        left_out = self.left_out
        chosen = self.run.samplers or [name for name in SAMPLERS if name not in left_out]
        return [name for name in SAMPLERS if name in chosen]

    @property
    def left_out(self) -> dict[str, str]:
        """{name: why} of samplers that this profile names no model or reference text for, of those that go by labels and are not
        named in `run.samplers`, and of those of other packages that lack theirs.
        """
        mine = {name for name in SAMPLERS if any(map(self._may_lack, self.scorers(name)))}
        return {
            name: why
            for name in SAMPLERS
            if name in mine | SAMPLERS.packages.keys() and (why := self._lacks(name) or self._unasked(name))
        }

    def _unasked(self, sampler: str) -> str:
        """Tell that a sampler goes by labels, which is no way to choose data, and that nobody names it; "" of all others."""
        unasked = SAMPLERS[sampler].reads_labels and sampler not in self.run.samplers
        return f"sampler {sampler} goes by labels: it is made where run.samplers names it" if unasked else ""

    def _may_lack(self, sampler: str) -> bool:
        spec = SAMPLERS[sampler]
        return (
            spec.reads_reference or spec.reads_labels or bool(spec.model and not value_at(self, spec.model))
        )


def check_first(where: str, first: FirstStage | None, of: str) -> None:
    """Refuse a first stage that `of` cannot choose from; the message begins with `where`.

    Raises
    ------
    ValueError
        No sampler has such scores, they are the second stage's own, or the choice would be the opposite of what the sampler keeps.
    """
    if first is None:
        return
    if first.sampler not in SAMPLERS.scored:
        why = (
            f"{first.sampler} is a hybrid itself"
            if first.sampler in SAMPLERS
            else unknown_sampler(first.sampler)
        )
        raise ValueError(where + why)
    spec, then = SAMPLERS[first.sampler], SAMPLERS[of]
    if first.sampler == then.then:
        raise ValueError(f"{where}{of} draws by the scores of {first.sampler} already")
    if {spec.technique, then.technique} <= {"ips", "uniform"}:
        raise ValueError(
            f"{where}{first.sampler} and {then.then} draw with the same noise: one of the two must go by its scores alone"
        )
    if not first.side:
        return
    if spec.technique not in ("top_k", "bottom_k"):
        raise ValueError(f'{where}{first.sampler} draws by chance: give a share, as "{first.sampler} 40%"')
    side = "<" if bool(spec.minus) == (spec.technique == "top_k") else ">="
    if first.side != side:
        unit = spec.minus or "score"
        raise ValueError(
            f"{where}it says what stays, and {first.sampler} keeps a {'low' if side == '<' else 'high'} {unit}: write "
            f'"{first.sampler} {side} {first.value:g}"'
        )


def check_within(where: str, within: str, fields: Iterable[str]) -> None:
    """Refuse what no selection can keep its rate within; the message begins with `where`."""
    known = [CLUSTER, *fields]
    if within and within not in known:
        raise ValueError(
            f"{where}{within!r} is no field of corpus.keep_fields, nor {CLUSTER!r}{nearest(within, known)}"
        )


@cache
def profile_type() -> type[Profile]:
    """Return `Profile` with the tables of all samplers that there are; what a table leaves out has its default, if there is one."""
    tables: dict[str, Any] = {
        name: (cls, Field(default_factory=cls) if has_defaults(cls) else ...)
        for name, cls in SAMPLERS.sections.items()
    }
    samplers = create_model("SamplerSettings", __base__=Section, **tables)
    return create_model("Profile", __base__=Profile, samplers=(samplers, ...))


def load_profile(name_or_path: str | os.PathLike[str] | None = None) -> Profile:
    """Read a packaged profile ("local", "hub", "replicate") or a TOML file; default: CURATION_PROFILE, or else "local".

    A file says `extends = "local"` (the default), "hub" or another file, and overrides any field of it. Relative paths
    in it count from its own folder, also the `execution.data` that it takes over from a packaged profile.

    Raises
    ------
    ProfileError
        With one line for each mistake: unknown key (and the nearest known one), wrong type, missing file.
    """
    asked = str(name_or_path or os.environ.get("CURATION_PROFILE") or "local")
    source = asked if asked in PACKAGED else _file(asked)
    mistakes: list[str] = []
    settings = _merged(source, asked, (), mistakes)
    if source not in PACKAGED:
        _from_folder(Path(source).parent, settings, PATHS)  # what is relative still is a packaged profile's
    settings["source"] = source
    try:
        profile = profile_type().model_validate(settings)
    except ValidationError as error:
        mistakes += [_explain(asked, item) for item in error.errors()]
    if mistakes:
        raise ProfileError("\n".join(mistakes))
    if not profile.run.samplers:
        for name, why in profile.left_out.items():
            if name in SAMPLERS.packages:
                _tell_once(why)
    return profile


@cache
def _tell_once(why: str) -> None:
    _log.warning("samplers left out of all: %s", why)


def absolute(path: str | Path, folder: Path | None = None) -> Path:
    """Return a path with `~` expanded, and if it is relative, counted from a folder (default: the working folder)."""
    full = Path(os.path.expanduser(path))  # noqa: PTH111 - of a user that there is not, the name stays
    return full if full.is_absolute() else Path(os.path.realpath(Path(folder or "", full)))


def address(place: str) -> str:
    """Return where somebody means: a URL as it is, a path counted from the working folder."""
    return place if "://" in place else str(absolute(place))


def _file(path: str, folder: Path | None = None) -> str:
    """Return the absolute path of a profile's file; where that is a link, the folder that counts is the link's own."""
    place, name = os.path.split(os.path.expanduser(path))  # noqa: PTH111
    return str(absolute(place, folder) / name)


def _merged(source: str, asked: str, seen: tuple[str, ...], mistakes: list[str]) -> dict[str, Any]:
    """Return the settings of a profile laid over those that it extends; `asked` is how messages call it.

    Keys at the top that no profile has are left out, with a line in `mistakes` that names the file.
    """
    if source in seen:
        raise ProfileError(f"{asked}: profiles extend each other in a circle: {' -> '.join([*seen, source])}")
    try:
        settings = _read(source)
    except OSError as error:
        hint = f"; packaged profiles are {', '.join(PACKAGED)}" if "/" not in asked else ""
        raise ProfileError(f"{asked}: cannot read this profile: {error.strerror}{hint}") from None
    except ValueError as error:  # also of bytes that are no UTF-8, and of a name that no file can have
        raise ProfileError(f"{asked}: not valid TOML: {error}") from None
    if source in PACKAGED and "extends" not in settings:
        return settings
    path = Path(source)
    base = settings.pop("extends", "local")
    for key in [key for key in settings if key not in Profile.model_fields]:
        del settings[key]
        old = f"[{key}]: write [samplers.{key}]" if key in SAMPLERS.sections else ""
        mistakes.append(f"{asked}: {old or f'{key}: unknown key{nearest(key, Profile.model_fields)}'}")
    if not isinstance(base, str):
        raise ProfileError(f"{asked}: extends: expected a profile's name or path, got {base!r}")
    if base not in PACKAGED:
        base = _file(base, path.parent)
    try:
        if source not in PACKAGED:
            _from_folder(path.parent, settings, (*PATHS, *MODELS))
            _from_folder(path.parent, settings.get("samplers"), sampler_models())
            _sources_from_folder(path.parent, settings.get("corpus"))
    except ValueError as error:  # a NUL character
        raise ProfileError(f"{asked}: a path that there cannot be: {error}") from None
    settings.setdefault("name", path.stem)
    return _overlay(_sources_replaced(_merged(base, base, (*seen, source), mistakes), settings), settings)


def _sources_replaced(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Return what a profile extends without the place of its documents, where the profile itself says one: url or sources."""
    corpus = over.get("corpus")
    if not isinstance(corpus, dict) or not {"url", "sources"} & corpus.keys():
        return base
    other: dict[str, Any] = {"url": ""} if "sources" in corpus else {"sources": {}}
    return base | {"corpus": base["corpus"] | other}


def _read(source: str) -> dict[str, Any]:
    if source in PACKAGED:
        return tomllib.loads(
            files("curation_assets.config").joinpath("profiles", f"{source}.toml").read_text("utf-8")
        )
    return tomllib.loads(Path(source).read_text("utf-8-sig"))


def _overlay(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _overlay(base[key], value) if both and not key.endswith("_options") else value
    return merged


def sampler_models() -> tuple[tuple[str, str], ...]:
    """Return the settings of samplers that are a model source, or a table of them: (table under [samplers], name)."""
    return tuple((name, one) for name, cls in SAMPLERS.sections.items() for one in model_settings(cls))


def _from_folder(folder: Path, settings: Any, names: tuple[tuple[str, str], ...]) -> None:
    """Make the relative paths in some settings absolute, in place."""
    for section, name in names:
        table = settings.get(section) if isinstance(settings, dict) else None
        if isinstance(table, dict) and name in table:
            counted = _path_from if (section, name) in PATHS else _model_from
            given = table[name]
            if isinstance(given, dict):
                table[name] = {key: counted(folder, value) for key, value in given.items()}
            else:
                table[name] = counted(folder, given)


def _sources_from_folder(folder: Path, corpus: Any) -> None:
    """Do as `_from_folder` for the URLs of several sources, and of what a planted corpus is made from."""
    if not isinstance(corpus, dict):
        return
    sources = corpus.get("sources")
    for source in (*(sources.values() if isinstance(sources, dict) else ()), corpus.get("planted")):
        if isinstance(source, dict) and "url" in source:
            source["url"] = _path_from(folder, source["url"])


def _path_from(folder: Path, given: Any) -> Any:
    plain = isinstance(given, str) and given not in ("", *MADE) and "://" not in given
    return str(absolute(given, folder)) if plain and not given.startswith("/") else given


def _model_from(folder: Path, given: Any) -> Any:
    if not isinstance(given, str) or not given.startswith("path:") or given.startswith("path:/"):
        return given
    return f"path:{absolute(given.removeprefix('path:'), folder)}"


def _explain(source: str, error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"]) or "profile"
    if error["type"] == "extra_forbidden":
        if where.startswith("samplers.") and (why := SAMPLERS.left_out.get(where.removeprefix("samplers."))):
            return f"{source}: [{where}]: {why}"
        known = _known_keys(error["loc"][:-1])
        return f"{source}: {where}: unknown key{nearest(str(error['loc'][-1]), known)}"
    if error["type"] == "missing":
        return f"{source}: {where}: missing"
    if error["type"] == "value_error":
        return f"{source}: {where}: {error['ctx']['error']}"
    return f"{source}: {where}: {error['msg'][0].lower()}{error['msg'][1:]}, got {error['input']!r}"


def _known_keys(path: tuple[Any, ...]) -> list[str]:
    """Return the names of the settings of a section, which may be one of a table of sections."""
    section: Any = profile_type()
    each = None  # what the keys of a table stand for
    for part in path:
        if each is not None:
            section, each = each, None
            continue
        field = section.model_fields.get(part) if section is not None else None
        kind = field.annotation if field else None
        section = kind if _is_section(kind) else None
        each = next(filter(_is_section, get_args(kind)), None)
    return list(section.model_fields) if section is not None else []


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


assert get_args(Size) == SIZES
