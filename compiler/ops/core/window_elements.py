"""Sliding windows in loops: what the `te` of convolutions and pools share.

An input that windows can leave is copied once with its border, so that the loops over the taps, which read
each element many times, compare nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ...sizes.dims import Size, at_least, maximum
from .base import Elements, Shape

# Reads an element of an operand's window: sample, channel, the window's place and the tap.
WindowRead = Callable[[Any, Any, Sequence[Any], Sequence[Any]], Any]


def sum_type(dtype: str) -> str:
    """The type that sums are kept in: half precision is summed in float32."""
    return "float32" if dtype in ("float16", "bfloat16") else dtype


class Window(NamedTuple):
    """What windows have on each spatial axis; `ceil` where a last one may leave the padding too."""

    kernel: Shape
    stride: Shape
    dilation: Shape
    pads: Sequence[tuple[Size, Size]]
    ceil: bool = False

    def border(self, spatial: Shape, windows: Shape) -> list[tuple[Size, Size]]:
        """Elements that windows read before and behind each axis; nothing is proved of symbolic sizes."""
        found: list[tuple[Size, Size]] = []
        for size, count, k, s, d, (before, after) in zip(
            spatial, windows, self.kernel, self.stride, self.dilation, self.pads, strict=True
        ):
            behind = maximum((count - 1) * s + d * (k - 1) + 1 - before - size, 0)
            found.append((before, behind if self.ceil or isinstance(behind, int) else after))
        return found


def bordered(t: Elements, x: Any, border: Sequence[tuple[Size, Size]], value: Any) -> Any:
    """The operand in the type of sums with `value` around its last axes; itself where there is no border."""
    if all(isinstance(size, int) and size == 0 for pair in border for size in pair):
        return x
    rank, kind = x.rank - len(border), sum_type(x.dtype)
    pads = [(t.size(before), t.size(after)) for before, after in border]
    shape = [
        *x.shape[:rank],
        *(size + before + after for size, (before, after) in zip(x.shape[rank:], pads, strict=True)),
    ]

    def element(*i: Any) -> Any:
        places = [at - before for at, (before, _) in zip(i[rank:], pads, strict=True)]
        conditions: list[Any] = []
        for place, size, (before, after) in zip(places, x.shape[rank:], pads, strict=True):
            if not (isinstance(before, int) and before == 0):
                conditions.append(place >= 0)
            if not (isinstance(after, int) and after == 0):
                conditions.append(place < size)
        return where(t, conditions, lambda: t.cast(x[(*i[:rank], *places)], kind), t.const(value, kind))

    return t.compute(shape, element, kind, keep=True)


def where(t: Elements, conditions: Sequence[Any], read: Callable[[], Any], other: Any) -> Any:
    """What `read` gives where all conditions hold; those of outer axes come first, and out of inner loops."""
    if not conditions:
        return read()
    return t.guard(conditions[0], lambda: where(t, conditions[1:], read, other), other)


def sliding(t: Elements, x: Any, window: Window, value: Any = 0) -> WindowRead:
    """Reads of the first operand's windows, `value` where they leave it."""
    border = window.border(t.node.inputs[0].shape[2:], t.node.results[0].shape[2:])
    source = bordered(t, x, border, value)
    steps = [(t.size(s), t.size(d)) for s, d in zip(window.stride, window.dilation, strict=True)]

    def read(sample: Any, channel: Any, at: Sequence[Any], tap: Sequence[Any]) -> Any:
        places = [i * s + k * d for i, k, (s, d) in zip(at, tap, steps, strict=True)]
        return source[(sample, channel, *places)]

    return read


def pooled(t: Elements, combine: str, x: Any, window: Window, value: Any, dtype: str) -> Any:
    """Each window of a tensor of the first operand's shape combined, `value` where it leaves that."""
    rank = x.rank - 2
    read = sliding(t, x, window, value)

    def element(b: Any, c: Any, *rest: Any) -> Any:
        return t.cast(read(b, c, rest[:rank], tuple(reversed(rest[rank:]))), dtype)

    # Rows last: they are far apart in memory, so that the loop inside theirs is one of neighbours.
    return t.reduce(combine, t.shape(), [t.size(k) for k in reversed(window.kernel)], element, dtype)


def counted(t: Elements, window: Window, margins: Sequence[tuple[Size, Size]], at: Sequence[Any]) -> Any:
    """Elements of a window inside the input and its margins; None where that is always all of them."""
    spatial = t.node.inputs[0].shape[2:]
    border = window.border(spatial, t.node.results[0].shape[2:])
    found: Any = 1
    partial = False
    for axis, (size, (before, after)) in enumerate(zip(spatial, margins, strict=True)):
        kernel = t.size(window.kernel[axis])
        whole = at_least(before, border[axis][0]) is True and at_least(after, border[axis][1]) is True
        if not whole:
            partial = True
            start = at[axis] * t.size(window.stride[axis]) - t.size(border[axis][0])
            kernel = t.minimum(start + kernel, t.size(size + after)) - t.maximum(start, t.size(0 - before))
        found = found * kernel
    return found if partial else None
