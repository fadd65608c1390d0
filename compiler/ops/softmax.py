"""Softmax and its relatives along an axis.

For a row of n elements, softmax counts n - 1 compares (the maximum), n adds (its subtraction), n powers
of e, n - 1 adds (the sum) and n divides.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ..dtypes import DType
from ..sizes.dims import prod
from .core.base import Elements, Lowering, Op, Shape, case
from .core.counts import Cost
from .core.rows import Rows, wide
from .core.rules import axis_of, need_float
from .reduce import combinations, rows_of


class AlongAxis(Op):
    """A function of the rows along one axis: [*s] -> [*s]."""

    axis: int = -1
    negative: ClassVar[bool] = False
    logarithm: ClassVar[bool] = False
    role = "reduction"
    samples = (case({}, (2, 3)), case({"axis": 1}, (2, 3, 4)), case({"axis": 0}, ()))

    def shape(self, x: Shape) -> Shape:
        # Torch counts one axis of a tensor without axes.
        axis_of(self.axis, max(len(x), 1))
        return x

    def dtype(self, x: DType) -> DType:
        need_float(x, self.name)
        return x

    def torch(self, t: Lowering, x: Any) -> Any:
        return getattr(t.F, self.name)(x, dim=self.axis)

    def te(self, t: Elements, x: Any) -> Any:
        dtype = wide(x.dtype)
        rows = Rows(t, x, self.axis)

        def signed(index: tuple[Any, ...]) -> Any:
            value = t.cast(x[index], dtype)
            return -value if self.negative else value

        top = rows.reduce("max", signed, dtype)

        def power(*index: Any) -> Any:
            return t.exp(signed(index) - top[rows.of(index)])

        if self.logarithm:
            total = rows.reduce("sum", lambda index: power(*index), dtype)
            shift = t.compute(rows.shape, lambda *row: top[row] + t.log(total[row]), dtype, keep=True)
            return t.compute(x.shape, lambda *index: signed(index) - shift[rows.of(index)])
        powers = t.compute(x.shape, power, dtype, keep=True)
        total = rows.reduce("sum", lambda index: powers[index], dtype)
        return t.compute(x.shape, lambda *index: powers[index] / total[rows.of(index)])


class Softmax(AlongAxis, name="softmax"):
    """e^x over its sum along an axis: [*s] -> [*s]."""

    def cost(self, out: Shape, x: Shape) -> Cost:
        elements, pairs = prod(x), combinations(x, rows_of(x, self.axis))
        return Cost(compare=pairs, add=elements + pairs, transcendental=elements, divide=elements)


class Softmin(AlongAxis, name="softmin"):
    """Softmax of -x along an axis: [*s] -> [*s]; one more add (the sign) for each element."""

    negative = True

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Softmax(axis=self.axis).cost(out, x) + Cost(add=prod(x))


class LogSoftmax(AlongAxis, name="log_softmax"):
    """The logarithm of softmax along an axis, x - max - log(sum(e^(x - max))): [*s] -> [*s]."""

    logarithm = True

    def cost(self, out: Shape, x: Shape) -> Cost:
        rows = rows_of(x, self.axis)
        elements, pairs = prod(x), combinations(x, rows)
        return Cost(compare=pairs, add=2 * elements + pairs, transcendental=elements + prod(rows))
