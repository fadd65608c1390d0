"""Spikes: a step whose gradient is that of a smooth function."""

from __future__ import annotations

from math import pi
from typing import Any, ClassVar, Literal

from ..dtypes import DType
from ..sizes.dims import prod
from .core.base import Elements, Lowering, Op, Shape, case
from .core.counts import Cost
from .core.rules import ShapeError, need_float
from .pointwise import wide


class Spike(Op, name="spike"):
    """1 where x reaches the threshold and 0 elsewhere: [*s] -> [*s]; learnt by a surrogate gradient.

    Backwards it is taken for a smooth step of x - threshold (arXiv:1901.09948): `sigmoid`,
    1/(1 + e^(-alpha x)); `atan`, atan(pi/2 alpha x)/pi + 1/2; `rectangle`, alpha x + 1/2 within [0, 1]. Their
    slopes at the threshold are alpha/4, alpha/2 and alpha.

    Cost: one comparison; the surrogate belongs to the way back.
    """

    threshold: float = 1.0
    surrogate: Literal["sigmoid", "atan", "rectangle"] = "sigmoid"
    alpha: float = 4.0
    # The gradient is not that of the values.
    surrogate_gradient: ClassVar[bool] = True
    samples = (
        case({}, (2, 3)),
        case({"threshold": 0.5, "surrogate": "atan", "alpha": 2.0}, (2, 3, 4)),
        case({"surrogate": "rectangle", "alpha": 1.0}, ()),
    )

    def shape(self, x: Shape) -> Shape:
        if not self.alpha > 0:
            raise ShapeError(f"`alpha` is {self.alpha}, and must be positive", "value", argument="alpha")
        return x

    def dtype(self, x: DType) -> DType:
        need_float(x, "spike")
        return x

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(compare=prod(x))

    def te(self, t: Elements, x: Any) -> Any:
        def element(*i: Any) -> Any:
            value = t.let(t.cast(x[i], wide(x.dtype)))
            fired = t.cast(value >= t.full_like(value, self.threshold), wide(x.dtype))
            return t.select(t.isnan(value), value, fired)

        return t.compute(t.shape(), element)

    def torch(self, t: Lowering, x: Any) -> Any:
        over = x - self.threshold
        if self.surrogate == "sigmoid":
            smooth = t.torch.sigmoid(over * self.alpha)
        elif self.surrogate == "atan":
            smooth = t.torch.atan(over * (self.alpha * pi / 2)) / pi
        else:
            smooth = t.torch.clamp(over * self.alpha + 0.5, 0.0, 1.0)
        # The difference is 0, and has the gradient of the smooth step: no function of our own, so that the
        # graph is plain arithmetic to fx, pickle and export.
        fired = t.torch.ge(x, self.threshold).to(t.dtype(t.dtype_of(x)))
        return fired + (smooth - smooth.detach())
