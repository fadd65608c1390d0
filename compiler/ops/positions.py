"""Operands that hold positions: which there may be, and the extremes that are checked.

A position counts from 0 and is less than the size of its axis; any other, a negative one too, is an error on
every face. Torch's operators raise it. Kernels keep positions within the axis, so that they read and write
nothing else, and programs of kernels find the extremes of what was given beside them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..dtypes import I64, DType
from ..sizes.dims import Size
from .core.base import Elements, Op, Shape
from .core.counts import NOTHING, Cost
from .core.indexing import loop_kind, parted
from .core.rows import product

NOTHING_YET = (2**63 - 1, -(2**63))
"""The extremes of nothing."""


class Positions(NamedTuple):
    """What an operator declares by `positions`: an operand whose elements are from 0 to a size less one.

    With `column` only those at that place of the last axis are; floats are truncated first.
    """

    slot: str
    size: Size
    column: int | None = None


class Extremes(Op, name="extremes"):
    """The least and the greatest element: [*s], i64[2] -> i64[2]; the result of before, if given, counts too.

    Floats are truncated as casts do. With `column` of the elements at that place of the last axis.
    """

    column: int | None = None
    internal = True

    def shape(self, x: Shape, before: Shape | None = None) -> Shape:
        return (2,)

    def dtype(self, x: DType, before: DType | None = None) -> DType:
        return I64

    def cost(self, out: Shape, x: Shape, before: Shape | None = None) -> Cost:
        """What a backend adds is not the plan's."""
        return NOTHING

    def te(self, t: Elements, x: Any, before: Any = None) -> Any:
        shape = x.shape if self.column is None else x.shape[:-1]
        total = product(shape)
        parts = (total + (_PART - 1)) // _PART

        def element(number: Any) -> Any:
            at = parted(t, number, shape)
            return t.let(t.cast(x[tuple(at if self.column is None else [*at, self.column])], _I64))

        def start(b: Any, cells: Any) -> None:
            for place in range(2):
                b.store(cells, t.const(NOTHING_YET[place], _I64), place)

        def take(b: Any, cells: Any, value: Any) -> None:
            b.store(cells, t.minimum(cells[0], value), 0)
            b.store(cells, t.maximum(cells[1], value), 1)

        def emit(b: Any, outs: list[Any]) -> None:
            (out,) = outs
            start(b, out)
            if before is not None:
                for place in range(2):
                    b.store(out, before[place], place)
            if isinstance(total, int) and total <= _PART:
                with b.loop(total, "k") as k:
                    take(b, out, element(k))
                return
            found = b.alloc([parts, 2], _I64, "found")
            with b.loop(parts, "part", loop_kind(*shape)) as part:
                own = b.alloc([2], _I64, "own")
                start(b, own)
                first = b.let(t.position(part, total) * _PART, "first")
                with b.loop(b.let(t.minimum(total - first, _PART), "count"), "k") as k:
                    take(b, own, element(first + k))
                for place in range(2):
                    b.store(found, own[place], part, place)
            with b.loop(parts, "part") as part:
                b.store(out, t.minimum(out[0], found[part, 0]), 0)
                b.store(out, t.maximum(out[1], found[part, 1]), 1)

        return t.build([((2,), _I64)], emit)[0]


_I64 = "int64"
_PART = 1024
"""Elements that a thread goes through."""
