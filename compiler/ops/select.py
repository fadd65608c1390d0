"""Choosing between values: by a condition, by bounds, by a weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ..dtypes import DType, is_bool, is_float
from ..sizes.dims import maximum, minimum, prod
from .core.base import Elements, Lowering, Op, Shape, case
from .core.counts import Cost
from .core.promotion import Number, need_category, need_element, result_type
from .core.rows import wide
from .core.rules import ShapeError, broadcast, need_inexact, need_same_dtype
from .core.spans import Span, Spans, Types, either
from .pointwise import Exact, as_float, filling, number

if TYPE_CHECKING:
    from ..types import TensorType


class Where(Exact, name="where"):
    """`x` where the condition holds and `y` elsewhere: bool[*s], [*s], [*s] -> [*s] under broadcasting.

    A scalar stands in for an operand left out: `then` for `x`, `otherwise` for `y`.
    """

    then: Number | None = None
    otherwise: Number | None = None
    # Which argument a scalar written in the place of an operand is.
    stand_ins: ClassVar[dict[str, str]] = {"x": "then", "y": "otherwise"}
    role = "elementwise"
    samples = (
        case({}, ("bool", (2, 3)), (2, 3), (2, 3)),
        case({}, ("bool", (2, 1)), (3,), ("f64", ())),
        case({"then": 0}, ("bool", (3,)), None, ("i32", (2, 3))),
        case({"then": 1, "otherwise": 0.5}, ("bool", (3,))),
        case({"otherwise": float("-inf")}, ("bool", (4, 1, 3)), (2, 1)),
        case({"otherwise": 2.5}, ("bool", (3,)), ("i64", (3,))),
    )

    def shape(self, condition: Shape, x: Shape | None = None, y: Shape | None = None) -> Shape:
        for slot, operand, argument in (("x", x, "then"), ("y", y, "otherwise")):
            if (operand is None) == (getattr(self, argument) is None):
                raise ShapeError(
                    f"where takes either a tensor `{slot}` or a scalar `{argument}`",
                    "value",
                    argument=argument,
                )
        given = {"condition": condition} | {k: v for k, v in (("x", x), ("y", y)) if v is not None}
        return broadcast(*given.values(), what="where", slots=tuple(given))

    def _infer(self, types: tuple[TensorType, ...], slots: tuple[str, ...]) -> tuple[TensorType, ...]:
        from ..types import TensorType

        shape = self.call(self.shape, self.arrange(slots, [type.shape for type in types]))
        if not is_bool(types[0].dtype):
            raise ShapeError(
                f"the condition of where is boolean, and got {types[0].dtype}",
                "dtype",
                (("condition", None),),
            )
        common = self._common([(type.dtype, len(type.shape)) for type in types[1:]])
        for argument, scalar in (("then", self.then), ("otherwise", self.otherwise)):
            if scalar is not None:
                need_element(scalar, common, argument)
        return (TensorType(shape, common),)

    def _scalars(self) -> list[Number]:
        return [scalar for scalar in (self.then, self.otherwise) if scalar is not None]

    def _common(self, operands: list[tuple[DType, int]]) -> DType:
        return result_type(operands, self._scalars())

    def cost(self, out: Shape, condition: Shape, x: Shape | None = None, y: Shape | None = None) -> Cost:
        return Cost(compare=prod(out))

    def spans(self, types: Types, given: Spans) -> list[Span]:
        scalars = [None if isinstance(scalar, float) else (scalar, scalar) for scalar in self._scalars()]
        return [either([*given[1:], *scalars])]

    def torch(self, t: Lowering, condition: Any, x: Any = None, y: Any = None) -> Any:
        given = [operand for operand in (x, y) if operand is not None]
        common = self._common([(t.dtype_of(operand), t.rank(operand)) for operand in given])
        convert = is_float(common) and not any(is_float(t.dtype_of(operand)) for operand in given)

        def operand(given: Any, scalar: Number | None) -> Any:
            if given is None:
                assert scalar is not None
                return condition.new_full((), filling(t, scalar, common), dtype=t.dtype(common))
            return as_float(t, given) if convert else given

        return t.torch.where(condition, operand(x, self.then), operand(y, self.otherwise))

    def te(self, t: Elements, condition: Any, x: Any = None, y: Any = None) -> Any:
        def element(*i: Any) -> Any:
            yes = t.number(self.then) if x is None else t.read(x, i)
            no = t.number(self.otherwise) if y is None else t.read(y, i)
            return t.select(t.read(condition, i), t.cast(yes, t.dtype()), t.cast(no, t.dtype()))

        return t.compute(t.shape(), element)

    def numpy(self, np: Any, condition: Any, x: Any = None, y: Any = None) -> Any:
        return np.where(condition, self.then if x is None else x, self.otherwise if y is None else y)


class Clamp(Exact, name="clamp"):
    """Keep each element within [min, max]: [*s] -> [*s]; one compare for each bound given."""

    min: Number | None = None
    max: Number | None = None
    role = "elementwise"
    samples = (
        case({"min": 0.0, "max": 1.0}, (2, 3)),
        case({"min": 0}, ("i64", (3,))),
        case({"max": 1.5}, ("i64", (3,))),
        case({"min": 1, "max": 2}, ("bool", (3,))),
    )

    def shape(self, x: Shape) -> Shape:
        if self.min is None and self.max is None:
            raise ShapeError("clamp needs `min` or `max`", "value", argument="min")
        return x

    def _infer(self, types: tuple[TensorType, ...], slots: tuple[str, ...]) -> tuple[TensorType, ...]:
        from ..types import TensorType

        common = self._common(types[0].dtype, len(types[0].shape))
        need_category(common, "if", "clamp")
        for argument, bound in (("min", self.min), ("max", self.max)):
            if bound is not None:
                need_element(bound, common, argument)
        return (TensorType(self.shape(types[0].shape), common),)

    def _common(self, dtype: DType, rank: int) -> DType:
        return result_type([(dtype, rank)], [bound for bound in (self.min, self.max) if bound is not None])

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(compare=prod(out) * ((self.min is not None) + (self.max is not None)))

    def spans(self, types: Types, given: Spans) -> list[Span]:
        if isinstance(self.min, float) or isinstance(self.max, float):
            return [None]
        least, most = given[0] or (self.min, self.max)
        if least is None or most is None:
            return [None]
        if self.min is not None:
            least, most = maximum(least, self.min), maximum(most, self.min)
        # The greater bound comes last.
        return [(least, most) if self.max is None else (minimum(least, self.max), minimum(most, self.max))]

    def torch(self, t: Lowering, x: Any) -> Any:
        if is_float(self._common(t.dtype_of(x), t.rank(x))):
            x = as_float(t, x)
        bounds = {"min": self.min, "max": self.max}
        return t.torch.clamp(
            x, **{key: number(t, bound) for key, bound in bounds.items() if bound is not None}
        )

    def te(self, t: Elements, x: Any) -> Any:
        def element(*i: Any) -> Any:
            value = t.cast(x[i], t.dtype())
            if self.min is not None:
                value = t.maximum(value, t.cast(t.number(self.min), t.dtype()))
            if self.max is not None:
                value = t.minimum(value, t.cast(t.number(self.max), t.dtype()))
            return value

        return t.compute(t.shape(), element)


class Lerp(Op, name="lerp"):
    """Linear interpolation x + weight*(y - x): [*s], [*s], [*s] -> [*s] under broadcasting.

    A scalar `by` stands in for `weight`.
    """

    by: float | None = None
    role = "elementwise"
    samples = (
        case({"by": 0.25}, (2, 3), (3,)),
        case({}, (2, 3), (2, 3), (3,)),
        case({"by": 2.0}, ("c128", (3,)), ("c128", (2, 1))),
    )
    stand_ins: ClassVar[dict[str, str]] = {"weight": "by"}

    def shape(self, x: Shape, y: Shape, weight: Shape | None = None) -> Shape:
        if (weight is None) == (self.by is None):
            raise ShapeError("lerp takes either a tensor `weight` or a scalar `by`", "value", argument="by")
        operands = (x, y) if weight is None else (x, y, weight)
        return broadcast(*operands, what="lerp", slots=("x", "y", "weight")[: len(operands)])

    def dtype(self, x: DType, y: DType, weight: DType | None = None) -> DType:
        need_inexact(x, "lerp")
        need_same_dtype({"x": x, "y": y} | ({} if weight is None else {"weight": weight}), "lerp")
        return x

    def cost(self, out: Shape, x: Shape, y: Shape, weight: Shape | None = None) -> Cost:
        return Cost(add=2, multiply=1).scaled(prod(out))

    def cost_complex(self, out: Shape, x: Shape, y: Shape, weight: Shape | None = None) -> Cost:
        """The cost where the operands are complex."""
        each = Cost(add=4, multiply=2) if weight is None else Cost(add=6, multiply=4)
        return each.scaled(prod(out))

    def torch(self, t: Lowering, x: Any, y: Any, weight: Any = None) -> Any:
        return t.torch.lerp(x, y, self.by if weight is None else weight)

    def te(self, t: Elements, x: Any, y: Any, weight: Any = None) -> Any:
        dtype = wide(t.dtype())

        def element(*i: Any) -> Any:
            start, end = (t.let(t.cast(t.read(operand, i), dtype)) for operand in (x, y))
            step = t.let(end - start)
            if weight is None:
                assert self.by is not None
                # From the nearer end, so that a weight of 1 gives that end exactly.
                near = abs(self.by) < 0.5
                return (
                    start + t.const(self.by, dtype) * step
                    if near
                    else end - step * t.const(1 - self.by, dtype)
                )
            w = t.let(t.cast(t.read(weight, i), dtype))
            near = t.mul(w < t.const(0.5, dtype), w > t.const(-0.5, dtype))
            return t.select(near, start + w * step, end - step * (t.const(1, dtype) - w))

        return t.compute(t.shape(), element)

    def numpy(self, np: Any, x: Any, y: Any, weight: Any = None) -> Any:
        w: Any = self.by if weight is None else weight
        return np.where(np.abs(w) < 0.5, x + w * (y - x), y - (y - x) * (1 - w))
