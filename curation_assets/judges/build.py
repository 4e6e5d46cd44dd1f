"""How judges are made in the graph: a teacher labels a sample of the corpus, and a judge of each size learns to answer like it."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curation_assets.common.files import (
    fingerprint,
    read_json,
    safe_name,
    write_json,
    write_table,
)
from curation_assets.common.markdown import preview
from curation_assets.common.progress import Progress
from curation_assets.config.model_sources import parse
from curation_assets.config.profile import Profile
from curation_assets.corpus.smallest import find_smallest, read_chosen
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import BuildOne, Markdown, Metadata
from curation_assets.judges.distill import check_labels, distill, length_agreement
from curation_assets.judges.distill_config import DistillConfig
from curation_assets.judges.labels import LabelTable, choice, held_out, label
from curation_assets.judges.students import (
    Labelled,
    Student,
    TooFewReadable,
    choose,
    embedding_student,
    t5_student,
)
from curation_assets.models.build import open_scorer, resolve_model
from curation_assets.models.tokenizer import Tokenizer, load_tokenizer
from curation_assets.samplers.ask_llm import ask_llm, server_judge
from curation_assets.samplers.models import same_pieces


def labels(context: Context) -> BuildOne:
    """Have the teacher judge a hash sample of the corpus: `labels.parquet`, with the texts, best first.

    Judgements are kept in the scratch folder by teacher, prompt and length, so that a killed run goes on, and one on a
    changed corpus asks about new texts only.
    """
    settings = context.profile.judge

    def build(partition: str, folder: Path, progress: Progress) -> Metadata:
        chosen = _sample(context, settings.documents, settings.seed, progress)
        teacher = read_json(context.open("judge/teacher") / "model.json")
        about = (teacher["digest"], context.profile.samplers.ask_llm.prompt, settings.teacher_max_tokens)

        def load() -> object:
            progress(0, chosen.num_rows, "documents", "loading the teacher")
            source = parse(teacher["source"])
            if source.kind == "server":
                return server_judge(context, source, settings.teacher_max_tokens)
            return ask_llm(context, *open_scorer(context, "judge/teacher"), settings.teacher_max_tokens)

        cache = context.scratch / "labels" / fingerprint(*about)
        judged = label(load, chosen["text"].to_pylist(), cache, progress=progress)  # type: ignore[arg-type]
        columns = {name: pa.array(values) for name, values in asdict(judged).items() if name != "reused"}
        table = pa.table({**dict(zip(chosen.column_names, chosen.columns, strict=True)), **columns})
        best_first = table.sort_by([("score", "descending")])
        write_table(folder / "labels.parquet", best_first)
        return _about_labels(best_first, judged, teacher)

    return build


def _about_labels(table: pa.Table, judged: LabelTable, teacher: dict[str, object]) -> Metadata:
    p = np.exp(judged.score)
    best = table.select(["score", "tokens", "doc_id", "text"])
    return {
        "documents": table.num_rows,
        "reused": judged.reused,
        "teacher": teacher["source"],
        "probability_mean": float(p.mean()),
        "probability_10th_percentile": float(np.percentile(p, 10)),
        "probability_90th_percentile": float(np.percentile(p, 90)),
        "cut_share": float(judged.cut.mean()),
        "flagged": int((judged.flags > 0).sum()),
        "liked_most": Markdown(preview(best.slice(0, 8).to_pylist())),
        "liked_least": Markdown(preview(best.slice(max(len(best) - 8, 0)).to_pylist())),
    }


def _sample(context: Context, count: int, seed: int, progress: Progress) -> pa.Table:
    """Return doc_hash, shard, doc_id and text of the sampled documents, each once; memory: the sample."""
    chosen = find_smallest(context, count, once=True, order=partial(choice, seed=seed), progress=progress)
    if not len(chosen.rows):
        raise ValueError("the corpus has no documents to label")
    texts = read_chosen(context, chosen, ["doc_id", "text"])
    shards = pa.array(context.shards(), pa.string()).take(pa.array(chosen.shards))
    columns = {"doc_hash": pa.array(chosen.hashes), "shard": shards, "doc_id": texts["doc_id"]}
    return pa.table({**columns, "text": texts["text"]})


def judge(context: Context) -> BuildOne:
    """Make the size's judge of the labels: `model/`, and what it agrees with in `distillation.json`."""
    settings = context.profile.judge
    tokenizer = load_tokenizer(context.open("corpus/tokenizer"))
    table = pq.read_table(context.open("judge/labels") / "labels.parquet")
    order = np.argsort(table["doc_hash"].to_numpy())
    table = table.take(order)
    hashes, teacher = table["doc_hash"].to_numpy(), table["score"].to_numpy()
    apart = held_out(hashes, settings.held_out, settings.seed)
    labelled = Labelled(table["text"].to_pylist(), hashes, teacher, apart)
    check_labels(labelled.texts, teacher, apart)
    held = [text for text, held in zip(labelled.texts, apart.tolist(), strict=True) if held]
    length = length_agreement(tokenizer, held, teacher[apart], settings.seed)
    ridge, why_not = _by_embeddings(context, labelled, order)

    def build(size: str, folder: Path, progress: Progress) -> Metadata:
        students = [] if ridge is None else [ridge]
        if settings.student != "embeddings":
            students.insert(0, _fine_tuned(context, size, labelled, tokenizer, progress))
        chosen = choose(students, teacher[apart], settings.seed)
        chosen.taken.save(folder / "model")
        records = {one.kind: one.record for one in students}
        write_json(
            folder / "distillation.json", {**chosen.record(), "length": asdict(length), "learned": records}
        )
        about: Metadata = {
            **chosen.metadata(),
            "documents": chosen.taken.documents,
            "tau_of_length": length.tau,
        }
        if why_not:
            about["without_embeddings"] = why_not
        return {**about, **{name: value for one in students for name, value in one.about.items()}}

    return build


def _by_embeddings(
    context: Context, labelled: Labelled, order: NDArray[np.int64]
) -> tuple[Student | None, str]:
    """Return the student that goes by embeddings, the same for all sizes; None where there is none, and why where one was wanted."""
    settings = context.profile.judge
    if settings.student == "t5":
        return None, ""
    folder = context.open("judge/label_embeddings")
    x, readable = (np.load(folder / f"{name}.npy")[order] for name in ("embeddings", "readable"))
    try:
        return embedding_student(labelled, x, readable, settings.target), ""
    except TooFewReadable as error:
        if settings.student == "embeddings":
            raise
        return None, str(error)


def _fine_tuned(
    context: Context, size: str, labelled: Labelled, tokenizer: Tokenizer, progress: Progress
) -> Student:
    """Return the T5 of a size, fine-tuned from wherever its run has come to."""
    settings = context.profile.judge
    base = settings.bases.get(size)  # type: ignore[call-overload]
    if base is None:
        raise ValueError(
            f"{context.profile.source} has no judge.bases.{size}: nothing to make this judge from"
        )
    source = parse(base)
    model = resolve_model(context, source)
    if source.kind != "asset":
        _check_reads_alike(context, base, load_tokenizer(model.folder))
    config = distill_config(context.profile)
    home = context.scratch / "runs" / "judge" / safe_name(size)
    labels = {"doc_hash": labelled.hashes.tolist(), "score": labelled.teacher.tolist()}
    pieces = context.artifact("corpus/tokenizer").version
    run = home / fingerprint(2, asdict(config), model.digest, labels, labelled.held_out.tolist(), pieces)
    for other in home.glob("*"):
        if other != run:
            shutil.rmtree(other, ignore_errors=True)
    result = distill(
        config,
        model.folder,
        tokenizer,
        labelled.texts,
        labelled.teacher,
        labelled.held_out,
        run,
        device=context.device,
        resume_seconds=settings.resume_seconds,
        progress=progress,
    )
    return t5_student(result, base, model.digest)


def _check_reads_alike(context: Context, base: str, own: Tokenizer) -> None:
    """Refuse a base that learned to read with other pieces: trained with the corpus's it would be worthless, and run."""
    if not same_pieces(context, own):
        raise ValueError(
            f"judge base {base} reads with another tokenizer than the corpus's: set tokenizer.model to this model's"
        )


def distill_config(profile: Profile) -> DistillConfig:
    """Return the profile's recipe for judges."""
    ask_llm = profile.samplers.ask_llm
    return profile.judge.to(DistillConfig, max_tokens=ask_llm.max_tokens, template=ask_llm.prompt)
