"""Reductions over axes.

Where n elements become one, a reduction counts the n - 1 combinations of two; `mean` and such count what
they do besides. An empty list of axes reduces nothing, as in NumPy.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ..dtypes import BOOL, I64, DType, is_bool, is_integer, real_of
from ..sizes.dims import Size, maximum, prod
from .core.base import Elements, Lowering, Op, Shape, case
from .core.counts import Cost
from .core.promotion import floating, need_category
from .core.rows import Rows, wide
from .core.rules import axes_of, need_at_least
from .pointwise import as_float

Axes = int | tuple[int, ...] | None


def reduced(x: Shape, axes: Axes, keepdim: bool) -> Shape:
    """The shape after reducing those axes (None: all); an empty list of axes reduces nothing."""
    rank = len(x)
    # Torch counts one axis of a tensor without axes.
    found = set(axes_of(axes, rank if axes is None else max(rank, 1)))
    if keepdim:
        return tuple(1 if axis in found else size for axis, size in enumerate(x))
    return tuple(size for axis, size in enumerate(x) if axis not in found)


def rows_of(x: Shape, axis: int) -> Shape:
    """The shape without one axis: how many rows there are along it."""
    return reduced(x, axis, False)


def combinations(x: Shape, out: Shape) -> Size:
    """How often two elements are combined when `x` is reduced to `out`."""
    elements, results = prod(x), prod(out)
    if isinstance(elements, int) and isinstance(results, int):
        return max(elements - results, 0)
    return maximum(elements - results, 0)


def need_elements(x: Shape, axes: Axes, what: str) -> None:
    """No reduced axis is empty, or `ShapeError`."""
    for axis in axes_of(axes, len(x) if axes is None else max(len(x), 1)):
        if x:
            need_at_least(x[axis], 1, f"the size that {what} reduces", ("x", axis))


class Reduction(Op):
    """A reduction over `axis`: one, several, or all without it; `keepdim` leaves them with size 1.

    `accepts` is as for elementwise operators; `gives` is "same", "sum" (booleans and integers become i64),
    "real" or "bool". `filled` reductions have no value over an empty axis.
    """

    axis: Axes = None
    keepdim: bool = False
    accepts: ClassVar[str] = "bifc"
    gives: ClassVar[str] = "same"
    filled: ClassVar[bool] = False
    # How elements are combined, as `Elements.reduce` takes it.
    combine: ClassVar[str] = "sum"
    role = "reduction"
    samples = (
        case({}, (2, 3, 4)),
        case({"axis": -1}, (2, 3)),
        case({"axis": (2, 3), "keepdim": True}, (2, 3, 4, 5)),
        case({"axis": ()}, (2, 3)),
        case({"axis": 0}, ()),
    )

    def shape(self, x: Shape) -> Shape:
        if self.filled:
            need_elements(x, self.axis, self.name)
        return reduced(x, self.axis, self.keepdim)

    def dtype(self, x: DType) -> DType:
        need_category(x, self.accepts, self.name)
        if self.gives == "bool":
            return BOOL
        if self.gives == "sum" and (is_bool(x) or is_integer(x)):
            return I64
        return real_of(x) if self.gives == "real" else x

    def torch(self, t: Lowering, x: Any) -> Any:
        if self.axis == ():
            # Torch takes no axes for all axes.
            return self.over(t, x.unsqueeze(-1), (-1,), False)
        axes = tuple(range(t.rank(x))) if self.axis is None else self.axis
        return self.over(t, x, axes if isinstance(axes, tuple) else (axes,), self.keepdim)

    def over(self, t: Lowering, x: Any, axes: tuple[int, ...], keepdim: bool) -> Any:
        """Torch's reduction over the axes, which are not empty unless there are none to reduce."""
        return getattr(t.torch, self.name)(x, dim=axes, keepdim=keepdim)

    def rows(self, t: Elements, x: Any) -> Rows:
        """The rows that are reduced."""
        return Rows(t, x, self.axis, self.keepdim)

    def te(self, t: Elements, x: Any) -> Any:
        dtype = wide(t.dtype())
        found = self.rows(t, x).reduce(self.combine, lambda index: t.cast(x[index], dtype), dtype)
        return self.narrow(t, found)

    def narrow(self, t: Elements, x: Any) -> Any:
        """What was worked out in a wider type, in that of the result."""
        return x if x.dtype == t.dtype() else t.compute(x.shape, lambda *i: x[i])

    def numpy(self, np: Any, x: Any) -> Any:
        axis = self.axis if x.ndim else None
        return getattr(np, self.name)(x, axis=axis, keepdims=self.keepdim)


class Sum(Reduction, name="sum"):
    """Sum over axes: [*s, n] -> [*s]."""

    accumulates = True
    gives = "sum"
    samples = (*Reduction.samples, case({"axis": 1}, ("bool", (2, 3))), case({}, ("complex", (2, 3))))

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(add=combinations(x, out))

    def cost_complex(self, out: Shape, x: Shape) -> Cost:
        """The cost where the operand is complex."""
        return Cost(add=2 * combinations(x, out))


class Mean(Reduction, name="mean"):
    """Mean over axes: [*s, n] -> [*s]; the sum, and one divide for each result."""

    accumulates = True
    accepts = "fc"
    samples = (*Reduction.samples, case({}, ("complex", (2, 3))))

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(add=combinations(x, out), divide=prod(out))

    def cost_complex(self, out: Shape, x: Shape) -> Cost:
        """The cost where the operand is complex."""
        return self.cost(out, x).scaled(2)

    def te(self, t: Elements, x: Any) -> Any:
        dtype = wide(x.dtype)
        return self.narrow(t, self.rows(t, x).mean(lambda index: t.cast(x[index], dtype), dtype))


class Prod(Reduction, name="prod"):
    """Product over axes: [*s, n] -> [*s]."""

    accumulates = True
    gives = "sum"
    combine = "prod"
    samples = (*Reduction.samples, case({"axis": 1}, ("bool", (2, 3))), case({}, ("complex", (2, 3))))

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(multiply=combinations(x, out))

    def cost_complex(self, out: Shape, x: Shape) -> Cost:
        """The cost where the operand is complex."""
        return Cost(multiply=4, add=2).scaled(combinations(x, out))

    def over(self, t: Lowering, x: Any, axes: tuple[int, ...], keepdim: bool) -> Any:
        if not axes:
            return t.torch.prod(x)
        rank = t.rank(x)
        # Torch's takes one axis; the last first, so that the others keep their numbers.
        for axis in sorted((axis % max(rank, 1) for axis in axes), reverse=True) if len(axes) > 1 else axes:
            x = t.torch.prod(x, dim=axis, keepdim=keepdim)
        return x


class Amax(Reduction, name="amax"):
    """Maximum over axes: [*s, n] -> [*s]."""

    accumulates = True
    accepts = "bif"
    filled = True
    combine = "max"

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(compare=combinations(x, out))

    def te(self, t: Elements, x: Any) -> Any:
        # Of booleans the larger is whether any is true.
        combine = self.combine if x.dtype != "bool" else {"max": "any", "min": "all"}[self.combine]
        return self.rows(t, x).reduce(combine, lambda index: x[index], x.dtype)


class Amin(Amax, name="amin"):
    """Minimum over axes: [*s, n] -> [*s]."""

    combine = "min"


class Truth(Reduction):
    """A reduction to booleans; torch gives u8 for u8."""

    accumulates = True
    gives = "bool"
    samples = (*Reduction.samples, case({"axis": 1}, ("bool", (2, 3))), case({}, ("u8", (2, 3))))

    def dtype(self, x: DType) -> DType:
        return x if x == "u8" else BOOL

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(compare=combinations(x, out))

    def te(self, t: Elements, x: Any) -> Any:
        return self.narrow(
            t, self.rows(t, x).reduce(self.name, lambda index: t.cast(x[index], "bool"), "bool")
        )


class AnyOf(Truth, name="any"):
    """Whether any element over axes is not zero: [*s, n] -> bool[*s]."""


class AllOf(Truth, name="all"):
    """Whether all elements over axes are not zero: [*s, n] -> bool[*s]."""


class Norm(Reduction, name="norm"):
    """Vector norm over axes, (sum |x|^p)^(1/p): [*s, n] -> [*s], as torch.linalg.vector_norm.

    `p` may be infinite (the largest |x|), negative, or 0 (how many are not zero).
    """

    p: float = 2.0
    accepts = "fc"
    gives = "real"
    samples = (
        *Reduction.samples,
        *(case({"axis": 1, "p": p}, (2, 3)) for p in (1.0, 3.0, 0.0, float("inf"), -1.0)),
        case({}, ("complex", (2, 3))),
    )

    def shape(self, x: Shape) -> Shape:
        if self.p < 0 or self.p == float("inf"):
            need_elements(x, self.axis, f"the norm of order {self.p}")
        return super().shape(x)

    def cost(self, out: Shape, x: Shape) -> Cost:
        elements, results, pairs = prod(x), prod(out), combinations(x, out)
        if self.p == 2:
            return Cost(multiply=elements, add=pairs, transcendental=results)
        if self.p in (float("inf"), float("-inf")):
            return Cost(compare=elements + pairs)
        if self.p in (0, 1):
            return Cost(compare=elements, add=pairs)
        return Cost(compare=elements, transcendental=elements + results, add=pairs)

    def cost_complex(self, out: Shape, x: Shape) -> Cost:
        """The cost where the operand is complex; |x| = sqrt(re^2 + im^2), without the root for p = 2."""
        elements, results, pairs = prod(x), prod(out), combinations(x, out)
        if self.p == 2:
            return Cost(multiply=2 * elements, add=elements + pairs, transcendental=results)
        if self.p == 0:
            return Cost(compare=2 * elements, add=pairs)
        modulus = Cost(multiply=2, add=1, transcendental=1, compare=-1).scaled(elements)
        return self.cost(out, x) + modulus

    def over(self, t: Lowering, x: Any, axes: tuple[int, ...], keepdim: bool) -> Any:
        return t.torch.linalg.vector_norm(x, self.p, dim=axes, keepdim=keepdim)

    def te(self, t: Elements, x: Any) -> Any:
        return self.narrow(t, self.kernel(t, x))

    def kernel(self, t: Elements, x: Any) -> Any:
        """The norm in the type that sums are taken in."""
        dtype = wide(x.dtype)
        p = self.p
        rows = self.rows(t, x)
        combine = "max" if p == float("inf") else "min" if p == float("-inf") else "sum"

        def power(index: tuple[Any, ...]) -> Any:
            value = t.let(t.cast(x[index], dtype))
            if p == 0:
                return t.cast(t.ne(value, t.const(0, dtype)), dtype)
            if p == 2:
                return value * value
            size = t.abs(value)
            return size if combine != "sum" or p == 1 else t.pow(size, t.const(p, dtype))

        total = rows.reduce(combine, power, dtype)
        if combine != "sum" or p in (0, 1):
            return total

        def root(*row: Any) -> Any:
            return t.sqrt(total[row]) if p == 2 else t.pow(total[row], t.const(1 / p, dtype))

        return t.compute(rows.shape, root, dtype, keep=True)

    def numpy(self, np: Any, x: Any) -> Any:
        axis = self.axis if x.ndim else None
        size = np.abs(x)
        if self.p in (float("inf"), float("-inf")):
            return (np.max if self.p > 0 else np.min)(size, axis=axis, keepdims=self.keepdim)
        if self.p == 0:
            return np.sum(size != 0, axis=axis, keepdims=self.keepdim)
        return np.sum(size**self.p, axis=axis, keepdims=self.keepdim) ** (1 / self.p)


class LogSumExp(Reduction, name="logsumexp"):
    """The logarithm of the sum of e^x over axes, max + log(sum(e^(x - max))): [*s, n] -> [*s]."""

    samples = (*Reduction.samples, case({"axis": 1}, ("i64", (2, 3))), case({}, ("complex", (3,))))

    def dtype(self, x: DType) -> DType:
        return floating(super().dtype(x))

    def cost(self, out: Shape, x: Shape) -> Cost:
        elements, results, pairs = prod(x), prod(out), combinations(x, out)
        return Cost(compare=pairs, add=elements + pairs + results, transcendental=elements + results)

    def cost_complex(self, out: Shape, x: Shape) -> Cost:
        """The cost where the operand is complex: the maximum is that of the real parts."""
        elements, results, pairs = prod(x), prod(out), combinations(x, out)
        exponentials = Cost(multiply=2, transcendental=3).scaled(elements)
        logarithms = Cost(multiply=2, add=1, transcendental=3).scaled(results)
        return exponentials + logarithms + Cost(compare=pairs, add=elements + 2 * pairs + results)

    def over(self, t: Lowering, x: Any, axes: tuple[int, ...], keepdim: bool) -> Any:
        return t.torch.logsumexp(as_float(t, x), dim=axes, keepdim=keepdim)

    def te(self, t: Elements, x: Any) -> Any:
        dtype = wide(t.dtype())
        rows = self.rows(t, x)
        top = rows.reduce("max", lambda index: t.cast(x[index], dtype), dtype)

        def finite(row: tuple[Any, ...]) -> Any:
            # An infinite maximum is not subtracted: infinity less infinity is no number.
            value = t.let(top[row])
            return t.select(t.isinf(value), t.const(0, dtype), value)

        def part(index: tuple[Any, ...]) -> Any:
            return t.exp(t.cast(x[index], dtype) - finite(rows.of(index)))

        total = rows.reduce("sum", part, dtype)
        return t.compute(rows.shape, lambda *row: t.log(total[row]) + finite(row), keep=True)

    def numpy(self, np: Any, x: Any) -> Any:
        axis = self.axis if x.ndim else None
        top = np.max(x.real, axis=axis, keepdims=True)
        top = np.where(np.isinf(top), 0, top)
        found = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
        return found if self.keepdim else np.squeeze(found, axis)
