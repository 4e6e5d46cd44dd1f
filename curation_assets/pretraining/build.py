"""How a checkpoint is made: the chosen documents' cached tokens, one training run for each seed, its snapshots."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from curation_assets.common.drawing.charts import lines
from curation_assets.common.files import fingerprint, safe_name, write_json
from curation_assets.common.progress import Progress, one_of
from curation_assets.config.profile import Profile
from curation_assets.corpus.reading import NO_ROWS, by_shard, left_out, open_hashes
from curation_assets.corpus.tokens import read_tokens
from curation_assets.engine.context import Context
from curation_assets.engine.workspace import Builder, BuildOne, Markdown, Metadata
from curation_assets.models.t5 import Shape
from curation_assets.models.tokenizer import load_tokenizer
from curation_assets.pretraining.flops import training_flops
from curation_assets.pretraining.launch import train_distributed
from curation_assets.pretraining.packing import Shard, TokenStream
from curation_assets.pretraining.run_folder import damaged_part
from curation_assets.pretraining.speed import Speed
from curation_assets.pretraining.trainer import RuntimeConfig, TrainConfig, TrainResult, read_losses


def subset_checkpoint(sampler: str) -> Builder:
    """Return the builder of `<sampler>/checkpoint`; partition "rate|size"."""

    def load(context: Context) -> BuildOne:
        def build(partition: str, folder: Path, progress: Progress) -> Metadata:
            rate, size = partition.split("|")
            shards = list(_subset_shards(context, f"{sampler}/subset", rate))
            return _train(context, f"{sampler}/checkpoint", partition, size, shards, folder, progress)

        return build

    return load


def full_data_checkpoint(context: Context) -> BuildOne:
    """Train on every document of the corpus that is not left out (`corpus.reading.left_out`); partition is the size."""

    def build(size: str, folder: Path, progress: Progress) -> Metadata:
        shards = list(_all_shards(context))
        return _train(context, "full_data/checkpoint", size, size, shards, folder, progress)

    return build


def train_config(profile: Profile, size: str, **tokens: Any) -> TrainConfig:
    """Return the profile's recipe for a model size; `tokens` gives the tokenizer's vocabulary and special ids."""
    return profile.pretraining.to(
        TrainConfig,
        shape=profile.ladder[size].to(Shape),  # type: ignore[index]
        snapshots=tuple(profile.pretraining.snapshots),
        precision=profile.execution.dtype,
        **tokens,
    )


def recipe(profile: Profile) -> dict[str, int]:
    """Return what is equal for all runs: budget in raw tokens, steps, batch size and raw sequence length."""
    config = train_config(profile, profile.sizes[0], vocab_size=1, first_sentinel=0)  # neither counts here
    return {
        "tokens": config.steps * config.tokens_per_step,
        "steps": config.steps,
        "batch_size": config.batch_size,
        "raw_length": config.raw_length,
    }


def _subset_shards(context: Context, key: str, rate: str) -> Iterator[Shard]:
    path, columns = context.open(key, rate) / "subset.parquet", ["shard", "row", "doc_hash"]
    chosen = by_shard(pq.read_table(path, columns=columns, read_dictionary=["shard"]))
    for shard in context.shards():
        if shard in chosen:
            ids, offsets = read_tokens(context.open("corpus/tokens", shard), "documents")
            rows, hashes = (chosen[shard][name].to_numpy() for name in ("row", "doc_hash"))
            yield Shard(ids, offsets, rows, hashes)


def _all_shards(context: Context) -> Iterator[Shard]:
    unused = left_out(context)
    for shard in context.shards():
        ids, offsets = read_tokens(context.open("corpus/tokens", shard), "documents")
        hashes = open_hashes(context, shard)
        rows = np.setdiff1d(np.arange(len(hashes)), unused.get(shard, NO_ROWS))
        yield Shard(ids, offsets, rows, hashes[rows])


def _train(
    context: Context,
    key: str,
    partition: str,
    size: str,
    shards: Iterable[Shard],
    folder: Path,
    progress: Progress,
) -> Metadata:
    profile = context.profile
    tokenizer = load_tokenizer(context.open("corpus/tokenizer"))
    config = train_config(
        profile,
        size,
        vocab_size=tokenizer.vocab_size,
        eos=tokenizer.eos_id,
        pad=tokenizer.pad_id,
        first_sentinel=tokenizer.first_sentinel_id,
    )
    execution = profile.execution.to(
        RuntimeConfig,
        device=context.device,
        micro_batch_size=profile.pretraining.micro_batch_size,
        resume_seconds=profile.pretraining.resume_seconds,
    )
    shards = list(shards)
    results, curves, seeds = [], {}, profile.pretraining.seeds
    for number, seed in enumerate(seeds):
        stream = TokenStream(shards, eos=tokenizer.eos_id, seed=seed)
        one = replace(config, seed=seed)
        run = _run_folder(context, key, partition, one, stream)
        part = one_of(progress, number, len(seeds))
        results.append(train_distributed(one, stream, run, progress=part, execution=execution))
        losses = read_losses(run, one)
        curves[f"seed {seed}"] = (losses["tokens"], losses["loss"])
        _keep(run, folder / f"seed-{seed}")
    return _about(config, results, curves, stream, folder)


def _about(
    config: TrainConfig,
    results: list[TrainResult],
    curves: dict[str, tuple[np.ndarray, np.ndarray]],
    stream: TokenStream,
    folder: Path,
) -> Metadata:
    first = results[0]
    about: Metadata = {
        "documents": len(stream),
        "parameters": first.parameters,
        "steps": first.steps,
        "tokens_seen": first.tokens,
        "epochs": round(first.epochs, 4),
        "seeds": len(results),
        "loss": float(np.mean([result.loss for result in results])),
        "resumed_from_step": max(
            (r.resumed_from for r in results if r.resumed_from < r.steps), default=first.steps
        ),
    }
    write_json(folder / "training.json", {**about, "config": asdict(config)})
    picture = lines(curves, "training loss", "raw tokens seen", "nats per target token")
    curve = Markdown(picture.markdown("training loss by tokens seen"))
    tokens = stream.tokens_per_epoch - len(stream)  # of the documents: what ends each is not theirs
    return {**about, "tokens": tokens, **cost(config, results), "loss_curve": curve}


def cost(config: TrainConfig, results: list[TrainResult]) -> dict[str, float]:
    """Return what runs of one configuration cost. Times differ from run to run: they stay out of the artifact's files.

    Returns
    -------
    `flops` of all runs; `seconds_trained`, over all calls that had a part in them; and, where these seconds are known,
    `tokens_per_second` (raw tokens) and `share_of_peak`, of the devices' measured matrix multiplication rate.
    """
    flops = training_flops(config)
    speed = Speed()
    for result in results:
        speed = speed.plus(result.speed)
    figures = {"flops": flops * len(results), "seconds_trained": round(speed.seconds, 3)}
    if not speed.steps:
        return figures
    return figures | {
        "tokens_per_second": round(speed.steps * config.tokens_per_step / speed.seconds, 1),
        "share_of_peak": round(speed.share(flops / config.steps), 5),
    }


def _run_folder(context: Context, key: str, partition: str, config: TrainConfig, stream: TokenStream) -> Path:
    """Return where a run lives while it trains; runs of the same partition on other data or settings are removed."""
    home = context.scratch / "runs" / key / safe_name(partition)
    name = f"{config.seed}-{fingerprint(asdict(config), stream.digest())}"
    for other in home.glob(f"{config.seed}-*"):
        if other.name != name:
            shutil.rmtree(other, ignore_errors=True)
    return home / name


def _keep(run: Path, folder: Path) -> None:
    """Copy a finished run's files into the artifact: as links they would be damaged together. The copy is read once more."""
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns(".*", "resume-*"))
    if (damaged := damaged_part(folder)) is not None:
        raise OSError(errno.EIO, "not what was written while it was trained, try again", str(run / damaged))
