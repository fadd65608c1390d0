"""Pooling over sliding windows: maximum, mean and p-norm.

Every window counts all its taps, those on padding too, as a convolution does; reducing n elements counts n
operations.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

from ..dtypes import FLOAT, I64, DType, is_bool, is_complex, is_float
from ..sizes.dims import Size, prod
from .conv import per_axis
from .core.base import Elements, Lowering, Shape, Sizes, case
from .core.counts import Cost
from .core.indexing import joined, parted
from .core.rules import ShapeError, need_at_least, need_equal, need_float, need_positive, need_rank
from .core.spans import Span, Spans, Types, below
from .core.window_elements import counted, pooled, sum_type
from .core.windows import PoolPadding, Windows, per_spatial, pooled_axes
from .positions import Positions


class MaxPool(Windows, name="max_pool"):
    """Maximum of each window: [B, C, *S] -> [B, C, *S'], in 1 to 3 spatial axes; torch's max_pool1d, 2d and
    3d.

    `pad` is a size for each axis, at most half of the kernel, or "tf_same" (ceil(S/stride), TensorFlow's
    rule); padding never wins.
    """

    pad: PoolPadding = 0
    dilation: Sizes = 1
    ceil_mode: bool = False
    samples = (
        case({"kernel": 3, "stride": 2, "pad": 1}, (2, 3, 9, 8)),
        case({"kernel": (3, 2), "stride": 2, "ceil_mode": True, "pad": (1, 0)}, (2, 3, 8, 8)),
        case({"kernel": 3, "dilation": 2}, (2, 3, 9)),
        case({"kernel": 3, "stride": 2, "pad": "tf_same"}, (2, 3, 9, 8)),
        case({"kernel": 2}, (1, 2, 5, 4, 6)),
    )

    def shape(self, x: Shape) -> Shape:
        pooled_axes(x, "max_pool")
        return (*x[:2], *self.slide(x, self.pad, self.dilation, self.ceil_mode))

    def dtype(self, x: DType) -> DType:
        _need_order(x, "max_pool", self.pad == "tf_same")
        return x

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(compare=prod(out) * self.taps(len(x) - 2))

    def torch(self, t: Lowering, x: Any) -> Any:
        rank = t.rank(x) - 2
        function = (t.F.max_pool1d, t.F.max_pool2d, t.F.max_pool3d)[rank - 1]
        x, pad = self.padded(t, x, self.pad, self.dilation, float("-inf"))
        how = {**_window(t, self, rank), "padding": pad, **_more(t, self, rank)}
        if rank == 1 and not is_float(t.dtype_of(x)):
            # Without indices torch pools one axis of whole numbers by code that has none of them.
            return function(x, **how, return_indices=True)[0]
        return function(x, **how)

    def te(self, t: Elements, x: Any) -> Any:
        window = self.window(t, self.pad, self.dilation, self.ceil_mode)
        y = pooled(t, "max", x, window, _least(x.dtype), sum_type(x.dtype))
        return y if y.dtype == x.dtype else t.compute(t.shape(), lambda *i: y[i])


class MaxPoolIndices(Windows, name="max_pool_indices"):
    """Maximum of each window and where it was: [B, C, *S] -> values [B, C, *S'], i64[B, C, *S'].

    An index counts the elements of the channel's flattened spatial axes; `max_unpool` reads it.
    """

    pad: Sizes = 0
    dilation: Sizes = 1
    ceil_mode: bool = False
    role = "opaque"
    samples = (
        case({"kernel": 2}, (2, 3, 8, 6)),
        case({"kernel": 3, "stride": 2, "pad": 1}, (2, 3, 9)),
        case({"kernel": 2, "ceil_mode": True}, (1, 2, 5, 4, 6)),
    )

    def shape(self, x: Shape) -> list[Shape]:
        pooled_axes(x, "max_pool_indices")
        found = (*x[:2], *self.slide(x, self.pad, self.dilation, self.ceil_mode))
        return [found, found]

    def dtype(self, x: DType) -> list[DType]:
        _need_order(x, "max_pool_indices", False)
        return [x, I64]

    def cost(self, out: list[Shape], x: Shape) -> Cost:
        return Cost(compare=prod(out[0]) * self.taps(len(x) - 2))

    def spans(self, types: Types, given: Spans) -> list[Span]:
        return [None, below(prod(types[0].shape[2:]))]

    def torch(self, t: Lowering, x: Any) -> Any:
        rank = t.rank(x) - 2
        function = (t.F.max_pool1d, t.F.max_pool2d, t.F.max_pool3d)[rank - 1]
        pad = per_spatial(t, self.pad, rank, "pad")
        found = function(
            x, **_window(t, self, rank), padding=pad, **_more(t, self, rank), return_indices=True
        )
        return found[0], found[1]

    def te(self, t: Elements, x: Any) -> Any:
        window = self.window(t, self.pad, self.dilation)
        kernel, stride, dilation = ([t.size(each) for each in given] for given in window[:3])
        before = [t.size(pad) for pad, _ in window.pads]
        batch, channels, *windows = t.shape()
        sizes = x.shape[2:]
        kind = sum_type(x.dtype)

        def emit(b: Any, outs: list[Any]) -> None:
            with b.loop(batch * channels, "plane", "parallel") as plane, b.loops(windows, "o") as at:
                n, c = b.let(plane // channels), b.let(plane % channels)
                best, place = b.alloc([1], kind), b.alloc([1], "int64")
                starts = [b.let(i * s - p) for i, s, p in zip(at, stride, before, strict=True)]
                # The first element inside stands where all are minus infinity.
                first = [t.select(i < 0, i % d, i) for i, d in zip(starts, dilation, strict=True)]
                b.store(best, t.const(_least(kind), kind), 0)
                b.store(place, t.cast(joined(first, sizes), "int64"), 0)
                with b.loops(kernel, "k") as tap:
                    places = [b.let(i + k * d) for i, k, d in zip(starts, tap, dilation, strict=True)]
                    conditions = [i >= 0 for i in places]
                    conditions += [i < size for i, size in zip(places, sizes, strict=True)]
                    with b.when(reduce(t.logical_and, conditions)):
                        value = b.let(t.cast(x[(n, c, *places)], kind))
                        with b.when(t.logical_or(value > best[0], t.isnan(value))):
                            b.store(best, value, 0)
                            b.store(place, t.cast(joined(places, sizes), "int64"), 0)
                b.store(outs[0], t.cast(best[0], x.dtype), n, c, *at)
                b.store(outs[1], place[0], n, c, *at)

        return t.build([(t.shape(), x.dtype), (t.shape(1), "int64")], emit)


class MaxUnpool(Windows, name="max_unpool"):
    """Put values back where `max_pool_indices` found them, zeros elsewhere: [B, C, *S'], i64[B, C, *S'] ->
    [B, C, *S].

    S = (S' - 1)*stride - 2*pad + kernel, or `output_size`, which lies less than a stride from that. An index
    that is no element of a channel is an error when the plan runs.
    """

    pad: Sizes = 0
    output_size: tuple[Size, ...] | None = None
    # One value a channel first: what has a gradient must not write two values to one place.
    role = "opaque"
    samples = (
        case({"kernel": 2}, (2, 3, 1, 1), ("i64", (2, 3, 1, 1))),
        case({"kernel": 3, "stride": 2}, (2, 3, 1), ("i64", (2, 3, 1))),
        case({"kernel": 2}, (1, 2, 1, 1, 1), ("i64", (1, 2, 1, 1, 1))),
        case({"kernel": 2}, (2, 3, 4, 3), ("i64", (2, 3, 4, 3))),
        case({"kernel": 3, "stride": 2, "pad": 1, "output_size": (10,)}, (2, 3, 5), ("i64", (2, 3, 5))),
    )

    def shape(self, x: Shape, indices: Shape) -> Shape:
        rank = pooled_axes(x, "max_unpool")
        need_rank(indices, len(x), len(x), "the indices of max_unpool", "indices")
        for axis in range(len(x)):
            need_equal(
                x[axis],
                indices[axis],
                f"sizes of axis {axis} of values and indices",
                ("x", axis),
                ("indices", axis),
            )
        kernel, stride, pad = (
            per_axis(self.kernel, rank, "kernel"),
            self.strides(rank),
            per_axis(self.pad, rank, "pad"),
        )
        natural: list[Size] = []
        for axis in range(rank):
            if rank == 3:
                need_positive(stride[axis], "stride")  # in 1 and 2 axes torch lets it pass
            natural.append((x[2 + axis] - 1) * stride[axis] - 2 * pad[axis] + kernel[axis])
        if self.output_size is None:
            return (*x[:2], *natural)
        if len(self.output_size) != rank:
            raise ShapeError(
                f"`output_size` has {len(self.output_size)} entries for {rank} spatial axes",
                "value",
                argument="output_size",
            )
        for axis, size in enumerate(self.output_size):
            above, below = size - natural[axis] + stride[axis] - 1, natural[axis] + stride[axis] - 1 - size
            need_at_least(
                above, 0, f"what `output_size` has above its least on axis {2 + axis}", ("x", 2 + axis)
            )
            need_at_least(
                below, 0, f"what `output_size` leaves to its most on axis {2 + axis}", ("x", 2 + axis)
            )
        return (*x[:2], *self.output_size)

    def dtype(self, x: DType, indices: DType) -> DType:
        if indices != I64:
            raise ShapeError(
                f"the indices of max_unpool are i64, and got {indices}", "dtype", (("indices", None),)
            )
        need_float(x, "max_unpool")
        return x

    def cost(self, out: Shape, x: Shape, indices: Shape) -> Cost:
        return Cost()

    def positions(self, out: Shape, x: Shape, indices: Shape) -> Positions:
        return Positions("indices", prod(out[2:]))

    def torch(self, t: Lowering, x: Any, indices: Any) -> Any:
        rank = t.rank(x) - 2
        function = (t.F.max_unpool1d, t.F.max_unpool2d, t.F.max_unpool3d)[rank - 1]
        size = None if self.output_size is None else [t.size(size) for size in self.output_size]
        pad = per_spatial(t, self.pad, rank, "pad")
        return function(x, indices, **_window(t, self, rank), padding=pad, output_size=size)

    def te(self, t: Elements, x: Any, indices: Any) -> Any:
        batch, channels, *sizes = t.shape()
        count: Any = 1
        for size in sizes:
            count = count * size

        def emit(b: Any, outs: list[Any]) -> None:
            with b.loop(batch * channels, "plane", "parallel") as plane:
                n, c = b.let(plane // channels), b.let(plane % channels)
                with b.loops(sizes, "o") as at:
                    b.store(outs[0], t.const(0), n, c, *at)
                with b.loops(x.shape[2:], "i") as at:
                    place = b.let(indices[(n, c, *at)])
                    # Torch refuses an index outside; nothing is written there.
                    with b.when(t.logical_and(place >= 0, place < count)):
                        b.store(outs[0], x[(n, c, *at)], n, c, *parted(t, place, sizes))

        return t.build([(t.shape(), t.dtype())], emit)[0]


class AvgPool(Windows, name="avg_pool"):
    """Mean of each window: [B, C, *S] -> [B, C, *S'], in 1 to 3 spatial axes; torch's avg_pool1d, 2d and 3d.

    `pad` is a size for each axis, at most half of the kernel, or "tf_same" (ceil(S/stride), TensorFlow's
    rule). The mean counts padding unless `count_include_pad` is off (TensorFlow's mean does not);
    `divisor_override` divides instead.
    """

    pad: PoolPadding = 0
    ceil_mode: bool = False
    count_include_pad: bool = True
    divisor_override: int | None = None
    samples = (
        case({"kernel": 2}, (2, 3, 8, 9)),
        case(
            {"kernel": 3, "stride": 2, "pad": 1, "ceil_mode": True, "count_include_pad": False}, (2, 3, 8, 9)
        ),
        case({"kernel": 3, "stride": 2, "pad": "tf_same", "count_include_pad": False}, (2, 3, 8, 9)),
        case({"kernel": 3, "stride": 1, "pad": 1}, (2, 3, 8)),
        case({"kernel": (2, 3, 2), "divisor_override": 5}, (1, 2, 4, 5, 6)),
    )

    def shape(self, x: Shape) -> Shape:
        rank = pooled_axes(x, "avg_pool")
        if self.divisor_override is not None:
            if rank == 1:
                message = "`divisor_override` needs 2 or 3 spatial axes, as in torch"
                raise ShapeError(message, "value", argument="divisor_override")
            if self.divisor_override == 0:
                raise ShapeError("`divisor_override` is zero", "value", argument="divisor_override")
        if rank == 3 and self.pad != "tf_same":
            self.need_whole_windows(x, "avg_pool")
        return (*x[:2], *self.slide(x, self.pad, 1, self.ceil_mode))

    def dtype(self, x: DType) -> DType:
        if x != I64:
            need_float(x, "avg_pool")
        # Of the integers torch averages i64 alone, rounding down; a share of the window is a float.
        return FLOAT if x == I64 and self._shares() else x

    def _shares(self) -> bool:
        """Whether windows are divided by what they have inside, though the padding is written out."""
        return self.pad == "tf_same" and not self.count_include_pad and self.divisor_override is None

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(add=prod(out) * self.taps(len(x) - 2), divide=prod(out))

    def torch(self, t: Lowering, x: Any) -> Any:
        rank = t.rank(x) - 2
        function = (t.F.avg_pool1d, t.F.avg_pool2d, t.F.avg_pool3d)[rank - 1]
        settings: dict[str, Any] = {**_window(t, self, rank), "ceil_mode": self.ceil_mode}
        if self.divisor_override is not None:
            settings["divisor_override"] = self.divisor_override
        if self.pad != "tf_same":
            pad = per_spatial(t, self.pad, rank, "pad")  # pyright: ignore[reportArgumentType]  # a size by now
            return function(x, padding=pad, count_include_pad=self.count_include_pad, **settings)
        if self._shares() and t.dtype_of(x) == I64:
            x = x.to(t.dtype(FLOAT))
        y = function(self.padded(t, x, self.pad, 1, 0.0)[0], **settings)
        if not self._shares():
            return y
        # The share of each window that lies inside, one for all samples and channels.
        inside = self.padded(t, t.torch.ones_like(x[:1, :1]), self.pad, 1, 0.0)[0]
        return y / function(inside, **settings)

    def te(self, t: Elements, x: Any) -> Any:
        window = self.window(t, self.pad, 1, self.ceil_mode)
        wanted = sum_type(t.dtype())
        sums = pooled(t, "sum", x, window, 0, wanted)
        margins = window.pads if self.count_include_pad else [(0, 0)] * (x.rank - 2)
        taps = t.size(self.taps(x.rank - 2))

        def mean(*i: Any) -> Any:
            count: Any = self.divisor_override
            if count is None:
                count = counted(t, window, margins, i[2:])
            total, count = sums[i], t.cast(taps if count is None else count, wanted)
            if "int" not in wanted:
                return total / count
            # Torch rounds toward zero.
            return t.sign(total) * t.sign(count) * (t.abs(total) // t.abs(count))

        return t.compute(t.shape(), mean)


class LpPool(Windows, name="lp_pool"):
    """p-norm of each window: [B, C, *S] -> [B, C, *S'], (sum x^p)^(1/p) in 1 to 3 spatial axes; torch's
    lp_pool.
    """

    p: float = 2.0
    ceil_mode: bool = False
    samples = (
        case({"kernel": 2}, (2, 3, 8, 9)),
        case({"kernel": 3, "stride": 2, "p": 1.0, "ceil_mode": True}, (2, 3, 8)),
        case({"kernel": 2}, (2, 3, 4, 5, 4)),
        case({"kernel": 2, "p": 3.0}, (2, 3, 8, 9)),
    )

    def shape(self, x: Shape) -> Shape:
        if pooled_axes(x, "lp_pool") == 3:
            self.need_whole_windows(x, "lp_pool")
        return (*x[:2], *self.slide(x, 0, 1, self.ceil_mode))

    def dtype(self, x: DType) -> DType:
        if is_complex(x):
            raise ShapeError(f"lp_pool needs real numbers, and got {x}", "dtype", (("x", None),))
        return x if is_float(x) else FLOAT

    def cost(self, out: Shape, x: Shape) -> Cost:
        # As torch: powers, their mean over the window, its sign, modulus and relu, times the taps, the root.
        n, rank = prod(out), len(x) - 2
        powers = Cost(transcendental=prod(x))
        return powers + Cost(
            add=n * self.taps(rank), divide=n, compare=3 * n, multiply=2 * n, transcendental=n
        )

    def torch(self, t: Lowering, x: Any) -> Any:
        rank = t.rank(x) - 2
        function = (t.F.lp_pool1d, t.F.lp_pool2d, t.F.lp_pool3d)[rank - 1]
        kernel, stride = (
            per_spatial(t, self.kernel, rank, "kernel"),
            tuple(t.size(s) for s in self.strides(rank)),
        )
        if rank == 1:
            kernel, stride = kernel[0], stride[0]
        return function(x, self.p, kernel, stride, self.ceil_mode)

    def te(self, t: Elements, x: Any) -> Any:
        window = self.window(t, ceil_mode=self.ceil_mode)
        kind = sum_type(t.dtype())
        powers = t.compute(x.shape, lambda *i: t.pow(t.cast(x[i], kind), t.const(self.p, kind)), kind)
        sums = pooled(t, "sum", powers, window, 0, kind)
        # Torch takes the mean over what is inside, times the taps of a whole window.
        taps = t.size(self.taps(x.rank - 2))

        def root(*i: Any) -> Any:
            total, count = sums[i], counted(t, window, [(0, 0)] * (x.rank - 2), i[2:])
            if count is not None:
                total = total / t.cast(count, kind) * t.cast(taps, kind)
            return t.pow(total, t.const(1 / self.p, kind))

        return t.compute(t.shape(), root)


def _least(dtype: str) -> float | int:
    """What never wins: minus infinity, or the least integer."""
    if "float" in dtype:
        return float("-inf")
    return 0 if dtype.startswith("uint") else -(1 << int(dtype.removeprefix("int")) - 1)


def _need_order(dtype: DType, what: str, padded: bool) -> None:
    """The type has a maximum (of padding, minus infinity, too), or `ShapeError`."""
    if is_complex(dtype) or is_bool(dtype) or (padded and not is_float(dtype)):
        raise ShapeError(f"{what} needs a float tensor here, and got {dtype}", "dtype", (("x", None),))


def _window(t: Lowering, op: Windows, rank: int) -> dict[str, Any]:
    stride = tuple(t.size(size) for size in op.strides(rank))
    return {"kernel_size": per_spatial(t, op.kernel, rank, "kernel"), "stride": stride}


def _more(t: Lowering, op: MaxPool | MaxPoolIndices, rank: int) -> dict[str, Any]:
    return {"dilation": per_spatial(t, op.dilation, rank, "dilation"), "ceil_mode": op.ceil_mode}
