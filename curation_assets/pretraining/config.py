"""What a training run is (`TrainConfig`), how it is carried out (`RuntimeConfig`), and what comes out (`TrainResult`)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from curation_assets.models import span_corruption
from curation_assets.models.snapshots import Snapshot
from curation_assets.models.t5 import Shape
from curation_assets.pretraining.optimizer import learning_rate
from curation_assets.pretraining.speed import Speed


@dataclass(frozen=True)
class TrainConfig:
    """All that decides the weights, but for the documents. Defaults are nanoT5's and T5's."""

    shape: Shape
    vocab_size: int
    tokens: int
    """The budget in raw tokens; the last step may run over it by less than a batch."""
    eos: int = 1
    first_sentinel: int = 32_099
    pad: int = 0
    """Also the decoder's first token."""
    batch_size: int = 128
    """Sequences per step, over all processes."""
    input_length: int = 512
    """Encoder tokens per sequence, EOS included; the raw length follows from it (568 for 512)."""
    learning_rate: float = 2e-2
    """The peak, relative to the size of each parameter."""
    final_learning_rate: float = 1e-5
    warmup_share: float = 0.1
    """Of the steps."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of the running means of the gradient and of its square."""
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    noise_density: float = 0.15
    mean_noise_span: float = 3.0
    snapshots: tuple[float, ...] = (0.02, 0.1, 0.3, 0.5, 0.7, 1.0)
    """Shares of the steps after which weights are kept; the last step's always are."""
    seed: int = 0
    """Of the initial weights and the masks; the order of documents is the stream's."""
    precision: str = "auto"
    """"bfloat16", "float32", or "auto": bfloat16 where the accelerator has it. T5 diverges in float16. Weights stay in float32."""
    data: str = ""
    """The caller's fingerprint of the training data, kept with the run; the stream's own digest is kept beside it."""

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        for name in ("tokens", "batch_size", "vocab_size", "learning_rate", "clip_norm"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if not 0 <= self.warmup_share < 1:
            raise ValueError(f"warmup_share must lie in [0, 1), not {self.warmup_share}")
        if not all(0 < share <= 1 for share in self.snapshots):
            raise ValueError(f"snapshots must be shares in (0, 1], not {self.snapshots}")
        if self.precision not in ("auto", "bfloat16", "float32"):
            raise ValueError(f"precision must be auto, bfloat16 or float32, not {self.precision!r}")
        if not self.first_sentinel < self.vocab_size:
            raise ValueError(
                f"sentinel {self.first_sentinel} lies outside the vocabulary of {self.vocab_size}"
            )

    @property
    def raw_length(self) -> int:
        """Raw tokens per sequence."""
        return span_corruption.lengths(self.input_length, self.noise_density, self.mean_noise_span)[0]

    @property
    def tokens_per_step(self) -> int:
        """Raw tokens per step."""
        return self.batch_size * self.raw_length

    @property
    def steps(self) -> int:
        """Steps that the budget pays for: the same for every subset."""
        return math.ceil(self.tokens / self.tokens_per_step)

    @property
    def snapshot_steps(self) -> tuple[int, ...]:
        """Steps after which weights are kept."""
        return tuple(sorted({max(1, round(share * self.steps)) for share in (*self.snapshots, 1.0)}))

    @property
    def warmup_steps(self) -> int:
        """Steps in which the learning rate rises to its peak."""
        return round(self.warmup_share * self.steps)

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return learning_rate(
            step,
            steps=self.steps,
            warmup=self.warmup_steps,
            peak=self.learning_rate,
            final=self.final_learning_rate,
        )


@dataclass(frozen=True)
class RuntimeConfig:
    """Where and how a run is carried out; none of it is meant to change the result."""

    device: str = "auto"
    """"auto", "cpu", "cuda" or "cuda:1"."""
    processes: int = 1
    """For `launch.train_distributed`: they share each batch; 0 for one per visible GPU, which is 1 on a CPU."""
    micro_batch_size: int = 0
    """Sequences per forward pass of a process; 0 for all of its batch. Smaller takes less memory."""
    resume_seconds: float = 60.0
    """How often a resume point is written: what a kill can cost. Less often where writing would take more than a twentieth of the time; 0: after every step."""
    flush_steps: int = 10
    """How often losses are fetched from the device, checked and logged."""
    compile: bool = False
    """Compile the model's layers with torch.compile: some time at the start, faster steps on a GPU."""
    tf32: bool = True
    """Let a GPU multiply in TF32 where the precision is float32. It does nothing to bfloat16 runs and on a CPU."""


@dataclass(frozen=True)
class TrainResult:
    """A finished run."""

    folder: Path
    steps: int
    tokens: int
    """Raw tokens seen."""
    loss: float
    """Mean training loss of the last tenth of the steps, nats per target token."""
    epochs: float
    parameters: int
    snapshots: tuple[Snapshot, ...]
    resumed_from: int = field(default=0, compare=False)
    """The step that this call began at; `steps` where the run was finished already."""
    speed: Speed = field(default_factory=Speed, compare=False)
    """Of all calls that had a part in the run."""
