"""What must hold of the artifacts, checked on the files themselves: the graph's asset checks, as plain functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation_assets.common.files import canonical, read_json
from curation_assets.config.amount import Amount, of_key
from curation_assets.config.registry import SAMPLERS
from curation_assets.corpus.checks import (
    all_files_read,
    ids_stand_for_one_text,
    no_files_passed_over,
    reference_is_apart,
    rows_add_up,
)
from curation_assets.corpus.reading import open_hashes
from curation_assets.embeddings.checks import cut_documents, unknown_tokens
from curation_assets.engine.check_result import Outcome, made
from curation_assets.engine.receipt import Receipt
from curation_assets.engine.workspace import Workspace
from curation_assets.samplers.caveats import few_caveats
from curation_assets.selection.candidates import token_counts
from curation_assets.selection.export.checks import holds_the_subset

Invariant = Callable[[Workspace], Outcome]
_NORM_TOLERANCE = 1e-3  # embeddings may be kept as float16
_NORM_ROWS = 500
_ROUNDING = 1e-6
_OVERLAPS = ["row", "suite", "task"]
_TASKS_LISTED = 10


def unit_length(workspace: Workspace) -> Outcome:
    """Embedding rows have length one (the first and last rows of every shard are measured)."""
    worst = 0.0
    shards = made(workspace, "corpus/embeddings", workspace.shards())
    for shard in shards:
        with workspace.opened("corpus/embeddings", shard) as folder:
            vectors = np.load(folder / "embeddings.npy", mmap_mode="r")
        for part in (vectors[:_NORM_ROWS], vectors[-_NORM_ROWS:]):
            norms = np.linalg.norm(np.asarray(part, dtype=np.float64), axis=1)
            deviation = float(np.abs(norms - 1).max()) if len(norms) else 0.0
            worst = max(worst, deviation if np.isfinite(deviation) else np.inf)
    return Outcome(
        worst <= _NORM_TOLERANCE,
        f"the largest deviation of a vector's length from 1 is {worst:.1e}",
        {"worst": float(worst), "shards": len(shards)},
    )


def complete_and_finite(sampler: str, workspace: Workspace) -> Outcome:
    """Every document of a scored shard has exactly one score, and no score is NaN or infinite."""
    key = f"{sampler}/scores"
    scored, wrong = 0, []
    for shard in made(workspace, key, workspace.shards()):
        with workspace.opened(key, shard) as folder:
            table = pq.read_table(folder / "scores.parquet", columns=["doc_hash", "score"])
        finite = pc.all(pc.is_finite(table["score"])).as_py() in (True, None)
        if not np.array_equal(table["doc_hash"].to_numpy(), open_hashes(workspace, shard)) or not finite:
            wrong.append(shard)
        scored += table.num_rows
    return Outcome(
        not wrong,
        f"{scored:,} documents have a finite score"
        if not wrong
        else f"scores are missing or not finite in {wrong}",
        {"scored": scored, "wrong": wrong},
    )


def scores_differ(sampler: str, workspace: Workspace) -> Outcome:
    """Scores differ between documents (a constant score means a broken scorer)."""
    low, high, count = _range(workspace, sampler)
    return Outcome(
        count < 2 or high > low, f"scores range from {low:.6g} to {high:.6g}", {"min": low, "max": high}
    )


def within_bound(limit: float, sampler: str, workspace: Workspace) -> Outcome:
    """No score is above what it can be: 0 for the logarithm of a probability, -1 for minus a perplexity."""
    _, high, _ = _range(workspace, sampler)
    return Outcome(
        high <= limit + _ROUNDING, f"the highest score is {high:.6g}", {"max": high, "limit": limit}
    )


def _range(workspace: Workspace, sampler: str) -> tuple[float, float, int]:
    """Return a sampler's lowest score, its highest, and how many there are."""
    key, low, high, count = f"{sampler}/scores", np.inf, -np.inf, 0
    for shard in made(workspace, key, workspace.shards()):
        with workspace.opened(key, shard) as folder:
            score = pq.read_table(folder / "scores.parquet", columns=["score"])["score"]
        if len(score):
            extremes = pc.min_max(score).as_py()
            low, high, count = min(low, extremes["min"]), max(high, extremes["max"]), count + len(score)
    return float(low), float(high), count


def agrees_with_teacher(workspace: Workspace) -> Outcome:
    """Each judge orders documents that it was not trained on as the teacher does, beyond chance (a warning, no error)."""
    weak, found = [], {}
    for size in made(workspace, "judge/checkpoint", workspace.profile.sizes):
        about = read_json(workspace.open("judge/checkpoint", size) / "distillation.json")
        found[size] = {"student": "t5", "advantage": None} | {  # as they all were once
            name: about[name] for name in ("student", "agreement", "advantage") if name in about
        }
        low = about["agreement"]["low"]
        if low is None or low <= 0:
            weak.append(size)
    listed = ", ".join(f"{size} {_agreement(**one)}" for size, one in found.items())
    return Outcome(
        not weak,
        f"Kendall's tau with the teacher: {listed}"
        + (f"; not above chance with 95 % confidence: {', '.join(weak)}" if weak else ""),
        {"judges": found, "weak": weak},
        warns=True,
    )


def _agreement(student: str, agreement: dict[str, Any], advantage: dict[str, Any] | None) -> str:
    tau, more = agreement["tau"], advantage["tau"] if advantage else None
    better = "" if more is None else f", {more:.2f} above {'t5' if student == 'embeddings' else 'embeddings'}"
    return f"{'none' if tau is None else f'{tau:.2f}'} ({student}{better})"


def exact_size(sampler: str, workspace: Workspace) -> Outcome:
    """Every subset has exactly the stated share or number of the documents to choose from, each once, none held out.

    Of tokens it has as many as fit: no more, and not one of the corpus's longest documents less. A hybrid's
    may be all that its first stage leaves; with strata, all this holds of each of them, up to the document that a share is rounded by, or
    each has what its weight gives it of the whole.
    """
    key, sizes, wrong = f"{sampler}/subset", {}, []
    for rate in made(workspace, key, workspace.partitions("rate")):
        folder = workspace.open(key, rate)
        manifest = read_json(folder / "manifest.json")
        chosen = pq.read_table(folder / "subset.parquet", columns=["doc_hash"])["doc_hash"]
        sizes[rate] = len(chosen)
        exact = _has_its_share(workspace, folder, manifest, of_key(rate), len(chosen))
        if not exact or pc.count_distinct(chosen).as_py() != len(chosen):
            wrong.append(rate)
    return Outcome(
        not wrong,
        "every subset has its exact size" if not wrong else f"wrong size at {wrong}",
        {"documents": sizes, "wrong": wrong},
    )


def _has_its_share(
    workspace: Workspace, folder: Path, manifest: dict[str, Any], amount: Amount, documents: int
) -> bool:
    """Tell whether a subset of so many documents is as large as its manifest says that it must be."""
    admitted, share = manifest.get("admitted", manifest["candidates"]), amount.value
    by_tokens = (manifest.get("rate_of") if amount.kind == "rate" else amount.kind) == "tokens"

    def wanted(there: int) -> int:
        return round(share * there) if amount.kind == "rate" else int(amount.value)

    if "within" in manifest:
        strata = pq.read_table(folder / "strata.parquet")
        kept, of, left = (strata[name].to_numpy() for name in ("documents", "candidates", "admitted"))
        if (kept.sum(), of.sum(), left.sum()) != (documents, manifest["candidates"], admitted):
            return False
        if "wanted" in strata.column_names:
            of_each, unit = strata["wanted"].to_numpy(), "candidate_tokens" if by_tokens else "candidates"
            fits = kept <= left if by_tokens else kept == np.minimum(of_each, left)
            usable = strata[unit].to_numpy()[strata["weight"].to_numpy() > 0].sum()
            return bool(fits.all()) and of_each.sum() == min(wanted(manifest[unit]), usable)
        return by_tokens or bool((np.abs(kept - np.minimum(share * of, left)) < 1).all())
    if by_tokens:
        tokens = pq.read_table(folder / "subset.parquet", columns=["n_tokens"])["n_tokens"]
        spare = wanted(manifest["candidate_tokens"]) - (pc.sum(tokens).as_py() or 0)
        return spare >= 0 and (documents == admitted or spare < max(_longest(workspace), 1))
    return documents == min(wanted(manifest["candidates"]), admitted)


def _longest(workspace: Workspace) -> int:
    """Return the tokens of the longest document."""
    return max(
        (int(token_counts(workspace, shard).max(initial=0)) for shard in workspace.shards()), default=0
    )


def smaller_in_larger(sampler: str, workspace: Workspace) -> Outcome:
    """A smaller subset is contained in every larger one drawn from the same scores."""
    key, wrong = f"{sampler}/subset", []
    smaller: dict[
        tuple[str, ...], Any
    ] = {}  # {version of the scores, settings, unit: documents of the last subset}
    receipts = [r for rate in workspace.partitions("rate") if (r := workspace.receipt(key, rate))]
    paths = {receipt.partition: workspace.folder(receipt) / "subset.parquet" for receipt in receipts}
    for receipt in sorted(receipts, key=lambda one: pq.read_metadata(paths[one.partition]).num_rows):
        rate = receipt.partition
        chosen = pq.read_table(paths[rate], columns=["doc_hash"])["doc_hash"].to_numpy()
        drawn_from = (
            canonical({k: v for k, v in receipt.inputs.items() if k.endswith("/scores")}),
            receipt.code,
            _unit(receipt)
            if "within" in receipt.metadata
            else "",  # of a source's documents and its tokens shares differ
        )
        before = smaller.get(drawn_from)
        if before is not None and not np.isin(before, chosen).all():
            wrong.append(rate)
        smaller[drawn_from] = chosen
    return Outcome(not wrong, "subsets are nested" if not wrong else f"not nested at {wrong}")


def _unit(receipt: Receipt) -> str:
    """Return what a subset's amount is of: "documents" or "tokens"."""
    kind = of_key(receipt.partition).kind
    return str(receipt.metadata["rate_of"]) if kind == "rate" else kind


def matches_subset(sampler: str, workspace: Workspace) -> Outcome:
    """Every metric was measured on a model that was trained on the subset as it is now."""
    cells, behind = made(workspace, f"{sampler}/metrics", workspace.partitions("rate|size")), []
    for cell in cells:
        metrics = workspace.receipt(f"{sampler}/metrics", cell)
        checkpoint = workspace.receipt(f"{sampler}/checkpoint", cell)
        subset = workspace.receipt(f"{sampler}/subset", cell.split("|")[0])
        assert metrics is not None
        holds = (
            checkpoint is not None
            and subset is not None
            and metrics.inputs[f"{sampler}/checkpoint"] == checkpoint.version
            and checkpoint.inputs[f"{sampler}/subset"] == subset.version
        )
        if not holds:
            behind.append(cell)
    text = f"{len(cells)} cells were measured on the subsets as they are"
    if behind:
        text = f"measured on an earlier subset: {', '.join(behind)} (train and evaluate them again)"
    return Outcome(not behind, text, {"cells": len(cells), "behind": behind})


def free_of_evaluation_text(workspace: Workspace) -> Outcome:
    """No document shares 13 words in a row with an evaluation input, or those that do are dropped (a warning, no error)."""
    key, tasks = "evaluation/contamination", Counter[str]()
    documents = contaminated = 0
    for shard in made(workspace, key, workspace.shards()):
        with workspace.opened(key, shard) as folder:
            table = pq.read_table(folder / "contamination.parquet", columns=_OVERLAPS)
        tasks.update(pc.binary_join_element_wise(table["suite"], table["task"], "/").to_pylist())
        contaminated += pc.count_distinct(table["row"]).as_py()
        documents += workspace.metadata(key, shard)["documents"]
    dropped = workspace.profile.evaluation.decontaminate
    text = f"{contaminated:,} of {documents:,} documents share n-grams with evaluation inputs"
    if contaminated:
        of_each = ", ".join(f"{name} {n:,}" for name, n in tasks.most_common(_TASKS_LISTED))
        more = f" and {len(tasks) - _TASKS_LISTED:,} more tasks" if len(tasks) > _TASKS_LISTED else ""
        what = "they are dropped" if dropped else "they are not dropped (evaluation.decontaminate is false)"
        text += f": {of_each}{more}; {what}"
    figures = {
        "documents": documents,
        "contaminated": contaminated,
        "tasks": dict(tasks.most_common()),
        "dropped": dropped,
    }
    return Outcome(dropped or not contaminated, text, figures, warns=True)


def values_finite(workspace: Workspace) -> Outcome:
    """Every measured value that the comparison shows is a finite number."""
    if workspace.receipt("report/comparison") is None:
        return Outcome(True, "not made yet")
    table = pq.read_table(workspace.open("report/comparison") / "comparison.parquet")
    values = [c for c in table.column_names if c.startswith("perplexity")]
    bad = [c for c in values if pc.all(pc.is_finite(table[c].drop_null())).as_py() not in (True, None)]
    return Outcome(not bad, f"{table.num_rows} rows" if not bad else f"not finite: {bad}")


INVARIANTS: dict[str, dict[str, Invariant]] = {
    "corpus/source": {"no_files_passed_over": no_files_passed_over},
    "corpus/documents": {"rows_add_up": rows_add_up, "all_files_read": all_files_read},
    "corpus/tokens": {"unknown_tokens": partial(unknown_tokens, "corpus/tokens")},
    "corpus/validation": {"reference_is_apart": reference_is_apart},
    "corpus/reference": {"reference_is_apart": reference_is_apart},
    "corpus/index": {"ids_stand_for_one_text": ids_stand_for_one_text},
    "corpus/embeddings": {
        "unit_length": unit_length,
        "unknown_tokens": partial(unknown_tokens, "corpus/embeddings"),
        "cut_documents": cut_documents,
    },
    **{
        f"{name}/scores": {
            "complete_and_finite": partial(complete_and_finite, name),
            "scores_differ": partial(scores_differ, name),
            **(
                {"within_bound": partial(within_bound, sampler.highest, name)}
                if sampler.highest is not None
                else {}
            ),
            **({"few_caveats": partial(few_caveats, name)} if "caveat" in sampler.columns else {}),
        }
        for name, sampler in SAMPLERS.items()
        if not sampler.hybrid
    },
    "judge/checkpoint": {"agrees_with_teacher": agrees_with_teacher},
    **{
        f"{name}/subset": {
            "exact_size": partial(exact_size, name),
            "smaller_in_larger": partial(smaller_in_larger, name),
        }
        for name in SAMPLERS
    },
    **{f"{name}/export": {"holds_the_subset": partial(holds_the_subset, name)} for name in SAMPLERS},
    **{f"{name}/metrics": {"matches_subset": partial(matches_subset, name)} for name in SAMPLERS},
    "evaluation/contamination": {"free_of_evaluation_text": free_of_evaluation_text},
    "report/comparison": {"values_finite": values_finite},
}
"""{asset key: {check name: check}}."""
