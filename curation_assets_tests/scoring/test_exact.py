"""Batch-independent dot products and blocks worked on by several threads."""

import numpy as np
import pytest
import torch

from curation_assets.scoring.exact import blocks_of, dot64, full_precision, map_blocks


@pytest.mark.parametrize("dim", [1, 2, 3, 7, 384, 768])
def test_dot64_is_exact_to_rounding_and_the_same_in_any_batch(dim):
    a, b = torch.randn(200, dim), torch.randn(200, dim)
    found = dot64(a, b)
    expected = (a.numpy().astype(np.longdouble) * b.numpy()).sum(1)
    np.testing.assert_allclose(found.numpy(), expected.astype(float), atol=1e-13)
    for i in (0, 7, 199):
        assert dot64(a[i : i + 1], b[i : i + 1])[0] == found[i]
    assert torch.equal(dot64(a.flip(0), b.flip(0)), found.flip(0))
    assert torch.equal(dot64(a, a[:1]), dot64(a, a[:1].expand(200, -1)))


@pytest.mark.parametrize("cores", [1, 3])
def test_map_blocks_keeps_order_errors_and_the_number_of_threads(cores):
    before = torch.get_num_threads()
    torch.set_num_threads(cores)
    try:
        blocks = blocks_of(103, 10)
        assert [len(block) for block in blocks] == [10] * 10 + [3]
        with full_precision("cpu"):
            found = list(
                map_blocks(lambda rows: (rows.start, torch.is_inference_mode_enabled()), blocks, "cpu")
            )
        assert found == [(block.start, True) for block in blocks]
        done = []
        with full_precision("cpu"), pytest.raises(ZeroDivisionError):
            for result in map_blocks(lambda rows: 1 / (rows.start - 50), blocks, "cpu"):
                done.append(result)  # noqa: PERF402 - what came before the error is the point
        assert len(done) == 5
        assert torch.get_num_threads() == cores and not torch.is_inference_mode_enabled()
    finally:
        torch.set_num_threads(before)
    assert list(map_blocks(len, [], "cpu")) == [] and blocks_of(0, 5) == []
