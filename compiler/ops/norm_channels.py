"""Normalisations of channels of each sample by itself: group and instance norm, local response."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..dtypes import DType
from ..sizes.dims import prod
from .core.base import Elements, Layer, Lowering, Mode, Op, Shape, WeightSpec, case
from .core.counts import Cost
from .core.init import Init
from .core.promotion import floating, need_category
from .core.rows import Rows, over_count, wide
from .core.rules import ShapeError, need_at_least, need_divisible, need_float, need_positive, need_rank
from .norm import (
    affine,
    affine_cost,
    affine_specs,
    need_channels,
    need_several,
    need_weights,
    running_specs,
    standard_cost,
    stored,
)
from .pointwise import as_float


class GroupNormWith(Op, name="group_norm_with"):
    """Normalise groups of channels, given weights: [B, C, *S], [C], [C] -> [B, C, *S] (arXiv:1803.08494)."""

    groups: int
    eps: float = 1e-5
    role = "reduction"
    samples = (
        case({"groups": 2}, (2, 4, 3, 3), (4,), (4,)),
        case({"groups": 1}, (2, 3, 5)),
        case({"groups": 3, "eps": 1e-3}, (2, 6), (6,), (6,)),
    )

    def shape(self, x: Shape, weight: Shape | None = None, bias: Shape | None = None) -> Shape:
        need_rank(x, 2, None, "group_norm")
        need_positive(self.groups, "groups")
        need_divisible(x[1], self.groups, "channels", ("x", 1), argument="groups")
        need_channels(x, weight=weight, bias=bias)
        need_several(
            x[0] * (x[1] // self.groups) * prod(x[2:]), "the number of values of a group, times the batch,"
        )
        return x

    def dtype(self, x: DType, weight: DType | None = None, bias: DType | None = None) -> DType:
        need_weights(x, "group_norm", weight=weight, bias=bias)
        return x

    def cost(self, out: Shape, x: Shape, weight: Shape | None = None, bias: Shape | None = None) -> Cost:
        return standard_cost(prod(x), x[0] * self.groups) + affine_cost(prod(x), weight, bias)

    def torch(self, t: Lowering, x: Any, weight: Any = None, bias: Any = None) -> Any:
        return t.F.group_norm(x, self.groups, weight, bias, self.eps)

    def te(self, t: Elements, x: Any, weight: Any = None, bias: Any = None) -> Any:
        dtype = wide(x.dtype)
        groups, width = (x.shape[0], self.groups), x.shape[1] // self.groups
        # Of each channel first, since channels may lie side by side; then of the channels of a group.
        rows = Rows(t, x, tuple(range(2, x.rank)))

        def over_groups(value: Callable[[tuple[Any, ...]], Any]) -> Callable[[Any, Any], Any]:
            sums = rows.reduce("sum", value, dtype)

            def channel(b: Any, g: Any, c: Any) -> Any:
                return sums[b, g * width + c]

            total = t.reduce("sum", groups, (width,), channel, dtype)
            return lambda b, g: over_count(t, total[b, g], rows.count * width, dtype)

        def over_channels(value: Callable[[Any, Any], Any]) -> Any:
            held = t.compute(groups, value, dtype, keep=True)

            def channel(b: Any, c: Any) -> Any:
                return held[b, c // width]

            return t.compute(rows.shape, channel, dtype, keep=True)

        mean = over_channels(over_groups(lambda index: t.cast(x[index], dtype)))

        def square(index: tuple[Any, ...]) -> Any:
            difference = t.let(t.cast(x[index], dtype) - mean[index[:2]])
            return difference * difference

        variance = over_groups(square)
        factor = over_channels(lambda b, g: t.rsqrt(variance(b, g) + t.const(self.eps, dtype)))

        def element(*index: Any) -> Any:
            value = (t.cast(x[index], dtype) - mean[index[:2]]) * factor[index[:2]]
            return affine(t, value, weight, bias, index[1:2], dtype)

        return t.compute(x.shape, element)

    def module(self, t: Lowering, x: Shape, weight: Shape | None = None, bias: Shape | None = None) -> Any:
        if (weight is None) != (bias is None) or not isinstance(x[1], int):
            return None
        return t.nn.GroupNorm(self.groups, x[1], self.eps, affine=weight is not None)


class GroupNorm(Layer, name="group_norm"):
    """Normalise groups of channels in each sample: [B, C, *S] -> [B, C, *S].

    Weights: `weight` and `bias` [C] if `affine`.
    """

    groups: int
    eps: float = 1e-5
    affine: bool = True
    init: Init | None = None
    bias_init: Init | None = None
    samples = (case({"groups": 2}, (2, 4, 3, 3)), case({"groups": 1, "affine": False}, (2, 3, 5)))

    def weights(self, x: Shape) -> dict[str, WeightSpec]:
        need_rank(x, 2, None, "group_norm")
        return affine_specs((x[1],), self.affine, self.affine, self.init, self.bias_init)

    def core(self, x: Shape) -> GroupNormWith:
        return GroupNormWith(groups=self.groups, eps=self.eps)


class InstanceNormWith(Op, name="instance_norm_with"):
    """Normalise each channel of each sample with given weights: [B, C, *S] -> [B, C, *S] (arXiv:1607.08022).

    With `track` the running statistics move by `momentum` in train mode, and are used otherwise; without,
    they are not read.
    """

    eps: float = 1e-5
    momentum: float = 0.1
    track: bool = False
    training: bool = False
    role = "reduction"
    samples = (
        case({}, (2, 3, 4, 4)),
        case({}, (2, 3, 4), (3,), (3,)),
        case({"track": True}, (2, 3, 4), None, None, (3,), (3,)),
        case({"track": True, "training": True}, (2, 3, 4), (3,), (3,), (3,), (3,), ("i64", ())),
    )

    def shape(
        self,
        x: Shape,
        weight: Shape | None = None,
        bias: Shape | None = None,
        running_mean: Shape | None = None,
        running_var: Shape | None = None,
        num_batches_tracked: Shape | None = None,
    ) -> Shape:
        need_rank(x, 2, None, "instance_norm")
        need_channels(x, weight=weight, bias=bias)
        need_at_least(x[0] * x[1], 1, "the number of channels, times the batch,", ("x", 1))
        if self.track and (running_mean is None or running_var is None):
            raise ShapeError("`track` needs running statistics", "value", argument="track")
        if self.track:
            need_channels(x, running_mean=running_mean, running_var=running_var)
        if self._own_statistics:
            need_several(prod(x[2:]), "the number of values of a channel of a sample")
        return x

    @property
    def _own_statistics(self) -> bool:
        return self.training or not self.track

    def dtype(self, x: DType, **weights: DType | None) -> DType:
        # Torch converts the running statistics, but not a variance that moves to an integer.
        variance = weights.get("running_var")
        if self.track and self.training and variance is not None:
            need_float(variance, "instance_norm", "running_var")
        # Torch converts both or none, as the mean's type says.
        if self.track and weights.get("running_mean") == x != variance:
            message = f"the running variance of instance_norm is {x} as the mean is, and got {variance}"
            raise ShapeError(message, "dtype", (("running_var", None),))
        need_weights(x, "instance_norm", weight=weights.get("weight"), bias=weights.get("bias"))
        return x

    def in_mode(self, mode: Mode) -> Op | None:
        if not self.track:
            return self
        training = mode == "train"
        return InstanceNormWith(eps=self.eps, momentum=self.momentum, track=True, training=training)

    @property
    def effects(self) -> frozenset[str]:
        """Training moves the running statistics, where they are kept."""
        return frozenset({"state"}) if self.training and self.track else frozenset()

    def cost(self, out: Shape, x: Shape, **rest: Shape | None) -> Cost:
        elements, rows, channels = prod(x), x[0] * x[1], x[1]
        affine = affine_cost(elements, rest.get("weight"), rest.get("bias"))
        if not self._own_statistics:
            return Cost(add=elements + channels, multiply=elements, transcendental=channels) + affine
        cost = standard_cost(elements, rows) + affine
        if self.track:
            # Two averages over the batch, then old + momentum*(new - old), the variance over n - 1.
            means = Cost(add=2 * (rows - channels), divide=2 * channels)
            cost = cost + means + Cost(add=4 * channels, multiply=2 * channels, divide=rows)
        return cost

    def torch(
        self,
        t: Lowering,
        x: Any,
        weight: Any = None,
        bias: Any = None,
        running_mean: Any = None,
        running_var: Any = None,
        num_batches_tracked: Any = None,
    ) -> Any:
        own = self._own_statistics
        if not self.track:
            running_mean = running_var = None
        return t.F.instance_norm(x, running_mean, running_var, weight, bias, own, self.momentum, self.eps)

    def te(
        self,
        t: Elements,
        x: Any,
        weight: Any = None,
        bias: Any = None,
        running_mean: Any = None,
        running_var: Any = None,
        num_batches_tracked: Any = None,
    ) -> Any:
        dtype = wide(x.dtype)
        own = Rows(t, x, tuple(range(2, x.rank))).standard(self.eps, dtype) if self._own_statistics else None

        def element(*index: Any) -> Any:
            if own is None:
                value = stored(t, x, index, index[1], running_mean, running_var, self.eps)
            else:
                value = own(index)
            return affine(t, value, weight, bias, (index[1],), dtype)

        return t.compute(x.shape, element)

    def module(self, t: Lowering, x: Shape, **weights: Shape) -> Any:
        if ("weight" in weights) != ("bias" in weights) or len(x) not in (3, 4, 5):
            return None
        if not isinstance(x[1], int):
            return None  # the class wants the number of channels
        if self.track and "num_batches_tracked" not in weights:
            return None
        build = (t.nn.InstanceNorm1d, t.nn.InstanceNorm2d, t.nn.InstanceNorm3d)[len(x) - 3]
        return build(
            x[1], self.eps, self.momentum, affine="weight" in weights, track_running_stats=self.track
        )


class InstanceNorm(Layer, name="instance_norm"):
    """Normalise each channel of each sample: [B, C, *S] -> [B, C, *S].

    Weights: `weight` and `bias` [C] if `affine`; if `track`, buffers `running_mean`, `running_var` [C] and
    `num_batches_tracked` [].
    """

    eps: float = 1e-5
    momentum: float = 0.1
    affine: bool = False
    track: bool = False
    samples = (
        case({}, (2, 3, 4, 4)),
        case({"affine": True}, (2, 3, 5)),
        case({"affine": True, "track": True}, (2, 3, 2, 2, 2)),
    )

    def weights(self, x: Shape) -> dict[str, WeightSpec]:
        need_rank(x, 2, None, "instance_norm")
        specs = affine_specs((x[1],), self.affine, self.affine)
        return specs | (running_specs(x[1]) if self.track else {})

    def core(self, x: Shape) -> InstanceNormWith:
        return InstanceNormWith(eps=self.eps, momentum=self.momentum, track=self.track)


class LocalResponseNorm(Op, name="local_response_norm"):
    """Divide by a power of the mean square of neighbouring channels: [B, C, *S] -> [B, C, *S].

    x / (k + alpha * mean of x^2 over `size` channels, zeros beyond the edge)^beta (Krizhevsky et al. 2012,
    3.3).
    """

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0
    role = "window"
    samples = (case({"size": 5}, (2, 7, 4, 4)), case({"size": 2, "alpha": 1.0, "k": 2.0}, (2, 3, 5)))

    def shape(self, x: Shape) -> Shape:
        need_rank(x, 3, None, "local_response_norm")
        need_positive(self.size, "size")
        return x

    def dtype(self, x: DType) -> DType:
        need_category(x, "bif", "local_response_norm")
        return floating(x)

    def cost(self, out: Shape, x: Shape) -> Cost:
        # Square; sum and mean of the window; alpha, k, power; the quotient.
        return Cost(multiply=2, add=self.size, divide=2, transcendental=1).scaled(prod(x))

    def torch(self, t: Lowering, x: Any) -> Any:
        # Torch takes views of what it is given, which must lie row by row.
        return t.F.local_response_norm(as_float(t, x).contiguous(), self.size, self.alpha, self.beta, self.k)

    def te(self, t: Elements, x: Any) -> Any:
        dtype = wide(t.dtype())
        # Channel c sums over c - size//2 and the following: before the edges are zeros.
        before = self.size // 2

        def square(b: Any, c: Any, *rest: Any) -> Any:
            *s, k = rest
            at = c + k - before

            def read() -> Any:
                value = t.let(t.cast(x[(b, at, *s)], dtype))
                return value * value

            inside = t.logical_and(at >= 0, at < x.shape[1])
            return t.guard(inside, read, t.const(0, dtype))

        total = t.reduce("sum", x.shape, (self.size,), square, dtype)

        def element(*index: Any) -> Any:
            mean = total[index] / t.const(self.size, dtype)
            scale = mean * t.const(self.alpha, dtype) + t.const(self.k, dtype)
            return t.cast(x[index], dtype) / t.pow(scale, t.const(self.beta, dtype))

        return t.compute(x.shape, element)
