"""How judges are made in the graph: a teacher labels a sample of the corpus, and a T5 of each size learns to answer like it."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curation_assets.common.drawing.charts import lines
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
from curation_assets.judges.distill import DistillConfig, DistillResult, distill
from curation_assets.judges.labels import LabelTable, choice, held_out, label
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
    """Fine-tune the size's base model on the labels: `model/`, and what it agrees with in `distillation.json`."""
    settings = context.profile.judge
    tokenizer = load_tokenizer(context.open("corpus/tokenizer"))
    table = pq.read_table(context.open("judge/labels") / "labels.parquet").sort_by("doc_hash")
    pieces = context.receipt("corpus/tokenizer").version  # type: ignore[union-attr]  # opened just now
    apart = held_out(table["doc_hash"].to_numpy(), settings.held_out, settings.seed)

    def build(size: str, folder: Path, progress: Progress) -> Metadata:
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
        labelled = {"doc_hash": table["doc_hash"].to_pylist(), "score": table["score"].to_pylist()}
        run = home / fingerprint(asdict(config), model.digest, labelled, apart.tolist(), pieces)
        for other in home.glob("*"):
            if other != run:
                shutil.rmtree(other, ignore_errors=True)
        result = distill(
            config,
            model.folder,
            tokenizer,
            table["text"].to_pylist(),
            table["score"].to_numpy(),
            apart,
            run,
            device=context.device,
            resume_seconds=settings.resume_seconds,
            progress=progress,
        )
        shutil.copytree(result.model, folder / "model")
        write_json(
            folder / "distillation.json", {**result.metadata(), "base": base, "base_digest": model.digest}
        )
        return _about(result, base)

    return build


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


def _about(result: DistillResult, base: str) -> Metadata:
    about: Metadata = {
        "base": base,
        "documents": result.documents,
        "held_out": result.agreement.n,
        "steps": result.steps,
        "loss": result.loss,
        "held_out_loss": result.held_out_loss,
        "least_possible_loss": result.entropy,
    }
    for name, agreement in (("tau", result.agreement), ("tau_of_length", result.length)):
        figures = {name: agreement.tau, f"{name}_low": agreement.low, f"{name}_high": agreement.high}
        about |= {key: value for key, value in figures.items() if value is not None}
    series: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name, column in (("held out", "held_out_loss"), ("trained on", "loss")):
        points = [(row["epoch"], row[column]) for row in result.history if row[column] is not None]
        epoch, loss = np.array(points, np.float64).reshape(-1, 2).T
        series[name] = (epoch, loss)
    picture = lines(series, "loss against the teacher's labels", "epochs", "nats per document")
    return {**about, "loss_curve": Markdown(picture.markdown("loss by epoch"))}
