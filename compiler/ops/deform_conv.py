"""Deformable convolution: each tap of the kernel reads at an offset of its own."""

from __future__ import annotations

from typing import Any

from ..dtypes import DType
from ..sizes.dims import Size, prod
from .conv import bias_default, need_bias, need_groups, need_window, per_axis, window_sizes
from .core.base import Elements, Layer, Lowering, Op, Shape, Sizes, WeightSpec, case
from .core.counts import Cost
from .core.init import Init, fan_in_uniform
from .core.rules import (
    need_at_least,
    need_divisible,
    need_equal,
    need_float,
    need_positive,
    need_rank,
    need_same_dtype,
)
from .core.sample_elements import mixed, nearby
from .core.window_elements import sum_type


class DeformConvWith(Op, name="deform_conv_with"):
    """Deformable convolution with given weights: [B, C, H, W], [B, 2*G*kh*kw, H', W'] -> [B, K, H', W'].

    Further operands: weight [K, C/groups, kh, kw], mask [B, G*kh*kw, H', W'], bias [K]. Version 1 is
    arXiv:1703.06211, equation 2; a mask that scales each tap makes version 2 (arXiv:1811.11168, equation 1).
    The offset channels are (dy, dx) for each of G groups of channels and each tap, row by row; samples are
    bilinear, with zeros outside, as in torchvision.ops.deform_conv2d. The shapes tell the numbers of groups.
    """

    stride: Sizes = 1
    pad: Sizes = 0
    dilation: Sizes = 1
    role = "contraction"
    samples = (
        case({"pad": 1}, (2, 4, 5, 6), (2, 18, 5, 6), (3, 4, 3, 3)),
        case({"stride": 2}, (1, 4, 6, 7), (1, 16, 3, 3), (6, 2, 2, 2), (1, 8, 3, 3), (6,)),
        case({"dilation": (1, 2), "pad": (0, 1)}, (2, 2, 4, 5), (2, 12, 3, 3), (2, 2, 2, 3), None, (2,)),
    )

    def shape(
        self, x: Shape, offset: Shape, weight: Shape, mask: Shape | None = None, bias: Shape | None = None
    ) -> Shape:
        need_rank(x, 4, 4, "deformable convolution")
        need_rank(offset, 4, 4, "the offset of deformable convolution", "offset")
        need_rank(weight, 4, 4, "the weight of deformable convolution", "weight")
        out, per_group, *kernel = weight
        need_at_least(per_group, 1, "the weight's number of channels", ("weight", 1))
        need_divisible(x[1], per_group, "the number of channels", ("x", 1))
        need_groups(x[1], out, x[1] // per_group)
        need_bias(bias, out)
        stride, pad, dilation = self._window()
        pads = tuple((p, p) for p in pad)
        need_window(tuple(kernel), stride, dilation, pads)
        for axis in (2, 3):
            need_at_least(x[axis], 1, f"the size of axis {axis}", ("x", axis))
        sizes = window_sizes(x[2:], tuple(kernel), stride, dilation, pads)
        taps = prod(kernel)
        need_at_least(offset[1], 1, "the number of offset channels", ("offset", 1))
        need_divisible(offset[1], 2 * taps, "the number of offset channels", ("offset", 1))
        offset_groups = offset[1] // (2 * taps)
        need_divisible(x[1], offset_groups, "the number of channels, for the groups of offsets,", ("x", 1))
        self._need_field(offset, "offset", x[0], sizes)
        if mask is not None:
            need_rank(mask, 4, 4, "the mask of deformable convolution", "mask")
            need_equal(
                mask[1], offset_groups * taps, "channels of the mask and taps", ("mask", 1), ("offset", 1)
            )
            self._need_field(mask, "mask", x[0], sizes)
        return (x[0], out, *sizes)

    def _window(self) -> tuple[Shape, Shape, Shape]:
        return (
            per_axis(self.stride, 2, "stride"),
            per_axis(self.pad, 2, "pad"),
            per_axis(self.dilation, 2, "dilation"),
        )

    def _need_field(self, field: Shape, slot: str, batch: Size, sizes: Shape) -> None:
        """One entry for each sample and each place of the result."""
        need_equal(field[0], batch, f"batch of the {slot} and of the input", (slot, 0), ("x", 0))
        for axis, size in enumerate(sizes, start=2):
            need_equal(field[axis], size, f"axis {axis} of the {slot} and of the result", (slot, axis))

    def dtype(
        self, x: DType, offset: DType, weight: DType, mask: DType | None = None, bias: DType | None = None
    ) -> DType:
        need_float(x, "deformable convolution")
        given = {"x": x, "offset": offset, "weight": weight, "mask": mask, "bias": bias}
        named = {slot: dtype for slot, dtype in given.items() if dtype is not None}
        need_same_dtype(named, "deformable convolution")
        return x

    def cost(
        self,
        out: Shape,
        x: Shape,
        offset: Shape,
        weight: Shape,
        mask: Shape | None = None,
        bias: Shape | None = None,
    ) -> Cost:
        points = prod(offset) // 2
        samples = prod(out[2:]) * prod(weight[2:]) * x[0] * x[1]
        # A point, for each axis: its place (add), the corner before it (floor, a compare), the distances to
        # both corners (2 add), whether they lie inside (2 compare); then 4 weights. A sample: 4 products and
        # 3 sums.
        return Cost(
            macs=prod(out) * prod(weight[1:]),
            add=6 * points + 3 * samples + (0 if bias is None else prod(out)),
            multiply=4 * points + 4 * samples + (0 if mask is None else samples),
            compare=6 * points,
        )

    def torch(self, t: Lowering, x: Any, offset: Any, weight: Any, mask: Any = None, bias: Any = None) -> Any:
        batch, channels, height, width = t.shape(x)
        out, per_group, kernel_height, kernel_width = t.shape(weight)
        _, fields, rows, columns = t.shape(offset)
        taps = kernel_height * kernel_width
        parts = fields // (2 * taps)
        stride, pad, dilation = ([t.size(size) for size in sizes] for sizes in self._window())

        def steps(count: Any, step: Any) -> Any:
            return t.torch.arange(count, device=x.device, dtype=x.dtype) * step

        move = offset.reshape(batch, parts, taps, 2, rows, columns)
        tap_y = steps(kernel_height, dilation[0]).repeat_interleave(kernel_width)[:, None, None]
        tap_x = steps(kernel_width, dilation[1]).repeat(kernel_height)[:, None, None]
        y = move[:, :, :, 0] + tap_y + (steps(rows, stride[0]) - pad[0])[:, None]
        z = move[:, :, :, 1] + tap_x + (steps(columns, stride[1]) - pad[1])
        # grid_sample counts from -1 to 1 over the pixels' edges.
        grid = t.torch.stack([(2 * z + 1) / width - 1, (2 * y + 1) / height - 1], -1)
        planes = x.reshape(batch * parts, channels // parts, height, width)
        places = grid.reshape(batch * parts, taps * rows, columns, 2)
        found = t.F.grid_sample(planes, places, mode="bilinear", padding_mode="zeros", align_corners=False)
        if mask is not None:
            scales = mask.reshape(batch * parts, 1, taps * rows, columns)
            found = found * scales
        groups = channels // per_group
        found = found.reshape(batch, groups, per_group * taps, rows * columns)
        kernels = weight.reshape(groups, out // groups, per_group * taps)
        result = t.torch.matmul(kernels, found).reshape(batch, out, rows, columns)
        return result if bias is None else result + bias[:, None, None]

    def te(self, t: Elements, x: Any, offset: Any, weight: Any, mask: Any = None, bias: Any = None) -> Any:
        channels, (height, width) = x.shape[1], x.shape[2:]
        out, per_group, rows, columns = weight.shape
        taps = rows * columns
        parts = offset.shape[1] // (2 * taps)
        each, groups = channels // parts, channels // per_group
        stride, pad, dilation = ([t.size(size) for size in sizes] for sizes in self._window())
        kind = sum_type(t.dtype())

        def sample(b: Any, c: Any, j: Any, k: Any, *at: Any) -> Any:
            tap = t.let(c // each * taps + j * columns + k)
            axes = [
                nearby(
                    t,
                    t.let(
                        t.cast(offset[(b, 2 * tap + axis, *at)], kind)
                        + t.cast(at[axis] * stride[axis] + step * dilation[axis] - pad[axis], kind)
                    ),
                    size,
                    kind,
                )
                for axis, (step, size) in enumerate(((j, height), (k, width)))
            ]
            value = mixed(t, axes, lambda places: t.cast(x[(b, c, *places)], kind), kind)
            return value if mask is None else value * t.cast(mask[(b, tap, *at)], kind)

        # Every result channel of a group reads the samples.
        sizes = t.shape()[2:]
        sampled = t.compute((x.shape[0], channels, rows, columns, *sizes), sample, kind, keep=True)

        def product(b: Any, o: Any, y: Any, z: Any, j: Any, k: Any, c: Any) -> Any:
            channel = c if isinstance(groups, int) and groups == 1 else o // (out // groups) * per_group + c
            return sampled[b, channel, j, k, y, z] * t.cast(weight[o, c, j, k], kind)

        y = t.reduce("sum", t.shape(), (rows, columns, per_group), product, kind)
        if bias is None:
            return y if kind == t.dtype() else t.compute(t.shape(), lambda *i: y[i])
        return t.compute(t.shape(), lambda *i: y[i] + t.cast(bias[i[1]], kind))


class DeformConv(Layer, name="deform_conv"):
    """Deformable convolution with weights of its own: [B, C, H, W] -> [B, out, H', W'].

    Operands: the input, the offsets [B, 2*G*kh*kw, H', W'] and, for version 2, the mask [B, G*kh*kw, H', W'].
    Weights: `weight` [out, C/groups, *kernel], `bias` [out] where asked for.
    """

    out: Size
    kernel: Sizes
    stride: Sizes = 1
    pad: Sizes = 0
    dilation: Sizes = 1
    groups: Size = 1
    bias: bool = False
    init: Init | None = None
    bias_init: Init | None = None
    samples = (
        case({"out": 3, "kernel": 3, "pad": 1}, (2, 4, 5, 6), (2, 18, 5, 6)),
        case(
            {"out": 6, "kernel": 2, "stride": 2, "groups": 2, "bias": True},
            (1, 4, 6, 7),
            (1, 16, 3, 3),
            (1, 8, 3, 3),
        ),
    )

    def weights(self, x: Shape, offset: Shape, mask: Shape | None = None) -> dict[str, WeightSpec]:
        need_rank(x, 4, 4, "deformable convolution")
        kernel = per_axis(self.kernel, 2, "kernel")
        need_positive(self.out, "out")
        need_groups(x[1], self.out, self.groups)
        for size in kernel:
            need_positive(size, "kernel")
        shape = (self.out, x[1] // self.groups, *kernel)
        specs = {"weight": WeightSpec(shape, self.init or fan_in_uniform())}
        if self.bias:
            specs["bias"] = WeightSpec((self.out,), self.bias_init or bias_default(shape))
        return specs

    def core(self, x: Shape, offset: Shape, mask: Shape | None = None) -> DeformConvWith:
        return DeformConvWith(stride=self.stride, pad=self.pad, dilation=self.dilation)
