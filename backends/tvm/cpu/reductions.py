"""Loops for what is reduced: along neighbours in memory, or side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx

from ....compiler.devices import Cpu, Device
from ..tensor_ir.access import (
    PARALLEL,
    depends_on,
    divides,
    index_variables,
    is_in_memory,
    is_one,
    logical_index,
    merged_axes,
    over,
    product_of,
    reads_of,
    split_index,
)
from ..tensor_ir.cascade import Cascade, Cut, Walk, cut_of, parts, turns
from ..tensor_ir.expressions import emitting
from ..tensor_ir.indices import index_const
from ..tensor_ir.layouts import PLAIN
from ..tensor_ir.loops import Buffer, Expr, Kind, Loops
from ..tensor_ir.math.elementary import Functions
from ..tensor_ir.tensors import Access, Reduced


def emit_reduced(loops: Loops, stage: Reduced, prefix: list[Expr], machine: Cpu, parallel: bool) -> None:
    """The loops of a stage, within those of the axes whose index `prefix` is."""
    shape = stage.layout.shape(stage.shape[len(prefix) :])
    # Axes of one at the end, as of a mean that keeps its axes, are no neighbours.
    ones = 0
    while stage.layout == PLAIN and ones < len(shape) and is_one(shape[-1 - ones]):
        ones += 1
    shape, none = shape[: len(shape) - ones], [index_const(0)] * ones
    spatial, over = index_variables(shape, "i"), index_variables(stage.extents, "k")
    accesses = [
        access
        for access in reads_of(stage, logical_index(stage, prefix, [*spatial, *none]), over)
        if is_in_memory(access.tensor)
    ]
    groups = merged_axes(stage.extents, over, accesses)
    extents = [product_of([stage.extents[axis] for axis in group]) for group in groups]

    def element(at: tuple[Expr, ...], reduced: Sequence[Expr]) -> Expr:
        index: list[Any] = [index_const(0)] * len(stage.extents)
        for group, position in zip(groups, reduced, strict=True):
            for axis, part in zip(
                group, split_index(position, [stage.extents[a] for a in group]), strict=True
            ):
                index[axis] = part
        return stage.function(*at, *index)

    packed = stage.layout.blocked
    rows = not shape or not groups or runs_along(accesses, over[groups[-1][-1]], spatial[-1])
    work = Combination(loops, stage, machine)
    if rows and not packed:

        def write(at: Sequence[Expr]) -> None:
            found = logical_index(stage, prefix, [*at, *none])
            with emitting(loops):
                value = work.row(extents, lambda reduced: element(found, reduced))
                loops.store(stage.buffer, value, *stage.place(found))

        total = product_of(shape)
        heavy = not isinstance(total, int) or not isinstance(product_of(extents), int)
        heavy = heavy or total * product_of(extents) >= PARALLEL
        with loops.loop(total, "o", "parallel" if parallel and heavy and total != 1 else "serial") as outer:
            write([loops.let(each, "i") for each in split_index(outer, shape)] if shape else [])
        return
    # Neighbours side by side: vectors of sums, over which the reduced positions go by.
    blocks = {access.tensor.layout.block for access in accesses if access.tensor.layout.blocked}
    wide = stage.layout.block if packed else max(blocks, default=64)
    tile = min(shape[-1], wide) if isinstance(shape[-1], int) else wide
    parts = -(-shape[-1] // tile) if isinstance(shape[-1], int) else tirx.ceildiv(shape[-1], tile)
    with loops.loop(product_of(shape[:-1]) * parts, "o", "parallel" if parallel else "serial") as outer:
        at = [loops.let(each, "i") for each in split_index(outer, (*shape[:-1], parts))]
        start = at[-1] * tile

        def index(lane: Expr) -> tuple[Expr, ...]:
            return logical_index(stage, prefix, (*at[:-1], start + lane, *none))

        count = _count(loops, stage, tile, shape[-1], start, index)
        sums = loops.alloc([tile], stage.dtype, "sums", "local")
        # What is asked of a position alone, whether it is padding, is then asked once for all lanes.
        vectors = (stage.layout != PLAIN or bool(blocks)) and stage.dtype == "float32"
        kind: Kind = "vectorized" if count is tile and vectors else "serial"
        with loops.loop(tile, "j", kind) as lane:
            loops.store(sums, work.identity, lane)
        cascade = work.cascade(sums, cut_of(extents), work.side_by_side(tile, kind))
        with (
            turns(loops, extents, cascade) as reduced,
            loops.loop(count, "j", kind) as lane,
            emitting(loops),
        ):
            value = element(index(lane), reduced)
            loops.store(sums, work.combine(tirx.BufferLoad(sums, [lane]), value), lane)
        work.finish(cascade)
        with loops.loop(count, "j", kind) as lane:
            loops.store(stage.buffer, tirx.BufferLoad(sums, [lane]), *stage.place(index(lane)))


def _count(loops: Loops, stage: Reduced, tile: int, extent: Any, start: Expr, index: Any) -> Any:
    """How many lanes of a tile there are."""
    axis = stage.layout.axis
    if axis is not None and stage.layout.block:
        if divides(tile, stage.shape[axis]):
            return tile
        first = index(index_const(0))[axis]
        return loops.let(tirx.min(tile, stage.shape[axis] - first), "count")
    return tile if divides(tile, extent) else loops.let(tirx.min(tile, extent - start), "count")


def runs_along(accesses: Sequence[Access], reduced: Expr, spatial: Expr) -> bool:
    """Whether neighbours are combined with each other, and not side by side: what jumps less in memory."""
    jumps = 0
    for tensor, indices in accesses:
        *parts, last = tensor.place(indices)
        if tensor.layout.blocked and depends_on(last, reduced) != depends_on(last, spatial):
            jumps += 1 if depends_on(last, spatial) else -1
            continue
        for part in parts:
            jumps += depends_on(part, reduced) - depends_on(part, spatial)
    return jumps <= 0


class Combination:
    """How the elements of a reduction are combined."""

    def __init__(self, loops: Loops, stage: Reduced, machine: Device) -> None:
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
                return self.functions.add(left, right)
            case "prod":
                return self.functions.mul(left, right)
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
            return self.single(extents, element)
        wide = 2 * lanes if not isinstance(last, int) or last >= 4 * lanes else lanes
        sums = self._cells(wide)
        zero = index_const(0)
        cut = cut_of([*extents[:-1], over(last, wide)])
        if cut is not None and cut.axis == len(extents) - 1:
            cut = cut._replace(step=cut.step * wide)
        cascade = self.cascade(sums, cut, self.side_by_side(wide, "vectorized"))
        with parts(loops, extents, cascade) as (at, first, length):
            whole = length // wide if isinstance(length, int) else tirx.floordiv(length, wide)
            with loops.loop(whole, "r") as part, loops.loop(wide, "lane", "vectorized") as lane:
                self._take(sums, lane, element([*at, first + (part * wide + lane)]))
            rest = length % wide if isinstance(length, int) else tirx.floormod(length, wide)
            if not (isinstance(rest, int) and rest == 0):
                with loops.loop(rest, "r") as part:
                    self._take(sums, zero, element([*at, first + (whole * wide + part)]))
        self.finish(cascade)
        with loops.loop(wide - 1, "lane") as lane:
            self._take(sums, zero, tirx.BufferLoad(sums, [lane + 1]))
        return tirx.BufferLoad(sums, [zero])

    def single(self, extents: Sequence[Any], element: Any) -> Expr:
        """All elements as one, one after the other."""
        loops, zero = self.loops, index_const(0)
        sums = self._cells(1)
        cascade = self.cascade(sums, cut_of(extents), self.side_by_side(1))
        with turns(loops, extents, cascade) as at:
            self._take(sums, zero, element(at))
        self.finish(cascade)
        return tirx.BufferLoad(sums, [zero])

    def cascade(self, cells: Buffer, cut: Cut | None, walk: Walk) -> Cascade | None:
        """The levels of what is summed in cells, where the sum is of floats and long."""
        if cut is None or self.stage.combine != "sum" or "float" not in self.stage.dtype:
            return None
        return Cascade(self.loops, cells, walk, cut)

    def finish(self, cascade: Cascade | None) -> None:
        """Bring what was carried back to the cells."""
        if cascade is not None:
            cascade.total()

    def side_by_side(self, count: int, kind: Kind = "serial") -> Walk:
        """The cells of a row of them."""

        def walk(function: Any) -> None:
            with self.loops.loop(count, "lane", kind) as lane:
                function([lane])

        return walk

    def _cells(self, count: int) -> Any:
        cells = self.loops.alloc([count], self.stage.dtype, "sums")
        with self.loops.loop(count, "lane", "vectorized" if count > 1 else "serial") as lane:
            self.loops.store(cells, self.identity, lane)
        return cells

    def _take(self, cells: Any, at: Expr, value: Expr) -> None:
        with emitting(self.loops):
            self.loops.store(cells, self.combine(tirx.BufferLoad(cells, [at]), value), at)
