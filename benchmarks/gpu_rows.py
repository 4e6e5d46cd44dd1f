"""The rows of the GPU benchmark, each measured in a process of its own: `python -m benchmarks.gpu_rows NAME --device cuda --shapes real`.

Models have random weights of the real shapes and read real text or random tokens, so that nothing is fetched. `tiny` shapes take
the same way on a CPU in a second or two.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import torch

from benchmarks.model_flops import (
    MISTRAL_7B,
    Decoder,
    ask_flops,
    encoder_flops,
    nearest_flops,
    pair_flops,
    sketch_flops,
    span_flops,
)
from curation_assets.common.allocator import release_device_memory
from curation_assets.models import span_corruption, t5
from curation_assets.models.t5 import V1_1, Shape

Measured = dict[str, Any]
"""What a row says: `value` in `unit`, model `flops` a second where they are known, `seconds`, `note`, and what `Card.profile` says."""


@dataclass(frozen=True)
class Sizes:
    """How large everything is."""

    base: Shape
    large: Shape
    xl: Shape
    encoder: Shape
    decoder: Decoder
    vocabulary: int
    gemms: tuple[tuple[int, int, int], ...]
    """Rows, inner, columns of matrix products of which the fastest is what the card can do."""
    seconds: float
    """About how long a measured part takes."""
    vectors: int
    dim: int
    clusters: int
    batch: int
    micro: tuple[int, int]
    """Sequences on the card at a time, of T5-Base and T5-Large."""
    length: int
    """Encoder tokens of a sequence that is trained on."""
    steps: int


REAL = Sizes(
    base=V1_1["base"],
    large=V1_1["large"],
    xl=V1_1["xl"],
    encoder=Shape(
        d_model=768, d_kv=64, d_ff=3072, num_layers=12, num_heads=12
    ),  # Sentence-T5-Base is a T5 v1.0
    decoder=MISTRAL_7B,
    vocabulary=32_128,
    gemms=(
        (8192, 8192, 8192),
        (16384, 8192, 4096),
        (65536, 2048, 5120),
        (65536, 1024, 2816),
        (4096, 4096, 4096),
    ),
    seconds=6.0,
    vectors=400_000,
    dim=768,
    clusters=1_000,
    batch=128,
    micro=(128, 64),
    length=512,
    steps=16,
)
_SMALL = Shape(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
TINY = Sizes(
    base=_SMALL,
    large=_SMALL,
    xl=_SMALL,
    encoder=_SMALL,
    decoder=Decoder(hidden=32, ff=64, layers=2, heads=4, kv_heads=2, vocabulary=700),
    vocabulary=2_000,
    gemms=((64, 64, 64), (128, 64, 32)),
    seconds=0.0,
    vectors=600,
    dim=32,
    clusters=8,
    batch=4,
    micro=(4, 2),
    length=32,
    steps=8,
)
SIZES = {"real": REAL, "tiny": TINY}


@dataclass(frozen=True)
class Card:
    """What a row is measured on: a torch device, and how many operations a second it was seen to do (0: not known)."""

    device: str
    sizes: Sizes
    rate: float = 0.0

    @property
    def on_gpu(self) -> bool:
        return torch.device(self.device).type == "cuda"

    @property
    def dtype(self) -> str:
        """The type of the models' weights; a CPU multiplies bfloat16 slowly."""
        return "bfloat16" if self.on_gpu else "float32"

    @property
    def activities(self) -> list[torch.profiler.ProfilerActivity]:
        """What the profiler looks at."""
        kinds = torch.profiler.ProfilerActivity
        return [kinds.CPU, kinds.CUDA] if self.on_gpu else [kinds.CPU]

    def seconds(self, work: Callable[[], object]) -> float:
        """Return how long a call takes until the device has done it."""
        self._wait()
        start = time.perf_counter()
        work()
        self._wait()
        return time.perf_counter() - start

    def documents(self, flops: float) -> int:
        """Return how many documents of so many operations are measured: enough for the time that is meant, at 30 % of the rate."""
        return int(np.clip(self.sizes.seconds * 0.3 * self.rate / flops, 16, 20_000))

    def profile(self, work: Callable[[], object]) -> Measured:
        """Return where the time of a call goes, measured apart from its speed: `top` five [name, share], `busy` share of the wall time."""
        with torch.profiler.profile(activities=self.activities) as seen:
            wall = self.seconds(work)
        return self.summary(seen, wall)

    def summary(self, seen: Any, wall: float) -> Measured:
        """Return the same of a profile that has been taken over so many seconds."""
        if self.on_gpu:
            events = [e for e in seen.key_averages() if e.device_type == torch.autograd.DeviceType.CUDA]
            times = {e.key: e.self_device_time_total for e in events}
        else:
            times = {e.key: e.self_cpu_time_total for e in seen.key_averages()}
        whole = sum(times.values()) or 1.0
        first = sorted(times, key=times.__getitem__, reverse=True)[:5]
        return {
            "top": [[name[:70], times[name] / whole] for name in first],
            "busy": whole / 1e6 / wall,
            "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if self.on_gpu else None,
        }

    def _wait(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()


# ---- what the card can do


def gemm(card: Card) -> Measured:
    """The yardstick: the fastest of several products in bfloat16, each the best of three runs of 20."""
    rates, kind = {}, torch.bfloat16
    for m, k, n in card.sizes.gemms:
        a, b = (torch.randn(shape, device=card.device, dtype=kind) for shape in ((m, k), (k, n)))
        rates[f"{m} x {k} x {n}"] = _rate(card, a, b)
    best = max(rates, key=rates.__getitem__)
    m, k, n = card.sizes.gemms[0]
    single = _rate(card, *(torch.randn(shape, device=card.device) for shape in ((m, k), (k, n))))
    host = torch.zeros(card.sizes.vectors, card.sizes.dim)
    host = host.pin_memory() if card.on_gpu else host
    copied = min(card.seconds(lambda: host.to(card.device, non_blocking=True, copy=True)) for _ in range(3))
    tera = ", ".join(f"{shape}: {rate / 1e12:.3g}" for shape, rate in rates.items())
    return {
        "value": rates[best] / 1e12,
        "unit": "TFLOP/s",
        "flops": rates[best],
        "note": f"{best}; all: {tera}; float32 {single / 1e12:.3g} TFLOP/s; pinned host to card {host.nbytes / copied / 1e9:.3g} GB/s",
    }


def _rate(card: Card, a: torch.Tensor, b: torch.Tensor) -> float:
    def several() -> None:
        for _ in range(20):
            torch.mm(a, b)

    several()
    return 20 * 2 * a.shape[0] * a.shape[1] * b.shape[1] / min(card.seconds(several) for _ in range(3))


# ---- scorers


def texts(count: int, seed: int = 0) -> list[str]:
    """Return passages of Python's manual as long as web pages are: a median of 220 words, a twentieth above 1,100."""
    words = " ".join(topics.values()).split()
    draw = np.random.default_rng(seed)
    lengths = np.clip(draw.lognormal(np.log(220), 1.0, count), 3, 4000).astype(int)
    starts = draw.integers(0, len(words) - 4000, count)
    return [" ".join(words[at : at + length]) for at, length in zip(starts, lengths, strict=True)]


@contextmanager
def _weights_on(card: Card) -> Iterator[None]:
    """Draw weights on the device and in the type that they are used in: on a CPU a model of 7 billion takes minutes."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, card.dtype))
    try:
        with torch.device(card.device):
            yield
    finally:
        torch.set_default_dtype(before)


def _t5(card: Card, shape: Shape) -> Any:
    from transformers import T5ForConditionalGeneration

    with _weights_on(card):
        return T5ForConditionalGeneration(t5.t5_config(shape, card.sizes.vocabulary))


@lru_cache
def _tokenizer(vocabulary: int) -> Any:
    from curation_assets.models.tokenizer import load_tokenizer, train_tokenizer

    with tempfile.TemporaryDirectory() as folder:
        train_tokenizer([*texts(100), *["yes yes yes"] * 1000], vocabulary, folder)
        return load_tokenizer(folder)


def _ask_t5(card: Card, shape: Shape) -> Measured:
    return _ask(card, _t5(card, shape), _tokenizer(min(4000, card.sizes.vocabulary)), shape)


def _ask_decoder(card: Card) -> Measured:
    from transformers import MistralConfig, MistralForCausalLM

    from curation_assets_tests.models.small_models import byte_level

    shape = card.sizes.decoder
    config = MistralConfig(
        hidden_size=shape.hidden,
        intermediate_size=shape.ff,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        vocab_size=shape.vocabulary,
        max_position_embeddings=4096,
    )
    with _weights_on(card):
        model = MistralForCausalLM(config)
    return _ask(card, model, byte_level(texts(100)), shape)


def _ask(card: Card, model: Any, tokenizer: Any, shape: Shape | Decoder) -> Measured:
    from curation_assets.scoring.ask_llm import AskLLM

    ask = AskLLM(model, tokenizer, max_tokens=512, device=card.device, dtype=card.dtype)
    sample = texts(32)
    each = ask_flops(shape, card.sizes.vocabulary, [len(ids) for ids in ask.inputs(sample)]) / len(sample)
    documents = texts(card.documents(each), seed=1)
    ask.score(documents[: len(documents) // 8 + 8])
    seconds = card.seconds(lambda: ask.score(documents))
    lengths = [len(ids) for ids in ask.inputs(documents)]
    return {
        "value": sum(lengths) / seconds,
        "unit": "tokens/s",
        "flops": ask_flops(shape, card.sizes.vocabulary, lengths) / seconds,
        "seconds": seconds,
        "note": f"{len(documents) / seconds:,.0f} documents/s, from text, {ask.batch_tokens:,} tokens a batch",
        **card.profile(lambda: ask.score(documents[: len(documents) // 4 + 1])),
    }


def _perplexity(card: Card) -> Measured:
    from curation_assets.scoring.perplexity import SpanPerplexity

    shape, vocabulary = card.sizes.large, card.sizes.vocabulary
    scorer = SpanPerplexity(
        _t5(card, shape),
        eos=1,
        first_sentinel=vocabulary - 129,
        window=568,
        batch_tokens=None,
        device=card.device,
        dtype=card.dtype,
    )
    draw = np.random.default_rng(0)
    count = card.documents(span_flops(shape, vocabulary, np.array([400])))
    lengths = np.clip(draw.lognormal(np.log(290), 1.0, count), 5, 5000).astype(np.int64)
    offsets = np.concatenate([[0], lengths.cumsum()])
    ids = draw.integers(3, vocabulary - 200, offsets[-1]).astype(np.uint16)
    hashes = span_corruption.mix(0, np.arange(count))

    def score(documents: int) -> None:
        scorer.nll_flat(ids, offsets[: documents + 1], hashes[:documents])

    from curation_assets.common.windows import cut_windows

    score(count // 8 + 1)
    seconds = card.seconds(lambda: score(count))
    _, begin, end, _ = cut_windows(lengths, 568)
    return {
        "value": int(offsets[-1]) / seconds,
        "unit": "tokens/s",
        "flops": span_flops(shape, vocabulary, end - begin) / seconds,
        "seconds": seconds,
        "note": f"raw tokens; {count / seconds:,.0f} documents/s, {scorer.batch_tokens:,} tokens a batch",
        **card.profile(lambda: score(count // 4 + 1)),
    }


def _sentence_t5(card: Card, folder: Path) -> Path:
    """Save a Sentence-T5 with random weights: an encoder, the mean, a dense layer, length 1."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules
    from transformers import T5Config, T5EncoderModel

    from curation_assets.models.tokenizer import train_tokenizer

    vocabulary = card.sizes.vocabulary
    train_tokenizer(texts(100), min(4000, vocabulary), folder / "base")
    shape = vars(card.sizes.encoder) | {"vocab_size": vocabulary, "feed_forward_proj": "relu"}
    with torch.device(card.device):
        T5EncoderModel(T5Config(**shape)).save_pretrained(folder / "base")
    d = card.sizes.encoder.d_model
    parts = [
        modules.Transformer(str(folder / "base"), max_seq_length=256),
        modules.Pooling(d, "mean"),
        modules.Dense(d, d, bias=False, activation_function=torch.nn.Identity()),
        modules.Normalize(),
    ]
    SentenceTransformer(modules=parts, device="cpu").save(str(folder / "model"))
    return folder / "model"


def _embeddings(card: Card) -> Measured:
    from curation_assets.embeddings.encoder import Encoder

    with tempfile.TemporaryDirectory() as name:
        folder = _sentence_t5(card, Path(name))
        encoder = Encoder(folder, device=card.device, dtype=card.dtype)
        single = Encoder(folder, device=card.device)
    shape = card.sizes.encoder
    documents = texts(card.documents(encoder_flops(shape, 200, matrices=2)))
    encoder.encode(documents[: len(documents) // 8 + 8])
    seconds = card.seconds(lambda: encoder.encode(documents))
    lengths = encoder.seen(encoder.tokenize(documents)) + 1
    few = documents[: len(documents) // 8 + 8]
    single.encode(few[:8])
    slow = card.seconds(lambda: single.encode(few))
    return {
        "value": len(documents) / seconds,
        "unit": "documents/s",
        "flops": sum(encoder_flops(shape, length, matrices=2) for length in lengths.tolist()) / seconds,
        "seconds": seconds,
        "note": f"{lengths.sum() / seconds:,.0f} tokens/s, from text, {card.dtype}; in float32 {len(few) / slow:,.0f} documents/s",
        **card.profile(lambda: encoder.encode(documents[: len(documents) // 4 + 1])),
    }


# ---- vectors


def vectors(card: Card, count: int) -> torch.Tensor:
    """Return random unit vectors on the device, float32 [count, dim]."""
    x = torch.randn(
        count, card.sizes.dim, device=card.device, generator=torch.Generator(card.device).manual_seed(0)
    )
    return x / torch.linalg.vector_norm(x, dim=1, keepdim=True)


def _density(card: Card, **kernel: Any) -> Measured:
    """Both passes from the host's memory; beside them those from the card's, and the product that they are measured by."""
    from curation_assets.scoring.density import RaceSketch
    from curation_assets.scoring.exact import full_precision

    x, sizes = vectors(card, card.sizes.vectors), card.sizes
    host, sketch = x.cpu().numpy(), RaceSketch(sizes.dim, device=card.device, **kernel)
    directions = torch.randn(sketch.hashes.projections, sizes.dim, device=card.device)

    def product() -> None:
        for part in x.split(16_384):
            directions @ part.T

    def both(of: Any) -> None:
        sketch.clear().add(of)
        sketch.density(of)

    with full_precision(card.device):
        product()
        bare = 2 * min(card.seconds(product) for _ in range(3))
    both(host)
    seconds, on_card = (min(card.seconds(lambda of=of: both(of)) for _ in range(2)) for of in (host, x))
    flops = 2 * sketch_flops(sizes.vectors, sizes.dim, sketch.hashes.projections)
    return {
        "value": sizes.vectors / seconds,
        "unit": "documents/s",
        "flops": flops / seconds,
        "seconds": seconds,
        "own_gemm": bare / on_card,
        "note": f"both passes; {bare / on_card:.0%} of its float32 products where the vectors are on the card, {bare / seconds:.0%} from the host's memory",
        **card.profile(lambda: both(x)),
    }


def _kmeans(card: Card) -> Measured:
    from curation_assets.scoring.clusters import assign, fit_centroids

    k, iterations = card.sizes.clusters, 10
    x = vectors(card, min(card.sizes.vectors, 256 * k)).cpu().numpy()
    fit_centroids(x[: 8 * k], k, 0, iterations=1, device=card.device)
    seconds = card.seconds(lambda: fit_centroids(x, k, 0, iterations=iterations, device=card.device))
    centroids = x[:k]
    assign(x[:4096], centroids, device=card.device)
    assigning = card.seconds(lambda: assign(x, centroids, device=card.device))
    return {
        "value": len(x) * iterations / seconds,
        "unit": "documents/s",
        "flops": iterations * nearest_flops(len(x), card.sizes.dim, k) / seconds,
        "seconds": seconds,
        "note": f"an iteration of faiss, {k:,} clusters; assigning {len(x) / assigning:,.0f} documents/s",
        **card.profile(lambda: assign(x, centroids, device=card.device)),
    }


def _semdedup(card: Card) -> Measured:
    from curation_assets.scoring.semdedup import semdedup_scores

    n = card.sizes.vectors // 4
    x = vectors(card, n).cpu().numpy()
    draw = np.random.default_rng(0)
    share = draw.lognormal(0, 1, max(2, n // 1000))  # of the clusters: some large, most small
    cluster = np.sort(draw.choice(len(share), n, p=share / share.sum()))
    flops = pair_flops(np.bincount(cluster), card.sizes.dim)
    semdedup_scores(x[: n // 8], cluster[: n // 8], device=card.device)
    seconds = card.seconds(lambda: semdedup_scores(x, cluster, device=card.device))
    return {
        "value": n / seconds,
        "unit": "documents/s",
        "flops": flops / seconds,
        "seconds": seconds,
        "note": f"{n:,} documents in {len(share)} clusters of up to {np.bincount(cluster).max():,}, from the host's memory",
        **card.profile(lambda: semdedup_scores(x[: n // 4], cluster[: n // 4], device=card.device)),
    }


# ---- training and the graph


def _training(card: Card, shape: Shape, micro: int) -> Measured:
    """Train as the graph does, with half as much on the card where it does not fit."""
    while True:
        try:
            return _steps(card, shape, micro)
        except torch.OutOfMemoryError:
            if micro == 1:
                raise
        micro //= 2  # outside of the handler, which holds the tensors of what failed
        release_device_memory()


def _steps(card: Card, shape: Shape, micro: int) -> Measured:
    """Train for a few steps: the median after the first third, the last flush under the profiler."""
    from benchmarks.bench_training import random_stream
    from curation_assets.pretraining.config import RuntimeConfig, TrainConfig
    from curation_assets.pretraining.flops import training_flops
    from curation_assets.pretraining.trainer import train

    sizes, flush = card.sizes, 2
    config = TrainConfig(
        shape,
        sizes.vocabulary,
        tokens=sizes.steps * sizes.batch * span_corruption.lengths(sizes.length)[0],
        input_length=sizes.length,
        first_sentinel=sizes.vocabulary - 29,
        batch_size=sizes.batch,
        snapshots=(1.0,),
        precision="bfloat16" if card.on_gpu else "float32",
    )
    execution = RuntimeConfig(
        card.device, micro_batch_size=micro, compile=card.on_gpu, flush_steps=flush, resume_seconds=3600
    )
    times, profiled = [time.perf_counter()], []
    profiler = torch.profiler.profile(activities=card.activities)

    def told(*_: object) -> None:
        times.append(time.perf_counter())
        if len(times) == sizes.steps // flush:
            profiler.start()
            profiled.append(time.perf_counter())
        elif len(times) == sizes.steps // flush + 1:
            profiled.append(time.perf_counter())
            profiler.stop()

    with tempfile.TemporaryDirectory() as folder:
        train(config, random_stream(2_000, sizes.vocabulary), folder, execution=execution, progress=told)
    laps = np.diff(times)
    seconds = float(np.median(laps[1 + len(laps) // 3 : -1])) / flush
    return {
        "value": config.tokens_per_step / seconds,
        "unit": "tokens/s",
        "flops": training_flops(config) / config.steps / seconds,
        "seconds": seconds,
        "note": f"raw tokens; {seconds:.3f} s a step of {sizes.batch}, {micro} at a time; the first {flush} after {laps[0]:.0f} s",
        **card.summary(profiler, profiled[1] - profiled[0]),
    }


PROFILE = """
extends = "local"
name = "gpu"
[corpus]
url = "texts"
hq_url = ""
keep_fields = []
[tokenizer]
vocab_size = 2000
[run]
samplers = ["density", "perplexity_small"]
sizes = ["small"]
[pretraining]
tokens = 20_000
[evaluation]
suites = ["perplexity"]
[execution]
device = "{device}"
"""


def _graph(card: Card) -> Measured:
    """`curation run` from nothing, as somebody would type it: a corpus of two files, two samplers, the report."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "texts").mkdir()
        for number in range(2):
            lines = [
                json.dumps({"id": f"{number}-{i}", "text": t}) for i, t in enumerate(texts(30, seed=number))
            ]
            (folder / "texts" / f"{number}.jsonl").write_text("\n".join(lines) + "\n")
        (folder / "gpu.toml").write_text(PROFILE.replace("{device}", card.device))
        places = {
            "CURATION_PROFILE": "gpu.toml",
            "CURATION_DATA": "data",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        command = [sys.executable, "-m", "curation_assets.cli", "run"]
        start = time.perf_counter()
        done = subprocess.run(
            command, cwd=folder, env=os.environ | places, capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - start
        if done.returncode:
            raise RuntimeError(
                f"curation run ended with {done.returncode}: {(done.stderr or done.stdout)[-1500:]}"
            )
        artifacts = sum(1 for _ in (folder / "data" / "artifacts").rglob("receipt.json"))
    return {
        "value": seconds,
        "unit": "s",
        "seconds": seconds,
        "note": f"60 documents, {artifacts} artifacts",
    }


ROWS: dict[str, tuple[str, float, float | None, Callable[[Card], Measured]]] = {
    "gemm": ("bfloat16 matrix products", 40, None, gemm),
    "ask_xl": ("Ask-LLM, Flan-T5-XL", 60, 0.40, lambda card: _ask_t5(card, card.sizes.xl)),
    "density": (
        "density, the paper's kernel (L2)",
        40,
        0.50,
        lambda card: _density(card, kernel="l2", bits=1),
    ),
    "density_cosine": (
        "density, the default kernel (cosine)",
        40,
        0.50,
        lambda card: _density(card, bits=12),
    ),
    "graph": ("the graph, two samplers", 120, None, _graph),
    "train_large": (
        "training T5-Large, compiled",
        120,
        0.45,
        lambda card: _training(card, card.sizes.large, card.sizes.micro[1]),
    ),
    "train_base": (
        "training T5-Base, nanoT5's batch, compiled",
        80,
        None,
        lambda card: _training(card, card.sizes.base, card.sizes.micro[0]),
    ),
    "ask_large": ("Ask-LLM, Flan-T5-Large", 50, None, lambda card: _ask_t5(card, card.sizes.large)),
    "ask_7b": ("Ask-LLM, a 7B decoder (Mistral's shape)", 60, None, _ask_decoder),
    "perplexity": ("perplexity, T5-Large", 50, None, _perplexity),
    "embeddings": ("embeddings, Sentence-T5-Base", 50, None, _embeddings),
    "semdedup": ("SemDeDup", 40, None, _semdedup),
    "kmeans": ("k-means", 40, None, _kmeans),
}
"""Each row's name in words, the seconds that it may take, the share of the matrix rate (of density: of its own float32 product) that is aimed for, and what measures it; what matters most comes first."""


def measure(name: str, device: str, shapes: str, rate: float) -> Measured:
    """Measure one row in this process."""
    return ROWS[name][3](Card(device, SIZES[shapes], rate))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=ROWS)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--shapes", choices=SIZES, default="real")
    parser.add_argument(
        "--rate", type=float, default=0.0, help="operations a second that the card was seen to do"
    )
    chosen = parser.parse_args()
    print(json.dumps(measure(chosen.name, chosen.device, chosen.shapes, chosen.rate)))
