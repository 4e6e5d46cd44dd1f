"""Choose the data that language models are trained on: make what a profile asks for, and ask about it."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from curation_assets.cli import exports, queries, scoring, texts, tokenize, upkeep
from curation_assets.cli.live_progress import Watching
from curation_assets.cli.queries import Command, add_command, add_profile, described
from curation_assets.cli.train import follow, train
from curation_assets.common.stopping import INTERRUPTED, stoppable
from curation_assets.common.terminal import plain
from curation_assets.config.profile import Profile, ProfileError, load_profile
from curation_assets.config.settings import MADE
from curation_assets.defs.webserver.command import serve
from curation_assets.defs.webserver.listening import add_options
from curation_assets.engine.errors import one_line
from curation_assets.engine.lock import only_one
from curation_assets.engine.store import DamagedArtifact

if TYPE_CHECKING:
    from curation_assets.engine.workspace import Workspace

_EXAMPLES = ["curation run", "curation --profile mine.toml plan", "curation status --json"]
_YIELD = ("OMP_WAIT_POLICY", "PASSIVE")
"""Threads that wait for one another sleep instead of spinning: as fast on an idle machine, many times on a busy one."""


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand; return its exit status.

    0 done, 1 something failed, 2 a mistake in the profile or a folder or database that cannot be used, 130 stopped,
    141 nobody reads what is printed any more.
    """
    os.environ.setdefault(*_YIELD)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115 - closed by whoever called
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character shows a question mark
    profile: Profile | None = None
    try:
        parser, asking = _parser()
        options = parser.parse_args(arguments)
        if options.command == "train" and os.environ.get("RANK", "0") != "0":
            return follow()  # rank 0 alone has a profile and data
        profile = load_profile(options.profile)
        os.environ["CURATION_PROFILE"] = profile.source  # absolute, for processes that start in other folders
        status = _carry_out(profile, options, asking)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        _say("stopped; the same command continues where this one was")
        return INTERRUPTED
    except BrokenPipeError:
        _stop_printing()
        return 141
    except Exception as error:
        return _mistake(error, profile)


def _carry_out(profile: Profile, options: argparse.Namespace, asking: dict[str, Command]) -> int:
    if options.command in ("run", "plan"):
        _corpus_must_be_there(profile)
    if options.command == "ui":
        return serve(profile, options)
    if options.command in asking:
        return _ask(asking[options.command], profile, options)
    return {"run": _run, "init": _init}[options.command](profile, options)


def _mistake(error: Exception, profile: Profile | None) -> int:
    """Say in one line what a person can mend; what nobody foresaw is raised again."""
    said = one_line(error, profile.data if profile and not isinstance(error, ProfileError) else None)
    if said is None:
        raise error
    try:
        sys.stdout.flush()
    except OSError:
        _stop_printing()
    print(f"curation: {said}", file=sys.stderr)
    return 1 if isinstance(error, DamagedArtifact) else 2


def _stop_printing() -> None:
    """Keep the interpreter from trying at its end to write what nobody reads, or what does not fit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> tuple[argparse.ArgumentParser, dict[str, Command]]:
    """Return the parser, and what the subcommands do that only ask."""
    parser = argparse.ArgumentParser(prog="curation", **described(__doc__, _EXAMPLES))
    parser.add_argument("--version", action=_Version, nargs=0, help="print versions and end")
    add_profile(parser, None)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = add_command(
        commands,
        "run",
        "make everything current that the profile asks for, and print the comparison",
        "Or some assets, with what of their inputs is missing or out of date. What is current already is left alone; what fails keeps no "
        "other from being made. Stopped or killed, the same command continues where this one was. Ends with 1 if something failed.",
        [
            "curation run",
            "curation run --profile mine.toml",
            "curation run density/subset --partition 20",
            'curation run density/checkpoint density/metrics --partition "20|small" --force',
        ],
    )
    run.add_argument(
        "assets", nargs="*", metavar="ASSET", help="asset keys (default: all that the profile asks for)"
    )
    run.add_argument(
        "--partition",
        default="",
        help='of these: an amount ("20", "4k-tokens"), "20|small", a size or a shard (default: all)',
    )
    run.add_argument(
        "--force",
        action="store_true",
        help="make these anew although they are current, but none of their inputs; the new ones take the place of the old",
    )
    ui = add_command(
        commands,
        "ui",
        "start Dagster's UI and daemon on loopback, on the same state",
        "Lists the corpus and serves until it is stopped (Ctrl-C). Its sensors follow changes of the corpus.",
        ["curation ui", "curation ui --port 3001"],
    )
    add_options(ui)
    add_command(
        commands,
        "init",
        "prepare the data folder, and .env so that `dagster dev` finds it",
        "Writes Dagster's settings into the data folder, if there are none; and .env, if the working folder has workspace.yaml.",
        ["curation init"],
    )
    one = add_command(
        commands,
        "train",
        "train one checkpoint; started by torchrun, on all its nodes together",
        "Nothing else is made. Rank 0 alone needs the profile and the data: it sends the other processes all that they train on. Killed, "
        "the same command continues from the last resume point.",
        [
            'curation train density/checkpoint --partition "20|large"',
            "torchrun --nnodes 2 --node-rank 0 --nproc-per-node 8 \\\n"
            "    --master-addr 10.0.0.1 --master-port 29500 -m curation_assets.cli \\\n"
            '    train density/checkpoint --partition "20|large"',
        ],
    )
    one.add_argument("checkpoint", help="asset key, for instance density/checkpoint")
    one.add_argument("--partition", required=True, help="\"20|large\" of a sampler's, a size of full_data's")
    asking: dict[str, Command] = {"train": train}
    for module in (queries, texts, scoring, exports, tokenize, upkeep):
        asking |= module.add(commands)
    for command in commands.choices.values():  # options may stand after the subcommand, too
        add_profile(command)
    return parser, asking


class _Version(argparse.Action):
    """Prints the versions on which results and bug reports depend; nothing of them is imported."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        names = ("curation-assets", "dagster", "torch")
        print(", ".join(f"{name} {version(name)}" for name in names) + f", Python {sys.version.split()[0]}")
        parser.exit()


def _say(line: str) -> None:
    over = "\r\x1b[K" if sys.stderr.isatty() else ""  # the ^C that the terminal has shown
    print(f"{over}curation: {line}", file=sys.stderr, flush=True)


def _stopping(watching: Watching, line: str) -> None:
    watching.close()
    _say(line)


def _ask(command: Command, profile: Profile, options: argparse.Namespace) -> int:
    from curation_assets.engine.workspace import MissingInput

    try:
        return command(profile, options)
    except (ValueError, MissingInput, FileNotFoundError) as error:
        if isinstance(error, ProfileError) or getattr(error, "errno", None) is not None:
            raise
        print(f"curation: {plain(str(error))}", file=sys.stderr)
        return 1


def _run(profile: Profile, options: argparse.Namespace) -> int:
    started = time.monotonic()
    watching = Watching(started)
    with only_one(profile), stoppable(lambda line: _stopping(watching, line)):
        print(f"profile {profile.name}, data in {profile.data}", flush=True)
        # Seconds of imports: after the first line, not before it.
        from curation_assets.cli.run_assets import scope_of
        from curation_assets.cli.summary import report_end
        from curation_assets.defs.run_graph import run_graph, run_scope
        from curation_assets.engine.executors import WorkerDied
        from curation_assets.engine.workspace import Workspace

        try:
            scope = scope_of(Workspace(profile), options.assets, options.partition, force=options.force)
        except ValueError as error:
            if isinstance(error, ProfileError):
                raise
            print(f"curation: {plain(str(error))}", file=sys.stderr)
            return 1
        try:
            with watching:
                if scope is None:
                    outcome = run_graph(profile, watching, apart=True)
                else:
                    outcome = run_scope(profile, watching, scope, apart=True)
        except WorkerDied as error:
            print(f"curation: {plain(str(error))}", file=sys.stderr)
            return 1
        workspace = Workspace(profile)
        if scope is None:
            _show_results(workspace)
    made, seconds = sum(outcome.made.values()), time.monotonic() - started
    return report_end(workspace, made, outcome.failed, outcome.blocked, seconds)


def _show_results(workspace: Workspace) -> None:
    """Print what a whole run ends with: the comparison, what was found, where the page and the UI are."""
    from curation_assets.cli.summary import what_was_found
    from curation_assets.report.comparison_view import terminal_table
    from curation_assets.report.page_build import published_again

    if workspace.receipt("report/comparison") is not None:
        print(f"\n{terminal_table(workspace.open('report/comparison'))}\n")
    print(what_was_found(workspace), end="")
    if (page := published_again(workspace)) is not None:
        print(f"report:  {page}")
    print("UI:      curation ui   (make ui in the project's folder; http://127.0.0.1:3000)")


def _corpus_must_be_there(profile: Profile) -> None:
    """Raise ProfileError where the corpus is a folder that there is not, or made with what is not installed: nothing is started for that."""
    corpus = profile.corpus
    if "builtin" in corpus.made:
        from curation_assets.corpus.demo.build import must_be_installed

        try:
            must_be_installed()
        except ModuleNotFoundError as error:
            raise ProfileError(str(error)) from None
    named = {f"sources.{name}.url" if name else "url": url for name, url in corpus.urls.items()}
    named |= {"hq_url": corpus.hq_url, "reference_url": corpus.reference_url}
    if "planted" in corpus.made:
        named["planted.url"] = corpus.planted.url
    for name, url in named.items():
        elsewhere = url in ("", *MADE) or "://" in url or Path(url).exists()
        glob = re.search(r"[*?\[]", url)  # of which the folder before it must be there
        if not elsewhere and not (glob and Path(url[: glob.start()].rpartition("/")[0]).exists()):
            raise ProfileError(
                f"no corpus at {url}: there is no such file or folder; mend corpus.{name} in {profile.source}"
            )


def _init(profile: Profile, options: argparse.Namespace) -> int:
    from curation_assets.defs.instance import prepare

    prepare(profile)
    return 0
