"""Sliding windows in loops: what the `te` of convolutions and pools share.

An input that windows can leave is copied once with its border, so that the loops over the taps, which read
each element many times, compare nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..dims import Size, maximum
from .base import Elements, Shape

# Reads an element of an operand's window: sample, channel, the window's place and the tap.
WindowRead = Callable[[Any, Any, Sequence[Any], Sequence[Any]], Any]


def sum_type(dtype: str) -> str:
    """The type that sums are kept in: half precision is summed in float32."""
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def reach(size: Size, windows: Size, span: Size, stride: Size, before: Size) -> Size:
    """Elements that the last window reads behind the end of an axis."""
    return maximum((windows - 1) * stride + span - before - size, 0)


def bordered(t: Elements, x: Any, border: Sequence[tuple[Size, Size]], value: Any) -> Any:
    """The operand with `value` before and after its last axes; itself where there is no border."""
    if all(isinstance(size, int) and size == 0 for pair in border for size in pair):
        return x
    rank = x.rank - len(border)
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
        return where(t, conditions, lambda: x[(*i[:rank], *places)], t.const(value, x.dtype))

    return t.compute(shape, element, x.dtype, keep=True)


def where(t: Elements, conditions: Sequence[Any], read: Callable[[], Any], other: Any) -> Any:
    """What `read` gives where all conditions hold; those of outer axes come first, and out of inner loops."""
    if not conditions:
        return read()
    return t.guard(conditions[0], lambda: where(t, conditions[1:], read, other), other)


def sliding(
    t: Elements,
    x: Any,
    windows: Shape,
    kernel: Shape,
    stride: Shape,
    dilation: Shape,
    before: Sequence[Size],
    value: Any = 0,
) -> WindowRead:
    """Reads of the first operand's windows, `value` where they leave it."""
    spatial = t.node.inputs[0].shape[2:]
    border = [
        (pad, reach(size, count, d * (k - 1) + 1, s, pad))
        for size, count, k, s, d, pad in zip(spatial, windows, kernel, stride, dilation, before, strict=True)
    ]
    source = bordered(t, x, border, value)
    steps = [(t.size(s), t.size(d)) for s, d in zip(stride, dilation, strict=True)]

    def read(sample: Any, channel: Any, at: Sequence[Any], tap: Sequence[Any]) -> Any:
        places = [i * s + k * d for i, k, (s, d) in zip(at, tap, steps, strict=True)]
        return source[(sample, channel, *places)]

    return read
