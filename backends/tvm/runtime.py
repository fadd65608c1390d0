"""Runs a compiled program: memory, constants, checks of the inputs; needs no compiler.

A runner may be called from several threads: each call takes a workspace that no other call has.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tvm_ffi

from .dtypes import numpy_dtype
from .memory import placed
from .program import Program, Slot, Step, segments, value_of

ALIGNMENT = 64


class CallError(ValueError):
    """Inputs that the program does not take."""


def aligned(bytes: int) -> np.ndarray:
    """Room for so many bytes at a multiple of `ALIGNMENT`."""
    whole = np.empty(max(bytes, 1) + ALIGNMENT, np.uint8)
    start = -whole.ctypes.data % ALIGNMENT
    return whole[start : start + max(bytes, 1)]


def aligned_copy(array: np.ndarray) -> np.ndarray:
    """The array, row by row, at a multiple of `ALIGNMENT`."""
    found = aligned(array.nbytes).view(np.uint8)[: array.nbytes].view(array.dtype).reshape(array.shape)
    np.copyto(found, array)
    return found


class Workspace:
    """Memory for calls with these sizes: pointers to all slots, of which a call sets inputs and outputs."""

    def __init__(self, runner: Runner, symbols: Mapping[str, int]) -> None:
        program = runner.program
        if program.arena is None:
            program = placed(program, symbols, reorder=False)
        self.program = program
        self.symbols = symbols
        self.table = np.zeros(max(len(program.slots), 1), np.int64)
        self.sizes = np.array([symbols[each.symbol] for each in program.readings] or [0], np.int64)
        self.arguments = tvm_ffi.from_dlpack(self.table), tvm_ffi.from_dlpack(self.sizes)
        self.arena = aligned(program.arena or 0)
        for slot, array in runner.held.items():
            self.table[slot] = array.ctypes.data
        for slot, offset in program.offsets.items():
            self.table[slot] = self.arena.ctypes.data + offset
        self.arrays: dict[int, np.ndarray] = dict(runner.held)
        self.outputs = [
            (number, tuple(value_of(size, symbols) for size in slot.stored), numpy_dtype(slot.dtype))
            for number, slot in enumerate(program.slots)
            if slot.kind == "output"
        ]
        self.external = any(step.external for step in program.steps)
        if self.external:
            for slot, offset in program.offsets.items():
                self.arrays[slot] = self._view(slot, offset)

    def _view(self, slot: int, offset: int) -> np.ndarray:
        about: Slot = self.program.slots[slot]
        shape = tuple(value_of(size, self.symbols) for size in about.stored)
        dtype = numpy_dtype(about.dtype)
        count = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        return self.arena[offset : offset + count].view(dtype).reshape(shape)


class Runner:
    """A program with its library and weights; call it with one array for each input."""

    def __init__(self, program: Program, library: Any, weights: Mapping[str, np.ndarray]) -> None:
        self.program = program
        self.library = library
        self.held: dict[int, np.ndarray] = {}
        for number, slot in enumerate(program.slots):
            if slot.kind == "weight":
                self.held[number] = weights[str(slot.key)]
            elif slot.kind == "constant":
                shape = tuple(value_of(size, {}) for size in slot.stored)
                dtype = numpy_dtype(slot.dtype)
                count = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
                self.held[number] = aligned(count)[:count].view(dtype).reshape(shape)
        self._free: dict[tuple[int, ...], list[Workspace]] = {}
        self._lock = threading.Lock()
        self._call = self._compile("call", program.steps)
        if program.constants:
            workspace = self._bare()
            for run in self._compile("constants", program.constants):
                run(workspace)

    def _bare(self) -> Workspace:
        """Enough for constants, which read no input and need no arena."""
        workspace = Workspace.__new__(Workspace)
        workspace.program = self.program
        workspace.symbols = {}
        workspace.table = np.zeros(max(len(self.program.slots), 1), np.int64)
        workspace.sizes = np.zeros(max(len(self.program.readings), 1), np.int64)
        workspace.arguments = tvm_ffi.from_dlpack(workspace.table), tvm_ffi.from_dlpack(workspace.sizes)
        workspace.arrays = dict(self.held)
        for slot, array in self.held.items():
            workspace.table[slot] = array.ctypes.data
        return workspace

    def _compile(self, phase: str, steps: tuple[Step, ...]) -> list[Callable[[Workspace], None]]:
        found: list[Callable[[Workspace], None]] = []
        for number, segment in enumerate(segments(steps)):
            if segment[0].external:
                found.append(self._external(segment[0]))
            else:
                function = self.library[f"{phase}_{number}"]
                found.append(lambda workspace, function=function: function(*workspace.arguments))
        return found

    def _external(self, step: Step) -> Callable[[Workspace], None]:
        from .external import function_of

        function = function_of(step)

        def run(workspace: Workspace) -> None:
            found = function([workspace.arrays[slot] for slot in step.operands], workspace.symbols)
            for slot, array in zip(step.results, found, strict=True):
                np.copyto(workspace.arrays[slot], array.reshape(workspace.arrays[slot].shape))

        return run

    def symbols_of(self, arrays: Sequence[Any]) -> dict[str, int]:
        """The sizes' values, after the check that shapes and types are those of the program."""
        program = self.program
        if len(arrays) != len(program.inputs):
            names = ", ".join(port.name for port in program.inputs)
            raise CallError(f"{program.name} takes {len(program.inputs)} inputs ({names}), got {len(arrays)}")
        symbols: dict[str, int] = {}
        for reading in program.readings:
            shape = arrays[reading.input].shape
            port = program.inputs[reading.input]
            if len(shape) == len(port.shape):
                symbols[reading.symbol] = (shape[reading.axis] - reading.offset) // reading.factor
        for port, array in zip(program.inputs, arrays, strict=True):
            wanted = str(numpy_dtype(port.dtype))
            if str(array.dtype) != wanted:
                raise CallError(f"{port.name} is {array.dtype}, and must be {port.dtype}")
            expected = _sizes(port.shape, symbols)
            if tuple(array.shape) != expected:
                shown = ", ".join(_text(size) for size in port.shape)
                raise CallError(f"{port.name} is {list(array.shape)}, and must be [{shown}]")
        for relation, left, right, message in program.guards:
            a, b = value_of(left, symbols), value_of(right, symbols)
            holds = {"==": a == b, ">=": a >= b, "%": b != 0 and a % b == 0}[relation]
            if not holds:
                raise CallError(
                    f"{message}: {_text(left)} {relation} {_text(right)} does not hold of {symbols}"
                )
        return symbols

    def __call__(self, *arrays: np.ndarray) -> Any:
        """The results, in the structure that the plan gives them."""
        symbols = self.symbols_of(arrays)
        given = [array if array.flags.c_contiguous else np.ascontiguousarray(array) for array in arrays]
        key = tuple(symbols.values())
        workspace = self._take(key, symbols)
        try:
            table = workspace.table
            made: dict[int, np.ndarray] = {}
            for number, shape, dtype in workspace.outputs:
                array = made[number] = np.empty(shape, dtype)
                table[number] = array.ctypes.data
            for number, array in enumerate(given):
                table[number] = array.ctypes.data
            if workspace.external:
                workspace.arrays.update(made)
                workspace.arrays.update(enumerate(given))
            for run in self._call:
                run(workspace)
        finally:
            with self._lock:
                self._free[key].append(workspace)
        leaves = [
            made[slot].reshape(tuple(value_of(size, symbols) for size in shape))
            for slot, shape in self.program.outputs
        ]
        return _filled(self.program.tree, leaves)

    def _take(self, key: tuple[int, ...], symbols: Mapping[str, int]) -> Workspace:
        with self._lock:
            free = self._free.setdefault(key, [])
            if free:
                return free.pop()
        return Workspace(self, symbols)


def _sizes(shape: Sequence[Any], symbols: Mapping[str, int]) -> tuple[int, ...] | None:
    try:
        return tuple(value_of(size, symbols) for size in shape)
    except KeyError:
        return None


def _text(formula: Any) -> str:
    if not isinstance(formula, (list, tuple)):
        return str(formula)
    kind, *rest = formula
    signs = {"add": " + ", "mul": "*", "floordiv": "//", "mod": "%", "pow": "**"}
    if kind in signs:
        return "(" + signs[kind].join(_text(each) for each in rest) + ")"
    return f"{kind}({', '.join(_text(each) for each in rest)})"


def _filled(tree: Any, leaves: Sequence[np.ndarray]) -> Any:
    """The structure of the results, with arrays for leaves."""
    if isinstance(tree, dict):
        if set(tree) == {"leaf"}:
            return leaves[tree["leaf"]]
        return {key: _filled(item, leaves) for key, item in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(_filled(item, leaves) for item in tree)
    return tree
