"""The judges that are made in the graph, and the teacher that they learn from."""

from __future__ import annotations

from curation_assets.config.model_sources import parse
from curation_assets.engine.product import Product, imported
from curation_assets.models.build import model_note

MODELS = (
    Product(
        "judge/teacher",
        model_note(lambda p: parse(p.judge.teacher)),
        "The instruction-tuned model that the judges learn from.",
        "Which weights it is, by digest: the source is `judge.teacher` in the profile.",
        files="`model.json` (digest, parameters, files)",
    ),
    Product(
        "judge/labels",
        imported("curation_assets.judges.build:labels"),
        "The teacher's answers to the Ask-LLM prompt, on a sample.",
        "A sample of the corpus by hash. Cached by text: a killed run goes on, and more labels keep those that are there.",
        paper="the Ask-LLM prompt, word for word",
        use="read `liked_most` and `liked_least` to see the teacher's taste before you trust it.",
    ),
    Product(
        "judge/checkpoint",
        imported("curation_assets.judges.build:judge"),
        "A small T5 that answers the Ask-LLM prompt as the teacher does.",
        "Fine-tuned on the labels, as Flan-T5 is an instruction-tuned T5; its agreement with the teacher (Kendall's tau, with an "
        "interval) is measured on labels held out.",
        files="`model/` (weights), `distillation.json` (agreement, losses)",
        paper="Flan-T5 of five sizes",
        use="the check `agrees_with_teacher` warns when a judge is not above chance.",
    ),
)
