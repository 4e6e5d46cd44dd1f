"""RACE sketch: against closed forms and brute force, and a function of (vector, settings, seed) alone."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.scoring.density import RaceSketch

SMALL = {"dim": 24, "rows": 60, "buckets": 500, "bandwidth": 0.3}


def unit_vectors(n: int, dim: int = 24, seed: int = 0) -> np.ndarray:
    """Random directions with some tight groups among them."""
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((n, dim))
    x[n // 2 :] = x[: n - n // 2] + 0.1 * draw.standard_normal((n - n // 2, dim))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def reference_buckets(sketch: RaceSketch, x: np.ndarray) -> np.ndarray:
    """Hashes in float64 throughout, [rows, n]."""
    a, b = sketch._direction.double().numpy(), sketch._offset.double().numpy()
    return np.floor(a @ x.astype(np.float64).T + b).astype(np.int64) % sketch.buckets


def collision_probability(distance: np.ndarray | float, bandwidth: float) -> np.ndarray:
    """Probability that one p-stable L2 hash puts two vectors into one bucket: the kernel of the density.

    ``p(c) = 1 - 2 Phi(-w/c) - 2 / (sqrt(2 pi) w/c) * (1 - exp(-(w/c)^2 / 2))``, p(0) = 1 (Datar et al. 2004,
    section 3.2). `distance` c and `bandwidth` w are in the units of the vectors.
    """
    distance = np.asarray(distance, dtype=np.float64)
    t = bandwidth / np.maximum(distance, 1e-100 * bandwidth)
    erf = torch.erf(torch.from_numpy(np.atleast_1d(t / math.sqrt(2)))).numpy().reshape(distance.shape)
    # 1 - 2 Phi(-t) is erf(t / sqrt 2); expm1 keeps the digits of distances far beyond the bandwidth.
    return erf + math.sqrt(2 / math.pi) * np.expm1(-t * t / 2) / t


def test_collision_probability_is_what_integrating_its_definition_gives():
    # p(c) = int_0^w (1/c) f(t/c) (1 - t/w) dt, f the density of |N(0,1)| (Datar et al., equation before 3.2)
    width = 0.7
    t = np.linspace(0, width, 200_001)
    for distance in (0.05, 0.3, 0.7, 2.0, 40.0):
        f = math.sqrt(2 / math.pi) * np.exp(-((t / distance) ** 2) / 2) / distance * (1 - t / width)
        assert collision_probability(distance, width) == pytest.approx(np.trapezoid(f, t), rel=1e-6)
    assert collision_probability(0.0, width) == 1
    assert (np.diff(collision_probability(np.linspace(0, 5, 50), width)) < 0).all()


def test_mean_over_seeds_converges_to_the_sum_of_collision_probabilities():
    x, queries = unit_vectors(500), unit_vectors(500)[::50]
    distance = np.linalg.norm(queries[:, None].astype(np.float64) - x[None], axis=2)
    expected = collision_probability(distance, 0.3).sum(1)
    found = np.array([RaceSketch(**SMALL, seed=seed).add(x).density(queries) for seed in range(80)])
    error = (found.mean(0) - expected) / (found.std(0, ddof=1) / math.sqrt(len(found)))
    assert np.abs(error).max() < 4.5 and np.sqrt((error**2).mean()) < 2
    # The standard error itself is small enough for the comparison to mean something.
    assert (found.std(0) / math.sqrt(len(found)) < 0.02 * expected).all()


@pytest.mark.parametrize(
    "bandwidth", [0.5, 0.02, 0.002]
)  # 0.002: more buckets than the sketch has, so they wrap
def test_counts_and_density_equal_a_float64_reference(bandwidth):
    x = unit_vectors(3000)
    sketch = RaceSketch(24, rows=60, buckets=500, bandwidth=bandwidth).add(x)
    buckets = reference_buckets(sketch, x)
    counts = np.stack([np.bincount(row, minlength=500) for row in buckets])
    assert np.array_equal(sketch.counts.numpy(), counts)
    expected = np.stack([c[b] for c, b in zip(counts, buckets, strict=True)]).mean(0)
    np.testing.assert_allclose(sketch.density(x), expected, rtol=1e-12)


def test_values_at_a_bucket_edge_are_decided_in_float64():
    sketch = RaceSketch(1, rows=1, buckets=100, bandwidth=1.0)
    a, b = float(sketch._direction[0, 0]), float(sketch._offset[0, 0])
    edge = np.float32((1 - b) / a)
    x = np.nextafter(edge, np.float32([-np.inf, np.inf])[:, None] * np.ones(50), dtype=np.float32)
    x = np.concatenate([x.ravel(), np.repeat(edge, 50)])[:, None].astype(np.float32)
    assert np.array_equal(
        sketch.add(x).counts[0].numpy(), np.bincount(reference_buckets(sketch, x)[0], minlength=100)
    )


@pytest.mark.parametrize("dim", [24, 384, 768])
def test_fp32_error_stays_far_below_the_tolerance(dim):
    sketch = RaceSketch(dim, rows=500)
    aligned = sketch._direction.double()  # the worst case: documents along the projections
    for x, margin in ((unit_vectors(1000, dim), 5), (aligned / aligned.norm(dim=1, keepdim=True), 2)):
        x = torch.as_tensor(x).float()
        fast = torch.addmm(sketch._offset, sketch._direction, x.T).double()
        exact = sketch._direction.double() @ x.double().T + sketch._offset.double()
        assert (fast - exact).abs().max() * margin < sketch.tolerance()


@given(order=st.permutations(range(40)), sizes=st.lists(st.integers(1, 15), min_size=1, max_size=8))
@settings(max_examples=20, deadline=None)
def test_neither_order_nor_batching_matters(order, sizes):
    x = unit_vectors(40)
    whole = RaceSketch(**SMALL).add(x)
    parts, start = RaceSketch(**SMALL), 0
    densities = []
    for size in [*sizes, 40]:
        parts.add(x[order][start : start + size])
        densities.append(whole.density(x[order][start : start + size]))
        start += size
    assert torch.equal(parts.counts, whole.counts)
    assert np.array_equal(np.concatenate(densities), whole.density(x)[list(order)])


def test_blocks_of_one_equal_one_block(monkeypatch):
    x = unit_vectors(300)
    whole = RaceSketch(**SMALL).add(x)
    monkeypatch.setattr("curation_assets.scoring.density._BLOCK_CELLS", {"cpu": 1})
    single = RaceSketch(**SMALL).add(x)
    assert torch.equal(single.counts, whole.counts)
    single_density = single.density(x)
    monkeypatch.undo()
    assert np.array_equal(single_density, whole.density(x))


def test_merge_is_adding_and_subtract_undoes_it():
    x, y = unit_vectors(200, seed=1), unit_vectors(300, seed=2)
    both = RaceSketch(**SMALL).add(x).add(y)
    first, second = RaceSketch(**SMALL).add(x), RaceSketch(**SMALL).add(y[:100]).add(y[100:])
    merged = RaceSketch(**SMALL).merge(first).merge(second)
    assert torch.equal(merged.counts, both.counts) and merged.documents == 500
    merged.subtract(second)
    assert torch.equal(merged.counts, first.counts) and merged.documents == 200
    with pytest.raises(ValueError, match="does not"):
        merged.subtract(second)
    assert torch.equal(merged.counts, first.counts)  # a refused subtraction leaves no trace


def test_sparse_round_trip():
    x, y = unit_vectors(200, seed=1), unit_vectors(300, seed=2)
    sketch, other = RaceSketch(**SMALL).add(x), RaceSketch(**SMALL).add(y)
    keys, counts = sketch.to_sparse()
    assert keys.dtype == np.int64 and counts.dtype == np.int32 and counts.min() > 0
    again = RaceSketch(**SMALL).merge_sparse(keys, counts)
    assert torch.equal(again.counts, sketch.counts) and again.documents == 200
    again.merge_sparse(*other.to_sparse()).subtract(sketch)
    assert torch.equal(again.counts, other.counts) and again.documents == 300
    with pytest.raises(ValueError, match="same number of documents"):
        again.merge_sparse(keys[1:], counts[1:])
    with pytest.raises(ValueError, match="ascend"):
        again.merge_sparse(keys[::-1], counts)
    empty = RaceSketch(**SMALL).merge_sparse(*RaceSketch(**SMALL).to_sparse())
    assert empty.documents == 0 and empty.density(x).sum() == 0


def test_half_precision_tensors_and_read_only_memmaps_are_read_as_they_are(tmp_path):
    x = unit_vectors(100).astype(np.float16)
    expected = RaceSketch(**SMALL).add(x.astype(np.float32))
    np.save(tmp_path / "x.npy", x)
    for form in (x, torch.from_numpy(x), np.load(tmp_path / "x.npy", mmap_mode="r")):
        assert torch.equal(RaceSketch(**SMALL).add(form).counts, expected.counts)


def test_reduced_precision_settings_do_not_change_a_count():
    x = unit_vectors(500, 64)
    expected = RaceSketch(64, rows=50).add(x).counts
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "bf16"
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(RaceSketch(64, rows=50).add(x).counts, expected)
        assert matmul.fp32_precision == "bf16"
    finally:
        matmul.fp32_precision = before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_counts_the_same():
    x = unit_vectors(20_000, 384)
    cpu, gpu = RaceSketch(384).add(x), RaceSketch(384, device="cuda").add(x)
    assert torch.equal(cpu.counts, gpu.counts.cpu())
    assert np.array_equal(cpu.density(x), gpu.density(x))


def test_bad_input_is_refused_and_leaves_no_trace(monkeypatch):
    monkeypatch.setattr("curation_assets.scoring.density._BLOCK_CELLS", {"cpu": 60 * 16})
    sketch = RaceSketch(**SMALL).add(unit_vectors(50))
    before = sketch.counts.clone()
    x = unit_vectors(50)
    x[37, 3] = np.nan
    with pytest.raises(ValueError, match="row 37"):
        sketch.add(x)
    x[37, 3] = 1e6
    with pytest.raises(ValueError, match="too long"):
        sketch.add(x)
    with pytest.raises(ValueError, match=r"\[n, 24\]"):
        sketch.add(unit_vectors(5, 25))
    with pytest.raises(TypeError, match="floating"):
        sketch.add(np.ones((3, 24), dtype=np.int32))
    with pytest.raises(ValueError, match=r"seed 0 and 1"):
        sketch.merge(RaceSketch(**SMALL, seed=1))
    with pytest.raises(ValueError, match=r"bandwidth 0.3 and 0.4"):
        sketch.subtract(RaceSketch(**SMALL | {"bandwidth": 0.4}))
    assert torch.equal(sketch.counts, before) and sketch.documents == 50
    sketch.documents = 2**31 - 10
    with pytest.raises(OverflowError):
        sketch.add(unit_vectors(50))
    with pytest.raises(ValueError, match="rows"):
        RaceSketch(4, rows=0)
    with pytest.raises(ValueError, match="bandwidth"):
        RaceSketch(4, bandwidth=math.nan)


def test_a_cleared_sketch_is_an_empty_one() -> None:
    draw = np.random.default_rng(3)
    first, second = (draw.standard_normal((n, 8)).astype(np.float32) for n in (50, 7))
    used, fresh = RaceSketch(8, 20, 100), RaceSketch(8, 20, 100)
    used.add(first).merge_sparse(*RaceSketch(8, 20, 100).add(first * 3).to_sparse())
    assert not used.clear().counts.any() and used.documents == 0 and not len(used.to_sparse()[0])
    for one, other in zip(used.add(second).to_sparse(), fresh.add(second).to_sparse(), strict=True):
        assert np.array_equal(one, other) and one.dtype == other.dtype
    flat = used.counts.numpy().reshape(-1)
    assert np.array_equal(used.to_sparse()[0], np.flatnonzero(flat))
