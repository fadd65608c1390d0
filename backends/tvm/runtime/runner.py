"""Runs a compiled program: memory, constants, checks of the inputs; needs no compiler.

A runner may be called from several threads: each call takes a workspace that no other call has.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from ....compiler.errors import ArgumentError
from .arena import aligned_array, aligned_copy
from .dtypes import numpy_dtype
from .inputs import check_positions, check_room, symbols_of
from .libraries import ffi
from .numpy_ops import function_of
from .program import Program, Slot, Step, is_leaf, segments, value_of

# Workspaces are kept for that many of the latest sizes of the inputs, and checks for as many shapes.
KEPT_SIZES = 8
_KEPT_CHECKS = 64

_Run = Callable[["Workspace"], Any]


class Workspace:
    """Memory for a call: pointers to all slots, of which a call sets those of inputs and outputs.

    Without `symbols` it is enough for the constants, which read no input and need no arena.
    """

    def __init__(
        self, program: Program, held: Mapping[int, np.ndarray], symbols: Mapping[str, int] | None = None
    ) -> None:
        self.symbols = symbols or {}
        # The function that calls the kernels takes for granted that both are aligned.
        self.table = aligned_copy(np.zeros(max(len(program.slots), 1), np.int64))
        sizes = [self.symbols.get(each.symbol, 0) for each in program.readings]
        self.sizes = aligned_copy(np.array(sizes or [0], np.int64))
        self.arguments = ffi().from_dlpack(self.table), ffi().from_dlpack(self.sizes)
        self.arena = aligned_array([program.arena or 0], np.dtype(np.uint8))
        self.arrays: dict[int, np.ndarray] = dict(held)
        for slot, array in held.items():
            self.table[slot] = array.ctypes.data
        if symbols is None:
            return
        for slot, offset in program.offsets.items():
            self.table[slot] = self.arena.ctypes.data + offset
        self.outputs = [
            (number, _stored(slot, self.symbols), numpy_dtype(slot.dtype))
            for number, slot in enumerate(program.slots)
            if slot.kind == "output"
        ]
        self.external = any(step.external for step in program.steps)
        if self.external:
            for slot, offset in program.offsets.items():
                self.arrays[slot] = self._view(program.slots[slot], offset)

    def _view(self, slot: Slot, offset: int) -> np.ndarray:
        shape, dtype = _stored(slot, self.symbols), numpy_dtype(slot.dtype)
        return self.arena[offset : offset + prod(shape) * dtype.itemsize].view(dtype).reshape(shape)


class _Sizes:
    """The program placed in memory for some sizes of the inputs, and the workspaces that no call has now."""

    def __init__(self, program: Program, symbols: Mapping[str, int], run: Sequence[_Run]) -> None:
        self.program = program
        self.symbols = symbols
        self.run = run
        self.free: list[Workspace] = []


class Runner:
    """A program with its library and weights; call it with one array for each input.

    `weights` are C-contiguous arrays by path, which are read where they are.
    """

    def __init__(self, program: Program, library: Any, weights: Mapping[str, np.ndarray]) -> None:
        self.program = program
        self.library = library
        self.held: dict[int, np.ndarray] = {}
        for number, slot in enumerate(program.slots):
            if slot.kind == "weight":
                self.held[number] = fitting(weights, slot)
            elif slot.kind == "constant":
                self.held[number] = aligned_array(_stored(slot, {}), numpy_dtype(slot.dtype))
        self._sizes: OrderedDict[tuple[int, ...], _Sizes] = OrderedDict()
        self._accepted: dict[Any, dict[str, int]] = {}
        self._lock = threading.Lock()
        self._call = self._compile("call", program.steps)
        if program.constants:
            check_room(program, {}, once=True)
            workspace = Workspace(program, self.held)
            for run in self._compile("constants", program.constants):
                run(workspace)
            check_positions(program, self.held.__getitem__, {}, once=True)

    def _compile(self, phase: str, steps: tuple[Step, ...]) -> list[_Run]:
        found: list[_Run] = []
        for number, segment in enumerate(segments(steps)):
            if segment[0].external:
                found.append(_external(segment[0], self.program.slots))
            else:
                function = self.library[f"{phase}_{number}"]
                found.append(lambda workspace, function=function: function(*workspace.arguments))
        return found

    def symbols_of(self, arrays: Sequence[Any]) -> dict[str, int]:
        """The sizes' values; raises `InputError` unless shapes and types are those of the program."""
        seen = tuple([(x.shape, x.dtype) if isinstance(x, np.ndarray) else None for x in arrays])
        found = self._accepted.get(seen)
        if found is None:
            found = symbols_of(self.program, arrays)
            if len(self._accepted) >= _KEPT_CHECKS:
                self._accepted.clear()
            self._accepted[seen] = found
        return found

    def __call__(self, *arrays: np.ndarray) -> Any:
        """The results, in the structure that the plan gives them; raises `InputError`."""
        symbols = self.symbols_of(arrays)
        given = [array if array.flags.c_contiguous else np.ascontiguousarray(array) for array in arrays]
        sizes, workspace = self._take(symbols)
        try:
            table = workspace.table
            made: dict[int, np.ndarray] = {}
            for number, shape, dtype in workspace.outputs:
                array = made[number] = aligned_array(shape, dtype)
                table[number] = array.ctypes.data
            for number, array in enumerate(given):
                table[number] = array.ctypes.data
            if workspace.external:
                workspace.arrays.update(made)
                workspace.arrays.update(enumerate(given))
            for run in sizes.run:
                run(workspace)
        finally:
            with self._lock:
                sizes.free.append(workspace)
        check_positions(self.program, lambda slot: made.get(slot, self.held.get(slot)), symbols)
        leaves = [
            made[slot].reshape([value_of(size, symbols) for size in shape])
            for slot, shape in self.program.outputs
        ]
        return filled(self.program.tree, leaves)

    def _take(self, symbols: dict[str, int]) -> tuple[_Sizes, Workspace]:
        key = tuple(symbols.values())
        with self._lock:
            sizes = self._sizes.get(key)
            if sizes is not None:
                self._sizes.move_to_end(key)
                if sizes.free:
                    return sizes, sizes.free.pop()
        if sizes is None:
            sizes = self._placed(symbols)
            with self._lock:
                sizes = self._sizes.setdefault(key, sizes)
                while len(self._sizes) > KEPT_SIZES:
                    self._sizes.popitem(last=False)
        return sizes, Workspace(sizes.program, self.held, sizes.symbols)

    def _placed(self, symbols: Mapping[str, int]) -> _Sizes:
        program = self.program
        if program.arena is None:
            from .offsets import placed

            program = placed(program, symbols, reorder=False)
        return _Sizes(program, symbols, self._call)


def _external(step: Step, slots: Sequence[Slot]) -> _Run:
    function = function_of(step, slots)

    def run(workspace: Workspace) -> None:
        found = function([workspace.arrays[slot] for slot in step.operands], workspace.symbols)
        for slot, array in zip(step.results, found, strict=True):
            np.copyto(workspace.arrays[slot], array.reshape(workspace.arrays[slot].shape))

    return run


def _stored(slot: Slot, symbols: Mapping[str, int]) -> tuple[int, ...]:
    return tuple([value_of(size, symbols) for size in slot.stored])


def fitting(weights: Mapping[str, np.ndarray], slot: Slot) -> np.ndarray:
    """The weight of a slot; kernels would read past the end of one that is smaller."""
    found = weights.get(str(slot.key))
    shape, dtype = _stored(slot, {}), numpy_dtype(slot.dtype)
    if found is None or found.shape != shape or found.dtype != dtype or not found.flags.c_contiguous:
        got = "missing" if found is None else f"{found.dtype} {list(found.shape)}"
        raise ArgumentError(f"the weight {slot.key} is {got}, and must be {dtype} {list(shape)}, row by row")
    return found


def filled(tree: Any, leaves: Sequence[Any]) -> Any:
    """The structure of the results, with the leaves that it numbers."""
    if is_leaf(tree):
        return leaves[tree["leaf"]]
    if isinstance(tree, dict):
        return {key: filled(item, leaves) for key, item in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(filled(item, leaves) for item in tree)
    return tree
