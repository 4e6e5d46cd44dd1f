"""Settings by path: their identity, and what a step may see of a profile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.config.paths import (
    Declaration,
    DeclaredSettings,
    UndeclaredSetting,
    identity_at,
    value_at,
)
from curation_assets.config.profile import Profile, load_profile
from curation_assets.config.section import Section, is_execution
from curation_assets.engine.graph import STEPS

LOCAL, HUB = load_profile("local"), load_profile("hub")


def leaves(section: Any, path: str = "", execution: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield (path, whether it says how something runs) of every setting; tables are gone through like sections."""
    if isinstance(section, Section):
        for name, field in type(section).model_fields.items():
            yield from leaves(getattr(section, name), f"{path}{name}.", execution or is_execution(field))
    elif isinstance(section, dict) and not execution:
        for name, value in section.items():
            yield from leaves(value, f"{path}{name}.", execution)
    else:
        yield path.removesuffix("."), execution


def changed(section: Any, path: list[str]) -> Any:
    """Return a profile whose setting at a path has another value, of whatever kind: nothing is validated here."""
    if not path:
        return ("changed", str(section))
    name, *rest = path
    if isinstance(section, dict):
        return section | {name: changed(section[name], rest)}
    return section.model_copy(update={name: changed(getattr(section, name), rest)})


SETTINGS = dict(leaves(LOCAL))


def view(*paths: str, profile: Profile = LOCAL) -> Any:
    return DeclaredSettings(profile, Declaration("random/scores", paths))


def test_what_is_declared_is_there_and_the_rest_is_refused_by_name() -> None:
    seen = view("selection.seed", "samplers.clusters")
    assert seen.selection.seed == LOCAL.selection.seed
    assert seen.samplers.clusters is LOCAL.samplers.clusters, (
        "a section that is declared whole can be passed on"
    )
    with pytest.raises(
        UndeclaredSetting, match=r'random/scores reads .* selection.rate_of, .* add "selection.rate_of"'
    ):
        _ = seen.selection.rate_of
    with pytest.raises(UndeclaredSetting, match=r"evaluation\.finetuning\.steps"):
        _ = seen.evaluation.finetuning.steps


def test_settings_of_execution_are_open_to_all() -> None:
    seen = view()
    assert seen.evaluation.finetuning.resume_seconds == LOCAL.evaluation.finetuning.resume_seconds
    assert seen.corpus.storage_options == {} and seen.execution.dtype == "auto" and seen.name == "local"
    assert seen.data == LOCAL.data, "and so is what is derived from them"


def test_of_a_section_that_is_declared_in_part_nothing_whole_can_be_had() -> None:
    seen = view("samplers.perplexity.window")
    for whole in ("identity", "model_dump", "model_copy"):
        with pytest.raises(UndeclaredSetting, match=r'"samplers\.perplexity"'):
            getattr(seen.samplers.perplexity, whole)
    with pytest.raises(UndeclaredSetting):
        _ = seen.model_fields_set
    with pytest.raises(AttributeError, match="perplexity has no windows"):
        _ = seen.samplers.perplexity.windows


def test_tables_are_seen_whole_or_by_key() -> None:
    seen = view("ladder", "samplers.perplexity.models.small")
    assert value_at(seen, "samplers.perplexity.models.small") == LOCAL.samplers.perplexity.models["small"]
    assert seen.ladder is LOCAL.ladder and seen.sizes == LOCAL.sizes
    assert seen.samplers.perplexity.models["small"] == LOCAL.samplers.perplexity.models["small"]
    assert seen.samplers.perplexity.models.get("small") and "small" in seen.samplers.perplexity.models
    for look in (lambda t: t["xl"], lambda t: "xl" in t, list, len, dict):
        with pytest.raises(UndeclaredSetting, match=r"perplexity\.models"):
            look(seen.samplers.perplexity.models)


def test_methods_and_properties_see_no_more_than_who_calls_them() -> None:
    assert view("samplers.perplexity.models.xl").model_source("perplexity_xl") == LOCAL.model_source(
        "perplexity_xl"
    )
    with pytest.raises(UndeclaredSetting, match=r"perplexity\.models\.xl"):
        view("samplers.perplexity.models.small").model_source("perplexity_xl")
    with pytest.raises(UndeclaredSetting, match="ladder"):
        _ = view().sizes


def test_a_path_that_leads_nowhere_or_to_execution_is_no_declaration() -> None:
    with pytest.raises(ValueError, match=r"no setting samplers\.density\.row"):
        value_at(LOCAL, "samplers.density.row")
    with pytest.raises(ValueError, match="how something runs"):
        identity_at(LOCAL, "evaluation.batch_tokens")
    with pytest.raises(ValueError, match="no setting"):
        value_at(LOCAL, "samplers.density.rows.more")
    assert value_at(HUB, "samplers.perplexity.models.no_such") is None, "a table may lack a key"


def test_identity_leaves_execution_out_also_in_tables() -> None:
    assert set(identity_at(LOCAL, "judge")) == set(type(LOCAL.judge).model_fields) - {"resume_seconds"}
    assert identity_at(LOCAL, "ladder")["xl"] == LOCAL.ladder["xl"].model_dump()


@pytest.mark.parametrize("profile", [LOCAL, HUB], ids=["local", "hub"])
def test_every_declared_path_exists(profile: Profile) -> None:
    for step in STEPS.values():
        step.identity(profile)


def test_every_setting_that_changes_a_result_is_declared_by_a_step() -> None:
    """One that none declares could be read by none: it would do nothing."""
    declared = {path for step in STEPS.values() for path in step.settings}
    undeclared = {
        path
        for path, execution in SETTINGS.items()
        if not execution and not any(path == one or path.startswith(f"{one}.") for one in declared)
    }
    assert not undeclared


@settings(deadline=None)
@given(st.sampled_from(sorted(SETTINGS)))
def test_a_change_of_a_setting_reaches_exactly_the_steps_that_declare_it(path: str) -> None:
    other = changed(LOCAL, path.split("."))
    reached = {key for key, step in STEPS.items() if step.identity(LOCAL) != step.identity(other)}
    declaring = {key for key, step in STEPS.items() if Declaration(key, step.settings).covers(path)}
    assert reached == (set() if SETTINGS[path] else declaring)
    versions = {key for key, step in STEPS.items() if step.code_version(LOCAL) != step.code_version(other)}
    expected = set(reached)
    for key, step in STEPS.items():
        if any(one.key in expected for one in step.versions_of):
            expected.add(key)
    assert versions == expected
