"""A section of the profile: typed, frozen, closed to unknown keys.

IDENTITY settings change results and enter fingerprints; EXECUTION settings (where and how something runs) never do.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from curation_assets.config.model_sources import parse

Made = TypeVar("Made")
EXECUTION: dict[str, Any] = {"execution": True}
"""Marks a setting that changes no result: `batch_size: Positive = Field(8, json_schema_extra=EXECUTION)`."""

LATER: dict[str, Any] = {"later": True}
"""Marks a setting that came when there were artifacts without it: at its default it is in no recipe, so that they stay current."""

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(gt=0)]


def _source(spec: str) -> str:
    parse(spec)
    return spec


_CHECK = AfterValidator(_source)
Model = Annotated[str, _CHECK]
"""A model source (`models.sources`): pip:, hub:, path: or asset:. A profile's file may say path: and a relative path."""


class Section(BaseModel):
    """A part of the profile: frozen, strict about types, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)

    def to(self, kind: Callable[..., Made], **others: Any) -> Made:
        """Return what `kind` makes of its parameters that are settings here too, and of `others`."""
        names = inspect.signature(kind).parameters.keys() - others.keys()
        return kind(**{name: getattr(self, name) for name in names if hasattr(self, name)}, **others)

    def identity(self) -> dict[str, Any]:
        """Return the settings that change results, as plain data for a fingerprint."""
        names = identity_settings(type(self))
        return {name: identity(getattr(self, name)) for name in names if not is_unset(self, name)}


def is_execution(field: FieldInfo) -> bool:
    """Tell whether a setting is marked EXECUTION."""
    return isinstance(field.json_schema_extra, dict) and bool(field.json_schema_extra.get("execution"))


def is_unset(section: BaseModel, name: str) -> bool:
    """Tell whether a setting is marked LATER and has its default, in all that changes results."""
    field = type(section).model_fields[name]
    later = isinstance(field.json_schema_extra, dict) and bool(field.json_schema_extra.get("later"))
    default = field.get_default(call_default_factory=True)
    return later and identity(getattr(section, name)) == identity(default)


def identity(setting: Any) -> Any:
    """Return what of a setting, a section or a table of them changes results, as plain data for a fingerprint."""
    if isinstance(setting, Section):
        return setting.identity()
    if isinstance(setting, dict):
        return {key: identity(value) for key, value in setting.items()}
    return setting


def identity_settings(section: type[Section]) -> list[str]:
    """Return the names of a section's settings that change results."""
    return [name for name, field in section.model_fields.items() if not is_execution(field)]


def model_settings(section: type[Section]) -> list[str]:
    """Return the names of a section's settings that are a `Model`, or a table of them."""
    fields = section.model_fields.items()
    return [n for n, field in fields if _CHECK in field.metadata or _names_models(field.annotation)]


def _names_models(annotation: Any) -> bool:
    return any(part is _CHECK or _names_models(part) for part in get_args(annotation))
