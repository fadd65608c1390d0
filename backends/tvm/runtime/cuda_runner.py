"""Runs a program of launches: memory of the device, constants, checks of the inputs; needs no compiler."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from .cuda_driver import Arguments, Memory, driver
from .dtypes import numpy_dtype
from .inputs import check_positions, check_room, symbols_of
from .numpy_ops import function_of
from .program import TURN, Launch, Program, Slot, Step, value_of
from .runner import KEPT_SIZES, filled, fitting

_ALIGNMENT = 256


class GpuRunner:
    """A program with its machine code and weights; call it with one array for each input.

    A call copies the inputs to the device and the results back; one call runs at a time.
    """

    def __init__(self, program: Program, library: bytes, weights: Mapping[str, np.ndarray]) -> None:
        self.program = program
        self.driver = driver()
        self.driver.enter()
        self._module = self.driver.module(library)
        self._functions: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._memory: dict[int, Memory] = {}
        self._host: dict[int, np.ndarray] = {}
        for number, slot in enumerate(program.slots):
            if slot.kind == "weight":
                self._host[number] = fitting(weights, slot)
                self._memory[number] = self._copied(self._host[number])
            elif slot.kind == "constant":
                self._memory[number] = self.driver.memory(_bytes(slot, {}))
        self._places: OrderedDict[tuple[int, ...], _Call] = OrderedDict()
        if program.constants:
            check_room(program, {}, once=True)
            _Call(self, program, {}, program.constants, constants=True).run([])
            check_positions(program, self._read, {}, once=True)

    @property
    def held(self) -> dict[int, np.ndarray]:
        """Weights and constants by slot, as arrays."""
        found = dict(self._host)
        self.driver.enter()
        for number, slot in enumerate(self.program.slots):
            if slot.kind == "constant":
                found[number] = self._read(number)
        return found

    def _read(self, number: int) -> np.ndarray:
        """A weight or constant."""
        slot = self.program.slots[number]
        found = np.empty(_stored(slot, {}), numpy_dtype(slot.dtype))
        self.driver.read(self._memory[number].address, found)
        return found

    def _copied(self, array: np.ndarray) -> Memory:
        found = self.driver.memory(array.nbytes)
        self.driver.write(found.address, array)
        return found

    def function(self, name: str) -> Any:
        """A kernel by name."""
        if name not in self._functions:
            self._functions[name] = self.driver.function(self._module, name)
        return self._functions[name]

    def address(self, slot: int) -> int | None:
        """Where a weight or constant is."""
        found = self._memory.get(slot)
        return None if found is None else found.address

    def symbols_of(self, arrays: Sequence[Any]) -> dict[str, int]:
        """The sizes' values; raises `InputError` unless shapes and types are those of the program."""
        return symbols_of(self.program, arrays)

    def __call__(self, *arrays: np.ndarray) -> Any:
        """The results, in the structure that the plan gives them; raises `InputError`."""
        symbols = self.symbols_of(arrays)
        with self._lock:
            self.driver.enter()
            made = self.call(symbols).run([np.ascontiguousarray(array) for array in arrays])
            check_positions(
                self.program, lambda slot: made[slot] if slot in made else self._read(slot), symbols
            )
        leaves = [
            made[slot].reshape([value_of(size, symbols) for size in shape])
            for slot, shape in self.program.outputs
        ]
        return filled(self.program.tree, leaves)

    def call(self, symbols: Mapping[str, int]) -> _Call:
        """The program placed in memory for some sizes; that of the latest sizes is kept."""
        key = tuple(symbols.values())
        found = self._places.get(key)
        if found is None:
            program = self.program
            if program.arena is None:
                from .offsets import placed

                program = placed(program, symbols, reorder=False)
            found = self._places[key] = _Call(self, program, symbols, program.steps)
            while len(self._places) > KEPT_SIZES:
                self._places.popitem(last=False)
        self._places.move_to_end(key)
        return found


class _Call:
    """Steps for some sizes: where all slots are, and the launches with their parameters."""

    def __init__(
        self,
        runner: GpuRunner,
        program: Program,
        symbols: Mapping[str, int],
        steps: Sequence[Step],
        constants: bool = False,
    ) -> None:
        self.runner = runner
        self.program = program
        self.symbols = dict(symbols)
        self.steps = steps
        self.driver = runner.driver
        self.arena = self.driver.memory(program.arena or 0)
        self.addresses: dict[int, int] = {}
        self._own: list[Memory] = []
        for number, slot in enumerate(program.slots):
            known = runner.address(number)
            if known is not None:
                self.addresses[number] = known
            elif constants or slot.kind == "unused":
                continue
            elif number in program.offsets:
                self.addresses[number] = self.arena.address + program.offsets[number]
            else:
                self._own.append(self.driver.memory(_bytes(slot, symbols)))
                self.addresses[number] = self._own[-1].address
        self._arguments: dict[int, Arguments] = {}

    def run(self, arrays: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
        """Copy the inputs, run, and copy the results of each output's slot."""
        for number, array in enumerate(arrays):
            self.driver.write(self.addresses[number], array)
        self.launch()
        made: dict[int, np.ndarray] = {}
        for number, slot in enumerate(self.program.slots):
            if slot.kind == "output" and number in self.addresses:
                made[number] = np.empty(_stored(slot, self.symbols), numpy_dtype(slot.dtype))
                self.driver.read(self.addresses[number], made[number])
        self.driver.wait()
        return made

    def launch(self) -> None:
        """Run the steps on what is in the device's memory; kernels may be running still at the end."""
        for step in self.steps:
            self._step(step, 0)

    def _step(self, step: Step, turn: int) -> None:
        if step.external:
            self._external(step)
            return
        for each in step.start:
            self._step(each, 0)
        if step.body:
            count = value_of(step.count, self.symbols)
            for number in range(count):
                for each in step.body:
                    self._step(each, count - 1 - number if step.reverse else number)
        for launch in step.launches:
            self._launch(launch, turn)

    def _launch(self, launch: Launch, turn: int) -> None:
        blocks = value_of(launch.blocks, self.symbols)
        if blocks <= 0:
            return
        values = [self.addresses[slot] for slot in launch.slots]
        values += [turn if name == TURN else self.symbols[name] for name in launch.symbols]
        arguments = self._arguments.setdefault(id(launch), Arguments(len(values)))
        arguments.set(values)
        function = self.runner.function(launch.kernel)
        self.driver.launch(function, blocks, launch.threads, arguments.pointers)

    def _external(self, step: Step) -> None:
        """An operator that numpy runs, on copies."""
        operands: list[np.ndarray] = []
        for slot in step.operands:
            about = self.program.slots[slot]
            operands.append(np.empty(_stored(about, self.symbols), numpy_dtype(about.dtype)))
            self.driver.read(self.addresses[slot], operands[-1])
        found = function_of(step, self.program.slots)(operands, self.symbols)
        for slot, array in zip(step.results, found, strict=True):
            about = self.program.slots[slot]
            shape, dtype = _stored(about, self.symbols), numpy_dtype(about.dtype)
            self.driver.write(self.addresses[slot], np.ascontiguousarray(array.reshape(shape), dtype))


def _stored(slot: Slot, symbols: Mapping[str, int]) -> tuple[int, ...]:
    return tuple([value_of(size, symbols) for size in slot.stored])


def _bytes(slot: Slot, symbols: Mapping[str, int]) -> int:
    return prod(_stored(slot, symbols)) * numpy_dtype(slot.dtype).itemsize
