"""The token stream against a plain concatenation of documents."""

import tracemalloc

import numpy as np
import pytest

from curation_assets.models.span_corruption import mix
from curation_assets.pretraining.packing import Shard, TokenStream

HASHES = mix(7, np.arange(500))
LENGTHS = np.random.default_rng(0).integers(0, 40, 500)
DOCUMENTS = [np.full(n, 100 + i) + np.arange(n) * 1000 for i, n in enumerate(LENGTHS)]


def shards_of(documents, hashes, parts, dtype=np.int32, rows=None):
    """Spread documents over shards: `parts[i]` are the documents of shard i."""
    out = []
    for part in parts:
        ids = np.concatenate([documents[i] for i in part] or [np.zeros(0)]).astype(dtype)
        offsets = np.concatenate([[0], np.cumsum([len(documents[i]) for i in part])]).astype(np.int64)
        out.append(Shard(ids, offsets, None, np.asarray(hashes)[np.asarray(part, int)]))
    return out


def naive_stream(documents, hashes, seed, count):
    """Concatenate epoch after epoch, sorted by the hash of (seed, epoch, document)."""
    out, epoch = [], 0
    while len(out) < count:
        for i in np.argsort(mix(0x6F726465, seed, epoch, hashes)):
            if len(documents[i]):
                out.extend([*documents[i].tolist(), 1])
        epoch += 1
    return np.array(out[:count])


def test_the_stream_is_the_concatenation_of_shuffled_epochs():
    stream = TokenStream(shards_of(DOCUMENTS, HASHES, [range(200), range(200, 500)]), seed=3)
    per_epoch = int(LENGTHS.sum() + (LENGTHS > 0).sum())
    assert stream.tokens_per_epoch == per_epoch
    wanted = naive_stream(DOCUMENTS, HASHES, 3, 3 * per_epoch)
    assert np.array_equal(stream.read(0, 3 * per_epoch), wanted)
    for low, count in [
        (0, 1),
        (17, 400),
        (per_epoch - 5, 10),
        (2 * per_epoch, 1),
        (per_epoch - 1, per_epoch + 2),
    ]:
        assert np.array_equal(stream.read(low, count), wanted[low : low + count])


def test_every_token_can_be_read_alone():
    documents, hashes = DOCUMENTS[:70], HASHES[:70]
    stream = TokenStream(shards_of(documents, hashes, [range(70)]))
    wanted = naive_stream(documents, hashes, 0, 1500)
    assert [int(stream.read(i, 1)[0]) for i in range(1500)] == wanted.tolist()


def test_batches_do_not_depend_on_the_layout_of_shards():
    order = np.random.default_rng(1).permutation(500)
    layouts = [[range(500)], np.array_split(order, 7), [[], order[:3], [], order[3:]]]
    streams = [TokenStream(shards_of(DOCUMENTS, HASHES, parts), seed=5) for parts in layouts]
    for step in (0, 3, 11):
        first, *others = [stream.batch(step, 8, 141) for stream in streams]
        assert first.shape == (8, 141)
        for other in others:
            assert np.array_equal(first, other)
    assert len({stream.digest() for stream in streams}) == 1


def test_a_batch_is_a_function_of_seed_and_step():
    parts = [range(500)]
    one, two = (TokenStream(shards_of(DOCUMENTS, HASHES, parts), seed=1) for _ in range(2))
    ahead = [two.batch(step, 4, 50) for step in (9, 2, 400, 2)]
    assert np.array_equal(one.batch(2, 4, 50), ahead[1])
    assert np.array_equal(ahead[1], ahead[3])
    assert not np.array_equal(
        one.batch(2, 4, 50), TokenStream(shards_of(DOCUMENTS, HASHES, parts), seed=2).batch(2, 4, 50)
    )
    whole = np.concatenate([one.batch(step, 4, 50).ravel() for step in range(5)])
    assert np.array_equal(whole, one.read(0, 1000))


def test_epochs_differ_and_hold_every_document_once():
    stream = TokenStream(shards_of(DOCUMENTS, HASHES, [range(500)]))
    n = stream.tokens_per_epoch
    first, second = stream.read(0, n), stream.read(n, n)
    assert not np.array_equal(first, second)
    assert np.array_equal(np.sort(first), np.sort(second))
    assert stream.epochs(5 * n) == 5.0


def test_a_subset_smaller_than_a_sequence_repeats():
    stream = TokenStream(shards_of([np.array([7, 8]), np.array([9])], HASHES[:2], [[0], [1]]))
    assert stream.tokens_per_epoch == 5
    batch = stream.batch(2, 4, 64)
    assert np.array_equal(
        batch.ravel(), naive_stream([np.array([7, 8]), np.array([9])], HASHES[:2], 0, 768)[512:]
    )


def test_rows_choose_documents_of_a_memory_map(tmp_path):
    ids = np.concatenate(DOCUMENTS).astype(np.uint16)
    np.save(tmp_path / "ids.npy", ids)
    offsets = np.concatenate([[0], np.cumsum(LENGTHS)]).astype(np.int64)
    rows = np.array([400, 3, 77])
    stream = TokenStream([Shard(np.load(tmp_path / "ids.npy", mmap_mode="r"), offsets, rows, HASHES[rows])])
    chosen = [DOCUMENTS[row].astype(np.uint16).astype(int) for row in rows]
    assert np.array_equal(stream.read(0, 300), naive_stream(chosen, HASHES[rows], 0, 300))


def test_memory_is_what_the_docstring_states():
    n = 200_000
    ids, offsets = np.broadcast_to(np.uint16(7), 20 * n), np.arange(n + 1) * 20
    hashes = mix(0, np.arange(n))
    tracemalloc.start()
    try:
        stream = TokenStream([Shard(ids, offsets, None, hashes)])
        stream.batch(0, 16, 141)
        stream.read(stream.tokens_per_epoch - 5, 10)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 24 * n < held < 25 * n
    assert peak < 50 * n


def test_bad_input_is_refused():
    ids, offsets, hashes = np.arange(10, dtype=np.int32), np.array([0, 4, 10]), HASHES[:2]
    with pytest.raises(ValueError, match=r"shard 0.*offsets"):
        TokenStream([Shard(ids, np.array([0, 4, 11]), None, hashes)])
    with pytest.raises(ValueError, match=r"shard 0.*offsets"):
        TokenStream([Shard(ids, np.array([0, 8, 4]), None, hashes)])
    with pytest.raises(ValueError, match=r"rows must lie in 0\.\.1"):
        TokenStream([Shard(ids, offsets, np.array([0, 2]), hashes)])
    with pytest.raises(ValueError, match="doc_hash must be uint64"):
        TokenStream([Shard(ids, offsets, None, hashes.astype(np.int64))])
    with pytest.raises(ValueError, match="no document with a token"):
        TokenStream([Shard(ids, np.array([0, 0, 0]), None, hashes)])
    with pytest.raises(ValueError, match="no batch -1"):
        TokenStream([Shard(ids, offsets, None, hashes)]).batch(-1, 2, 2)
