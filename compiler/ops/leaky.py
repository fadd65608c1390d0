"""Rectifiers with a slope below 0: fixed, drawn or learnt. An element counts 1 compare and 1 multiply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from ..dtypes import DType
from ..sizes.dims import prod
from .activation import Activation
from .core.base import Elements, Layer, Lowering, Mode, Op, Shape, WeightSpec, case
from .core.counts import Cost
from .core.init import Init, constant
from .core.rules import need_at_least, need_equal, need_float, need_rank, need_same_dtype
from .pointwise import wide


def leaky(t: Elements, x: Any, slope: Any) -> Any:
    """X, below 0 times a slope."""
    return t.select(x > t.full_like(x, 0), x, slope * x)


class LeakyRelu(Activation, name="leaky_relu"):
    """x, below 0 times a slope: [*s] -> [*s] (Maas et al. 2013)."""

    negative_slope: float = 0.01
    counts = Cost(compare=1, multiply=1)
    samples = (*Activation.samples, case({"negative_slope": 0.2}, (2, 3)))

    def scalar(self, t: Elements, x: Any) -> Any:
        return leaky(t, x, t.const(self.negative_slope, wide(t.dtype())))


class Rrelu(Op, name="rrelu"):
    """Leaky relu with random slopes: [*s] -> [*s] (arXiv:1505.00853).

    In train mode slopes are uniform in [lower, upper], otherwise its middle. Draws are not counted.
    """

    lower: float = 1 / 8
    upper: float = 1 / 3
    training: bool = False
    role = "elementwise"
    samples = (case({}, (2, 3)), case({"lower": 0.1, "upper": 0.3, "training": True}, (2, 3)))

    @property
    def effects(self) -> frozenset[str]:
        """Training draws slopes."""
        return frozenset({"random"}) if self.training else frozenset()

    def in_mode(self, mode: Mode) -> Op | None:
        return Rrelu(lower=self.lower, upper=self.upper, training=mode == "train")

    def shape(self, x: Shape) -> Shape:
        return x

    def dtype(self, x: DType) -> DType:
        need_float(x, "rrelu")
        return x

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(compare=1, multiply=1).scaled(prod(out))

    def torch(self, t: Lowering, x: Any) -> Any:
        return t.F.rrelu(x, self.lower, self.upper, training=self.training)

    @property
    def te(self) -> Callable[[Elements, Any], Any]:
        """There are loops where no slope is drawn."""
        if self.training:
            raise AttributeError("te")
        return self._middle

    def _middle(self, t: Elements, x: Any) -> Any:
        def element(*i: Any) -> Any:
            value = t.let(t.cast(x[i], wide(x.dtype)))
            return leaky(t, value, t.full_like(value, (self.lower + self.upper) / 2))

        return t.compute(t.shape(), element)

    def numpy(self, np: Any, x: Any) -> Any:
        slopes = np.random.uniform(self.lower, self.upper, x.shape)
        return np.where(x <= 0, slopes * x, x).astype(x.dtype)


class PreluWith(Op, name="prelu_with"):
    """Leaky relu with given slopes, one or one for each channel: [B, C, *S], [1 or C] -> [B, C, *S]."""

    role = "elementwise"
    samples = (case({}, (2, 3, 4), (3,)), case({}, (2, 3), (1,)), case({}, (4,), (1,)))

    def shape(self, x: Shape, weight: Shape) -> Shape:
        need_rank(weight, 0, 1, "the weight of prelu", "weight")
        slopes = prod(weight)
        if slopes != 1:
            need_at_least(len(x), 1, "the rank of prelu's input", ("x", None))
            channels = x[1] if len(x) > 1 else 1
            need_equal(channels, slopes, "channels and slopes of prelu", ("x", 1), ("weight", 0))
        return x

    def dtype(self, x: DType, weight: DType) -> DType:
        need_float(x, "prelu")
        need_same_dtype({"x": x, "weight": weight}, "prelu")
        return x

    def cost(self, out: Shape, x: Shape, weight: Shape) -> Cost:
        return Cost(compare=1, multiply=1).scaled(prod(out))

    def torch(self, t: Lowering, x: Any, weight: Any) -> Any:
        return t.F.prelu(x, weight)

    def te(self, t: Elements, x: Any, weight: Any) -> Any:
        def element(*i: Any) -> Any:
            one = not weight.rank or (isinstance(weight.shape[0], int) and weight.shape[0] == 1)
            slope = weight[(0,) * weight.rank] if one else weight[i[1]]
            return leaky(t, t.let(t.cast(x[i], wide(x.dtype))), t.cast(slope, wide(x.dtype)))

        return t.compute(t.shape(), element)

    def module(self, t: Lowering, x: Shape, weight: Shape) -> Any:
        return t.nn.PReLU(weight[0])


class Prelu(Layer, name="prelu"):
    """Leaky relu with slopes that are learnt: [B, C, *S] -> [B, C, *S] (arXiv:1502.01852).

    Weight: `weight` [1], or [C] if `channelwise`; 0.25 to begin with.
    """

    channelwise: bool = False
    init: Init | None = None
    samples = (case({}, (2, 3, 4, 4)), case({"channelwise": True}, (2, 3, 4, 4)))
    default: ClassVar[Init] = constant(0.25)

    def weights(self, x: Shape) -> dict[str, WeightSpec]:
        if self.channelwise:
            need_rank(x, 2, None, "channelwise prelu")
        return {"weight": WeightSpec((x[1] if self.channelwise else 1,), self.init or self.default)}

    def core(self, x: Shape) -> PreluWith:
        return PreluWith()
