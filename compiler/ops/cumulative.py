"""Running sums, products and extremes along an axis: n - 1 combinations for a row of n elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from ..dtypes import I64, DType, is_bool, is_integer
from .core.base import Elements, Lowering, Op, Shape, case
from .core.counts import Cost
from .core.promotion import need_category
from .core.rows import running
from .core.rules import axis_of
from .reduce import combinations, rows_of


class Cumulative(Op):
    """A running combination along an axis: [*s] -> [*s]."""

    axis: int
    # What the first element is combined with, and how.
    first: ClassVar[float] = 0
    combine: ClassVar[Callable[[Elements, Any, Any], Any]]
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

    def te(self, t: Elements, x: Any) -> Any:
        dtype = self.carried(t)
        if x.rank == 0:
            return t.compute((), lambda: t.cast(x[()], t.dtype()))
        return running(
            t,
            x.shape,
            axis_of(self.axis, x.rank),
            dtype,
            lambda row: self.start(t, x, row, dtype),
            lambda state, index: type(self).combine(t, state, t.cast(x[index], dtype)),
        )

    def carried(self, t: Elements) -> str:
        """The type of the state: floats are summed in the widest, as torch does."""
        return "float64" if "float" in t.dtype() else t.dtype()

    def start(self, t: Elements, x: Any, row: tuple[Any, ...], dtype: str) -> Any:
        """The state before the first element of a row."""
        return t.const(self.first, dtype)

    def numpy(self, np: Any, x: Any) -> Any:
        return getattr(np, self.name)(x, axis=self.axis).reshape(x.shape)


class Cumsum(Cumulative, name="cumsum"):
    """Running sum along an axis: [*s] -> [*s]; booleans and integers become i64."""

    samples = (*Cumulative.samples, case({"axis": 0}, ("bool", (3,))), case({"axis": 0}, ("complex", (3,))))

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(add=combinations(x, rows_of(x, self.axis)))

    def cost_complex(self, out: Shape, x: Shape) -> Cost:
        """The cost where the operand is complex."""
        return self.cost(out, x).scaled(2)

    @staticmethod
    def combine(t: Elements, state: Any, x: Any) -> Any:
        """The state with one more element."""
        return state + x


class Cumprod(Cumulative, name="cumprod"):
    """Running product along an axis: [*s] -> [*s]; booleans and integers become i64."""

    first = 1

    samples = (*Cumulative.samples, case({"axis": 0}, ("bool", (3,))), case({"axis": 0}, ("complex", (3,))))

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(multiply=combinations(x, rows_of(x, self.axis)))

    def cost_complex(self, out: Shape, x: Shape) -> Cost:
        """The cost where the operand is complex."""
        return Cost(multiply=4, add=2).scaled(combinations(x, rows_of(x, self.axis)))

    @staticmethod
    def combine(t: Elements, state: Any, x: Any) -> Any:
        """The state with one more element."""
        return state * x


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

    def carried(self, t: Elements) -> str:
        return t.dtype()

    def start(self, t: Elements, x: Any, row: tuple[Any, ...], dtype: str) -> Any:
        axis = axis_of(self.axis, x.rank)
        return x[(*row[:axis], 0, *row[axis:])]

    @staticmethod
    def combine(t: Elements, state: Any, x: Any) -> Any:
        """The larger; a NaN wins."""
        return t.maximum(state, x)


class Cummin(Cummax, name="cummin"):
    """Running minimum along an axis: [*s] -> [*s]."""

    @staticmethod
    def combine(t: Elements, state: Any, x: Any) -> Any:
        """The smaller; a NaN wins."""
        return t.minimum(state, x)
