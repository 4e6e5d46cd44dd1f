"""One typed settings tree, read from TOML, checked once, then frozen.

IDENTITY settings change results and enter fingerprints; EXECUTION settings (where and how something runs) never do.
A section's `identity()` leaves the execution fields out.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from curation_assets.registry import RATES, SAMPLERS, SIZES

PACKAGED = ("local", "hub")
_EXECUTION: dict[str, Any] = {"execution": True}

Rate = Literal["10", "20", "40", "60", "80"]
Size = Literal["small", "base", "large", "xl", "xxl"]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(gt=0)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class ProfileError(ValueError):
    """A profile that cannot be used; the message has one line per mistake."""


class Section(BaseModel):
    """A part of the profile: frozen, strict about types, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=False)

    def identity(self) -> dict[str, Any]:
        """Return the settings that change results, as plain data for a fingerprint."""
        kept: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            extra = field.json_schema_extra
            if isinstance(extra, dict) and extra.get("execution"):
                continue
            value = getattr(self, name)
            kept[name] = value.identity() if isinstance(value, Section) else value
        return kept


class Builtin(Section):
    """The corpus built from installed texts when `corpus.url` is "builtin": at most so many documents of each source."""

    documents: dict[str, Positive]
    shards: Positive
    max_chars: Positive
    per_package: Positive


class Corpus(Section):
    """Where documents come from and which rows count as documents."""

    url: str = Field(json_schema_extra=_EXECUTION)
    hq_url: str = Field(json_schema_extra=_EXECUTION)
    storage_options: dict[str, Any] = Field(json_schema_extra=_EXECUTION)
    text_field: str
    id_field: str
    keep_fields: list[str]
    sample_by: Literal["line", "paragraph", "document"]
    max_chars: Positive
    validation_share: Share
    builtin: Builtin


class Tokenizer(Section):
    """`model = "train"` learns one from (at most `training_documents` of) the corpus; else a model source."""

    model: str
    vocab_size: Annotated[int, Field(ge=512)]
    training_documents: Positive


class Embeddings(Section):
    """Sentence embeddings of the documents (paper, section 3.3: Sentence-T5-Base)."""

    model: str
    max_tokens: Positive
    batch_tokens: Positive = Field(json_schema_extra=_EXECUTION)


class Clusters(Section):
    """k-means for SemDeDup and Prototypes; `count = 0` scales the paper's 10,000 clusters by the corpus's size.

    Centroids are kept until the number of documents has moved by more than `drift` (a share) since they were fitted.
    """

    count: Annotated[int, Field(ge=0)]
    iterations: Positive
    max_training_points: Positive
    seed: int
    drift: Annotated[float, Field(ge=0)]


class Density(Section):
    """The RACE sketch (paper, algorithms 1 and 2): rows x buckets, bandwidth of the p-stable hash."""

    rows: Positive
    buckets: Positive
    bandwidth: Annotated[float, Field(gt=0)]
    seed: int


class Selection(Section):
    """Seed of the noise that breaks ties, draws `random` and drives inverse propensity sampling."""

    seed: int


class LadderShape(Section):
    """One T5 size: the numbers of `transformers.T5Config`."""

    d_model: Positive
    d_kv: Positive
    d_ff: Positive
    num_layers: Positive
    num_heads: Positive


class Pretraining(Section):
    """The recipe, the same for every sampler; `tokens` is the budget of raw tokens of every run (iso-compute)."""

    tokens: Positive
    batch_size: Positive
    input_length: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    final_learning_rate: Annotated[float, Field(gt=0)]
    warmup_share: Share
    weight_decay: Annotated[float, Field(ge=0)]
    clip_norm: Annotated[float, Field(gt=0)]
    noise_density: Annotated[float, Field(gt=0, lt=1)]
    mean_noise_span: Annotated[float, Field(ge=1)]
    snapshots: list[float]
    seeds: Annotated[list[int], Field(min_length=1)]
    micro_batch_size: Positive = Field(json_schema_extra=_EXECUTION)
    resume_seconds: Annotated[float, Field(gt=0)] = Field(json_schema_extra=_EXECUTION)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds repeat")
        if sorted(set(self.snapshots)) != self.snapshots or not self.snapshots or self.snapshots[-1] != 1.0:
            raise ValueError("snapshots must rise and end with 1.0")
        if self.snapshots[0] <= 0:
            raise ValueError("snapshots must lie above 0")
        if self.batch_size % self.micro_batch_size:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of micro_batch_size")
        return self


class Evaluation(Section):
    """Held-out perplexity: at most `max_documents` of each set, chosen by hash, in windows of `window` tokens."""

    max_documents: Positive
    window: Positive
    seed: int
    batch_tokens: Positive = Field(json_schema_extra=_EXECUTION)


class Run(Section):
    """What `curation run` materializes: all five rates of the subsets, and training at these rates and sizes."""

    samplers: list[str] = Field(json_schema_extra=_EXECUTION)
    rates: list[Rate] = Field(json_schema_extra=_EXECUTION)
    sizes: list[Size] = Field(json_schema_extra=_EXECUTION)

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in self.samplers:
            if name not in SAMPLERS:
                raise ValueError(f"unknown sampler {name!r}{_nearest(name, SAMPLERS)}")
        return self


class Execution(Section):
    """Where and how things run; nothing here changes a result beyond floating-point rounding."""

    data: str = Field(json_schema_extra=_EXECUTION)
    store: str = Field(json_schema_extra=_EXECUTION)
    store_options: dict[str, Any] = Field(json_schema_extra=_EXECUTION)
    device: str = Field(json_schema_extra=_EXECUTION)
    dtype: Literal["auto", "float32", "bfloat16"] = Field(json_schema_extra=_EXECUTION)
    engine: Literal["local"] = Field(json_schema_extra=_EXECUTION)


class Profile(Section):
    """The whole tree. `source` is the file it was read from."""

    name: Name
    source: str = Field(json_schema_extra=_EXECUTION)
    corpus: Corpus
    tokenizer: Tokenizer
    embeddings: Embeddings
    clusters: Clusters
    density: Density
    selection: Selection
    ladder: dict[Size, LadderShape]
    pretraining: Pretraining
    evaluation: Evaluation
    run: Run
    execution: Execution

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [size for size in self.run.sizes if size not in self.ladder]
        if missing:
            raise ValueError(f"run.sizes names {missing[0]!r}, which has no [ladder.{missing[0]}]")
        return self

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
    paths in `corpus.url` and `corpus.hq_url` count from the file's own folder.

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
    corpus = settings.get("corpus")
    if isinstance(corpus, dict):
        for field in ("url", "hq_url"):
            corpus[field] = _relative_to(path, corpus[field]) if isinstance(corpus.get(field), str) else None
            if corpus[field] is None:
                del corpus[field]
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
        return f"{source}: {where}: unknown key{_nearest(str(error['loc'][-1]), known)}"
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


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


assert get_args(Rate) == RATES and get_args(Size) == SIZES
