"""How the listing of the corpus is made: `corpus/source`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from curation_assets.common.files import fingerprint, write_json
from curation_assets.common.markdown import preview
from curation_assets.common.progress import Progress
from curation_assets.config.settings import Corpus
from curation_assets.corpus import discover, planted
from curation_assets.corpus.demo import build as builtin
from curation_assets.corpus.names import decoded, visible
from curation_assets.corpus.skipped_files import grouped
from curation_assets.corpus.watch import (
    BESIDE,
    corpus_urls,
    files_of,
    listings,
    not_read,
    state,
    urls_beside,
)
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import BuildOne, Markdown, Metadata

_REASONS = 20  # of the most frequent that the metadata count


def source(context: Context) -> BuildOne:
    """List the corpus: {shard: url, bytes, modified}; first make it where the profile says "builtin" or "planted"."""
    profile = context.profile

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        corpus = profile.corpus
        if "builtin" in corpus.made:
            home = context.data / "builtin"
            settings = corpus.builtin
            documents = tuple(settings.documents.items())
            builtin.build(home, settings.to(builtin.BuiltinSettings, documents=documents), progress)
        if "planted" in corpus.made:
            _plant(context, progress)
        places, others, (listed, beside) = corpus_urls(context), urls_beside(context), listings(context)
        for name, contents in listed.items():
            _check(places[name], contents)
        for name, contents in beside.items():
            if others[name]:
                _check(others[name], contents)
        files = files_of(listed)
        listing = state(files)
        write_json(folder / "shards.json", listing)
        options = corpus.storage_options
        read = [
            _read_whole(others[name], beside[name].files, options) if others[name] else {} for name in BESIDE
        ]
        for name, one in zip(BESIDE, read, strict=True):
            write_json(folder / f"{name}.json", one)
        passed_over = not_read([*listed.values(), *beside.values()])
        write_json(folder / "passed_over.json", passed_over)
        rows = [{"file": visible(decoded(key)), **about} for key, about in list(listing.items())[:10]]
        missed = passed_over["files"]
        return {
            # Of the files of the corpus each has a version of its own.
            "version": fingerprint(
                "corpus/source", *_contents(read[0]), *(_contents(read[1]) if read[1] else ())
            ),
            **_of_places(corpus, places, listed),
            "shards": len(listing),
            "bytes": sum(f.size for f in files),
            **{f"{name}_url": visible(others[name]) for name in BESIDE},
            "first_shards": Markdown(preview(rows)),
            "passed_over": dict(Counter(about["reason"] for about in missed).most_common(_REASONS)),
            **({"first_passed_over": Markdown(preview(missed))} if missed else {}),
            "not_meant_as_data": passed_over["not_meant_as_data"],
        }

    return build


def _plant(context: Context, progress: Progress) -> None:
    """Make the planted corpus in the data folder, from the corpus that `corpus.planted.url` names."""
    corpus = context.profile.corpus
    settings = corpus.planted
    url = str(context.data / "builtin" / "shards") if settings.url == "builtin" else settings.url
    listing = discover.find_files(url, corpus.storage_options)
    _check(url, listing)
    home, made = context.data / "planted", settings.to(planted.PlantedSettings)
    planted.build(home, listing.files, made, corpus.storage_options, progress)


def _of_places(corpus: Corpus, places: dict[str, str], listed: dict[str, discover.Listing]) -> Metadata:
    """Return where the documents come from: the URL, or a table of the sources."""
    if not corpus.sources:
        commit = listed[""].commit
        return {"url": visible(places[""]), **({"commit": commit} if commit else {})}
    rows = [
        {
            "source": name,
            "url": visible(url),
            "weight": corpus.sources[name].weight,
            "shards": len(listed[name].files),
            "bytes": sum(f.size for f in listed[name].files),
            "commit": listed[name].commit,
        }
        for name, url in places.items()
    ]
    return {"sources": Markdown(preview(rows))}


def _check(url: str, listing: discover.Listing) -> None:
    if not listing.files:
        missed = [{"file": name, "reason": why} for name, why in listing.passed_over]
        also = "".join(f"; {names}: {why}" for names, why in grouped(missed))
        raise ValueError(f"{visible(url)}: no corpus files there ({discover.READ}){also}")


def _contents(listed: dict[str, Any]) -> tuple[Any, Any]:
    return listed.get("sha256"), listed.get("kinds")


def _read_whole(url: str, files: list[discover.ShardFile], options: dict[str, Any]) -> dict[str, Any]:
    return {
        "url": url,
        "files": [[f.key, f.url] for f in files],
        "sha256": [discover.digest(f.url, options) for f in files],
        "kinds": [discover.split_suffixes(f.url)[1:] for f in files],
        "state": state(files),
    }
