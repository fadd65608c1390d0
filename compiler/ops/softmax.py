"""Softmax and its relatives along an axis.

For a row of n elements, softmax counts n - 1 compares (the maximum), n adds (its subtraction), n powers
of e, n - 1 adds (the sum) and n divides.
"""

from __future__ import annotations

from typing import Any

from ..counts import Cost
from ..dims import prod
from ..dtypes import DType
from .base import Lowering, Op, Shape, case
from .reduce import combinations, rows_of
from .rules import axis_of, need_float


class AlongAxis(Op):
    """A function of the rows along one axis: [*s] -> [*s]."""

    axis: int = -1
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


class Softmax(AlongAxis, name="softmax"):
    """e^x over its sum along an axis: [*s] -> [*s]."""

    def cost(self, out: Shape, x: Shape) -> Cost:
        elements, pairs = prod(x), combinations(x, rows_of(x, self.axis))
        return Cost(compare=pairs, add=elements + pairs, transcendental=elements, divide=elements)


class Softmin(AlongAxis, name="softmin"):
    """Softmax of -x along an axis: [*s] -> [*s]; one more add (the sign) for each element."""

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Softmax(axis=self.axis).cost(out, x) + Cost(add=prod(x))


class LogSoftmax(AlongAxis, name="log_softmax"):
    """The logarithm of softmax along an axis, x - max - log(sum(e^(x - max))): [*s] -> [*s]."""

    def cost(self, out: Shape, x: Shape) -> Cost:
        rows = rows_of(x, self.axis)
        elements, pairs = prod(x), combinations(x, rows)
        return Cost(compare=pairs, add=2 * elements + pairs, transcendental=elements + prod(rows))
