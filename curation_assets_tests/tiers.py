"""Tiers of tests: one without a mark is `fast` and stays in its process, which is checked; the others say what they need.

`make check` runs the fast ones alone. With pytest-xdist the tests of a file stay in one process, the tests in a browser are
one group, since they share what takes long to start, and the groups that take longest start first: so none is left at the end
with one process at work.
"""

from __future__ import annotations

import multiprocessing.process
import sys
from collections.abc import Generator
from typing import Any

import pytest

LIMITS = {"browser": 600, "graph": 600, "process": 180, "slow": 180}
"""The marks, and the seconds that a test with one may take; `timeout` of pyproject.toml is for all others."""
_STARTS = {
    "subprocess.Popen": "a subprocess",
    "os.fork": "a process",
    "os.posix_spawn": "a process",
    "os.system": "a shell",
}
_started: list[str] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    asked_by_python = event == "subprocess.Popen" and list(arguments[1])[:2] == ["file", "-b"]
    if event in _STARTS and not asked_by_python:  # platform.architecture(), when Dagster is first imported
        _started.append(
            f"{_STARTS[event]} ({arguments[1]})" if event == "subprocess.Popen" else _STARTS[event]
        )


def _watch(owner: type, method: str, what: str) -> None:
    """Note each call of a method, which is otherwise what it was."""
    original = getattr(owner, method)

    def noted(*arguments: Any, **options: Any) -> Any:
        _started.append(what)
        return original(*arguments, **options)

    noted.watched = True  # type: ignore[attr-defined]
    if not hasattr(original, "watched"):
        setattr(owner, method, noted)


def pytest_configure(config: pytest.Config) -> None:
    """Notice whatever starts."""
    sys.addaudithook(_audit)
    _watch(multiprocessing.process.BaseProcess, "start", "a process")
    config.addinivalue_line("markers", "fast: has no other mark of a tier")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is fast, limit the time of the others, and put those that take longest first."""
    first: dict[str, int] = {}
    for item in items:
        tiers = [tier for tier in LIMITS if item.get_closest_marker(tier)]
        group = group_of(item.nodeid)
        item.add_marker(tiers[0] if tiers else "fast")
        if tiers and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LIMITS[tiers[0]]))
        rank = list(LIMITS).index(tiers[0]) if tiers else len(LIMITS)
        first[group] = min(rank, first.get(group, rank))
    items.sort(key=lambda item: first[group_of(item.nodeid)])


def group_of(nodeid: str) -> str:
    """Return the group of a test, which one process of pytest-xdist runs: its file, or all files of the browser."""
    file = nodeid.partition("::")[0]
    folder = file.rpartition("/")[0]
    return folder if folder.endswith("/browser") else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give whole groups to the processes of pytest-xdist, whose own mark for that does nothing under pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return Groups(config, log)


def _stays_inside(item: pytest.Item) -> Generator[None, Any, Any]:
    if dagster := sys.modules.get("dagster"):
        _watch(dagster.DagsterInstance, "create_run_for_job", "a Dagster run")
    _started.clear()
    result = yield
    if _started and item.get_closest_marker("fast"):
        marks = ", ".join(LIMITS)
        pytest.fail(f"a fast test started {_started[0]}: give it a mark of a tier ({marks})", pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail a fast test whose fixtures start something."""
    return (yield from _stays_inside(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Fail a fast test that starts something."""
    return (yield from _stays_inside(item))
