"""The report assets."""

from __future__ import annotations

from curation_assets.engine.product import Product, imported

_FIGURES = "figures as PNG, SVG and PDF, `section.json` (its part of the page)"

REPORT = (
    Product(
        "report/comparison",
        imported("curation_assets.report.build:comparison"),
        "Every evaluated sampler, amount and size side by side.",
        "Perplexities, averages of the evaluation suites, over-scaling, effective size, ranks, and whether the difference to random "
        "sampling is beyond the noise of training.",
        files=f"`comparison.csv`, `comparison.md`, `recipe.json`; {_FIGURES}",
        paper="table 1, figure 4",
        use="read `how_to_read` and the intervals first; with one seed (`pretraining.seeds`) nothing can be told from noise.",
    ),
    Product(
        "report/convergence",
        imported("curation_assets.report.merit_build:convergence"),
        "Perplexity against training tokens, and who gets there sooner.",
        "How many tokens each sampler's model needs to be as good as one trained on everything, and curves cut at a number of epochs.",
        files=f"`convergence.md`; {_FIGURES}",
        paper="figure 5, figures 17 to 30",
    ),
    Product(
        "report/tradeoff",
        imported("curation_assets.report.merit_build:tradeoff"),
        "What choosing the data costs, and when it has paid off.",
        "Seconds and operations of scoring against the quality of the model trained on the choice, and after how many trainings the "
        "scoring is paid.",
        files=f"`tradeoff.md`; {_FIGURES}",
        paper="costs of scoring and training, ICLR version",
    ),
    Product(
        "report/labels",
        imported("curation_assets.report.labels_build:labels"),
        "Which scores your labels support: AUC, also at equal length.",
        "Of every score against labels that the profile names (`labels.url`, `labels.field`), beside length, line ends and stop words.",
        files=_FIGURES,
        use="before you act on a score: if length alone does as well, keep by length.",
    ),
    Product(
        "report/correlation",
        imported("curation_assets.report.build:correlation"),
        "How alike the samplers' scores are: Kendall's tau.",
        "Between the scores of all samplers, with intervals, as a table and a heat map.",
        files=f"`correlation.md`; {_FIGURES}",
        paper="figure 7",
        use="two samplers near 1 choose the same documents: one of them is enough.",
    ),
    Product(
        "report/quality",
        imported("curation_assets.report.quality_build:quality"),
        "Quality against the share of the data, metric by metric.",
        "For every metric and size, with the ranks of all samplers.",
        files=f"`quality.md`; {_FIGURES}",
        paper="figure 4, figures 10 to 16, table 1",
    ),
    Product(
        "report/distributions",
        imported("curation_assets.report.distributions_build:distributions"),
        "How each sampler's scores are distributed.",
        "And how documents move up and down the ranking as the judge grows.",
        files=_FIGURES,
        paper="figure 9, figure 6",
    ),
    Product(
        "report/composition",
        imported("curation_assets.report.composition_build:composition"),
        "What each sampler keeps, and what samplers have in common.",
        "Sources, lengths and clusters beside the whole corpus; documents in common beside those of independent choices.",
        files=_FIGURES,
        use="look for a source or a length that a sampler drops without your meaning it to.",
    ),
    Product(
        "report/duplicates",
        imported("curation_assets.report.duplicates_build:duplicates"),
        "How many near-duplicates there are, by cosine threshold.",
        "How many documents and groups each threshold removes, and at which cosine the fixed rates of semdedup cut.",
        files=f"`curve.parquet`; {_FIGURES}",
        paper="appendix B (SemDeDup, Abbas et al. 2023)",
        use="a rate that cuts below the threshold picks outliers, not copies: cut at a cosine instead.",
    ),
    Product(
        "report/documents",
        imported("curation_assets.report.documents_build:documents"),
        "Documents to read: most liked, least liked, most disputed.",
        "For each sampler those that it likes most and least, and those on which samplers disagree most, with percentiles.",
        files="`section.json` (its part of the page)",
        paper="appendix E",
        use="read it before you believe any number.",
    ),
    Product(
        "report/page",
        imported("curation_assets.report.page_build:page"),
        "The report as one page: open report/index.html.",
        "Every section that has been made, on one self-contained HTML page that needs no network; copied to `report/index.html` in the "
        "data folder, with the figures and the numbers behind them beside it.",
        files="`index.html`, `figures/`, `data/`",
        use="open the path in the metadata (`open_in_a_browser`), or run the job `make_the_report` to make it anew.",
    ),
)
