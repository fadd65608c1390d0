"""Loop nests for any tensors: the kernel of a group for which there is no better template.

What is worked out element by element has no buffer. The others are stages, in order: what is reduced, built,
kept, or a result. Stages whose first axes run in step share the loops over them, so that a softmax or a norm
is one pass over its rows, each of which stays in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any, NamedTuple

import tvm
from tvm import tirx
from tvm_ffi import structural_equal

from .elementary import Functions
from .expressions import emitting
from .layouts import PLAIN
from .loops import Expr, Loops
from .machine import Machine
from .tensors import Access, Built, Computed, Reduced, Source, Tensor, watch

_PARALLEL = 1 << 14
"""Elements from which on a loop is worth several threads."""


class Axis(NamedTuple):
    """A loop: its variable for analysis, how often it turns, and the axes that it runs over."""

    variable: Expr
    extent: Any


def emit_nest(loops: Loops, made: Sequence[Tensor], results: Sequence[Tensor], machine: Machine) -> None:
    """Write the loops that compute `results`, whose buffers are given, from tensors made in this order."""
    if all(any(isinstance(size, int) and size == 0 for size in each.shape) for each in results):
        return
    stages = _stages(made, results)
    inner = [stage for stage in stages if stage.buffer is None]
    for stage in inner:
        stage.buffer = tirx.decl_buffer(stage.layout.shape(stage.shape) or [1], stage.dtype)
    shared = _shared_axes(stages, machine)
    for stage in inner:
        stage.buffer = None
    if not shared:
        for stage in stages:
            _allocate(loops, [stage] if stage in inner else [], 0)
            _emit(loops, stage, [], machine, parallel=True)
        return
    extents = stages[0].shape[:shared]
    with loops.loop(_product(extents), "row", "parallel") as row:
        prefix = _split(row, extents)
        _allocate(loops, inner, shared)
        for stage in stages:
            _emit(loops, stage, prefix, machine, parallel=False)


def _stages(made: Sequence[Tensor], results: Sequence[Tensor]) -> list[Tensor]:
    """The tensors that get a buffer and are needed, in order; of a program of several results the first."""
    needed: set[Tensor] = set()
    kept = {*results}
    for tensor in reversed(made):
        if isinstance(tensor, Built) and any(each in needed for each in tensor.program.results):
            needed.add(tensor)
        if tensor not in kept and tensor not in needed:
            continue
        needed.add(tensor)
        needed.update(access.tensor for access in _reads(tensor))
    found: list[Tensor] = []
    for tensor in made:
        stage = isinstance(tensor, (Reduced, Built)) or tensor in kept
        if tensor in needed and (stage or (isinstance(tensor, Computed) and tensor.keep)):
            found.append(tensor)
    return found


def _variables(shape: Sequence[Any], name: str) -> tuple[Expr, ...]:
    return tuple(
        tirx.Var(f"{name}{axis}", "int32" if isinstance(size, int) else "int64")
        for axis, size in enumerate(shape)
    )


def _reads(tensor: Tensor, at: tuple[Expr, ...] = (), reduced: tuple[Expr, ...] = ()) -> list[Access]:
    """What one element of a tensor reads, at these indices."""
    if isinstance(tensor, Source):
        return []
    if isinstance(tensor, Built):
        outs = [tirx.decl_buffer(each.shape or [1], each.dtype) for each in tensor.program.results]
        return watch(lambda: tensor.program.emit(Loops(), outs))
    indices = at or _variables(tensor.shape, "i")
    if isinstance(tensor, Reduced):
        over = reduced or _variables(tensor.extents, "k")
        return watch(lambda: tensor.function(*indices, *over))
    return watch(lambda: tensor.at(indices))


def _shared_axes(stages: Sequence[Tensor], machine: Machine) -> int:
    """How many first axes all stages have in common, and read each other at; 0 where that is too little."""
    if len(stages) < 2 or any(isinstance(stage, Built) for stage in stages):
        return 0
    if any(stage.layout != PLAIN for stage in stages):
        return 0
    # A stage that is not reduced keeps a loop of its own, over neighbours in memory.
    common = min(stage.rank if isinstance(stage, Reduced) else max(stage.rank - 1, 0) for stage in stages)
    for stage in stages:
        indices = _variables(stage.shape, "i")
        accesses = _reads(stage, indices)
        count = 0
        while count < common and _same(stage.shape[count], stages[0].shape[count]):
            in_step = all(
                access.indices[count].same_as(indices[count])
                or (isinstance(stage.shape[count], int) and stage.shape[count] == 1)
                for access in accesses
                if access.tensor in stages
            )
            if not in_step or (isinstance(stage, Reduced) and _lies_along(accesses, indices[count])):
                break
            count += 1
        common = count
    rows = _product(stages[0].shape[:common])
    return 0 if isinstance(rows, int) and rows < 2 * machine.threads else common


def _lies_along(accesses: Sequence[Access], variable: Expr) -> bool:
    """Whether neighbours in an operand's memory are neighbours along an axis of the result."""
    return any(
        _uses(access.tensor.place(access.indices)[-1], variable)
        for access in accesses
        if _in_memory(access.tensor)
    )


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, int) or isinstance(right, int):
        return isinstance(left, int) and isinstance(right, int) and left == right
    return bool(structural_equal(left, right))


def _product(sizes: Sequence[Any]) -> Any:
    found: Any = 1
    for size in sizes:
        found = found * size
    return found


def _split(flat: Expr, extents: Sequence[Any]) -> list[Expr]:
    """The index that a position in the flattened axes stands for."""
    # By truncation, which is the same here: TVM takes (o % 6 + 1) // 2 in an index for (o + 1) % 6 // 2. It
    # leaves those of symbolic extents alone, and then joins the parts again by flooring only.
    found: list[Expr] = []
    rest = flat
    for extent in reversed(extents[1:]):
        known = isinstance(extent, int)
        found.append((tirx.truncmod if known else tirx.floormod)(rest, extent))
        rest = (tirx.truncdiv if known else tirx.floordiv)(rest, extent)
    return [rest, *reversed(found)] if extents else []


def _allocate(loops: Loops, stages: Sequence[Tensor], outer: int) -> None:
    for stage in stages:
        group = stage.program.results if isinstance(stage, Built) else [stage]
        for each in group:
            if each.buffer is None:
                each.outer = outer
                shape = each.layout.shape(each.shape[outer:])
                each.buffer = loops.alloc(shape, each.dtype, "stage")


def _emit(loops: Loops, stage: Tensor, prefix: list[Expr], machine: Machine, parallel: bool) -> None:
    if isinstance(stage, Built):
        # A program has several results, and is written with the first.
        if stage is next(each for each in stage.program.results):
            _allocate(loops, [stage], 0)
            with emitting(loops):
                stage.program.emit(loops, [each.buffer for each in stage.program.results])
    elif isinstance(stage, Reduced):
        _emit_reduced(loops, stage, prefix, machine, parallel)
    else:
        _emit_computed(loops, stage, prefix, machine, parallel)


def _emit_computed(loops: Loops, stage: Tensor, prefix: list[Expr], machine: Machine, parallel: bool) -> None:
    """Loops over the buffer's axes; those that every operand has side by side too are one."""
    physical = stage.layout.shape(stage.shape[len(prefix) :])
    variables = _variables(physical, "i")
    logical = _logical(stage, prefix, variables)
    accesses = [Access(stage, logical), *_reads(stage, logical)]
    groups = _merged(physical, variables, accesses)
    extents = [_product([physical[axis] for axis in group]) for group in groups]
    number, starts = _cuts(stage, logical, accesses, len(prefix), groups)

    def write(at: Sequence[Expr]) -> None:
        index: list[Any] = [tirx.const(0, "int32")] * len(physical)
        for group, position in zip(groups, at, strict=True):
            for axis, part in zip(group, _split(position, [physical[a] for a in group]), strict=True):
                index[axis] = part
        found = _logical(stage, prefix, index)
        with guard(found), emitting(loops):
            value = stage.at(found)
            loops.store(stage.buffer, value, *stage.place(found))

    def guard(found: tuple[Expr, ...]) -> AbstractContextManager[None]:
        """Keeps to the channels that there are, where others could lie outside of an operand."""
        axis = stage.layout.axis
        if axis is None or not stage.layout.block or _divides(stage.layout.block, stage.shape[axis]):
            return nullcontext()
        if all(access.tensor.layout == stage.layout for access in accesses if _in_memory(access.tensor)):
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
        if own is None or not 0 < len(places) < _PIECES:
            continue
        physical, block = stage.layout.axis_of(own, stage.rank)
        known = all(isinstance(place, int) and place % block == 0 for place in places)
        at = next((n for n, group in enumerate(groups) if list(group) == [physical - outer]), None)
        if known and at is not None:
            return at, [place // block for place in places]
    return 0, []


def _run(loops: Loops, extents: Sequence[Any], write: Any, parallel: bool, machine: Machine) -> None:
    """The last axis in the innermost loop; the others, or parts of it, on all threads."""
    total = _product(extents)
    shared = parallel and not (isinstance(total, int) and total < _PARALLEL)
    kind = "parallel" if shared else "serial"
    if not extents:
        write([])
    elif len(extents) > 1:
        with loops.loop(_product(extents[:-1]), "o", kind) as outer:
            at = [loops.let(each, "i") for each in _split(outer, extents[:-1])]
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


def _logical(stage: Tensor, prefix: Sequence[Expr], at: Sequence[Expr]) -> tuple[Expr, ...]:
    """The tensor's index for one of the buffer's."""
    return tuple(stage.layout.index([*prefix, *at]))


def _merged(extents: Sequence[Any], variables: Sequence[Expr], accesses: Sequence[Access]) -> list[list[int]]:
    """Axes in groups that can be run as one loop: no operand tells them apart. Axes of one are left out."""
    analyzer = tvm.sym.Analyzer()
    for variable, extent in zip(variables, extents, strict=True):
        analyzer.bind(variable, tvm.ir.Range(tirx.const(0, variable.ty.dtype), extent))
    places: list[tuple[list[Expr], list[Any]]] = []
    for tensor, indices in accesses:
        if tensor.buffer is not None or isinstance(tensor, Source):
            simple = [analyzer.simplify(each) for each in tensor.place(indices)]
            places.append((simple, tensor.layout.shape(tensor.shape[tensor.outer :])))
    groups: list[list[int]] = []
    for axis, extent in enumerate(extents):
        if isinstance(extent, int) and extent == 1:
            continue
        if groups and all(
            _side_by_side(place, shape, variables[groups[-1][-1]], variables[axis], extent)
            for place, shape in places
        ):
            groups[-1].append(axis)
        else:
            groups.append([axis])
    return groups


def _side_by_side(place: Sequence[Expr], shape: Sequence[Any], first: Expr, last: Expr, extent: Any) -> bool:
    """Whether an operand has two axes next to each other, or does not depend on either."""
    uses = [p for p, each in enumerate(place) if _uses(each, first) or _uses(each, last)]
    if not uses:
        return True
    # Axes of one between them do not keep them apart.
    at = [p for p, size in enumerate(shape) if not (isinstance(size, int) and size == 1)]
    for left, right in pairwise(at):
        if place[left].same_as(first) and place[right].same_as(last):
            return uses == [left, right] and _same(shape[right], extent)
    return False


def _uses(value: Expr, variable: Expr) -> bool:
    return any(each.same_as(variable) for each in tirx.analysis.undefined_vars(value))


def _emit_reduced(loops: Loops, stage: Reduced, prefix: list[Expr], machine: Machine, parallel: bool) -> None:
    shape = stage.layout.shape(stage.shape[len(prefix) :])
    # Axes of one at the end, as of a mean that keeps its axes, are no neighbours.
    ones = 0
    while stage.layout == PLAIN and ones < len(shape) and _is_one(shape[-1 - ones]):
        ones += 1
    shape, none = shape[: len(shape) - ones], [tirx.const(0, "int32")] * ones
    spatial, over = _variables(shape, "i"), _variables(stage.extents, "k")
    accesses = [
        access
        for access in _reads(stage, _logical(stage, prefix, [*spatial, *none]), over)
        if _in_memory(access.tensor)
    ]
    groups = _merged(stage.extents, over, accesses)
    extents = [_product([stage.extents[axis] for axis in group]) for group in groups]

    def element(at: tuple[Expr, ...], reduced: Sequence[Expr]) -> Expr:
        index: list[Any] = [tirx.const(0, "int32")] * len(stage.extents)
        for group, position in zip(groups, reduced, strict=True):
            for axis, part in zip(group, _split(position, [stage.extents[a] for a in group]), strict=True):
                index[axis] = part
        return stage.function(*at, *index)

    packed = stage.layout.blocked
    rows = not shape or not groups or _runs_along(accesses, over[groups[-1][-1]], spatial[-1])
    work = _Combination(loops, stage, machine)
    if rows and not packed:

        def write(at: Sequence[Expr]) -> None:
            found = _logical(stage, prefix, [*at, *none])
            with emitting(loops):
                value = work.row(extents, lambda reduced: element(found, reduced))
                loops.store(stage.buffer, value, *stage.place(found))

        total = _product(shape)
        heavy = not isinstance(total, int) or not isinstance(_product(extents), int)
        heavy = heavy or total * _product(extents) >= _PARALLEL
        with loops.loop(total, "o", "parallel" if parallel and heavy and total != 1 else "serial") as outer:
            write([loops.let(each, "i") for each in _split(outer, shape)] if shape else [])
        return
    # Neighbours side by side: vectors of sums, over which the reduced positions go by.
    blocks = {access.tensor.layout.block for access in accesses if access.tensor.layout.blocked}
    wide = stage.layout.block if packed else max(blocks, default=64)
    tile = min(shape[-1], wide) if isinstance(shape[-1], int) else wide
    parts = -(-shape[-1] // tile) if isinstance(shape[-1], int) else tirx.ceildiv(shape[-1], tile)
    with loops.loop(_product(shape[:-1]) * parts, "o", "parallel" if parallel else "serial") as outer:
        at = [loops.let(each, "i") for each in _split(outer, (*shape[:-1], parts))]
        start = at[-1] * tile

        def index(lane: Expr) -> tuple[Expr, ...]:
            return _logical(stage, prefix, (*at[:-1], start + lane, *none))

        count = _count(loops, stage, tile, shape[-1], start, index)
        sums = loops.alloc([tile], stage.dtype, "sums", "local")
        # What is asked of a position alone, whether it is padding, is then asked once for all lanes.
        vectors = (stage.layout != PLAIN or bool(blocks)) and stage.dtype == "float32"
        kind = "vectorized" if count is tile and vectors else "serial"
        with loops.loop(tile, "j", kind) as lane:
            loops.store(sums, work.identity, lane)
        with loops.loops(extents, "k") as reduced, loops.loop(count, "j", kind) as lane, emitting(loops):
            value = element(index(lane), reduced)
            loops.store(sums, work.combine(tirx.BufferLoad(sums, [lane]), value), lane)
        with loops.loop(count, "j", kind) as lane:
            loops.store(stage.buffer, tirx.BufferLoad(sums, [lane]), *stage.place(index(lane)))


def _count(loops: Loops, stage: Reduced, tile: int, extent: Any, start: Expr, index: Any) -> Any:
    """How many lanes of a tile there are."""
    axis = stage.layout.axis
    if axis is not None and stage.layout.block:
        if _divides(tile, stage.shape[axis]):
            return tile
        first = index(tirx.const(0, "int32"))[axis]
        return loops.let(tirx.min(tile, stage.shape[axis] - first), "count")
    return tile if _divides(tile, extent) else loops.let(tirx.min(tile, extent - start), "count")


def _is_one(size: Any) -> bool:
    return isinstance(size, int) and size == 1


def _divides(part: int, size: Any) -> bool:
    return isinstance(size, int) and size % part == 0


def _in_memory(tensor: Tensor) -> bool:
    return tensor.buffer is not None or isinstance(tensor, Source)


def _runs_along(accesses: Sequence[Access], reduced: Expr, spatial: Expr) -> bool:
    """Whether neighbours are combined with each other, and not side by side: what jumps less in memory."""
    jumps = 0
    for tensor, indices in accesses:
        *parts, last = tensor.place(indices)
        if tensor.layout.blocked and _uses(last, reduced) != _uses(last, spatial):
            jumps += 1 if _uses(last, spatial) else -1
            continue
        for part in parts:
            jumps += _uses(part, reduced) - _uses(part, spatial)
    return jumps <= 0


class _Combination:
    """How the elements of a reduction are combined."""

    def __init__(self, loops: Loops, stage: Reduced, machine: Machine) -> None:
        self.loops = loops
        self.stage = stage
        self.lanes = machine.lanes(stage.dtype)
        self.functions = Functions()
        self.functions.let = loops.let

    @property
    def identity(self) -> Expr:
        """What combining with changes nothing."""
        dtype = self.stage.dtype
        match self.stage.combine:
            case "sum" | "prod" as kind:
                one = 1 if kind == "prod" else 0
                return tirx.const(float(one) if "float" in dtype else one, dtype)
            case "max" | "min" as kind:
                if "float" in dtype:
                    infinity = tirx.const(float("inf"), dtype)
                    return infinity if kind == "min" else -infinity
                return tirx.min_value(dtype) if kind == "max" else tirx.max_value(dtype)
            case _ as kind:
                return tirx.const(kind == "all", "bool")

    def combine(self, left: Expr, right: Expr) -> Expr:
        """Both as one."""
        match self.stage.combine:
            case "sum":
                return left + right
            case "prod":
                return left * right
            case "max":
                return self.functions.maximum(left, right)
            case "min":
                return self.functions.minimum(left, right)
            case "any":
                return tirx.Or(left, right)
            case _:
                return tirx.And(left, right)

    def row(self, extents: Sequence[Any], element: Any) -> Expr:
        """All elements as one, in vectors along the last axis."""
        loops, lanes = self.loops, self.lanes
        if not extents:
            return element([])
        last = extents[-1]
        if (isinstance(last, int) and last < 2 * lanes) or self.stage.dtype == "bool":
            sums = self._cells(1)
            with loops.loops(extents, "k") as at:
                self._take(sums, tirx.const(0, "int32"), element(at))
            return tirx.BufferLoad(sums, [tirx.const(0, "int32")])
        wide = 2 * lanes if not isinstance(last, int) or last >= 4 * lanes else lanes
        sums = self._cells(wide)
        zero = tirx.const(0, "int32")
        with loops.loops(extents[:-1], "k") as at:
            whole = last // wide if isinstance(last, int) else tirx.floordiv(last, wide)
            with loops.loop(whole, "r") as part, loops.loop(wide, "lane", "vectorized") as lane:
                self._take(sums, lane, element([*at, part * wide + lane]))
            rest = last % wide if isinstance(last, int) else tirx.floormod(last, wide)
            if not (isinstance(rest, int) and rest == 0):
                with loops.loop(rest, "r") as part:
                    self._take(sums, zero, element([*at, whole * wide + part]))
        with loops.loop(wide - 1, "lane") as lane:
            self._take(sums, zero, tirx.BufferLoad(sums, [lane + 1]))
        return tirx.BufferLoad(sums, [zero])

    def _cells(self, count: int) -> Any:
        cells = self.loops.alloc([count], self.stage.dtype, "sums")
        with self.loops.loop(count, "lane", "vectorized" if count > 1 else "serial") as lane:
            self.loops.store(cells, self.identity, lane)
        return cells

    def _take(self, cells: Any, at: Expr, value: Expr) -> None:
        with emitting(self.loops):
            self.loops.store(cells, self.combine(tirx.BufferLoad(cells, [at]), value), at)
