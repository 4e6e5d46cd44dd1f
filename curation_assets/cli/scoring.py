"""The subcommands of `curation` that try a model or a sampler on what is no part of the corpus. Neither makes an artifact."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation_assets.cli.queries import Command, add_command
from curation_assets.config.profile import Profile, absolute

if TYPE_CHECKING:
    import pyarrow as pa

    from curation_assets.common.progress import Progress
    from curation_assets.samplers.scorer import Scorer
    from curation_assets.selection.placement import Corpus

_ROWS = 4096  # printed at a time
_TOGETHER = 1 << 18  # documents that are looked up in the corpus together: that reads all its scores
_SHOWN = 5  # rows of a file that are no documents


def add(commands: Any) -> dict[str, Command]:
    """Add the subcommands to a parser; return what each does."""
    ask = add_command(
        commands,
        "ask",
        "put a text to a judge, or to a perplexity model",
        "A judge says how probably it answers yes, and what it was really asked is shown; a perplexity model says how perplexed it is. MODEL is a "
        "sampler's name, whose model that is in the profile, or a source as profiles name models by: pip:, hub:, path:, asset:, server:. "
        "Prompt and lengths are the profile's.",
        [
            'curation ask ask_llm_small "Mitochondria make most of a cell\'s supply of ATP."',
            "curation ask path:/models/my-judge --file text.txt",
            "curation ask asset:full_data/checkpoint#large - < text.txt",
        ],
    )
    ask.add_argument("model", metavar="MODEL", help="a sampler's name, or a model source")
    ask.add_argument("text", metavar="TEXT", help='the text; "-" reads it from the terminal or a pipe')
    ask.add_argument("--file", action="store_true", help="TEXT is the name of a file that has it")
    ask.add_argument(
        "--perplexity",
        action="store_true",
        help="of a source: how perplexed the model is, not what it answers",
    )
    ask.add_argument("--json", action="store_true", help="print JSON instead")
    score = add_command(
        commands,
        "score",
        "score files that are no part of the corpus",
        "By what the sampler has been fitted to, as it is now. Each document comes with its score, the percentage of the corpus's documents "
        "below it, and whether it would be kept at each rate, where the corpus has scores and subsets. A file of the corpus gets the "
        "scores that it has (by semdedup, it is compared with documents after it as well). Prints JSON lines.",
        [
            "curation score density new/part-0.jsonl.zst --out scores.parquet",
            "curation score heuristic page.txt | jq .percentile",
        ],
    )
    score.add_argument("sampler", metavar="SAMPLER", help="a sampler with scores of its own")
    score.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="in any format of corpus files; also a folder, a glob or a URL",
    )
    score.add_argument("--out", metavar="FILE", help="write them there instead, as Parquet")
    return {"ask": _ask, "score": _score}


def _ask(profile: Profile, options: argparse.Namespace) -> int:
    from curation_assets.products import BUILDERS
    from curation_assets.samplers.ask import ask, to_text

    answer = ask(profile, options.model, _text(options), BUILDERS, perplexity=options.perplexity)
    print(json.dumps(asdict(answer), indent=1, ensure_ascii=False) if options.json else to_text(answer))
    return 0


def _text(options: argparse.Namespace) -> str:
    if options.file:
        content, name = absolute(options.text).read_bytes(), options.text
    elif options.text == "-":
        content, name = sys.stdin.buffer.read(), "the standard input"
    else:
        return str(options.text)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is no UTF-8 text: byte {error.start} cannot be read") from None


def _score(profile: Profile, options: argparse.Namespace) -> int:
    from curation_assets.common.progress import on_stderr
    from curation_assets.engine.workspace import Workspace
    from curation_assets.products import BUILDERS
    from curation_assets.samplers.scorer import Scorer, scoring_sampler
    from curation_assets.selection.placement import Corpus

    scoring_sampler(options.sampler)
    progress = on_stderr(options.sampler)
    with ExitStack() as stack:
        scorer = stack.enter_context(Scorer(profile, options.sampler, BUILDERS))
        urls = list(dict.fromkeys(url for given in options.files for url in scorer.files(given)))
        corpus = Corpus.of(Workspace(profile), options.sampler)
        for note in corpus.notes:
            _tell(f"NOTE     {note}")
        tables = _tables(scorer, urls, corpus, progress)
        if options.out:
            _write(absolute(options.out), tables)
        else:
            for table in tables:
                _print(table)
    return 0


def _tables(scorer: Scorer, urls: list[str], corpus: Corpus, progress: Progress) -> Iterator[pa.Table]:
    """Yield files' scores and where they stand, of many small files together; say on stderr which rows are no documents."""
    import pyarrow as pa

    waiting: list[pa.Table] = []
    for number, url in enumerate(urls, 1):
        scored = scorer.score_file(url, progress)
        names = pa.array([_name(url)] * len(scored.scores), pa.string())
        waiting.append(scored.scores.add_column(0, "file", names))
        rows = scored.quarantine.to_pylist()
        for row in rows[:_SHOWN]:
            _tell(f"WARNING  {_name(url)}: row {row['row']} is no document: {row['reason']}, {row['detail']}")
        if len(rows) > _SHOWN:
            _tell(f"WARNING  {_name(url)}: and {len(rows) - _SHOWN:,} more rows")
        if sum(map(len, waiting)) >= _TOGETHER or number == len(urls):
            yield _placed(pa.concat_tables(waiting), corpus)
            waiting = []


def _placed(table: pa.Table, corpus: Corpus) -> pa.Table:
    """Return a table of scores with where they would stand in the corpus, whose scores are read once for it."""
    import pyarrow as pa

    scores, hashes = table["score"].to_numpy(), table["doc_hash"].to_numpy()
    place = table.column_names.index("score") + 1
    percentiles, n = corpus.percentiles(scores), len(table)
    more: dict[str, Any] = {"percentile": pa.nulls(n) if percentiles is None else percentiles}
    for rate, cut in corpus.cuts.items():
        more[f"kept_{rate}"] = pa.nulls(n) if cut is None else cut.keeps(scores, hashes)
    for number, (column, values) in enumerate(more.items()):
        kind = pa.float64() if column == "percentile" else pa.bool_()
        table = table.add_column(place + number, column, pa.array(values).cast(kind))
    return table


def _print(table: pa.Table) -> None:
    for batch in table.to_batches(_ROWS):
        sys.stdout.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in batch.to_pylist())


def _write(path: Path, tables: Iterator[pa.Table]) -> None:
    """Write tables to one Parquet file, whole or not at all."""
    import pyarrow.parquet as pq

    from curation_assets.common.files import atomic_file

    with atomic_file(path) as draft, ExitStack() as stack:
        writer = None
        for table in tables:
            writer = writer or stack.enter_context(pq.ParquetWriter(draft, table.schema, compression="zstd"))
            writer.write_table(table)


def _name(url: str) -> str:
    """Return a file's name for people."""
    from curation_assets.corpus.names import decoded, visible

    return visible(decoded(url.removeprefix("file://")))


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
