"""Freed memory is kept for what comes next."""

import ctypes
import platform
import resource
from types import SimpleNamespace

import pytest
import torch

from curation_assets.common.allocator import keep_freed_memory

PAGE = 4096
ROUNDS, MIB = 8, 48
BEFORE = 32
"""Rounds before it counts: a block comes from new pages until holes, and then the 256 MiB that are kept, are full, which takes up to 9."""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_a_large_block_that_was_freed_is_used_again() -> None:
    keep_freed_memory()
    for _ in range(BEFORE):
        torch.ones(MIB << 18)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(ROUNDS):
        torch.ones(MIB << 18)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults < (MIB << 20) / PAGE  # and not that many each time


def test_an_older_glibc_that_takes_no_such_threshold_is_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To set any of the thresholds stops it from raising that of mapping by itself."""
    asked: list[int] = []

    def mallopt(what: int, value: int) -> int:
        asked.append(what)
        return int(value <= 32 << 20)

    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=mallopt))
    keep_freed_memory()
    assert len(asked) == 1
