"""What operators on single elements share: functions of one tensor, and of two with broadcasting.

The counts of a class are those of one element of the result. `exp`, `log`, a root, a trigonometric or
hyperbolic function, its inverse, `erf`, the logistic function and a power count one transcendental each; a
change of sign counts one add, an absolute value one compare. Where an operand is complex, `cost_complex`
takes the place of `cost`: it has the same parameters, and counts with every tensor converted to complex.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..dtypes import BOOL, FLOAT, DType, is_complex, is_float, real_of
from ..sizes.dims import Dim, prod
from .core.base import Elements, Lowering, Op, Shape
from .core.counts import NOTHING, Cost
from .core.promotion import Number, exactly, floating, need_category, need_element, result_type
from .core.rules import ShapeError, broadcast

if TYPE_CHECKING:
    from ..types import TensorType


def as_float(t: Lowering, x: Any) -> Any:
    """The operand, converted to `float` where it is boolean or an integer."""
    dtype = t.dtype_of(x)
    return x if is_float(dtype) or is_complex(dtype) else x.to(t.dtype(FLOAT))


def wide(dtype: str) -> str:
    """The type in which elements of a type are worked out: of 16-bit floats float32, as torch does."""
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def number(t: Lowering, scalar: Number) -> Any:
    """A scalar argument at run time; a symbolic size is computed there."""
    return t.size(scalar) if isinstance(scalar, Dim) else scalar


def filling(t: Lowering, scalar: Number, dtype: DType) -> Any:
    """A scalar as an element of a type, where torch refuses one out of range: there it is infinite."""
    if not isinstance(scalar, float) or not is_float(dtype):
        return number(t, scalar)
    return scalar if abs(scalar) <= t.torch.finfo(t.dtype(dtype)).max else scalar * float("inf")


class Unary(Op):
    """A function of each element: [*s] -> [*s].

    `accepts` lists the categories of types (of "bifc": boolean, integer, float, complex). `gives` is the
    result's type: "same", "float" (booleans and integers become `float`), "real" (complex becomes its real
    type) or "bool". `function` is the name in torch, if it is another.
    """

    counts: ClassVar[Cost] = NOTHING
    counts_complex: ClassVar[Cost | None] = None
    accepts: ClassVar[str] = "bifc"
    gives: ClassVar[str] = "same"
    function: ClassVar[str] = ""
    # Where tests of values draw the operand from, for functions that not all real numbers have.
    domain: ClassVar[tuple[float, float] | None] = None
    role = "elementwise"

    def shape(self, x: Shape) -> Shape:
        return x

    def dtype(self, x: DType) -> DType:
        need_category(x, self.accepts, self.name)
        if self.gives == "bool":
            return BOOL
        if self.gives == "real":
            return real_of(x)
        return floating(x) if self.gives == "float" else x

    def cost(self, out: Shape, x: Shape) -> Cost:
        return self.counts.scaled(prod(out))

    def cost_complex(self, out: Shape, x: Shape) -> Cost:
        """The cost where the operand is complex."""
        return (self.counts if self.counts_complex is None else self.counts_complex).scaled(prod(out))

    def torch(self, t: Lowering, x: Any) -> Any:
        return getattr(t.torch, self.function or self.name)(as_float(t, x) if self.gives == "float" else x)

    def te(self, t: Elements, x: Any) -> Any:
        wanted = wide(x.dtype if self.gives == "bool" else t.dtype())
        return t.compute(t.shape(), lambda *i: self.scalar(t, t.let(t.cast(x[i], wanted))))

    def numpy(self, np: Any, x: Any) -> Any:
        return getattr(np, _NUMPY.get(self.name, self.name))(x)

    def scalar(self, t: Elements, x: Any) -> Any:
        """The function of one element, as an expression."""
        return getattr(t, self.function or self.name)(x)


class Exact(Op):
    """An operator whose scalar arguments keep their types: with 1 it differs from itself with 1.0 or true."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(
            exactly(getattr(self, name)) == exactly(getattr(other, name)) for name in self.arguments()
        )

    __hash__ = Op.__hash__


class Binary(Exact):
    """A function of two tensors under broadcasting, or of a tensor and a scalar.

    The scalar is the right operand, with `reverse` the left one. Types are promoted as torch does; `accepts`
    lists the categories that the common type may have; `gives` is "same", "float" or "bool" as for `Unary`.
    `compute` gets two operands for torch; where torch takes no scalar, `lifts` makes it a tensor.
    """

    scalar: Number | None = None
    reverse: bool = False
    counts: ClassVar[Cost] = NOTHING
    counts_complex: ClassVar[Cost | None] = None
    accepts: ClassVar[str] = "bifc"
    gives: ClassVar[str] = "same"
    lifts: ClassVar[bool] = False
    compute: ClassVar[Callable[[Lowering, Any, Any], Any]]
    role = "elementwise"

    def shape(self, x: Shape, y: Shape | None = None) -> Shape:
        if (y is None) == (self.scalar is None):
            raise ShapeError(
                f"{self.name} takes two tensors, or a tensor and a scalar", "value", argument="scalar"
            )
        return x if y is None else broadcast(x, y, what=self.name, slots=("x", "y"))

    def _infer(self, types: tuple[TensorType, ...], slots: tuple[str, ...]) -> tuple[TensorType, ...]:
        # Not by a rule over types alone: tensors without axes weigh less.
        from ..types import TensorType

        shape = self.call(self.shape, self.arrange(slots, [type.shape for type in types]))
        return (TensorType(shape, self.result([(type.dtype, len(type.shape)) for type in types])),)

    def common(self, operands: list[tuple[DType, int]]) -> DType:
        """The type that the operands, each given as (type, rank), are converted to."""
        return result_type(operands, () if self.scalar is None else (self.scalar,))

    def result(self, operands: list[tuple[DType, int]]) -> DType:
        """The type of the result; `ShapeError` where it is none."""
        common = self.common(operands)
        need_category(common, self.accepts, self.name)
        if self.lifts and self.scalar is not None:
            need_element(self.scalar, common, "scalar")
        if self.gives == "bool":
            return BOOL
        return floating(common) if self.gives == "float" else common

    def cost(self, out: Shape, x: Shape, y: Shape | None = None) -> Cost:
        return self.counts.scaled(prod(out))

    def cost_complex(self, out: Shape, x: Shape, y: Shape | None = None) -> Cost:
        """The cost where an operand is complex."""
        return (self.counts if self.counts_complex is None else self.counts_complex).scaled(prod(out))

    def torch(self, t: Lowering, x: Any, y: Any = None) -> Any:
        operands = [x] if y is None else [x, y]
        common = self.common([(t.dtype_of(operand), t.rank(operand)) for operand in operands])
        inexact = any(
            is_float(t.dtype_of(operand)) or is_complex(t.dtype_of(operand)) for operand in operands
        )
        if not inexact and (is_float(common) or self.gives == "float"):
            operands = [as_float(t, operand) for operand in operands]
        left = operands[0]
        if y is not None:
            right = operands[1]
        else:
            assert self.scalar is not None
            right = number(t, self.scalar)
            if self.lifts:
                right = left.new_full((), filling(t, self.scalar, common), dtype=t.dtype(common))
        if self.reverse:
            left, right = right, left
        return type(self).compute(t, left, right)

    def te(self, t: Elements, x: Any, y: Any = None) -> Any:
        return t.compute(t.shape(), lambda *i: self.combine(t, *self.sides(t, i, x, y)))

    def sides(self, t: Elements, i: Sequence[Any], x: Any, y: Any) -> tuple[Any, Any]:
        """The left and the right operand at an index of the result, in the type that they are promoted to."""
        types = [value.type for value in t.node.inputs]
        common = self.common([(type.dtype, len(type.shape)) for type in types])
        wanted = wide(t.type(floating(common) if self.gives == "float" else common))
        left = t.cast(t.read(x, i), wanted)
        right = t.cast(t.number(self.scalar) if y is None else t.read(y, i), wanted)
        return (right, left) if self.reverse else (left, right)

    def numpy(self, np: Any, x: Any, y: Any = None) -> Any:
        other = self.scalar if y is None else y
        function = getattr(np, _NUMPY.get(self.name, self.name))
        return function(other, x) if self.reverse else function(x, other)

    def combine(self, t: Elements, left: Any, right: Any) -> Any:
        """The function of two elements of one type, as an expression."""
        return getattr(t, self.name)(left, right)


# Where numpy has another name than torch.
_NUMPY = {
    "sub": "subtract",
    "mul": "multiply",
    "div": "divide",
    "pow": "power",
    "eq": "equal",
    "ne": "not_equal",
    "neg": "negative",
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "asinh": "arcsinh",
    "acosh": "arccosh",
    "atanh": "arctanh",
}
