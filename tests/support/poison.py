"""Memory in which nothing wrong goes unseen: what no kernel wrote is NaN, and around it nobody may write or read.

Installed for all tests. Each buffer of a compiled plan ends at a page that cannot be read, or as near as
its alignment allows; what else is on its pages is checked after each call. A kernel that goes beyond ends the
process, and pytest tells where. Inputs lie where their elements' size allows, and must stay as they are.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from typing import Any
from unittest import mock

import numpy as np

from planform.backends.tvm.runtime import arena
from planform.backends.tvm.runtime import cuda_runner as gpu_runtime
from planform.backends.tvm.runtime.dtypes import numpy_dtype
from planform.backends.tvm.runtime.packing import Packing
from planform.backends.tvm.runtime.program import value_of
from planform.backends.tvm.runtime.runner import Runner

NAN = 0xFF
"""All bits set are NaN in each float type, and -1 in integers."""
_PAGE = mmap.PAGESIZE
_WHOLE = 1 << 26
"""Larger buffers are filled at their ends alone, and their contents are not copied or compared."""
_POOL = [1 << bits for bits in (12, 14, 16, 18)]
"""Bytes of the blocks that kernels will find in the pool of their thread."""


class Guard:
    """The bytes around one buffer, up to pages that cannot be read."""

    def __init__(self, map: mmap.mmap, start: int, stop: int) -> None:
        self.map = weakref.ref(map)
        self.spans = (_PAGE, start), (stop, len(map) - _PAGE)

    def check(self) -> None:
        """Raise AssertionError where somebody wrote."""
        map = self.map()
        if map is None:
            return
        for start, stop in self.spans:
            found = map[start:stop]
            if found != bytes([NAN]) * len(found):
                where = "before" if stop == self.spans[0][1] else "behind"
                raise AssertionError(f"a kernel wrote {where} a buffer of {self.size} bytes")

    @property
    def size(self) -> int:
        """Bytes of the buffer."""
        return self.spans[1][0] - self.spans[0][1]


_guards: list[Guard] = []


def guarded(size: int, alignment: int = arena.ALIGNMENT) -> np.ndarray:
    """Room for so many bytes, filled with NaN, that ends where memory can no longer be read."""
    taken = -(-size // alignment) * alignment
    pages = max(-(-taken // _PAGE), 1)
    map = mmap.mmap(-1, (pages + 2) * _PAGE)
    whole = np.frombuffer(map, np.uint8)
    fill(whole[_PAGE:-_PAGE])
    start = (pages + 1) * _PAGE - taken
    _forbid(whole[:_PAGE])
    _forbid(whole[-_PAGE:])
    _guards.append(Guard(map, start, start + size))
    return whole[start : start + size]


def guarded_copy(array: np.ndarray) -> np.ndarray:
    """The array row by row in guarded memory, at a multiple of nothing but its elements' size."""
    found = guarded(array.nbytes, max(array.dtype.itemsize, 1)).view(array.dtype).reshape(array.shape)
    np.copyto(found, array)
    return found


def fill(bytes: np.ndarray) -> None:
    """Poison a buffer."""
    if bytes.nbytes <= _WHOLE:
        bytes.fill(NAN)
    else:
        bytes[:_PAGE] = NAN
        bytes[-_PAGE:] = NAN


def check() -> None:
    """Raise AssertionError if a kernel wrote beside any buffer that is in use."""
    _guards[:] = [guard for guard in _guards if guard.map() is not None]
    for guard in list(_guards):
        try:
            guard.check()
        except AssertionError:
            _guards.remove(guard)  # told once: whoever is next did not do it
            raise


def _forbid(pages: np.ndarray) -> None:
    """Let nobody read or write pages."""
    if sys.platform == "linux":
        where, size = ctypes.c_void_p(pages.ctypes.data), ctypes.c_size_t(pages.nbytes)
        assert ctypes.CDLL(None).mprotect(where, size, 0) == 0


def _fill_pool() -> None:
    """Poison the memory that TVM's runtime lends to kernels of this thread."""
    library = ctypes.CDLL(None)
    library.TVMBackendAllocWorkspace.restype = ctypes.c_void_p
    blocks = [library.TVMBackendAllocWorkspace(1, 0, ctypes.c_uint64(size), 2, 32) for size in _POOL]
    for size, block in zip(_POOL, blocks, strict=True):
        ctypes.memset(block, NAN, size)
        library.TVMBackendFreeWorkspace(1, 0, ctypes.c_void_p(block))


def _is_small(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.flags.c_contiguous and array.nbytes <= _WHOLE


def _is_mapped(array: np.ndarray) -> bool:
    base: Any = array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    return isinstance(base, mmap.mmap)


def _bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _guarding(init: Callable[..., None]) -> Callable[..., None]:
    """`Runner.__init__` with weights in guarded memory."""

    def run(self: Runner, program: Any, library: Any, weights: Mapping[str, np.ndarray]) -> None:
        given = {
            name: arena.aligned_copy(array) if _is_small(array) and not _is_mapped(array) else array
            for name, array in weights.items()
        }
        init(self, program, library, given)
        check()

    return run


def _watching(call: Callable[..., Any]) -> Callable[..., Any]:
    """`Runner.__call__` with inputs in guarded memory, and all that is in use checked after it."""

    def run(self: Runner, *given: Any) -> Any:
        copies = [guarded_copy(array) if _is_small(array) else array for array in given]
        found = call(self, *copies)
        for copy, array in zip(copies, given, strict=True):
            if copy is not array and not np.array_equal(_bits(copy), _bits(array)):
                raise AssertionError("a kernel wrote to an input")
        check()
        return found

    return run


def _filling(take: Callable[..., Any]) -> Callable[..., Any]:
    """`Runner._take` with an arena, and a pool of the thread, in which nothing is left of other calls."""

    def run(self: Runner, symbols: Any) -> Any:
        sizes, workspace = take(self, symbols)
        fill(workspace.arena)
        _fill_pool()
        return sizes, workspace

    return run


def _filling_device(run_call: Callable[..., Any]) -> Callable[..., Any]:
    """`_Call.run` of a GPU with nothing left of other calls; its driver guards what it allocates."""

    def run(self: Any, given: Any) -> Any:
        for number, slot in enumerate(self.program.slots):
            if slot.kind in ("arena", "output") and number in self.addresses:
                size = (
                    prod(value_of(each, self.symbols) for each in slot.stored)
                    * numpy_dtype(slot.dtype).itemsize
                )
                self.driver.write(self.addresses[number], np.full(size, NAN, np.uint8))
        return run_call(self, given)

    return run


def _filled(packing: Packing, array: np.ndarray) -> np.ndarray:
    """A packed weight with NaN where it is filled up."""
    after = [(0, most - size) for most, size in zip(packing.padded, array.shape, strict=True)]
    value = np.full(1, NAN, np.uint8).repeat(array.dtype.itemsize).view(array.dtype)[0]
    return np.pad(array, after, constant_values=value)


@contextmanager
def installed() -> Iterator[None]:
    """Inside, all compiled plans run so."""
    with (
        mock.patch.object(arena, "room", guarded),
        mock.patch.object(Runner, "__init__", _guarding(Runner.__init__)),
        mock.patch.object(Runner, "__call__", _watching(Runner.__call__)),
        mock.patch.object(Runner, "_take", _filling(Runner._take)),
        mock.patch.object(Packing, "_filled", _filled),
        mock.patch.object(gpu_runtime._Call, "run", _filling_device(gpu_runtime._Call.run)),
    ):
        yield
