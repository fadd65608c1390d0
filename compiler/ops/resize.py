"""Resampling: to another size, or at positions that another tensor gives.

A result element counts one multiply-add for each element it mixes; the weights of `resize` follow from sizes
alone and are not counted, those of `grid_sample` follow from data and are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..dtypes import DType
from ..sizes.dims import Size, ceil_div, maximum, prod
from .core.base import Elements, Lowering, Op, Shape, Sizes, case
from .core.counts import NOTHING, Cost
from .core.resize_elements import Axis, filtered, float_type
from .core.rules import (
    ShapeError,
    need_at_least,
    need_equal,
    need_float,
    need_inexact,
    need_rank,
    need_same_dtype,
)
from .core.sample_elements import Tap, cubic, mixed, nearby, whole
from .core.window_elements import sum_type
from .pool_adaptive import AdaptiveAvgPool, one_window, window_total

if TYPE_CHECKING:
    from ..types import TensorType

ResizeMode = Literal["nearest", "nearest-exact", "linear", "bilinear", "bicubic", "trilinear", "area"]
# The spatial axes that a mode is for, and the elements that it mixes for one of the result.
_AXES = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}
_TAPS = {"linear": 2, "bilinear": 4, "bicubic": 16, "trilinear": 8}


class Resize(Op, name="resize"):
    """Resample spatial axes: [B, C, *S] -> [B, C, *S'], to `size`, or S' = floor(scale*S); torch's
    interpolate.

    `linear`, `bilinear` and `bicubic`, `trilinear` are for 1, 2, 3 spatial axes, the other modes for any of
    those. `antialias` (bilinear, bicubic) widens the filter where the result is smaller. To the same size,
    `nearest`, `nearest-exact`, `area` and what is antialiased leave no operator.
    """

    size: Sizes | None = None
    scale: float | tuple[float, ...] | None = None
    mode: ResizeMode = "nearest"
    align_corners: bool = False
    antialias: bool = False
    role = "window"
    samples = (
        case({"size": (5, 7)}, (2, 3, 4, 6)),
        case({"scale": 2}, (2, 3, 4)),
        case({"scale": (1.5, 0.5), "mode": "bilinear"}, (2, 3, 4, 6)),
        case({"size": (6, 9), "mode": "bicubic", "align_corners": True}, (2, 3, 4, 6)),
        case({"size": (3, 9), "mode": "bilinear", "antialias": True}, (2, 3, 8, 6)),
        case({"size": 5, "mode": "area"}, (2, 3, 8)),
        case({"size": 1, "mode": "area"}, ("complex", (2, 3, 8))),
        case({"scale": 2.0, "mode": "trilinear"}, (1, 2, 2, 3, 2)),
        case({"size": 7, "mode": "linear"}, (1, 2, 4)),
        case({"size": 6, "mode": "nearest-exact"}, (1, 2, 4, 3, 3)),
    )

    def shape(self, x: Shape) -> Shape:
        need_rank(x, 3, 5, "resize")
        rank = len(x) - 2
        axes = _AXES.get(self.mode, rank)
        if rank != axes:
            raise ShapeError(
                f'resize with mode "{self.mode}" needs {axes} spatial axes, and got {rank}',
                "rank",
                (("x", None),),
            )
        if self.align_corners and self.mode not in _AXES:
            raise ShapeError(
                f'`align_corners` says nothing to mode "{self.mode}"', "value", argument="align_corners"
            )
        if self.antialias and self.mode not in ("bilinear", "bicubic"):
            raise ShapeError('`antialias` needs mode "bilinear" or "bicubic"', "value", argument="antialias")
        for axis in range(1, len(x)):
            need_at_least(x[axis], 1, f"axis {axis} of resize's input", ("x", axis))
        sizes = self.sizes(x[2:])
        for axis, size in enumerate(sizes, 2):
            need_at_least(size, 1, f"axis {axis} of resize's result", ("x", axis))
        return (*x[:2], *sizes)

    def sizes(self, spatial: Shape) -> Shape:
        """The result's spatial sizes."""
        if (self.size is None) == (self.scale is None):
            raise ShapeError("resize takes `size` or `scale`, one of them", "value", argument="size")
        if self.size is not None:
            sizes = self.size if isinstance(self.size, tuple) else (self.size,) * len(spatial)
            if len(sizes) != len(spatial):
                message = f"`size` has {len(sizes)} entries for {len(spatial)} spatial axes"
                raise ShapeError(message, "value", argument="size")
            return sizes
        scales = self.scale if isinstance(self.scale, tuple) else (self.scale,) * len(spatial)
        if len(scales) != len(spatial):
            message = f"`scale` has {len(scales)} entries for {len(spatial)} spatial axes"
            raise ShapeError(message, "value", argument="scale")
        return tuple(_scaled(size, scale or 0.0) for size, scale in zip(spatial, scales, strict=True))

    def unchanged(self, types: Sequence[TensorType]) -> bool:
        """Whether each result element is one of the operand.

        Modes that mix neighbours are not: they multiply them by zero there, and zero times infinity is NaN.
        """
        spatial = types[0].shape[2:]
        picks = self.mode in ("nearest", "nearest-exact", "area") or self.antialias
        if self.scale is None:
            return picks and self.sizes(spatial) == spatial
        scales = self.scale if isinstance(self.scale, tuple) else (self.scale,)
        return picks and all(scale == 1 for scale in scales)

    def dtype(self, x: DType) -> DType:
        if self.mode == "area" and one_window(self.size):
            need_inexact(x, "resize")
        elif x != "u8" or self.mode in ("linear", "trilinear", "area"):
            need_float(x, "resize")
        return x

    def cost(self, out: Shape, x: Shape) -> Cost:
        if self.mode in ("nearest", "nearest-exact"):
            return NOTHING
        if self.mode == "area":
            read = prod(x[:2]) * prod(window_total(s, o) for s, o in zip(x[2:], out[2:], strict=True))
            return Cost(add=read, divide=prod(out))
        if self.antialias:
            # Along rows, then along columns; the filter's full width, zeros too.
            reach = 1 if self.mode == "bilinear" else 2
            widths = [
                2 * maximum(ceil_div(reach * s, o), reach) + 1 for s, o in zip(x[2:], out[2:], strict=True)
            ]
            return Cost(macs=prod(x[:3]) * out[3] * widths[1] + prod(out) * widths[0])
        return Cost(macs=prod(out) * _TAPS[self.mode])

    def torch(self, t: Lowering, x: Any) -> Any:
        settings: dict[str, Any] = {"mode": self.mode}
        if self.mode in _AXES or self.align_corners:
            settings["align_corners"] = self.align_corners
        rank = t.rank(x) - 2
        if self.size is not None:
            sizes = self.size if isinstance(self.size, tuple) else (self.size,) * rank
            kind, by = "size", [t.size(size) for size in sizes]
        else:
            kind, scale = "scale_factor", self.scale or 0.0
            by = list(map(float, scale)) if isinstance(scale, tuple) else float(scale)
        if self.antialias:
            return _antialiased(t, x, kind, by if isinstance(by, list) else [by] * rank, settings)
        return t.F.interpolate(x, **{kind: by}, **settings)

    def te(self, t: Elements, x: Any) -> Any:
        source, result = t.node.inputs[0].shape[2:], t.node.results[0].shape[2:]
        if self.mode == "area":
            return AdaptiveAvgPool(size=result).te(t, x)
        rank = len(source)
        given = self.scale if isinstance(self.scale, tuple) else (self.scale,) * rank
        axes = [
            Axis(t, size, count, scale, self.align_corners)
            for size, count, scale in zip(source, result, given, strict=True)
        ]
        if self.mode in ("nearest", "nearest-exact"):
            return self._nearest(t, x, axes)
        kind = float_type(x.dtype)
        if self.antialias or x.dtype == "uint8":
            return self._filtered(t, x, axes, kind)

        def element(b: Any, c: Any, *at: Any) -> Any:
            taps = [
                axis.cubic(o, kind) if self.mode == "bicubic" else axis.linear(o, kind)
                for axis, o in zip(axes, at, strict=True)
            ]
            return mixed(t, taps, lambda places: t.cast(x[(b, c, *places)], kind), kind)

        return t.compute(t.shape(), element)

    def numpy(self, np: Any, x: Any) -> Any:
        # Of complex numbers there is the area of all alone.
        return AdaptiveAvgPool(size=1).numpy(np, x)

    def _nearest(self, t: Elements, x: Any, axes: list[Axis]) -> Any:
        kind, exact = float_type(x.dtype), self.mode == "nearest-exact"
        sizes = t.shape()[2:]
        # Torch has another kernel for pictures whose height and width are 128 together, or less.
        small = len(axes) == 2 and sizes[0] + sizes[1] <= 128

        def place(axis: Axis, o: Any) -> Any:
            if small is False:
                return axis.nearest(o, kind, exact)
            if small is True:
                return axis.nearest_small(o, exact)
            return t.select(small, axis.nearest_small(o, exact), axis.nearest(o, kind, exact))

        def element(b: Any, c: Any, *at: Any) -> Any:
            return x[(b, c, *(place(axis, o) for axis, o in zip(axes, at, strict=True)))]

        return t.compute(t.shape(), element)

    def _filtered(self, t: Elements, x: Any, axes: list[Axis], kind: str) -> Any:
        """Along rows, then along columns; bytes are rounded after each, as torch does."""
        reach = 2 if self.mode == "bicubic" else 1
        whole = x.dtype == "uint8"
        for at in (3, 2):
            axis = axes[at - 2]
            if axis.unless_same(True, False) is True:
                continue
            y = filtered(axis, x, at, reach, self.antialias, kind)
            x = _bytes(t, y) if whole else y
        return t.compute(t.shape(), lambda *i: x[i])


def _bytes(t: Elements, x: Any) -> Any:
    """Rounded, within the range of bytes."""
    half = t.const(0.5, "float32")
    return t.compute(x.shape, lambda *i: t.clamp(t.floor(x[i] + half), 0, 255), "uint8", keep=True)


def _antialiased(t: Lowering, x: Any, kind: str, by: list[Any], settings: dict[str, Any]) -> Any:
    """Torch's resize with antialias, which is wrong where the result has one column: then both axes apart."""
    height, width = t.shape(x)[2:]
    columns = by[1]
    if kind == "scale_factor":
        columns = _scaled(width, by[1]) if isinstance(width, int) else None
    if isinstance(columns, int) and columns > 1:
        return t.F.interpolate(x, **{kind: by}, antialias=True, **settings)
    rows, both = (height, by[1]) if kind == "size" else (1.0, 1.0)
    x = t.F.interpolate(x, **{kind: [rows, by[1]]}, antialias=True, **settings)
    turned = t.F.interpolate(x.transpose(2, 3), **{kind: [both, by[0]]}, antialias=True, **settings)
    return turned.transpose(2, 3)


def _scaled(size: Size, scale: float) -> Size:
    if not scale > 0:
        raise ShapeError(f"`scale` is {scale}, and must be positive", "value", argument="scale")
    if isinstance(size, int):
        return math.floor(size * float(scale))
    numerator, denominator = float(scale).as_integer_ratio()
    if denominator > 1 << 20:
        raise ShapeError(
            f"a symbolic size times {scale} has no exact formula",
            "value",
            argument="scale",
            help="give `size`",
        )
    return size * numerator // denominator


GridMode = Literal["bilinear", "nearest", "bicubic"]
BorderMode = Literal["zeros", "border", "reflection"]


class GridSample(Op, name="grid_sample"):
    """Sample at positions in [-1, 1]: [B, C, H, W], [B, H', W', 2] -> [B, C, H', W'], and so with a depth
    axis and 3.

    Positions are (x, y) or (x, y, z); torch's grid_sample (Jaderberg et al. 2015, arXiv:1506.02025).
    """

    mode: GridMode = "bilinear"
    padding_mode: BorderMode = "zeros"
    align_corners: bool = False
    samples = (
        case({}, (2, 3, 5, 4), (2, 3, 6, 2)),
        case({"mode": "nearest", "padding_mode": "border"}, (2, 3, 5, 4), (2, 3, 6, 2)),
        case(
            {"mode": "bicubic", "padding_mode": "reflection", "align_corners": True},
            (2, 3, 5, 4),
            (2, 3, 6, 2),
        ),
        case({"align_corners": True}, (1, 2, 3, 4, 3), (1, 2, 3, 2, 3)),
    )

    def shape(self, x: Shape, grid: Shape) -> Shape:
        need_rank(x, 4, 5, "grid_sample")
        need_rank(grid, len(x), len(x), "the grid of grid_sample", "grid")
        rank = len(x) - 2
        if self.mode == "bicubic" and rank == 3:
            raise ShapeError('mode "bicubic" needs 2 spatial axes, and got 3', "rank", (("x", None),))
        need_equal(x[0], grid[0], "samples of the input and of the grid", ("x", 0), ("grid", 0))
        need_equal(grid[-1], rank, "coordinates of the grid and spatial axes", ("grid", -1), ("x", None))
        for axis in range(2, len(x)):
            need_at_least(x[axis], 1, f"axis {axis} of grid_sample's input", ("x", axis))
        return (*x[:2], *grid[1:-1])

    def dtype(self, x: DType, grid: DType) -> DType:
        need_float(x, "grid_sample")
        need_same_dtype({"x": x, "grid": grid}, "grid_sample")
        return x

    def cost(self, out: Shape, x: Shape, grid: Shape) -> Cost:
        rank, positions, n = len(x) - 2, prod(grid[:-1]), prod(out)
        coordinates = positions * rank
        # (g + 1)/2 * (S - 1), or ((g + 1)*S - 1)/2.
        cost = Cost(add=coordinates * (1 if self.align_corners else 2), multiply=2 * coordinates)
        if self.padding_mode == "border":
            cost = cost + Cost(compare=2 * coordinates)
        elif self.padding_mode == "reflection":
            # |g - low|, its number of spans and the rest of it, forwards or backwards; within the border.
            cost = cost + Cost(add=3 * coordinates, divide=2 * coordinates, compare=4 * coordinates)
        if self.mode == "nearest":
            return cost + Cost(compare=2 * coordinates if self.padding_mode == "zeros" else 0)
        width = 4 if self.mode == "bicubic" else 2
        taps = width**rank
        if self.padding_mode == "zeros":
            # Each tap's index is inside on every axis.
            cost = cost + Cost(compare=2 * coordinates * width)
        if self.mode == "bicubic":
            # The offset, then four cubics by Horner's rule, each of three multiply-adds.
            cost = cost + Cost(add=4 * coordinates, macs=12 * coordinates)
        else:
            cost = cost + Cost(add=2 * coordinates)
        return cost + Cost(multiply=positions * taps * (rank - 1), macs=n * taps)

    def reads(self, x: Shape, grid: Shape) -> dict[str, Size]:
        width = {"nearest": 1, "bilinear": 2, "bicubic": 4}[self.mode]
        return {"x": prod(grid[:-1]) * x[1] * width ** (len(x) - 2)}

    def torch(self, t: Lowering, x: Any, grid: Any) -> Any:
        return t.F.grid_sample(
            x, grid, mode=self.mode, padding_mode=self.padding_mode, align_corners=self.align_corners
        )

    def te(self, t: Elements, x: Any, grid: Any) -> Any:
        sizes = x.shape[2:]
        kind = sum_type(x.dtype)

        def element(b: Any, c: Any, *at: Any) -> Any:
            # The last axis of the grid counts the axes from behind.
            taps = [
                self._taps(t, t.cast(grid[(b, *at, len(sizes) - 1 - axis)], kind), size, len(sizes), kind)
                for axis, size in enumerate(sizes)
            ]
            return mixed(t, taps, lambda places: t.cast(x[(b, c, *places)], kind), kind)

        return t.compute(t.shape(), element)

    def _taps(self, t: Elements, value: Any, size: Any, rank: int, kind: str) -> list[Tap]:
        """What is mixed on an axis for a position between -1 and 1."""
        one, half, length = t.const(1, kind), t.const(0.5, kind), t.cast(size, kind)
        # Halves are exact, so that torch's kernels for two axes and for three differ in what they round.
        if self.align_corners:
            spans = length - one
            at = (value + one) * (spans * half) if rank == 2 else (value + one) * half * spans
        else:
            at = (
                (value + one) * (length * half) - half if rank == 2 else ((value + one) * length - one) * half
            )
        at = t.let(at)
        if self.mode == "bicubic":
            low = t.let(t.floor(at))
            weights = cubic(t, t.let(at - low), kind)
            return [
                Tap(weight, *self._index(t, low + t.const(step, kind), size, kind))
                for step, weight in zip((-1, 0, 1, 2), weights, strict=True)
            ]
        if self.mode == "nearest":
            return [Tap(one, *self._index(t, at, size, kind))]
        return nearby(t, self._inside(t, at, size, kind), size, kind)

    def _index(self, t: Elements, at: Any, size: Any, kind: str) -> tuple[Any, tuple[Any, ...]]:
        """The element nearest to a position, and what must hold for it to be there."""
        place = whole(t, t.round(self._inside(t, at, size, kind)), -1, size, kind)
        return place, (place >= 0, place < size) if self.padding_mode == "zeros" else ()

    def _inside(self, t: Elements, at: Any, size: Any, kind: str) -> Any:
        """A position moved into the input, unless there are zeros around it."""
        if self.padding_mode == "zeros":
            return at
        length, zero = t.cast(size, kind), t.const(0, kind)
        last = length - t.const(1, kind)
        # One element has no span to turn in: it is all that there is.
        single = isinstance(size, int) and size == 1 and self.align_corners
        if self.padding_mode == "reflection" and not single:
            low = t.const(0 if self.align_corners else -0.5, kind)
            turn = t.const(2, kind) * (last if self.align_corners else length)
            far = t.let(t.abs(at - low))
            rest = t.let(far - t.trunc(far / turn) * turn)
            at = t.let(t.minimum(rest, turn - rest) + low)
        return t.let(t.select(at > zero, t.select(at < last, at, last), zero))


class AffineGrid(Op, name="affine_grid"):
    """Positions for `grid_sample` from affine maps: [B, 2, 3] -> [B, H, W, 2] with `size` [H, W]; [B, 3, 4]
    so in 3D.
    """

    size: tuple[Size, ...]
    align_corners: bool = False
    samples = (case({"size": (4, 5)}, (2, 2, 3)), case({"size": (2, 3, 4), "align_corners": True}, (2, 3, 4)))

    def shape(self, theta: Shape) -> Shape:
        rank = len(self.size)
        if rank not in (2, 3):
            raise ShapeError(f"`size` has {rank} entries, and must have 2 or 3", "value", argument="size")
        need_rank(theta, 3, 3, "affine_grid", "theta")
        need_equal(theta[1], rank, "rows of the map and spatial axes", ("theta", 1))
        need_equal(theta[2], rank + 1, "columns of the map and spatial axes + 1", ("theta", 2))
        need_at_least(theta[0], 1, "the number of maps", ("theta", 0))
        for size in self.size:
            # The corners of one element are its own: torch warns of it.
            need_at_least(size, 2 if self.align_corners else 1, "an entry of `size`")
        return (theta[0], *self.size, rank)

    def dtype(self, theta: DType) -> DType:
        need_float(theta, "affine_grid", "theta")
        return theta

    def cost(self, out: Shape, theta: Shape) -> Cost:
        return Cost(macs=prod(out) * theta[2])

    def torch(self, t: Lowering, theta: Any) -> Any:
        size = [t.shape(theta)[0], 1, *(t.size(size) for size in self.size)]
        return t.F.affine_grid(theta, size, self.align_corners)

    def te(self, t: Elements, theta: Any) -> Any:
        sizes = t.shape()[1:-1]
        kind = sum_type(theta.dtype)

        def place(i: Any, size: Any) -> Any:
            spans = size - 1 if self.align_corners else size
            return t.cast(2 * i - (size - 1), kind) / t.cast(spans, kind)

        def element(b: Any, *rest: Any) -> Any:
            at, row = rest[:-1], rest[-1]
            total = t.cast(theta[b, row, len(sizes)], kind)
            for column, (i, size) in enumerate(reversed(list(zip(at, sizes, strict=True)))):
                total = total + t.cast(theta[b, row, column], kind) * place(i, size)
            return total

        return t.compute(t.shape(), element)
