"""Exponentials and logarithms of float32 in vectors; those of float64 are the C library's."""

from __future__ import annotations

from math import inf, log, nan

from tvm import tirx

from ..loops import Expr, type_of
from .arithmetic import Arithmetic
from .floats import MAGIC, MAGIC_BITS, as_is, bits, f32, horner, i32, libm, power_of_two, whole

_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440054690583e-4
"""ln 2 in two parts; the first has 9 bits, so that whole multiples of it are exact."""
_SQRT_HALF_BITS = 0x3F3504F3
_EXP = (0.00138824505632, 0.00836671517448, 0.0416672066331, 0.166665421722, 0.499999981202)
"""(e^r - 1 - r) / r^2 for |r| <= ln(2)/2; e^r - 1 is right to 1.4e-8."""
_LOG = (0.298730596799, 0.399774961833, 0.666667767115)
"""(2 atanh(s) / s - 2) / s^2 for |s| <= 3 - 2 sqrt(2), of s^2; the logarithm is right to 8e-10."""


class Exponentials(Arithmetic):
    """e^x, 2^x and their inverses."""

    def exp(self, x: Expr) -> Expr:
        """e^x."""
        return self.exp_of(x) if type_of(x) == "float32" else tirx.exp(x)

    def exp2(self, x: Expr) -> Expr:
        """2^x."""
        if type_of(x) != "float32":
            return libm("exp2", x)
        x = self.clamp(x, -151.0, 129.0)
        x = self.let(x)
        shifted = self.let(x + f32(MAGIC))
        r = self.let((x - whole(shifted)) * f32(log(2)))
        return self._scaled(f32(1) + self._expm1_near_0(r), shifted)

    def expm1(self, x: Expr) -> Expr:
        """e^x - 1, exact near 0."""
        if type_of(x) != "float32":
            return libm("expm1", x)
        x = self.let(x)
        # e^x - 1 = 2 (2^(n-1) (e^r - 1) + 2^(n-1) - 1/2), where 2^(n-1) does not overflow.
        value, shifted = self.reduced(self.let(self.clamp(x, -20.0, 89.0)))
        scale = self.let(power_of_two(bits(shifted), 126))
        return tirx.Select(x == f32(0), x, f32(2) * (scale * value + (scale - f32(0.5))))

    def exp_of(self, x: Expr, factor: Expr | None = None, low: Expr | None = None) -> Expr:
        """`factor` e^(x + low) of float32, with no loss where e^x alone would be too small."""
        value, shifted = self.reduced(self.let(self.clamp(x, -170.0, 89.0)), low)
        factor = self.let(f32(1) if factor is None else factor)
        return self._scaled(factor + factor * value, shifted)

    def reduced(self, x: Expr, low: Expr | None = None) -> tuple[Expr, Expr]:
        """e^r - 1, and n + `MAGIC`, where x + low = n ln 2 + r with a whole n and |r| <= ln(2)/2."""
        shifted = self.let(x * f32(1 / log(2)) + f32(MAGIC))
        n = self.let(whole(shifted))
        r = (x - n * f32(_LN2_HIGH)) - n * f32(_LN2_LOW)
        return self._expm1_near_0(self.let(r if low is None else r + low)), shifted

    def _expm1_near_0(self, r: Expr) -> Expr:
        return self.let(r + (r * r) * horner(r, _EXP))

    def _scaled(self, value: Expr, shifted: Expr) -> Expr:
        """2^n value, with the power in two factors, neither of which is out of range."""
        n = self.let(bits(shifted) - i32(MAGIC_BITS))
        half = self.let(n >> i32(1))
        return value * power_of_two(half) * power_of_two(n - half)

    def log(self, x: Expr) -> Expr:
        """The natural logarithm."""
        return self._log(x) if type_of(x) == "float32" else tirx.log(x)

    def log2(self, x: Expr) -> Expr:
        """The logarithm to base 2."""
        return self._log(x, 1 / log(2), 1.0, 0.0) if type_of(x) == "float32" else libm("log2", x)

    def log10(self, x: Expr) -> Expr:
        """The logarithm to base 10."""
        if type_of(x) != "float32":
            return libm("log10", x)
        # log10(2) in two parts, the first of 12 bits.
        return self._log(x, 1 / log(10), 0.301025390625, 4.605038981195e-6)

    def log1p(self, x: Expr) -> Expr:
        """log(1 + x), exact near 0."""
        if type_of(x) != "float32":
            return libm("log1p", x)
        x = self.let(x)
        total = self.let(as_is(f32(1) + x))
        # What the sum lost.
        back = self.let(as_is(total - f32(1)))
        lost = (f32(1) - as_is(total - back)) + (x - back)
        n, f = self._split(total)
        value = self._log_of(f, n, lost / total)
        value = tirx.Select(tirx.And(x > f32(-1), x < f32(inf)), value, self._log_outside(total))
        return tirx.Select(x == f32(0), x, value)

    def _log(self, x: Expr, scale: float = 1.0, high: float = _LN2_HIGH, low: float = _LN2_LOW) -> Expr:
        """`scale` log(m) + n (`high` + `low`) where x = 2^n m."""
        x = self.let(x)
        # Numbers without a leading 1 get one.
        small = self.let(x < f32(1.17549435e-38))
        n, f = self._split(tirx.Select(small, x * f32(2.0**23), x))
        n = self.let(n - tirx.Select(small, f32(23), f32(0)))
        if scale == 1:
            value = self._log_of(f, n)
        else:
            value = n * f32(high) + (self._log_of(f) * f32(scale) + n * f32(low))
        return tirx.Select(tirx.And(x > f32(0), x < f32(inf)), value, self._log_outside(x))

    def _split(self, x: Expr) -> tuple[Expr, Expr]:
        """The pair n, m - 1 where |x| = 2^n m with m in [sqrt(1/2), sqrt(2))."""
        over = self.let((bits(x) & i32(0x7FFFFFFF)) - i32(_SQRT_HALF_BITS))
        n = self.let((over >> i32(23)).astype("float32"))
        m = tirx.reinterpret("float32", (over & i32(0x7FFFFF)) + i32(_SQRT_HALF_BITS))
        return n, self.let(m - f32(1))

    def _log_of(self, f: Expr, n: Expr | None = None, low: Expr | None = None) -> Expr:
        """log(1 + f) + n ln 2 + low, the small terms first.

        With s = f/(2 + f), log(1 + f) = 2 atanh(s) = f - f^2/2 + s (f^2/2 + (2 atanh(s)/s - 2)).
        """
        s = self.let(f / (f32(2) + f))
        z = self.let(s * s)
        half = self.let(f * f * f32(0.5))
        rest = s * (half + z * horner(z, _LOG))
        if n is not None:
            rest = rest + n * f32(_LN2_LOW)
        if low is not None:
            rest = rest + low
        value = f - (half - rest)
        return value if n is None else n * f32(_LN2_HIGH) + value

    def _log_outside(self, x: Expr) -> Expr:
        """-inf at 0, NaN below, infinity and NaN as they are."""
        return tirx.Select(x == f32(0), f32(-inf), tirx.Select(x < f32(0), f32(nan), x))

    def logaddexp(self, x: Expr, y: Expr) -> Expr:
        """log(e^x + e^y)."""
        x, y = self.let(x), self.let(y)
        larger = self.let(self.maximum(x, y))
        apart = self.let(self.abs(x - y))
        value = larger + self.log1p(self.exp(self.neg(apart)))
        # Of equal infinities the difference is NaN.
        return tirx.Select(tirx.And(x == y, self.isinf(x)), x, value)
