"""`curation tokenize`: an export as the token files that a trainer reads."""

from __future__ import annotations

import argparse
from typing import Any

from curation_assets.cli.exports import storage_options
from curation_assets.cli.queries import Command, add_command
from curation_assets.common.progress import on_stderr
from curation_assets.common.terminal import counted
from curation_assets.config.profile import Profile, absolute, address

_CORPUS = "corpus"


def add(commands: Any) -> dict[str, Command]:
    """Add the subcommand to a parser; return what it does."""
    parser = add_command(
        commands,
        "tokenize",
        "write an export as token files that Megatron or nanotron reads",
        "A token file for each data file, and a manifest. Behind each document stands the token that ends it. Stopped or killed, the same command "
        "goes on at the file that it was at.",
        [
            "curation tokenize chosen --to tokens",
            "curation tokenize chosen --to tokens --tokenizer path:/models/llama",
            "curation tokenize s3://bucket/chosen --to tokens --for nanotron",
        ],
    )
    parser.add_argument(
        "export", metavar="FOLDER", help="what `curation export` wrote, here or at any fsspec URL"
    )
    parser.add_argument(
        "--to", metavar="FOLDER", required=True, help="a folder of this machine, empty or not there"
    )
    parser.add_argument(
        "--tokenizer",
        metavar="SOURCE",
        default=_CORPUS,
        help='hub:ORG/NAME@COMMIT, path:FOLDER, pip:PACKAGE/path, or "corpus" for its own (default)',
    )
    parser.add_argument(
        "--for",
        dest="trainer",
        choices=("megatron", "nanotron"),
        default="megatron",
        help="whose files: .bin and .idx, or .ds (default: megatron)",
    )
    parser.add_argument(
        "--end", metavar="TOKEN", default="", help="what ends a document (default: the tokenizer's own)"
    )
    return {"tokenize": _tokenize}


def _tokenize(profile: Profile, options: argparse.Namespace) -> int:
    from curation_assets.engine.workspace import Workspace
    from curation_assets.selection.export.document_tokenizer import tokenizer_of_corpus, tokenizer_of_source
    from curation_assets.selection.export.exported import open_export
    from curation_assets.selection.export.token_files import prefixes, write_token_files

    workspace = Workspace(profile)
    tokenizer = (
        tokenizer_of_corpus(workspace, options.end)
        if options.tokenizer == _CORPUS
        else tokenizer_of_source(options.tokenizer, workspace.scratch / "models", options.end)
    )
    url = address(options.export)
    exported = open_export(url, storage_options(profile, url))
    folder = absolute(options.to)
    manifest = write_token_files(exported, tokenizer, folder, options.trainer, on_stderr("tokenize"))
    documents, tokens, files = manifest["documents"], manifest["tokens"], len(manifest["files"])
    print(
        f"{documents:,} documents with {tokens:,} tokens, of which {documents:,} end one ({tokenizer.end}), "
        f"in {counted(files, 'file')}: {folder}"
    )
    corpus_tokens = exported.manifest["tokens"]
    if tokens - documents != corpus_tokens:
        print(
            f"the corpus's tokenizer counts {corpus_tokens:,} tokens in these documents, this one {tokens - documents:,}"
        )
    if options.trainer == "megatron":
        print(f"--data-path {' '.join(prefixes(folder, manifest))}")
    return 0
