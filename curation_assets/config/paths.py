"""Settings by dotted path ("evaluation.max_documents"): what of them changes results, and a view that shows only some."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import FunctionType, MethodType
from typing import Any

from curation_assets.config.section import Section, identity, is_execution, is_unset


class UndeclaredSetting(RuntimeError):
    """A step reads a setting that it does not declare; the message names both and says what to add."""


def value_at(profile: Section | DeclaredSettings, path: str) -> Any:
    """Return the setting at a path; None where the path leads to a key that a table of the profile does not have.

    Raises
    ------
    ValueError
        A section on the way has no such setting, or it is one of execution, which changes no result.
    """
    value: Any = profile
    for name in path.split("."):
        if isinstance(value, Mapping):
            value = value.get(name)
            continue
        if isinstance(value, DeclaredSettings):
            value = getattr(value, name)
            continue
        field = type(value).model_fields.get(name) if isinstance(value, Section) else None
        if field is None:
            raise ValueError(f"the profile has no setting {path}")
        if is_execution(field):
            raise ValueError(f"{path} says how something runs: it is read without being declared")
        value = getattr(value, name)
    return value


def identity_at(profile: Section, path: str) -> Any:
    """Return what of the setting at a path changes results, as plain data for a fingerprint."""
    return identity(value_at(profile, path))


def unset_at(profile: Section, path: str) -> bool:
    """Tell whether the setting at a path came later than artifacts that may be kept, and has its default (`section.LATER`)."""
    above, _, name = path.rpartition(".")
    section = value_at(profile, above) if above else profile
    return isinstance(section, Section) and is_unset(section, name)


@dataclass(frozen=True)
class Declaration:
    """The paths of settings that the step `reader` declares."""

    reader: str
    paths: tuple[str, ...]

    def covers(self, path: str) -> bool:
        """Tell whether a path is declared, or something above it is."""
        return any(path == one or path.startswith(f"{one}.") for one in self.paths)

    def refusal(self, path: str) -> UndeclaredSetting:
        """Return the error of reading another path."""
        return UndeclaredSetting(
            f'{self.reader} reads the setting {path}, which it does not declare: add "{path}" to the settings of that '
            "step, so that its versions follow from it"
        )


class DeclaredSettings:
    """A section as a step may see it: what it declares, and what says how something runs.

    A section or table that is declared whole is given as it is; of any other, each setting is looked at as it is read.
    Methods and properties of a section see its settings in the same way.
    """

    def __init__(self, section: Section, declared: Declaration, path: str = "") -> None:
        self._section, self._declared, self._path = section, declared, path

    def __getattr__(self, name: str) -> Any:
        """Return a setting, or what a property or method of the section makes of settings."""
        field = type(self._section).model_fields.get(name)
        if field is None:
            return self._derived(name)
        value, path = getattr(self._section, name), _below(self._path, name)
        if is_execution(field) or self._declared.covers(path):
            return value
        if isinstance(value, Section):
            return DeclaredSettings(value, self._declared, path)
        if isinstance(value, dict) and any(one.startswith(f"{path}.") for one in self._declared.paths):
            return _DeclaredKeys(value, self._declared, path)
        raise self._declared.refusal(path)

    def _derived(self, name: str) -> Any:
        for kind in type(self._section).__mro__:
            if kind is Section and name != "to":
                break
            attribute = vars(kind).get(name)
            if isinstance(attribute, FunctionType):
                return MethodType(attribute, self)
            if isinstance(attribute, property) and attribute.fget:
                return attribute.fget(self)
            if isinstance(attribute, cached_property):
                return attribute.func(self)
        if not name.startswith("_") and hasattr(Section, name):  # `identity`, `model_dump`: of all there is
            raise self._declared.refusal(self._path or "profile, whole")
        raise AttributeError(f"{self._path or 'the profile'} has no {name}")


class _DeclaredKeys(Mapping[str, Any]):
    """A table of the profile, of which only some keys may be looked at."""

    def __init__(self, table: dict[str, Any], declared: Declaration, path: str) -> None:
        self._table, self._declared, self._path = table, declared, path

    def __getitem__(self, key: str) -> Any:
        """Return the value of a key that is declared."""
        path = _below(self._path, key)
        if not self._declared.covers(path):
            raise self._declared.refusal(path)
        return self._table[key]

    def __iter__(self) -> Iterator[str]:
        """Refuse: which keys there are is the whole table's to say."""
        raise self._declared.refusal(self._path)

    def __len__(self) -> int:
        """Refuse: how many keys there are is the whole table's to say."""
        raise self._declared.refusal(self._path)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
