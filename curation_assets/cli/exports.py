"""`curation export` and `curation select`: a choice, and its texts as a dataset."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, get_args

from pydantic import ValidationError

from curation_assets.cli.queries import Command, add_command
from curation_assets.common.progress import on_stderr
from curation_assets.common.terminal import counted
from curation_assets.config.export_settings import Export, Format
from curation_assets.config.profile import Profile, address

if TYPE_CHECKING:
    from curation_assets.engine.workspace import Workspace
    from curation_assets.selection.export.chosen import Chosen
    from curation_assets.selection.export.destination import Destination


def add(commands: Any) -> dict[str, Command]:
    """Add the subcommands to a parser; return what each does."""
    _add_select(commands)
    _add_export(commands)
    return {"select": _select, "export": _export}


def _add_select(commands: Any) -> None:
    select = add_command(
        commands,
        "select",
        "select again over the scores that there are, without any model",
        "With several samplers each makes its choice by itself, and the choices are combined. With --to the chosen texts are written, as "
        "`curation export` writes them; without, nothing is.",
        [
            "curation select semdedup --keep 33% --to chosen",
            'curation select density semdedup --keep "100 documents" --combine union',
            'curation select density --keep 20% --first "semdedup < 0.9" --within cluster',
        ],
    )
    select.add_argument(
        "samplers", nargs="+", metavar="SAMPLER", help="one sampler, or several whose choices are combined"
    )
    select.add_argument(
        "--keep", required=True, help='"33%%", "5000 documents" or "2.5M tokens", of each sampler'
    )
    select.add_argument(
        "--technique", choices=("top_k", "bottom_k", "ips", "uniform"), help="default: the sampler's own"
    )
    select.add_argument(
        "--combine",
        choices=("intersection", "union"),
        default="intersection",
        help="what is kept of several samplers' choices (default: intersection)",
    )
    select.add_argument(
        "--seed", type=int, help="of the noise that ips and uniform draw with (default: the profile's)"
    )
    select.add_argument(
        "--first",
        default="",
        metavar="WHAT",
        help='what stays to choose from: "semdedup < 0.9", "ask_llm_xl 40%%" (default: the whole corpus)',
    )
    select.add_argument(
        "--within",
        metavar="FIELD",
        help='keep the rate within each value of a kept field, or "cluster"; "" for none (default: the profile\'s)',
    )
    select.add_argument("--allow-stale", action="store_true", help="take scores that are out of date")
    _add_layout(select, required=False)


def _add_export(commands: Any) -> None:
    parser = add_command(
        commands,
        "export",
        "write the texts of a subset as a dataset that trainers read",
        "Parquet or JSON lines, in files of a size, with a manifest; each text is compared with what was scored. Stopped or killed, the same command "
        "goes on behind the last file.",
        [
            "curation export density/subset --partition 20 --to chosen",
            "curation export density/subset --partition 20 --to chosen --push ORG/NAME",
            "curation export density/subset --partition 20 --to s3://bucket/out \\\n    --format jsonl.zst --repeat 'top 10% x 2'",
        ],
    )
    parser.add_argument("subset", metavar="SAMPLER/subset", help="asset key, for instance density/subset")
    parser.add_argument("--partition", required=True, help="which of its subsets: 20")
    _add_layout(parser, required=True)


def _add_layout(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Add where texts go and how they are laid out."""
    parser.add_argument(
        "--to",
        metavar="URL",
        required=required,
        help="write the texts there: a folder that is empty or not there, or any fsspec URL",
    )
    parser.add_argument("--format", choices=get_args(Format))
    parser.add_argument("--shard-size", metavar="SIZE", help='text of a file, before compression: "500MB"')
    parser.add_argument(
        "--normalized",
        action="store_true",
        default=None,
        help="texts as they were scored (NFC, line feeds), not as read",
    )
    parser.add_argument(
        "--repeat",
        metavar="WHAT",
        action="append",
        help='have the best appear again, behind all others: "top 10%% x 2", then "next 20%% x 1.5"; of this and what '
        "stands before it, the profile's [export] says the defaults",
    )

    parser.add_argument(
        "--push",
        metavar="ORG/NAME[@BRANCH]",
        default="",
        help="upload it to the hub, too; a dataset that is not there is made private",
    )


def _export(profile: Profile, options: argparse.Namespace) -> int:
    from curation_assets.engine.graph import STEPS
    from curation_assets.engine.staleness import Versions
    from curation_assets.engine.workspace import Workspace, title
    from curation_assets.selection.export.sources import of_subset

    workspace, key, partition = Workspace(profile), options.subset, options.partition
    sampler, _, stage = key.partition("/")
    if stage != "subset" or key not in STEPS:
        raise ValueError(f"{key!r} is no subset: name one of a sampler, as density/subset")
    if partition not in (there := workspace.partitions("rate")):
        raise ValueError(f"{key} has no partition {partition!r}: there are {', '.join(there)}")
    to, versions = _destination(workspace, options), Versions(workspace)
    receipt = workspace.artifact(key, partition)
    if not versions.current(STEPS[key], partition):
        raise ValueError(f"{title(key, partition)} is out of date: run the graph first")
    chosen = of_subset(
        workspace, sampler, receipt, workspace.folder(receipt), duplicates=_duplicates(workspace)
    )
    _write(workspace, chosen, to, options)
    return 0


def _select(profile: Profile, options: argparse.Namespace) -> int:
    from curation_assets.engine.workspace import Workspace
    from curation_assets.selection.export.sources import of_selection
    from curation_assets.selection.what_if import to_text, what_if

    workspace, progress = Workspace(profile), on_stderr("select")
    how: dict[str, Any] = {
        name: getattr(options, name)
        for name in ("technique", "combine", "seed", "first", "within", "allow_stale")
    }
    if options.push and not options.to:
        raise ValueError("--push uploads what --to writes: name a folder")
    if not options.to:
        print(to_text(what_if(workspace, options.samplers, options.keep, progress=progress, **how)))
        return 0
    to = _destination(workspace, options)
    with workspace.store.temporary() as scratch:
        folder = scratch / "selection"
        selected = what_if(workspace, options.samplers, options.keep, folder=folder, progress=progress, **how)
        print(to_text(selected))
        chosen = of_selection(workspace, selected, folder, duplicates=_duplicates(workspace))
        _write(workspace, chosen, to, options)
    return 0


def _duplicates(workspace: Workspace) -> bool:
    """Tell whether near-duplicates are known of the corpus as it is now."""
    from curation_assets.engine.graph import STEPS
    from curation_assets.engine.staleness import Versions
    from curation_assets.selection.export.chosen import SEMDEDUP

    return not Versions(workspace).stale(STEPS[SEMDEDUP], workspace.shards())


def _destination(workspace: Workspace, options: argparse.Namespace) -> Destination:
    """Return where to write; what lies there already and is no export is refused before anything is looked for."""
    from curation_assets.selection.export.destination import Destination
    from curation_assets.selection.export.hub import check_login, check_target

    url = address(options.to)
    if options.push:
        check_target(url, options.push)
    to = Destination(url, storage_options(workspace.profile, url), workspace.store.temporary)
    to.begun()
    if options.push:
        check_login(options.push)
    return to


def _write(workspace: Workspace, chosen: Chosen, to: Destination, options: argparse.Namespace) -> None:
    from curation_assets.corpus.names import visible
    from curation_assets.selection.export.export import export
    from curation_assets.selection.export.hub import push

    profile, progress = workspace.profile, on_stderr("export")
    places = {name: visible(source.url) for name, source in profile.corpus.sources.items()}
    chosen.corpus.update(profile=profile.name, url=places or visible(profile.corpus.url))
    manifest = export(chosen, _layout(profile, options), to, progress)
    files, size = len(manifest["files"]), sum(file["bytes"] for file in manifest["files"])
    again = f" ({manifest['rows']:,} rows)" if manifest["repeat"] else ""
    print(
        f"{manifest['documents']:,} documents{again} with {manifest['tokens']:,} tokens in {counted(files, 'file')}, "
        f"{size / 1e6:,.1f} MB: {to.url}",
        flush=True,
    )
    if options.push:
        print(f"pushed to {push(to.url, options.push, progress)}")


def _layout(profile: Profile, options: argparse.Namespace) -> Export:
    """Return the profile's [export], with what the options say instead."""
    given = {name: getattr(options, name) for name in ("format", "shard_size", "normalized", "repeat")}
    try:
        return Export.model_validate(
            dict(profile.export) | {name: value for name, value in given.items() if value is not None}
        )
    except ValidationError as error:
        raise ValueError(str(error.errors()[0]["ctx"]["error"])) from None


def storage_options(profile: Profile, url: str) -> dict[str, Any]:
    """Return what is known of a store of this kind: `execution.store_options`, or `corpus.storage_options`; else its driver finds its own."""
    scheme, corpus = url.partition("://")[0], profile.corpus
    for place, options in (
        (profile.execution.store, profile.execution.store_options),
        *((place, corpus.storage_options) for place in corpus.urls.values()),
    ):
        if "://" in place and place.partition("://")[0] == scheme:
            return options
    return {}
