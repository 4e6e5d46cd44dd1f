"""Hashes pinned by literal vectors, their quality, and the keys of each technique."""

from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.common.hashing import hash_documents, hash_ids, noise, text_digest
from curation_assets.selection.keys import TECHNIQUES, selection_keys

MASK = 2**64 - 1
PINNED_0 = [
    "c7d3552d73a5b57e",
    "4813498b3e94cc65",
    "027e974d48f13ed8",
    "e13b83b46472a70d",
    "b65d2e748f31b65a",
    "1d9f6c923ebc52a2",
    "a025102432326742",
    "47c53e1e753b6b8a",
]
PINNED_LAST = [
    "ffe15f4012a7d467",
    "ea65c6e874aa08c3",
    "515eeff03c1166c7",
    "4bb285639ad80245",
    "f75614cb0dda61e0",
    "ddf54521fdb12346",
    "8269eebc897a12e8",
    "84def1d9589519c5",
]
PINNED_DOCUMENTS = ["554a06622ade91fe", "c9ebc6d24e525507", "356a2e29c5bd236f", "c994f13762060843"]
PINNED_NOISE = [0.8275136553364478, 0.40379365470199813, 0.6656349329150238]


def mix(h: int) -> int:
    """splitmix64's finaliser on Python integers."""
    h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    h = (h ^ (h >> 27)) * 0x94D049BB133111EB & MASK
    return h ^ (h >> 31)


def reference_hash(text: str, seed: int) -> int:
    """The definition in the docstring, one id at a time."""
    data = text.encode()
    h = mix((len(data) + mix((seed * 0x9E3779B97F4A7C15 + 0x2545F4914F6CDD1D) & MASK)) & MASK)
    for at in range(0, len(data), 8):
        h = mix(((h ^ int.from_bytes(data[at : at + 8], "little")) + 0x9E3779B97F4A7C15) & MASK)
    return h


def test_the_hash_is_pinned():
    # Stored columns and every published choice depend on these: a change here is a new data format.
    ids = ["", "a", "\0", "doc-00017", "abcdefgh", "abcdefghi", "übermäßig 文書", "x" * 1000]
    assert [f"{int(h):016x}" for h in hash_ids(ids)] == PINNED_0
    assert [f"{int(h):016x}" for h in hash_ids(ids, seed=2**64 - 1)] == PINNED_LAST


def test_the_hash_of_a_document_is_pinned_and_goes_on_from_that_of_its_id():
    documents = [("", ""), ("a", "b"), ("0", "übermäßig 文書"), ("0", "x" * 10_000)]
    ids, texts = zip(*documents, strict=True)
    found = hash_documents(ids, [text_digest(text) for text in texts]).tolist()
    assert [f"{h:016x}" for h in found] == PINNED_DOCUMENTS
    for doc_id, text, one in zip(ids, texts, found, strict=True):
        word = int.from_bytes(blake2b(text.encode(), digest_size=16).digest()[:8], "little")
        assert one == mix(((reference_hash(doc_id, 0) ^ word) + 0x9E3779B97F4A7C15) & MASK)
    assert hash_documents([], []).shape == (0,)
    with pytest.raises(ValueError, match="2 document ids and 1 text digests"):
        hash_documents(["a", "b"], [text_digest("a")])


def test_the_noise_is_pinned():
    assert noise(np.array([0, 1, MASK], dtype=np.uint64), 0).tolist() == PINNED_NOISE


@given(
    ids=st.lists(st.text(max_size=30) | st.text(alphabet="ab\0", min_size=5, max_size=20), max_size=40),
    seed=st.integers(0, MASK),
)
@settings(max_examples=60, deadline=None)
def test_every_form_of_ids_gives_the_reference_hash(ids, seed):
    expected = [reference_hash(text, seed) for text in ids]
    assert hash_ids(ids, seed).tolist() == expected
    assert hash_ids(pa.array(ids, pa.string()), seed).tolist() == expected
    assert hash_ids(np.array(ids, dtype=object), seed).tolist() == expected
    padded = pa.array(["before", *ids, "after"], pa.large_string())
    assert hash_ids(padded.slice(1, len(ids)), seed).tolist() == expected
    assert hash_ids(pa.chunked_array([ids[:3], ids[3:]], pa.string()), seed).tolist() == expected


def test_chunks_and_lengths_do_not_matter(monkeypatch):
    ids = [f"https://example.org/{'x' * (i * i % 97)}/{i}" for i in range(500)] + ["y" * 20_000]
    whole = hash_ids(ids)
    monkeypatch.setattr("curation_assets.common.hashing._CHUNK", 7)
    assert np.array_equal(hash_ids(ids), whole)
    assert np.array_equal(hash_ids(np.array(ids[:500])), whole[:500])


def test_each_input_bit_flips_half_of_the_output():
    draw = np.random.default_rng(0)
    for length in (4, 8, 13):
        texts = draw.integers(0, 64, (400, length)).astype(np.uint8) + 32
        base = hash_ids([bytes(t).decode() for t in texts])
        for position in range(length):
            for bit in range(5):
                flipped = texts.copy()
                flipped[:, position] ^= 1 << bit
                change = base ^ hash_ids([bytes(t).decode() for t in flipped])
                share = np.unpackbits(change.view(np.uint8)).reshape(400, 64).mean(0)
                assert np.abs(share - 0.5).max() < 0.13  # 5 standard deviations of 400 coins


@pytest.mark.parametrize("pattern", ["{}", "{:09d}", "shard-000/{}", "doc-{}-of-the-corpus"])
def test_counted_ids_give_uniform_hashes_and_noise(pattern):
    n = 50_000
    hashes = hash_ids([pattern.format(i) for i in range(n)])
    assert len(np.unique(hashes)) == n
    for values in (hashes >> np.uint64(56), hashes & np.uint64(255), (noise(hashes, 1) * 256).astype(int)):
        counts = np.bincount(values.astype(np.int64), minlength=256)
        chi = ((counts - n / 256) ** 2 / (n / 256)).sum()
        assert abs(chi - 255) < 5 * np.sqrt(2 * 255)


def test_noise_is_open_and_independent_between_seeds():
    hashes = np.concatenate([hash_ids([str(i) for i in range(20_000)]), np.array([0, MASK], dtype=np.uint64)])
    values = np.stack([noise(hashes, seed) for seed in (0, 1, 2, 3, 2**63)])
    assert values.min() > 0 and values.max() < 1
    assert np.abs(np.corrcoef(values) - np.eye(5)).max() < 5 / np.sqrt(20_000)
    assert (values * 2.0**53 % 2 == 1).all()  # odd multiples of 2**-53: neither 0 nor 1 can occur


def test_keys_of_each_technique():
    hashes, scores = hash_ids(["a", "b", "c"]), np.array([0.5, 2.0, 3.0])
    u = noise(hashes, 9)
    assert selection_keys(hashes, scores, "top_k", 9).tolist() == [0.5, 2.0, 3.0]
    assert selection_keys(hashes, scores, "bottom_k", 9).tolist() == [-0.5, -2.0, -3.0]
    assert np.array_equal(selection_keys(hashes, scores, "uniform", 9), u)
    # The Gumbel key orders as the exponential clock: the smallest E / weight is first.
    clock = -np.log(u) / (1 / scores)
    np.testing.assert_allclose(selection_keys(hashes, scores, "ips", 9), -np.log(clock), rtol=1e-12)
    zeros = selection_keys(hashes, np.array([0.0, -0.0, 1]), "bottom_k", 0)
    assert not np.signbit(zeros[:2]).any()


def test_bad_input_is_refused():
    hashes = hash_ids(["a", "b"])
    with pytest.raises(ValueError, match="top_k, bottom_k, ips, uniform"):
        selection_keys(hashes, np.ones(2), "best", 0)
    for technique in TECHNIQUES:
        with pytest.raises(ValueError, match="finite: document 1 has nan"):
            selection_keys(hashes, np.array([1, np.nan]), technique, 0)
    for bad in (0.0, -1.0):
        with pytest.raises(ValueError, match=r"positive for ips.*document 1 has"):
            selection_keys(hashes, np.array([1, bad]), "ips", 0)
    with pytest.raises(ValueError, match=r"3.* scores for .*2.* documents"):
        selection_keys(hashes, np.ones(3), "top_k", 0)
    with pytest.raises(TypeError, match="uint64"):
        noise(np.array([1, 2]), 0)
    with pytest.raises(TypeError, match="must be strings"):
        hash_ids([1, 2])
    with pytest.raises(TypeError, match="must be strings, not int64"):
        hash_ids(pa.array([1, 2]))
    with pytest.raises(TypeError, match="not one string"):
        hash_ids("abc")
    with pytest.raises(ValueError, match="id 1 is missing"):
        hash_ids(["a", None])
    with pytest.raises(ValueError, match="no valid Unicode"):
        hash_ids(["a", "\ud800"])
    for seed in (-1, 2**64, 0.5, True):
        with pytest.raises(ValueError, match="seed"):
            noise(hashes, seed)
    assert hash_ids([]).shape == (0,) and hash_ids([]).dtype == np.uint64
