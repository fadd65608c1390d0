"""Transposed convolution in one, two and three dimensions."""

from __future__ import annotations

from typing import Any

from ..counts import Cost
from ..dims import Size, maximum, prod
from ..dtypes import DType
from .base import Layer, Lowering, Op, Shape, Sizes, WeightSpec, case
from .conv import bias_default, known_groups, need_bias, need_groups, need_window, per_axis, spatial_rank
from .init import Init, fan_in_uniform
from .rules import need_at_least, need_equal, need_positive, need_rank, need_same_dtype


class ConvTransposeWith(Op, name="conv_transpose_with"):
    """Transposed convolution with given weights: [B, C, *S], [C, K/groups, *k], [K] -> [B, K, *S'].

    The gradient of convolution by its input, as in torch.nn.functional.conv_transpose1d, 2d and 3d;
    S' = (S - 1)*stride - 2*pad + dilation*(k - 1) + output_padding + 1, and `output_padding` is smaller than
    the stride or the dilation.
    """

    stride: Sizes = 1
    pad: Sizes = 0
    output_padding: Sizes = 0
    dilation: Sizes = 1
    groups: int = 1
    role = "contraction"
    samples = (
        case({"stride": 2}, (2, 4, 5, 6), (4, 3, 2, 2), (3,)),
        case({"stride": 2, "pad": 1, "output_padding": 1, "groups": 2}, (2, 4, 5), (4, 3, 3)),
        case(
            {"stride": (1, 2, 3), "dilation": (2, 1, 1), "pad": (1, 0, 1)}, (1, 2, 3, 4, 2), (2, 3, 3, 2, 3)
        ),
    )

    def shape(self, x: Shape, weight: Shape, bias: Shape | None = None) -> Shape:
        rank = spatial_rank(x, "transposed convolution")
        need_rank(weight, rank + 2, rank + 2, f"the weight for {rank} spatial axes", "weight")
        need_positive(self.groups, "groups")
        out = weight[1] * self.groups
        need_groups(x[1], out, self.groups)
        need_equal(x[1], weight[0], "channels of the input and of the weight", ("x", 1), ("weight", 0))
        need_bias(bias, out)
        kernel = weight[2:]
        stride, pad, extra, dilation = (
            per_axis(value, rank, argument)
            for value, argument in (
                (self.stride, "stride"),
                (self.pad, "pad"),
                (self.output_padding, "output_padding"),
                (self.dilation, "dilation"),
            )
        )
        need_window(kernel, stride, dilation, tuple((p, p) for p in pad))
        sizes: list[Size] = []
        for axis, size in enumerate(x[2:]):
            need_at_least(extra[axis], 0, "`output_padding`")
            need_at_least(size, 1, f"the size of axis {2 + axis}", ("x", 2 + axis))
            spare = maximum(stride[axis], dilation[axis]) - extra[axis]
            need_at_least(spare, 1, "the stride or dilation less `output_padding`")
            reach = dilation[axis] * (kernel[axis] - 1) + 1
            result = (size - 1) * stride[axis] - 2 * pad[axis] + reach + extra[axis]
            need_at_least(result, 0, f"the result's size of axis {2 + axis}", ("x", 2 + axis))
            sizes.append(result)
        return (x[0], out, *sizes)

    def dtype(self, x: DType, weight: DType, bias: DType | None = None) -> DType:
        given = {"x": x, "weight": weight} | ({} if bias is None else {"bias": bias})
        need_same_dtype(given, "transposed convolution")
        return x

    def cost(self, out: Shape, x: Shape, weight: Shape, bias: Shape | None = None) -> Cost:
        # Each element of the input is spread over the kernel's taps and the results of its group.
        return Cost(macs=prod(x) * prod(weight[1:]), add=0 if bias is None else prod(out))

    def torch(self, t: Lowering, x: Any, weight: Any, bias: Any = None) -> Any:
        rank = t.rank(x) - 2
        function = (t.F.conv_transpose1d, t.F.conv_transpose2d, t.F.conv_transpose3d)[rank - 1]
        return function(x, weight, bias, **self._settings(t, rank))

    def module(self, t: Lowering, x: Shape, weight: Shape, bias: Shape | None = None) -> Any:
        rank = len(x) - 2
        build = (t.nn.ConvTranspose1d, t.nn.ConvTranspose2d, t.nn.ConvTranspose3d)[rank - 1]
        settings = self._settings(t, rank)
        return build(weight[0], weight[1] * self.groups, weight[2:], bias=bias is not None, **settings)

    def _settings(self, t: Lowering, rank: int) -> dict[str, Any]:
        def each(value: Sizes, argument: str) -> tuple[Any, ...]:
            return tuple(t.size(size) for size in per_axis(value, rank, argument))

        return {
            "stride": each(self.stride, "stride"),
            "padding": each(self.pad, "pad"),
            "output_padding": each(self.output_padding, "output_padding"),
            "dilation": each(self.dilation, "dilation"),
            "groups": self.groups,
        }


class ConvTranspose(Layer, name="conv_transpose"):
    """Transposed convolution with weights of its own: [B, C, *S] -> [B, out, *S'], in 1, 2 or 3 spatial axes.

    Weights: `weight` [C, out/groups, *kernel], `bias` [out] where asked for.
    S' = (S - 1)*stride - 2*pad + dilation*(kernel - 1) + output_padding + 1.
    """

    out: Size
    kernel: Sizes
    stride: Sizes = 1
    pad: Sizes = 0
    output_padding: Sizes = 0
    dilation: Sizes = 1
    groups: Size = 1
    bias: bool = False
    init: Init | None = None
    bias_init: Init | None = None
    samples = (
        case({"out": 6, "kernel": 2, "stride": 2, "bias": True}, (2, 4, 5, 6)),
        case({"out": 4, "kernel": 3, "stride": 2, "pad": 1, "output_padding": 1, "groups": 2}, (2, 4, 5)),
        case({"out": 2, "kernel": (2, 3, 1), "dilation": 2}, (1, 3, 3, 2, 2)),
    )

    def weights(self, x: Shape) -> dict[str, WeightSpec]:
        kernel = per_axis(self.kernel, spatial_rank(x, "transposed convolution"), "kernel")
        need_positive(self.out, "out")
        need_groups(x[1], self.out, self.groups)
        for size in kernel:
            need_positive(size, "kernel")
        shape = (x[1], self.out // self.groups, *kernel)
        specs = {"weight": WeightSpec(shape, self.init or fan_in_uniform())}
        if self.bias:
            specs["bias"] = WeightSpec((self.out,), self.bias_init or bias_default(shape))
        return specs

    def core(self, x: Shape) -> ConvTransposeWith:
        return ConvTransposeWith(
            stride=self.stride,
            pad=self.pad,
            output_padding=self.output_padding,
            dilation=self.dilation,
            groups=known_groups(self.groups),
        )
