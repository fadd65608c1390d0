"""Putting tensors together and taking them apart along an axis. Nothing is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..sizes.dims import Size, at_least, ceil_div, divisible, maximum, minimum, render, total
from .core.base import Elements, Lowering, Op, Shape, case
from .core.counts import NOTHING, Cost
from .core.indexing import moved, pick, put
from .core.rules import ShapeError, axis_of, need_at_least, need_equal, need_positive, need_rank
from .core.spans import Span, Spans, Types, either


class Move(Op):
    """An operator that moves data and computes nothing."""

    role = "move"

    def cost(self, out: Shape | list[Shape], *xs: Shape, **named: Shape) -> Cost:
        return NOTHING

    def spans(self, types: Types, given: Spans) -> list[Span]:
        return [either(given)]


class View(Move):
    """An operator that only looks at the same data otherwise."""

    role = "view"


class Concat(Move, name="concat"):
    """Join along an axis: [*a, N1, *b], [*a, N2, *b], ... -> [*a, N1 + N2 + ..., *b]."""

    axis: int
    samples = (
        case({"axis": 1}, [(2, 3, 4), (2, 5, 4)]),
        case({"axis": -1}, [(2, 3), (2, 1), ("i64", (2, 2))]),
    )

    def shape(self, *xs: Shape) -> Shape:
        # torch joins tensors of shape [0] with anything.
        full = [x for x in xs if x != (0,)] or list(xs[:1])
        if not full:
            raise ShapeError("concat needs at least one tensor", "value")
        first = full[0]
        need_rank(first, 1, None, "concat", "xs")
        along = axis_of(self.axis, len(first))
        for x in full[1:]:
            need_rank(x, len(first), len(first), "concat with a tensor of that many axes before", "xs")
            for axis, (left, right) in enumerate(zip(first, x, strict=True)):
                if axis != along:
                    need_equal(left, right, f"sizes of axis {axis} in concat", ("xs", axis))
        return (*first[:along], total(x[along] for x in full), *first[along + 1 :])

    def torch(self, t: Lowering, *xs: Any) -> Any:
        return t.torch.cat(list(xs), self.axis)

    def te(self, t: Elements, *xs: Any) -> Any:
        types = [value.type for value in t.node.inputs]
        full = [(x, type) for x, type in zip(xs, types, strict=True) if 0 not in type.shape]
        parts = [x for x, _ in full] or list(xs[:1])
        axis = axis_of(self.axis, parts[0].rank)
        starts = [t.size(total(type.shape[axis] for _, type in full[:n])) for n in range(len(parts))]

        def element(*i: Any) -> Any:
            def read(n: int) -> Any:
                return t.cast(parts[n][put(i, axis, i[axis] - starts[n])], t.dtype())

            return pick(t, i[axis], starts, read, t.dtype())

        return t.compute(t.shape(), element, cuts=(axis, starts[1:]))

    def numpy(self, np: Any, *xs: Any) -> Any:
        return np.concatenate([x for x in xs if x.shape != (0,)] or xs[:1], self.axis)


class Stack(Move, name="stack"):
    """Join along a new axis: N tensors [*a, *b] -> [*a, N, *b]."""

    axis: int
    samples = (case({"axis": 1}, [(2, 3), (2, 3)]), case({"axis": -1}, [(2,), (2,), (2,)]))

    def shape(self, *xs: Shape) -> Shape:
        if not xs:
            raise ShapeError("stack needs at least one tensor", "value")
        first = xs[0]
        along = axis_of(self.axis, len(first) + 1)
        for x in xs[1:]:
            need_rank(x, len(first), len(first), "stack with a tensor of that many axes before", "xs")
            for axis, (left, right) in enumerate(zip(first, x, strict=True)):
                need_equal(left, right, f"sizes of axis {axis} in stack", ("xs", axis))
        return (*first[:along], len(xs), *first[along:])

    def torch(self, t: Lowering, *xs: Any) -> Any:
        return t.torch.stack(list(xs), self.axis)

    def te(self, t: Elements, *xs: Any) -> Any:
        axis = axis_of(self.axis, xs[0].rank + 1)

        def element(*i: Any) -> Any:
            def read(n: int) -> Any:
                return t.cast(xs[n][(*i[:axis], *i[axis + 1 :])], t.dtype())

            return pick(t, i[axis], range(len(xs)), read, t.dtype())

        return t.compute(t.shape(), element)

    def numpy(self, np: Any, *xs: Any) -> Any:
        return np.stack(xs, self.axis)


class Pieces(View):
    """An axis in pieces that follow each other, one result each."""

    if TYPE_CHECKING:
        # Not a field here: the pieces' sizes are the first argument.
        axis: int

    def te(self, t: Elements, x: Any) -> Any:
        axis = axis_of(self.axis, x.rank)
        sizes = [value.shape[axis] for value in t.node.results]

        def piece(number: int) -> Any:
            start = t.size(total(sizes[:number]))
            return t.compute(t.shape(number), lambda *i: x[put(i, axis, i[axis] + start)], x.dtype)

        return [piece(number) for number in range(len(sizes))]

    def numpy(self, np: Any, x: Any) -> Any:
        axis = axis_of(self.axis, x.ndim)
        shapes = self.shape(x.shape)
        assert isinstance(shapes, list)
        ends = np.cumsum([shape[axis] for shape in shapes])
        return np.split(x, ends[:-1], axis)


class Split(Pieces, name="split"):
    """Cut an axis into pieces: [*a, N, *b] -> [*a, N1, *b], [*a, N2, *b], ...

    `sizes` lists the pieces' sizes, which add up to N; one size cuts pieces of that size, the last of which
    may be smaller. torch.split.
    """

    sizes: Size | tuple[Size, ...]
    axis: int
    samples = (
        case({"sizes": (1, 2, 3), "axis": 1}, (2, 6, 3)),
        case({"sizes": 2, "axis": -1}, (2, 5)),
    )

    def shape(self, x: Shape) -> list[Shape]:
        need_rank(x, 1, None, "split")
        axis = axis_of(self.axis, len(x))
        if isinstance(self.sizes, tuple):
            for size in self.sizes:
                need_at_least(size, 0, "a piece of split")
            need_equal(total(self.sizes), x[axis], f"the sum of `sizes` and axis {axis}", ("x", axis))
            return [_with(x, axis, size) for size in self.sizes]
        size, length = self.sizes, x[axis]
        need_at_least(size, 0, "`sizes`")
        if isinstance(size, int) and size == 0:
            need_equal(length, 0, f"the axis {axis} that pieces of size 0 make up", ("x", axis))
            return [x]
        if isinstance(length, int) and isinstance(size, int) and length == 0:
            return [x]
        parts = ceil_div(length, size)
        if not isinstance(parts, int):
            raise ShapeError(
                f"the number of pieces, {render(parts)}, is not known",
                "value",
                (("x", axis),),
                "sizes",
                "list the sizes, or use chunk with a number of pieces",
            )
        return [_with(x, axis, size)] * (parts - 1) + [_with(x, axis, length - (parts - 1) * size)]

    def torch(self, t: Lowering, x: Any) -> Any:
        sizes = [t.size(size) for size in self.sizes] if isinstance(self.sizes, tuple) else t.size(self.sizes)
        return t.torch.split(x, sizes, self.axis)


class Chunk(Pieces, name="chunk"):
    """Cut an axis into `parts` pieces: [*a, N, *b] -> [*a, ceil(N/parts), *b], ...; the last may be smaller.

    As torch.chunk there are fewer pieces where that many of the rounded size would be too many.
    """

    parts: int
    axis: int
    samples = (case({"parts": 2, "axis": 1}, (2, 6, 3)), case({"parts": 3, "axis": -1}, (2, 7)))

    def shape(self, x: Shape) -> list[Shape]:
        need_rank(x, 1, None, "chunk")
        need_positive(self.parts, "parts")
        axis = axis_of(self.axis, len(x))
        length = x[axis]
        if isinstance(length, int):
            # torch.chunk keeps the number of pieces of an empty axis.
            size = -(-length // self.parts)
            count = -(-length // size) if size else self.parts
            return [_with(x, axis, min(size, length - part * size)) for part in range(count)]
        if divisible(length, self.parts) is True:
            return [_with(x, axis, length // self.parts)] * self.parts
        size = ceil_div(length, self.parts)
        last = length - (self.parts - 1) * size
        need_at_least(last, 1, f"the last of {self.parts} chunks", ("x", axis))
        return [_with(x, axis, size)] * (self.parts - 1) + [_with(x, axis, last)]

    def torch(self, t: Lowering, x: Any) -> Any:
        return t.torch.chunk(x, self.parts, self.axis)


class Unbind(View, name="unbind"):
    """The slices along an axis: [*a, N, *b] -> N tensors [*a, *b]."""

    axis: int = 0
    samples = (case({}, (3, 2)), case({"axis": 1}, (2, 3, 4)))

    def shape(self, x: Shape) -> list[Shape]:
        need_rank(x, 1, None, "unbind")
        axis = axis_of(self.axis, len(x))
        count = x[axis]
        if not isinstance(count, int):
            message = f"unbind gives one result an element of axis {axis}, of unknown size {render(count)}"
            raise ShapeError(message, "size", (("x", axis),))
        return [_without(x, axis)] * count

    def torch(self, t: Lowering, x: Any) -> Any:
        return t.torch.unbind(x, self.axis)

    def te(self, t: Elements, x: Any) -> Any:
        axis = axis_of(self.axis, x.rank)

        def slice_at(number: int) -> Any:
            return t.compute(t.shape(number), lambda *i: x[(*i[:axis], number, *i[axis:])], x.dtype)

        return [slice_at(number) for number in range(len(t.node.results))]

    def numpy(self, np: Any, x: Any) -> Any:
        return list(np.moveaxis(x, self.axis, 0))


class Slice(View, name="slice"):
    """Part of an axis: [*a, N, *b] -> [*a, N', *b], elements `start`, `start + step`, ... before `stop`.

    As a Python slice: negative positions count from the end, those beyond the ends are taken for the ends.
    """

    axis: int
    start: Size | None = None
    stop: Size | None = None
    step: int = 1
    samples = (
        case({"axis": 1, "start": 1}, (2, 5, 3)),
        case({"axis": -1, "start": -3, "stop": -1}, (2, 5)),
        case({"axis": 0, "stop": 9, "step": 2}, (5, 2)),
    )

    def shape(self, x: Shape) -> Shape:
        need_rank(x, 1, None, "slice")
        need_positive(self.step, "step")
        axis = axis_of(self.axis, len(x))
        return _with(x, axis, ceil_div(_extent(self.start, self.stop, x[axis]), self.step))

    def torch(self, t: Lowering, x: Any) -> Any:
        start, stop = (None if end is None else t.size(end) for end in (self.start, self.stop))
        axis = axis_of(self.axis, t.rank(x))
        return x[(*(slice(None),) * axis, slice(start, stop, None if self.step == 1 else self.step))]

    def te(self, t: Elements, x: Any) -> Any:
        axis = axis_of(self.axis, x.rank)
        length = t.node.inputs[0].shape[axis]
        start = t.size(0 if self.start is None else _position(self.start, length, "start"))
        return moved(t, x, lambda *i: put(i, axis, i[axis] * self.step + start))

    def numpy(self, np: Any, x: Any) -> Any:
        return x[(*(slice(None),) * axis_of(self.axis, x.ndim), slice(self.start, self.stop, self.step))]


class Select(View, name="select"):
    """One slice of an axis, which goes: [*a, N, *b] -> [*a, *b]. A negative index counts from the end."""

    axis: int
    index: Size
    samples = (case({"axis": 1, "index": 2}, (2, 5, 3)), case({"axis": -1, "index": -1}, (2, 5)))

    def shape(self, x: Shape) -> Shape:
        need_rank(x, 1, None, "select")
        axis = axis_of(self.axis, len(x))
        backwards = at_least(self.index, 0) is False
        least = -self.index if backwards else self.index + 1
        need_at_least(
            x[axis], least, f"axis {axis}, of which select takes element {render(self.index)},", ("x", axis)
        )
        return _without(x, axis)

    def torch(self, t: Lowering, x: Any) -> Any:
        return x.select(self.axis, t.size(self.index))

    def te(self, t: Elements, x: Any) -> Any:
        axis = axis_of(self.axis, x.rank)
        position = t.size(_from_front(self.index, t.node.inputs[0].shape[axis]))
        return moved(t, x, lambda *i: (*i[:axis], position, *i[axis:]))

    def numpy(self, np: Any, x: Any) -> Any:
        return np.take(x, self.index, self.axis)


class Narrow(View, name="narrow"):
    """`length` elements of an axis from `start`: [*a, N, *b] -> [*a, length, *b]; they must be there."""

    axis: int
    start: Size
    length: Size
    samples = (
        case({"axis": 1, "start": 1, "length": 3}, (2, 5, 3)),
        case({"axis": 0, "start": -2, "length": 2}, (5,)),
    )

    def shape(self, x: Shape) -> Shape:
        need_rank(x, 1, None, "narrow")
        axis = axis_of(self.axis, len(x))
        need_at_least(self.length, 0, "`length`")
        start = _from_front(self.start, x[axis])
        need_at_least(start, 0, f"the start of narrow on axis {axis}", ("x", axis))
        need_at_least(x[axis], start + self.length, f"axis {axis} of narrow's input", ("x", axis))
        return _with(x, axis, self.length)

    def torch(self, t: Lowering, x: Any) -> Any:
        return x.narrow(self.axis, t.size(self.start), t.size(self.length))

    def te(self, t: Elements, x: Any) -> Any:
        axis = axis_of(self.axis, x.rank)
        start = t.size(_from_front(self.start, t.node.inputs[0].shape[axis]))
        return moved(t, x, lambda *i: put(i, axis, i[axis] + start))

    def numpy(self, np: Any, x: Any) -> Any:
        axis = axis_of(self.axis, x.ndim)
        start = self.start % x.shape[axis] if self.start < 0 else self.start
        return x[(*(slice(None),) * axis, slice(start, start + self.length))]


def _position(position: Size, length: Size, argument: str) -> Size:
    """A slice's end as an offset from the front, within [0, length]."""
    if at_least(position, 0) is False:
        return maximum(length + position, 0)
    need_at_least(position, 0, f"`{argument}` of a slice")
    return minimum(position, length)


def _extent(start: Size | None, stop: Size | None, length: Size) -> Size:
    """The number of positions between the ends of a slice of step 1, in its shortest form."""
    for end, argument in ((start, "start"), (stop, "stop")):
        if end is not None:
            _position(end, length, argument)  # asks that it counts from one end
    from_end = start is not None and at_least(start, 0) is False
    to_end = stop is not None and at_least(stop, 0) is False
    if from_end:
        assert start is not None
        if stop is None:
            return minimum(length, -start)
        if to_end:
            return maximum(minimum(length + stop, stop - start), 0)
        return maximum(minimum(stop, length) - maximum(length + start, 0), 0)
    first = 0 if start is None else start
    if to_end:
        assert stop is not None
        return maximum(length + stop - first, 0)
    if stop is None:
        return maximum(length - first, 0)
    return maximum(minimum(stop, length) - first, 0)


def _from_front(position: Size, length: Size) -> Size:
    """A position that may count from the end."""
    return length + position if at_least(position, 0) is False else position


def _with(x: Shape, axis: int, size: Size) -> Shape:
    return (*x[:axis], size, *x[axis + 1 :])


def _without(x: Shape, axis: int) -> Shape:
    return (*x[:axis], *x[axis + 1 :])
