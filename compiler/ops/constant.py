"""Tensors made of nothing but arguments, and masks of tensors.

What depends on no input is folded, so that making it counts no operation.
"""

from __future__ import annotations

from math import ceil, isfinite
from typing import TYPE_CHECKING, Any, cast

from ..dtypes import BOOL, DTYPES, FLOAT, I64, DType, is_integer
from ..sizes.dims import Dim, Size, ceil_div
from .core.base import Elements, Lowering, Op, Shape, case
from .core.counts import NOTHING, Cost
from .core.promotion import Number, need_category, need_element, type_of_number
from .core.rules import ShapeError, need_at_least, need_rank
from .core.spans import Span, Spans, Types
from .pointwise import Exact, filling, number
from .positions import Positions

if TYPE_CHECKING:
    from ..types import TensorType


class Constant(Exact):
    """A tensor made of arguments; its type is the argument `dtype` unless the class chooses it."""

    role = "move"

    def element(self) -> DType:
        """The type of the elements."""
        return getattr(self, "dtype", FLOAT)

    def _infer(self, types: tuple[TensorType, ...], slots: tuple[str, ...]) -> tuple[TensorType, ...]:
        from ..types import TensorType

        shape: Shape = self.call(self.shape, {})
        for size in shape:
            need_at_least(size, 0, f"a size of {self.name}")
        if self.element() not in DTYPES:
            raise ShapeError(f"there is no type {self.element()}", "value", argument="dtype")
        return (TensorType(shape, self.element()),)

    def cost(self, out: Shape) -> Cost:
        return NOTHING


class Full(Constant, name="full"):
    """A tensor of one value: [] -> [*sizes]; its type is the value's, unless given."""

    sizes: tuple[Size, ...]
    value: Number
    dtype: DType | None = None
    samples = (
        case({"sizes": (2, 3), "value": 0.5}),
        case({"sizes": (), "value": True}),
        case({"sizes": (4,), "value": 7}),
        case({"sizes": (4,), "value": 7, "dtype": "f64"}),
    )

    def element(self) -> DType:
        return self.dtype or type_of_number(self.value)

    def shape(self) -> Shape:
        need_element(self.value, self.element(), "value")
        return self.sizes

    def spans(self, types: Types, given: Spans) -> list[Span]:
        return [None if isinstance(self.value, float) else (self.value, self.value)]

    def torch(self, t: Lowering) -> Any:
        sizes = tuple(t.size(size) for size in self.sizes)
        return t.torch.full(sizes, filling(t, self.value, self.element()), dtype=t.dtype(self.element()))

    def te(self, t: Elements) -> Any:
        return t.compute(t.shape(), lambda *i: t.number(self.value))

    def numpy(self, np: Any) -> Any:
        return np.full(self.sizes, self.value)


class Zeros(Constant, name="zeros"):
    """Zeros: [] -> [*sizes]."""

    sizes: tuple[Size, ...]
    dtype: DType = FLOAT
    samples = (case({"sizes": (2, 3)}), case({"sizes": ()}), case({"sizes": (4,), "dtype": "i64"}))

    def shape(self) -> Shape:
        return self.sizes

    def spans(self, types: Types, given: Spans) -> list[Span]:
        return [(0, 1)]

    def torch(self, t: Lowering) -> Any:
        sizes = tuple(t.size(size) for size in self.sizes)
        return getattr(t.torch, self.name)(sizes, dtype=t.dtype(self.dtype))

    def te(self, t: Elements) -> Any:
        return t.compute(t.shape(), lambda *i: t.const(self.name == "ones"))

    def numpy(self, np: Any) -> Any:
        return np.full(self.sizes, int(self.name == "ones"))


class Ones(Zeros, name="ones"):
    """Ones: [] -> [*sizes]."""


class Eye(Constant, name="eye"):
    """Ones on the diagonal, else zeros: [] -> [rows, columns]; square unless `columns` is given."""

    rows: Size
    columns: Size | None = None
    dtype: DType = FLOAT
    samples = (case({"rows": 3}), case({"rows": 2, "columns": 4, "dtype": "bool"}))

    def shape(self) -> Shape:
        return (self.rows, self.rows if self.columns is None else self.columns)

    def torch(self, t: Lowering) -> Any:
        return t.torch.eye(*(t.size(size) for size in self.shape()), dtype=t.dtype(self.dtype))

    def te(self, t: Elements) -> Any:
        return t.compute(t.shape(), lambda *i: t.select(i[0] == i[1], t.const(1), t.const(0)))

    def numpy(self, np: Any) -> Any:
        return np.eye(self.rows, self.columns)


class Arange(Constant, name="arange"):
    """Numbers from `start` up to, without, `end`: [] -> [ceil((end - start)/step)]; `arange(n)` starts at 0.

    Integers are i64 and others `float`, unless a type is given.
    """

    start: Number
    end: Number | None = None
    step: int | float = 1
    dtype: DType | None = None
    samples = (
        case({"start": 5}),
        case({"start": 2, "end": 9, "step": 3}),
        case({"start": 9, "end": 2, "step": -3, "dtype": "float"}),
        case({"start": 0.0, "end": 1.0, "step": 0.3}),
    )

    def element(self) -> DType:
        bounds = (self.start, self.step, self.end)
        return self.dtype or (FLOAT if any(isinstance(bound, float) for bound in bounds) else I64)

    def _bounds(self) -> tuple[Number, Number]:
        return (0, self.start) if self.end is None else (self.start, self.end)

    def shape(self) -> Shape:
        need_category(self.element(), "if", "arange")
        start, end = self._bounds()
        if self.step == 0:
            raise ShapeError("`step` is 0", "value", argument="step")
        if isinstance(self.step, int) and not isinstance(start, float) and not isinstance(end, float):
            room = end - start if self.step > 0 else start - end
            need_at_least(room, 0, "the way from `start` to `end`, in the direction of `step`,")
            return (ceil_div(room, abs(self.step)),)
        if isinstance(start, Dim) or isinstance(end, Dim):
            raise ShapeError("arange takes symbolic sizes with integers only", "value", argument="step")
        steps = (end - start) / self.step
        if not isfinite(steps):
            raise ShapeError(
                "from `start` to `end` are more steps than can be counted", "value", argument="step"
            )
        if steps < 0:
            raise ShapeError("`step` does not lead from `start` to `end`", "value", argument="step")
        return (ceil(steps),)

    def spans(self, types: Types, given: Spans) -> list[Span]:
        start, end = self._bounds()
        if isinstance(start, float) or isinstance(end, float) or isinstance(self.step, float):
            return [None]
        return [(start, end - 1) if self.step > 0 else (end + 1, start)]

    def torch(self, t: Lowering) -> Any:
        start, end = (number(t, bound) for bound in self._bounds())
        return t.torch.arange(start, end, self.step, dtype=t.dtype(self.element()))

    def te(self, t: Elements) -> Any:
        # In the widest type: steps that are added up in float32 would drift.
        exact = "int64" if is_integer(self.element()) else "float64"
        start, step = (t.cast(t.number(bound), exact) for bound in (self._bounds()[0], self.step))
        return t.compute(t.shape(), lambda *i: start + t.cast(i[0], exact) * step)


class Linspace(Constant, name="linspace"):
    """Numbers evenly spaced from `start` to `end`, both included: [] -> [steps]."""

    start: float
    end: float
    steps: Size
    dtype: DType = FLOAT
    samples = (case({"start": 0.0, "end": 1.0, "steps": 5}), case({"start": -1.0, "end": 1.0, "steps": 1}))

    def shape(self) -> Shape:
        need_category(self.dtype, "ifc", "linspace")
        return (self.steps,)

    def torch(self, t: Lowering) -> Any:
        return t.torch.linspace(self.start, self.end, t.size(self.steps), dtype=t.dtype(self.dtype))

    def te(self, t: Elements) -> Any:
        start, end = t.const(self.start, "float64"), t.const(self.end, "float64")
        gaps = t.cast(t.number(self.steps), "float64") - t.const(1, "float64")
        step = (end - start) / t.maximum(gaps, t.const(1, "float64"))

        def element(i: Any) -> Any:
            # From the nearer end, so that both ends are exact.
            at = t.let(t.cast(i, "float64"))
            left = gaps - at
            return t.select(at <= left, start + step * at, end - step * left)

        return t.compute(t.shape(), element)

    def numpy(self, np: Any) -> Any:
        return np.linspace(self.start, self.end, self.steps)


Nested = Number | tuple["Nested", ...]


class Literal(Constant, name="tensor"):
    """A tensor of written values, a number or nested lists of equal lengths: [] -> the lists' lengths.

    Its type is the widest of the values', unless given.
    """

    values: Any
    dtype: DType | None = None
    samples = (
        case({"values": ((1.0, 2.0), (3.0, 4.5))}),
        case({"values": (1, 2, 3)}),
        case({"values": (True, False)}),
        case({"values": 3}),
        case({"values": ((), ())}),
        case({"values": (1, 2, 3), "dtype": "float"}),
    )

    def element(self) -> DType:
        if self.dtype is not None:
            return self.dtype
        found = {type_of_number(item) for item in _numbers(self.values)}
        return next((dtype for dtype in (FLOAT, I64, BOOL) if dtype in found), FLOAT)

    def shape(self) -> Shape:
        shape = _lengths(self.values)
        for value in _numbers(self.values):
            need_element(value, self.element(), "values")
        return shape

    def spans(self, types: Types, given: Spans) -> list[Span]:
        found = _numbers(self.values)
        whole = [item for item in found if isinstance(item, int)]
        return [(min(whole), max(whole)) if whole and len(whole) == len(found) else None]

    def torch(self, t: Lowering) -> Any:
        return t.torch.tensor(_lists(self.values), dtype=t.dtype(self.element()))

    def numpy(self, np: Any) -> Any:
        # Converted to the type of the result where it is stored.
        found = np.array(_lists(self.values))
        return found.astype(np.int64) if is_integer(self.element()) else found.reshape(self.shape())


def _items(values: Any) -> tuple[Any, ...] | None:
    return cast("tuple[Any, ...]", values) if isinstance(values, tuple) else None


def _numbers(values: Any) -> list[Number]:
    items = _items(values)
    return [values] if items is None else [number for item in items for number in _numbers(item)]


def _lists(values: Any) -> Any:
    items = _items(values)
    return values if items is None else [_lists(item) for item in items]


def _lengths(values: Any) -> tuple[int, ...]:
    items = _items(values)
    if items is None:
        if not isinstance(values, (bool, int, float)):
            raise ShapeError(
                f"a tensor is made of numbers that are known, and got {values}", "value", argument="values"
            )
        return ()
    lengths = {_lengths(item) for item in items}
    if len(lengths) > 1:
        raise ShapeError("the lists of a tensor have equal lengths", "value", argument="values")
    return (len(items), *(lengths.pop() if lengths else ()))


class Tril(Op, name="tril"):
    """The lower triangle of matrices, else zero: [*b, M, N] -> [*b, M, N]; `diagonal` moves its edge up."""

    diagonal: int = 0
    role = "elementwise"
    samples = (case({}, (3, 3)), case({"diagonal": -1}, (2, 3, 4)), case({"diagonal": 1}, ("bool", (3, 3))))

    def shape(self, x: Shape) -> Shape:
        need_rank(x, 2, None, self.name)
        return x

    def cost(self, out: Shape, x: Shape) -> Cost:
        # Which elements stay is known beforehand.
        return NOTHING

    def torch(self, t: Lowering, x: Any) -> Any:
        return getattr(t.torch, self.name)(x, diagonal=self.diagonal)

    def te(self, t: Elements, x: Any) -> Any:
        def element(*i: Any) -> Any:
            edge = i[-2] + self.diagonal
            inside = i[-1] <= edge if self.name == "tril" else i[-1] >= edge
            return t.select(inside, x[i], t.const(0))

        return t.compute(t.shape(), element)

    def numpy(self, np: Any, x: Any) -> Any:
        return getattr(np, self.name)(x, self.diagonal)


class Triu(Tril, name="triu"):
    """The upper triangle of matrices, else zero: [*b, M, N] -> [*b, M, N]; `diagonal` moves its edge up."""


class OneHot(Op, name="one_hot"):
    """1 at the index and 0 elsewhere: i64[*s] -> i64[*s, classes]; an index that is no class is an error."""

    classes: Size
    role = "move"
    samples = (case({"classes": 3}, ("i64", (2, 4))), case({"classes": 2}, ("i64", ())))

    def shape(self, x: Shape) -> Shape:
        need_at_least(self.classes, 1, "`classes`")
        return (*x, self.classes)

    def dtype(self, x: DType) -> DType:
        if x != I64:
            raise ShapeError(
                f"one_hot takes i64, and got {x}", "dtype", (("x", None),), help="`x -> cast(i64)`"
            )
        return I64

    def cost(self, out: Shape, x: Shape) -> Cost:
        return NOTHING

    def torch(self, t: Lowering, x: Any) -> Any:
        return t.F.one_hot(x, t.size(self.classes))

    def positions(self, out: Shape, x: Shape) -> Positions:
        return Positions("x", self.classes)

    def te(self, t: Elements, x: Any) -> Any:
        return t.compute(t.shape(), lambda *i: t.select(x[i[:-1]] == i[-1], t.const(1), t.const(0)))
