"""Batch normalisation; the other normalisations are in norm_rows.py and norm_channels.py.

Normalising E elements with R means and variances counts 2*(E - R) adds and 2*R divides for both, E adds (the
differences), E multiplies (their squares), R adds (eps), R transcendental (the inverse root) and E
multiplies; then E multiplies for a weight and E adds for a bias.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from ..dtypes import BOOL, I64, DType
from ..sizes.dims import Size, prod
from .core.base import Elements, Layer, Lowering, Mode, Op, Role, Shape, WeightSpec, case
from .core.counts import NOTHING, Cost
from .core.init import Init, ones, zeros
from .core.rows import Rows, unravel, wide
from .core.rules import ShapeError, axis_of, need_at_least, need_equal, need_float, need_rank


def affine_specs(
    shape: Shape, weight: bool, bias: bool, init: Init | None = None, bias_init: Init | None = None
) -> dict[str, WeightSpec]:
    """The weight (ones) and bias (zeros) of a normalisation."""
    specs: dict[str, WeightSpec] = {}
    if weight:
        specs["weight"] = WeightSpec(shape, init or ones())
    if bias:
        specs["bias"] = WeightSpec(shape, bias_init or zeros())
    return specs


def running_specs(channels: Size) -> dict[str, WeightSpec]:
    """The buffers of running statistics."""
    return {
        "running_mean": WeightSpec((channels,), zeros(), "buffer"),
        "running_var": WeightSpec((channels,), ones(), "buffer"),
        "num_batches_tracked": WeightSpec((), zeros(), "buffer", I64),
    }


def channel_axis(axis: int, rank: int) -> int:
    """The axis of the channels, counted from the front; or `ShapeError`, as where it is that of samples."""
    found = axis_of(axis, rank)
    if found == 0:
        raise ShapeError(
            f"`axis` is {axis}, the samples of the batch",
            "value",
            argument="axis",
            help="the channels are axis 1, or with the channels last axis -1",
        )
    return found


def need_channels(x: Shape, axis: int = 1, **weights: Shape | None) -> None:
    """Each weight given has one axis, the channels of `x`; or `ShapeError`."""
    for slot, shape in weights.items():
        if shape is not None:
            need_rank(shape, 1, 1, f"`{slot}`", slot)
            need_equal(shape[0], x[axis], f"sizes of `{slot}` and channels", (slot, 0), ("x", axis))


def need_several(count: Size, what: str) -> None:
    """There is not just one value to take a variance of, or `ShapeError`."""
    if isinstance(count, int):
        if count == 1:
            raise ShapeError(f"{what} is 1: one value has no variance", "size", (("x", None),))
    else:
        need_at_least(count, 2, what)


def need_weights(x: DType, what: str, **weights: DType | None) -> None:
    """Float operands: weights have the type of `x`, or are f32 where that is f16 or bf16; or `ShapeError`."""
    need_float(x, what)
    wide = x in ("f16", "bf16") and all(dtype in ("float", "f32", None) for dtype in weights.values())
    for slot, dtype in weights.items():
        if dtype is not None and dtype != x and not wide:
            message = f"{what} needs weights of the input's type: x is {x}, {slot} is {dtype}"
            raise ShapeError(message, "dtype", (("x", None), (slot, None)))


def affine_cost(elements: Size, weight: object, bias: object) -> Cost:
    """The cost of the weight and bias that are given."""
    scale = NOTHING if weight is None else Cost(multiply=elements)
    return scale if bias is None else scale + Cost(add=elements)


def affine(t: Elements, value: Any, weight: Any, bias: Any, at: Sequence[Any], dtype: str) -> Any:
    """A normalised element times its weight plus its bias, as far as they are given, both read at `at`."""
    if weight is not None:
        value = value * t.cast(weight[tuple(at)], dtype)
    return value if bias is None else value + t.cast(bias[tuple(at)], dtype)


def stored(
    t: Elements, x: Any, index: Sequence[Any], channel: Any, mean: Any, variance: Any, eps: float
) -> Any:
    """An element normalised by its channel's stored mean and variance [C]."""
    dtype = wide(x.dtype)
    factor = t.rsqrt(t.cast(variance[channel], dtype) + t.const(eps, dtype))
    return (t.cast(x[tuple(index)], dtype) - t.cast(mean[channel], dtype)) * factor


def standard_cost(elements: Size, rows: Size) -> Cost:
    """The cost of subtracting means and dividing by deviations, both taken over rows."""
    return Cost(add=3 * elements - rows, multiply=2 * elements, divide=2 * rows, transcendental=rows)


class BatchNormWith(Op, name="batch_norm_with"):
    """Normalise each channel: [B, C, *S] -> [B, C, *S] (arXiv:1502.03167, algorithms 1 and 2).

    With `axis` the channels are another axis than number 1: those of [B, *S, C] are axis -1.

    In train mode statistics are the batch's, and the running ones move by `momentum` (None: they are the
    average of all batches, counted in `num_batches_tracked`); otherwise the running ones are used, which
    `frozen` does in train mode too. Without running ones the batch's are used always.
    """

    eps: float = 1e-5
    momentum: float | None = 0.1
    training: bool = False
    frozen: bool = False
    axis: int = 1
    role = "elementwise"
    samples = (
        case({}, (2, 3, 4, 4), (3,), (3,), (3,), (3,)),
        case({"eps": 1e-3}, (2, 3), (3,), (3,)),
        case({}, (2, 3, 5)),
        case({"training": True}, (2, 3, 5), (3,), (3,), (3,), (3,), ("i64", ())),
        case({"training": True, "momentum": None}, (2, 3, 5), (3,), (3,), None, None, ("i64", ())),
        case({"frozen": True}, (2, 3, 4), (3,), (3,), (3,), (3,)),
        case({"axis": -1}, (2, 5, 3), (3,), (3,), (3,), (3,)),
        case({"axis": 2}, (2, 5, 3, 4), None, None, (3,), (3,)),
        case({"axis": -1, "training": True}, (2, 2, 4, 3), (3,), (3,), (3,), (3,), ("i64", ())),
        case(
            {"axis": -1, "training": True, "momentum": None}, (2, 5, 3), (3,), (3,), None, None, ("i64", ())
        ),
    )

    def role_given(self, slots: Collection[str]) -> Role:
        """Without stored statistics it reads those of the batch: whole rows."""
        return self.role if "running_mean" in slots and not self.training else "reduction"

    def shape(
        self,
        x: Shape,
        running_mean: Shape | None = None,
        running_var: Shape | None = None,
        weight: Shape | None = None,
        bias: Shape | None = None,
        num_batches_tracked: Shape | None = None,
    ) -> Shape:
        need_rank(x, 2, None, "batch_norm")
        axis = channel_axis(self.axis, len(x))
        need_at_least(x[axis], 1, "the number of channels", ("x", axis))
        need_channels(x, axis, running_mean=running_mean, running_var=running_var)
        for slot, shape in (("weight", weight), ("bias", bias)):
            if shape is not None:
                # Torch counts the elements of these, and lets further axes pass.
                need_equal(prod(shape), x[axis], f"sizes of `{slot}` and channels", (slot, 0), ("x", axis))
        if (running_mean is None) != (running_var is None):
            raise ShapeError("batch_norm takes both a running mean and variance, or neither", "value")
        averaged = self.training and self.momentum is None and running_mean is not None
        if averaged and num_batches_tracked is None:
            raise ShapeError(
                "an average of all batches needs `num_batches_tracked`", "value", argument="momentum"
            )
        if averaged and num_batches_tracked is not None:
            counted = prod(num_batches_tracked)
            need_equal(counted, 1, "elements of `num_batches_tracked` and 1", ("num_batches_tracked", None))
        if self.training or running_mean is None:
            need_several(prod((*x[:axis], *x[axis + 1 :])), "the number of values of a channel")
        return x

    def dtype(
        self,
        x: DType,
        running_mean: DType | None = None,
        running_var: DType | None = None,
        weight: DType | None = None,
        bias: DType | None = None,
        num_batches_tracked: DType | None = None,
    ) -> DType:
        given = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
        need_weights(x, "batch_norm", **given)
        if self.training and num_batches_tracked == BOOL:
            operand = (("num_batches_tracked", None),)
            raise ShapeError("`num_batches_tracked` counts batches, and is bool", "dtype", operand)
        return x

    def in_mode(self, mode: Mode) -> Op | None:
        return replace(self, training=mode == "train" and not self.frozen)

    @property
    def effects(self) -> frozenset[str]:
        """Training moves the running statistics."""
        return frozenset({"state"}) if self.training else frozenset()

    def cost(self, out: Shape, x: Shape, **rest: Shape | None) -> Cost:
        elements, channels = prod(x), x[axis_of(self.axis, len(x))]
        affine = affine_cost(elements, rest.get("weight"), rest.get("bias"))
        tracked = rest.get("running_mean") is not None
        if tracked and not self.training:
            # The inverse root of variance + eps once a channel.
            fixed = Cost(add=elements + channels, multiply=elements, transcendental=channels)
            return fixed + affine
        cost = standard_cost(elements, channels) + affine
        if tracked:
            # Two averages old + momentum*(new - old), with the variance over n - 1; the batch is counted.
            counted = 0 if rest.get("num_batches_tracked") is None else 1
            cost = cost + Cost(add=4 * channels + counted, multiply=2 * channels, divide=channels)
            if self.momentum is None:
                cost = cost + Cost(divide=1)
        return cost

    def torch(
        self,
        t: Lowering,
        x: Any,
        running_mean: Any = None,
        running_var: Any = None,
        weight: Any = None,
        bias: Any = None,
        num_batches_tracked: Any = None,
    ) -> Any:
        momentum, given = self.momentum, x
        x = self._first(t, x)
        if self.training and num_batches_tracked is not None:
            num_batches_tracked.add_(1)
            if momentum is None and running_mean is not None:
                axes, held = (0, *range(2, t.rank(x))), x.detach().to(running_mean.dtype)
                share = num_batches_tracked.to(running_mean.dtype).reshape(()).reciprocal()
                running_mean.lerp_(held.mean(axes), share)
                running_var.lerp_(held.var(axes), share)
                # They have moved, and batch_norm only looks at their sizes.
                momentum = 0.0
        y = t.F.batch_norm(
            x,
            running_mean,
            running_var,
            weight,
            bias,
            training=self.training or running_mean is None,
            momentum=0.1 if momentum is None else momentum,
            eps=self.eps,
        )
        return self._back(t, y, given)

    def _first(self, t: Lowering, x: Any) -> Any:
        """The tensor with its channels in axis 1; where they are last, the other axes are one."""
        rank = t.rank(x)
        axis = channel_axis(self.axis, rank)
        if axis == 1:
            return x
        return x.flatten(0, -2) if axis == rank - 1 else x.movedim(axis, 1)

    def _back(self, t: Lowering, y: Any, x: Any) -> Any:
        """What was made of `_first` with the axes of `x`."""
        rank = t.rank(x)
        axis = axis_of(self.axis, rank)
        if axis == 1:
            return y
        return y.reshape_as(x) if axis == rank - 1 else y.movedim(1, axis)

    def te(
        self,
        t: Elements,
        x: Any,
        running_mean: Any = None,
        running_var: Any = None,
        weight: Any = None,
        bias: Any = None,
        num_batches_tracked: Any = None,
    ) -> Any:
        dtype, axis = wide(x.dtype), axis_of(self.axis, x.rank)
        own = None
        if running_mean is None:
            others = tuple(other for other in range(x.rank) if other != axis)
            own = Rows(t, x, others).standard(self.eps, dtype)

        def element(*index: Any) -> Any:
            channel = index[axis]
            if own is None:
                value = stored(t, x, index, channel, running_mean, running_var, self.eps)
            else:
                value = own(index)
            for operand, combine in ((weight, t.mul), (bias, t.add)):
                if operand is not None:
                    value = combine(value, t.cast(operand[tuple(unravel(channel, operand.shape))], dtype))
            return value

        return t.compute(x.shape, element)

    def module(self, t: Lowering, x: Shape, **weights: Shape) -> Any:
        axis = axis_of(self.axis, len(x))
        channels, rank = x[axis], 2 if axis == len(x) - 1 else len(x)
        both = ("weight" in weights) == ("bias" in weights)
        counted = ("num_batches_tracked" in weights) == ("running_mean" in weights)
        if self.frozen or rank > 5 or not (both and counted):
            return None
        build = (t.nn.BatchNorm1d, t.nn.BatchNorm1d, t.nn.BatchNorm2d, t.nn.BatchNorm3d)[rank - 2]
        return build(
            channels,
            eps=self.eps,
            momentum=self.momentum,
            affine="weight" in weights,
            track_running_stats="running_mean" in weights,
        )

    def call_module(self, t: Lowering, module: Any, x: Any, num_batches_tracked: Any = None) -> Any:
        return self._back(t, module(self._first(t, x)), x)


class BatchNorm(Layer, name="batch_norm"):
    """Batch normalisation with weights of its own: [B, C, *S] -> [B, C, *S].

    With `axis` the channels are another axis than number 1: those of [B, *S, C] are axis -1.
    Weights: `weight` and `bias` [C] if `affine`; if `track`, buffers `running_mean`, `running_var` [C] and
    `num_batches_tracked` [].
    """

    eps: float = 1e-5
    momentum: float | None = 0.1
    affine: bool = True
    track: bool = True
    init: Init | None = None
    bias_init: Init | None = None
    axis: int = 1
    samples = (
        case({}, (2, 3, 4, 4)),
        case({"axis": -1}, (2, 4, 3)),
        case({"axis": 2, "affine": False}, (2, 4, 3, 5)),
        case({"eps": 1e-3, "affine": False}, (2, 3, 5)),
        case({"momentum": None}, (2, 3)),
        case({"track": False}, (2, 3, 2, 2, 2)),
    )

    def weights(self, x: Shape) -> dict[str, WeightSpec]:
        need_rank(x, 2, None, "batch_norm")
        channels = x[channel_axis(self.axis, len(x))]
        specs = affine_specs((channels,), self.affine, self.affine, self.init, self.bias_init)
        return specs | (running_specs(channels) if self.track else {})

    def core(self, x: Shape) -> BatchNormWith:
        return BatchNormWith(eps=self.eps, momentum=self.momentum, axis=self.axis)


class FrozenBatchNorm(Layer, name="frozen_batch_norm"):
    """Batch normalisation whose four weights never move, as torchvision's: [B, C, *S] -> [B, C, *S].

    With `axis` the channels are another axis than number 1: those of [B, *S, C] are axis -1.
    Weights: buffers `weight`, `bias`, `running_mean`, `running_var` [C].
    """

    eps: float = 1e-5
    axis: int = 1
    samples = (case({}, (2, 3, 4, 4)), case({"axis": -1}, (2, 4, 3)))

    def weights(self, x: Shape) -> dict[str, WeightSpec]:
        need_rank(x, 2, None, "frozen_batch_norm")
        channels = x[channel_axis(self.axis, len(x))]
        inits = {"weight": ones(), "bias": zeros(), "running_mean": zeros(), "running_var": ones()}
        return {name: WeightSpec((channels,), init, "buffer") for name, init in inits.items()}

    def core(self, x: Shape) -> BatchNormWith:
        return BatchNormWith(eps=self.eps, frozen=True, axis=self.axis)
