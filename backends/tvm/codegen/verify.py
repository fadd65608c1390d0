"""A verifier of kernels: no element is read before it is written, and each index is inside of its buffer.

Kernels are evaluated at all indices, with sizes and operands that are given, by C that checks each access
(`checked.py`). What they compute comes out too, without TVM's simplifier and LLVM having had a part in it.
"""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from ....compiler.errors import PlanformError
from ..lowering.lower import Lowered
from ..runtime.dtypes import numpy_dtype
from ..runtime.host import architecture
from ..runtime.inputs import symbols_of
from ..runtime.numpy_ops import function_of
from ..runtime.program import TURN, Slot, Step, value_of
from ..runtime.runner import filled
from .checked import KINDS, Source
from .link import compiler

_AXES = 12
_MOST = 256


class CheckError(PlanformError, RuntimeError):
    """Kernels that could not be checked: what the C compiler said."""


class Fault(NamedTuple):
    """A kernel's access that is wrong, and one index at which it is.

    `kind` is one of `checked.KINDS`, or "unfinished" of a result that has elements which nobody wrote.
    """

    kernel: str
    kind: str
    buffer: str
    text: str
    index: tuple[int, ...] = ()


class _Pointer(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("written", ctypes.c_void_p), ("bytes", ctypes.c_int64))


class _Fault(ctypes.Structure):
    _fields_ = (("site", ctypes.c_int64), ("kind", ctypes.c_int64), ("index", ctypes.c_int64 * _AXES))


class Checker:
    """Kernels by name, to be run on arrays."""

    def __init__(self, functions: Mapping[str, Any]) -> None:
        self.source = Source(functions)
        with TemporaryDirectory(prefix="planform-") as folder:
            text, library = Path(folder) / "kernels.c", Path(folder) / "kernels.so"
            text.write_text(self.source.text, encoding="utf-8")
            options = [
                "-O1",
                "-w",
                "-fwrapv",
                "-fno-strict-aliasing",
                "-ffp-contract=off",
                "-shared",
                "-fPIC",
            ]
            command = [*compiler(architecture()), *options, "-o", str(library), str(text), "-lm"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise CheckError(done.stderr[:4000])
            self.library = ctypes.CDLL(str(library))

    def run(
        self,
        name: str,
        operands: Sequence[np.ndarray],
        results: Sequence[np.ndarray],
        sizes: Sequence[int] = (),
    ) -> list[Fault]:
        """Run a kernel, which writes `results`; what is wrong with it. Nothing of them may be read before."""
        arrays = [*operands, *results]
        written = [None] * len(operands) + [np.zeros(max(array.size, 1), np.uint32) for array in results]
        pointers = (_Pointer * max(len(arrays), 1))()
        for pointer, array, mask in zip(pointers, arrays, written, strict=False):
            pointer.data, pointer.bytes = array.ctypes.data, array.nbytes
            pointer.written = None if mask is None else mask.ctypes.data
        count = ctypes.c_int64.in_dll(self.library, "found")
        count.value = 0
        self.library[name](pointers, (ctypes.c_int64 * max(len(sizes), 1))(*sizes))
        faults = (_Fault * _MOST).in_dll(self.library, "faults")
        found = [self._fault(name, faults[number]) for number in range(count.value)]
        for number, (array, mask) in enumerate(zip(results, written[len(operands) :], strict=True)):
            assert mask is not None
            if not mask[: array.size].all():
                index = np.unravel_index(int(mask[: array.size].argmin()), array.shape)
                found.append(Fault(name, "unfinished", f"y{number}", "", tuple(int(at) for at in index)))
        return found

    def _fault(self, name: str, fault: Any) -> Fault:
        site = self.source.sites[fault.site]
        text = str(site.access).strip().splitlines()[-1].strip()
        return Fault(name, KINDS[fault.kind], site.buffer, text, tuple(fault.index))


class Verified(NamedTuple):
    """What a program gives, and all that is wrong with its kernels."""

    results: Any
    faults: list[Fault]


def verified(
    lowered: Lowered, inputs: Sequence[np.ndarray], weights: Mapping[str, np.ndarray] | None = None
) -> Verified:
    """Run a program on checked kernels; each value has memory of its own. `weights` are packed, by key."""
    return _Run(lowered, inputs, weights or {}).run()


class _Run:
    def __init__(
        self, lowered: Lowered, inputs: Sequence[np.ndarray], weights: Mapping[str, np.ndarray]
    ) -> None:
        self.program = program = lowered.program
        self.checker = Checker(lowered.functions)
        self.symbols = symbols_of(program, inputs)
        self.faults: list[Fault] = []
        self.arrays: list[np.ndarray] = []
        for number, slot in enumerate(program.slots):
            if slot.kind == "input" and number < len(inputs):
                self.arrays.append(np.ascontiguousarray(inputs[number]))
            elif slot.kind == "weight":
                self.arrays.append(weights[str(slot.key)])
            else:
                self.arrays.append(self._empty(slot))

    def run(self) -> Verified:
        """All steps, one after the other."""
        for step in (*self.program.constants, *self.program.steps):
            self._step(step, 0)
        leaves = [
            self.arrays[slot].reshape([value_of(size, self.symbols) for size in shape])
            for slot, shape in self.program.outputs
        ]
        return Verified(filled(self.program.tree, leaves), self.faults)

    def _empty(self, slot: Slot) -> np.ndarray:
        shape, dtype = [value_of(size, self.symbols) for size in slot.stored], numpy_dtype(slot.dtype)
        return np.full(prod(shape) * dtype.itemsize, 0xFF, np.uint8).view(dtype).reshape(shape)

    def _step(self, step: Step, turn: int) -> None:
        if step.external:
            operands = [self.arrays[slot] for slot in step.operands]
            made = function_of(step, self.program.slots)(operands, self.symbols)
            for slot, array in zip(step.results, made, strict=True):
                np.copyto(self.arrays[slot], array.reshape(self.arrays[slot].shape))
            return
        if step.body:
            for each in step.start:
                self._step(each, 0)
            count = value_of(step.count, self.symbols)
            for number in range(count):
                for each in step.body:
                    self._step(each, count - 1 - number if step.reverse else number)
            return
        sizes = [turn if name == TURN else self.symbols[name] for name in step.symbols]
        operands = [self.arrays[slot] for slot in step.operands]
        results = [self.arrays[slot] for slot in step.results]
        self.faults += [
            fault
            for fault in self.checker.run(step.function, operands, results, sizes)
            if fault.kind != "unfinished" or self._must_be_full(step, int(fault.buffer[1:]))
        ]

    def _must_be_full(self, step: Step, number: int) -> bool:
        """Whether a kernel writes all of a result: not what fills a layout up, nor all that a slice is of."""
        slot = self.program.slots[step.results[number]]
        sizes = [prod(value_of(size, self.symbols) for size in shape) for shape in (slot.shape, slot.stored)]
        return TURN not in step.symbols and sizes[0] == sizes[1]
