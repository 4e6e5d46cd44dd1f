"""The sections of a profile that say how models are pre-trained, fine-tuned and measured."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from curation_assets.config.section import EXECUTION, Positive, Section, Share

Suite = Literal["perplexity", "probes", "glue", "superglue", "cnn_dm", "squad", "flan"]


class LadderShape(Section):
    """One T5 size: the numbers of `transformers.T5Config`."""

    d_model: Positive
    d_kv: Positive
    d_ff: Positive
    num_layers: Positive
    num_heads: Positive


class Pretraining(Section):
    """The recipe, the same for every sampler; `tokens` is the budget of raw tokens of every run (iso-compute)."""

    tokens: Positive
    batch_size: Positive
    input_length: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    final_learning_rate: Annotated[float, Field(gt=0)]
    warmup_share: Share
    weight_decay: Annotated[float, Field(ge=0)]
    clip_norm: Annotated[float, Field(gt=0)]
    noise_density: Annotated[float, Field(gt=0, lt=1)]
    mean_noise_span: Annotated[float, Field(ge=1)]
    snapshots: list[float]
    seeds: Annotated[list[int], Field(min_length=1)]
    micro_batch_size: Positive = Field(json_schema_extra=EXECUTION)
    resume_seconds: Annotated[float, Field(gt=0)] = Field(json_schema_extra=EXECUTION)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds repeat")
        if sorted(set(self.snapshots)) != self.snapshots or not self.snapshots or self.snapshots[-1] != 1.0:
            raise ValueError("snapshots must rise and end with 1.0")
        if self.snapshots[0] <= 0:
            raise ValueError("snapshots must lie above 0")
        if self.batch_size % self.micro_batch_size:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of micro_batch_size")
        return self


class FineTuning(Section):
    """How a checkpoint is fine-tuned for a suite: the same for every sampler. Inputs and targets are cut at the end.

    `max_prompt` is the most that a few-shot prompt may have: examples are dropped from it until it fits, never the question.
    """

    steps: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    final_learning_rate: Annotated[float, Field(gt=0)]
    warmup_share: Share
    clip_norm: Annotated[float, Field(gt=0)]
    max_input: Positive
    max_target: Positive
    max_prompt: Positive
    resume_seconds: Annotated[float, Field(gt=0)] = Field(json_schema_extra=EXECUTION)


class Evaluation(Section):
    """What a model is measured by.

    `suites` are measured; those of them in `optional` may lack data, and the report then says what was not measured.
    Perplexity: at most `max_documents` of each set, chosen by hash, in windows of `window` tokens, at most `max_windows` of a
    document (0 for all). Other suites: at most `max_examples` of each task and `max_training_examples` of each training set,
    chosen by hash (0 for all), read from the folder `eval_root`, or from the hub where that is "". `instructions`: what a model
    is tuned on before the suite flan: "tasks" (the training sets of the other suites and of its reasoning and question
    answering tasks) or a dataset on the hub with columns `inputs` and `targets`. `decontaminate` drops documents that share
    13 words in a row with an evaluation input from subsets and training.
    """

    suites: Annotated[list[Suite], Field(min_length=1)]
    optional: list[Suite] = Field(json_schema_extra=EXECUTION)
    eval_root: str = Field(json_schema_extra=EXECUTION)
    instructions: str
    max_examples: Annotated[int, Field(ge=0)]
    max_training_examples: Annotated[int, Field(ge=0)]
    decontaminate: bool
    max_documents: Positive
    window: Positive
    max_windows: Annotated[int, Field(ge=0)]
    seed: int
    batch_tokens: Positive = Field(json_schema_extra=EXECUTION)
    finetuning: FineTuning

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.suites)) != len(self.suites):
            raise ValueError("suites repeat")
        if "perplexity" not in self.suites:
            raise ValueError('suites must name "perplexity": every model is measured by it')
        return self
