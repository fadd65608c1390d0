"""Activations, named as in torch.nn.functional where it has them.

Counts for one element (conventions in pointwise.py):

    relu, threshold            1 compare
    relu6, hard_tanh           2 compares
    elu                        1 compare, 1 transcendental (expm1), 1 multiply (alpha)
    selu                       1 compare, 1 transcendental, 2 multiplies
    celu                       1 compare, 1 transcendental, 1 multiply, 1 divide
    gelu                       1 transcendental (erf), 3 multiplies, 1 add; 0.5*x*(1 + erf(c*x))
    gelu(approximate="tanh")   1 transcendental, 6 multiplies, 2 adds; 0.5*x*(1 + tanh(c*(x + d*x*x*x)))
    quick_gelu                 1 transcendental, 2 multiplies
    silu                       1 transcendental (the logistic function), 1 multiply
    mish                       3 transcendental (exp, log1p, tanh), 1 multiply
    hard_swish                 1 add, 2 compares, 1 multiply, 1 divide
    hard_sigmoid               1 add, 2 compares, 1 divide
    hard_mish                  1 add, 2 compares, 2 multiplies
    log_sigmoid                2 transcendental, 2 compares, 2 adds; min(x, 0) - log1p(exp(-|x|))
    softplus                   2 transcendental, 1 compare; 1 multiply and 1 divide where beta is not 1
    softsign                   1 compare (absolute value), 1 add, 1 divide
    softshrink                 2 compares, 1 add
    hardshrink                 2 compares
    tanhshrink                 1 transcendental, 1 add
    glu                        1 transcendental, 1 multiply, for each element of the result

`sigmoid` and `tanh` are in functions.py, rectifiers with a slope below 0 in leaky.py.
"""

from __future__ import annotations

from math import pi, sqrt
from typing import Any, Literal

from ..dtypes import DType
from ..sizes.dims import prod
from .core.base import REGISTRY, Elements, Lowering, Op, Shape, case
from .core.counts import Cost
from .core.promotion import need_element
from .core.rules import ShapeError, axis_of, need_divisible, need_float, need_rank
from .functions import logistic
from .pointwise import Unary, as_float, wide

_SAMPLES = (case({}, (2, 3)), case({}, (2, 3, 4, 4)), case({}, ()))


_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848, 1.0507009873554804934


class Activation(Unary):
    """A function of torch.nn.functional whose arguments have the same names there."""

    accepts = "f"
    samples = _SAMPLES

    def torch(self, t: Lowering, x: Any) -> Any:
        given = {
            name: getattr(self, name)
            for name, argument in self.arguments().items()
            if getattr(self, name) != argument.default
        }
        return getattr(t.F, self.function or self.name)(x, **given)


class Relu(Activation, name="relu"):
    """max(x, 0): [*s] -> [*s]."""

    counts = Cost(compare=1)
    accepts = "if"
    samples = (*_SAMPLES, case({}, ("i64", (3,))))


class Relu6(Activation, name="relu6"):
    """min(max(x, 0), 6): [*s] -> [*s] (Krizhevsky 2010)."""

    counts = Cost(compare=2)
    accepts = "if"
    samples = (*_SAMPLES, case({}, ("i64", (3,))))

    def scalar(self, t: Elements, x: Any) -> Any:
        return t.clamp(x, 0, 6)


class Elu(Activation, name="elu"):
    """x, below 0 alpha*(e^x - 1): [*s] -> [*s] (arXiv:1511.07289)."""

    alpha: float = 1.0
    counts = Cost(compare=1, transcendental=1, multiply=1)
    samples = (*_SAMPLES, case({"alpha": 0.5}, (2, 3)))

    def scalar(self, t: Elements, x: Any) -> Any:
        return t.select(x > t.full_like(x, 0), x, t.full_like(x, self.alpha) * t.expm1(x))


class Selu(Activation, name="selu"):
    """A scaled elu that keeps mean 0 and variance 1: [*s] -> [*s] (arXiv:1706.02515)."""

    counts = Cost(compare=1, transcendental=1, multiply=2)

    def scalar(self, t: Elements, x: Any) -> Any:
        above = t.full_like(x, _SELU_SCALE) * x
        return t.select(x > t.full_like(x, 0), above, t.full_like(x, _SELU_SCALE * _SELU_ALPHA) * t.expm1(x))


class Celu(Activation, name="celu"):
    """x, below 0 alpha*(e^(x/alpha) - 1): [*s] -> [*s] (arXiv:1704.07483)."""

    alpha: float = 1.0
    counts = Cost(compare=1, transcendental=1, multiply=1, divide=1)
    samples = (*_SAMPLES, case({"alpha": 0.5}, (2, 3)))

    def scalar(self, t: Elements, x: Any) -> Any:
        alpha = t.full_like(x, self.alpha)
        return t.select(x > t.full_like(x, 0), x, alpha * t.expm1(x / alpha))


class Gelu(Activation, name="gelu"):
    """x*Phi(x), Phi that of the normal distribution or approximated: [*s] -> [*s] (arXiv:1606.08415)."""

    approximate: Literal["none", "tanh"] = "none"
    samples = (*_SAMPLES, case({"approximate": "tanh"}, (2, 3)))

    def cost(self, out: Shape, x: Shape) -> Cost:
        exact = Cost(transcendental=1, multiply=3, add=1)
        tanh = Cost(transcendental=1, multiply=6, add=2)
        return (exact if self.approximate == "none" else tanh).scaled(prod(out))

    def scalar(self, t: Elements, x: Any) -> Any:
        if self.approximate == "none":
            return t.gelu(x)
        # 0.5 (1 + tanh(u)) is the logistic function of 2 u.
        cubic = x + t.full_like(x, 0.044715) * x * x * x
        return x * t.sigmoid(t.full_like(x, sqrt(8 / pi)) * cubic)


class QuickGelu(Unary, name="quick_gelu"):
    """x*sigmoid(1.702*x): [*s] -> [*s] (arXiv:1606.08415, section 2; used by CLIP, arXiv:2103.00020)."""

    counts = Cost(transcendental=1, multiply=2)
    counts_complex = Cost(transcendental=3, multiply=10, add=5, divide=2)
    gives = "float"
    samples = (*_SAMPLES, case({}, ("complex", (3,))))

    def torch(self, t: Lowering, x: Any) -> Any:
        x = as_float(t, x)
        return x * t.torch.sigmoid(1.702 * x)

    def scalar(self, t: Elements, x: Any) -> Any:
        return x * t.sigmoid(t.full_like(x, 1.702) * x)

    def numpy(self, np: Any, x: Any) -> Any:
        return x * logistic(np, 1.702 * x)


class Silu(Activation, name="silu"):
    """x*sigmoid(x), also called swish: [*s] -> [*s] (arXiv:1702.03118, arXiv:1710.05941)."""

    counts = Cost(transcendental=1, multiply=1)
    counts_complex = Cost(transcendental=3, multiply=8, add=5, divide=2)
    accepts = "fc"
    samples = (*_SAMPLES, case({}, ("complex", (3,))))

    def numpy(self, np: Any, x: Any) -> Any:
        return x * logistic(np, x)


# The same operator under its other name.
REGISTRY["swish"] = Silu


class Mish(Activation, name="mish"):
    """x*tanh(softplus(x)): [*s] -> [*s] (arXiv:1908.08681)."""

    counts = Cost(transcendental=3, multiply=1)

    def scalar(self, t: Elements, x: Any) -> Any:
        # tanh(log(1 + e)) = n/(n + 2) with n = e (e + 2); beyond 20 it is 1.
        e = t.let(t.exp(t.clamp(x, None, 20)))
        n = t.let(e * (e + t.full_like(x, 2)))
        return x * (n / (n + t.full_like(x, 2)))


class HardSwish(Activation, name="hard_swish"):
    """x*relu6(x + 3)/6: [*s] -> [*s] (arXiv:1905.02244)."""

    function = "hardswish"
    counts = Cost(add=1, compare=2, multiply=1, divide=1)

    def scalar(self, t: Elements, x: Any) -> Any:
        return x * t.clamp(x + t.full_like(x, 3), 0, 6) / t.full_like(x, 6)


class HardSigmoid(Activation, name="hard_sigmoid"):
    """relu6(x + 3)/6: [*s] -> [*s] (arXiv:1905.02244)."""

    function = "hardsigmoid"
    counts = Cost(add=1, compare=2, divide=1)

    def scalar(self, t: Elements, x: Any) -> Any:
        return t.clamp(x + t.full_like(x, 3), 0, 6) / t.full_like(x, 6)


class HardTanh(Activation, name="hard_tanh"):
    """x within [min_val, max_val]: [*s] -> [*s]."""

    min_val: float = -1.0
    max_val: float = 1.0
    function = "hardtanh"
    accepts = "if"
    counts = Cost(compare=2)
    samples = (*_SAMPLES, case({"min_val": -0.5, "max_val": 2.0}, (2, 3)), case({}, ("i64", (3,))))

    def dtype(self, x: DType) -> DType:
        if x == "u8" and self.min_val < 0:
            raise ShapeError("hard_tanh of u8 has no negative bound", "dtype", (("x", None),), "min_val")
        return super().dtype(x)

    def scalar(self, t: Elements, x: Any) -> Any:
        return t.clamp(x, self.min_val, self.max_val)


class HardMish(Unary, name="hard_mish"):
    """0.5*x*min(max(x + 2, 0), 2): [*s] -> [*s], the piecewise quadratic mish of timm."""

    accepts = "bif"
    gives = "float"
    counts = Cost(add=1, compare=2, multiply=2)
    samples = _SAMPLES

    def torch(self, t: Lowering, x: Any) -> Any:
        x = as_float(t, x)
        return 0.5 * x * t.torch.clamp(x + 2, 0, 2)

    def scalar(self, t: Elements, x: Any) -> Any:
        return t.full_like(x, 0.5) * x * t.clamp(x + t.full_like(x, 2), 0, 2)


class LogSigmoid(Activation, name="log_sigmoid"):
    """log(sigmoid(x)): [*s] -> [*s]."""

    function = "logsigmoid"
    counts = Cost(transcendental=2, compare=2, add=2)

    def scalar(self, t: Elements, x: Any) -> Any:
        return t.neg(t.softplus(t.neg(x)))


class Softplus(Activation, name="softplus"):
    """log(1 + e^(beta*x))/beta, but x where beta*x > threshold: [*s] -> [*s] (Dugas et al. 2000)."""

    beta: float = 1.0
    threshold: float = 20.0
    samples = (*_SAMPLES, case({"beta": 2.0, "threshold": 1.0}, (2, 3)))

    def cost(self, out: Shape, x: Shape) -> Cost:
        scale = Cost(multiply=1, divide=1) if self.beta != 1 else Cost()
        return (Cost(transcendental=2, compare=1) + scale).scaled(prod(out))

    def scalar(self, t: Elements, x: Any) -> Any:
        beta = t.full_like(x, self.beta)
        scaled = t.let(x * beta)
        return t.select(scaled > t.full_like(x, self.threshold), x, t.softplus(scaled) / beta)


class Softsign(Unary, name="softsign"):
    """x/(1 + |x|): [*s] -> [*s]."""

    gives = "float"
    counts = Cost(compare=1, add=1, divide=1)
    counts_complex = Cost(multiply=2, add=2, divide=2, transcendental=1)
    samples = (*_SAMPLES, case({}, ("complex", (3,))))

    def torch(self, t: Lowering, x: Any) -> Any:
        return t.F.softsign(as_float(t, x))

    def scalar(self, t: Elements, x: Any) -> Any:
        return x / (t.full_like(x, 1) + t.abs(x))

    def numpy(self, np: Any, x: Any) -> Any:
        return x / (1 + np.abs(x))


class Softshrink(Activation, name="softshrink"):
    """x moved toward 0 by lambd: [*s] -> [*s]."""

    lambd: float = 0.5
    counts = Cost(compare=2, add=1)
    samples = (*_SAMPLES, case({"lambd": 0.1}, (2, 3)))

    def scalar(self, t: Elements, x: Any) -> Any:
        bound = t.full_like(x, self.lambd)
        inside = t.select(t.isnan(x), x, t.full_like(x, 0))
        return t.select(x > bound, x - bound, t.select(x < t.neg(bound), x + bound, inside))


class Hardshrink(Activation, name="hardshrink"):
    """x, and 0 within [-lambd, lambd]: [*s] -> [*s]."""

    lambd: float = 0.5
    counts = Cost(compare=2)
    samples = (*_SAMPLES, case({"lambd": 0.1}, (2, 3)))

    def scalar(self, t: Elements, x: Any) -> Any:
        return t.select(t.abs(x) <= t.full_like(x, self.lambd), t.full_like(x, 0), x)


class Tanhshrink(Unary, name="tanhshrink"):
    """x - tanh(x): [*s] -> [*s]."""

    gives = "float"
    counts = Cost(transcendental=1, add=1)
    counts_complex = Cost(multiply=2, add=3, divide=2, transcendental=4)
    samples = (*_SAMPLES, case({}, ("complex", (3,))))

    def torch(self, t: Lowering, x: Any) -> Any:
        return t.F.tanhshrink(as_float(t, x))

    def scalar(self, t: Elements, x: Any) -> Any:
        return x - t.tanh(x)

    def numpy(self, np: Any, x: Any) -> Any:
        return x - np.tanh(x)


class Threshold(Activation, name="threshold"):
    """x where it exceeds the threshold, else the value: [*s] -> [*s]."""

    threshold: float
    value: float
    accepts = "if"
    counts = Cost(compare=1)
    samples = (
        case({"threshold": 0.1, "value": -2.0}, (2, 3)),
        case({"threshold": 1, "value": 0}, ("i64", (3,))),
    )

    def dtype(self, x: DType) -> DType:
        for argument in ("threshold", "value"):
            need_element(getattr(self, argument), x, argument)
        return super().dtype(x)

    def torch(self, t: Lowering, x: Any) -> Any:
        return t.F.threshold(x, self.threshold, self.value)

    def scalar(self, t: Elements, x: Any) -> Any:
        return t.select(x <= t.full_like(x, self.threshold), t.full_like(x, self.value), x)


class Glu(Op, name="glu"):
    """Half of an axis times the logistic function of the rest: [*s, 2*h] -> [*s, h] (arXiv:1612.08083)."""

    axis: int = -1
    role = "window"
    samples = (case({}, (2, 6)), case({"axis": 1}, (2, 4, 3, 3)))

    def shape(self, x: Shape) -> Shape:
        need_rank(x, 1, None, "glu")
        axis = axis_of(self.axis, len(x))
        need_divisible(x[axis], 2, "the size that glu halves", ("x", axis))
        return (*x[:axis], x[axis] // 2, *x[axis + 1 :])

    def dtype(self, x: DType) -> DType:
        need_float(x, "glu")
        return x

    def cost(self, out: Shape, x: Shape) -> Cost:
        return Cost(transcendental=1, multiply=1).scaled(prod(out))

    def torch(self, t: Lowering, x: Any) -> Any:
        return t.F.glu(x, dim=self.axis)

    def te(self, t: Elements, x: Any) -> Any:
        axis = self.axis % x.rank
        half = t.shape()[axis]

        def element(*i: Any) -> Any:
            gate = t.cast(x[*i[:axis], i[axis] + half, *i[axis + 1 :]], wide(x.dtype))
            return t.cast(x[i], wide(x.dtype)) * t.sigmoid(gate)

        return t.compute(t.shape(), element)
