"""Reading at positions that another tensor gives. Nothing is computed.

Positions count from 0; one outside of the axis, a negative one too, is an error when the plan runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..dtypes import I64, DType, is_bool
from ..sizes.dims import Size, prod
from .core.base import Elements, Lowering, Op, Shape, case
from .core.counts import NOTHING, Cost
from .core.indexing import put, within
from .core.promotion import need_element
from .core.rules import ShapeError, axis_of, broadcast, need_at_least, need_equal, need_rank
from .core.spans import Span, Spans, Types
from .positions import Positions


def need_index(dtype: DType, what: str, operand: str, also: tuple[DType, ...] = ("i32",)) -> None:
    """The type holds positions, or `ShapeError`."""
    if dtype != I64 and dtype not in also:
        allowed = " or ".join((I64, *also))
        raise ShapeError(f"{what} takes positions as {allowed}, and got {dtype}", "dtype", ((operand, None),))


def need_within(index: Shape, x: Shape, besides: int | None, what: str, operand: str) -> None:
    """The index is nowhere larger than the tensor, except on one axis."""
    for axis in range(len(x)):
        if axis != besides:
            need_at_least(x[axis], index[axis], f"axis {axis} of {what}", (operand, axis), ("index", axis))


class Gather(Op, name="gather"):
    """Along an axis, the elements at given positions: [*a, N, *b], i64[*a, K, *b] -> [*a, K, *b];
    torch.gather.

    out[i, k, j] = x[i, index[i, k, j], j]; on the other axes the index may be shorter than x.
    """

    axis: int
    role = "move"
    samples = (
        case({"axis": 1}, (2, 3, 4), ("i64", (2, 5, 4))),
        case({"axis": -1}, (4, 3), ("i64", (2, 3))),
    )

    def shape(self, x: Shape, index: Shape) -> Shape:
        rank = max(len(x), 1)
        axis = axis_of(self.axis, rank)
        if max(len(index), 1) != rank:
            message = f"gather needs an index of {rank} axes, as the input has, and got {len(index)}"
            raise ShapeError(message, "rank", (("index", None), ("x", None)))
        if x and index:
            need_within(index, x, axis, "gather's input", "x")
        return index

    def dtype(self, x: DType, index: DType) -> DType:
        need_index(index, "gather", "index")
        return x

    def cost(self, out: Shape, x: Shape, index: Shape) -> Cost:
        return NOTHING

    def reads(self, x: Shape, index: Shape) -> dict[str, Size]:
        return {"x": prod(index)}

    def positions(self, out: Shape, x: Shape, index: Shape) -> Positions:
        return Positions("index", x[self.axis] if x else 1)

    def spans(self, types: Types, given: Spans) -> list[Span]:
        return [given[0]]

    def torch(self, t: Lowering, x: Any, index: Any) -> Any:
        return x.gather(self.axis, index)

    def te(self, t: Elements, x: Any, index: Any) -> Any:
        axis = self.axis % max(x.rank, 1)

        def element(*i: Any) -> Any:
            if not x.rank:
                return x[()]
            # Between a scalar and an axis there is no difference.
            return x[put(i or (0,), axis, within(t, index[i], index.dtype, x.shape[axis]))]

        return t.compute(t.shape(), element)

    def numpy(self, np: Any, x: Any, index: Any) -> Any:
        shape, axis = index.shape or (1,), self.axis % max(x.ndim, 1)
        place = list(np.indices(shape, sparse=True))
        x = x.reshape(x.shape or (1,))
        place[axis] = np.clip(index.reshape(shape), 0, x.shape[axis] - 1)
        return x[tuple(place)]


class TakeAlongAxis(Op, name="take_along_axis"):
    """As `gather`, with the other axes of both broadcast: [*a, N, *b], i64[*a, K, *b] -> [*a, K, *b].

    torch.take_along_dim of positions from 0 to N - 1; any others, which that takes modulo N, are refused.
    """

    axis: int
    role = "move"
    samples = (
        case({"axis": 1}, (2, 3, 4), ("i64", (2, 5, 1))),
        case({"axis": -1}, (1, 3), ("i64", (2, 2))),
    )

    def shape(self, x: Shape, index: Shape) -> Shape:
        if len(x) != len(index):
            message = (
                f"take_along_axis needs an index of {len(x)} axes, as the input has, and got {len(index)}"
            )
            raise ShapeError(message, "rank", (("index", None), ("x", None)))
        axis = axis_of(self.axis, len(x))
        rest = [(*shape[:axis], *shape[axis + 1 :]) for shape in (x, index)]
        common = broadcast(*rest, what="input and index of take_along_axis")
        return (*common[:axis], index[axis], *common[axis:])

    def dtype(self, x: DType, index: DType) -> DType:
        need_index(index, "take_along_axis", "index")
        return x

    def cost(self, out: Shape, x: Shape, index: Shape) -> Cost:
        return NOTHING

    def reads(self, x: Shape, index: Shape) -> dict[str, Size]:
        return {"x": prod(self.shape(x, index))}

    def positions(self, out: Shape, x: Shape, index: Shape) -> Positions:
        return Positions("index", x[self.axis] if x else 1)

    def spans(self, types: Types, given: Spans) -> list[Span]:
        return [given[0]]

    def torch(self, t: Lowering, x: Any, index: Any) -> Any:
        axis, own, other = axis_of(self.axis, t.rank(x)), t.shape(x), t.shape(index)
        x, index = _broadcast(x, own, other, axis), _broadcast(index, other, own, axis)
        return x.gather(axis, index)

    def te(self, t: Elements, x: Any, index: Any) -> Any:
        axis = axis_of(self.axis, x.rank)

        def element(*i: Any) -> Any:
            position = within(t, t.read(index, i), index.dtype, x.shape[axis])
            place = put(i, axis, position)
            ones = [isinstance(size, int) and size == 1 for size in x.shape]
            return x[tuple(0 if one else at for one, at in zip(ones, place, strict=True))]

        return t.compute(t.shape(), element)

    def numpy(self, np: Any, x: Any, index: Any) -> Any:
        return np.take_along_axis(x, np.clip(index, 0, x.shape[self.axis] - 1), self.axis)


def _broadcast(x: Any, own: Sequence[Any], other: Sequence[Any], besides: int) -> Any:
    """The tensor with the axes of another, but for one; torch refuses it where these do not broadcast."""
    wanted = [
        None
        if axis == besides or mine is size or _is(size, 1) or (isinstance(mine, int) and _is(size, mine))
        else size
        for axis, (mine, size) in enumerate(zip(own, other, strict=True))
    ]
    changed = any(size is not None for size in wanted)
    return x.expand(*(-1 if size is None else size for size in wanted)) if changed else x


def _is(size: Any, number: int) -> bool:
    """Whether a size is known, and that number: sizes of run time cannot be compared."""
    return isinstance(size, int) and size == number


class IndexSelect(Op, name="index_select"):
    """Whole slices of an axis by position: [*a, N, *b], i64[K] -> [*a, K, *b]; torch.index_select."""

    axis: int
    role = "move"
    samples = (case({"axis": 1}, (2, 3, 4), ("i64", (5,))), case({"axis": 0}, (3, 2), ("i32", (2,))))

    def shape(self, x: Shape, index: Shape) -> Shape:
        need_rank(index, 0, 1, "the index of index_select", "index")
        axis = axis_of(self.axis, max(len(x), 1))
        count = index[0] if index else 1
        if not x:
            need_equal(count, 1, "the number of positions and of a scalar's elements", ("index", None))
            return x
        return (*x[:axis], count, *x[axis + 1 :])

    def dtype(self, x: DType, index: DType) -> DType:
        need_index(index, "index_select", "index")
        return x

    def cost(self, out: Shape, x: Shape, index: Shape) -> Cost:
        return NOTHING

    def reads(self, x: Shape, index: Shape) -> dict[str, Size]:
        return {"x": prod(self.shape(x, index))}

    def positions(self, out: Shape, x: Shape, index: Shape) -> Positions:
        return Positions("index", x[self.axis] if x else 1)

    def spans(self, types: Types, given: Spans) -> list[Span]:
        return [given[0]]

    def torch(self, t: Lowering, x: Any, index: Any) -> Any:
        return x.index_select(self.axis, index)

    def te(self, t: Elements, x: Any, index: Any) -> Any:
        axis = self.axis % max(x.rank, 1)

        def element(*i: Any) -> Any:
            if not x.rank:
                return x[()]
            position = index[i[axis]] if index.rank else index[()]
            return x[put(i, axis, within(t, position, index.dtype, x.shape[axis]))]

        return t.compute(t.shape(), element)

    def numpy(self, np: Any, x: Any, index: Any) -> Any:
        return np.take(x, index.reshape(-1), self.axis, mode="clip") if x.ndim else x


class Take(Op, name="take"):
    """Slices of an axis by positions of any rank: [*a, N, *b], i64[*K] -> [*a, *K, *b]; numpy.take.

    A table of relative positions is read so: [T, heads], i64[N, N] -> [N, N, heads].
    """

    axis: int = 0
    role = "move"
    samples = (
        case({}, (5, 2), ("i64", (3, 4))),
        case({"axis": 1}, (2, 3, 4), ("i64", (5,))),
        case({"axis": -1}, (2, 3), ("i32", (2, 2, 2))),
    )

    def shape(self, x: Shape, index: Shape) -> Shape:
        need_rank(x, 1, None, "take")
        axis = axis_of(self.axis, len(x))
        return (*x[:axis], *index, *x[axis + 1 :])

    def dtype(self, x: DType, index: DType) -> DType:
        need_index(index, "take", "index")
        return x

    def cost(self, out: Shape, x: Shape, index: Shape) -> Cost:
        return NOTHING

    def reads(self, x: Shape, index: Shape) -> dict[str, Size]:
        return {"x": prod(self.shape(x, index))}

    def positions(self, out: Shape, x: Shape, index: Shape) -> Positions:
        return Positions("index", x[self.axis] if x else 1)

    def spans(self, types: Types, given: Spans) -> list[Span]:
        return [given[0]]

    def torch(self, t: Lowering, x: Any, index: Any) -> Any:
        axis = axis_of(self.axis, t.rank(x))
        if t.rank(index) == 1:
            return x.index_select(axis, index)
        if t.rank(index) == 0:
            return x.index_select(axis, index).squeeze(axis)
        return x.index_select(axis, index.flatten()).unflatten(axis, t.shape(index))

    def te(self, t: Elements, x: Any, index: Any) -> Any:
        axis = axis_of(self.axis, x.rank)

        def element(*i: Any) -> Any:
            chosen, rest = i[axis : axis + index.rank], i[axis + index.rank :]
            position = within(t, index[chosen], index.dtype, x.shape[axis])
            return x[(*i[:axis], position, *rest)]

        return t.compute(t.shape(), element)

    def numpy(self, np: Any, x: Any, index: Any) -> Any:
        return np.take(x, index, self.axis, mode="clip")


class MaskedFill(Op, name="masked_fill"):
    """A constant where the mask holds: [*S], bool[*M] -> broadcast of both; torch.masked_fill."""

    value: float
    role = "elementwise"
    samples = (
        case({"value": 0.0}, (2, 3), ("bool", (2, 3))),
        case({"value": -1e4}, (2, 3, 4), ("bool", (3, 1))),
        case({"value": 1.5}, (3,), ("bool", (2, 1))),
        case({"value": float("-inf")}, (2, 3, 4), ("bool", (3, 1))),
    )

    def shape(self, x: Shape, mask: Shape) -> Shape:
        return broadcast(x, mask, what="input and mask of masked_fill", slots=("x", "mask"))

    def dtype(self, x: DType, mask: DType) -> DType:
        if not is_bool(mask):
            raise ShapeError(f"the mask of masked_fill is bool, and got {mask}", "dtype", (("mask", None),))
        need_element(self.value, x, "value")
        return x

    def cost(self, out: Shape, x: Shape, mask: Shape) -> Cost:
        return Cost(compare=prod(out))

    def torch(self, t: Lowering, x: Any, mask: Any) -> Any:
        return x.masked_fill(mask, self.value)

    def te(self, t: Elements, x: Any, mask: Any) -> Any:
        return t.compute(t.shape(), lambda *i: t.select(t.read(mask, i), t.const(self.value), t.read(x, i)))

    def numpy(self, np: Any, x: Any, mask: Any) -> Any:
        return np.where(mask, x.dtype.type(self.value), x)
