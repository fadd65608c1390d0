"""CUDA's driver: memory of the device, and launches; needs neither TVM nor CUDA's toolkit."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from ....compiler.errors import PlanformError
from ..errors import ArtifactError

LIBRARY = "libcuda.so.1"
_HELP = "run it where there is an NVIDIA GPU with its driver"
_MAJOR, _MINOR = 75, 76
"""The attributes of a device that are its compute capability."""


class DriverError(PlanformError, RuntimeError):
    """What NVIDIA's driver refuses, by its name for it."""


class Driver:
    """The first device; its calls raise `DriverError` where the driver refuses."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._current = threading.local()
        self._call("cuInit", ctypes.c_uint(0))
        count = ctypes.c_int()
        self._call("cuDeviceGetCount", ctypes.byref(count))
        if not count.value:
            raise DriverError("there is no device")
        device = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        self.capability = tuple(self._attribute(each, device) for each in (_MAJOR, _MINOR))
        self._context = ctypes.c_void_p()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), device)

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            text = ctypes.c_char_p()
            self._library.cuGetErrorName(ctypes.c_int(status), ctypes.byref(text))
            raise DriverError(f"{name}: {(text.value or b'error').decode()}")

    def _attribute(self, number: int, device: Any) -> int:
        found = ctypes.c_int()
        self._call("cuDeviceGetAttribute", ctypes.byref(found), ctypes.c_int(number), device)
        return found.value

    def enter(self) -> None:
        """Let the calls of this thread be for the device."""
        if not getattr(self._current, "entered", False):
            self._call("cuCtxSetCurrent", self._context)
            self._current.entered = True

    def module(self, image: bytes) -> ctypes.c_void_p:
        """Load machine code."""
        found = ctypes.c_void_p()
        self._call("cuModuleLoadData", ctypes.byref(found), ctypes.c_char_p(image))
        return found

    def function(self, module: ctypes.c_void_p, name: str) -> ctypes.c_void_p:
        """A kernel of a module."""
        found = ctypes.c_void_p()
        self._call("cuModuleGetFunction", ctypes.byref(found), module, ctypes.c_char_p(name.encode()))
        return found

    def memory(self, bytes: int) -> Memory:
        """So many bytes of the device's, at a multiple of 256."""
        found = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(found), ctypes.c_size_t(max(bytes, 1)))
        return Memory(self, found.value)

    def free(self, address: int) -> None:
        """Give memory back."""
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def write(self, address: int, array: np.ndarray) -> None:
        """Copy an array, row by row, to the device."""
        if array.nbytes:
            where = ctypes.c_void_p(array.ctypes.data)
            self._call("cuMemcpyHtoD_v2", ctypes.c_uint64(address), where, ctypes.c_size_t(array.nbytes))

    def read(self, address: int, array: np.ndarray) -> None:
        """Copy from the device into an array, when what was launched is done."""
        if array.nbytes:
            where = ctypes.c_void_p(array.ctypes.data)
            self._call("cuMemcpyDtoH_v2", where, ctypes.c_uint64(address), ctypes.c_size_t(array.nbytes))

    def launch(self, function: ctypes.c_void_p, blocks: int, threads: int, arguments: Any) -> None:
        """Start a kernel; `arguments` is an array of pointers to its parameters."""
        one = ctypes.c_uint(1)
        sizes = ctypes.c_uint(blocks), one, one, ctypes.c_uint(threads), one, one
        self._call("cuLaunchKernel", function, *sizes, ctypes.c_uint(0), None, arguments, None)

    def wait(self) -> None:
        """Until all that was launched is done."""
        self._call("cuCtxSynchronize")


class Memory:
    """Memory of the device, given back with the object."""

    def __init__(self, driver: Driver, address: int) -> None:
        self.driver = driver
        self.address = address

    def __del__(self) -> None:
        try:
            self.driver.free(self.address)
        except (RuntimeError, AttributeError, TypeError):
            return  # the driver ends before us when Python does


class Arguments:
    """The parameters of a launch, all of 64 bits, whose places are kept for the next one."""

    def __init__(self, count: int) -> None:
        self.values = (ctypes.c_uint64 * max(count, 1))()
        step, start = ctypes.sizeof(ctypes.c_uint64), ctypes.addressof(self.values)
        self.pointers = (ctypes.c_void_p * max(count, 1))(*[start + step * each for each in range(count)])

    def set(self, values: Sequence[int]) -> None:
        """Give the parameters their values."""
        for number, value in enumerate(values):
            self.values[number] = value


def driver() -> Driver:
    """The device's driver; raises `ArtifactError` where there is none."""
    return _driver(LIBRARY)


@cache
def _driver(library: str) -> Driver:
    try:
        return Driver(ctypes.CDLL(library))
    except OSError:
        raise ArtifactError("E713", f"there is no driver of NVIDIA's here: {library}", _HELP) from None
    except RuntimeError as error:
        raise ArtifactError("E713", f"there is no GPU to run on: {error}", _HELP) from None


def check_device(name: str, arch: str) -> None:
    """Raise `ArtifactError` unless there is a GPU that can run what was made for an architecture."""
    major, minor = driver().capability
    here = 10 * major + minor
    wanted = int("".join(each for each in arch if each.isdigit()))
    if here < wanted:
        help = f'compile it with --target \'{{"kind": "cuda", "arch": "sm_{here}"}}\''
        raise ArtifactError("E713", f"{name} is for {arch}, and this GPU is sm_{here}", help)
