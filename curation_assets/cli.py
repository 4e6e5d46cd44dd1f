"""`curation`: what Dagster's own command line does not do."""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from curation_assets.asking import Command, add
from curation_assets.files import write_bytes
from curation_assets.profile import Profile, ProfileError, load_profile
from curation_assets.progress import duration
from curation_assets.ui.command import serve
from curation_assets.ui.listening import add_options

_QUIET_SECONDS = 3.0
_YIELD = ("OMP_WAIT_POLICY", "PASSIVE")
"""Threads that wait for one another sleep instead of spinning: as fast on an idle machine, many times on a busy one."""


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand; return its exit status: 0 done, 1 something failed, 2 a mistake in the profile, 130 stopped."""
    parser = argparse.ArgumentParser(prog="curation", description=__doc__)
    parser.add_argument(
        "--profile", help='"local", "hub" or a TOML file (default: CURATION_PROFILE, or "local")'
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "run", help="make everything current that the profile asks for, and print the comparison"
    )
    commands.add_parser("plan", help="say what `run` would make, without making it")
    ui = commands.add_parser("ui", help="start Dagster's UI and daemon on loopback, on the same state")
    add_options(ui)
    commands.add_parser("init", help="prepare the data folder, and .env so that `dagster dev` finds it")
    asking = add(commands)
    options = parser.parse_args(arguments)
    os.environ.setdefault(*_YIELD)
    try:
        if options.profile:
            os.environ["CURATION_PROFILE"] = options.profile
        profile = load_profile()
        if options.command == "ui":
            return serve(profile, options)
        if options.command in asking:
            return _ask(asking[options.command], profile, options)
        return {"run": _run, "plan": _plan, "init": _init}[options.command](profile)
    except ProfileError as error:
        print(f"curation: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ncuration: stopped; the same command continues where this one was", file=sys.stderr)
        return 130


def _ask(command: Command, profile: Profile, options: argparse.Namespace) -> int:
    from curation_assets.workspace import MissingInput

    try:
        return command(profile, options)
    except (ValueError, MissingInput, FileNotFoundError) as error:
        print(f"curation: {error}", file=sys.stderr)
        return 1


def _run(profile: Profile) -> int:
    started = time.monotonic()
    with _only_one(profile):
        print(f"profile {profile.name}, data in {profile.data}", flush=True)
        # Seconds of imports: after the first line, not before it.
        from curation_assets.jobs import WorkerDied, run_graph
        from curation_assets.report.comparison import terminal_table
        from curation_assets.report.page_build import published_again
        from curation_assets.workspace import Workspace

        try:
            outcome = run_graph(profile, _Terminal(started))
        except WorkerDied as error:
            print(f"curation: {error}", file=sys.stderr)
            return 1
        workspace = Workspace(profile)
        if workspace.store.receipt("report/comparison") is not None:
            print(f"\n{terminal_table(workspace.open('report/comparison'))}\n")
        if (page := published_again(workspace)) is not None:
            print(f"report:  {page}")
    print("UI:      make ui   (http://127.0.0.1:3000)")
    made = sum(outcome.made.values())
    print(
        f"{made:,} artifacts made in {duration(time.monotonic() - started)}"
        + ("" if made else ": nothing to do")
    )
    for key, reason in outcome.failed.items():
        print(f"FAILED   {key}: {reason}", file=sys.stderr)
    if outcome.blocked:
        named = ", ".join(outcome.blocked[:4]) + (", ..." if len(outcome.blocked) > 4 else "")
        print(f"BLOCKED  {len(outcome.blocked)} assets wait for what failed: {named}", file=sys.stderr)
    return 1 if outcome.failed or outcome.blocked else 0


def _plan(profile: Profile) -> int:
    from curation_assets.plan import targets, wanted_steps
    from curation_assets.versions import Versions
    from curation_assets.workspace import Workspace

    workspace = Workspace(profile)
    versions = Versions(workspace)
    remade: set[str] = set()
    for step in wanted_steps(profile):
        asked = targets(workspace, step)
        stale = versions.stale(step, asked) if step.key != "corpus/source" else []
        behind = not step.pinned and any(need in remade for need in step.reads(profile))
        if stale or behind or not asked:
            remade.add(step.key)
            what = f"{len(stale)} of {len(asked)}" if stale else "follows from what is above"
            print(f"{step.key:<28} {what}")
    if not remade:
        print("everything is current, as far as the last listing of the corpus goes")
    return 0


def _init(profile: Profile) -> int:
    from curation_assets.jobs import dagster_home

    home = dagster_home(profile)
    if Path("workspace.yaml").exists() and not Path(".env").exists():
        write_bytes(Path(".env"), f"DAGSTER_HOME={home}\n{'='.join(_YIELD)}\n".encode())
    return 0


@contextmanager
def _only_one(profile: Profile) -> Iterator[None]:
    """Keep two runs of one data folder apart: correct together, but they would do the same work twice."""
    profile.data.mkdir(parents=True, exist_ok=True)
    with (profile.data / ".run.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ProfileError(f"another `curation run` is at work in {profile.data}") from None
        yield


class _Terminal:
    """Prints every stage, and of what happens inside it at most a line every few seconds."""

    def __init__(self, started: float) -> None:
        self._started, self._told = started, started

    def __call__(self, line: str) -> None:
        now = time.monotonic()
        if line.startswith("---") or now - self._told >= _QUIET_SECONDS:
            self._told = now
            print(f"{duration(now - self._started):>12}  {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
