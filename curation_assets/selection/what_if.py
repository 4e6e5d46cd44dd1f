"""Selecting again over the scores that there are: another rate, technique or seed, or what several samplers agree on.

No model runs. What comes out is a selection of the user's own, outside the graph.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from curation_assets.common.files import write_batches, write_json
from curation_assets.common.markdown import number, text_table
from curation_assets.common.progress import Progress, silent
from curation_assets.common.terminal import wrapped
from curation_assets.config.amount import Amount, amount
from curation_assets.config.first_stage import FirstStage, first_stage
from curation_assets.config.profile import check_first, check_within
from curation_assets.config.registry import SAMPLERS
from curation_assets.config.settings import CLUSTER, nearest
from curation_assets.corpus.reading import left_out
from curation_assets.engine.graph import STEPS
from curation_assets.engine.staleness import Versions
from curation_assets.engine.workspace import MissingInput, Workspace, not_made, title
from curation_assets.selection.candidates import Counts, Draw, draw_of
from curation_assets.selection.joint import Drawn, JointSelection, Overlap, check_documents, other_documents
from curation_assets.selection.keys import TECHNIQUES
from curation_assets.selection.output import free_place, new_folder
from curation_assets.selection.threshold import Threshold

Combine = Literal["intersection", "union"]
_WORDS = {"intersection": "all of them", "union": "at least one of them"}
_CONTAMINATION = "evaluation/contamination"
_NOISY = ("ips", "uniform")


@dataclass(frozen=True)
class WhatIf:
    """A selection over existing scores, and all that is needed to make it again.

    Attributes
    ----------
    combine : how several samplers' choices become one; "" for one sampler.
    first, within : what each sampler chooses from, and the field or clusters within which it keeps its rate, if that was asked; a hybrid's
        own first stage is not named here.
    candidates : documents to choose from, each once, without contaminated ones if the profile leaves those out.
    drawn : what each sampler keeps by itself, in the order asked for.
    overlaps : of each pair of samplers, and of all where there are more than two.
    documents, tokens : what is kept in the end; `by_shard` has both for each shard.
    score_versions : {sampler: {shard: version}}; `stale` names those that are out of date.
    index_version : of `corpus/index`, which says what the candidates are.
    contamination_versions : {shard: version} of `evaluation/contamination`, where that says so, too.
    folder : where `subset.parquet` and `manifest.json` lie; None if they were not asked for.
    """

    profile: str
    amount: Amount
    combine: str
    seed: int
    first: str
    within: str
    candidates: int
    drawn: tuple[Drawn, ...]
    overlaps: tuple[Overlap, ...]
    documents: int
    tokens: int
    by_shard: dict[str, dict[str, int]]
    score_versions: dict[str, dict[str, str]]
    stale: tuple[str, ...]
    index_version: str
    folder: Path | None = None
    contamination_versions: dict[str, str] = field(default_factory=dict)

    def manifest(self) -> dict[str, Any]:
        """Return what `manifest.json` holds."""
        clean = self.contamination_versions
        return {
            "profile": self.profile,
            "amount": {"kind": self.amount.kind, "value": self.amount.value},
            "rate": self.amount.value if self.amount.kind == "rate" else None,
            "combine": self.combine,
            "seed": self.seed,
            **({"first": self.first} if self.first else {}),
            **({"within": self.within} if self.within else {}),
            "candidates": self.candidates,
            "samplers": [asdict(drawn) for drawn in self.drawn],
            "overlaps": [asdict(overlap) for overlap in self.overlaps],
            "documents": self.documents,
            "tokens": self.tokens,
            "by_shard": self.by_shard,
            "score_versions": self.score_versions,
            "stale": list(self.stale),
            "index_version": self.index_version,
            **({"contamination_versions": clean} if clean else {}),
        }


def what_if(
    workspace: Workspace,
    samplers: Sequence[str],
    rate: float | str | Amount,
    *,
    technique: str | None = None,
    combine: str = "intersection",
    seed: int | None = None,
    first: str = "",
    within: str | None = None,
    folder: str | Path | None = None,
    allow_stale: bool = False,
    progress: Progress = silent,
) -> WhatIf:
    """Select documents again over the scores that there are, without any model.

    The scores are read in a few passes, a shard at a time. For one sampler with its own technique and seed, at a rate
    of the graph's, the choice is that of the graph.

    Parameters
    ----------
    samplers
        Names in the registry; with several, each makes its choice by itself.
    rate
        How much each sampler keeps: a share (of what the profile's `selection.rate_of` says), or what `amount` reads. Of a
        token budget, the largest keys up to the first document that no longer fits.
    technique
        "top_k", "bottom_k", "ips" or "uniform" for all; each sampler's own by default.
    combine
        "intersection" or "union" of several samplers' choices.
    seed
        Of the noise of ips and uniform; `selection.seed` by default.
    first
        What each sampler chooses from, as `config.first_stage` reads it: "semdedup < 0.9". "" for the whole corpus, and a hybrid's own.
    within
        A field of `corpus.keep_fields`, or "cluster", within whose values the rate is kept; `selection.within` by default, "" for none.
    folder
        Where to write `subset.parquet` and `manifest.json`, whole or not at all. Of one sampler the columns are those of
        a subset; of several: doc_id, shard, row, n_tokens, SAMPLER_score and SAMPLER_key of each, doc_hash, source_row.
    allow_stale
        Take scores that are out of date, as long as they are of the documents as they are now.

    Raises
    ------
    ValueError
        An unknown name, an amount that cannot be, a folder that is not empty, scores that are out of date or of
        other documents, or that changed meanwhile.
    MissingInput
        Scores of a shard, its tokens or the index are not there: names the first.
    """
    names, size = _check_names(samplers, technique, combine), amount(rate)
    stage = _check_first(names, first) if first else None
    within = workspace.profile.within if within is None else within
    check_within("", within, workspace.profile.corpus.kept_columns)
    place = free_place(folder) if folder is not None else None
    shards = workspace.shards()
    scorers = list(
        dict.fromkeys(
            [
                *(one for n in names for one in workspace.profile.scorers(n)),
                *([stage.sampler] if stage else []),
            ]
        )
    )
    strata = {"": [], CLUSTER: ["clusters/assignments"]}.get(within, [])
    versions, stale = _versions(workspace, scorers, strata, shards, allow_stale)
    unused = left_out(workspace)
    seed = workspace.profile.selection.seed if seed is None else seed
    how: Any = {"technique": technique, "seed": seed, "first": stage, "within": within}
    draws = [draw_of(workspace, name, shards, unused, **how) for name in names]
    counts = [draw.counts() for draw in draws]
    n = int(counts[0].documents.sum())
    cuts = [_cut(draw, size, count, progress) for draw, count in zip(draws, counts, strict=True)]
    chosen = JointSelection(draws, cuts, combine, progress, partial(check_documents, workspace))

    def summary() -> WhatIf:
        now, _ = _versions(workspace, scorers, strata, shards, allow_stale)
        if now != versions:
            raise ValueError("artifacts were made anew while they were read: ask again")
        scores = {name: {s: versions[f"{name}/scores", s] for s in shards} for name in scorers}
        return WhatIf(
            workspace.profile.name,
            size,
            combine if len(names) > 1 else "",
            seed,
            str(stage or ""),
            within,
            n,
            *chosen.summary(n),
            chosen.by_shard,
            scores,
            stale,
            versions["corpus/index", ""],
            place,
            {shard: version for (key, shard), version in versions.items() if key == _CONTAMINATION},
        )

    with closing(chosen.batches()) as batches:
        if place is None:
            for _ in batches:
                pass
            return summary()
        with new_folder(place) as hidden:
            write_batches(hidden / "subset.parquet", batches, chosen.schema)
            result = summary()
            write_json(hidden / "manifest.json", result.manifest())
    return result


def _check_names(samplers: Sequence[str], technique: str | None, combine: str) -> list[str]:
    names = [samplers] if isinstance(samplers, str) else list(samplers)
    if not names:
        raise ValueError("name at least one sampler")
    for what, name, known in (
        *(("sampler", name, SAMPLERS) for name in names),
        *([("technique", technique, TECHNIQUES)] if technique is not None else []),
        ("way to combine choices", combine, get_args(Combine)),
    ):
        if name not in known:
            raise ValueError(
                f"unknown {what} {name!r}{nearest(name, known) or '; there are ' + ', '.join(known)}"
            )
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"sampler {name!r} is named twice")
    return names


def _check_first(names: list[str], first: str) -> FirstStage:
    stage = first_stage(first)
    for name in names:
        if SAMPLERS[name].hybrid:
            raise ValueError(
                f"{name} has a first stage of its own: leave {first!r} out, or name {SAMPLERS[name].then}"
            )
        check_first("", stage, name)
    return stage


def _versions(
    workspace: Workspace, names: list[str], strata: list[str], shards: list[str], allow_stale: bool
) -> tuple[dict[tuple[str, str], str], tuple[str, ...]]:
    """Return the version of everything that is read, and which scores are out of date."""
    if not shards:
        raise MissingInput("the corpus has no shards; materialize corpus/source first")
    versions = Versions(workspace)
    scores = [f"{name}/scores" for name in names]
    clean = [_CONTAMINATION] if workspace.profile.evaluation.decontaminate else []
    wanted = [
        ("corpus/index", ""),
        *itertools.product(("corpus/documents", "corpus/tokens", *clean, *strata, *scores), shards),
    ]
    read, stale = {}, []
    for key, partition in wanted:
        receipt = versions.receipt(key, partition)
        if receipt is None:
            raise MissingInput(not_made(key, partition))
        read[key, partition] = receipt.version
        if key != "corpus/documents" and not versions.current(STEPS[key], partition):
            stale.append((key, partition))
    refused = [at for at in stale if not allow_stale or not at[0].endswith("/scores")]
    if refused:
        more = f" (and {len(refused) - 1:,} more)" if len(refused) > 1 else ""
        hint = (
            ", or allow stale scores (--allow-stale)"
            if all(key.endswith("/scores") for key, _ in refused)
            else ""
        )
        raise ValueError(f"{title(*refused[0])}{more} is out of date: run the graph first{hint}")
    for name, shard in itertools.product(names, shards):
        rows = {_documents(versions, key, shard) for key in ("corpus/documents", f"{name}/scores")}
        if len(rows) > 1:
            raise other_documents(name, shard)
    return read, tuple(title(*at) for at in stale)


def _documents(versions: Versions, key: str, shard: str) -> int:
    receipt = versions.receipt(key, shard)
    return int(receipt.metadata["documents"]) if receipt else 0


def _cut(draw: Draw, amount: Amount, counts: Counts, progress: Progress) -> Threshold:
    def each(shards: int) -> None:
        progress(shards, len(draw.shards), "shards", f"{draw.sampler}: looking for the threshold")

    return draw.threshold(amount, counts, each)


def to_text(result: WhatIf) -> str:
    """Render a selection for a terminal: what each sampler keeps, where they agree, and what is kept in the end."""
    names = ", ".join(d.sampler for d in result.drawn)
    joined = f"; kept is what {_WORDS[result.combine]} keeps" if result.combine else ""
    rows = [vars(d) for d in result.drawn]
    lines = [_overlap_line(overlap) for overlap in result.overlaps]
    noisy = [d.sampler for d in result.drawn if d.technique in _NOISY]
    if len(noisy) > 1:
        lines.append(
            f"{', '.join(noisy)} draw with the same noise (seed {result.seed}), so they share more than that"
        )
    lines.append(_kept_line(result))
    lines += [line for drawn in result.drawn for line in _cut_lines(drawn)]
    if result.stale:
        more = f" and {len(result.stale) - 3:,} more" if len(result.stale) > 3 else ""
        lines.append(f"out of date, taken all the same: {', '.join(result.stale[:3])}{more}")
    how = "".join(
        f"; {what} {value}" for what, value in (("first", result.first), ("within", result.within)) if value
    )
    head = wrapped(f"{names}: {result.amount} of {result.candidates:,} documents{how}{joined}")
    return "\n".join([*head, "", text_table(rows), "", *(line for each in lines for line in wrapped(each))])


def _overlap_line(overlap: Overlap) -> str:
    ratio = f" ({overlap.documents / overlap.expected:.2f} times as many)" if overlap.expected else ""
    return (
        f"{', '.join(overlap.samplers)} share {overlap.documents:,} documents; "
        f"independent choices would share {overlap.expected:,.1f}{ratio}"
    )


def _cut_lines(drawn: Drawn) -> Iterator[str]:
    """Yield what a sampler has to say of where its choice of the highest scores is cut."""
    about = SAMPLERS[drawn.sampler].about_cut
    if about is not None and drawn.threshold is not None and drawn.technique == "top_k":
        words = (
            f"{name.replace('_', ' ')} {value if isinstance(value, str) else number(value)}"
            for name, value in about(drawn.threshold).items()
        )
        yield f"{drawn.sampler}: {'; '.join(words)}"


def _kept_line(result: WhatIf) -> str:
    share = result.documents / result.candidates if result.candidates else 0.0
    return f"kept: {result.documents:,} documents ({share:.1%}) with {result.tokens:,} tokens"
