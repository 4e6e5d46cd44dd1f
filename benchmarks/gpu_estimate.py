"""What the paper's figures would cost, in operations and in hours of an H100, from the same formulas as the GPU benchmark's shares."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.model_flops import ask_flops, encoder_flops, nearest_flops, sketch_flops, span_flops
from curation_assets.config.profile import Profile, load_profile
from curation_assets.config.registry import MILESTONES, SIZES
from curation_assets.models.t5 import V1_1, Shape
from curation_assets.pretraining.build import train_config
from curation_assets.pretraining.flops import forward_flops, training_flops

GEMM = 700e12  # operations a second that an H100 multiplies bfloat16 matrices with; its data sheet has 989e12
SCORING, TRAINING = 0.40, 0.45
"""Shares of it: the aims of `bench_gpu`, for as long as no record says better."""
DOCUMENTS, TOKENS, SAMPLED = 364e6, 184e9, 500_000
"""C4's; documents of the paper's figures 7 and 9."""
VOCABULARY = 32_128
SENTENCE_T5 = Shape(d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12)


def estimate() -> str:
    """Return Markdown: what one run of each kind costs, and each figure of the paper."""
    profile = load_profile("hub")
    about = (
        f"At {SCORING:.0%} (scoring) and {TRAINING:.0%} (training) of {GEMM / 1e12:.0f} TFLOP/s. C4: {DOCUMENTS / 1e6:.0f}M documents, "
        f"{TOKENS / 1e9:.0f}B tokens. A document is read as {_length(profile)} tokens by Ask-LLM, the question in them, and whole by perplexity."
    )
    parts = [about, _table("one of each", single(profile)), _table("for the paper's", figures(profile))]
    return "\n\n".join(parts)


def single(profile: Profile) -> list[tuple[str, float, float]]:
    """Return (what, operations, share of the matrix rate) of one training, fine-tuning and scoring of each kind."""
    rows = [
        (
            f"training T5-{size.title()}, {profile.pretraining.tokens / 1e9:.0f}B tokens",
            training(profile, size),
            TRAINING,
        )
        for size in profile.run.sizes
    ]
    rows += [
        (f"fine-tuning T5-{size.title()} on a suite", tuning(profile, size), TRAINING)
        for size in profile.run.sizes
    ]
    rows += [
        (f"C4 by `{name}`", DOCUMENTS * flops, SCORING) for name, flops in scorers(profile).items() if flops
    ]
    return rows


def figures(profile: Profile) -> list[tuple[str, float, float]]:
    """Return the same of each figure, as if it were made alone; the last line is all of them together."""
    asked = {name: flops for name, flops in scorers(profile).items() if name.startswith("ask_llm")}
    likely = {name: flops for name, flops in scorers(profile).items() if name.startswith("perplexity")}
    every, amounts, suites = scorers(profile), len(profile.run.amounts), len(profile.evaluation.suites) - 1
    sizes = profile.run.sizes
    cells = len(every) * amounts
    one = sum(training(profile, size) + suites * tuning(profile, size) for size in sizes)
    ladder = [
        training(profile, size) + suites * tuning(profile, size) for size in ("small", "base", "large", "xl")
    ]
    scored, few = DOCUMENTS * sum(every.values()), SAMPLED * sum(every.values())
    pair = DOCUMENTS * (sum(asked.values()) + sum(likely.values()))
    both = len(asked) + len(likely)
    return [
        (
            f"4, 10-16, 24-30, table 1: {len(every)} samplers x {amounts} rates x {len(sizes)} sizes, {cells * len(sizes) + len(ladder)} runs",
            cells * one + sum(ladder) + scored,
            TRAINING,
        ),
        (
            f"5, 17-23: {both} samplers by models, curves of {both * amounts * len(sizes)} of these runs",
            both * amounts * one + pair,
            TRAINING,
        ),
        (
            f"6: the {len(SIZES) * 2} scorers by size, one rate, {len(SIZES) * 2 * len(sizes)} of these runs",
            2 * len(SIZES) * one + pair,
            TRAINING,
        ),
        (f"7, 9: {SAMPLED:,} documents by all samplers", few, SCORING),
        ("all of them, each run once", cells * one + sum(ladder) + scored, TRAINING),
        (
            "the same on a hundredth of the tokens, T5-Small alone, documents in proportion",
            (cells * training(profile, "small") + scored) / 100,
            TRAINING,
        ),
    ]


def training(profile: Profile, size: str) -> float:
    """Return the operations of a pre-training of the profile's budget."""
    return training_flops(train_config(profile, size, vocab_size=VOCABULARY))


def tuning(profile: Profile, size: str) -> float:
    """Return the operations of a fine-tuning, every input and target as long as they may be."""
    how = profile.evaluation.finetuning
    return (
        3 * how.steps * how.batch_size * forward_flops(V1_1[size], VOCABULARY, how.max_input, how.max_target)
    )


def scorers(profile: Profile) -> dict[str, float]:
    """Return the operations for a document by each of the paper's 19 samplers; the embedding is density's, which the others share."""
    mean, samplers = TOKENS / DOCUMENTS, profile.samplers
    dim, k = SENTENCE_T5.d_model, samplers.clusters.count
    read = min(mean, profile.embeddings.max_tokens)
    likely = {size: span_flops(V1_1[size], VOCABULARY, np.array([round(mean)])) for size in SIZES}
    return {
        "random": 0.0,
        "density": encoder_flops(SENTENCE_T5, read, matrices=2)
        + 2 * sketch_flops(1, dim, samplers.density.projections),
        "semdedup": nearest_flops(1, dim, k) + dim * DOCUMENTS / k,
        "prototypes": nearest_flops(1, dim, 1),
        **{f"perplexity_{size}": flops for size, flops in likely.items()},
        **{f"perplexity_large_{steps}": likely["large"] for steps in MILESTONES},
        **{f"ask_llm_{size}": ask_flops(V1_1[size], VOCABULARY, [_length(profile)]) for size in SIZES},
    }


def _length(profile: Profile) -> int:
    return profile.samplers.ask_llm.max_tokens


def _table(what: str, rows: Sequence[tuple[str, float, float]]) -> str:
    lines = [[name, f"{flops:.2e}", f"{flops / (GEMM * share) / 3600:,.1f}"] for name, flops, share in rows]
    return markdown([what, "FLOPs", "H100 hours"], lines)


def markdown(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, its cells as they are but for what would end one."""
    rule = ["---"] * len(header)
    clean = [
        [cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in (header, rule, *lines)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in clean)
