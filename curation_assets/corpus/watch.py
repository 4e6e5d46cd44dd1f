"""Noticing that the corpus changed: by its listing alone, so that a check is cheap and reads no file."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from curation_assets.common.files import fingerprint, read_json
from curation_assets.config.settings import MADE
from curation_assets.corpus import discover
from curation_assets.corpus.hub import at_a_commit
from curation_assets.corpus.names import decoded, visible
from curation_assets.engine.artifacts import Artifacts
from curation_assets.engine.attempts import pause
from curation_assets.engine.workspace import Workspace

BESIDE = ("hq", "reference")
"""What is listed besides the corpus, a file of `corpus/source` each: high-quality text, reference text."""


@dataclass(frozen=True)
class ListingCheck:
    """Whether to list it anew, why or why not, and what the next check must know."""

    changed: bool
    reason: str
    cursor: str


def corpus_urls(workspace: Artifacts) -> dict[str, str]:
    """Return {source: URL} of the corpus, what is made in the data folder resolved; of one without several sources the name is ""."""
    urls = workspace.profile.corpus.urls.items()
    return {name: str(workspace.data / url / "shards") if url in MADE else url for name, url in urls}


def urls_beside(workspace: Artifacts) -> dict[str, str]:
    """Return the URLs of what is listed besides the corpus, what is made in the data folder resolved, "" where there is none."""
    corpus = workspace.profile.corpus
    urls = zip(BESIDE, (corpus.hq_url, corpus.reference_url), strict=True)
    return {
        name: str(workspace.data / url / "hq_validation.jsonl") if url in MADE else url for name, url in urls
    }


def listings(workspace: Artifacts) -> tuple[dict[str, discover.Listing], dict[str, discover.Listing]]:
    """Return what is there now: {source: listing} of the corpus, and {name: listing} of what is beside it."""
    corpus = workspace.profile.corpus

    @cache  # what is named twice is listed, and told of, once
    def find(url: str) -> discover.Listing:
        return discover.find_files(url, corpus.storage_options) if url else discover.Listing([])

    listed = {name: find(url) for name, url in corpus_urls(workspace).items()}
    of_sources = {name: listed[name].of_source(name, one.read_as) for name, one in corpus.sources.items()}
    return of_sources or listed, {name: find(url) for name, url in urls_beside(workspace).items()}


def files_of(listed: Mapping[str, discover.Listing]) -> list[discover.ShardFile]:
    """Return the files of all sources, sorted by key."""
    return sorted((file for one in listed.values() for file in one.files), key=lambda file: file.key)


def state(files: list[discover.ShardFile]) -> dict[str, dict[str, Any]]:
    """Return {shard: {url, bytes, modified}}, as `corpus/source` keeps it, and what else there is of `ShardFile`."""
    more = ("leads_to", "sha256", "source", "read_as")
    return {
        f.key: {"url": f.url, "bytes": f.size, "modified": f.mtime}
        | {name: value for name in more if (value := getattr(f, name))}
        for f in files
    }


def not_read(listings: Collection[discover.Listing]) -> dict[str, Any]:
    """Return what listings passed over, as `corpus/source` keeps it.

    `files` are {file, reason} of what may be meant as data, `not_meant_as_data` counts the rest by kind, and `alike`
    are the names of files that differ in their compression alone.
    """
    listings = {id(listing): listing for listing in listings}.values()
    kinds = sum((Counter(listing.ignored) for listing in listings), Counter())
    return {
        "files": [{"file": name, "reason": why} for listing in listings for name, why in listing.passed_over],
        "not_meant_as_data": dict(sorted(kinds.items())),
        "alike": [names for listing in listings for names in listing.alike],
    }


def check_listing(workspace: Workspace, cursor: str | None, now: float | None = None) -> ListingCheck:
    """Compare the corpus with its last listing.

    A changed file that is younger than `automation.settle_seconds` is taken to be still written, unless the last check
    saw it just so. The cursor is of constant size: what is known of the files lies in `corpus/source`.

    Raises
    ------
    FileNotFoundError
        The corpus is not there (a folder that is not mounted, say): no reason to forget its shards.
    """
    now = time.time() if now is None else now
    settings = workspace.profile.automation
    before: dict[str, Any] = json.loads(cursor) if cursor else {}
    listing, before_listing = _listed_now(workspace), _last_listing(workspace)
    if before_listing is not None and listing == before_listing:
        return ListingCheck(False, f"{len(listing['files']):,} files, as listed before", "")
    seen = fingerprint(listing)
    old = before_listing["files"] if before_listing else {}
    different = [key for key, about in listing["files"].items() if old.get(key) != about]
    young = [key for key in different if _age(listing["files"][key], now) < settings.settle_seconds]
    after = {**before, "seen": seen}
    if young and before.get("seen") != seen:
        return ListingCheck(False, f"{_named(young)} still being written", json.dumps(after))
    times = before.get("times", 0) if before.get("asked") == seen else 0
    if times and now < before["at"] + pause(times, settings.retry_seconds):
        return ListingCheck(
            False,
            "the new listing was asked for; if it does not come it is asked for again",
            json.dumps(after),
        )
    deleted = sorted(old.keys() - listing["files"].keys())
    summary = f"{_counted('new or changed', different)}, {_counted('gone', deleted)}"
    if before_listing is not None and listing["passed_over"] != before_listing["passed_over"]:
        summary += f", {len(listing['passed_over']):,} passed over"
    return ListingCheck(
        True, summary, json.dumps({"seen": seen, "asked": seen, "at": now, "times": times + 1})
    )


def _listed_now(workspace: Workspace) -> dict[str, Any]:
    listed, beside = listings(workspace)
    return {
        "files": state(files_of(listed)),
        **{name: state(beside[name].files) for name in BESIDE},
        "passed_over": not_read([*listed.values(), *beside.values()])["files"],
    }


def _last_listing(workspace: Workspace) -> dict[str, Any] | None:
    if workspace.receipt("corpus/source") is None:
        return None
    folder = workspace.open("corpus/source")
    return {
        "files": read_json(folder / "shards.json"),
        **{name: _state(folder / f"{name}.json") for name in BESIDE},
        "passed_over": workspace.passed_over()["files"],
    }


def _state(path: Path) -> dict[str, Any]:
    return read_json(path).get("state", {}) if path.exists() else {}  # an older listing knows no reference


def _age(about: dict[str, Any], now: float) -> float:
    if at_a_commit(about["url"]):
        return math.inf  # it is never written to
    return now - about["modified"] if about["modified"] is not None else 0.0


def _named(keys: list[str]) -> str:
    return f"{_some(keys)}: {'is' if len(keys) == 1 else 'are'}"


def _counted(what: str, keys: list[str]) -> str:
    return f"{len(keys):,} {what}" + (f" ({_some(keys)})" if keys else "")


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - 3:,} more" if len(keys) > 3 else ""
    return ", ".join(visible(decoded(key)) for key in keys[:3]) + more
