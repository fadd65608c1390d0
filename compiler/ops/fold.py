"""Windows of a plane as columns, and their sum."""

from __future__ import annotations

from typing import Any

from ..counts import NOTHING, Cost
from ..dims import Size, prod
from .base import Lowering, Op, Shape, Sizes, case
from .conv import need_window, per_axis, window_sizes
from .rules import need_at_least, need_divisible, need_equal, need_positive, need_rank


class Windows(Op):
    """The arguments of windows that slide over two axes."""

    def _settings(self, t: Lowering, **arguments: Sizes) -> dict[str, Any]:
        return {
            key: tuple(t.size(size) for size in per_axis(value, 2, key)) for key, value in arguments.items()
        }


class Unfold(Windows, name="unfold"):
    """Sliding windows as columns: [B, C, H, W] -> [B, C*kh*kw, L] with L windows; also without the batch.

    As torch.nn.functional.unfold; an axis has (S + 2*pad - dilation*(k - 1) - 1) // stride + 1 windows.
    """

    kernel: Sizes
    stride: Sizes = 1
    pad: Sizes = 0
    dilation: Sizes = 1
    samples = (
        case({"kernel": 3}, (2, 4, 5, 6)),
        case({"kernel": (2, 3), "stride": (2, 1), "pad": 1, "dilation": 2}, (1, 2, 6, 7)),
        case({"kernel": 2, "stride": 2}, (3, 4, 6)),
    )

    def shape(self, x: Shape) -> Shape:
        need_rank(x, 3, 4, "unfold")
        *batch, channels, height, width = x
        for axis, size in ((-3, channels), (-2, height), (-1, width)):
            need_at_least(size, 1, f"the size of axis {axis}", ("x", axis))
        kernel, stride, pad, dilation = (
            per_axis(value, 2, argument)
            for value, argument in (
                (self.kernel, "kernel"),
                (self.stride, "stride"),
                (self.pad, "pad"),
                (self.dilation, "dilation"),
            )
        )
        pads = tuple((p, p) for p in pad)
        need_window(kernel, stride, dilation, pads)
        windows = window_sizes((height, width), kernel, stride, dilation, pads)
        return (*batch, channels * prod(kernel), prod(windows))

    def cost(self, out: Shape, x: Shape) -> Cost:
        return NOTHING

    def torch(self, t: Lowering, x: Any) -> Any:
        settings = self._settings(
            t, kernel_size=self.kernel, dilation=self.dilation, padding=self.pad, stride=self.stride
        )
        return t.F.unfold(x, **settings)

    def module(self, t: Lowering, x: Shape) -> Any:
        return t.nn.Unfold(
            **self._settings(
                t, kernel_size=self.kernel, dilation=self.dilation, padding=self.pad, stride=self.stride
            )
        )


class Fold(Windows, name="fold"):
    """Columns summed where their windows lie: [B, C*kh*kw, L] -> [B, C, H, W]; also without the batch.

    As torch.nn.functional.fold: the adjoint of unfold, where `size` is (H, W) and has L windows.
    """

    size: Sizes
    kernel: Sizes
    stride: Sizes = 1
    pad: Sizes = 0
    dilation: Sizes = 1
    samples = (
        case({"size": (4, 5), "kernel": 2}, (2, 12, 12)),
        case({"size": 6, "kernel": (2, 3), "stride": 2, "pad": (0, 1)}, (1, 12, 9)),
        case({"size": (4, 4), "kernel": 2, "stride": 2}, (8, 4)),
    )

    def shape(self, x: Shape) -> Shape:
        need_rank(x, 2, 3, "fold")
        *batch, columns, count = x
        size, kernel, stride, pad, dilation = (
            per_axis(value, 2, argument)
            for value, argument in (
                (self.size, "size"),
                (self.kernel, "kernel"),
                (self.stride, "stride"),
                (self.pad, "pad"),
                (self.dilation, "dilation"),
            )
        )
        pads = tuple((p, p) for p in pad)
        need_window(kernel, stride, dilation, pads)
        for value in size:
            need_positive(value, "size")
        need_at_least(columns, 1, "the number of columns", ("x", -2))
        need_divisible(columns, prod(kernel), "the length of a column", ("x", -2), argument="kernel")
        windows: Size = prod(window_sizes(size, kernel, stride, dilation, pads))
        need_equal(count, windows, "the numbers of columns and of windows", ("x", -1))
        return (*batch, columns // prod(kernel), *size)

    def cost(self, out: Shape, x: Shape) -> Cost:
        # Each element is added to its place.
        return Cost(add=prod(x))

    def torch(self, t: Lowering, x: Any) -> Any:
        return t.F.fold(x, **self._arguments(t))

    def module(self, t: Lowering, x: Shape) -> Any:
        return t.nn.Fold(**self._arguments(t))

    def _arguments(self, t: Lowering) -> dict[str, Any]:
        return self._settings(
            t,
            output_size=self.size,
            kernel_size=self.kernel,
            dilation=self.dilation,
            padding=self.pad,
            stride=self.stride,
        )
