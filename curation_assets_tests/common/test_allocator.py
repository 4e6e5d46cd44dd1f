"""Freed memory is kept for what comes next."""

import platform
import resource

import pytest
import torch

from curation_assets.common.allocator import keep_freed_memory

PAGE = 4096
ROUNDS, MIB = 8, 48


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_a_large_block_that_was_freed_is_used_again() -> None:
    keep_freed_memory()
    for _ in range(ROUNDS):  # holes that other tests left are filled first
        torch.ones(MIB << 18)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(ROUNDS):
        torch.ones(MIB << 18)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults < (MIB << 20) / PAGE  # and not that many each time
