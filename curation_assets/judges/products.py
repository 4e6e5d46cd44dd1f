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
        "judge/label_embeddings",
        imported("curation_assets.embeddings.build:label_embeddings"),
        "A vector of length one for each labelled document.",
        "Row by row as in `judge/labels`, by the encoder of `corpus/embeddings`: what a judge that goes by embeddings is fitted to.",
        files="`embeddings.npy` (float32 [documents, dimensions]), `readable.npy` (bool [documents])",
    ),
    Product(
        "judge/checkpoint",
        imported("curation_assets.judges.build:judge"),
        "A small judge that answers the Ask-LLM prompt as the teacher does.",
        "A T5 fine-tuned on the labels, as Flan-T5 is an instruction-tuned T5, or ridge regression on embeddings, which is one and the same "
        "for all sizes: as `judge.student` says, or where it is better beyond noise. Its agreement with the teacher (Kendall's tau, with an interval) is "
        "measured on labels held out; `student` says which was taken, `advantage` by how much.",
        files="`model/` (weights), `distillation.json` (agreement of each student, losses)",
        paper="Flan-T5 of five sizes",
        use="the check `agrees_with_teacher` warns when a judge is not above chance.",
    ),
)
