"""A section of the profile: typed, frozen, closed to unknown keys.

IDENTITY settings change results and enter fingerprints; EXECUTION settings (where and how something runs) never do.
"""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from curation_assets.config.model_sources import parse

EXECUTION: dict[str, Any] = {"execution": True}
"""Marks a setting that changes no result: `batch_size: Positive = Field(8, json_schema_extra=EXECUTION)`."""

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

    def identity(self) -> dict[str, Any]:
        """Return the settings that change results, as plain data for a fingerprint."""
        kept: dict[str, Any] = {}
        for name in identity_settings(type(self)):
            value = getattr(self, name)
            kept[name] = value.identity() if isinstance(value, Section) else value
        return kept


def identity_settings(section: type[Section]) -> list[str]:
    """Return the names of a section's settings that change results."""
    return [
        name
        for name, field in section.model_fields.items()
        if not (isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("execution"))
    ]


def model_settings(section: type[Section]) -> list[str]:
    """Return the names of a section's settings that are a `Model`, or a table of them."""
    fields = section.model_fields.items()
    return [n for n, field in fields if _CHECK in field.metadata or _names_models(field.annotation)]


def _names_models(annotation: Any) -> bool:
    return any(part is _CHECK or _names_models(part) for part in get_args(annotation))
