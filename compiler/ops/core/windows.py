"""Windows that slide over spatial axes: what pools share."""

from __future__ import annotations

from typing import Any, Literal

from ...sizes.dims import Size, ceil_div, minimum, prod
from ..conv import per_axis, resolve_padding
from .base import Elements, Lowering, Op, Shape, Sizes
from .rules import need_at_least, need_positive, need_rank
from .window_elements import Window

PoolPadding = Sizes | Literal["tf_same"]


def pooled_axes(x: Shape, what: str) -> int:
    """The number of spatial axes of [B, C, *S], 1 to 3; channels and spatial axes hold something."""
    need_rank(x, 3, 5, what)
    for axis in range(1, len(x)):
        need_at_least(x[axis], 1, f"axis {axis} of {what}'s input", ("x", axis))
    return len(x) - 2


def per_spatial(t: Lowering, value: Sizes, rank: int, argument: str) -> tuple[Any, ...]:
    """An argument for each spatial axis as torch takes it."""
    return tuple(t.size(size) for size in per_axis(value, rank, argument))


class Windows(Op):
    """What sliding windows share: kernel, stride (the kernel, unless given) and padding."""

    kernel: Sizes
    stride: Sizes | None = None
    role = "window"

    def strides(self, rank: int) -> Shape:
        """The stride on each spatial axis."""
        return per_axis(self.kernel if self.stride is None else self.stride, rank, "stride")

    def slide(
        self, x: Shape, pad: PoolPadding, dilation: Sizes = 1, ceil_mode: bool = False, half: bool = True
    ) -> Shape:
        """The number of windows on each spatial axis: (S + pads - dilation*(k - 1) - 1) // stride + 1.

        With `ceil_mode` the division rounds up, and a last window that would start behind the input and the
        padding before it is left out. `half` holds padding to half of the kernel.
        """
        rank = len(x) - 2
        kernel, stride, dilations = (
            per_axis(self.kernel, rank, "kernel"),
            self.strides(rank),
            per_axis(dilation, rank, "dilation"),
        )
        for axis in range(rank):
            need_positive(kernel[axis], "kernel")
            need_positive(stride[axis], "stride")
            need_positive(dilations[axis], "dilation")
        pads = resolve_padding(pad, x[2:], kernel, stride, dilations)
        found: list[Size] = []
        for axis, (before, after) in enumerate(pads):
            span = dilations[axis] * (kernel[axis] - 1) + 1
            need_at_least(before, 0, "`pad`")
            if half and not isinstance(pad, str):
                need_at_least(
                    kernel[axis] // 2 - before, 0, f"what `pad` leaves of half the kernel on axis {2 + axis}"
                )
            room = x[2 + axis] + before + after - span
            reach = room + stride[axis] - 1 if ceil_mode else room
            need_at_least(reach, 0, f"what the window leaves of axis {2 + axis}", ("x", 2 + axis))
            count = reach // stride[axis] + 1
            found.append(minimum(count, ceil_div(x[2 + axis] + before, stride[axis])) if ceil_mode else count)
        return tuple(found)

    def need_whole_windows(self, x: Shape, what: str) -> None:
        """Torch holds averages in three axes to windows that fit into the input without its padding."""
        for axis, size in enumerate(per_axis(self.kernel, len(x) - 2, "kernel"), 2):
            need_at_least(x[axis], size, f"axis {axis} of {what}'s input", ("x", axis))

    def taps(self, rank: int) -> Size:
        """Elements of one window."""
        return prod(per_axis(self.kernel, rank, "kernel"))

    def window(
        self, t: Elements, pad: PoolPadding = 0, dilation: Sizes = 1, ceil_mode: bool = False
    ) -> Window:
        """The windows on the first operand's spatial axes."""
        spatial = t.node.inputs[0].shape[2:]
        rank = len(spatial)
        kernel, dilations = per_axis(self.kernel, rank, "kernel"), per_axis(dilation, rank, "dilation")
        stride = self.strides(rank)
        pads = resolve_padding(pad, spatial, kernel, stride, dilations)
        return Window(kernel, stride, dilations, pads, ceil_mode)

    def padded(self, t: Lowering, x: Any, pad: PoolPadding, dilation: Sizes, value: float) -> tuple[Any, Any]:
        """The input and torch's own padding argument; TensorFlow's uneven padding is written out before."""
        rank = t.rank(x) - 2
        if not isinstance(pad, str):
            return x, per_spatial(t, pad, rank, "pad")
        amounts: list[Any] = []
        kernel, dilations = per_axis(self.kernel, rank, "kernel"), per_axis(dilation, rank, "dilation")
        for size, k, s, d in reversed(
            list(zip(t.shape(x)[2:], kernel, self.strides(rank), dilations, strict=True))
        ):
            stride = t.size(s)
            total = (-(-size // stride) - 1) * stride + t.size(d * (k - 1) + 1) - size
            total = max(total, 0) if isinstance(total, int) else t.torch.sym_max(total, 0)
            amounts += [total // 2, total - total // 2]
        if any(not isinstance(amount, int) or amount for amount in amounts):
            x = t.F.pad(x, amounts, value=value)
        return x, (0,) * rank
