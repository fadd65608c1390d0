"""Convolution in one, two and three dimensions."""

from __future__ import annotations

from typing import Any, Literal

from ..dtypes import DType
from ..sizes.dims import Size, ceil_div, maximum, prod
from .core.base import Elements, Layer, Lowering, Op, Shape, Sizes, WeightSpec, case
from .core.counts import Cost
from .core.init import Init, fan_in_uniform
from .core.rules import ShapeError, need_at_least, need_divisible, need_equal, need_positive, need_same_dtype
from .core.window_elements import Window, sliding, sum_type

Pads = tuple[tuple[Size, Size], ...]
Padding = Sizes | Literal["same", "tf_same"]


def per_axis(value: Sizes, rank: int, argument: str) -> Shape:
    """An argument for each of `rank` spatial axes: one value serves all."""
    if not isinstance(value, tuple):
        return (value,) * rank
    if len(value) == 1:
        return value * rank
    if len(value) != rank:
        raise ShapeError(
            f"`{argument}` has {len(value)} entries for {rank} spatial axes", "value", argument=argument
        )
    return value


def spatial_rank(x: Shape, what: str = "convolution") -> int:
    """The number of axes after batch and channels: 1, 2 or 3, or `ShapeError`."""
    rank = len(x) - 2
    if rank not in (1, 2, 3):
        raise ShapeError(
            f"{what} needs [B, C] and 1 to 3 spatial axes, and got {len(x)} axes", "rank", (("x", None),)
        )
    return rank


def _tf_total(size: Size, extent: Size, stride: Size) -> Size:
    """What ceil(size / stride) windows of that extent need beyond the size."""
    if isinstance(extent, int) and isinstance(stride, int):
        if extent == 1:
            return 0
        if extent >= stride > 0:
            # The windows always cover the size, so there is nothing to clip and formulas stay short.
            return (ceil_div(size, stride) - 1) * stride + extent - size
    return maximum((ceil_div(size, stride) - 1) * stride + extent - size, 0)


def resolve_padding(
    pad: Padding | Pads, spatial: Shape, kernel: Shape, stride: Shape, dilation: Shape
) -> Pads:
    """Padding before and after each spatial axis.

    `same` keeps the size at stride 1, as in torch (an odd remainder goes behind); `tf_same` gives
    ceil(size / stride) with the odd one behind, as in TensorFlow.
    """
    if pad == "same":
        if any(s != 1 for s in stride):
            help = 'use `pad="tf_same"`'
            raise ShapeError('`pad="same"` needs stride 1', "value", argument="pad", help=help)
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    elif pad == "tf_same":
        totals = [
            _tf_total(size, d * (k - 1) + 1, s)
            for size, k, s, d in zip(spatial, kernel, stride, dilation, strict=True)
        ]
    elif isinstance(pad, str):
        raise ShapeError(f'`pad` is "{pad}"', "value", argument="pad", help='use a size, "same" or "tf_same"')
    elif isinstance(pad, tuple):
        each = pad * len(kernel) if len(pad) == 1 else pad
        if len(each) != len(kernel):
            raise ShapeError(
                f"`pad` has {len(pad)} entries for {len(kernel)} spatial axes", "value", argument="pad"
            )
        return tuple(_pair(p) for p in each)
    else:
        return ((pad, pad),) * len(kernel)
    return tuple((total // 2, total - total // 2) for total in totals)


def _pair(pad: Size | tuple[Size, ...]) -> tuple[Size, Size]:
    if not isinstance(pad, tuple):
        return pad, pad
    if len(pad) != 2:
        raise ShapeError(
            f"`pad` gives {len(pad)} sizes for an axis",
            "value",
            argument="pad",
            help="give one, or (before, after)",
        )
    return pad[0], pad[1]


def need_bias(bias: Shape | None, out: Size, per_sample: Size | None = None) -> None:
    """A bias is [K]; beside one kernel for each sample it may be [B, K]."""
    if bias is None:
        return
    if len(bias) != 1 and (per_sample is None or len(bias) != 2):
        raise ShapeError(f"the bias has {len(bias)} axes, and must have 1", "rank", (("bias", None),))
    need_equal(bias[-1], out, "sizes of bias and output channels", ("bias", -1))
    if len(bias) == 2 and per_sample is not None:
        need_equal(bias[0], per_sample, "batch of the bias and of the input", ("bias", 0), ("x", 0))


def need_groups(channels: Size, out: Size, groups: Size) -> None:
    """`groups` divides both numbers of channels."""
    need_positive(groups, "groups")
    need_at_least(channels, 1, "the number of channels", ("x", 1))
    need_at_least(out, 1, "the number of output channels")
    need_divisible(channels, groups, "the number of channels", ("x", 1), argument="groups")
    need_divisible(out, groups, "the number of output channels", argument="groups")


def need_window(kernel: Shape, stride: Shape, dilation: Shape, pads: Pads) -> None:
    """Kernel, stride and dilation are at least 1, padding at least 0, on each axis."""
    for values, argument in ((kernel, "kernel"), (stride, "stride"), (dilation, "dilation")):
        for value in values:
            need_positive(value, argument)
    for size in kernel:
        if not isinstance(size, int):
            need_at_least(size, 1, "the size of the kernel")
    for pair in pads:
        for size in pair:
            need_at_least(size, 0, "`pad`")


def window_sizes(spatial: Shape, kernel: Shape, stride: Shape, dilation: Shape, pads: Pads) -> Shape:
    """(size + pads - dilation*(kernel - 1) - 1) // stride + 1 for each axis; the kernel must fit in."""
    sizes: list[Size] = []
    for axis, (before, after) in enumerate(pads):
        room = spatial[axis] + before + after - dilation[axis] * (kernel[axis] - 1) - 1
        need_at_least(room, 0, f"what the kernel leaves of axis {2 + axis}", ("x", 2 + axis))
        sizes.append(room // stride[axis] + 1)
    return tuple(sizes)


class ConvWith(Op, name="conv_with"):
    """Convolution with given weights: [B, C, *S], [K, C/groups, *k], [K] -> [B, K, *S'].

    A weight with one more leading axis, [B, K, C/groups, *k], holds one kernel for each sample, and then the
    bias may be [B, K]. Cross-correlation in 1, 2 or 3 spatial axes, as in torch.nn.functional.conv2d;
    S' = (S + pads - dilation*(k - 1) - 1) // stride + 1. `pad` is for each axis a size or (before, after), or
    "same" (stride 1), or "tf_same" (ceil(S/stride), TensorFlow's rule).
    """

    stride: Sizes = 1
    pad: Padding | Pads = 0
    dilation: Sizes = 1
    groups: int = 1
    role = "contraction"
    samples = (
        case({}, (2, 4, 9), (6, 4, 3)),
        case({"stride": 2, "pad": 1}, (2, 4, 9, 8), (6, 4, 3, 3), (6,)),
        case({"groups": 2, "pad": ((0, 1), (2, 1))}, (1, 4, 9, 8), (6, 2, 3, 3)),
        case({"dilation": 2}, (1, 2, 9, 8, 7), (3, 2, 2, 3, 2)),
        case({"pad": 1}, (2, 4, 5, 5), (2, 6, 4, 3, 3)),
        case({"pad": "same", "groups": 2}, (2, 4, 5), (2, 6, 2, 4), (2, 6)),
        case({"pad": "tf_same", "stride": (2, 3)}, (2, 2, 5, 7), (3, 2, 3, 2), (3,)),
    )

    def shape(self, x: Shape, weight: Shape, bias: Shape | None = None) -> Shape:
        rank = spatial_rank(x)
        if len(weight) not in (rank + 2, rank + 3):
            raise ShapeError(
                f"a weight for {rank} spatial axes has {rank + 2} axes, and this has {len(weight)}",
                "rank",
                (("weight", None),),
                help=f"[K, C, {', '.join(['k'] * rank)}], or one more leading axis for a kernel a sample",
            )
        per_sample = len(weight) == rank + 3
        if per_sample:
            need_equal(x[0], weight[0], "batch of the input and of the kernels", ("x", 0), ("weight", 0))
            need_at_least(x[0], 1, "the batch, with one kernel for each sample,", ("x", 0))
        out, per_group, *taps = weight[-rank - 2 :]
        need_groups(x[1], out, self.groups)
        need_equal(
            x[1],
            per_group * self.groups,
            "channels of the input and of the weight",
            ("x", 1),
            ("weight", -rank - 1),
        )
        need_bias(bias, out, x[0] if per_sample else None)
        kernel = tuple(taps)
        stride, dilation, pads = self.window(x[2:], kernel)
        need_window(kernel, stride, dilation, pads)
        if self.pad == "tf_same":
            # What the padding is chosen for; shorter than the formula of the window.
            return (x[0], out, *[ceil_div(size, step) for size, step in zip(x[2:], stride, strict=True)])
        return (x[0], out, *window_sizes(x[2:], kernel, stride, dilation, pads))

    def window(self, spatial: Shape, kernel: Shape) -> tuple[Shape, Shape, Pads]:
        """Stride, dilation and padding for each axis."""
        stride = per_axis(self.stride, len(kernel), "stride")
        dilation = per_axis(self.dilation, len(kernel), "dilation")
        if self.pad == "tf_same":
            need_window(kernel, stride, dilation, ())
            for axis, size in enumerate(spatial, start=2):
                need_at_least(size, 1, f"the size of axis {axis}", ("x", axis))
        return stride, dilation, resolve_padding(self.pad, spatial, kernel, stride, dilation)

    def dtype(self, x: DType, weight: DType, bias: DType | None = None) -> DType:
        need_same_dtype({"x": x, "weight": weight} | ({} if bias is None else {"bias": bias}), "convolution")
        return x

    def cost(self, out: Shape, x: Shape, weight: Shape, bias: Shape | None = None) -> Cost:
        # Each result sums over the kernel's taps and the channels of its group; padding counts as data.
        return Cost(macs=prod(out) * prod(weight[-len(x) + 1 :]), add=0 if bias is None else prod(out))

    def torch(self, t: Lowering, x: Any, weight: Any, bias: Any = None) -> Any:
        rank = t.rank(x) - 2
        x, padding = self._padded(t, x, t.shape(weight)[-rank:])
        function = (t.F.conv1d, t.F.conv2d, t.F.conv3d)[rank - 1]
        settings: dict[str, Any] = {
            "stride": tuple(t.size(s) for s in per_axis(self.stride, rank, "stride")),
            "padding": padding,
            "dilation": tuple(t.size(d) for d in per_axis(self.dilation, rank, "dilation")),
        }
        if t.rank(weight) == rank + 2:
            return function(x, weight, bias, groups=self.groups, **settings)
        # One kernel a sample: the batch becomes groups of one large convolution.
        batch, out = t.shape(weight)[:2]
        flat = function(
            x.flatten(0, 1).unsqueeze(0), weight.flatten(0, 1), groups=batch * self.groups, **settings
        )
        y = flat.squeeze(0).unflatten(0, (batch, out))
        return y if bias is None else y + bias[(..., *(None,) * rank)]

    def te(self, t: Elements, x: Any, weight: Any, bias: Any = None) -> Any:
        source, filters = t.node.inputs[0].shape, t.node.inputs[1].shape
        rank = len(source) - 2
        kernel = filters[-rank:]
        stride, dilation, pads = self.window(source[2:], kernel)
        read = sliding(t, x, Window(kernel, stride, dilation, pads))
        out, channels = weight.shape[-rank - 2], weight.shape[-rank - 1]
        per_group = out // self.groups
        kind = sum_type(t.dtype())

        def product(b: Any, k: Any, *rest: Any) -> Any:
            at, taps, channel = rest[:rank], rest[rank:-1], rest[-1]
            value = read(b, k // per_group * channels + channel if self.groups > 1 else channel, at, taps)
            own = (b,) if weight.rank == rank + 3 else ()
            return t.cast(value, kind) * t.cast(weight[(*own, k, channel, *taps)], kind)

        # Channels last: they are far apart in memory, so that the loop inside theirs is one of neighbours.
        y = t.reduce("sum", t.shape(), [*weight.shape[-rank:], channels], product, kind)
        if bias is None:
            return y if kind == t.dtype() else t.compute(t.shape(), lambda *i: y[i])
        return t.compute(t.shape(), lambda *i: y[i] + t.cast(bias[i[1] if bias.rank == 1 else i[:2]], kind))

    def numpy(self, np: Any, x: Any, weight: Any, bias: Any = None) -> Any:
        rank = x.ndim - 2
        kernel = weight.shape[-rank:]
        stride, dilation, pads = self.window(x.shape[2:], kernel)
        x = np.pad(x, ((0, 0), (0, 0), *pads))
        spans = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
        # [B, C, *S', *k]
        windows = np.lib.stride_tricks.sliding_window_view(x, spans, tuple(range(2, rank + 2)))
        windows = windows[(..., *(slice(None, None, step) for step in (*stride, *dilation)))]
        windows = windows.reshape(len(x), self.groups, -1, *windows.shape[2:])
        per_sample = "b" if weight.ndim == rank + 3 else ""
        lead, (out, *rest) = weight.shape[: len(per_sample)], weight.shape[len(per_sample) :]
        weight = weight.reshape(*lead, self.groups, out // self.groups, *rest)
        places, taps = "xyz"[:rank], "ijl"[:rank]
        y = np.einsum(f"bgc{places}{taps},{per_sample}gkc{taps}->bgk{places}", windows, weight)
        y = y.reshape(len(x), out, *y.shape[3:])
        return y if bias is None else y + bias[(..., *(None,) * rank)]

    def _padded(self, t: Lowering, x: Any, kernel: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """The input padded where convolution itself cannot, and the padding left to it."""
        rank = len(kernel)
        if self.pad == "tf_same":
            stride = [t.size(s) for s in per_axis(self.stride, rank, "stride")]
            dilation = [t.size(d) for d in per_axis(self.dilation, rank, "dilation")]
            pads: list[tuple[Any, Any]] = []
            for size, k, s, d in zip(t.shape(x)[2:], kernel, stride, dilation, strict=True):
                total = t.torch.sym_max((size - 1) // s * s + d * (k - 1) + 1 - size, 0)
                pads.append((total // 2, total - total // 2))
        else:
            ones = (1,) * rank
            stride = per_axis(self.stride, rank, "stride")
            dilation = per_axis(self.dilation, rank, "dilation") if self.pad == "same" else ones
            resolved = resolve_padding(self.pad, ones, kernel, stride, dilation)
            if all(
                before is after or (isinstance(before, int) and before == after) for before, after in resolved
            ):
                return x, tuple(t.size(before) for before, _ in resolved)
            pads = [(t.size(before), t.size(after)) for before, after in resolved]
        return t.F.pad(x, [size for pair in reversed(pads) for size in pair]), (0,) * rank

    def module(self, t: Lowering, x: Shape, weight: Shape, bias: Shape | None = None) -> Any:
        rank = len(x) - 2
        if len(weight) != rank + 2:
            return None
        pads = self._module_pads(weight[2:])
        build = (t.nn.Conv1d, t.nn.Conv2d, t.nn.Conv3d)[rank - 1]
        return build(
            weight[1] * self.groups,
            weight[0],
            weight[2:],
            stride=per_axis(self.stride, rank, "stride"),
            padding=0 if pads is None else pads,
            dilation=per_axis(self.dilation, rank, "dilation"),
            groups=self.groups,
            bias=bias is not None,
        )

    def _module_pads(self, kernel: Shape) -> Shape | None:
        """Padding that torch.nn's module does itself: known, and the same before and after."""
        if self.pad == "tf_same":
            return None
        rank = len(kernel)
        stride, dilation = per_axis(self.stride, rank, "stride"), per_axis(self.dilation, rank, "dilation")
        pads = resolve_padding(self.pad, kernel, kernel, stride, dilation)
        if all(before == after and isinstance(before, int) for before, after in pads):
            return tuple(before for before, _ in pads)
        return None

    def call_module(self, t: Lowering, module: Any, x: Any) -> Any:
        kernel = module.kernel_size
        return module(x if self._module_pads(kernel) is not None else self._padded(t, x, kernel)[0])


class Conv(Layer, name="conv"):
    """Convolution with weights of its own: [B, C, *S] -> [B, out, *S'], in 1, 2 or 3 spatial axes.

    Weights: `weight` [out, C/groups, *kernel], `bias` [out] where asked for (a norm nearly always follows).
    `pad` is for each axis a size or (before, after), or "same" (stride 1), or "tf_same" (ceil(S/stride)).
    """

    out: Size
    kernel: Sizes
    stride: Sizes = 1
    pad: Padding | Pads = 0
    dilation: Sizes = 1
    groups: Size = 1
    bias: bool = False
    init: Init | None = None
    bias_init: Init | None = None
    samples = (
        case({"out": 6, "kernel": 3, "pad": 1}, (2, 4, 9, 8)),
        case({"out": 6, "kernel": (3, 5), "stride": 2, "pad": "tf_same", "bias": True}, (2, 4, 9, 8)),
        case({"out": 8, "kernel": 4, "pad": "same", "groups": 4}, (2, 4, 9)),
        case({"out": 3, "kernel": 3, "dilation": 2, "pad": 2}, (1, 2, 9, 8, 7)),
    )

    def weights(self, x: Shape) -> dict[str, WeightSpec]:
        kernel = per_axis(self.kernel, spatial_rank(x), "kernel")
        need_positive(self.out, "out")
        need_groups(x[1], self.out, self.groups)
        for size in kernel:
            need_positive(size, "kernel")
        shape = (self.out, x[1] // self.groups, *kernel)
        specs = {"weight": WeightSpec(shape, self.init or fan_in_uniform())}
        if self.bias:
            specs["bias"] = WeightSpec((self.out,), self.bias_init or bias_default(shape))
        return specs

    def core(self, x: Shape) -> ConvWith:
        rank = len(x) - 2
        kernel, stride, dilation = (
            per_axis(value, rank, argument)
            for value, argument in (
                (self.kernel, "kernel"),
                (self.stride, "stride"),
                (self.dilation, "dilation"),
            )
        )
        need_window(kernel, stride, dilation, ())
        pads = resolve_padding(self.pad, x[2:], kernel, stride, dilation)
        if self.pad == "tf_same" and not all(isinstance(pad, int) for pair in pads for pad in pair):
            pads = "tf_same"  # the sizes decide when the network runs
        return ConvWith(stride=stride, pad=pads, dilation=dilation, groups=known_groups(self.groups))


def bias_default(weight: Shape) -> Init:
    """Torch's initialiser of a bias: within 1/sqrt(fan_in) of the weight that goes with it."""
    fan_in = prod(weight[1:])
    return fan_in_uniform(fan_in) if isinstance(fan_in, int) else fan_in_uniform()


def known_groups(groups: Size) -> int:
    """`groups` as a number, or `ShapeError`."""
    if not isinstance(groups, int):
        raise ShapeError("`groups` must be a known number", "value", argument="groups")
    return groups
