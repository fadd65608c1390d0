"""Order along an axis: sort, argsort, the largest k.

What an algorithm compares depends on the data, so the count is of a fixed one: merging for `sort`,
n*ceil(log2 n) comparisons; a heap of k for `top_k`, through whose floor(log2 k) + 1 levels each of the n
elements may sink.
"""

from __future__ import annotations

from typing import Any

from ..dtypes import I64, DType, is_bool, is_complex
from ..sizes.dims import Size, minimum, prod, total
from .core.base import Lowering, Op, Shape, case
from .core.counts import Cost
from .core.rules import ShapeError, axis_of, need_at_least
from .core.spans import Span, Spans, Types, below

# A symbolic size is taken to stay below 2 to this power.
_MOST_BITS = 32


def bit_length(size: Size) -> Size:
    """The binary digits of a size: floor(log2 n) + 1, and 0 of 0."""
    if isinstance(size, int):
        return size.bit_length()
    return total(minimum(size // 2**bit, 1) for bit in range(_MOST_BITS))


def _ordered(dtype: DType, what: str) -> None:
    if is_complex(dtype):
        raise ShapeError(f"{what} needs numbers that have an order, and got {dtype}", "dtype", (("x", None),))


class TopK(Op, name="top_k"):
    """The k largest (or smallest) along an axis: [*a, N, *b] -> values [*a, k, *b], positions i64[*a, k, *b].

    In order, unless `sorted` is off; torch.topk.
    """

    k: Size
    axis: int = -1
    largest: bool = True
    sorted: bool = True
    samples = (case({"k": 2}, (3, 5)), case({"k": 3, "axis": 1, "largest": False}, (2, 4, 3)))

    def shape(self, x: Shape) -> list[Shape]:
        axis = axis_of(self.axis, max(len(x), 1))
        need_at_least(self.k, 0, "`k`")
        need_at_least(
            x[axis] if x else 1, self.k, f"axis {axis}, of which top_k takes `k`,", ("x", axis if x else None)
        )
        found = (*x[:axis], self.k, *x[axis + 1 :]) if x else x
        return [found, found]

    def dtype(self, x: DType) -> list[DType]:
        _ordered(x, "top_k")
        if is_bool(x):
            raise ShapeError("top_k needs numbers, and got bool", "dtype", (("x", None),))
        return [x, I64]

    def cost(self, out: list[Shape], x: Shape) -> Cost:
        return Cost(compare=prod(x) * bit_length(self.k))

    def spans(self, types: Types, given: Spans) -> list[Span]:
        return [given[0], below((types[0].shape or (1,))[self.axis])]

    def torch(self, t: Lowering, x: Any) -> Any:
        found = x.topk(t.size(self.k), self.axis, self.largest, self.sorted)
        return found[0], found[1]

    def numpy(self, np: Any, x: Any) -> Any:
        found = foremost(np, x, self.k, self.axis, self.largest)
        return _taken(np, x, found, self.axis), found


class Sort(Op, name="sort"):
    """Sorted along an axis, and where each came from: [*S] -> [*S], i64[*S]; torch.sort."""

    axis: int = -1
    descending: bool = False
    stable: bool = False
    samples = (case({}, (3, 5)), case({"axis": 0, "descending": True, "stable": True}, (4, 2)))

    def shape(self, x: Shape) -> list[Shape]:
        axis_of(self.axis, max(len(x), 1))
        return [x, x]

    def dtype(self, x: DType) -> list[DType]:
        _ordered(x, "sort")
        return [x, I64]

    def cost(self, out: list[Shape], x: Shape) -> Cost:
        return sorting(x, self.axis)

    def spans(self, types: Types, given: Spans) -> list[Span]:
        return [given[0], below((types[0].shape or (1,))[self.axis])]

    def torch(self, t: Lowering, x: Any) -> Any:
        found = x.sort(dim=self.axis, descending=self.descending, stable=self.stable)
        return found[0], found[1]

    def numpy(self, np: Any, x: Any) -> Any:
        found = positions(np, x, self.axis, self.descending)
        return _taken(np, x, found, self.axis), found


class Argsort(Op, name="argsort"):
    """The positions that sort along an axis: [*S] -> i64[*S]; torch.argsort."""

    axis: int = -1
    descending: bool = False
    stable: bool = False
    samples = (case({}, (3, 5)), case({"axis": 0, "descending": True, "stable": True}, (4, 2)))

    def shape(self, x: Shape) -> Shape:
        axis_of(self.axis, max(len(x), 1))
        return x

    def dtype(self, x: DType) -> DType:
        _ordered(x, "argsort")
        return I64

    def cost(self, out: Shape, x: Shape) -> Cost:
        return sorting(x, self.axis)

    def spans(self, types: Types, given: Spans) -> list[Span]:
        return [below((types[0].shape or (1,))[self.axis])]

    def torch(self, t: Lowering, x: Any) -> Any:
        return x.argsort(dim=self.axis, descending=self.descending, stable=self.stable)

    def numpy(self, np: Any, x: Any) -> Any:
        return positions(np, x, self.axis, self.descending)


def positions(np: Any, x: Any, axis: int, descending: bool) -> Any:
    """The positions that sort an array along an axis; equal elements keep their order, NaN is the largest."""
    if not x.ndim:
        return np.zeros((), np.int64)
    if not descending:
        return np.argsort(x, axis, kind="stable")
    # What is equal is in order after two reversals.
    found = np.argsort(np.flip(x, axis), axis, kind="stable")
    return x.shape[axis] - 1 - np.flip(found, axis)


def foremost(np: Any, x: Any, k: Any, axis: int, largest: bool) -> Any:
    """The positions of the k first of an array sorted along an axis, of equal elements the first ones.

    NaN is the largest. Rows are not sorted whole.
    """
    if not x.ndim or k in (0, x.shape[axis]):
        order = positions(np, x, axis, largest)
        return order.take(range(k), axis) if x.ndim else order
    rows = np.moveaxis(x, axis, -1)
    last = rows.shape[-1] - k if largest else k - 1
    bound = np.partition(rows, last, axis=-1)[..., last : last + 1]
    high, low = (rows, bound) if largest else (bound, rows)
    before = (high > low) | (np.isnan(high) & ~np.isnan(low))
    level = (rows == bound) | (np.isnan(rows) & np.isnan(bound))
    chosen = before | (level & (np.cumsum(level, axis=-1) <= k - before.sum(axis=-1, keepdims=True)))
    found = np.nonzero(chosen)[-1].reshape(*rows.shape[:-1], k)
    order = positions(np, np.take_along_axis(rows, found, -1), -1, largest)
    return np.moveaxis(np.take_along_axis(found, order, -1), -1, axis)


def _taken(np: Any, x: Any, order: Any, axis: int) -> Any:
    return np.take_along_axis(x, order, axis) if x.ndim else x


def sorting(x: Shape, axis: int) -> Cost:
    """Comparisons of a sort: n*ceil(log2 n) for each row."""
    if not x or any(isinstance(size, int) and size == 0 for size in x):
        return Cost()
    return Cost(compare=prod(x) * bit_length(x[axis] - 1))
