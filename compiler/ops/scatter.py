"""Writing at positions that another tensor gives. Only `scatter_add` computes.

Positions count from 0; one outside of the axis, a negative one too, is an error when the plan runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..dtypes import DType
from ..sizes.dims import prod
from .core.base import Elements, Lowering, Op, Shape, case
from .core.counts import NOTHING, Cost
from .core.indexing import loop_kind, parted, put, within
from .core.rows import product, wide
from .core.rules import ShapeError, axis_of
from .index import need_index, need_within
from .positions import Positions


class ScatterOp(Op):
    """What writing by position shares: [*a, N, *b], i64[*a, K, *b], [*a, K, *b] -> [*a, N, *b]."""

    axis: int

    def shape(self, x: Shape, index: Shape, source: Shape) -> Shape:
        rank = max(len(x), 1)
        axis = axis_of(self.axis, rank)
        for slot, shape in (("index", index), ("source", source)):
            if max(len(shape), 1) != rank:
                message = (
                    f"{self.name} needs `{slot}` to have {rank} axes, as the input has, and got {len(shape)}"
                )
                raise ShapeError(message, "rank", ((slot, None), ("x", None)))
        if x and index:
            need_within(index, x, axis, f"{self.name}'s input", "x")
        if source or index:
            # A scalar counts as one element.
            need_within(index or (1,), source or (1,), None, f"{self.name}'s source", "source")
        return x

    def dtype(self, x: DType, index: DType, source: DType) -> DType:
        need_index(index, self.name, "index")
        if x != source:
            message = f"{self.name} needs input and source of one type, and got {x} and {source}"
            raise ShapeError(message, "dtype", (("x", None), ("source", None)))
        return x

    def positions(self, out: Shape, x: Shape, index: Shape, source: Shape) -> Positions:
        return Positions("index", x[self.axis] if x else 1)

    def _written(
        self, t: Elements, x: Any, index: Any, source: Any, combine: Callable[[Any, Any], Any], dtype: str
    ) -> Any:
        """A copy of `x` in which `combine` makes the new element of the old one and the source's.

        Writes to one place follow each other in the order of the index, those on other axes run at once.
        """
        axis = self.axis % max(x.rank, 1)
        # A scalar counts as one element.
        shape = x.shape or (1,)

        def emit(b: Any, outs: list[Any]) -> None:
            sums = outs[0] if dtype == x.dtype else b.alloc(shape, dtype, "sums")

            def copy(*at: Any) -> None:
                b.store(sums, t.cast(x[at[: x.rank]], dtype), *at)

            def write(*at: Any) -> None:
                place = put(at, axis, within(t, index[at[: index.rank]], index.dtype, shape[axis]))
                value = t.cast(source[at[: source.rank]], dtype)
                b.store(sums, combine(sums[place], value), *place)

            def convert(*at: Any) -> None:
                b.store(outs[0], t.cast(sums[at], x.dtype), *at)

            _each(t, b, shape, copy)
            _along(t, b, index.shape or (1,), axis, write)
            if sums is not outs[0]:
                _each(t, b, shape, convert)

        return t.build([(x.shape, x.dtype)], emit)[0]

    def _places(self, np: Any, x: Any, index: Any, source: Any) -> tuple[Any, tuple[Any, ...], Any]:
        """For numpy: a copy of `x`, the index of each element that is written, and what is."""
        shape, axis = index.shape or (1,), self.axis % max(x.ndim, 1)
        place = list(np.indices(shape, sparse=True))
        found = x.reshape(x.shape or (1,)).copy()
        place[axis] = np.clip(index.reshape(shape), 0, found.shape[axis] - 1)
        source = source.reshape(source.shape or (1,))
        return found, tuple(place), source[tuple(slice(size) for size in shape)]


class Scatter(ScatterOp, name="scatter"):
    """Write at given positions: [*a, N, *b], i64[*a, K, *b], [*a, K, *b] -> [*a, N, *b]; torch.scatter.

    out[i, index[i, k, j], j] = source[i, k, j]; of several writes to one place any one stays.
    """

    samples = (
        case({"axis": 1}, (2, 5, 4), ("i64", (2, 1, 4)), (2, 1, 4)),
        case({"axis": 0}, (4, 3), ("i64", (1, 3)), (1, 3)),
        case({"axis": -1}, (3,), ("i64", (1,)), (1,)),
        # The source may be larger than the index, but then torch gives it no gradient.
        case({"axis": 0}, (4, 3), ("i64", (1, 3)), (3, 3)),
    )

    def cost(self, out: Shape, x: Shape, index: Shape, source: Shape) -> Cost:
        return NOTHING

    def torch(self, t: Lowering, x: Any, index: Any, source: Any) -> Any:
        return x.scatter(self.axis, index, source)

    def te(self, t: Elements, x: Any, index: Any, source: Any) -> Any:
        return self._written(t, x, index, source, lambda old, new: new, x.dtype)

    def numpy(self, np: Any, x: Any, index: Any, source: Any) -> Any:
        found, place, values = self._places(np, x, index, source)
        found[place] = values
        return found


class ScatterAdd(ScatterOp, name="scatter_add"):
    """Add at given positions: [*a, N, *b], i64[*a, K, *b], [*a, K, *b] -> [*a, N, *b]; torch.scatter_add.

    out[i, index[i, k, j], j] += source[i, k, j].
    """

    samples = (
        case({"axis": 1}, (2, 3, 4), ("i64", (2, 5, 4)), (2, 5, 4)),
        case({"axis": 0}, (4, 3), ("i64", (2, 3)), (2, 3)),
        case({"axis": -1}, (3,), ("i64", (4,)), (4,)),
        case({"axis": 0}, (4, 3), ("i64", (2, 3)), (3, 3)),
    )

    def cost(self, out: Shape, x: Shape, index: Shape, source: Shape) -> Cost:
        return Cost(add=prod(index))

    def torch(self, t: Lowering, x: Any, index: Any, source: Any) -> Any:
        return x.scatter_add(self.axis, index, source)

    def te(self, t: Elements, x: Any, index: Any, source: Any) -> Any:
        return self._written(t, x, index, source, t.add, wide(x.dtype))

    def numpy(self, np: Any, x: Any, index: Any, source: Any) -> Any:
        found, place, values = self._places(np, x, index, source)
        np.add.at(found, place, values)
        return found


_TILE = 64
"""Elements side by side that one thread writes in a row."""


def _each(t: Elements, b: Any, shape: Sequence[Any], write: Callable[..., None]) -> None:
    """For each index, on all threads."""
    with b.loop(product(shape[:-1]), "o", loop_kind(*shape)) as number:
        outer = [b.let(i, "i") for i in parted(t, number, shape[:-1])]
        with b.loop(shape[-1], "j") as last:
            write(*outer, last)


def _along(t: Elements, b: Any, shape: Sequence[Any], axis: int, write: Callable[..., None]) -> None:
    """For each index, in order along the axis and on all threads along the others."""
    before, last = shape[:axis], shape[-1]
    if axis == len(shape) - 1:
        with b.loop(product(before), "o", loop_kind(*shape)) as number:
            outer = [b.let(i, "i") for i in parted(t, number, before)]
            with b.loop(last, "k") as k:
                write(*outer, k)
        return
    tiles = (last + (_TILE - 1)) // _TILE
    with b.loop(product(before) * tiles, "o", loop_kind(*shape)) as number:
        *outer, tile = [b.let(i, "i") for i in parted(t, number, (*before, tiles))]
        start = b.let(tile * _TILE, "start")
        count = b.let(t.minimum(last - start, _TILE), "count")
        with b.loops(shape[axis:-1], "k") as inner, b.loop(count, "j") as lane:
            write(*outer, *inner, start + lane)
