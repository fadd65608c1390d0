"""Transposed convolution in one, two and three dimensions."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..dtypes import DType
from ..sizes.dims import Size, ceil_div, maximum, prod
from .conv import bias_default, known_groups, need_bias, need_groups, need_window, per_axis, spatial_rank
from .core.base import Elements, Layer, Lowering, Op, Shape, Sizes, WeightSpec, case
from .core.counts import Cost
from .core.init import Init, fan_in_uniform
from .core.rules import need_at_least, need_equal, need_positive, need_rank, need_same_dtype
from .core.window_elements import bordered, sum_type, where


class Gather(NamedTuple):
    """What a result on one axis gathers: element `place` of the input at entry `tap` of the kernel.

    Without dilation only every stride-th entry meets an element, so that `taps` counts those alone; with it
    all entries are tried, where the remainder of their place is zero.
    """

    kernel: Any
    stride: Any
    pad: Any
    dilation: Any
    taps: Any

    @staticmethod
    def of(kernel: Size, stride: Size, pad: Size, dilation: Size) -> Gather:
        """With as few taps as there can be."""
        dense = isinstance(dilation, int) and dilation == 1
        return Gather(kernel, stride, pad, dilation, ceil_div(kernel, stride) if dense else kernel)

    def in_loops(self, t: Elements) -> Gather:
        """The same with expressions for sizes."""
        return Gather(*(t.size(size) for size in self))

    @property
    def dense(self) -> bool:
        """Whether the kernel has no gaps."""
        return isinstance(self.dilation, int) and self.dilation == 1

    @property
    def first(self) -> Any:
        """The least place, behind the first result."""
        return self.place(0, self.taps - 1)

    def place(self, i: Any, j: Any) -> Any:
        """The element of the input that the result `i` has at its tap `j`."""
        if self.dense:
            return (i + self.pad) // self.stride - j
        return (i + self.pad - j * self.dilation) // self.stride

    def tap(self, i: Any, j: Any) -> Any:
        """The kernel's entry at the tap `j` of the result `i`."""
        return (i + self.pad) % self.stride + j * self.stride if self.dense else j

    def conditions(self, i: Any, j: Any) -> list[Any]:
        """What must hold for the tap to be there."""
        if self.dense:
            whole = isinstance(self.kernel, int) and isinstance(self.stride, int)
            return [] if whole and self.kernel % self.stride == 0 else [self.tap(i, j) < self.kernel]
        if isinstance(self.stride, int) and self.stride == 1:
            return []
        return [(i + self.pad - j * self.dilation) % self.stride == 0]


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
        case({"stride": 2, "pad": 1, "output_padding": 1}, (2, 2, 3, 4), (2, 3, 3, 3)),
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

    def te(self, t: Elements, x: Any, weight: Any, bias: Any = None) -> Any:
        spatial, kernel = (operand.shape[2:] for operand in t.node.inputs[:2])
        rank = len(spatial)
        axes = [self._gather(axis, rank, size) for axis, size in enumerate(kernel)]
        border = [
            (maximum(-axis.first, 0), maximum(axis.place(size - 1, 0) - (own - 1), 0))
            for axis, own, size in zip(axes, spatial, t.node.results[0].shape[2:], strict=True)
        ]
        source = bordered(t, x, border, 0)
        before = [t.size(pair[0]) for pair in border]
        loops = [axis.in_loops(t) for axis in axes]
        per_group, channels = weight.shape[1], weight.shape[0] // self.groups
        kind = sum_type(t.dtype())

        def product(b: Any, k: Any, *rest: Any) -> Any:
            at, taps, channel = rest[:rank], rest[rank:-1], rest[-1]
            within = k
            if self.groups > 1:
                channel, within = k // per_group * channels + channel, k % per_group
            conditions: list[Any] = []
            places: list[Any] = []
            entries: list[Any] = []
            for axis, i, j, pad in zip(loops, at, taps, before, strict=True):
                conditions += axis.conditions(i, j)
                places.append(axis.place(i, j) + pad)
                entries.append(axis.tap(i, j))
            return where(
                t,
                conditions,
                lambda: (
                    t.cast(source[(b, channel, *places)], kind)
                    * t.cast(weight[(channel, within, *entries)], kind)
                ),
                t.const(0, kind),
            )

        y = t.reduce("sum", t.shape(), [*(axis.taps for axis in loops), channels], product, kind)
        if bias is None:
            return y if kind == t.dtype() else t.compute(t.shape(), lambda *i: y[i])
        return t.compute(t.shape(), lambda *i: y[i] + t.cast(bias[i[1]], kind))

    def _gather(self, axis: int, rank: int, kernel: Size) -> Gather:
        stride, pad, dilation = (
            per_axis(value, rank, argument)[axis]
            for value, argument in ((self.stride, "stride"), (self.pad, "pad"), (self.dilation, "dilation"))
        )
        return Gather.of(kernel, stride, pad, dilation)

    def numpy(self, np: Any, x: Any, weight: Any, bias: Any = None) -> Any:
        batch, out, *sizes = self.shape(x.shape, weight.shape)
        rank = len(sizes)
        stride, pad, dilation = (
            per_axis(value, rank, argument)
            for value, argument in ((self.stride, "stride"), (self.pad, "pad"), (self.dilation, "dilation"))
        )
        x = x.reshape(batch, self.groups, -1, *x.shape[2:])
        weight = weight.reshape(self.groups, -1, *weight.shape[1:])
        # With room for what the padding cuts off, and for output padding that no tap reaches.
        room = [
            max(size + 2 * p, (n - 1) * s + d * (k - 1) + 1)
            for size, n, k, s, p, d in zip(
                sizes, x.shape[3:], weight.shape[3:], stride, pad, dilation, strict=True
            )
        ]
        y = np.zeros((batch, self.groups, out // self.groups, *room), x.dtype)
        for tap in np.ndindex(*weight.shape[3:]):
            places = tuple(
                slice(k * d, k * d + (n - 1) * s + 1, s)
                for k, d, s, n in zip(tap, dilation, stride, x.shape[3:], strict=True)
            )
            y[(..., *places)] += np.einsum("bgc...,gck->bgk...", x, weight[(..., *tap)])
        cut = tuple(slice(p, p + size) for p, size in zip(pad, sizes, strict=True))
        y = y[(..., *cut)].reshape(batch, out, *sizes)
        return y if bias is None else y + bias[(..., *(None,) * rank)]

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
