"""Memory that tensors free: the C library is told to keep it for those that come next, a GPU's is given back when another step comes."""

from __future__ import annotations

import ctypes
import gc
import sys

_TRIM, _MAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of <malloc.h>
_KEPT, _LARGEST = 256 << 20, 64 << 20


def keep_freed_memory() -> None:
    """Have glibc keep freed blocks of up to 64 MiB, at most 256 MiB of them at the end of its heap; nothing where there is no glibc.

    By default it gives large blocks back to the system when they are freed, so that every activation of a model is made of pages that
    the system has to find and clear again: an eighth of the time of training a small T5 on a CPU.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        # An older glibc takes no more than 32 MiB; the other alone would make it slower.
        if mallopt(_MAP, _LARGEST):
            mallopt(_TRIM, _KEPT)


def release_device_memory() -> None:
    """Give back what torch keeps of a GPU's memory beyond its tensors, for libraries and processes that take their own; nothing where no GPU is in use."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()
