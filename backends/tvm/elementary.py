"""Functions of numbers, by their names in torch, as expressions.

Those of float32 that networks call most are arithmetic of float32, so that loops over them run in vectors:
`exp`, `expm1`, `exp2`, the logarithms, `tanh`, `sigmoid`, `silu`, `erf`, `gelu`, `softplus`. They err by at
most 4 units in the last place, `gelu` by 5, and are exact at 0, -0, infinities and NaN. Float16 and bfloat16
go through float32; float64 and the functions that are called less take the C library's. Polynomials are our
own minimax fits, whose errors stand beside them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from math import inf, log, nan, sqrt
from typing import Any

from tvm import tirx

from .loops import Expr, type_of

_HALVES = ("float16", "bfloat16")
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440054690583e-4
"""ln 2 in two parts; the first has 9 bits, so that whole multiples of it are exact."""
_MAGIC = 12582912.0
"""1.5 * 2^23: its sum with a number below 2^22 is rounded to a whole number, which the low bits hold."""
_MAGIC_BITS = 0x4B400000
_SQRT_HALF_BITS = 0x3F3504F3
_EXP = (0.00138824505632, 0.00836671517448, 0.0416672066331, 0.166665421722, 0.499999981202)
"""(e^r - 1 - r) / r^2 for |r| <= ln(2)/2; e^r - 1 is right to 1.4e-8."""
_LOG = (0.298730596799, 0.399774961833, 0.666667767115)
"""(2 atanh(s) / s - 2) / s^2 for |s| <= 3 - 2 sqrt(2), of s^2; the logarithm is right to 8e-10."""
_ERF = (-6.09037209618e-4, 5.01196566702e-3, -0.0267789111924, 0.112821408847, -0.37612523285, 1.1283791538)
"""erf(x) / x for |x| <= 0.9, of x^2; right to 1.2e-8."""
_TAIL = (
    (0.00595974756879, 0.0586627954158, 0.26398757456, 0.630350661127, 0.717473780636),
    (0.0149387115423, 0.147054598082, 0.676450751699, 1.72990472886, 2.40562446014, 1.43494755223),
)
"""e^(t^2/2) P(Z > t) of a normal variable Z for 0 <= t <= 15; right to 6.3e-9. Scaled so that rounding the
coefficients to float32 does least harm."""


def widened(function: Callable[..., Expr]) -> Callable[..., Expr]:
    """Of float16 and bfloat16, the function of float32, rounded."""

    @wraps(function)
    def of(self: Any, x: Expr, *others: Expr) -> Expr:
        dtype = type_of(x)
        if dtype not in _HALVES:
            return function(self, x, *others)
        return function(self, *(each.astype("float32") for each in (x, *others))).astype(dtype)

    return of


class Functions:
    """Scalar functions."""

    let: Callable[[Expr], Expr]

    def full_like(self, x: Expr, value: float) -> Expr:
        """A number of the type of x."""
        return _like(value, x)

    # Arithmetic.

    def add(self, x: Expr, y: Expr) -> Expr:
        """X + y; of booleans, or."""
        return tirx.Or(x, y) if type_of(x) == "bool" else x + y

    def sub(self, x: Expr, y: Expr) -> Expr:
        """X - y."""
        return x - y

    def mul(self, x: Expr, y: Expr) -> Expr:
        """X y; of booleans, and."""
        return tirx.And(x, y) if type_of(x) == "bool" else x * y

    def div(self, x: Expr, y: Expr) -> Expr:
        """X / y of floats."""
        return x / y

    def neg(self, x: Expr) -> Expr:
        """-x."""
        return x * tirx.const(-1, type_of(x))

    def abs(self, x: Expr) -> Expr:
        """|x|."""
        return x if type_of(x).startswith(("uint", "bool")) else tirx.abs(x)

    def sign(self, x: Expr) -> Expr:
        """-1, 0 or 1; 0 of NaN."""
        if type_of(x) == "bool":
            return x
        x, zero, one = self.let(x), _like(0, x), _like(1, x)
        positive = tirx.Select(x > zero, one, zero)
        return positive if type_of(x).startswith("uint") else tirx.Select(x < zero, _like(-1, x), positive)

    def square(self, x: Expr) -> Expr:
        """x^2."""
        x = self.let(x)
        return x * x

    def reciprocal(self, x: Expr) -> Expr:
        """1 / x."""
        return _like(1, x) / x

    @widened
    def sqrt(self, x: Expr) -> Expr:
        """The square root."""
        return tirx.sqrt(x)

    @widened
    def rsqrt(self, x: Expr) -> Expr:
        """1 / sqrt(x)."""
        return _like(1, x) / tirx.sqrt(x)

    def floor(self, x: Expr) -> Expr:
        """Rounded down."""
        return self._rounded(tirx.floor, x)

    def ceil(self, x: Expr) -> Expr:
        """Rounded up."""
        return self._rounded(tirx.ceil, x)

    def trunc(self, x: Expr) -> Expr:
        """Rounded toward 0."""
        return self._rounded(tirx.trunc, x)

    def round(self, x: Expr) -> Expr:
        """Rounded to the nearest whole number, halves to even."""
        return self._rounded(tirx.nearbyint, x)

    def _rounded(self, function: Callable[[Expr], Expr], x: Expr) -> Expr:
        if not _is_float(x):
            return x
        if type_of(x) in _HALVES:
            return function(x.astype("float32")).astype(type_of(x))
        return function(x)

    def floor_divide(self, x: Expr, y: Expr) -> Expr:
        """The quotient rounded down, as torch works it out of floats; 0 of integers where y is 0."""
        x, y = self.let(x), self.let(y)
        if not _is_float(x):
            zero = y == _like(0, y)
            return tirx.Select(zero, _like(0, x), tirx.floordiv(x, tirx.Select(zero, _like(1, y), y)))
        zero = _like(0, x)
        rest = self.let(self._fmod(x, y))
        opposed = tirx.And(rest != zero, self.logical_xor(y < zero, rest < zero))
        quotient = self.let((x - rest) / y - tirx.Select(opposed, _like(1, x), zero))
        down = self.let(self.floor(quotient))
        nearest = down + tirx.Select(quotient - down > _like(0.5, x), _like(1, x), zero)
        direct = self.let(x / y)
        none = tirx.Select(tirx.EQ(direct, zero), direct, tirx.Select(direct < zero, _like(-0.0, x), zero))
        whole = tirx.Select(tirx.EQ(quotient, zero), none, nearest)
        return tirx.Select(y == zero, direct, whole)

    def remainder(self, x: Expr, y: Expr) -> Expr:
        """What the division rounded down leaves, with the sign of y; 0 of integers where y is 0."""
        x, y = self.let(x), self.let(y)
        zero = _like(0, y)
        if not _is_float(x):
            return tirx.Select(
                y == zero, _like(0, x), tirx.floormod(x, tirx.Select(y == zero, _like(1, y), y))
            )
        rest = self.let(self._fmod(x, y))
        opposed = tirx.And(rest != zero, self.logical_xor(y < zero, rest < zero))
        return tirx.Select(opposed, rest + y, rest)

    @widened
    def _fmod(self, x: Expr, y: Expr) -> Expr:
        return _libm("fmod", x, y)

    @widened
    def pow(self, x: Expr, y: Expr) -> Expr:
        """x^y of floats, or of integers where y is a number; a few such powers are arithmetic."""
        number: Any = y.value if isinstance(y, (tirx.IntImm, tirx.FloatImm)) else None
        if not _is_float(x):
            return self._whole_power(x, number)
        simple = {
            0.5: lambda: tirx.sqrt(x),
            -0.5: lambda: self.rsqrt(x),
            -1.0: lambda: self.reciprocal(x),
            -2.0: lambda: self.reciprocal(self.square(x)),
            1.0: lambda: x,
            2.0: lambda: self.square(x),
            3.0: lambda: self._cube(x),
        }
        return simple[number]() if number in simple else _libm("pow", x, y)

    def _cube(self, x: Expr) -> Expr:
        x = self.let(x)
        return x * x * x

    def _whole_power(self, x: Expr, exponent: int) -> Expr:
        """A power of integers, modulo 2^bits, whose exponent is a number and not negative."""
        result, square = _like(1, x), self.let(x)
        while exponent:
            if exponent % 2:
                result = self.let(result * square)
            square, exponent = self.let(square * square), exponent // 2
        return result

    # Comparisons and logic.

    def eq(self, x: Expr, y: Expr) -> Expr:
        """Whether equal."""
        return tirx.EQ(_number(x), _number(y))

    def ne(self, x: Expr, y: Expr) -> Expr:
        """Whether different."""
        return _differ(x, y)

    def lt(self, x: Expr, y: Expr) -> Expr:
        """Whether less."""
        return _number(x) < _number(y)

    def le(self, x: Expr, y: Expr) -> Expr:
        """Whether less or equal."""
        return _number(x) <= _number(y)

    def gt(self, x: Expr, y: Expr) -> Expr:
        """Whether greater."""
        return _number(x) > _number(y)

    def ge(self, x: Expr, y: Expr) -> Expr:
        """Whether greater or equal."""
        return _number(x) >= _number(y)

    def logical_not(self, x: Expr) -> Expr:
        """Whether 0."""
        return tirx.Not(x) if type_of(x) == "bool" else tirx.EQ(x, _like(0, x))

    def logical_and(self, x: Expr, y: Expr) -> Expr:
        """Whether neither is 0."""
        return tirx.And(_truth(x), _truth(y))

    def logical_or(self, x: Expr, y: Expr) -> Expr:
        """Whether one is not 0."""
        return tirx.Or(_truth(x), _truth(y))

    def logical_xor(self, x: Expr, y: Expr) -> Expr:
        """Whether just one is not 0."""
        x, y = _truth(x), _truth(y)
        return tirx.And(tirx.Or(x, y), tirx.Not(tirx.And(x, y)))

    def isnan(self, x: Expr) -> Expr:
        """Whether not a number."""
        x = self.let(x)
        return _is_nan(x)

    def isinf(self, x: Expr) -> Expr:
        """Whether infinite."""
        return tirx.EQ(self.abs(x), _like(inf, x)) if _is_float(x) else tirx.const(False, "bool")

    def isfinite(self, x: Expr) -> Expr:
        """Whether neither infinite nor not a number."""
        return self.abs(x) < _like(inf, x) if _is_float(x) else tirx.const(True, "bool")

    def maximum(self, x: Expr, y: Expr) -> Expr:
        """The larger; a NaN wins."""
        if type_of(x) == "bool":
            return tirx.Or(x, y)
        x, y = self.let(x), self.let(y)
        if not _is_float(x):
            return tirx.max(x, y)
        return tirx.Select(tirx.Or(x > y, _is_nan(x)), x, y)

    def minimum(self, x: Expr, y: Expr) -> Expr:
        """The smaller; a NaN wins."""
        if type_of(x) == "bool":
            return tirx.And(x, y)
        x, y = self.let(x), self.let(y)
        if not _is_float(x):
            return tirx.min(x, y)
        return tirx.Select(tirx.Or(x < y, _is_nan(x)), x, y)

    def clamp(self, x: Expr, least: Expr | float | None = None, most: Expr | float | None = None) -> Expr:
        """X within bounds, of which the upper one wins; NaN stays."""
        if least is not None:
            x = self.let(x)
            low = _like(least, x)
            x = tirx.Select(x < low, low, x)
        if most is not None:
            x = self.let(x)
            high = _like(most, x)
            x = tirx.Select(x > high, high, x)
        return x

    def relu(self, x: Expr) -> Expr:
        """max(x, 0); NaN stays."""
        return self.clamp(x, 0)

    # Exponentials and logarithms.

    @widened
    def exp(self, x: Expr) -> Expr:
        """e^x."""
        return self._exp(x) if type_of(x) == "float32" else tirx.exp(x)

    @widened
    def exp2(self, x: Expr) -> Expr:
        """2^x."""
        if type_of(x) != "float32":
            return _libm("exp2", x)
        x = self.clamp(x, -151.0, 129.0)
        x = self.let(x)
        shifted = self.let(x + _f32(_MAGIC))
        r = self.let((x - _whole(shifted)) * _f32(log(2)))
        return self._scaled(_f32(1) + self._expm1_near_0(r), shifted)

    @widened
    def expm1(self, x: Expr) -> Expr:
        """e^x - 1, exact near 0."""
        if type_of(x) != "float32":
            return _libm("expm1", x)
        x = self.let(x)
        # e^x - 1 = 2 (2^(n-1) (e^r - 1) + 2^(n-1) - 1/2), where 2^(n-1) does not overflow.
        value, shifted = self._reduced(self.let(self.clamp(x, -20.0, 89.0)))
        scale = self.let(_power_of_two(_bits(shifted), 126))
        return tirx.Select(x == _f32(0), x, _f32(2) * (scale * value + (scale - _f32(0.5))))

    def _exp(self, x: Expr, factor: Expr | None = None, low: Expr | None = None) -> Expr:
        """`factor` e^(x + low) of float32, with no loss where e^x alone would be too small."""
        value, shifted = self._reduced(self.let(self.clamp(x, -170.0, 89.0)), low)
        factor = self.let(_f32(1) if factor is None else factor)
        return self._scaled(factor + factor * value, shifted)

    def _reduced(self, x: Expr, low: Expr | None = None) -> tuple[Expr, Expr]:
        """e^r - 1, and n + `_MAGIC`, where x + low = n ln 2 + r with a whole n and |r| <= ln(2)/2."""
        shifted = self.let(x * _f32(1 / log(2)) + _f32(_MAGIC))
        n = self.let(_whole(shifted))
        r = (x - n * _f32(_LN2_HIGH)) - n * _f32(_LN2_LOW)
        return self._expm1_near_0(self.let(r if low is None else r + low)), shifted

    def _expm1_near_0(self, r: Expr) -> Expr:
        return self.let(r + (r * r) * horner(r, _EXP))

    def _scaled(self, value: Expr, shifted: Expr) -> Expr:
        """2^n value, with the power in two factors, neither of which is out of range."""
        n = self.let(_bits(shifted) - _i32(_MAGIC_BITS))
        half = self.let(n >> _i32(1))
        return value * _power_of_two(half) * _power_of_two(n - half)

    @widened
    def log(self, x: Expr) -> Expr:
        """The natural logarithm."""
        return self._log(x) if type_of(x) == "float32" else tirx.log(x)

    @widened
    def log2(self, x: Expr) -> Expr:
        """The logarithm to base 2."""
        return self._log(x, 1 / log(2), 1.0, 0.0) if type_of(x) == "float32" else _libm("log2", x)

    @widened
    def log10(self, x: Expr) -> Expr:
        """The logarithm to base 10."""
        if type_of(x) != "float32":
            return _libm("log10", x)
        # log10(2) in two parts, the first of 12 bits.
        return self._log(x, 1 / log(10), 0.301025390625, 4.605038981195e-6)

    @widened
    def log1p(self, x: Expr) -> Expr:
        """log(1 + x), exact near 0."""
        if type_of(x) != "float32":
            return _libm("log1p", x)
        x = self.let(x)
        total = self.let(_as_is(_f32(1) + x))
        # What the sum lost.
        back = self.let(_as_is(total - _f32(1)))
        lost = (_f32(1) - _as_is(total - back)) + (x - back)
        n, f = self._split(total)
        value = self._log_of(f, n, lost / total)
        value = tirx.Select(tirx.And(x > _f32(-1), x < _f32(inf)), value, self._log_outside(total))
        return tirx.Select(x == _f32(0), x, value)

    def _log(self, x: Expr, scale: float = 1.0, high: float = _LN2_HIGH, low: float = _LN2_LOW) -> Expr:
        """`scale` log(m) + n (`high` + `low`) where x = 2^n m."""
        x = self.let(x)
        # Numbers without a leading 1 get one.
        small = self.let(x < _f32(1.17549435e-38))
        n, f = self._split(tirx.Select(small, x * _f32(2.0**23), x))
        n = self.let(n - tirx.Select(small, _f32(23), _f32(0)))
        if scale == 1:
            value = self._log_of(f, n)
        else:
            value = n * _f32(high) + (self._log_of(f) * _f32(scale) + n * _f32(low))
        return tirx.Select(tirx.And(x > _f32(0), x < _f32(inf)), value, self._log_outside(x))

    def _split(self, x: Expr) -> tuple[Expr, Expr]:
        """The pair n, m - 1 where |x| = 2^n m with m in [sqrt(1/2), sqrt(2))."""
        over = self.let((_bits(x) & _i32(0x7FFFFFFF)) - _i32(_SQRT_HALF_BITS))
        n = self.let((over >> _i32(23)).astype("float32"))
        m = tirx.reinterpret("float32", (over & _i32(0x7FFFFF)) + _i32(_SQRT_HALF_BITS))
        return n, self.let(m - _f32(1))

    def _log_of(self, f: Expr, n: Expr | None = None, low: Expr | None = None) -> Expr:
        """log(1 + f) + n ln 2 + low, the small terms first.

        With s = f/(2 + f), log(1 + f) = 2 atanh(s) = f - f^2/2 + s (f^2/2 + (2 atanh(s)/s - 2)).
        """
        s = self.let(f / (_f32(2) + f))
        z = self.let(s * s)
        half = self.let(f * f * _f32(0.5))
        rest = s * (half + z * horner(z, _LOG))
        if n is not None:
            rest = rest + n * _f32(_LN2_LOW)
        if low is not None:
            rest = rest + low
        value = f - (half - rest)
        return value if n is None else n * _f32(_LN2_HIGH) + value

    def _log_outside(self, x: Expr) -> Expr:
        """-inf at 0, NaN below, infinity and NaN as they are."""
        return tirx.Select(x == _f32(0), _f32(-inf), tirx.Select(x < _f32(0), _f32(nan), x))

    def logaddexp(self, x: Expr, y: Expr) -> Expr:
        """log(e^x + e^y)."""
        x, y = self.let(x), self.let(y)
        larger = self.let(self.maximum(x, y))
        apart = self.let(self.abs(x - y))
        value = larger + self.log1p(self.exp(self.neg(apart)))
        # Of equal infinities the difference is NaN.
        return tirx.Select(tirx.And(x == y, self.isinf(x)), x, value)

    # The logistic function, the hyperbolic tangent, and what is made of them.

    @widened
    def sigmoid(self, x: Expr) -> Expr:
        """1 / (1 + e^-x)."""
        x = self.let(x)
        small = self.let(self.exp(self.neg(self.abs(x))))
        return tirx.Select(x < _like(0, x), small, _like(1, x)) / (_like(1, x) + small)

    @widened
    def silu(self, x: Expr) -> Expr:
        """X sigmoid(x)."""
        x = self.let(x)
        if type_of(x) != "float32":
            return x * self.sigmoid(x)
        away = self.let(self.clamp(self.neg(tirx.abs(x)), -150.0))
        numerator = tirx.Select(x < _f32(0), self._exp(away, away), x)
        return numerator / (_f32(1) + self._exp(away))

    @widened
    def tanh(self, x: Expr) -> Expr:
        """The hyperbolic tangent: with m = e^(2|x|) - 1, m / (m + 2)."""
        if type_of(x) != "float32":
            return _libm("tanh", x)
        x = self.let(x)
        value, shifted = self._reduced(self.let(_f32(2) * self.clamp(tirx.abs(x), None, 10.0)))
        scale = self.let(_power_of_two(_bits(shifted), 127))
        m = self.let(scale * value + (scale - _f32(1)))
        return _signed(m / (m + _f32(2)), x)

    @widened
    def softplus(self, x: Expr) -> Expr:
        """log(1 + e^x)."""
        x = self.let(x)
        return self.relu(x) + self.log1p(self.exp(self.neg(self.abs(x))))

    # The error function.

    @widened
    def erf(self, x: Expr) -> Expr:
        """The error function."""
        if type_of(x) != "float32":
            return _libm("erf", x)
        x = self.let(x)
        t = self.let(self.clamp(tirx.abs(x), None, 4.0))
        square = self.let(t * t)
        # 1 - 2 P(Z > sqrt(2) t); what is subtracted is small, so that its error hardly counts.
        far = _f32(1) - self._exp(self.neg(square), _f32(2) * self._tail(t * _f32(sqrt(2))))
        return _signed(tirx.Select(t < _f32(0.9), t * horner(square, _ERF), far), x)

    @widened
    def gelu(self, x: Expr) -> Expr:
        """X P(Z < x) of a normal variable Z: relu(x) - |x| P(Z > |x|)."""
        x = self.let(x)
        if type_of(x) != "float32":
            return x * _like(0.5, x) * _libm("erfc", x * _like(-sqrt(0.5), x))
        t = self.let(self.clamp(tirx.abs(x), None, 15.0))
        # t^2 = high^2 + (t + high) (t - high), where high^2 is exact.
        high = self.let(tirx.reinterpret("float32", _bits(t) & _i32(-4096)))
        low = (t + high) * (t - high) * _f32(-0.5)
        return self.relu(x) - self._exp(high * high * _f32(-0.5), t * self._tail(t), low)

    def _tail(self, t: Expr) -> Expr:
        """e^(t^2/2) P(Z > t)."""
        t = self.let(t)
        square = self.let(t * t)
        return pairwise(t, square, _TAIL[0]) / pairwise(t, square, _TAIL[1])

    # The C library's.

    @widened
    def sin(self, x: Expr) -> Expr:
        """The sine."""
        return _libm("sin", x)

    @widened
    def cos(self, x: Expr) -> Expr:
        """The cosine."""
        return _libm("cos", x)

    @widened
    def tan(self, x: Expr) -> Expr:
        """The tangent."""
        return _libm("tan", x)

    @widened
    def asin(self, x: Expr) -> Expr:
        """The inverse sine."""
        return _libm("asin", x)

    @widened
    def acos(self, x: Expr) -> Expr:
        """The inverse cosine."""
        return _libm("acos", x)

    @widened
    def atan(self, x: Expr) -> Expr:
        """The inverse tangent."""
        return _libm("atan", x)

    @widened
    def atan2(self, x: Expr, y: Expr) -> Expr:
        """The angle of the point (y, x), with x first."""
        return _libm("atan2", x, y)

    @widened
    def sinh(self, x: Expr) -> Expr:
        """The hyperbolic sine."""
        return _libm("sinh", x)

    @widened
    def cosh(self, x: Expr) -> Expr:
        """The hyperbolic cosine."""
        return _libm("cosh", x)

    @widened
    def asinh(self, x: Expr) -> Expr:
        """The inverse hyperbolic sine."""
        return _libm("asinh", x)

    @widened
    def acosh(self, x: Expr) -> Expr:
        """The inverse hyperbolic cosine."""
        return _libm("acosh", x)

    @widened
    def atanh(self, x: Expr) -> Expr:
        """The inverse hyperbolic tangent."""
        return _libm("atanh", x)


def horner(x: Expr, coefficients: tuple[float, ...]) -> Expr:
    """A polynomial of float32, the highest power first."""
    value: Any = _f32(coefficients[0])
    for each in coefficients[1:]:
        value = value * x + _f32(each)
    return value


def pairwise(x: Expr, square: Expr, coefficients: tuple[float, ...]) -> Expr:
    """The same in pairs of powers, which rounds less often in a row."""
    rest = coefficients[::-1]
    terms: list[Any] = [_f32(c) for c in rest[::2]]
    for at, each in enumerate(rest[1::2]):
        terms[at] = terms[at] + _f32(each) * x
    value = terms.pop()
    for term in reversed(terms):
        value = value * square + term
    return value


def _libm(name: str, *arguments: Expr) -> Expr:
    dtype = type_of(arguments[0])
    return tirx.call_pure_extern(dtype, name + ("f" if dtype == "float32" else ""), *arguments)


def _is_float(x: Expr) -> bool:
    return "float" in type_of(x)


def _like(value: Any, x: Expr) -> Expr:
    """A number of the type of x."""
    if not isinstance(value, (int, float)):
        return value
    dtype = type_of(x)
    return tirx.const(float(value) if "float" in dtype else int(value), dtype)


def _number(x: Expr) -> Expr:
    return x.astype("int32") if type_of(x) == "bool" else x


def _is_nan(x: Expr) -> Expr:
    """Whether not a number, by its bits: TVM takes x != x for false."""
    if not _is_float(x):
        return tirx.const(False, "bool")
    dtype = type_of(x)
    bits, fraction = {
        "float16": (16, 10),
        "bfloat16": (16, 7),
        "float32": (32, 23),
        "float64": (64, 52),
    }[dtype]
    whole = f"int{bits}"
    magnitude = tirx.const(2 ** (bits - 1) - 1, whole)
    infinity = tirx.const(2 ** (bits - 1) - 2**fraction, whole)
    return (tirx.reinterpret(whole, x) & magnitude) > infinity


def _truth(x: Expr) -> Expr:
    return x if type_of(x) == "bool" else _differ(x, _like(0, x))


def _differ(x: Expr, y: Expr) -> Expr:
    """Whether not equal: also where one is NaN, of which TVM's own comparison says no."""
    return tirx.Not(tirx.EQ(x, y)) if _is_float(x) else tirx.NE(_number(x), _number(y))


def _f32(value: float) -> Expr:
    return tirx.const(float(value), "float32")


def _i32(value: int) -> Expr:
    return tirx.const(value, "int32")


def _bits(x: Expr) -> Expr:
    return tirx.reinterpret("int32", x)


def _as_is(x: Expr) -> Expr:
    """A float32 that TVM does not simplify further: it takes (x + y) - y for x."""
    return tirx.reinterpret("float32", tirx.reinterpret("int32", x))


def _whole(shifted: Expr) -> Expr:
    """The whole number n of n + `_MAGIC`."""
    return _as_is(shifted) - _f32(_MAGIC)


def _power_of_two(n: Expr, bias: int = 127) -> Expr:
    """2^n of an integer n, of which bits above the exponent's do not count."""
    return tirx.reinterpret("float32", (n + _i32(bias)) << _i32(23))


def _signed(magnitude: Expr, sign: Expr) -> Expr:
    """A float32 that is not negative, with the sign of another."""
    return tirx.reinterpret("float32", _bits(magnitude) | (_bits(sign) & _i32(-(2**31))))
