"""Conversion of types, and the end of gradients. Neither counts as an operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..dtypes import DTYPES, DType, is_bool, is_complex, is_integer
from .core.base import REGISTRY, Elements, Lowering, Op, Shape, case
from .core.counts import NOTHING, Cost
from .core.rules import ShapeError
from .core.spans import Span, Spans, Types

if TYPE_CHECKING:
    from ..types import TensorType


class Cast(Op, name="cast"):
    """Convert the elements to a type: [*s] -> dtype[*s]; complex to real keeps the real part."""

    dtype: DType
    role = "elementwise"
    samples = (
        case({"dtype": "i64"}, (2, 3)),
        case({"dtype": "float"}, ("i64", (3,))),
        case({"dtype": "bool"}, (3,)),
        case({"dtype": "complex"}, (2, 2)),
        case({"dtype": "bf16"}, ()),
    )

    def shape(self, x: Shape) -> Shape:
        return x

    def _infer(self, types: tuple[TensorType, ...], slots: tuple[str, ...]) -> tuple[TensorType, ...]:
        from ..types import TensorType

        if self.dtype not in DTYPES:
            raise ShapeError(f"there is no type {self.dtype}", "value", argument="dtype")
        return (TensorType(types[0].shape, self.dtype),)

    def cost(self, out: Shape, x: Shape) -> Cost:
        return NOTHING

    def spans(self, types: Types, given: Spans) -> list[Span]:
        return [given[0] if is_integer(types[0].dtype) or is_bool(types[0].dtype) else None]

    def torch(self, t: Lowering, x: Any) -> Any:
        return x.to(t.dtype(self.dtype))

    def te(self, t: Elements, x: Any) -> Any:
        return t.compute(t.shape(), lambda *i: x[i])

    def numpy(self, np: Any, x: Any) -> Any:
        if is_complex(self.dtype):
            return x
        if is_bool(self.dtype):
            return x != 0
        real = np.real(x)
        return (
            real.astype(f"{'u' if self.dtype == 'u8' else ''}int{self.dtype[1:]}")
            if is_integer(self.dtype)
            else real
        )


class Detach(Op, name="detach"):
    """The value without its gradient: [*s] -> [*s]. Also called stop_gradient."""

    role = "view"
    samples = (case({}, (2, 3)), case({}, ("i64", ())))

    def shape(self, x: Shape) -> Shape:
        return x

    def cost(self, out: Shape, x: Shape) -> Cost:
        return NOTHING

    def torch(self, t: Lowering, x: Any) -> Any:
        return x.detach()

    def te(self, t: Elements, x: Any) -> Any:
        return t.compute(t.shape(), lambda *i: x[i])

    def numpy(self, np: Any, x: Any) -> Any:
        return x


# The same operator under its other name.
REGISTRY["stop_gradient"] = Detach
