"""Where the elements of a tensor lie: what the `te` of operators that move them share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...sizes.dims import Size, equal, prod
from .base import Elements, Shape
from .rows import product


def joined(indices: Sequence[Any], sizes: Sequence[Any]) -> Any:
    """The position in axes of these sizes as one axis."""
    found: Any = indices[0] if indices else 0
    for index, size in zip(indices[1:], sizes[1:], strict=True):
        found = found * size + index
    return found


def parted(t: Elements, position: Any, sizes: Sequence[Any]) -> list[Any]:
    """The index in axes of these sizes that a position in them as one axis stands for."""
    found: list[Any] = []
    for size in reversed(sizes[1:]):
        if isinstance(size, int) and size == 0:
            found.append(0)
            continue
        position = t.let(position)
        found.append(position % size)
        position = position // size
    return [position, *reversed(found)] if sizes else []


def matched(old: Shape, new: Shape) -> list[tuple[list[int], list[int]]]:
    """Axes of two shapes of the same elements that hold the same part of them, as few at a time as possible.

    Axes of one are left out: [B, 1, H*W, C] and [B, H, W, C] give ([0], [0]), ([2], [1, 2]), ([3], [3]).
    """
    left = [axis for axis, size in enumerate(old) if not (isinstance(size, int) and size == 1)]
    right = [axis for axis, size in enumerate(new) if not (isinstance(size, int) and size == 1)]
    found: list[tuple[list[int], list[int]]] = []
    while left and right:
        m, n = _shortest([old[axis] for axis in left], [new[axis] for axis in right])
        found.append((left[:m], right[:n]))
        left, right = left[m:], right[n:]
    # What is left over has one element, though it cannot be proved.
    return [*found, (left, right)] if left or right else found


def _shortest(left: Sequence[Size], right: Sequence[Size]) -> tuple[int, int]:
    """How many first sizes of each side have the same product, all of them where nothing less is certain."""
    for count in range(2, len(left) + len(right)):
        for m in range(max(1, count - len(right)), min(len(left), count - 1) + 1):
            if equal(prod(left[:m]), prod(right[: count - m])) is True:
                return m, count - m
    return len(left), len(right)


def reshaped(t: Elements, x: Any) -> Any:
    """The elements of the only operand in their order, in the axes of the result."""
    old, new = t.node.inputs[0].shape, t.node.results[0].shape
    groups = matched(old, new)

    def element(*i: Any) -> Any:
        place: list[Any] = [0] * len(old)
        for left, right in groups:
            position = joined([i[axis] for axis in right], [t.size(new[axis]) for axis in right])
            for axis, part in zip(left, parted(t, position, [t.size(old[a]) for a in left]), strict=True):
                place[axis] = part
        return x[tuple(place)]

    return t.compute(t.shape(), element)


def put(index: Sequence[Any], axis: int, position: Any) -> tuple[Any, ...]:
    """The index with another position on one axis."""
    return (*index[:axis], position, *index[axis + 1 :])


def moved(t: Elements, x: Any, place: Callable[..., Sequence[Any]]) -> Any:
    """The only result: `place` takes its index and gives the operand's."""
    return t.compute(t.shape(), lambda *i: x[tuple(place(*i))])


def typed(t: Elements, position: Any, size: Any) -> Any:
    """The position in the type of an axis' size, as both sides of a choice must be."""
    return t.let(t.cast(position, t.index_type(size)))


def within(t: Elements, position: Any, dtype: str, size: Any) -> Any:
    """A position that was read, held within an axis of that size: torch refuses others, and nothing outside
    may be read.
    """
    held = t.maximum(t.minimum(position, t.cast(size - 1, dtype)), t.const(0, dtype))
    return t.let(t.cast(held, t.index_type(size)) if isinstance(size, int) else held)


def where_all(t: Elements, conditions: Sequence[Any], read: Callable[[], Any], other: Any) -> Any:
    """What `read` gives where all conditions hold, else `other`."""
    if not conditions:
        return read()
    together = conditions[0]
    for each in conditions[1:]:
        together = t.mul(together, each)
    return t.guard(together, read, other)


def pick(t: Elements, at: Any, starts: Sequence[Any], read: Callable[[int], Any], dtype: str) -> Any:
    """What `read` gives for the piece that a position lies in, of which each begins at its start."""

    def among(first: int, last: int) -> Any:
        if last - first == 1:
            return read(first)
        middle = (first + last) // 2
        # Each within a guard of its own, so that nothing of a piece is worked out outside of it.
        behind = t.guard(at >= starts[middle], lambda: among(middle, last), t.const(0, dtype))
        return t.guard(at < starts[middle], lambda: among(first, middle), behind)

    return among(0, len(starts))


def loop_kind(*sizes: Any) -> str:
    """The kind of a loop over so many elements: on all threads where they are worth it."""
    count = product(sizes)
    return "serial" if isinstance(count, int) and count < 1 << 14 else "parallel"
