"""Functions of numbers, by their names in torch, as expressions.

Those of float32 that networks call most are arithmetic of float32, so that loops over them run in vectors:
`exp`, `expm1`, `exp2`, the logarithms, `tanh`, `sigmoid`, `silu`, `erf`, `gelu`, `softplus`. They err by at
most 4 units in the last place, `gelu` by 5, and are exact at 0, -0, infinities and NaN. Float64 and the
functions that are called less take the C library's. Polynomials are our own minimax fits, whose errors stand
beside them.
"""

from __future__ import annotations

from math import inf, nan, sqrt

from tvm import tirx

from ..loops import Expr, type_of
from .exponentials import Exponentials
from .floats import bits, f32, horner, i32, libm, like, pairwise, power_of_two, signed

_ERF = (-6.09037209618e-4, 5.01196566702e-3, -0.0267789111924, 0.112821408847, -0.37612523285, 1.1283791538)
"""erf(x) / x for |x| <= 0.9, of x^2; right to 1.2e-8."""
_TAIL = (
    (0.00595974756879, 0.0586627954158, 0.26398757456, 0.630350661127, 0.717473780636),
    (0.0149387115423, 0.147054598082, 0.676450751699, 1.72990472886, 2.40562446014, 1.43494755223),
)
"""e^(t^2/2) P(Z > t) of a normal variable Z for 0 <= t <= 15; right to 6.3e-9. Scaled so that rounding the
coefficients to float32 does least harm."""


class Functions(Exponentials):
    """Scalar functions."""

    # The logistic function, the hyperbolic tangent, and what is made of them.

    def sigmoid(self, x: Expr) -> Expr:
        """1 / (1 + e^-x)."""
        x = self.let(x)
        small = self.let(self.exp(self.neg(self.abs(x))))
        return tirx.Select(x < like(0, x), small, like(1, x)) / (like(1, x) + small)

    def silu(self, x: Expr) -> Expr:
        """X sigmoid(x); NaN at -inf, as torch's."""
        x = self.let(x)
        if type_of(x) != "float32":
            return x * self.sigmoid(x)
        away = self.let(self.clamp(self.neg(tirx.abs(x)), -150.0))
        numerator = tirx.Select(x < f32(0), self.exp_of(away, away), x)
        value = numerator / (f32(1) + self.exp_of(away))
        # Torch's -inf / inf.
        return tirx.Select(x == f32(-inf), f32(nan), value)

    def tanh(self, x: Expr) -> Expr:
        """The hyperbolic tangent: with m = e^(2|x|) - 1, m / (m + 2)."""
        if type_of(x) != "float32":
            return libm("tanh", x)
        x = self.let(x)
        value, shifted = self.reduced(self.let(f32(2) * self.clamp(tirx.abs(x), None, 10.0)))
        scale = self.let(power_of_two(bits(shifted), 127))
        m = self.let(scale * value + (scale - f32(1)))
        return signed(m / (m + f32(2)), x)

    def softplus(self, x: Expr) -> Expr:
        """log(1 + e^x)."""
        x = self.let(x)
        return self.relu(x) + self.log1p(self.exp(self.neg(self.abs(x))))

    # The error function.

    def erf(self, x: Expr) -> Expr:
        """The error function."""
        if type_of(x) != "float32":
            return libm("erf", x)
        x = self.let(x)
        t = self.let(self.clamp(tirx.abs(x), None, 4.0))
        square = self.let(t * t)
        # 1 - 2 P(Z > sqrt(2) t); what is subtracted is small, so that its error hardly counts.
        far = f32(1) - self.exp_of(self.neg(square), f32(2) * self._tail(t * f32(sqrt(2))))
        return signed(tirx.Select(t < f32(0.9), t * horner(square, _ERF), far), x)

    def gelu(self, x: Expr) -> Expr:
        """X P(Z < x) of a normal variable Z: relu(x) - |x| P(Z > |x|); NaN at -inf, as torch's."""
        x = self.let(x)
        if type_of(x) != "float32":
            return x * like(0.5, x) * libm("erfc", x * like(-sqrt(0.5), x))
        t = self.let(self.clamp(tirx.abs(x), None, 15.0))
        # t^2 = high^2 + (t + high) (t - high), where high^2 is exact.
        high = self.let(tirx.reinterpret("float32", bits(t) & i32(-4096)))
        low = (t + high) * (t - high) * f32(-0.5)
        # relu(x), but that -inf * 0 is NaN.
        positive = x * tirx.Select(x < f32(0), f32(0), f32(1))
        return positive - self.exp_of(high * high * f32(-0.5), t * self._tail(t), low)

    def _tail(self, t: Expr) -> Expr:
        """e^(t^2/2) P(Z > t)."""
        t = self.let(t)
        square = self.let(t * t)
        return pairwise(t, square, _TAIL[0]) / pairwise(t, square, _TAIL[1])

    # The C library's.

    def sin(self, x: Expr) -> Expr:
        """The sine."""
        return libm("sin", x)

    def cos(self, x: Expr) -> Expr:
        """The cosine."""
        return libm("cos", x)

    def tan(self, x: Expr) -> Expr:
        """The tangent."""
        return libm("tan", x)

    def asin(self, x: Expr) -> Expr:
        """The inverse sine."""
        return libm("asin", x)

    def acos(self, x: Expr) -> Expr:
        """The inverse cosine."""
        return libm("acos", x)

    def atan(self, x: Expr) -> Expr:
        """The inverse tangent."""
        return libm("atan", x)

    def atan2(self, x: Expr, y: Expr) -> Expr:
        """The angle of the point (y, x), with x first."""
        return libm("atan2", x, y)

    def sinh(self, x: Expr) -> Expr:
        """The hyperbolic sine."""
        return libm("sinh", x)

    def cosh(self, x: Expr) -> Expr:
        """The hyperbolic cosine."""
        return libm("cosh", x)

    def asinh(self, x: Expr) -> Expr:
        """The inverse hyperbolic sine."""
        return libm("asinh", x)

    def acosh(self, x: Expr) -> Expr:
        """The inverse hyperbolic cosine."""
        return libm("acosh", x)

    def atanh(self, x: Expr) -> Expr:
        """The inverse hyperbolic tangent."""
        return libm("atanh", x)
