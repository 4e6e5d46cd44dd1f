"""RACE sketch: against closed forms and brute force, and a function of (vector, settings, seed) alone."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from curation_assets.scoring.density import RaceSketch
from curation_assets.scoring.density_hashes import CosineHashes, L2Hashes, default_bits
from curation_assets_tests.scoring.kernels import cosine_probability, kernel_sums, l2_probability

SMALL = {"dim": 24, "rows": 60, "buckets": 500}
KERNELS = {
    "cosine": {"kernel": "cosine", "bits": 7, "pool": 90},
    "cosine of one bit": {"kernel": "cosine", "bits": 1},
    "l2, the paper's": {"kernel": "l2", "bits": 1, "bandwidth": 0.3},
    "l2, several": {"kernel": "l2", "bits": 5, "pool": 90, "bandwidth": 3.0},
}
every_kernel = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)


def unit_vectors(n: int, dim: int = 24, seed: int = 0) -> np.ndarray:
    """Random directions with some tight groups among them."""
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((n, dim))
    x[n // 2 :] = x[: n - n // 2] + 0.1 * draw.standard_normal((n - n // 2, dim))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def reference_cells(sketch: RaceSketch, x: np.ndarray) -> np.ndarray:
    """Cells by float64 and Python's integers throughout, [rows, n]."""
    hashes = sketch.hashes
    place = hashes._direction.double().numpy() @ x.astype(np.float64).T
    cosine = isinstance(hashes, CosineHashes)
    step = place >= 0 if cosine else np.floor(place + hashes._offset.double().numpy())
    cells = np.empty((sketch.rows, len(x)), np.int64)
    for row in range(sketch.rows):
        own = [step[(row + shift) % len(step)].astype(np.int64) for shift in hashes._shifts]
        if cosine:
            cells[row] = sum(bit << number for number, bit in enumerate(own))
        elif hashes.bits == 1:
            cells[row] = own[0] % sketch.cells
        else:
            first, *factors = (int(m) for m in hashes._mixing[:, row, 0])
            mixed = first + sum(factor * one for factor, one in zip(factors, own, strict=True))
            cells[row] = ((mixed + 2**31) % 2**32) * sketch.cells >> 32
    return cells


def test_closed_forms_are_what_their_definitions_give():
    # p(c) = int_0^w (1/c) f(t/c) (1 - t/w) dt, f the density of |N(0,1)| (Datar et al., equation before 3.2)
    width = 0.7
    t = np.linspace(0, width, 200_001)
    for distance in (0.05, 0.3, 0.7, 2.0, 40.0):
        f = math.sqrt(2 / math.pi) * np.exp(-((t / distance) ** 2) / 2) / distance * (1 - t / width)
        assert l2_probability(distance, width) == pytest.approx(np.trapezoid(f, t), rel=1e-6)
        assert l2_probability(distance, width, 3) == pytest.approx(np.trapezoid(f, t) ** 3, rel=1e-6)
    assert l2_probability(0.0, width) == 1
    assert (np.diff(l2_probability(np.linspace(0, 5, 50), width)) < 0).all()
    assert cosine_probability(np.array([1.0, 0.5, 0.0, -1.0]), 2) == pytest.approx([1, 4 / 9, 1 / 4, 0])


@every_kernel
def test_mean_over_seeds_converges_to_the_closed_form_of_the_kernel(kernel):
    x, queries = unit_vectors(500), unit_vectors(500)[::50]
    expected = kernel_sums(queries, x, kernel["kernel"], kernel["bits"], kernel.get("bandwidth", 0.5))
    found = np.array([RaceSketch(**SMALL | kernel, seed=s).add(x).density(queries) for s in range(80)])
    error = (found.mean(0) - expected) / (found.std(0, ddof=1) / math.sqrt(len(found)))
    assert np.abs(error).max() < 4.5 and np.sqrt((error**2).mean()) < 2
    # The standard error itself is small enough for the comparison to mean something.
    assert (found.std(0) / math.sqrt(len(found)) < 0.04 * expected).all()


@pytest.mark.parametrize("kind", ["cosine", "l2"])
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_two_vectors_meet_as_often_as_the_closed_form_says(kind, bits):
    x = np.array([[1, 0, 0, 0], [0.8, 0.6, 0, 0], [0, 1, 0, 0], [-0.6, 0, 0.8, 0]], np.float32)
    rows, seeds = 50, 60  # what rows share makes them dependent, so the standard error is that of seeds
    one = np.array(
        [
            RaceSketch(4, rows, 4096, kind, bits, pool=64, bandwidth=1.0, seed=s).add(x[:1]).density(x)
            for s in range(seeds)
        ]
    )
    expected = np.array([kernel_sums(x[:1], x[i : i + 1], kind, bits, 1.0)[0] for i in range(4)])
    error = one.std(0, ddof=1) / math.sqrt(seeds)
    assert one[:, 0] == pytest.approx(1) and expected[0] == pytest.approx(1, abs=1e-6)
    assert (np.abs(one.mean(0) - expected)[1:] < 4 * error[1:]).all() and (error[1:] < 0.02).all()


@pytest.mark.parametrize(
    "kernel",
    [
        *KERNELS.values(),
        {"kernel": "l2", "bits": 1, "bandwidth": 0.002},  # more steps than cells, so they wrap
        {"kernel": "cosine", "bits": 16, "buckets": 2**16, "pool": 60},  # cells that int16 does not hold
    ],
)
def test_counts_and_density_equal_a_float64_reference(kernel):
    x = unit_vectors(3000)
    sketch = RaceSketch(**SMALL | kernel).add(x)
    cells = reference_cells(sketch, x)
    counts = np.stack([np.bincount(row, minlength=sketch.cells) for row in cells])
    assert np.array_equal(sketch.counts.numpy(), counts)
    mean = np.stack([c[b] for c, b in zip(counts, cells, strict=True)]).mean(0)
    chance = 1 / 500 if kernel["kernel"] == "l2" and kernel["bits"] > 1 else 0
    np.testing.assert_allclose(sketch.density(x), (mean - 3000 * chance) / (1 - chance), rtol=1e-12)


@pytest.mark.parametrize(
    "kernel", [KERNELS["cosine"] | {"bits": 10}, KERNELS["l2, the paper's"], KERNELS["l2, several"]]
)
def test_a_small_sketch_is_cleared_and_stored_without_a_look_at_counters_that_are_empty(kernel, monkeypatch):
    x, options = unit_vectors(400), SMALL | kernel | {"buckets": 2**12}
    sketch, expected = RaceSketch(**options), [RaceSketch(**options).add(p) for p in (x[:20], x[20:25], x)]
    for one in expected:
        one._filled = None  # it looks at all of them
    sparse = [one.to_sparse() for one in expected]

    def refuse(*arguments: object) -> None:
        raise AssertionError("it looks at all counters")

    for part, (keys, counts) in zip((x[:20], x[20:25]), sparse, strict=False):
        with monkeypatch.context() as patch:
            patch.setattr(np, "flatnonzero", refuse)
            patch.setattr(torch.Tensor, "zero_", refuse)
            found = sketch.clear().add(part[:3]).add(part[3:]).to_sparse()
        assert all(map(np.array_equal, found, (keys, counts)))
        assert [one.dtype for one in found] == [np.int32, np.int32]
    with pytest.raises(ValueError, match="finite"):
        sketch.clear().add(np.concatenate([x[:4], np.full_like(x[:1], np.nan)]))
    assert [len(some) for some in sketch.to_sparse()] == [0, 0]
    for _ in range(2):  # many vectors are counted as ever, and what comes after them starts from nothing
        assert all(map(np.array_equal, sketch.clear().add(x).add(x[:0]).to_sparse(), sparse[2]))
    sketch.clear().merge_sparse(*sparse[0])
    assert all(map(np.array_equal, sketch.add(x[20:25]).subtract(expected[1]).to_sparse(), sparse[0]))


@pytest.mark.parametrize("step", ["_note", "_count"])
def test_what_was_interrupted_is_cleared(step, monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    sketch = RaceSketch(**SMALL | {"bits": 10, "buckets": 2**12})
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sketch, step, stop)
        sketch.add(unit_vectors(20))
    assert not sketch.clear().counts.any()


def test_what_the_paper_does_is_one_hash_of_its_own_for_each_row():
    sketch = RaceSketch(24, rows=60, buckets=500, kernel="l2", bits=1, bandwidth=0.3, seed=4)
    draw = np.random.Generator(np.random.PCG64([0x52414345, 4]))
    a, b = (draw.standard_normal((60, 24)) / 0.3).astype(np.float32), draw.random((60, 1)).astype(np.float32)
    x = unit_vectors(400)
    cells = np.floor(a.astype(float) @ x.T.astype(float) + b).astype(int) % 500
    assert np.array_equal(reference_cells(sketch, x), cells)
    assert sketch.counts.shape == (60, 500) and sketch.hashes.chance == 0


def test_rows_share_few_projections_and_no_two_are_equal():
    hashes = RaceSketch(4, rows=1000, bits=13, pool=1000).hashes
    own = (np.arange(1000)[:, None] + hashes._shifts) % 1000
    assert hashes._shifts[0] == 0 and len(set(hashes._shifts)) == 13
    shared = np.array([np.isin(own, row).sum(1) for row in own[:1]])[0]
    assert shared[0] == 13 and shared[1:].max() <= 4 and (shared > 1).sum() < 40


@pytest.mark.parametrize(
    "documents, bits",
    [
        (0, 4),
        (1, 4),
        (63, 4),
        (64, 5),
        (2**12 - 1, 10),
        (2**12, 11),
        (26_156, 13),
        (2**15, 14),
        (364_000_000, 14),
    ],
)
def test_bits_follow_the_number_of_documents(documents, bits):
    assert default_bits(documents, 20_000) == bits
    assert default_bits(documents, 512) == min(bits, 9) and default_bits(documents, 1) == 1


def test_values_at_an_edge_are_decided_in_float64():
    sketch = RaceSketch(1, rows=1, buckets=100, kernel="l2", bits=1, bandwidth=1.0)
    a, b = float(sketch.hashes._direction[0, 0]), float(sketch.hashes._offset[0, 0])
    edge = np.float32((1 - b) / a)
    x = np.nextafter(edge, np.float32([-np.inf, np.inf])[:, None] * np.ones(50), dtype=np.float32)
    x = np.concatenate([x.ravel(), np.repeat(edge, 50)])[:, None].astype(np.float32)
    assert np.array_equal(
        sketch.add(x).counts[0].numpy(), np.bincount(reference_cells(sketch, x)[0], minlength=100)
    )


def test_vectors_on_a_hyperplane_are_decided_in_float64():
    sketch = RaceSketch(24, rows=60, buckets=500, bits=7, pool=90)
    a = sketch.hashes._direction.double().numpy()
    x = unit_vectors(90).astype(np.float64)
    x -= (
        (x * a).sum(1, keepdims=True) / (a * a).sum(1, keepdims=True) * a
    )  # on it but for rounding to float32
    x = x.astype(np.float32)
    place = np.abs((x.astype(np.float64) * a).sum(1))
    assert (place < sketch.hashes.tolerance(np.linalg.norm(x, axis=1).max())).all() and place.max() > 0
    alone = np.concatenate([RaceSketch(24, 60, 500, bits=7, pool=90).add(one[None]).counts for one in x])
    cells = reference_cells(sketch, x)
    assert np.array_equal(alone.reshape(90, 60, -1).argmax(2).T, cells)
    assert np.array_equal(sketch.add(x).counts, [np.bincount(row, minlength=128) for row in cells])


@pytest.mark.parametrize("dim", [24, 384, 768])
def test_fp32_error_stays_far_below_the_tolerance(dim):
    for kind in ("cosine", "l2"):
        hashes = RaceSketch(dim, rows=500, kernel=kind, bits=1).hashes
        direction = hashes._direction
        aligned = direction.double()  # the worst case: documents along the projections
        offset = hashes._offset if isinstance(hashes, L2Hashes) else torch.zeros(500, 1)
        for x, margin in ((unit_vectors(1000, dim), 5), (aligned / aligned.norm(dim=1, keepdim=True), 2)):
            x = torch.as_tensor(x).float()
            fast = torch.addmm(offset, direction, x.T).double()
            exact = direction.double() @ x.double().T + offset.double()
            assert (fast - exact).abs().max() * margin < hashes.tolerance()


@every_kernel
@given(order=st.permutations(range(40)), sizes=st.lists(st.integers(1, 15), min_size=1, max_size=8))
@settings(max_examples=10, deadline=None)
def test_neither_order_nor_batching_matters(kernel, order, sizes):
    x = unit_vectors(40)
    whole = RaceSketch(**SMALL | kernel).add(x)
    parts, start = RaceSketch(**SMALL | kernel), 0
    densities = []
    for size in [*sizes, 40]:
        parts.add(x[order][start : start + size])
        densities.append(whole.density(x[order][start : start + size]))
        start += size
    assert torch.equal(parts.counts, whole.counts)
    assert np.array_equal(np.concatenate(densities), whole.density(x)[list(order)])


@every_kernel
def test_blocks_of_one_equal_one_block(kernel, monkeypatch):
    x = unit_vectors(300)
    whole = RaceSketch(**SMALL | kernel).add(x)
    monkeypatch.setattr("curation_assets.scoring.density._BLOCK_CELLS", {"cpu": 1})
    single = RaceSketch(**SMALL | kernel).add(x)
    assert torch.equal(single.counts, whole.counts)
    single_density = single.density(x)
    monkeypatch.undo()
    assert np.array_equal(single_density, whole.density(x))


@every_kernel
@given(cut=st.integers(0, 60), seed=st.integers(0, 9))
@settings(max_examples=10, deadline=None)
def test_merge_is_adding_and_subtract_undoes_it(kernel, cut, seed):
    x = unit_vectors(60, seed=seed)
    both = RaceSketch(**SMALL | kernel).add(x)
    first, second = (RaceSketch(**SMALL | kernel).add(part) for part in (x[:cut], x[cut:]))
    merged = RaceSketch(**SMALL | kernel).merge(first).merge(second)
    assert torch.equal(merged.counts, both.counts) and merged.documents == 60
    sparse = RaceSketch(**SMALL | kernel).merge_sparse(*second.to_sparse()).merge_sparse(*first.to_sparse())
    assert torch.equal(sparse.counts, both.counts) and sparse.documents == 60
    merged.subtract(second)
    assert torch.equal(merged.counts, first.counts) and merged.documents == cut
    if cut < 60:
        with pytest.raises(ValueError, match="does not"):
            merged.subtract(both)
        assert torch.equal(merged.counts, first.counts)  # a refused subtraction leaves no trace


@every_kernel
def test_sparse_round_trip(kernel):
    settings = SMALL | kernel
    x, y = unit_vectors(200, seed=1), unit_vectors(300, seed=2)
    sketch, other = RaceSketch(**settings).add(x), RaceSketch(**settings).add(y)
    keys, counts = sketch.to_sparse()
    assert keys.dtype == np.int32 and counts.dtype == np.int32 and counts.min() > 0
    again = RaceSketch(**settings).merge_sparse(keys, counts)
    assert torch.equal(again.counts, sketch.counts) and again.documents == 200
    again.merge_sparse(*other.to_sparse()).subtract(sketch)
    assert torch.equal(again.counts, other.counts) and again.documents == 300
    with pytest.raises(ValueError, match="same number of documents"):
        again.merge_sparse(keys[1:], counts[1:])
    with pytest.raises(ValueError, match="ascend"):
        again.merge_sparse(keys[::-1], counts)
    empty = RaceSketch(**settings).merge_sparse(*RaceSketch(**settings).to_sparse())
    assert empty.documents == 0 and not empty.counts.any()


def test_half_precision_tensors_and_read_only_memmaps_are_read_as_they_are(tmp_path):
    x = unit_vectors(100).astype(np.float16)
    settings = SMALL | KERNELS["cosine"]
    expected = RaceSketch(**settings).add(x.astype(np.float32))
    np.save(tmp_path / "x.npy", x)
    for form in (x, torch.from_numpy(x), np.load(tmp_path / "x.npy", mmap_mode="r")):
        assert torch.equal(RaceSketch(**settings).add(form).counts, expected.counts)


@every_kernel
def test_reduced_precision_settings_do_not_change_a_count(kernel):
    x = unit_vectors(500)
    expected = RaceSketch(**SMALL | kernel).add(x).counts
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "bf16"
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(RaceSketch(**SMALL | kernel).add(x).counts, expected)
        assert matmul.fp32_precision == "bf16"
    finally:
        matmul.fp32_precision = before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@every_kernel
def test_the_gpu_counts_the_same(kernel):
    x = unit_vectors(20_000, 384)
    cpu, gpu = (RaceSketch(**SMALL | kernel | {"dim": 384}, device=d).add(x) for d in ("cpu", "cuda"))
    assert torch.equal(cpu.counts, gpu.counts.cpu())
    assert np.array_equal(cpu.density(x), gpu.density(x))


@every_kernel
def test_bad_input_is_refused_and_leaves_no_trace(kernel, monkeypatch):
    monkeypatch.setattr("curation_assets.scoring.density._BLOCK_CELLS", {"cpu": 60 * 16})
    settings = SMALL | kernel
    sketch = RaceSketch(**settings).add(unit_vectors(50))
    before = sketch.counts.clone()
    x = unit_vectors(50)
    x[37, 3] = np.nan
    with pytest.raises(ValueError, match="row 37"):
        sketch.add(x)
    x[37] = 0 if kernel["kernel"] == "cosine" else 1e6
    with pytest.raises(ValueError, match=r"row 37 of x is zero|too long"):
        sketch.add(x)
    with pytest.raises(ValueError, match=r"\[n, 24\]"):
        sketch.add(unit_vectors(5, 25))
    with pytest.raises(TypeError, match="floating"):
        sketch.add(np.ones((3, 24), dtype=np.int32))
    with pytest.raises(ValueError, match=r"seed 0 and 1"):
        sketch.merge(RaceSketch(**settings, seed=1))
    with pytest.raises(ValueError, match="rows 60 and 30"):
        sketch.subtract(RaceSketch(**settings | {"rows": 30}))
    assert torch.equal(sketch.counts, before) and sketch.documents == 50
    sketch.documents = 2**31 - 10
    with pytest.raises(OverflowError):
        sketch.add(unit_vectors(50))


def test_settings_that_make_no_sketch_are_refused():
    for unfit, message in (
        ({"rows": 0}, "rows"),
        ({"kernel": "l2", "bits": 1, "bandwidth": math.nan}, "bandwidth"),
        ({"kernel": "dot"}, 'kernel must be "cosine" or "l2", not "dot"'),
        ({"bits": 0}, "bits must be positive"),
        ({"bits": 9, "buckets": 500}, "512 cells, more than 500 buckets"),
        ({"rows": 2001, "buckets": 50, "bits": 2}, "pool at least rows and bits"),
    ):
        with pytest.raises(ValueError, match=message):
            RaceSketch(**{"dim": 4} | unfit)


@every_kernel
def test_a_cleared_sketch_is_an_empty_one(kernel) -> None:
    first, second = unit_vectors(50), unit_vectors(7, seed=1)
    used, fresh = RaceSketch(**SMALL | kernel), RaceSketch(**SMALL | kernel)
    used.add(first).merge_sparse(*RaceSketch(**SMALL | kernel).add(first).to_sparse())
    assert not used.clear().counts.any() and used.documents == 0 and not len(used.to_sparse()[0])
    for one, other in zip(used.add(second).to_sparse(), fresh.add(second).to_sparse(), strict=True):
        assert np.array_equal(one, other) and one.dtype == other.dtype
    assert np.array_equal(used.to_sparse()[0], np.flatnonzero(used.counts.numpy()))
