"""Running sums, products and extremes along an axis: n - 1 combinations for a row of n elements."""

from __future__ import annotations

from typing import Any, ClassVar

from ..counts import Cost
from ..dtypes import I64, DType, is_bool, is_integer
from .base import Lowering, Op, Shape, case
from .promotion import need_category
from .reduce import combinations, rows_of
from .rules import axis_of


class Cumulative(Op):
    """A running combination along an axis: [*s] -> [*s]."""

    axis: int
    samples = (case({"axis": -1}, (2, 3)), case({"axis": 1}, (2, 3, 4)), case({"axis": 0}, ()))
    accepts: ClassVar[str] = "bifc"

    def shape(self, x: Shape) -> Shape:
        # Torch counts one axis of a tensor without axes.
        axis_of(self.axis, max(len(x), 1))
        return x

    def dtype(self, x: DType) -> DType:
        need_category(x, self.accepts, self.name)
        return I64 if is_bool(x) or is_integer(x) else x

    def torch(self, t: Lowering, x: Any) -> Any:
        return getattr(t.torch, self.name)(x, dim=self.axis)


class Cumsum(Cumulative, name="cumsum"):
    """Running sum along an axis: [*s] -> [*s]; booleans and integers become i64."""

    samples = (*Cumulative.samples, case({"axis": 0}, ("bool", (3,))), case({"axis": 0}, ("complex", (3,))))

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(add=combinations(x, rows_of(x, self.axis)))

    def cost_complex(self, out: Shape, x: Shape) -> Cost:
        """The cost where the operand is complex."""
        return self.cost(out, x).scaled(2)


class Cumprod(Cumulative, name="cumprod"):
    """Running product along an axis: [*s] -> [*s]; booleans and integers become i64."""

    samples = (*Cumulative.samples, case({"axis": 0}, ("bool", (3,))), case({"axis": 0}, ("complex", (3,))))

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(multiply=combinations(x, rows_of(x, self.axis)))

    def cost_complex(self, out: Shape, x: Shape) -> Cost:
        """The cost where the operand is complex."""
        return Cost(multiply=4, add=2).scaled(combinations(x, rows_of(x, self.axis)))


class Cummax(Cumulative, name="cummax"):
    """Running maximum along an axis: [*s] -> [*s]."""

    accepts = "bif"
    samples = Cumulative.samples[:2]

    def dtype(self, x: DType) -> DType:
        need_category(x, self.accepts, self.name)
        return x

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(compare=combinations(x, rows_of(x, self.axis)))

    def torch(self, t: Lowering, x: Any) -> Any:
        return getattr(t.torch, self.name)(x, dim=self.axis)[0]


class Cummin(Cummax, name="cummin"):
    """Running minimum along an axis: [*s] -> [*s]."""
