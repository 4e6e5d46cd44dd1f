"""The evaluation assets: what models are measured by, and one long table of measurements for each checkpoint."""

from __future__ import annotations

from curation_assets.config.registry import SAMPLERS
from curation_assets.engine.product import Product, imported
from curation_assets.evaluation.contamination import contamination, ngrams

EVALUATION = (
    Product(
        "evaluation/examples",
        imported("curation_assets.evaluation.examples_build:examples"),
        "The examples of all evaluation tasks, text in and text out.",
        "Read once, before any model is trained, so that models are measured by the same examples while the corpus moves on. "
        "Tasks that lack data are named in `gaps`.",
        files="`coverage.json` (tasks and how many examples each has)",
        paper="111 tasks",
        use="check `coverage` before you compare: what is not there is not measured.",
    ),
    Product(
        "evaluation/ngrams",
        ngrams,
        "Hashes of every 13 words in a row of the evaluation inputs.",
        "Without the templates' own text, each with the tasks that it is of.",
        files="`ngrams.npy` (uint64, sorted), `tasks.npy`, `index.json`",
    ),
    Product(
        "evaluation/contamination",
        contamination,
        "Documents that share 13 words in a row with evaluation inputs.",
        "As in Brown et al. 2020. With `evaluation.decontaminate = true` no subset has them and full-data training leaves them out.",
        use="the check `free_of_evaluation_text` says of which tasks they are.",
    ),
    *(
        Product(
            f"{name}/metrics",
            imported("curation_assets.evaluation.build:metrics", name),
            f"{name}: how good the T5 trained on {'everything' if name == 'full_data' else 'its subset'} is.",
            "Span-corruption perplexity of each snapshot on held-out documents and on high-quality texts, and the last snapshot's "
            "scores in the profile's suites of tasks, for each seed.",
            paper="111 tasks",
            use="compare two samplers in `report/comparison`, not by eye: one seed cannot tell a difference from noise.",
        )
        for name in ("full_data", *SAMPLERS)
    ),
)
