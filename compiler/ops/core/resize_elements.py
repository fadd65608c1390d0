"""Resampling to another size in loops, with the arithmetic of torch: where a position is close to an element,
the last bit decides which one is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...sizes.dims import Size, ceil_div, equal, maximum
from .base import Elements
from .sample_elements import Tap, cubic
from .window_elements import sum_type


@dataclass(frozen=True)
class Axis:
    """One spatial axis: both sizes, and the factor that was given or None."""

    t: Elements
    size: Size
    count: Size
    scale: float | None
    align: bool

    def ratio(self, dtype: str) -> Any:
        """Elements of the input for one of the result, in a float type."""
        t = self.t
        if self.align:
            spans = self.count - 1
            if isinstance(spans, int):
                return self._quotient(self.size - 1, spans, dtype) if spans > 0 else t.const(0, dtype)
            one = t.const(1, dtype)
            found = t.cast(t.size(self.size - 1), dtype) / t.maximum(t.cast(t.size(spans), dtype), one)
            return t.select(t.size(self.count) > 1, found, t.const(0, dtype))
        if self.scale is not None:
            return t.const(1 / self.scale, dtype)
        return self._quotient(self.size, self.count, dtype)

    def _quotient(self, above: Size, below: Size, dtype: str) -> Any:
        t = self.t
        if isinstance(above, int) and isinstance(below, int):
            return t.const(above / below, dtype)
        return t.cast(t.size(above), dtype) / t.cast(t.size(below), dtype)

    def unless_same(self, o: Any, other: Any) -> Any:
        """`o` itself where both sizes are the same though a factor was given, else `other`."""
        if self.scale is None or equal(self.size, self.count) is False:
            return other
        if equal(self.size, self.count) is True:
            return o
        t = self.t
        return t.select(t.size(self.size) == t.size(self.count), o, other)

    def bounded(self, index: Any) -> Any:
        """The index, at most that of the last element."""
        last = self.t.size(self.size - 1)
        return self.t.minimum(index, last)

    def whole(self, value: Any) -> Any:
        """A float rounded down to an index; torch rounds it to float32 before."""
        t = self.t
        return t.cast(t.floor(t.cast(value, "float32")), self.index)

    @property
    def index(self) -> str:
        """The type of indices."""
        return self.t.index_type(self.size, self.count)

    def centre(self, o: Any, dtype: str) -> Any:
        """The position of the result `o` in the input, from the first element's centre."""
        t = self.t
        half = t.const(0.5, dtype)
        if self.align:
            return self.ratio(dtype) * t.cast(o, dtype)
        return self.ratio(dtype) * (t.cast(o, dtype) + half) - half

    def nearest(self, o: Any, dtype: str, exact: bool) -> Any:
        """The element nearest to the result `o`, by its first corner or exactly."""
        t = self.t
        at = t.cast(o, dtype)
        if exact:
            at = at + t.const(0.5, dtype)
        return t.let(self.bounded(self.whole(self.ratio(dtype) * at)))

    def nearest_small(self, o: Any, exact: bool) -> Any:
        """The same as torch has it for small pictures: in float32, and without it for 1 and 2 times."""
        found = self.nearest(o, "float32", exact)
        if exact or self.scale is None:
            return found
        t = self.t
        o = t.cast(o, self.index)
        if equal(2 * self.size, self.count) is True:
            return o // 2
        if equal(2 * self.size, self.count) is None:
            found = t.select(t.size(2 * self.size) == t.size(self.count), o // 2, found)
        return self.unless_same(o, found)

    def linear(self, o: Any, dtype: str) -> list[Tap]:
        """Both neighbours."""
        t = self.t
        zero, one = t.const(0, dtype), t.const(1, dtype)
        at = t.let(t.maximum(self.unless_same(t.cast(o, dtype), self.centre(o, dtype)), zero))
        first = t.let(self.bounded(self.whole(at)))
        share = t.let(t.minimum(t.maximum(at - t.cast(first, dtype), zero), one))
        return [Tap(one - share, first), Tap(share, t.let(self.bounded(first + 1)))]

    def cubic(self, o: Any, dtype: str) -> list[Tap]:
        """The four neighbours, those outside being the outermost."""
        t = self.t
        at = t.let(self.centre(o, dtype))
        first = t.let(self.bounded(self.whole(at)))
        share = t.minimum(t.maximum(at - t.cast(first, dtype), t.const(0, dtype)), t.const(1, dtype))
        weights = cubic(t, t.let(share), dtype)
        return [
            Tap(weight, t.let(self.bounded(t.maximum(first + step, 0))))
            for step, weight in zip((-1, 0, 1, 2), weights, strict=True)
        ]


def filtered(axis: Axis, x: Any, at: int, reach: int, widen: bool, dtype: str) -> Any:
    """One axis of a tensor resampled by a triangle (`reach` 1) or Keys' kernel (2).

    With `widen` the filter grows where the result is smaller, against aliasing, and Keys' a is -0.5 instead
    of -0.75.
    """
    t = axis.t
    count = t.size(axis.count)
    ratio = axis.ratio(dtype)
    half, one = t.const(0.5, dtype), t.const(1, dtype)
    scale = t.maximum(ratio, one) if widen else one
    support = t.const(reach, dtype) * scale

    def centre(o: Any) -> Any:
        return ratio * (t.cast(o, dtype) + half)

    def start(o: Any) -> Any:
        return t.maximum(t.cast(centre(o) - support + half, "int64"), 0)

    def length(o: Any) -> Any:
        return t.minimum(t.cast(centre(o) + support + half, "int64"), t.size(axis.size)) - start(o)

    def weight(o: Any, j: Any) -> Any:
        distance = (t.cast(j + start(o), dtype) - centre(o) + half) / scale
        found = _kernel(t, t.let(t.abs(distance)), reach, -0.5 if widen else -0.75, dtype)
        return t.select(t.cast(j, "int64") < length(o), found, t.const(0, dtype))

    width = _width(axis, reach, widen)
    starts = t.compute((count,), start, "int64", keep=True)
    lengths = t.compute((count,), length, "int64", keep=True)
    totals = t.reduce("sum", (count,), (width,), weight, dtype)
    weights = t.compute((count, width), lambda *i: weight(*i) / totals[i[0]], dtype, keep=True)
    shape = [*x.shape[:at], count, *x.shape[at + 1 :]]

    def product(*index: Any) -> Any:
        i, j = index[:-1], index[-1]
        o = i[at]
        return t.guard(
            j < lengths[o],
            lambda: t.cast(x[(*i[:at], starts[o] + j, *i[at + 1 :])], dtype) * weights[o, j],
            t.const(0, dtype),
        )

    return t.reduce("sum", shape, (width,), product, dtype)


def _kernel(t: Elements, x: Any, reach: int, a: float, dtype: str) -> Any:
    def const(value: float) -> Any:
        return t.const(value, dtype)

    if reach == 1:
        return t.select(x < const(1), const(1) - x, const(0))
    near = (const(a + 2) * x - const(a + 3)) * x * x + const(1)
    far = ((const(a) * x - const(5 * a)) * x + const(8 * a)) * x - const(4 * a)
    return t.select(x < const(1), near, t.select(x < const(2), far, const(0)))


def _width(axis: Axis, reach: int, widen: bool) -> Any:
    """The most elements that a filter covers."""
    if not widen:
        return 2 * reach + 1
    if axis.align:
        span = ceil_div(reach * (axis.size - 1), maximum(axis.count - 1, 1))
    elif axis.scale is not None:
        return 2 * max(_up(reach / axis.scale), reach) + 1
    else:
        span = ceil_div(reach * axis.size, axis.count)
    return axis.t.size(2 * maximum(span, reach) + 1)


def _up(value: float) -> int:
    return -int(-value // 1)


def float_type(dtype: str) -> str:
    """The float type that positions and sums are worked out in."""
    return sum_type(dtype) if "float" in dtype else "float32"
