"""Loop nests for any tensors: the kernel of a group for which there is no better template.

What is worked out element by element has no buffer. The others are stages, in order: what is reduced, built,
kept, or a result. Stages whose first axes run in step share the loops over them, so that a softmax or a norm
is one pass over its rows, each of which stays in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any

from tvm import tirx
from tvm_ffi import structural_equal

from ....compiler.devices import Cpu
from ..tensor_ir.access import (
    PARALLEL,
    divides,
    index_variables,
    is_in_memory,
    lies_along,
    logical_index,
    merged_axes,
    product_of,
    reads_of,
    same_size,
    split_index,
)
from ..tensor_ir.expressions import emitting
from ..tensor_ir.indices import declared, index_const
from ..tensor_ir.layouts import PLAIN
from ..tensor_ir.loops import Expr, Loops
from ..tensor_ir.tensors import Access, Computed, Extern, Reduced, Tensor
from .reductions import emit_reduced


def emit_nest(loops: Loops, made: Sequence[Tensor], results: Sequence[Tensor], machine: Cpu) -> None:
    """Write the loops that compute `results`, whose buffers are given, from tensors made in this order."""
    if all(any(isinstance(size, int) and size == 0 for size in each.shape) for each in results):
        return
    stages = stages_of(made, results)
    inner = [stage for stage in stages if stage.buffer is None]
    for stage in inner:
        stage.buffer = declared(stage.layout.shape(stage.shape), stage.dtype)
    shared = _shared_axes(stages, machine)
    for stage in inner:
        stage.buffer = None
    if not shared:
        for stage in stages:
            _allocate(loops, [stage] if stage in inner else [], 0)
            _emit(loops, stage, [], machine, parallel=True)
        return
    extents = stages[0].shape[:shared]
    with loops.loop(product_of(extents), "row", "parallel") as row:
        prefix = split_index(row, extents)
        _allocate(loops, inner, shared)
        for stage in stages:
            _emit(loops, stage, prefix, machine, parallel=False)


def stages_of(made: Sequence[Tensor], results: Sequence[Tensor]) -> list[Tensor]:
    """The tensors that get a buffer and are needed, in order; of a program of several results the first."""
    needed: set[Tensor] = set()
    kept = {*results}
    for tensor in reversed(made):
        if isinstance(tensor, Extern) and any(each in needed for each in tensor.program.results):
            needed.add(tensor)
        if tensor not in kept and tensor not in needed:
            continue
        needed.add(tensor)
        needed.update(access.tensor for access in reads_of(tensor))
    found: list[Tensor] = []
    for tensor in made:
        stage = isinstance(tensor, (Reduced, Extern)) or tensor in kept
        if tensor in needed and (stage or (isinstance(tensor, Computed) and tensor.keep)):
            found.append(tensor)
    return found


def _shared_axes(stages: Sequence[Tensor], machine: Cpu) -> int:
    """How many first axes all stages have in common, and read each other at; 0 where that is too little."""
    if len(stages) < 2 or any(isinstance(stage, Extern) for stage in stages):
        return 0
    if any(stage.layout != PLAIN for stage in stages):
        return 0
    # A stage that is not reduced keeps a loop of its own, over neighbours in memory.
    common = min(stage.rank if isinstance(stage, Reduced) else max(stage.rank - 1, 0) for stage in stages)
    for stage in stages:
        indices = index_variables(stage.shape, "i")
        accesses = reads_of(stage, indices)
        count = 0
        while count < common and same_size(stage.shape[count], stages[0].shape[count]):
            in_step = all(
                access.indices[count].same_as(indices[count])
                or (isinstance(stage.shape[count], int) and stage.shape[count] == 1)
                for access in accesses
                if access.tensor in stages
            )
            if not in_step or (isinstance(stage, Reduced) and lies_along(accesses, indices[count])):
                break
            count += 1
        common = count
    rows = product_of(stages[0].shape[:common])
    return 0 if isinstance(rows, int) and rows < 2 * machine.threads else common


def _allocate(loops: Loops, stages: Sequence[Tensor], outer: int) -> None:
    for stage in stages:
        group = stage.program.results if isinstance(stage, Extern) else [stage]
        for each in group:
            if each.buffer is None:
                each.outer = outer
                shape = each.layout.shape(each.shape[outer:])
                each.buffer = loops.alloc(shape, each.dtype, "stage")


def _emit(loops: Loops, stage: Tensor, prefix: list[Expr], machine: Cpu, parallel: bool) -> None:
    if isinstance(stage, Extern):
        # A program has several results, and is written with the first.
        if stage is next(each for each in stage.program.results):
            _allocate(loops, [stage], 0)
            with emitting(loops):
                stage.program.emit(loops, [each.buffer for each in stage.program.results])
    elif isinstance(stage, Reduced):
        emit_reduced(loops, stage, prefix, machine, parallel)
    else:
        _emit_computed(loops, stage, prefix, machine, parallel)


def _emit_computed(loops: Loops, stage: Tensor, prefix: list[Expr], machine: Cpu, parallel: bool) -> None:
    """Loops over the buffer's axes; those that every operand has side by side too are one."""
    physical = stage.layout.shape(stage.shape[len(prefix) :])
    variables = index_variables(physical, "i")
    logical = logical_index(stage, prefix, variables)
    accesses = [Access(stage, logical), *reads_of(stage, logical)]
    groups = merged_axes(physical, variables, accesses)
    extents = [product_of([physical[axis] for axis in group]) for group in groups]
    number, starts = _cuts(stage, logical, accesses, len(prefix), groups)

    def write(at: Sequence[Expr]) -> None:
        index: list[Any] = [index_const(0)] * len(physical)
        for group, position in zip(groups, at, strict=True):
            for axis, part in zip(group, split_index(position, [physical[a] for a in group]), strict=True):
                index[axis] = part
        found = logical_index(stage, prefix, index)
        with guard(found), emitting(loops):
            value = stage.at(found)
            loops.store(stage.buffer, value, *stage.place(found))

    def guard(found: tuple[Expr, ...]) -> AbstractContextManager[None]:
        """Keeps to the channels that there are, where others could lie outside of an operand."""
        axis = stage.layout.axis
        if axis is None or not stage.layout.block or divides(stage.layout.block, stage.shape[axis]):
            return nullcontext()
        if all(access.tensor.layout == stage.layout for access in accesses if is_in_memory(access.tensor)):
            return nullcontext()
        return loops.when(found[axis] < stage.shape[axis])

    for first, last in pairwise([0, *starts, extents[number] if extents else 1]):
        if not starts:
            _run(loops, extents, write, parallel, machine)
            break

        def part(at: Sequence[Expr], first: Any = first) -> None:
            write([each + first if axis == number else each for axis, each in enumerate(at)])

        _run(loops, [*extents[:number], last - first, *extents[number + 1 :]], part, parallel, machine)


_PIECES = 40
"""Pieces of which each gets a loop of its own, at most."""


def _cuts(
    stage: Tensor,
    logical: Sequence[Expr],
    accesses: Sequence[Access],
    outer: int,
    groups: Sequence[Sequence[int]],
) -> tuple[int, list[int]]:
    """The group of axes that is cut into pieces which are worked out in different ways, and where."""
    for tensor, indices in accesses:
        if not isinstance(tensor, Computed) or tensor.cuts is None:
            continue
        if tensor is not stage and tensor.buffer is not None:
            continue
        axis, places = tensor.cuts
        own = next((n for n, each in enumerate(logical) if structural_equal(each, indices[axis])), None)
        if own is None:
            continue
        size, whole = stage.shape[own], tensor.shape[axis]
        if isinstance(size, int):
            # The stage may be the first part of it alone.
            places = [place for place in places if not isinstance(place, int) or place < size]
        elif not structural_equal(size, whole):
            continue
        physical, block = stage.layout.axis_of(own, stage.rank)
        known = all(isinstance(place, int) and place % block == 0 for place in places)
        at = next((n for n, group in enumerate(groups) if list(group) == [physical - outer]), None)
        if known and at is not None and 0 < len(places) < _PIECES:
            return at, [place // block for place in places]
    return 0, []


def _run(loops: Loops, extents: Sequence[Any], write: Any, parallel: bool, machine: Cpu) -> None:
    """The last axis in the innermost loop; the others, or parts of it, on all threads."""
    total = product_of(extents)
    shared = parallel and not (isinstance(total, int) and total < PARALLEL)
    kind = "parallel" if shared else "serial"
    if not extents:
        write([])
    elif len(extents) > 1:
        with loops.loop(product_of(extents[:-1]), "o", kind) as outer:
            at = [loops.let(each, "i") for each in split_index(outer, extents[:-1])]
            with loops.loop(extents[-1], "j") as last:
                write([*at, last])
    elif shared:
        size = extents[0]
        part = -(-size // machine.threads) if isinstance(size, int) else tirx.ceildiv(size, machine.threads)
        with loops.loop(machine.threads, "part", "parallel") as number:
            start = loops.let(number * part, "start")
            with loops.loop(tirx.max(tirx.min(part, size - start), 0), "j") as last:
                write([start + last])
    else:
        with loops.loop(extents[0], "j") as last:
            write([last])
