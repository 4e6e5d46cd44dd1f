"""A run of seconds that the trainer's tests share: a T5 of 8,000 parameters on documents with something to learn."""

import os
import signal

import numpy as np

from curation_assets.models.span_corruption import mix
from curation_assets.models.t5 import Shape
from curation_assets.pretraining.config import TrainConfig
from curation_assets.pretraining.packing import Shard, TokenStream

VOCABULARY, SENTINEL = 160, 159  # sentinels 159 down to 60, tokens 2 to 59
CONFIG = TrainConfig(
    shape=Shape(d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2),
    vocab_size=VOCABULARY,
    tokens=40 * 4 * 34,
    first_sentinel=SENTINEL,
    batch_size=4,
    input_length=32,
    snapshots=(0.1, 0.5, 1.0),
)


def documents(count=120, seed=0):
    """Return flat ids, offsets and hashes of documents that count upwards from a random token."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, 60, count)
    ids = np.concatenate([(rng.integers(58) + np.arange(n)) % 58 + 2 for n in lengths]).astype(np.uint16)
    return ids, np.concatenate([[0], np.cumsum(lengths)]), mix(seed, np.arange(count))


def stream(seed=0):
    """Return the token stream of the documents."""
    ids, offsets, hashes = documents()
    return TokenStream([Shard(ids, offsets, None, hashes)], seed=seed)


class Interrupted(Exception):
    """What ends a run in the middle."""


class InterruptedStream:
    """A stream that fails at one step, or kills its process there."""

    def __init__(self, inner, at, kill=False):
        self.inner, self.at, self.kill = inner, at, kill
        self.epochs, self.digest = inner.epochs, inner.digest

    def batch(self, step, batch_size, raw_length):
        """Return a batch of the stream; none of that step."""
        if step == self.at and self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if step == self.at:
            raise Interrupted
        return self.inner.batch(step, batch_size, raw_length)
