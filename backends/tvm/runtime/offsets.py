"""Where the values of a program are in one arena."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ....compiler.memory.arrangement import Arrangement, arrange
from ....compiler.memory.problem import Problem, Task
from .dtypes import numpy_dtype
from .program import Program, value_of


def placed(program: Program, symbols: Mapping[str, int], reorder: bool = True) -> Program:
    """The program with its steps ordered, and a place in one arena for each of its slots."""
    problem, numbers = _problem(program, symbols)
    found: Arrangement = arrange(problem, reorder)
    offsets = {slot: found.offsets[number] for slot, number in numbers.items()}
    steps = tuple(program.steps[task] for task in found.order)
    return replace(program, steps=steps, offsets=offsets, arena=found.size)


def _problem(program: Program, symbols: Mapping[str, int]) -> tuple[Problem, dict[int, int]]:
    numbers: dict[int, int] = {}
    sizes: list[int] = []
    tasks: list[Task] = []
    for slot, about in enumerate(program.slots):
        if about.kind == "arena":
            numbers[slot] = len(sizes)
            count = 1
            for size in about.stored:
                count *= value_of(size, symbols)
            sizes.append(count * numpy_dtype(about.dtype).itemsize)
    # What the caller gets is not in the arena, and may be read on the way.
    writer = {slot: number for number, step in enumerate(program.steps) for slot in step.results}
    ordered: list[int] = []
    for number, step in enumerate(program.steps):
        reads = tuple(dict.fromkeys(numbers[slot] for slot in step.operands if slot in numbers))
        writes = tuple(numbers[slot] for slot in step.results if slot in numbers)
        overlays = tuple((writes[0], numbers[slot]) for slot in step.over if slot in numbers and writes)
        after = [writer[slot] for slot in step.operands if slot in writer and slot not in numbers]
        after += ordered[-1:] if step.external else []
        tasks.append(Task(reads, writes, overlays, tuple(dict.fromkeys(after))))
        if step.external:
            ordered.append(number)
    return Problem(tuple(sizes), tuple(tasks)), numbers
