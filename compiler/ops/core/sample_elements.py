"""Samples between elements in loops: what the `te` of resampling, deformation and regions share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .base import Elements
from .window_elements import where


class Tap(NamedTuple):
    """An element of an axis that is mixed in, with its weight and what must hold for it to be there."""

    weight: Any
    place: Any
    conditions: tuple[Any, ...] = ()


def mixed(
    t: Elements, axes: Sequence[Sequence[Tap]], read: Callable[[Sequence[Any]], Any], dtype: str
) -> Any:
    """The sum over taps of all axes of what `read` gives at their places, times their weights."""

    def along(rest: Sequence[Sequence[Tap]], places: tuple[Any, ...]) -> Any:
        if not rest:
            return read(places)
        total: Any = None
        for tap in rest[0]:
            value = where(
                t,
                tap.conditions,
                lambda tap=tap: along(rest[1:], (*places, tap.place)),
                t.const(0, dtype),
            )
            total = value * tap.weight if total is None else total + value * tap.weight
        return total

    return along(axes, ())


def whole(t: Elements, value: Any, least: Any, most: Any, dtype: str) -> Any:
    """A float, of the type that is given, as an index within bounds; NaN becomes the lower one."""
    low, high = (t.cast(bound, dtype) for bound in (least, most))
    bounded = t.select(value > low, t.select(value < high, value, high), low)
    return t.let(t.cast(bounded, t.index_type(most)))


def nearby(t: Elements, at: Any, size: Any, dtype: str) -> list[Tap]:
    """Both neighbours of a position on an axis, mixed linearly; there is nothing outside of it."""
    low = t.let(t.floor(at))
    share = t.let(at - low)
    first = whole(t, low, -2, size, dtype)
    second = first + 1
    return [
        Tap(t.const(1, dtype) - share, first, (first >= 0, first < size)),
        Tap(share, second, (second >= 0, second < size)),
    ]


def cubic(t: Elements, share: Any, dtype: str) -> list[Any]:
    """Weights of the four neighbours by Keys' kernel with a = -0.75, `share` behind the second."""

    def near(x: Any) -> Any:
        return (t.const(1.25, dtype) * x - t.const(2.25, dtype)) * x * x + t.const(1, dtype)

    def far(x: Any) -> Any:
        a = -0.75
        inner = t.const(a, dtype) * x - t.const(5 * a, dtype)
        return (inner * x + t.const(8 * a, dtype)) * x - t.const(4 * a, dtype)

    one = t.const(1, dtype)
    rest = t.let(one - share)
    return [t.let(each) for each in (far(share + one), near(share), near(rest), far(rest + one))]
