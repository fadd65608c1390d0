"""Rows in kernels: reductions over any axes, statistics, running combinations.

Rows are what the axes that stay tell apart; all stages that read one row have its axes first, so that the
backend runs them in step and the row stays in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .base import Elements
from .rules import axes_of


def wide(dtype: str) -> str:
    """The type that sums are taken in: float32 for those of 16 bits."""
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def product(sizes: Sequence[Any]) -> Any:
    """The product of sizes, ints or expressions."""
    found: Any = 1
    for size in sizes:
        found = found * size
    return found


def unravel(flat: Any, shape: Sequence[Any]) -> list[Any]:
    """The index that a position in the flattened axes stands for."""
    found: list[Any] = []
    for size in reversed(shape[1:]):
        found.append(flat % size)
        flat = flat // size
    return [flat, *reversed(found)] if shape else []


def from_end(position: Any, size: Any) -> Any:
    """The position counted from the other end: size - 1 - position.

    Written with ~p = -1 - p, which TVM 0.27 takes as it is: where it splits `size - 1 - p` by division, what
    it makes of an address of all the parts is wrong.
    """
    return ~position + size


def over_count(t: Elements, value: Any, count: Any, dtype: str) -> Any:
    """A sum over a count, which may be zero: then NaN or infinite."""
    if isinstance(count, int) and count == 0:
        return value * t.const(float("inf"), dtype)
    return value / t.cast(count, dtype)


class Rows:
    """The rows of a tensor over axes (None: all).

    `shape` is that of the other axes, with ones for those reduced if `keepdim`; `count` is a row's length.
    """

    def __init__(
        self, t: Elements, x: Any, axes: int | tuple[int, ...] | None, keepdim: bool = False
    ) -> None:
        self.t = t
        self.x = x
        # A tensor without axes counts as having one.
        self.axes = sorted(axes_of(axes, x.rank)) if x.rank else []
        self.extents = tuple(x.shape[axis] for axis in self.axes)
        self.count = product(self.extents)
        self.keepdim = keepdim
        self.shape = tuple(
            1 if axis in self.axes else size
            for axis, size in enumerate(x.shape)
            if keepdim or axis not in self.axes
        )

    def of(self, index: Sequence[Any]) -> tuple[Any, ...]:
        """The row that an element of the tensor is in."""
        if self.keepdim:
            return tuple(0 if axis in self.axes else i for axis, i in enumerate(index))
        return tuple(i for axis, i in enumerate(index) if axis not in self.axes)

    def inside(self, index: Sequence[Any]) -> tuple[Any, ...]:
        """Where an element of the tensor is in its row."""
        return tuple(index[axis] for axis in self.axes)

    def element(self, row: Sequence[Any], inside: Sequence[Any]) -> tuple[Any, ...]:
        """The index of an element from its row and its place in there."""
        kept, own = iter(row), iter(inside)
        found: list[Any] = []
        for axis in range(self.x.rank):
            if axis not in self.axes:
                found.append(next(kept))
            else:
                found.append(next(own))
                if self.keepdim:
                    next(kept)
        return tuple(found)

    def reduce(self, combine: str, value: Callable[[tuple[Any, ...]], Any], dtype: str) -> Any:
        """Each row as one; `value` takes the index of an element."""
        rank = len(self.shape)

        def element(*index: Any) -> Any:
            return value(self.element(index[:rank], index[rank:]))

        return self.t.reduce(combine, self.shape, self.extents, element, dtype)

    def mean(self, value: Callable[[tuple[Any, ...]], Any], dtype: str) -> Any:
        """The mean of each row."""
        total = self.reduce("sum", value, dtype)
        return self.t.compute(
            self.shape,
            lambda *row: over_count(self.t, total[row], self.count, dtype),
            dtype,
            keep=True,
        )

    def squares(self, dtype: str) -> Any:
        """The sum of squared differences from each row's mean, and the mean."""
        t, x = self.t, self.x
        mean = self.mean(lambda index: t.cast(x[index], dtype), dtype)

        def square(index: tuple[Any, ...]) -> Any:
            difference = t.let(t.cast(x[index], dtype) - mean[self.of(index)])
            return difference * difference

        return self.reduce("sum", square, dtype), mean

    def standard(self, eps: float, dtype: str) -> Callable[[Sequence[Any]], Any]:
        """What gives an element less its row's mean, over the row's deviation."""
        t, x = self.t, self.x
        squares, mean = self.squares(dtype)

        def inverse(*row: Any) -> Any:
            return t.rsqrt(over_count(t, squares[row], self.count, dtype) + t.const(eps, dtype))

        factor = t.compute(self.shape, inverse, dtype, keep=True)

        def element(index: Sequence[Any]) -> Any:
            row = self.of(index)
            return (t.cast(x[tuple(index)], dtype) - mean[row]) * factor[row]

        return element


def running(
    t: Elements,
    shape: Sequence[Any],
    axis: int,
    dtype: str,
    start: Callable[[tuple[Any, ...]], Any],
    step: Callable[[Any, tuple[Any, ...]], Any],
    reverse: bool = False,
) -> Any:
    """All states along an axis, which are carried in `dtype`: [*s].

    `start` takes an index without the axis and gives the state before the first position; `step` takes the
    state and the index of an element, and gives the next one. Axes behind run side by side.
    """
    if any(isinstance(size, int) and size == 0 for size in shape):
        return t.compute(shape, lambda *index: t.const(0))
    outer, inner = shape[:axis], shape[axis + 1 :]
    width = product(inner)
    tile = min(width, 64) if isinstance(width, int) else 64
    parts = -(-width // tile) if isinstance(width, int) else (width + (tile - 1)) // tile

    def emit(b: Any, outs: list[Any]) -> None:
        with b.loop(product(outer) * parts, "o", "parallel") as number:
            before = [b.let(i, "i") for i in unravel(number // parts, outer)]
            first = b.let(number % parts * tile, "start")
            whole = isinstance(width, int) and width % tile == 0
            count = tile if whole else b.let(t.minimum(width - first, tile), "count")
            state = b.alloc([tile], dtype, "state")
            with b.loop(count, "lane") as lane:
                b.store(state, start((*before, *unravel(first + lane, inner))), lane)
            with b.loop(shape[axis], "k") as turn:
                k = from_end(turn, shape[axis]) if reverse else turn
                with b.loop(count, "lane") as lane:
                    index = (*before, k, *unravel(first + lane, inner))
                    b.store(state, step(state[lane], index), lane)
                    b.store(outs[0], t.cast(state[lane], t.dtype()), *index)

    return t.build([(shape, t.dtype())], emit)[0]
