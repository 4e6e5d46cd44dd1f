"""The subcommands of `curation` that ask of the graph, or ask for something; none of them makes an artifact."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from curation_assets.profile import Profile

Command = Callable[[Profile, argparse.Namespace], int]


def add(commands: Any) -> dict[str, Command]:
    """Add the subcommands to a parser; return what each does."""
    trace = commands.add_parser(
        "trace", help="follow an artifact back to the shard files that it was made from"
    )
    trace.add_argument("asset", help="asset key, for instance density/metrics")
    trace.add_argument("--partition", default="", help='for instance "20|small", a rate, or a shard')
    trace.add_argument(
        "--shards", type=int, default=3, help="how many shards of each step to show (default: 3)"
    )
    trace.add_argument("--json", metavar="FILE", help="write the whole tree, with all shards, as JSON")
    explain = commands.add_parser(
        "explain", help="say all that is known of one document, and why it was chosen or not"
    )
    explain.add_argument("doc_id")
    explain.add_argument(
        "--shard", default="", help="of the documents with this id, those in this corpus file (default: all)"
    )
    explain.add_argument("--json", action="store_true", help="as JSON, an object for each document")
    commands.add_parser(
        "status", help="say what is current, out of date, failed and running, and what an update costs"
    )
    select = commands.add_parser(
        "select", help="select again over the scores that there are, without any model"
    )
    select.add_argument("samplers", nargs="+", help="one sampler, or several whose choices are combined")
    select.add_argument(
        "--keep", required=True, help='"33%%", "5000 documents" or "2.5M tokens", of each sampler'
    )
    select.add_argument(
        "--technique", choices=("top_k", "bottom_k", "ips", "uniform"), help="default: the sampler's own"
    )
    select.add_argument("--combine", choices=("intersection", "union"), default="intersection")
    select.add_argument("--seed", type=int, help="default: the profile's")
    select.add_argument("--out", metavar="FOLDER", help="write subset.parquet and manifest.json there")
    select.add_argument("--allow-stale", action="store_true", help="take scores that are out of date")
    refresh = commands.add_parser(
        "refresh", help="have models that were learned from the corpus learned anew"
    )
    refresh.add_argument("assets", nargs="*", help="default: all of them")
    return {"trace": _trace, "explain": _explain, "status": _status, "select": _select, "refresh": _refresh}


def _trace(profile: Profile, options: argparse.Namespace) -> int:
    from curation_assets.lineage.trace import json_pieces, to_text, trace
    from curation_assets.workspace import Workspace

    found = trace(Workspace(profile), options.asset, options.partition)
    if options.json:
        with Path(options.json).open("w", encoding="utf-8") as out:
            out.writelines(json_pieces(found))
    else:
        print(to_text(found, options.shards))
    return 0


def _explain(profile: Profile, options: argparse.Namespace) -> int:
    from curation_assets.lineage.explain import explain, to_json, to_text
    from curation_assets.workspace import Workspace

    for number, found in enumerate(explain(Workspace(profile), options.doc_id, shard=options.shard)):
        if number and not options.json:
            print()
        print(json.dumps(to_json(found), indent=1, ensure_ascii=False) if options.json else to_text(found))
    return 0


def _status(profile: Profile, options: argparse.Namespace) -> int:
    from curation_assets.lineage.status import status, to_text
    from curation_assets.workspace import Workspace

    print(to_text(status(Workspace(profile))))
    return 0


def _select(profile: Profile, options: argparse.Namespace) -> int:
    from curation_assets.progress import Throttled
    from curation_assets.sampling.what_if import to_text, what_if
    from curation_assets.workspace import Workspace

    found = what_if(
        Workspace(profile),
        options.samplers,
        options.keep,
        technique=options.technique,
        combine=options.combine,
        seed=options.seed,
        folder=options.out,
        allow_stale=options.allow_stale,
        progress=Throttled(lambda line: print(line, file=sys.stderr, flush=True), "select"),
    )
    print(to_text(found))
    return 0


def _refresh(profile: Profile, options: argparse.Namespace) -> int:
    from curation_assets.refresh import ask_refresh, to_text
    from curation_assets.workspace import Workspace

    print(to_text(ask_refresh(Workspace(profile), options.assets)))
    return 0
