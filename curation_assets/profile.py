"""One typed settings tree, read from TOML, checked once, then frozen; `settings` has its sections."""

from __future__ import annotations

import os
import tomllib
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import Field, StringConstraints, ValidationError, model_validator

from curation_assets.models.sources import ModelSource, parse
from curation_assets.registry import MILESTONES, RATES, SAMPLERS, SIZES
from curation_assets.settings import (
    AskLLM,
    Automation,
    Clusters,
    Corpus,
    Density,
    Embeddings,
    Execution,
    Judge,
    Perplexity,
    PerplexityModel,
    Rate,
    Report,
    Run,
    Section,
    Selection,
    Size,
    Tokenizer,
    nearest,
)
from curation_assets.training_settings import Evaluation, LadderShape, Pretraining

PACKAGED = ("local", "hub")
_FROM_ITS_FOLDER = (("corpus", "url"), ("corpus", "hq_url"), ("evaluation", "eval_root"))
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class ProfileError(ValueError):
    """A profile that cannot be used; the message has one line per mistake."""


class Profile(Section):
    """The whole tree. `source` is the file it was read from."""

    name: Name
    source: str = Field(json_schema_extra={"execution": True})
    corpus: Corpus
    tokenizer: Tokenizer
    embeddings: Embeddings
    clusters: Clusters
    density: Density
    perplexity: Perplexity
    ask_llm: AskLLM
    judge: Judge
    selection: Selection
    ladder: dict[Size, LadderShape]
    pretraining: Pretraining
    evaluation: Evaluation
    report: Report
    run: Run
    automation: Automation
    execution: Execution

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [size for size in self.run.sizes if size not in self.ladder]
        if missing:
            raise ValueError(f"run.sizes names {missing[0]!r}, which has no [ladder.{missing[0]}]")
        for name in self.samplers:
            self._check_model(name)
        return self

    def _check_model(self, sampler: str) -> None:
        """Refuse a sampler without a model, and one whose model this profile never makes."""
        spec = SAMPLERS[sampler]
        if not spec.model:
            return
        source = self.model_source(sampler)
        where = f"{spec.family}.models.{spec.model}"
        if source is None:
            raise ValueError(
                f"{where} is missing: sampler {sampler} needs it (or leave it out of run.samplers)"
            )
        if source.kind != "asset":
            return
        if source.partition not in (self.judge.bases if source.name == "judge/checkpoint" else self.ladder):
            raise ValueError(f"{where} is {source}, but this profile makes no {source.name} of that size")
        kept = [1.0] if source.name == "judge/checkpoint" else self.pretraining.snapshots
        if source.share not in kept:
            raise ValueError(f"{where} is {source}, but of {source.name} only the shares {kept} are kept")

    def model_source(self, sampler: str) -> ModelSource | None:
        """Return where a sampler's model comes from; None for a sampler without one."""
        spec = SAMPLERS[sampler]
        models: dict[Any, str] = {}
        if spec.model:
            models = self.perplexity.models if spec.family == "perplexity" else self.ask_llm.models
        return parse(models[spec.model]) if spec.model in models else None

    @cached_property
    def data(self) -> Path:
        """Local folder for everything that this profile makes; CURATION_DATA overrides `execution.data`."""
        return Path(os.environ.get("CURATION_DATA") or self.execution.data).expanduser().resolve()

    @cached_property
    def sizes(self) -> list[str]:
        """Ladder sizes that this profile defines, smallest first."""
        return [size for size in SIZES if size in self.ladder]

    @property
    def samplers(self) -> list[str]:
        """Samplers of `curation run`, in the registry's order; an empty list in the profile means all."""
        return [name for name in SAMPLERS if not self.run.samplers or name in self.run.samplers]


def load_profile(name_or_path: str | os.PathLike[str] | None = None) -> Profile:
    """Read a packaged profile ("local", "hub") or a TOML file; default: CURATION_PROFILE, or else "local".

    A file says `extends = "local"` (the default), "hub" or another file, and overrides any field of it. Relative
    paths in `corpus.url`, `corpus.hq_url` and `evaluation.eval_root` count from the file's own folder.

    Raises
    ------
    ProfileError
        With one line for each mistake: unknown key (and the nearest known one), wrong type, missing file.
    """
    wanted = str(name_or_path or os.environ.get("CURATION_PROFILE") or "local")
    settings = _merged(wanted, seen=())
    settings["source"] = wanted
    try:
        return Profile.model_validate(settings)
    except ValidationError as error:
        raise ProfileError("\n".join(_explain(wanted, item) for item in error.errors())) from None


def _merged(wanted: str, seen: tuple[str, ...]) -> dict[str, Any]:
    if wanted in seen:
        raise ProfileError(
            f"{wanted}: profiles extend each other in a circle: {' -> '.join([*seen, wanted])}"
        )
    settings = _read(wanted)
    if wanted in PACKAGED:
        return settings
    path = Path(wanted)
    base = settings.pop("extends", "local")
    if not isinstance(base, str):
        raise ProfileError(f"{wanted}: extends: expected a profile's name or path, got {base!r}")
    if base not in PACKAGED and not Path(base).is_absolute():
        base = str(path.parent / base)
    for section, name in _FROM_ITS_FOLDER:
        given = settings.get(section)
        if isinstance(given, dict) and isinstance(given.get(name), str):
            given[name] = _relative_to(path, given[name])
    settings.setdefault("name", path.stem)
    return _overlay(_merged(base, (*seen, wanted)), settings)


def _read(wanted: str) -> dict[str, Any]:
    try:
        if wanted in PACKAGED:
            text = files("curation_assets").joinpath("profiles", f"{wanted}.toml").read_text("utf-8")
        else:
            text = Path(wanted).read_text("utf-8")
    except OSError as error:
        hint = f"; packaged profiles are {', '.join(PACKAGED)}" if "/" not in wanted else ""
        raise ProfileError(f"{wanted}: cannot read this profile: {error.strerror}{hint}") from None
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"{wanted}: not valid TOML: {error}") from None


def _overlay(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _overlay(base[key], value) if both and not key.endswith("_options") else value
    return merged


def _relative_to(profile: Path, url: str) -> str:
    plain = "://" not in url and url != "builtin" and url and not Path(url).expanduser().is_absolute()
    return str((profile.parent / url).resolve()) if plain else url


def _explain(source: str, error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"]) or "profile"
    if error["type"] == "extra_forbidden":
        known = _known_keys(error["loc"][:-1])
        return f"{source}: {where}: unknown key{nearest(str(error['loc'][-1]), known)}"
    if error["type"] == "missing":
        return f"{source}: {where}: missing"
    if error["type"] == "value_error":
        return f"{source}: {where}: {error['ctx']['error']}"
    return f"{source}: {where}: {error['msg'][0].lower()}{error['msg'][1:]}, got {error['input']!r}"


def _known_keys(path: tuple[Any, ...]) -> list[str]:
    section: Any = Profile
    for part in path:
        if section is None:
            break
        field = section.model_fields.get(part) if hasattr(section, "model_fields") else None
        kind = field.annotation if field else LadderShape
        section = kind if isinstance(kind, type) and issubclass(kind, Section) else _ladder_or_none(kind)
    return list(section.model_fields) if section is not None and hasattr(section, "model_fields") else []


def _ladder_or_none(kind: Any) -> Any:
    return dict.fromkeys(SIZES, LadderShape) if LadderShape in get_args(kind) else None


assert get_args(Rate) == RATES and get_args(Size) == SIZES
assert get_args(PerplexityModel) == (*SIZES, *(f"large_{steps}" for steps in MILESTONES))
