"""Axes rearranged, merged, split, added, removed and repeated. Nothing is computed."""

from __future__ import annotations

from typing import Any

from ..sizes.dims import Size, divisible, equal, prod, render
from .core.base import Elements, Lowering, Shape, case
from .core.indexing import moved, put, reshaped
from .core.rules import ShapeError, axes_of, axis_of, need_at_least, need_equal, need_rank
from .join import Move, View


def complete(wanted: Shape, elements: Size, what: str) -> Shape:
    """`wanted` with its one -1 replaced, so that the product is `elements`, or `ShapeError`."""
    blanks = [axis for axis, size in enumerate(wanted) if isinstance(size, int) and size == -1]
    for size in wanted:
        if not (isinstance(size, int) and size == -1):
            need_at_least(size, 0, "an entry of `sizes`")
    if not blanks:
        need_equal(elements, prod(wanted), f"elements of {what} and of the result", ("x", None))
        return wanted
    if len(blanks) > 1:
        raise ShapeError("`sizes` has more than one -1", "value", argument="sizes")
    known = prod(size for axis, size in enumerate(wanted) if axis != blanks[0])
    if isinstance(known, int) and known == 0:
        raise ShapeError("-1 beside a size of 0 could be anything", "value", argument="sizes")
    if divisible(elements, known) is False:
        message = f"{what} has {render(elements)} elements, which do not divide into {render(known)}"
        raise ShapeError(message, "size", (("x", None),), "sizes")
    blank = elements // known
    need_equal(elements, blank * known, f"elements of {what} and of the result", ("x", None))
    return (*wanted[: blanks[0]], blank, *wanted[blanks[0] + 1 :])


class SameOrder(View):
    """A view of the same elements in the same order, in other axes."""

    def te(self, t: Elements, x: Any) -> Any:
        return reshaped(t, x)

    def numpy(self, np: Any, x: Any) -> Any:
        return x.reshape(self.shape(x.shape))


class Reshape(SameOrder, name="reshape"):
    """The same elements in other axes: [*S] -> [*sizes], with one size -1 for what is left; torch.reshape."""

    sizes: tuple[Size, ...]
    samples = (
        case({"sizes": (2, -1)}, (2, 3, 4)),
        case({"sizes": (4, 6)}, (2, 3, 4)),
        case({"sizes": (-1,)}, (2, 3)),
    )

    def shape(self, x: Shape) -> Shape:
        return complete(self.sizes, prod(x), "the input")

    def torch(self, t: Lowering, x: Any) -> Any:
        return x.reshape(*(t.size(size) for size in self.sizes)) if self.sizes else x.reshape(())


class Flatten(SameOrder, name="flatten"):
    """Merge axes `start` to `end`: [*a, *S, *b] -> [*a, prod(S), *b]; as torch.nn.Flatten all but the first
    by default.
    """

    start: int = 1
    end: int = -1
    samples = (
        case({}, (2, 3, 4)),
        case({"start": 2}, (2, 3, 4, 5)),
        case({"start": 0, "end": -2}, (2, 3, 4)),
    )

    def shape(self, x: Shape) -> Shape:
        rank = max(len(x), 1)
        start, end = axis_of(self.start, rank, "start"), axis_of(self.end, rank, "end")
        if start > end:
            raise ShapeError(f"`start` is axis {start}, behind `end`, axis {end}", "value", argument="start")
        return (*x[:start], prod(x[start : end + 1]), *x[end + 1 :])

    def torch(self, t: Lowering, x: Any) -> Any:
        return x.flatten(self.start, self.end)


class Unflatten(SameOrder, name="unflatten"):
    """Split an axis: [*a, N, *b] -> [*a, *sizes, *b], with one size -1 for what is left; torch.unflatten."""

    axis: int
    sizes: tuple[Size, ...]
    samples = (
        case({"axis": 1, "sizes": (2, -1)}, (2, 6, 3)),
        case({"axis": -1, "sizes": (3, 2)}, (2, 6)),
    )

    def shape(self, x: Shape) -> Shape:
        need_rank(x, 1, None, "unflatten")
        axis = axis_of(self.axis, len(x))
        if not self.sizes:
            raise ShapeError("`sizes` is empty", "value", argument="sizes")
        return (*x[:axis], *complete(self.sizes, x[axis], f"axis {axis}"), *x[axis + 1 :])

    def torch(self, t: Lowering, x: Any) -> Any:
        return x.unflatten(self.axis, tuple(t.size(size) for size in self.sizes))


class Permute(View, name="permute"):
    """Put axes in another order: result axis i is axis `axes[i]`, [*S] -> [*S']; torch.permute."""

    axes: tuple[int, ...]
    samples = (case({"axes": (0, 2, 3, 1)}, (2, 3, 4, 5)), case({"axes": (-1, 0)}, (2, 3)))

    def shape(self, x: Shape) -> Shape:
        if len(self.axes) != len(x):
            message = f"`axes` names {len(self.axes)} axes, and there are {len(x)}"
            raise ShapeError(message, "rank", (("x", None),), "axes")
        return tuple(x[axis] for axis in axes_of(self.axes, len(x), "axes"))

    def torch(self, t: Lowering, x: Any) -> Any:
        return x.permute(*self.axes) if self.axes else x.permute(())

    def te(self, t: Elements, x: Any) -> Any:
        axes = axes_of(self.axes, x.rank, "axes")
        return moved(t, x, lambda *i: [i[axes.index(axis)] for axis in range(len(i))])

    def numpy(self, np: Any, x: Any) -> Any:
        return x.transpose(self.axes)


class Transpose(View, name="transpose"):
    """Exchange two axes, the last two by default: [*S] -> [*S']; torch.transpose."""

    a: int = -2
    b: int = -1
    samples = (case({}, (2, 3, 4)), case({"a": 1, "b": 2}, (2, 3, 4, 5)))

    def shape(self, x: Shape) -> Shape:
        a, b = axis_of(self.a, max(len(x), 1), "a"), axis_of(self.b, max(len(x), 1), "b")
        found = list(x)
        if found:
            found[a], found[b] = found[b], found[a]
        return tuple(found)

    def torch(self, t: Lowering, x: Any) -> Any:
        return x.transpose(self.a, self.b)

    def te(self, t: Elements, x: Any) -> Any:
        order = list(range(x.rank))
        if order:
            order[self.a], order[self.b] = order[self.b], order[self.a]
        return moved(t, x, lambda *i: [i[axis] for axis in order])

    def numpy(self, np: Any, x: Any) -> Any:
        return np.swapaxes(x, self.a, self.b) if x.ndim else x


class Squeeze(SameOrder, name="squeeze"):
    """Drop axes of size 1: [*a, 1, *b] -> [*a, *b]; by default all that are known to be.

    As in torch a named axis of another size stays. A symbolic size is held to be 1 where named, and else not
    to be.
    """

    axis: int | tuple[int, ...] | None = None
    samples = (case({"axis": 1}, (2, 1, 3)), case({}, (1, 2, 1)), case({"axis": (0, -1)}, (1, 2, 1)))

    def shape(self, x: Shape) -> Shape:
        dropped: set[int] = set()
        for axis in axes_of(self.axis, len(x)) if x or self.axis is None else self._scalar():
            size = x[axis]
            if isinstance(size, int):
                if size == 1:
                    dropped.add(axis)
            elif self.axis is None:
                need_at_least(size, 2, f"axis {axis}, which squeeze keeps,", ("x", axis))
            elif equal(size, 1) is not False:
                need_equal(size, 1, f"size of the squeezed axis {axis} and 1", ("x", axis))
                dropped.add(axis)
        return tuple(size for axis, size in enumerate(x) if axis not in dropped)

    def _scalar(self) -> tuple[int, ...]:
        # A scalar has an axis 0 and -1 to torch here, which is not there to drop.
        axes_of(self.axis, 1)
        return ()

    def torch(self, t: Lowering, x: Any) -> Any:
        if self.axis is not None:
            return x.squeeze(self.axis)
        return x.squeeze(
            tuple(axis for axis, size in enumerate(t.shape(x)) if isinstance(size, int) and size == 1)
        )


class Unsqueeze(SameOrder, name="unsqueeze"):
    """Add an axis of size 1: [*a, *b] -> [*a, 1, *b]; torch.unsqueeze."""

    axis: int
    samples = (case({"axis": 1}, (2, 3)), case({"axis": -1}, (2, 3)))

    def shape(self, x: Shape) -> Shape:
        axis = axis_of(self.axis, len(x) + 1)
        return (*x[:axis], 1, *x[axis:])

    def torch(self, t: Lowering, x: Any) -> Any:
        return x.unsqueeze(self.axis)


class Expand(View, name="expand"):
    """Repeat axes of size 1 without copying: [*S] -> [*sizes]; -1 keeps a size, new axes come first;
    torch.expand.
    """

    sizes: tuple[Size, ...]
    samples = (case({"sizes": (4, 3, -1)}, (3, 1)), case({"sizes": (2, 5, 3)}, (1, 1, 3)))

    def shape(self, x: Shape) -> Shape:
        new = len(self.sizes) - len(x)
        if new < 0:
            message = f"`sizes` has {len(self.sizes)} entries for {len(x)} axes"
            raise ShapeError(message, "rank", (("x", None),), "sizes")
        found: list[Size] = []
        for position, size in enumerate(self.sizes):
            own = x[position - new] if position >= new else None
            if isinstance(size, int) and size == -1:
                if own is None:
                    raise ShapeError("-1 stands for an axis that is not there", "value", argument="sizes")
                size = own
            else:
                need_at_least(size, 0, "an entry of `sizes`")
                if own is not None and not (isinstance(own, int) and own == 1):
                    need_equal(
                        own, size, f"sizes of axis {position - new} and of the result", ("x", position - new)
                    )
            found.append(size)
        return tuple(found)

    def torch(self, t: Lowering, x: Any) -> Any:
        return x.expand(*(t.size(size) for size in self.sizes)) if self.sizes else x.expand(())

    def te(self, t: Elements, x: Any) -> Any:
        return t.compute(t.shape(), lambda *i: t.read(x, i))

    def numpy(self, np: Any, x: Any) -> Any:
        return np.broadcast_to(x, self.shape(x.shape))


class BroadcastTo(Expand, name="broadcast_to"):
    """Stretch to a shape under NumPy's rule, without copying: [*S] -> [*sizes]; torch.broadcast_to."""

    samples = (case({"sizes": (4, 3, 2)}, (3, 1)), case({"sizes": (2, 3)}, (3,)))


class Tile(Move, name="tile"):
    """Repeat the whole along axes: [*S] -> [*(repeats*S)]; counted from the last axis, missing ones are 1;
    torch.tile.
    """

    repeats: tuple[Size, ...]
    samples = (
        case({"repeats": (2, 3)}, (2, 3)),
        case({"repeats": (2,)}, (2, 3)),
        case({"repeats": (2, 1, 3)}, (4, 2)),
    )

    def shape(self, x: Shape) -> Shape:
        rank = max(len(x), len(self.repeats))
        for times in self.repeats:
            need_at_least(times, 0, "an entry of `repeats`")
        sizes, repeats = (1,) * (rank - len(x)) + x, (1,) * (rank - len(self.repeats)) + self.repeats
        return tuple(times * size for times, size in zip(repeats, sizes, strict=True))

    def torch(self, t: Lowering, x: Any) -> Any:
        return x.tile(tuple(t.size(times) for times in self.repeats))

    def te(self, t: Elements, x: Any) -> Any:
        repeats = (*(1,) * (x.rank - len(self.repeats)), *self.repeats)
        repeats = repeats[len(repeats) - x.rank :]

        def place(*i: Any) -> list[Any]:
            return [
                position if times == 1 else position % size if not isinstance(size, int) or size > 1 else 0
                for position, times, size in zip(i[len(i) - x.rank :], repeats, x.shape, strict=True)
            ]

        return moved(t, x, place)

    def numpy(self, np: Any, x: Any) -> Any:
        return np.tile(x, self.repeats)


class RepeatInterleave(Move, name="repeat_interleave"):
    """Repeat each element along an axis: [*a, N, *b] -> [*a, n*N, *b]; torch.repeat_interleave."""

    n: Size
    axis: int
    samples = (case({"n": 3, "axis": 1}, (2, 3, 4)), case({"n": 2, "axis": -1}, (3,)))

    def shape(self, x: Shape) -> Shape:
        need_rank(x, 1, None, "repeat_interleave")
        need_at_least(self.n, 0, "`n`")
        axis = axis_of(self.axis, len(x))
        return (*x[:axis], x[axis] * self.n, *x[axis + 1 :])

    def torch(self, t: Lowering, x: Any) -> Any:
        return x.repeat_interleave(t.size(self.n), self.axis)

    def te(self, t: Elements, x: Any) -> Any:
        axis, n = axis_of(self.axis, x.rank), t.size(self.n)
        # None repeats of anything leave nothing to read.
        return moved(t, x, lambda *i: put(i, axis, 0 if isinstance(n, int) and n == 0 else i[axis] // n))

    def numpy(self, np: Any, x: Any) -> Any:
        return np.repeat(x, self.n, self.axis)


class Identity(SameOrder, name="identity"):
    """The tensor itself: [*S] -> [*S]."""

    samples = (case({}, (2, 3)), case({}, ()))

    def shape(self, x: Shape) -> Shape:
        return x

    def in_mode(self, mode: str) -> None:
        return None

    def torch(self, t: Lowering, x: Any) -> Any:
        return x

    def module(self, t: Lowering, x: Shape) -> Any:
        return t.nn.Identity()
