"""Pooling to a wanted size: adaptive windows, and one window for all.

Reducing n elements counts n operations.
"""

from __future__ import annotations

from typing import Any

from ..counts import Cost
from ..dims import Size, divisible, minimum, prod, total
from ..dtypes import DType
from .base import Lowering, Op, Shape, case
from .pool import pooled_axes
from .rules import ShapeError, need_at_least, need_float, need_inexact, need_rank

Wanted = Size | tuple[Size | None, ...]


def window_total(size: Size, windows: Size) -> Size:
    """Elements that adaptive windows of one axis read together.

    Window o spans floor(o*S/O) to ceil((o+1)*S/O), so that neighbours share an element wherever O does not
    divide o*S: S + O - gcd(S, O) in all. With a symbolic O that neither divides nor is divided, S + O - 1,
    the most there can be.
    """
    if isinstance(windows, int):
        return size + total(minimum(o * size % windows, 1) for o in range(1, windows))
    if divisible(size, windows):
        return size
    return windows if divisible(windows, size) else size + windows - 1


class AdaptivePool(Op):
    """What adaptive pooling shares: the wanted sizes and how windows follow from them."""

    size: Wanted
    role = "reduction"

    def shape(self, x: Shape) -> Shape:
        rank = pooled_axes(x, self.name)
        wanted = self.wanted(x, rank)
        for size in wanted:
            need_at_least(size, 0, "`size`")
        return (*x[:2], *wanted)

    def wanted(self, x: Shape, rank: int) -> Shape:
        """The sizes of the result's spatial axes; none keeps the input's."""
        if not isinstance(self.size, tuple):
            return (self.size,) * rank
        if len(self.size) != rank:
            message = f"`size` has {len(self.size)} entries for {rank} spatial axes"
            raise ShapeError(message, "value", argument="size")
        return tuple(own if size is None else size for size, own in zip(self.size, x[2:], strict=True))

    def dtype(self, x: DType) -> DType:
        need_float(x, self.name)
        return x

    def read(self, out: Shape, x: Shape) -> Size:
        """Elements of all windows together."""
        return prod(x[:2]) * prod(window_total(s, o) for s, o in zip(x[2:], out[2:], strict=True))

    def settings(self, t: Lowering, rank: int) -> Any:
        """The wanted sizes as torch takes them."""
        if isinstance(self.size, tuple):
            sizes = [None if size is None else t.size(size) for size in self.size]
            return sizes[0] if rank == 1 and len(sizes) == 1 else sizes
        return t.size(self.size)


class AdaptiveAvgPool(AdaptivePool, name="adaptive_avg_pool"):
    """Mean over windows that share an axis evenly: [B, C, *S] -> [B, C, *size]; torch's adaptive_avg_pool1d,
    2d, 3d.
    """

    samples = (
        case({"size": 1}, (2, 3, 7, 7)),
        case({"size": (3, 5)}, (2, 3, 7, 6)),
        case({"size": 4}, (2, 3, 6)),
        case({"size": (None, 2, 3)}, (1, 2, 4, 5, 6)),
    )

    def dtype(self, x: DType) -> DType:
        sizes = self.size if isinstance(self.size, tuple) else (self.size,)
        if any(isinstance(size, int) and size == 0 for size in sizes):
            return x  # nothing to average
        # One window is a plain mean, which complex numbers have.
        (need_inexact if all(isinstance(size, int) and size == 1 for size in sizes) else need_float)(
            x, self.name
        )
        return x

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(add=self.read(out, x), divide=prod(out))

    def torch(self, t: Lowering, x: Any) -> Any:
        rank = t.rank(x) - 2
        functions = (t.F.adaptive_avg_pool1d, t.F.adaptive_avg_pool2d, t.F.adaptive_avg_pool3d)
        return functions[rank - 1](x, self.settings(t, rank))


class AdaptiveMaxPool(AdaptivePool, name="adaptive_max_pool"):
    """Maximum over windows that share an axis evenly: [B, C, *S] -> [B, C, *size]; torch's
    adaptive_max_pool1d, 2d, 3d.
    """

    samples = (
        case({"size": 1}, (2, 3, 7, 7)),
        case({"size": (3, 5)}, (2, 3, 7, 6)),
        case({"size": 4}, (2, 3, 6)),
        case({"size": 2}, (1, 2, 4, 5, 6)),
    )

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(compare=self.read(out, x))

    def torch(self, t: Lowering, x: Any) -> Any:
        rank = t.rank(x) - 2
        functions = (t.F.adaptive_max_pool1d, t.F.adaptive_max_pool2d, t.F.adaptive_max_pool3d)
        return functions[rank - 1](x, self.settings(t, rank))


class GlobalPool(Op):
    """What global pooling shares: all spatial axes go, or stay with size 1."""

    keepdim: bool = False
    role = "reduction"

    def shape(self, x: Shape) -> Shape:
        need_rank(x, 3, None, self.name)
        return (*x[:2], *(1,) * (len(x) - 2)) if self.keepdim else x[:2]

    def axes(self, t: Lowering, x: Any) -> tuple[int, ...]:
        """The spatial axes, of which there is at least one."""
        return (2, *range(3, t.rank(x)))


class GlobalAvgPool(GlobalPool, name="global_avg_pool"):
    """Mean over all spatial axes: [B, C, *S] -> [B, C], or [B, C, 1, ...] with `keepdim`."""

    accumulates = True
    samples = (case({}, (2, 3, 4, 5)), case({"keepdim": True}, (2, 3, 4)))

    def dtype(self, x: DType) -> DType:
        need_inexact(x, "global_avg_pool")
        return x

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(add=prod(x), divide=prod(out))

    def torch(self, t: Lowering, x: Any) -> Any:
        return x.mean(self.axes(t, x), keepdim=self.keepdim)


class GlobalMaxPool(GlobalPool, name="global_max_pool"):
    """Maximum over all spatial axes: [B, C, *S] -> [B, C], or [B, C, 1, ...] with `keepdim`."""

    accumulates = True
    samples = (case({}, (2, 3, 4, 5)), case({"keepdim": True}, (2, 3, 4)))

    def shape(self, x: Shape) -> Shape:
        found = super().shape(x)
        for axis in range(2, len(x)):
            need_at_least(x[axis], 1, f"axis {axis} of global_max_pool's input", ("x", axis))
        return found

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(compare=prod(x))

    def torch(self, t: Lowering, x: Any) -> Any:
        return x.amax(self.axes(t, x), keepdim=self.keepdim)
