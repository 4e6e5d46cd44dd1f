"""The subcommands of `curation` that show texts: those behind a number, and those that came and went between two subsets."""

from __future__ import annotations

import argparse
from typing import Any

from curation_assets.cli.queries import Command, add_command, to_json
from curation_assets.common.progress import on_stderr
from curation_assets.config.profile import Profile


def add(commands: Any) -> dict[str, Command]:
    """Add the subcommands to a parser; return what each does."""
    show = add_command(
        commands,
        "show",
        "show the texts behind a number: what a model was trained on, what was chosen or scored",
        "Of a metric or a checkpoint it follows the receipts to the version of the subset that was really read, and says where another "
        "one has taken its place since.",
        [
            'curation show density/metrics --partition "20|small" --texts 20',
            "curation show density/subset --partition 20 --order lowest",
            "curation show density/scores --partition en.jsonl --json | jq .documents",
        ],
    )
    show.add_argument(
        "asset", help="asset key: SAMPLER/metrics, SAMPLER/checkpoint, SAMPLER/subset or SAMPLER/scores"
    )
    show.add_argument(
        "--partition", default="", help='for instance "20|small", an amount ("20", "4k-tokens"), or a shard'
    )
    show.add_argument("--texts", type=int, default=10, metavar="N", help="how many documents (default: 10)")
    show.add_argument(
        "--order",
        choices=("first", "random", "highest", "lowest"),
        default="first",
        help="which of them: the first of the corpus, a random choice, the highest or the lowest scores (default: first)",
    )
    show.add_argument("--seed", type=int, default=0, help="of the random choice (default: 0)")
    show.add_argument("--json", action="store_true", help="print JSON instead, with the whole texts")
    diff = add_command(
        commands,
        "diff",
        "say which documents came and went between two subsets, with texts of some",
        "Compares a subset with the version that it replaced, as long as that is there; with a version, two versions, or another sampler's "
        "subset, where these are named.",
        [
            "curation diff density/subset --partition 20",
            "curation diff density/subset random/subset --partition 20",
            "curation diff density/subset 0a1b2c3d4e --partition 20 --out changes",
        ],
    )
    diff.add_argument("asset", help="asset key of a subset, for instance density/subset")
    diff.add_argument(
        "others",
        nargs="*",
        metavar="VERSION",
        help="the beginning of a version, or of two; or the key of another sampler's subset",
    )
    diff.add_argument("--partition", required=True, help="an amount, for instance 20 or 4k-tokens")
    diff.add_argument(
        "--texts",
        type=int,
        default=5,
        metavar="N",
        help="documents shown of what came and what went (default: 5)",
    )
    diff.add_argument(
        "--out", metavar="FOLDER", help="write came.parquet and went.parquet there, in a subset's columns"
    )
    diff.add_argument("--json", action="store_true", help="print JSON instead, with the whole texts")
    return {"show": _show, "diff": _diff}


def _show(profile: Profile, options: argparse.Namespace) -> int:
    from curation_assets.engine.workspace import Workspace
    from curation_assets.lineage.show import show, to_text

    progress = on_stderr("show")
    shown = show(
        Workspace(profile),
        options.asset,
        options.partition,
        options.texts,
        options.order,
        options.seed,
        progress,
    )
    print(to_json(shown) if options.json else to_text(shown))
    return 0


def _diff(profile: Profile, options: argparse.Namespace) -> int:
    from curation_assets.engine.workspace import Workspace
    from curation_assets.lineage.diff import diff, to_text, two_subsets

    workspace = Workspace(profile)
    before, after = two_subsets(workspace, options.asset, options.partition, options.others)
    difference = diff(workspace, before, after, options.texts, options.out, on_stderr("diff"))
    print(to_json(difference) if options.json else to_text(difference))
    return 0
