"""Models as artifacts: which files a source in the profile stands for, and getting at them again to score with.

The artifact is a note (`model.json`), not a copy: where the weights were found, their digest, and how many parameters
they are. Its version is the digest, so scores follow the weights, whatever they are called and wherever they lie.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from curation_assets.common.files import file_states, fingerprint, read_json, write_json
from curation_assets.common.progress import Progress
from curation_assets.config.model_sources import ModelSource, parse
from curation_assets.config.profile import Profile
from curation_assets.engine.artifacts import Artifacts
from curation_assets.engine.context import Context
from curation_assets.engine.store import DamagedArtifact
from curation_assets.engine.workspace import Builder, BuildOne, Metadata
from curation_assets.models.snapshots import read_snapshots
from curation_assets.models.sources import ResolvedModel, resolve


def model_note(source_of: Callable[[Profile], ModelSource | None]) -> Builder:
    """Return the builder of a model's note; `source_of` reads the source from the profile."""

    def load(context: Context) -> BuildOne:
        def build(partition: str, folder: Path, progress: Progress) -> Metadata:
            source = source_of(context.profile)
            if source is None:
                raise ValueError(f"{context.profile.source} names no model for this sampler")
            if source.kind == "server":
                return _of_server(source, folder)
            model = resolve_model(context, source)
            about: Metadata = {
                "source": str(source),
                "digest": model.digest,
                "files": len(model.files),
                "bytes": sum((model.folder / name).stat().st_size for name in model.files),
            }
            if model.parameters is not None:
                about["parameters"] = model.parameters
            if source.name == "judge/checkpoint":
                about["student"] = context.metadata(source.name, source.partition).get("student", "t5")
            write_json(folder / "model.json", {**about, "files": list(model.files)})
            if source.kind in ("pip", "path"):  # files outside the graph may change: `Versions.current` looks
                about |= {"seen": file_states(model.folder, model.files), "place": str(model.folder)}
            return {**about, "version": model.digest[:20]}

        return build

    return load


def _of_server(source: ModelSource, folder: Path) -> Metadata:
    """Write the note of a judge behind a server, which is known by its name: wherever it is served, scores stay."""
    about: Metadata = {"source": str(source), "digest": fingerprint("server", source.within)}
    write_json(folder / "model.json", about)
    return {**about, "version": fingerprint("server", source.within)[:20]}


def resolve_model(workspace: Artifacts, source: ModelSource) -> ResolvedModel:
    """Return a model's files; those of a hub or in parts are kept in the workspace's scratch folder."""
    return resolve(
        source,
        cache=workspace.scratch / "models",
        resolve_asset=lambda asset: checkpoint_folder(workspace, asset),
    )


def checkpoint_folder(workspace: Artifacts, source: ModelSource) -> Path:
    """Return the folder of weights that an `asset:` source names: of the first seed, after the share of its training.

    Raises
    ------
    FileNotFoundError
        The checkpoint kept no weights at that share of its training.
    """
    artifact = workspace.open(source.name, source.partition)
    if source.name == "judge/checkpoint":
        return artifact / "model"
    snapshots = read_snapshots(artifact / f"seed-{workspace.profile.pretraining.seeds[0]}")
    steps = snapshots[-1].step
    wanted = max(1, round(source.share * steps))
    for snapshot in snapshots:
        if snapshot.step == wanted:
            return snapshot.folder
    kept = ", ".join(f"{snapshot.step / steps:.2g}" for snapshot in snapshots)
    raise FileNotFoundError(
        f"{source}: the checkpoint kept weights after the shares {kept} of its training alone"
    )


def open_model(context: Context, key: str) -> ResolvedModel:
    """Return the files of the model of the note `key`.

    Raises
    ------
    DamagedArtifact
        The weights are no longer those of the note.
    """
    note = read_json(context.open(key) / "model.json")
    source = parse(note["source"])
    model = resolve_model(context.through(key), source)
    if model.digest != note["digest"]:
        raise DamagedArtifact(f"{source} has changed since it was materialized", context.artifact(key))
    return model


def open_scorer(context: Context, key: str) -> tuple[Any, Any]:
    """Load the model of the note `key` and its tokenizer, in evaluation mode, on the workspace's device.

    Models of this graph read with the corpus's tokenizer, others with their own. Raises as `open_model`.
    """
    from curation_assets.models.loading import load_scorer

    model = open_model(context, key)
    source = parse(read_json(context.open(key) / "model.json")["source"])
    single = model.folder / model.files[0] if model.files[0].endswith(".gguf") else model.folder
    return load_scorer(
        single,
        tokenizer=context.open("corpus/tokenizer") if source.kind == "asset" else None,
        device=context.device,
        dtype=context.profile.execution.dtype,
    )
