"""Memory of values: all that kernels write comes from here."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from math import prod
from pathlib import Path

import numpy as np

from ....compiler.errors import OutOfMemory

ALIGNMENT = 64


def room(bytes: int) -> np.ndarray:
    """Room for so many bytes at a multiple of `ALIGNMENT`, without content."""
    whole = np.empty(bytes + ALIGNMENT, np.uint8)
    start = -whole.ctypes.data % ALIGNMENT
    return whole[start : start + bytes]


_LARGE = 1 << 30


_CONTAINER = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where a container reads its own limit, by the second and the first version of control groups."""


def _memory() -> int:
    """Bytes of memory of the machine, or of the container that this process is in."""
    limits = [1 << 62]
    for path in _CONTAINER:
        with suppress(OSError, ValueError):  # not there, or "max"
            limits.append(int(path.read_text(encoding="ascii")))
    with suppress(AttributeError, OSError, ValueError):  # not known on this system
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits)


def aligned_array(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """An array without content, row by row, at a multiple of `ALIGNMENT`; raises MemoryError.

    Systems promise more memory than there is, and end a process that uses what it was promised.
    """
    bytes = prod(shape) * dtype.itemsize
    if bytes >= _LARGE and bytes > (most := _memory()):
        raise OutOfMemory(f"{bytes} bytes are needed, and the machine has {most}")
    return room(max(bytes, 1))[:bytes].view(dtype).reshape(shape)


def aligned_copy(array: np.ndarray) -> np.ndarray:
    """The array, row by row, at a multiple of `ALIGNMENT`."""
    found = aligned_array(array.shape, array.dtype)
    np.copyto(found, array)
    return found
