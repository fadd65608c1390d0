"""Sums of products of two tensors in tiles that threads share: convolutions, linear maps, matrix products.

Nothing is known of the operator. The axes of the result on which only the left factor depends are the rows
of a matrix product, those of the right one alone are its columns, and both may have the rest, the batch:
of a convolution the rows are samples and places, and what is combined are taps and channels (an implicit
product, as in arXiv:1410.0759). A block has a tile of the result; step by step it loads parts of both factors
into shared memory, worked out on the way, and each thread adds to a tile of its own in registers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from tvm import tirx

from ....compiler.devices import Gpu
from ..cpu.templates.tiles import LONG, PANEL
from ..tensor_ir.access import depends_on, index_variables, over, product_of
from ..tensor_ir.cascade import Cascade, cut_of, turn
from ..tensor_ir.indices import index_const, index_type
from ..tensor_ir.loops import Expr
from ..tensor_ir.tensors import Reduced, watch
from .elements import Tail, split
from .expressions import is_choice, loads, substituted
from .launches import THREADS, LaunchSequence, Thread

LEAST = 8
"""Rows and columns from which on a tile is worth its while."""
_DEPTH = 16
"""Products that are loaded at once for each element."""
_LARGE = 1 << 12
"""What a size that is not known counts as."""


class Side(NamedTuple):
    """A factor: an expression of the variables, and the axes of the result that it alone depends on."""

    value: Expr
    axes: tuple[int, ...]


class Plan(NamedTuple):
    """A reduction as a product: both sides, the axes of the batch, and variables for all indices."""

    stage: Reduced
    left: Side
    right: Side
    batch: tuple[int, ...]
    spatial: tuple[Expr, ...]
    reduced: tuple[Expr, ...]
    order: tuple[int, ...]

    @staticmethod
    def of(stage: Reduced) -> Plan | None:
        """The plan of a stage that is such a sum, and large enough."""
        if stage.combine != "sum" or stage.dtype not in ("float32", "float64") or not stage.extents:
            return None
        spatial, reduced = index_variables(stage.shape, "i"), index_variables(stage.extents, "k")
        factors = _factors(plain(lambda: stage.function(*spatial, *reduced)), (*spatial, *reduced))
        if factors is None:
            return None
        uses = [[depends_on(each, variable) for variable in spatial] for each in factors]
        axes = range(stage.rank)
        only = [tuple(axis for axis in axes if uses[n][axis] and not uses[1 - n][axis]) for n in (0, 1)]
        if any(_least(product_of([stage.shape[axis] for axis in each])) < LEAST for each in only):
            return None
        batch = tuple(axis for axis in axes if axis not in only[0] and axis not in only[1])
        order = _order(factors[1], reduced)
        left, right = (Side(value, each) for value, each in zip(factors, only, strict=True))
        return Plan(stage, left, right, batch, spatial, reduced, order)

    def sizes(self, axes: Sequence[int]) -> list[Any]:
        """The sizes of axes of the result."""
        return [self.stage.shape[axis] for axis in axes]


def plain(function: Callable[[], Any]) -> Any:
    """An expression without names in it."""
    found: list[Any] = []
    watch(lambda: found.append(function()))
    return found[0]


def _least(size: Any) -> int:
    return size if isinstance(size, int) else _LARGE


def _factors(value: Expr, variables: Sequence[Expr]) -> tuple[Expr, Expr] | None:
    """The factors of a product; a condition under which there is none belongs to the one it depends on."""
    if isinstance(value, tirx.Mul):
        return value.a, value.b
    if is_choice(value):
        condition, inside, other = value.args
        if not (isinstance(other, tirx.FloatImm) and other.value == 0):
            return None
        factors = _factors(inside, variables)
        if factors is None:
            return None
        used = [variable for variable in variables if depends_on(condition, variable)]
        for number, factor in enumerate(factors):
            if all(depends_on(factor, variable) for variable in used):
                guarded = tirx.if_then_else(condition, factor, other)
                return (guarded, factors[1]) if number == 0 else (factors[0], guarded)
    return None


def _order(value: Expr, reduced: Sequence[Expr]) -> tuple[int, ...]:
    """The axes combined, in the order in which they lie in the memory of a factor."""
    found: list[int] = []
    for load in loads(value):
        for index in load.indices:
            found += [
                axis for axis, each in enumerate(reduced) if depends_on(index, each) and axis not in found
            ]
    return (*(axis for axis in range(len(reduced)) if axis not in found), *found)


class Shape(NamedTuple):
    """A block's tile and a thread's: rows and columns."""

    rows: int
    columns: int
    high: int
    wide: int


_SHAPES = (
    Shape(128, 128, 8, 8),
    Shape(128, 64, 8, 4),
    Shape(64, 128, 4, 8),
    Shape(64, 64, 4, 4),
    Shape(64, 32, 4, 2),
    Shape(32, 64, 2, 4),
    Shape(32, 32, 2, 2),
    Shape(16, 16, 1, 1),
)


def shape_for(rows: Any, columns: Any, batch: Any, gpu: Gpu) -> Shape:
    """The tile with the least work for the busiest processor.

    A product takes a step, and so do the reads of shared memory that each needs: one for each row and each
    column of a thread's tile.
    """

    def cost(shape: Shape) -> float:
        blocks = over(_least(rows), shape.rows) * over(_least(columns), shape.columns) * _least(batch)
        turns = over(blocks, gpu.processors)
        return turns * shape.rows * shape.columns * (1 + 1 / shape.high + 1 / shape.wide)

    return min(_SHAPES, key=cost)


def emit(work: LaunchSequence, plan: Plan, tail: Tail, gpu: Gpu) -> None:
    """A launch with a block for each tile."""
    rows, columns, batch = (
        product_of(plan.sizes(axes)) for axes in (plan.left.axes, plan.right.axes, plan.batch)
    )
    shape = shape_for(rows, columns, batch, gpu)
    down, across = over(rows, shape.rows), over(columns, shape.columns)
    with work.launch(down * across * batch, THREADS) as thread:
        _Tile(thread, plan, tail, shape, rows, columns).run(down, across)
    tail.release()


class _Tile:
    def __init__(self, thread: Thread, plan: Plan, tail: Tail, shape: Shape, rows: Any, columns: Any) -> None:
        self.thread = thread
        self.plan = plan
        self.tail = tail
        self.shape = shape
        self.rows = rows
        self.columns = columns
        self.depth = product_of(plan.stage.extents)

    def run(self, down: Any, across: Any) -> None:
        """All of it: where the tile is, the steps, and the results."""
        thread, plan, shape = self.thread, self.plan, self.shape
        block = thread.block.astype(index_type(down, across))
        column = thread.let(tirx.floormod(block, across) * shape.columns, "column")
        rest = tirx.floordiv(block, across)
        row = thread.let(tirx.floormod(rest, down) * shape.rows, "row")
        batch = split(thread, tirx.floordiv(rest, down), plan.sizes(plan.batch))
        sums = thread.alloc([shape.high, shape.wide], plan.stage.dtype, "sums", "local")
        zero = tirx.const(0.0, plan.stage.dtype)

        def each(function: Any) -> None:
            with thread.loop(shape.high, "i", "unrolled") as i, thread.loop(shape.wide, "j", "unrolled") as j:
                function([i, j])

        each(lambda at: thread.store(sums, zero, *at))
        steps = over(self.depth, _DEPTH)
        cut = cut_of([steps], LONG // _DEPTH, PANEL // _DEPTH)
        cascade = None if cut is None else Cascade(thread, sums, each, cut)
        # Padded by one, so that neighbours in a column are in different banks.
        left = thread.shared([_DEPTH, shape.rows + 1], plan.stage.dtype, "left")
        right = thread.shared([_DEPTH, shape.columns + 1], plan.stage.dtype, "right")
        place = self._place()
        with turn(thread, steps, cascade, "step") as step:
            self._load(left, plan.left, row, self.rows, shape.rows, batch, step)
            self._load(right, plan.right, column, self.columns, shape.columns, batch, step)
            thread.wait()
            with thread.loop(_DEPTH, "k", "unrolled") as k:
                self._multiply(sums, left, right, k, place)
            thread.wait()
        if cascade is not None:
            cascade.total()
        self._finish(sums, row, column, batch, place)

    def _place(self) -> tuple[Expr, Expr]:
        """A thread's first row and column in the tile: neighbours of the result's last axis side by side."""
        thread, shape = self.thread, self.shape
        down, across = shape.rows // shape.high, shape.columns // shape.wide
        last = max((axis for axis in range(self.plan.stage.rank) if self._is_long(axis)), default=0)
        if last in self.plan.left.axes:
            found = tirx.floormod(thread.number, down), tirx.floordiv(thread.number, down)
        else:
            found = tirx.floordiv(thread.number, across), tirx.floormod(thread.number, across)
        return thread.let(found[0], "y"), thread.let(found[1], "x")

    def _is_long(self, axis: int) -> bool:
        size = self.plan.stage.shape[axis]
        return not (isinstance(size, int) and size == 1)

    def _load(
        self, buffer: Any, side: Side, first: Expr, total: Any, count: int, batch: list[Expr], step: Expr
    ) -> None:
        """A part of a factor, each thread some elements; neighbours in memory are read by neighbours."""
        thread, plan = self.thread, self.plan
        # The tile has `count` by `_DEPTH` elements.
        along = self._runs_along(side)
        fast = _DEPTH if along else count
        slow = count if along else _DEPTH
        each = THREADS // fast
        inner = thread.let(tirx.floormod(thread.number, fast), "inner")
        outer = thread.let(tirx.floordiv(thread.number, fast), "outer")
        with thread.loop(over(slow, each), "part", "unrolled") as part:
            other = thread.let(outer + part * each, "other")
            depth, line = (inner, other) if along else (other, inner)
            position = thread.let(first + line.astype(first.ty.dtype), "at")
            kind = index_type(self.depth)
            deep = thread.let(step.astype(kind) * _DEPTH + depth.astype(kind), "deep")
            inside = [] if slow % each == 0 else [other < slow]
            with _where(thread, inside):
                held = thread.alloc([1], plan.stage.dtype, "held", "local")
                thread.store(held, tirx.const(0.0, plan.stage.dtype), 0)
                with _where(thread, [*_bound(position, total, count), *_bound(deep, self.depth, _DEPTH)]):
                    thread.store(held, self._value(side, position, deep, batch), 0)
                thread.store(buffer, tirx.BufferLoad(held, [index_const(0)]), depth, line)

    def _value(self, side: Side, position: Expr, deep: Expr, batch: list[Expr]) -> Expr:
        thread, plan = self.thread, self.plan
        found: dict[Expr, Expr] = {}
        for axis, at in zip(plan.batch, batch, strict=True):
            found[plan.spatial[axis]] = at
        for axis, at in zip(side.axes, split(thread, position, plan.sizes(side.axes)), strict=True):
            found[plan.spatial[axis]] = at
        extents = [plan.stage.extents[axis] for axis in plan.order]
        for axis, at in zip(plan.order, split(thread, deep, extents), strict=True):
            found[plan.reduced[axis]] = at
        typed = {variable: at.astype(variable.ty.dtype) for variable, at in found.items()}
        return substituted(side.value, typed)

    def _runs_along(self, side: Side) -> bool:
        """Whether neighbours in memory are those that are combined."""
        last = self.plan.reduced[self.plan.order[-1]]
        own = [self.plan.spatial[axis] for axis in side.axes]
        for load in loads(side.value):
            if any(depends_on(load.indices[-1], variable) for variable in own):
                return False
            if depends_on(load.indices[-1], last):
                return True
        return False

    def _multiply(self, sums: Any, left: Any, right: Any, k: Expr, place: tuple[Expr, Expr]) -> None:
        thread, shape, dtype = self.thread, self.shape, self.plan.stage.dtype
        down, across = shape.rows // shape.high, shape.columns // shape.wide
        a = thread.alloc([shape.high], dtype, "a", "local")
        b = thread.alloc([shape.wide], dtype, "b", "local")
        with thread.loop(shape.high, "i", "unrolled") as i:
            thread.store(a, tirx.BufferLoad(left, [k, place[0] + i * down]), i)
        with thread.loop(shape.wide, "j", "unrolled") as j:
            thread.store(b, tirx.BufferLoad(right, [k, place[1] + j * across]), j)
        with thread.loop(shape.high, "i", "unrolled") as i, thread.loop(shape.wide, "j", "unrolled") as j:
            product = tirx.BufferLoad(a, [i]) * tirx.BufferLoad(b, [j])
            thread.store(sums, tirx.BufferLoad(sums, [i, j]) + product, i, j)

    def _finish(
        self, sums: Any, row: Expr, column: Expr, batch: list[Expr], place: tuple[Expr, Expr]
    ) -> None:
        thread, plan, shape = self.thread, self.plan, self.shape
        down, across = shape.rows // shape.high, shape.columns // shape.wide
        with thread.loop(shape.high, "i", "unrolled") as i, thread.loop(shape.wide, "j", "unrolled") as j:
            y = thread.let(row + (place[0] + i * down).astype(row.ty.dtype), "row")
            x = thread.let(column + (place[1] + j * across).astype(column.ty.dtype), "column")
            inside = [*_bound(y, self.rows, shape.rows), *_bound(x, self.columns, shape.columns)]
            with _where(thread, inside):
                index: list[Any] = [index_const(0)] * plan.stage.rank
                for axes, at in ((plan.left.axes, y), (plan.right.axes, x)):
                    for axis, part in zip(axes, split(thread, at, plan.sizes(axes)), strict=True):
                        index[axis] = part
                for axis, part in zip(plan.batch, batch, strict=True):
                    index[axis] = part
                self.tail.finish(thread, index, tirx.BufferLoad(sums, [i, j]))


def _bound(position: Expr, total: Any, part: int) -> list[Expr]:
    """The condition that a position is one of the first `total`, unless parts of this size fill them."""
    if isinstance(total, int):
        return [] if total % part == 0 else [position < tirx.const(total, position.ty.dtype)]
    return [position.astype("int64") < total]


def _where(thread: Thread, conditions: Sequence[Expr]) -> Any:
    found: Any = None
    for condition in conditions:
        found = condition if found is None else tirx.And(found, condition)
    return nullcontext() if found is None else thread.when(found)
