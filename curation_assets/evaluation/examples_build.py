"""How the examples are made: every task of the profile's suites as text in and text out, and a list of what is missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation_assets.common.files import file_states, fingerprint, write_json, write_table
from curation_assets.common.markdown import markdown_table
from curation_assets.common.progress import Progress
from curation_assets.config.training_settings import Evaluation
from curation_assets.corpus.smallest import find_smallest, read_chosen
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import BuildOne, Markdown, Metadata
from curation_assets.evaluation import probes
from curation_assets.evaluation.examples import EXAMPLES_SCHEMA, Example, from_table, to_table
from curation_assets.evaluation.families import STANDIN_SPLIT, render
from curation_assets.evaluation.hub import SUFFIXES, MissingData, Source
from curation_assets.evaluation.instructions import instruction_examples
from curation_assets.evaluation.suites import SuiteExamples
from curation_assets.evaluation.tasks import STANDIN, TASKS
from curation_assets.models.files import file_digest


@dataclass
class _Gathered:
    """Tables so far, and what there is and is not."""

    tables: dict[str, list[pa.Table]] = field(default_factory=lambda: {"train": [], "test": []})
    rows: list[dict[str, Any]] = field(default_factory=list)
    missing: list[dict[str, str]] = field(default_factory=list)

    def add(self, suite: str, task: str, part: str, examples: list[Example], note: str = "") -> None:
        if examples:
            self.tables[part].append(to_table(suite, task, part, examples))
        self.rows.append(
            {"suite": suite, "task": task, "part": part, "examples": len(examples), "note": note}
        )

    def lack(self, suite: str, task: str, part: str, reason: str) -> None:
        self.missing.append({"suite": suite, "task": task, "part": part, "reason": reason})


def examples(context: Context) -> BuildOne:
    """Gather `train.parquet` and `test.parquet` (EXAMPLES_SCHEMA) and `coverage.json`: counts and what is missing."""

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        settings = context.profile.evaluation
        source = Source(settings.eval_root, context.scratch / "datasets")
        gathered = _Gathered()
        suites = [suite for suite in settings.suites if suite != "perplexity"]
        for number, suite in enumerate(suites):
            if suite == "probes":
                _gather_probes(context, gathered)
            else:
                _gather_suite(suite, context, source, gathered)
            progress(number + 1, len(suites), "suites", suite)
        _refuse_gaps(gathered, settings.optional, settings.eval_root)
        for part, tables in gathered.tables.items():
            table = pa.concat_tables(tables) if tables else EXAMPLES_SCHEMA.empty_table()
            write_table(folder / f"{part}.parquet", table)
        write_json(folder / "coverage.json", {"tasks": gathered.rows, "missing": gathered.missing})
        digests = [file_digest(folder / f"{part}.parquet") for part in gathered.tables]
        about = _about(gathered) | (_seen(settings) if settings.eval_root else {})
        return about | {
            "version": fingerprint("evaluation/examples", digests)
        }  # and not where it was looked for

    return build


def _gather_suite(suite: str, context: Context, source: Source, gathered: _Gathered) -> None:
    settings = context.profile.evaluation
    for task in (t for t in TASKS if t.suite == suite):
        try:
            tests, split = render(task, source, "test", settings.max_examples, settings.seed)
            standin = split.endswith(STANDIN_SPLIT)
            name = task.task + (STANDIN if standin else "")
            note = f"held-out training data ({split}), not the official split" if standin else split
            gathered.add(suite, name, "test", tests, note)
        except MissingData as error:
            gathered.lack(suite, task.task, "test", str(error))
        if suite != "flan" and task.train:
            try:
                rows, split = render(task, source, "train", settings.max_training_examples, settings.seed)
                gathered.add(suite, task.task, "train", rows, split)
            except MissingData as error:
                gathered.lack(suite, task.task, "train", str(error))
    if suite == "flan":
        for name, rows, note in instruction_examples(settings, source):
            gathered.add(suite, name, "train", rows, note)


def _gather_probes(context: Context, gathered: _Gathered) -> None:
    settings = context.profile.evaluation
    fields = context.profile.corpus.keep_fields
    train, tests = _pools(context, settings.max_training_examples or 10_000, settings.max_examples)
    limits = {"test": settings.max_examples, "train": settings.max_training_examples}
    for part, table in (("test", tests), ("train", train)):
        rows = probes.shuffled_words(table, settings.seed, limits[part])
        if rows:
            gathered.add("probes", probes.SHUFFLED, part, rows, "from the corpus")
        else:
            gathered.lack("probes", probes.SHUFFLED, part, "no document has a sentence of 6 to 24 words")
    origin = fields[0] if fields else ""
    known = probes.origins(train[origin].to_pylist()) if origin in train.column_names else ()
    for part, table in (("test", tests), ("train", train)):
        rows = probes.document_origin(table, origin, known) if known else []
        if rows:
            gathered.add("probes", probes.ORIGIN, part, rows, f"{len(known)} sources: {', '.join(known)}")
        else:
            reason = f"the documents have fewer than two frequent values of {origin or 'corpus.keep_fields'}"
            gathered.lack("probes", probes.ORIGIN, part, reason)


def _pools(context: Context, train: int, test: int) -> tuple[pa.Table, pa.Table]:
    """Return documents to train on and held-out documents to test on, those with the smallest hashes, each once."""
    pools = []
    for name, limit in (("documents", train), ("validation", test)):
        chosen = find_smallest(context, limit, once=True, name=name)
        pools.append(read_chosen(context, chosen, None, name).drop_columns(["n_chars", "row"]))
    return pools[0], pools[1]


def _refuse_gaps(gathered: _Gathered, optional: list[Any], eval_root: str) -> None:
    tests = [gap for gap in gathered.missing if gap["part"] == "test" and gap["suite"] not in optional]
    trained = {row["suite"] for row in gathered.rows if row["part"] == "train" and row["examples"]}
    measured = {row["suite"] for row in gathered.rows if row["part"] == "test" and row["examples"]}
    untrained = sorted(measured - trained)
    for suite in untrained:
        gathered.lack(suite, "all", "train", "no training example at all: the suite is not measured")
    lines = [f"{gap['suite']}/{gap['task']}: {gap['reason']}" for gap in tests]
    lines += [f"{suite}: no training example at all" for suite in untrained if suite not in optional]
    if lines:
        where = (
            f"in {eval_root}"
            if eval_root
            else "on the hub (evaluation.eval_root names a local folder instead)"
        )
        gaps = "1 gap" if len(lines) == 1 else f"{len(lines)} gaps"
        raise ValueError(
            f"{gaps} {where}; name the suite in evaluation.optional to go on without: {'; '.join(lines)}"
        )


def _seen(settings: Evaluation) -> Metadata:
    """Return how the files of a local folder look, by which a change is noticed."""
    root = Path(settings.eval_root)
    datasets = {task.dataset for task in TASKS if task.suite in settings.suites} | {settings.instructions}
    names = sorted(
        str(path.relative_to(root))
        for dataset in datasets
        for path in root.joinpath(*dataset.split("/")).rglob("*")
        if path.name.endswith(SUFFIXES)
    )
    return {"place": str(root), "seen": file_states(root, names)}


def _about(gathered: _Gathered) -> Metadata:
    tests = [row for row in gathered.rows if row["part"] == "test" and row["examples"]]
    about: Metadata = {
        "tasks": len(tests),
        "test_examples": sum(row["examples"] for row in tests),
        "training_examples": sum(row["examples"] for row in gathered.rows if row["part"] == "train"),
        "missing": [f"{gap['suite']}/{gap['task']} ({gap['part']})" for gap in gathered.missing],
        "coverage": Markdown(markdown_table(gathered.rows)),
    }
    if gathered.missing:
        about["gaps"] = Markdown(markdown_table(gathered.missing))
    return about


def read_suites(folder: Path) -> list[SuiteExamples]:
    """Read the artifact: the suites that have examples of both parts, in the order of the profile."""
    train, test = (pq.read_table(folder / f"{part}.parquet") for part in ("train", "test"))
    suites = []
    for suite in dict.fromkeys(test["suite"].to_pylist()):
        rows = test.filter(pc.equal(test["suite"], suite))
        tests = {
            task: from_table(rows.filter(pc.equal(rows["task"], task)))
            for task in dict.fromkeys(rows["task"].to_pylist())
        }
        suites.append(SuiteExamples(suite, from_table(train.filter(pc.equal(train["suite"], suite))), tests))
    return [suite for suite in suites if suite.train]
