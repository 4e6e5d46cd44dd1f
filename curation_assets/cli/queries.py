"""The subcommands of `curation` that query the graph, or request something; none of them makes an artifact."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import Any

from curation_assets.common.files import atomic_file
from curation_assets.common.terminal import wrapped
from curation_assets.config.profile import Profile, absolute

Command = Callable[[Profile, argparse.Namespace], int]


def described(text: str, examples: list[str]) -> dict[str, Any]:
    """Return what a parser takes to print a description and examples in its --help."""
    return {
        "description": "\n".join(wrapped(text, "", "")),
        "epilog": "\n  ".join(["examples:", *examples]),
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }


def add_profile(parser: argparse.ArgumentParser, default: str | None = argparse.SUPPRESS) -> None:
    """Let a command take a profile; where it is not given, what stands before the subcommand holds."""
    parser.add_argument(
        "--profile",
        metavar="PROFILE",
        default=default,
        help='"local", "hub", "replicate" or a TOML file (default: CURATION_PROFILE, or "local")',
    )


def add_command(
    commands: Any, name: str, does: str, more: str, examples: list[str]
) -> argparse.ArgumentParser:
    """Add a subcommand: what it `does` stands in the list of all, `more` in its own help."""
    text = f"{does[0].upper()}{does[1:]}. {more}"
    parser: argparse.ArgumentParser = commands.add_parser(name, help=does, **described(text, examples))
    return parser


def add(commands: Any) -> dict[str, Command]:
    """Add the subcommands to a parser; return what each does."""
    plan = add_command(
        commands,
        "plan",
        "say what `run` would make, without making it",
        "One line for each step, with the time that it took before, as far as the last listing of the corpus goes.",
        ["curation plan", "curation plan --json | jq -r '.[].asset'"],
    )
    plan.add_argument("--json", action="store_true", help="print JSON instead")
    status = add_command(
        commands,
        "status",
        "say what is current, out of date, failed and running, and what an update costs",
        "Also which files could not be read, and how many rows are quarantined. Ends with 1 if something failed.",
        ["curation status", "curation status --json | jq .failed"],
    )
    status.add_argument("--json", action="store_true", help="print JSON instead")
    trace = add_command(
        commands,
        "trace",
        "follow an artifact back to the shard files that it was made from",
        "Where an artifact was made from another version of an input than is there now, that is said.",
        [
            'curation trace density/metrics --partition "20|small"',
            "curation trace density/subset --partition 20 --json - | head",
        ],
    )
    trace.add_argument("asset", help="asset key, for instance density/metrics")
    trace.add_argument(
        "--partition", default="", help='for instance "20|small", an amount ("20", "2.5B-tokens"), or a shard'
    )
    trace.add_argument(
        "--shards", type=int, default=3, help="how many shards of each step to show (default: 3)"
    )
    trace.add_argument(
        "--json", metavar="FILE", help='write the whole tree, with all shards, as JSON; "-": to the terminal'
    )
    explain = add_command(
        commands,
        "explain",
        "say all that is known of one document, and why it was chosen or not",
        "Its source, its score and rank by each sampler, the subsets that it is in, and why not in others.",
        ["curation explain assert-7", "curation explain assert-7 --json"],
    )
    explain.add_argument("doc_id", metavar="DOC_ID", help="its id in the corpus, or the hash of its text")
    explain.add_argument(
        "--shard", default="", help="of the documents with this id, those in this corpus file (default: all)"
    )
    explain.add_argument(
        "--json", action="store_true", help="print JSON instead, an object for each document"
    )
    refresh = add_command(
        commands,
        "refresh",
        "have models that were learned from the corpus learned anew",
        "Only what is behind the corpus is learned anew, by the next run; what depends on it follows.",
        ["curation refresh", "curation refresh corpus/tokenizer"],
    )
    refresh.add_argument("assets", nargs="*", metavar="ASSET", help="asset keys (default: all such models)")
    return {
        "plan": _plan,
        "trace": _trace,
        "explain": _explain,
        "status": _status,
        "refresh": _refresh,
    }


def _plan(profile: Profile, options: argparse.Namespace) -> int:
    from curation_assets.engine.workspace import Workspace
    from curation_assets.lineage.plan import planned, to_text

    plan = planned(Workspace(profile))
    print(to_json(plan) if options.json else to_text(plan))
    return 0


def to_json(value: Any, *, ensure_ascii: bool = True) -> str:
    """Return an answer for programs."""
    from curation_assets.engine.reasons import as_data

    return json.dumps(value, default=as_data, indent=1, ensure_ascii=ensure_ascii)


def _trace(profile: Profile, options: argparse.Namespace) -> int:
    from curation_assets.engine.workspace import Workspace
    from curation_assets.lineage.trace import json_pieces, to_text, trace

    tree = trace(Workspace(profile), options.asset, options.partition)
    if options.json == "-":
        sys.stdout.writelines(chain(json_pieces(tree), "\n"))
    elif options.json:
        _write(absolute(options.json), json_pieces(tree))
    else:
        print(to_text(tree, options.shards))
    return 0


def _write(path: Path, pieces: Iterable[str]) -> None:
    """Write a text for somebody, whole or not at all; through a link, a pipe or a device as any program does."""
    as_a_file = not path.is_symlink() and (path.is_file() or not path.exists())
    with atomic_file(path) if as_a_file else nullcontext(path) as place, place.open("wb") as out:
        out.writelines(piece.encode() for piece in pieces)


def _explain(profile: Profile, options: argparse.Namespace) -> int:
    from curation_assets.engine.workspace import Workspace
    from curation_assets.lineage.explain import explain, to_text

    for number, document in enumerate(explain(Workspace(profile), options.doc_id, shard=options.shard)):
        if number and not options.json:
            print()
        print(to_json(document, ensure_ascii=False) if options.json else to_text(document))
    return 0


def _status(profile: Profile, options: argparse.Namespace) -> int:
    from curation_assets.engine.workspace import Workspace
    from curation_assets.lineage.status import status, to_text

    state = status(Workspace(profile))
    print(to_json(state) if options.json else to_text(state))
    return 1 if state.failed else 0


def _refresh(profile: Profile, options: argparse.Namespace) -> int:
    from curation_assets.engine.refresh import ask_refresh, to_text
    from curation_assets.engine.workspace import Workspace

    print(to_text(ask_refresh(Workspace(profile), options.assets)))
    return 0
