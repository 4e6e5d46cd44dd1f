"""The corpus of the local profile, made from text that every installation has: no download, real prose.

Documentation of installed packages and part of the Wikipedia articles that `gensim` ships become the corpus; its other
articles and its news texts become the high-quality validation set.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import quote

from curation_assets.common.files import read_json, write_bytes, write_json
from curation_assets.common.progress import Progress, silent
from curation_assets.corpus.demo.installed_texts import PACKAGES, Text, order, package_texts, versions
from curation_assets.corpus.demo.wikitext import articles, plain_text

_VERSION = 1  # raise it when the same inputs give other documents
_DUMP = "enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
_NEWS = "lee_background.cor"
_NEEDS = {"gensim": "its Wikipedia articles and news texts", "mwparserfromhell": "removing wiki markup"}


@dataclass(frozen=True)
class BuiltinSettings:
    """What the built-in corpus consists of.

    Parameters
    ----------
    documents : how many of each source, at most; "wikipedia" among them.
    shards : number of files.
    min_chars, max_chars : shortest and longest document; longer texts are split between paragraphs.
    articles : Wikipedia articles that are read, at most.
    hq_article_share : share of the Wikipedia articles that only the high-quality set uses.
    hq_wikipedia : documents of the high-quality set that come from them, at most; the news come on top.
    per_package : documents of one source that one package may bring, at most.
    packages : distributions whose documentation is read.
    """

    documents: tuple[tuple[str, int], ...] = (
        ("docstring", 1200),
        ("readme", 280),
        ("license", 80),
        ("changelog", 40),
        ("docs", 80),
        ("wikipedia", 800),
    )
    shards: int = 8
    min_chars: int = 200
    max_chars: int = 3000
    articles: int = 1000
    hq_article_share: float = 0.2
    hq_wikipedia: int = 200
    per_package: int = 24
    packages: tuple[str, ...] = PACKAGES


@dataclass(frozen=True)
class Built:
    """A finished build.

    `counts[set][source]` gives `documents` and `chars`, for the sets "corpus" and "hq_validation"; `fresh` says whether
    this call did the work.
    """

    shards: Path
    hq_validation: Path
    counts: dict[str, dict[str, dict[str, int]]]
    fresh: bool


def build(folder: str | Path, settings: BuiltinSettings | None = None, progress: Progress = silent) -> Built:
    """Write `shards/shard-N.jsonl` and `hq_validation.jsonl` (fields `id, text, source, url`) below `folder`.

    Deterministic for given versions of the packages. `manifest.json` is written last and names what went in: while it
    still matches, nothing is done, so that files which a user has changed since stay as they are; a build that was cut
    short is done again. Other files in the folder are left alone.

    Raises
    ------
    ModuleNotFoundError : a package of the extra `local` is missing; the message says how to get it.
    """
    settings = settings or BuiltinSettings()
    folder = Path(folder)
    manifest_path, shards, hq = folder / "manifest.json", folder / "shards", folder / "hq_validation.jsonl"
    inputs = _inputs(settings)
    old = read_json(manifest_path) if manifest_path.is_file() else {}
    if old.get("digest") == _digest(inputs) and hq.is_file() and any(shards.glob("*.jsonl")):
        return Built(shards, hq, old["counts"], fresh=False)
    manifest_path.unlink(missing_ok=True)
    shards.mkdir(parents=True, exist_ok=True)
    corpus, validation = _documents(settings, progress)
    names = [f"shard-{number}.jsonl" for number in range(settings.shards)]
    for superfluous in set(old.get("files", ())) - set(names):
        (shards / superfluous).unlink(missing_ok=True)
    for number, name in enumerate(names):
        _write(shards / name, corpus[number :: settings.shards])
    _write(hq, validation)
    counts = {"corpus": _count(corpus), "hq_validation": _count(validation)}
    manifest = {"digest": _digest(inputs), "files": names, "counts": counts, "inputs": inputs}
    write_json(manifest_path, manifest)
    return Built(shards, hq, counts, fresh=True)


def _documents(settings: BuiltinSettings, progress: Progress) -> tuple[list[dict], list[dict]]:
    """Return the corpus and the high-quality set as JSON objects, each in its final order."""
    accept = partial(_is_prose, min_chars=settings.min_chars)
    total = len(settings.packages) + 1
    # {source: {package or article: documents}}
    pools: dict[str, dict[str, list[Text]]] = defaultdict(lambda: defaultdict(list))
    for done, name in enumerate(settings.packages):
        progress(done, total, "packages", name)
        for text in package_texts(name, accept, settings.per_package):
            pools[text.source][name] += _pieces(text, settings)
    progress(total - 1, total, "packages", "Wikipedia")
    held_out: dict[str, list[Text]] = {}
    everything = sorted(articles(_test_data() / _DUMP), key=lambda article: order(article[0]))
    for title, wikitext in everything[: settings.articles]:
        article = _article(title, plain_text(wikitext))
        rank = int.from_bytes(order(f"hq {title}")[:8], "big") / 2**64
        (held_out if rank < settings.hq_article_share else pools["wikipedia"])[title] = _pieces(
            article, settings
        )
    progress(total, total, "packages")
    corpus = [
        text
        for source, count in settings.documents
        for text in _balanced(pools[source], count, settings.per_package)
    ]
    hq = [*_balanced(held_out, settings.hq_wikipedia, settings.hq_wikipedia), *_news(settings)]
    return [_json(one) for one in sorted(corpus, key=_rank)], [_json(one) for one in sorted(hq, key=_rank)]


def _rank(text: Text) -> bytes:
    return order(text.key)


def _json(text: Text) -> dict[str, str]:
    return {"id": text.key, "text": text.text, "source": text.source, "url": text.origin}


def _balanced(groups: dict[str, list[Text]], count: int, per_group: int) -> list[Text]:
    """Take `count` texts evenly over the groups: every group's first (by `order`), then every group's second, ..."""
    ranked = [
        (rank, _rank(text), text)
        for texts in groups.values()
        for rank, text in enumerate(sorted(texts, key=_rank)[:per_group])
    ]
    return [text for _, _, text in sorted(ranked, key=lambda one: one[:2])[:count]]


# ---- texts -> documents


def _article(title: str, text: str) -> Text:
    return Text(
        f"wikipedia:{title}",
        "wikipedia",
        f"https://en.wikipedia.org/wiki/{quote(title.replace(' ', '_'))}",
        text,
    )


def _news(settings: BuiltinSettings) -> Iterator[Text]:
    lines = (_test_data() / _NEWS).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        yield from _pieces(Text(f"news:{number}", "news", _NEWS, line), settings)


def _pieces(text: Text, settings: BuiltinSettings) -> list[Text]:
    parts = split_text(text.text, settings.max_chars)
    keys = [text.key if len(parts) == 1 else f"{text.key}#{number}" for number in range(len(parts))]
    return [
        Text(key, text.source, text.origin, part)
        for key, part in zip(keys, parts, strict=True)
        if _is_prose(part, settings.min_chars)
    ]


_BREAKS = ((r"\n(?:[ \t]*\n)+", "\n\n"), (r"\n", "\n"), (r"(?<=[.!?;]) +", " "), (r" +", " "))


def split_text(text: str, limit: int, breaks: tuple[tuple[str, str], ...] = _BREAKS) -> list[str]:
    """Split a text into pieces of at most `limit` characters, as few and as large as a greedy walk makes them.

    Between paragraphs; within a paragraph that is too long, between lines, sentences or words, in this order. An
    unbroken string beyond the limit is left out: it is data, not text.
    """
    text = text.strip("\n")
    if len(text) <= limit:
        return [text]
    if not breaks:
        return []
    (pattern, joint), *finer = breaks
    pieces: list[str] = []
    open_end = False  # whether the last piece may still grow
    for part in re.split(pattern, text):
        if open_end and len(pieces[-1]) + len(joint) + len(part) <= limit:
            pieces[-1] += joint + part
        else:
            pieces += split_text(part, limit, tuple(finer))
            open_end = bool(pieces)
    return [piece for piece in pieces if piece.strip()]


def _is_prose(text: str, min_chars: int) -> bool:
    """Say whether a text is long enough and mostly letters: no tables, figures or lists of names."""
    solid = "".join(text.split())
    letters = sum(map(str.isalpha, solid))
    return len(text) >= min_chars and letters >= 0.6 * len(solid) and len(text.split()) >= min_chars // 10


# ---- inputs and files


def must_be_installed() -> None:
    """Raise ModuleNotFoundError where a package is missing that the built-in corpus is made with."""
    for package, purpose in _NEEDS.items():
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(
                f"the built-in corpus needs {package} for {purpose}: pip install 'curation-assets[local]'"
            )


def _inputs(settings: BuiltinSettings) -> dict[str, Any]:
    must_be_installed()
    needed = versions(tuple(_NEEDS))
    return {
        "builder": _VERSION,
        "settings": asdict(settings),
        "packages": needed | versions(settings.packages),
    }


def _digest(inputs: dict[str, Any]) -> str:
    return blake2b(json.dumps(inputs, sort_keys=True).encode(), digest_size=16).hexdigest()


def _test_data() -> Path:
    """Return the folder in gensim's wheel that holds the texts, without importing gensim."""
    spec = importlib.util.find_spec("gensim")
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent / "test" / "test_data"
    for name in (_DUMP, _NEWS):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"this version of gensim does not ship {name}; install it with constraints.txt"
            )
    return folder


def _count(documents: Iterable[dict]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for document in documents:
        counts[document["source"]].update(documents=1, chars=len(document["text"]))
    return {source: dict(counts[source]) for source in sorted(counts)}


def _write(path: Path, documents: Iterable[dict]) -> None:
    lines = (json.dumps(document, ensure_ascii=False) + "\n" for document in documents)
    write_bytes(path, "".join(lines).encode())
