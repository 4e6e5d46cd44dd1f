"""A corpus whose bad documents are known: documents of another corpus, and noise of five kinds planted among them.

What a sampler should leave out is then no matter of opinion, and a model can be measured on documents that are held out of the same
clean text. Each document says in `source` which kind it is of. Everything follows from the texts and the seed, whatever the order of files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curation_assets.common.files import fingerprint, read_json, write_bytes, write_json
from curation_assets.common.hashing import noise, text_digest
from curation_assets.common.progress import Progress, silent
from curation_assets.config.settings import DocumentSettings
from curation_assets.corpus import discover
from curation_assets.corpus.documents import parse_shard

CLEAN = "clean"
_VERSION = 1  # raise it when the same inputs give other documents
_SALT = 0x3C6E_F372_FE94_F82B  # no sampler's noise: else a random choice would prefer what was taken, or what was not
_COPIES = 5  # exact copies of one document
_REPLACED = 0.1  # share of a near copy's words that are other words of it
_TAKEN = pa.schema([("doc_id", pa.string()), ("doc_hash", pa.uint64()), ("text", pa.large_string())])


@dataclass(frozen=True)
class PlantedSettings:
    """What a planted corpus consists of.

    Parameters
    ----------
    documents, held_out : clean documents of the corpus, and others that models are measured on and samplers are fitted to.
    noise : documents of each kind.
    field, values : only documents of which this field has one of these values are taken to be clean; "" for all.
    text_field, id_field : of the corpus that they are taken from.
    min_chars, max_chars : shortest and longest clean document.
    shards : number of files.
    seed : of which documents are taken, and of the noise.
    """

    documents: int
    held_out: int
    noise: Mapping[str, int]
    field: str
    values: tuple[str, ...]
    text_field: str
    id_field: str
    min_chars: int
    max_chars: int
    shards: int
    seed: int


def build(
    folder: Path,
    files: Sequence[discover.ShardFile],
    settings: PlantedSettings,
    storage_options: Mapping[str, Any],
    progress: Progress = silent,
) -> None:
    """Write `shards/shard-N.jsonl` and `hq_validation.jsonl` (fields `id, text, source`) below `folder`.

    `manifest.json` is written last and names what went in: while it still matches, nothing is done. Memory: the documents that are taken, and a batch.

    Raises
    ------
    ValueError : the corpus has too few documents that are taken to be clean; the message says how many.
    """
    manifest, shards = folder / "manifest.json", folder / "shards"
    inputs = {"version": _VERSION, "settings": asdict(settings)}
    inputs["files"] = sorted(discover.digest(file.url, storage_options) for file in files)
    digest = fingerprint(inputs)
    if manifest.is_file() and read_json(manifest).get("digest") == digest:
        return
    manifest.unlink(missing_ok=True)
    shards.mkdir(parents=True, exist_ok=True)
    for old in shards.glob("shard-*.jsonl"):
        old.unlink()
    taken = _clean(files, settings, storage_options, progress)
    rows = [
        {"id": i, "text": text, "source": CLEAN}
        for i, _, text in zip(*taken.to_pydict().values(), strict=True)
    ]
    held_out, clean = rows[: settings.held_out], rows[settings.held_out :]
    corpus = clean + [
        one for kind, count in settings.noise.items() for one in _noise(kind, count, clean, settings)
    ]
    order = np.random.default_rng([settings.seed, 0]).permutation(len(corpus))
    for number in range(settings.shards):
        _write(shards / f"shard-{number:02d}.jsonl", [corpus[i] for i in order[number :: settings.shards]])
    _write(folder / "hq_validation.jsonl", held_out)
    counts = {CLEAN: len(clean), **settings.noise, "held_out": len(held_out)}
    write_json(manifest, {"digest": digest, "counts": counts, "inputs": inputs})


def _clean(
    files: Sequence[discover.ShardFile],
    settings: PlantedSettings,
    storage_options: Mapping[str, Any],
    progress: Progress,
) -> pa.Table:
    """Return the documents that are taken, in the order of a hash of (seed, document), each text once."""
    wanted = settings.held_out + settings.documents
    reading = DocumentSettings(
        text_field=settings.text_field,
        id_field=settings.id_field,
        keep_fields=(settings.field,) if settings.field else (),
        validation_share=0.0,
    )
    kept = _TAKEN.empty_table()
    for done, file in enumerate(files):
        progress(done, len(files), "files", file.key)
        for batch in parse_shard(file.url, reading, storage_options, file.key):
            table = pa.Table.from_batches([batch.documents])
            fits = pc.and_(
                pc.greater_equal(table["n_chars"], settings.min_chars),
                pc.less_equal(table["n_chars"], settings.max_chars),
            )
            if settings.field:
                fits = pc.and_(fits, pc.is_in(table[settings.field], pa.array(settings.values, pa.string())))
            table = table.filter(fits).select(_TAKEN.names)
            kept = _first(pa.concat_tables([kept, table]), wanted, settings.seed)
    if len(kept) < wanted:
        where = f" of which {settings.field} is one of {', '.join(settings.values)}" if settings.field else ""
        raise ValueError(
            f"corpus.planted: {wanted:,} different clean documents are asked for (documents and held_out), and there are {len(kept):,} "
            f"of {settings.min_chars:,} to {settings.max_chars:,} characters{where}"
        )
    return kept


def _first(table: pa.Table, count: int, seed: int) -> pa.Table:
    table = table.take(np.argsort(noise(table["doc_hash"].to_numpy(), seed ^ _SALT), kind="stable"))
    _, once = np.unique(list(map(text_digest, table["text"].to_pylist())), return_index=True)
    return table.take(np.sort(once)[:count]).combine_chunks()


def _noise(
    kind: str, count: int, clean: list[dict[str, str]], settings: PlantedSettings
) -> Iterator[dict[str, str]]:
    """Yield so many documents of one kind, each made from a clean document that another draw chose, and about as long."""
    rng = np.random.default_rng([settings.seed, *kind.encode()])
    made = KINDS[kind]
    originals = rng.permutation(len(clean))
    for number in range(count):
        at = number // _COPIES if kind == "exact_copy" else number
        original = clean[originals[at % len(clean)]]
        yield {"id": f"{kind}-{number:06d}", "text": made(original["text"], rng), "source": kind}


def _exact_copy(text: str, rng: np.random.Generator) -> str:
    return text


def _near_copy(text: str, rng: np.random.Generator) -> str:
    words = re.split(r"(\s+)", text)  # every second one is white space, so that lines stay as they are
    for at in np.flatnonzero(rng.random((len(words) + 1) // 2) < _REPLACED):
        words[2 * at] = words[2 * int(rng.integers((len(words) + 1) // 2))]
    return "".join(words)


def _shuffled_words(text: str, rng: np.random.Generator) -> str:
    return " ".join(rng.permutation(text.split()))


def _topics(text: str, rng: np.random.Generator, count: int) -> list[str]:
    words = sorted(set(re.findall(r"[^\W\d_]{4,}", text.lower()))) or ["things"]
    return [str(word) for word in rng.choice(words, count)]


def _until(length: int, joint: str, entry: Callable[[], str]) -> str:
    """Return as many entries, joined, as it takes to be that long."""
    parts: list[str] = []
    while len(joint.join(parts)) < length:
        parts.append(entry())
    return joint.join(parts)


def _keyword_stuffing(text: str, rng: np.random.Generator) -> str:
    topics = _topics(text, rng, 4)

    def phrase() -> str:
        a, b = rng.choice(topics, 2)
        return str(rng.choice(_PHRASES)).format(a=a, b=b)

    return _until(len(text), " ", phrase)


def _menu(text: str, rng: np.random.Generator) -> str:
    joint = str(rng.choice(["\n", "\n", " | ", " > "]))

    def entry() -> str:
        draw = rng.random()
        if draw < 0.6:
            return str(rng.choice(_ENTRIES))
        if draw < 0.9:
            return f"{_topics(text, rng, 1)[0].title()} ({int(rng.integers(1, 500))})"
        return str(rng.choice(_BOILERPLATE)).format(year=int(rng.integers(1999, 2025)))

    return _until(len(text), joint, entry)


KINDS: dict[str, Callable[[str, np.random.Generator], str]] = {
    "exact_copy": _exact_copy,
    "near_copy": _near_copy,
    "menu": _menu,
    "keyword_stuffing": _keyword_stuffing,
    "shuffled_words": _shuffled_words,
}
"""The kinds of noise, each a function of a clean text."""

_PHRASES = (
    *("buy {a}", "cheap {a} {b}", "best {a} online", "{a} {b} free shipping", "order {b} now", "{a} sale"),
    *("discount {a} {b}", "{a} for sale", "top 10 {a}", "{b} near me", "{a} {b} reviews", "lowest price {a}"),
    *("{a} coupon code", "where to buy {a} {b}", "{a}, {b}, {a} {b}", "click here for {a}", "100% free {b}"),
)
_ENTRIES = (
    *(
        "Home",
        "About us",
        "Contact",
        "Login",
        "Sign up",
        "My account",
        "Search",
        "Site map",
        "Help",
        "FAQ",
        "News",
    ),
    *(
        "Blog",
        "Products",
        "Services",
        "Support",
        "Downloads",
        "Careers",
        "Privacy policy",
        "Terms of use",
        "Cart",
    ),
    *(
        "Checkout",
        "Subscribe",
        "RSS feed",
        "Facebook",
        "Twitter",
        "Share this",
        "Print",
        "Email a friend",
        "Next",
    ),
    *(
        "Previous",
        "Read more",
        "View all",
        "Categories",
        "Archives",
        "Recent posts",
        "Tags",
        "Leave a reply",
        "Back to top",
    ),
    *(
        "Skip to content",
        "Menu",
        "Close",
        "Advertise with us",
        "Mobile site",
        "Language",
        "Gallery",
        "Forum",
        "Events",
    ),
)
_BOILERPLATE = (
    "Copyright {year}. All rights reserved.",
    "This site uses cookies. By continuing to browse the site you are agreeing to our use of cookies.",
    "You must be logged in to post a comment.",
    "Powered by WordPress. Theme by Elegant Themes.",
    "Posted in Uncategorized. No comments yet.",
    "Sign up for our newsletter and never miss an update.",
)


def _write(path: Path, documents: Sequence[dict[str, str]]) -> None:
    write_bytes(path, "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in documents).encode())
