"""The subcommands of `curation` that look after what lies there: the catalog and the store. None of them makes an artifact."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

from curation_assets.cli.queries import Command, add_command, add_profile, described
from curation_assets.common.progress import on_stderr
from curation_assets.common.terminal import counted
from curation_assets.config.profile import Profile

if TYPE_CHECKING:
    from curation_assets.engine.garbage import Removed

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_UNITS = ("bytes", "kB", "MB", "GB", "TB")
_SHOWN = 20  # lines of what is wrong


def add(commands: Any) -> dict[str, Command]:
    """Add the subcommands to a parser; return what each does."""
    catalog = add_command(
        commands,
        "catalog",
        "compare the catalog with what lies in the store, or make it anew",
        "The catalog says which artifact is current; every artifact has a manifest beside its files, from which the catalog can "
        "be made.",
        ["curation catalog check --digests", "curation catalog rebuild"],
    )
    actions = catalog.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser(
        "check",
        help="say which artifacts are damaged, and withdraw them",
        **described(
            "Say which artifacts lack a file or have one of another size, and withdraw them, so that the next run makes them "
            "anew. Ends with 1 if something is wrong.",
            ["curation catalog check", "curation catalog check --digests"],
        ),
    )
    check.add_argument(
        "--digests", action="store_true", help="read every file, and compare it with its SHA-256"
    )
    rebuild = actions.add_parser(
        "rebuild",
        help="make the catalog anew of the manifests in the store",
        **described(
            "Make the catalog anew of the manifests in the store: where it is lost or damaged, or the store was another one's.",
            ["curation catalog rebuild"],
        ),
    )
    for action in (check, rebuild):
        add_profile(action)
    gc = add_command(
        commands,
        "gc",
        "remove what nothing refers to, what was replaced, and what was made of deleted corpus files",
        "What a run that goes on may commit or read is kept.",
        ["curation gc --dry-run", "curation gc --older-than 12h"],
    )
    gc.add_argument(
        "--older-than",
        type=_seconds,
        default="7d",
        metavar="TIME",
        help='what was written, replaced or deleted before that: "30m", "12h", "7d" (default: 7d)',
    )
    gc.add_argument("--dry-run", action="store_true", help="say what would go, and remove nothing")
    return {"catalog": _catalog, "gc": _gc}


def _seconds(text: str) -> float:
    if (amount := re.fullmatch(r"(\d+)([smhd])", text)) is None:
        raise argparse.ArgumentTypeError(f'{text!r} is no time: write "30m", "12h" or "7d"')
    return float(amount[1]) * _SECONDS[amount[2]]


def _catalog(profile: Profile, options: argparse.Namespace) -> int:
    return {"check": _check, "rebuild": _rebuild}[options.action](profile, options)


def _check(profile: Profile, options: argparse.Namespace) -> int:
    from curation_assets.engine.verify import verify
    from curation_assets.engine.workspace import Workspace
    from curation_assets.report.page_build import mend_published

    workspace = Workspace(profile)
    verdict = verify(workspace, digests=options.digests, progress=on_stderr("check"))
    wrong = [f"{name}: {problem}; withdrawn" for name, problem in sorted(verdict.damaged.items())]
    wrong += [
        f"{name}: its entry in the catalog was damaged; written anew from its manifest"
        for name in sorted(verdict.entries)
    ]
    wrong += [f"{name}: its manifest was damaged or gone; written anew" for name in sorted(verdict.manifests)]
    if options.digests and (mended := mend_published(workspace)):
        wrong.append(f"{mended} was not what was published; copied anew")
    for line in wrong[:_SHOWN]:
        print(line)
    if len(wrong) > _SHOWN:
        print(f"and {len(wrong) - _SHOWN:,} more")
    looked = "every byte read" if options.digests else "names and sizes; --digests reads the files as well"
    print(
        f"{counted(verdict.artifacts, 'artifact')}, {_size(verdict.bytes)} ({looked}): {len(wrong):,} wrong"
    )
    if verdict.unreferenced:
        folders = counted(len(verdict.unreferenced), "folder")
        print(
            f"nothing refers to {folders}, {_size(sum(verdict.unreferenced))}: `curation gc` removes what is old of that"
        )
    if verdict.damaged:
        print("call `curation run`: it makes anew what was withdrawn")
    return 1 if wrong else 0


def _rebuild(profile: Profile, options: argparse.Namespace) -> int:
    from curation_assets.engine.takeover import rebuild_catalog
    from curation_assets.engine.workspace import Workspace

    workspace = Workspace(profile)
    rebuilt = rebuild_catalog(
        profile.execution.catalog, workspace.store, workspace.data, on_stderr("rebuild")
    )
    if rebuilt.set_aside is not None:
        print(f"the catalog was damaged; it is {rebuilt.set_aside} now")
    current, replaced = rebuilt.current.total(), rebuilt.replaced.total()
    print(
        f"the catalog {workspace.catalog.name} has {counted(current, 'artifact')}, and {replaced:,} that they replaced"
    )
    if rebuilt.incomplete:
        print(
            f"{counted(len(rebuilt.incomplete), 'folder')} without a whole manifest or with files missing: `curation gc` removes "
            "what is old of that"
        )
    if rebuilt.began_anew:
        print(
            "what no manifest says is forgotten: failed attempts, which artifacts `curation refresh` marked, and which artifacts "
            "Dagster has not been told of"
        )
    return 0


def _gc(profile: Profile, options: argparse.Namespace) -> int:
    from curation_assets.engine.garbage import collect_garbage
    from curation_assets.engine.workspace import Workspace

    garbage = collect_garbage(
        Workspace(profile), options.older_than, dry_run=options.dry_run, progress=on_stderr("gc")
    )
    kinds = {
        "left by processes that were killed": garbage.staged,
        "that nothing refers to": garbage.unreferenced,
        "of artifacts that were replaced": garbage.replaced,
        "of corpus files that are not listed any more, and of amounts that the profile names no more": garbage.unlisted,
    }
    for kind, removed in kinds.items():
        if removed.folders:
            print(_removed(removed, kind, options.dry_run))
    if not any(removed.folders for removed in kinds.values()):
        print("nothing to remove")
    return 0


def _removed(removed: Removed, kind: str, dry_run: bool) -> str:
    did = "would remove" if dry_run else "removed"
    return f"{did} {counted(removed.folders, 'folder')} {kind}: {_size(removed.bytes)}"


def _size(size: int) -> str:
    step = 0 if size < 1000 else min((len(str(size)) - 1) // 3, len(_UNITS) - 1)
    return f"{size / 1000**step:,.{min(step, 1)}f} {_UNITS[step]}"
