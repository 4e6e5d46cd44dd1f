"""The sections of a profile that do not belong to a sampler, one typed and frozen class each."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self, get_args
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from curation_assets.config.amount import amount
from curation_assets.config.model_sources import parse
from curation_assets.config.registry import RATES, SAMPLERS
from curation_assets.config.section import EXECUTION, LATER, Model, Positive, Section, Share

Size = Literal["small", "base", "large", "xl", "xxl"]
FieldName = Annotated[str, Field(min_length=1)]
SampleBy = Literal["line", "paragraph", "document"]
NoiseKind = Literal["exact_copy", "near_copy", "menu", "keyword_stuffing", "shuffled_words"]
SourceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]

MADE = ("builtin", "planted")
"""What `corpus.url` and those beside it say for texts that are made in the data folder."""

CLUSTER = "cluster"
"""What `selection.within` calls the clusters of k-means."""

SOURCE_NAME = "source_name"
"""The field of documents that says which of `corpus.sources` they are of."""

DOCUMENT_COLUMNS = ("doc_id", "doc_hash", "text", "n_chars", "row")
"""Columns of every documents table, which no kept field may be called."""


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if url and parts.scheme.partition("+")[0] != "postgresql":
        raise ValueError("expected postgresql://USER@HOST/DATABASE, or nothing")
    if parts.password or "password" in parse_qs(parts.query):
        raise ValueError("leave the password out: set PGPASSWORD, or write it into ~/.pgpass")
    return url


Postgres = Annotated[str, AfterValidator(_without_password)]
"""The URL of a Postgres database, or "" for none. Its password is found as all of Postgres's clients find it."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean ...?" with the known name most like `name`, or "" where none is alike."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def unknown_sampler(name: str) -> str:
    """Return what is wrong with the name of a sampler that there is not."""
    if name in SAMPLERS.left_out:
        return f"sampler {name!r} is left out: {SAMPLERS.left_out[name]}"
    return f"unknown sampler {name!r}{nearest(name, SAMPLERS) or '; there are ' + ', '.join(SAMPLERS)}"


def _known_samplers(names: list[str]) -> list[str]:
    for name in names:
        if name not in SAMPLERS:
            raise ValueError(unknown_sampler(name))
    return names


Samplers = Annotated[list[str], AfterValidator(_known_samplers)]
"""Names of samplers that there are."""


class Builtin(Section):
    """The corpus built from installed texts when `corpus.url` is "builtin": at most so many documents of each source."""

    documents: dict[str, Positive]
    shards: Positive
    max_chars: Positive
    per_package: Positive


class Planted(Section):
    """The corpus that is made when `corpus.url` is "planted": clean documents of another one, and noise among them (`corpus.planted`).

    Attributes
    ----------
    url, text_field, id_field : of the corpus that the clean documents are taken from, as `corpus.url` and so on.
    documents, held_out : clean ones in the corpus, and beside it: `hq_url = "planted"` is these.
    noise : documents of each kind.
    field, values : only documents of which this field has one of these values are taken to be clean; "" for all.
    min_chars, max_chars : shortest and longest clean document.
    """

    url: Annotated[str, Field(min_length=1, json_schema_extra=EXECUTION)] = "builtin"
    text_field: FieldName = "text"
    id_field: str = "id"
    documents: Positive = 600
    held_out: Positive = 500
    noise: dict[NoiseKind, Annotated[int, Field(ge=0)]] = Field(
        default_factory=lambda: dict.fromkeys(get_args(NoiseKind), 240)
    )
    field: str = ""
    values: Annotated[tuple[str, ...], Field(strict=False)] = ()
    min_chars: Positive = 300
    max_chars: Positive = 2_700
    shards: Positive = 4
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _field_and_values(self) -> Self:
        if bool(self.field) != bool(self.values):
            raise ValueError(
                "field says which field of a document is looked at, and values which of its values are clean: name both"
            )
        if self.min_chars > self.max_chars:
            raise ValueError(f"min_chars is {self.min_chars:,}, and max_chars {self.max_chars:,}")
        return self


class DocumentSettings(Section):
    """Which rows of a corpus file count as documents; the defaults are those of the library, not of a profile.

    Attributes
    ----------
    text_field, id_field : names of fields (or columns); "a.b" is the field of that name, or else b inside a. A text that is
        a list of chat messages is joined. With `id_field = ""` a document's id is the hash of its text, as it is in plain text.
    keep_fields : metadata fields carried along as strings; what is absent or cannot be a string is null.
    max_chars : the longest document, in characters after normalisation.
    min_chars, min_words : the least visible characters, letters without their marks, and the least runs of letters and digits
        (each letter of a script without spaces is one).
    validation_share : share of documents held out; which ones is a pure function of id and text.
    sample_by : what one document of a plain text file is; blank lines stand between paragraphs.
    """

    text_field: FieldName = "text"
    id_field: str = "id"
    keep_fields: Annotated[tuple[FieldName, ...], Field(strict=False)] = ()
    sample_by: SampleBy = "line"
    max_chars: Positive = 1_000_000
    min_chars: Positive = 1
    min_words: Annotated[int, Field(ge=0)] = 0
    validation_share: Share = 0.01

    @field_validator("keep_fields")
    @classmethod
    def _own_columns(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if clash := sorted(set(names) & set(DOCUMENT_COLUMNS)):
            raise ValueError(
                f"{clash} clash with the columns that every documents table has: {DOCUMENT_COLUMNS}"
            )
        if len(set(names)) != len(names):
            raise ValueError(f"a name is repeated: {list(names)}")
        return names

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that are read: text, id (where there is one) and the kept ones, each once."""
        wanted = (self.text_field, *([self.id_field] if self.id_field else []), *self.keep_fields)
        return tuple(dict.fromkeys(wanted))

    @property
    def max_row_bytes(self) -> int:
        """Bytes beyond which a raw row is not even parsed.

        JSON spends at most 12 bytes on a character (an escaped surrogate pair); 1 MiB is left for other fields.
        """
        return 12 * self.max_chars + (1 << 20)


class Source(Section):
    """One of several places that documents come from.

    Attributes
    ----------
    weight : the share of each subset that is of this source, beside the weights of the others; of all sources or of none.
    text_field, id_field, sample_by : in place of the corpus's own. They are part of the version of the source's files.
    """

    url: Annotated[str, Field(min_length=1)] = Field(json_schema_extra=EXECUTION)
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    text_field: FieldName | None = Field(None, json_schema_extra=EXECUTION)
    id_field: str | None = Field(None, json_schema_extra=EXECUTION)
    sample_by: SampleBy | None = Field(None, json_schema_extra=EXECUTION)

    @property
    def read_as(self) -> dict[str, str]:
        """What it has in place of the corpus's own settings."""
        own = {name: getattr(self, name) for name in ("text_field", "id_field", "sample_by")}
        return {name: value for name, value in own.items() if value is not None}


class Corpus(DocumentSettings):
    """Where documents come from, and which rows count as documents.

    Attributes
    ----------
    url, sources : one place, or several by name; the other of the two is empty.
    hq_url : high-quality text. By a hash of each text, half of it is what models are measured on.
    reference_url : text of the kind that is wanted, which samplers are fitted to; "" for `hq_url`. Of either the other half is used, so
        that nobody is fitted to what models are measured on; of that at most `reference_documents`, by hash.
    """

    url: str = Field(json_schema_extra=EXECUTION)
    sources: dict[SourceName, Source] = Field(default_factory=dict, json_schema_extra=LATER)
    hq_url: str = Field(json_schema_extra=EXECUTION)
    reference_url: str = Field(json_schema_extra=EXECUTION)
    reference_documents: Positive
    storage_options: dict[str, Any] = Field(json_schema_extra=EXECUTION)
    builtin: Builtin
    planted: Planted = Field(default_factory=Planted, json_schema_extra=LATER)

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        if bool(self.url) == bool(self.sources):
            raise ValueError("give a url, or sources by name ([corpus.sources.NAME]), and not both")
        weighted = {name: source.weight for name, source in self.sources.items() if source.weight is not None}
        if weighted and (without := sorted(self.sources.keys() - weighted.keys())):
            raise ValueError(
                f"sources.{without[0]} has no weight, and others do: give all of them one, or none"
            )
        if weighted and not sum(weighted.values()):
            raise ValueError("the weights of all sources are 0")
        if self.sources and SOURCE_NAME in self.keep_fields:
            raise ValueError(f"keep_fields: {SOURCE_NAME!r} says which of the sources a document is of")
        return self

    @property
    def urls(self) -> dict[str, str]:
        """Where documents come from, by source; of a corpus without several sources the name is ""."""
        return {name: source.url for name, source in self.sources.items()} or {"": self.url}

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each source; {} where they have none."""
        return {name: one.weight for name, one in self.sources.items() if one.weight is not None}

    @property
    def kept_columns(self) -> tuple[str, ...]:
        """The columns of documents that are not the same in every corpus."""
        return (*self.keep_fields, *([SOURCE_NAME] if self.sources else []))

    @property
    def made(self) -> set[str]:
        """Those of `MADE` that are needed."""
        named = {*self.urls.values(), self.hq_url, self.reference_url} & {*MADE}
        return named | ({self.planted.url} & {"builtin"} if "planted" in named else set())

    def documents(self, **others: Any) -> DocumentSettings:
        """Return which rows count as documents, with `others` in place of what the profile says."""
        names = DocumentSettings.model_fields
        return DocumentSettings(**{name: getattr(self, name) for name in names} | others)


class Tokenizer(Section):
    """`model = "train"` learns one from (at most `training_documents` of) the corpus; else a model source."""

    model: str
    vocab_size: Annotated[int, Field(ge=512)]
    training_documents: Positive


class Embeddings(Section):
    """Sentence embeddings of the documents (paper, section 3.3: Sentence-T5-Base).

    Of a document of more than `max_tokens` at most `windows` evenly spaced windows of that length are read, and their mean is taken.
    """

    model: str
    max_tokens: Positive
    windows: Positive
    batch_tokens: Annotated[int, Field(ge=0)] = Field(json_schema_extra=EXECUTION)


class Judge(Section):
    """Judges distilled from a teacher: its labels on a sample of the corpus, and the models that learn from them.

    `target`: a judge learns the teacher's "probability" of yes, or the "rank" of it among the labels.
    `student`: what learns it, a "t5" of each size, ridge regression on the "embeddings", or the "better": a T5, unless the regression
    agrees better with the labels held out beyond the interval of the difference.
    """

    teacher: Model
    documents: Annotated[int, Field(ge=10)]
    teacher_max_tokens: Positive
    held_out: Annotated[float, Field(gt=0, lt=1)]
    bases: dict[Size, Model]
    target: Literal["probability", "rank"]
    student: Literal["t5", "embeddings", "better"]
    epochs: Annotated[float, Field(gt=0)]
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    final_learning_rate: Annotated[float, Field(gt=0)]
    warmup_share: Share
    clip_norm: Annotated[float, Field(gt=0)]
    seed: int
    resume_seconds: Annotated[float, Field(gt=0)] = Field(json_schema_extra=EXECUTION)

    @model_validator(mode="after")
    def _own_rung(self) -> Self:
        if parse(self.teacher).kind == "asset":
            raise ValueError("teacher must come from outside the graph: pip:, hub: or path:")
        for size, spec in self.bases.items():
            source = parse(spec)
            if source.kind == "asset" and (source.name, source.partition) != ("full_data/checkpoint", size):
                raise ValueError(f"bases.{size} must be asset:full_data/checkpoint#{size} or no asset")
        return self


class Selection(Section):
    """What rates are shares of, and the seed of the noise that draws `random` and drives inverse propensity sampling.

    `rate_of`: at a rate every sampler keeps equally many "documents", or documents of equally many "tokens".
    `within`: the rate is kept within each value of this field of `corpus.keep_fields`, or within each "cluster" of k-means; "" for
    the corpus as a whole.
    """

    rate_of: Literal["documents", "tokens"]
    within: str = ""
    seed: int


class Report(Section):
    """Figures over documents go by a hash sample of at most `documents` of the corpus."""

    documents: Positive
    seed: int


class Labels(Section):
    """Labels of documents, which scores are measured against: files at `url` with doc_id and `field` ("" for "label"), or else a
    field of the corpus. `positive` are the labels of good documents, all others bad; empty: 1, true, yes against 0, false, no.
    """

    url: str
    field: str
    positive: Annotated[tuple[str, ...], Field(strict=False)]

    @property
    def given(self) -> bool:
        """Whether there are any."""
        return bool(self.url or self.field)


class Run(Section):
    """What `curation run` materializes: subsets at the paper's five rates and at these amounts, and training at these amounts and sizes.

    No samplers means all of them; of amounts ("20%", "2.5B tokens", "100k documents") and sizes there is at least one.
    """

    samplers: Samplers = Field(json_schema_extra=EXECUTION)
    amounts: list[str] = Field(json_schema_extra=EXECUTION)
    sizes: list[Size] = Field(json_schema_extra=EXECUTION)

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, table: Any) -> Any:
        """Tell whoever has an older profile what to write."""
        if isinstance(table, dict) and "rates" in table:
            rates = table["rates"] if isinstance(table["rates"], list) else ["20"]
            shares = ", ".join(f'"{str(rate).removesuffix("%")}%"' for rate in rates)
            raise ValueError(f"rates are called amounts now: write amounts = [{shares}]")
        return table

    @field_validator("amounts")
    @classmethod
    def _amounts(cls, texts: list[str]) -> list[str]:
        """Write each amount in the one way that its partitions go by; refuse the whole corpus, which is `full_data`'s."""
        written = [str(amount(text)) for text in texts]
        if "100%" in written:
            raise ValueError("100% is the whole corpus, which full_data is trained on")
        return list(dict.fromkeys(written))

    @field_validator("amounts", "sizes")
    @classmethod
    def _some(cls, chosen: list[str], about: ValidationInfo) -> list[str]:
        """Refuse what would train nothing: the comparison at the end would be empty."""
        known = {"amounts": [f"{rate}%" for rate in RATES], "sizes": get_args(Size)}[str(about.field_name)]
        if not chosen:
            more = " (or another amount)" if about.field_name == "amounts" else ""
            raise ValueError(f"empty: name at least one of {', '.join(known)}{more}")
        return list(dict.fromkeys(chosen))


class Automation(Section):
    """What happens by itself under `curation ui` when the corpus changes; nothing here changes a result.

    `follow`: the sensors start switched on. `training`: checkpoints, metrics and reports follow as well. A file that changed within the last
    `settle_seconds` is taken to be still written. What fails is tried again `retries` times, after `retry_seconds`, twice that,
    and so on. `listing_cron` and `refresh_cron` are when the corpus is listed at fixed times and when pinned models are
    learned anew ("" for never).
    """

    follow: bool = Field(json_schema_extra=EXECUTION)
    training: bool = Field(json_schema_extra=EXECUTION)
    interval_seconds: Positive = Field(json_schema_extra=EXECUTION)
    settle_seconds: Annotated[float, Field(ge=0)] = Field(json_schema_extra=EXECUTION)
    retries: Annotated[int, Field(ge=0)] = Field(json_schema_extra=EXECUTION)
    retry_seconds: Annotated[float, Field(ge=0)] = Field(json_schema_extra=EXECUTION)
    listing_cron: str = Field(json_schema_extra=EXECUTION)
    refresh_cron: str = Field(json_schema_extra=EXECUTION)


class Ray(Section):
    """What workers on a Ray cluster are (`engine = "ray"`).

    Attributes
    ----------
    address : "" for a cluster of this machine alone that lasts as long as the run, "auto" for the one that this machine is a
        node of, or "host:port" of its head.
    cpus : of each worker, which has as many threads.
    gpus : of each worker of a step that uses an accelerator; 0.5 lets two work on one.
    scratch : an absolute path, a folder of each node for what workers need meanwhile; "" for `data` where the store is a folder, and else one
        below the system's temporary folder.
    """

    address: Annotated[str, Field(pattern=r"^(auto|[^:/\s]+:\d{1,5})?$")] = Field(json_schema_extra=EXECUTION)
    cpus: Positive = Field(json_schema_extra=EXECUTION)
    gpus: Annotated[float, Field(gt=0, le=1)] = Field(json_schema_extra=EXECUTION)
    scratch: Annotated[str, Field(pattern=r"^(/.*)?$")] = Field(json_schema_extra=EXECUTION)


class Execution(Section):
    """Where and how things run; nothing here changes a result beyond floating-point rounding."""

    data: str = Field(json_schema_extra=EXECUTION)
    store: str = Field(json_schema_extra=EXECUTION)
    store_options: dict[str, Any] = Field(json_schema_extra=EXECUTION)
    cache_gb: Annotated[float, Field(gt=0)] = Field(json_schema_extra=EXECUTION)
    dagster_storage: Postgres = Field(json_schema_extra=EXECUTION)
    catalog: Postgres = Field(json_schema_extra=EXECUTION)
    device: str = Field(json_schema_extra=EXECUTION)
    dtype: Literal["auto", "float32", "bfloat16"] = Field(json_schema_extra=EXECUTION)
    engine: Literal["local", "ray"] = Field(json_schema_extra=EXECUTION)
    workers: Annotated[int, Field(ge=0)] = Field(json_schema_extra=EXECUTION)
    processes: Annotated[int, Field(ge=0)] = Field(json_schema_extra=EXECUTION)
    compile: bool = Field(json_schema_extra=EXECUTION)
    groups: Annotated[int, Field(ge=1, le=1024)] = Field(json_schema_extra=EXECUTION)
    group_memory_mib: Positive = Field(json_schema_extra=EXECUTION)
    ray: Ray = Field(json_schema_extra=EXECUTION)
