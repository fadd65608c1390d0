"""Where extremes are along an axis. Each combination of two elements counts a compare."""

from __future__ import annotations

from typing import Any, ClassVar

from ..dtypes import I64, DType
from ..sizes.dims import prod
from .core.base import Elements, Lowering, Op, Shape, case
from .core.counts import Cost
from .core.promotion import need_category
from .core.rows import Rows
from .core.spans import Span, Spans, Types, below
from .reduce import combinations, need_elements, reduced


class Argmax(Op, name="argmax"):
    """Where the maximum is along an axis, or in the flattened tensor without one: [*s, n] -> i64[*s]."""

    axis: int | None = None
    keepdim: bool = False
    combine: ClassVar[str] = "max"
    role = "reduction"
    samples = (
        case({}, (2, 3)),
        case({"axis": -1}, (2, 3)),
        case({"axis": 1, "keepdim": True}, (2, 3, 4)),
        case({"axis": 0}, ()),
    )

    def shape(self, x: Shape) -> Shape:
        need_elements(x, self.axis, self.name)
        return reduced(x, self.axis, self.keepdim)

    def dtype(self, x: DType) -> DType:
        need_category(x, "if", self.name)
        return I64

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(compare=combinations(x, out))

    def spans(self, types: Types, given: Spans) -> list[Span]:
        shape = types[0].shape
        return [below(prod(shape) if self.axis is None else (shape or (1,))[self.axis])]

    def torch(self, t: Lowering, x: Any) -> Any:
        return getattr(t.torch, self.name)(x, dim=self.axis, keepdim=self.keepdim)

    def te(self, t: Elements, x: Any) -> Any:
        # The first place that holds the extreme; stored, since an element worked out twice may differ.
        held = t.compute(x.shape, lambda *index: x[index], x.dtype, keep=True)
        rows = Rows(t, held, self.axis, self.keepdim)
        best = rows.reduce(self.combine, lambda index: held[index], x.dtype)

        def place(index: tuple[Any, ...]) -> Any:
            flat: Any = t.const(0, "int64")
            for i, size in zip(rows.inside(index), rows.extents, strict=True):
                flat = flat * size + t.cast(i, "int64")
            value = t.let(held[index])
            here = t.eq(value, best[rows.of(index)])
            if "float" in x.dtype:
                here = t.logical_or(here, t.isnan(value))
            return t.select(here, flat, t.const(2**62, "int64"))

        return rows.reduce("min", place, "int64")


class Argmin(Argmax, name="argmin"):
    """Where the minimum is along an axis, or in the flattened tensor without one: [*s, n] -> i64[*s]."""

    combine = "min"
