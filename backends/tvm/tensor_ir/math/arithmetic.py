"""Arithmetic, comparisons and logic of numbers, by their names in torch, as expressions."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from tvm import tirx

from ..loops import Expr, type_of
from .floats import differ, is_float, is_nan, libm, like, number_of, truth, wrapping


def _is_unsigned(x: Expr) -> bool:
    return type_of(x).startswith("uint")


class Arithmetic:
    """Functions that need no more than a few instructions, and powers."""

    let: Callable[[Expr], Expr]

    def full_like(self, x: Expr, value: float) -> Expr:
        """A number of the type of x."""
        return like(value, x)

    # Arithmetic.

    def add(self, x: Expr, y: Expr) -> Expr:
        """X + y; of booleans, or."""
        return tirx.Or(x, y) if type_of(x) == "bool" else wrapping(lambda a, b: a + b, x, y)

    def sub(self, x: Expr, y: Expr) -> Expr:
        """X - y."""
        return wrapping(lambda a, b: a - b, x, y)

    def mul(self, x: Expr, y: Expr) -> Expr:
        """X y; of booleans, and."""
        return tirx.And(x, y) if type_of(x) == "bool" else wrapping(lambda a, b: a * b, x, y)

    def div(self, x: Expr, y: Expr) -> Expr:
        """X / y of floats."""
        return x / y

    def neg(self, x: Expr) -> Expr:
        """-x; of an unsigned number modulo 2^bits."""
        kind = type_of(x)
        return tirx.const(0, kind) - x if kind.startswith("uint") else self.mul(x, like(-1, x))

    def abs(self, x: Expr) -> Expr:
        """|x|."""
        if type_of(x).startswith(("uint", "bool")):
            return x
        if is_float(x):
            return tirx.abs(x)
        x = self.let(x)
        return tirx.Select(x < like(0, x), self.neg(x), x)

    def sign(self, x: Expr) -> Expr:
        """-1, 0 or 1; 0 of NaN."""
        if type_of(x) == "bool":
            return x
        x, zero, one = self.let(x), like(0, x), like(1, x)
        positive = tirx.Select(x > zero, one, zero)
        return positive if type_of(x).startswith("uint") else tirx.Select(x < zero, like(-1, x), positive)

    def square(self, x: Expr) -> Expr:
        """x^2."""
        x = self.let(x)
        return self.mul(x, x)

    def reciprocal(self, x: Expr) -> Expr:
        """1 / x."""
        return like(1, x) / x

    def sqrt(self, x: Expr) -> Expr:
        """The square root."""
        return tirx.sqrt(x)

    def rsqrt(self, x: Expr) -> Expr:
        """1 / sqrt(x)."""
        return like(1, x) / tirx.sqrt(x)

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
        return function(x) if is_float(x) else x

    def floor_divide(self, x: Expr, y: Expr) -> Expr:
        """The quotient rounded down, as torch works it out of floats; 0 of integers where y is 0."""
        x, y = self.let(x), self.let(y)
        if not is_float(x):
            quotient = tirx.Select(y == like(0, y), like(0, x), tirx.floordiv(x, self._divisor(y)))
            return quotient if _is_unsigned(y) else tirx.Select(y == like(-1, y), self.neg(x), quotient)
        zero = like(0, x)
        rest = self.let(self._fmod(x, y))
        opposed = tirx.And(rest != zero, self.logical_xor(y < zero, rest < zero))
        quotient = self.let((x - rest) / y - tirx.Select(opposed, like(1, x), zero))
        down = self.let(self.floor(quotient))
        nearest = down + tirx.Select(quotient - down > like(0.5, x), like(1, x), zero)
        direct = self.let(x / y)
        none = tirx.Select(tirx.EQ(direct, zero), direct, tirx.Select(direct < zero, like(-0.0, x), zero))
        whole = tirx.Select(tirx.EQ(quotient, zero), none, nearest)
        return tirx.Select(y == zero, direct, whole)

    def remainder(self, x: Expr, y: Expr) -> Expr:
        """What the division rounded down leaves, with the sign of y; 0 of integers where y is 0."""
        x, y = self.let(x), self.let(y)
        zero = like(0, y)
        if not is_float(x):
            # Of 1 and -1 nothing is left either.
            return tirx.floormod(x, self._divisor(y))
        rest = self.let(self._fmod(x, y))
        opposed = tirx.And(rest != zero, self.logical_xor(y < zero, rest < zero))
        return tirx.Select(opposed, rest + y, rest)

    def _divisor(self, y: Expr) -> Expr:
        """A divisor of integers by which a processor divides all numbers: 1 in the place of 0 and -1."""
        unfit = y == like(0, y)
        if not _is_unsigned(y):
            unfit = tirx.Or(unfit, y == like(-1, y))
        return tirx.Select(unfit, like(1, y), y)

    def _fmod(self, x: Expr, y: Expr) -> Expr:
        return libm("fmod", x, y)

    def pow(self, x: Expr, y: Expr) -> Expr:
        """x^y of floats, or of integers where y is a number; a few such powers are arithmetic."""
        number: Any = y.value if isinstance(y, (tirx.IntImm, tirx.FloatImm)) else None
        if not is_float(x):
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
        return simple[number]() if number in simple else libm("pow", x, y)

    def _cube(self, x: Expr) -> Expr:
        x = self.let(x)
        return self.mul(self.mul(x, x), x)

    def _whole_power(self, x: Expr, exponent: int) -> Expr:
        """A power of integers, modulo 2^bits, whose exponent is a number and not negative."""
        result, square = like(1, x), self.let(x)
        while exponent:
            if exponent % 2:
                result = self.let(self.mul(result, square))
            square, exponent = self.let(self.mul(square, square)), exponent // 2
        return result

    # Comparisons and logic.

    def eq(self, x: Expr, y: Expr) -> Expr:
        """Whether equal."""
        return tirx.EQ(number_of(x), number_of(y))

    def ne(self, x: Expr, y: Expr) -> Expr:
        """Whether different."""
        return differ(x, y)

    def lt(self, x: Expr, y: Expr) -> Expr:
        """Whether less."""
        return number_of(x) < number_of(y)

    def le(self, x: Expr, y: Expr) -> Expr:
        """Whether less or equal."""
        return number_of(x) <= number_of(y)

    def gt(self, x: Expr, y: Expr) -> Expr:
        """Whether greater."""
        return number_of(x) > number_of(y)

    def ge(self, x: Expr, y: Expr) -> Expr:
        """Whether greater or equal."""
        return number_of(x) >= number_of(y)

    def logical_not(self, x: Expr) -> Expr:
        """Whether 0."""
        return tirx.Not(x) if type_of(x) == "bool" else tirx.EQ(x, like(0, x))

    def logical_and(self, x: Expr, y: Expr) -> Expr:
        """Whether neither is 0."""
        return tirx.And(truth(x), truth(y))

    def logical_or(self, x: Expr, y: Expr) -> Expr:
        """Whether one is not 0."""
        return tirx.Or(truth(x), truth(y))

    def logical_xor(self, x: Expr, y: Expr) -> Expr:
        """Whether just one is not 0."""
        x, y = truth(x), truth(y)
        return tirx.And(tirx.Or(x, y), tirx.Not(tirx.And(x, y)))

    def isnan(self, x: Expr) -> Expr:
        """Whether not a number."""
        x = self.let(x)
        return is_nan(x)

    def isinf(self, x: Expr) -> Expr:
        """Whether infinite."""
        return tirx.EQ(self.abs(x), like(inf, x)) if is_float(x) else tirx.const(False, "bool")

    def isfinite(self, x: Expr) -> Expr:
        """Whether neither infinite nor not a number."""
        return self.abs(x) < like(inf, x) if is_float(x) else tirx.const(True, "bool")

    def maximum(self, x: Expr, y: Expr) -> Expr:
        """The larger; a NaN wins."""
        if type_of(x) == "bool":
            return tirx.Or(x, y)
        x, y = self.let(x), self.let(y)
        if not is_float(x):
            return tirx.max(x, y)
        return tirx.Select(tirx.Or(x > y, is_nan(x)), x, y)

    def minimum(self, x: Expr, y: Expr) -> Expr:
        """The smaller; a NaN wins."""
        if type_of(x) == "bool":
            return tirx.And(x, y)
        x, y = self.let(x), self.let(y)
        if not is_float(x):
            return tirx.min(x, y)
        return tirx.Select(tirx.Or(x < y, is_nan(x)), x, y)

    def clamp(self, x: Expr, least: Expr | float | None = None, most: Expr | float | None = None) -> Expr:
        """X within bounds, of which the upper one wins; NaN stays."""
        if not is_float(x):
            # TVM's simplifier makes 0 - 1 of `x < 0`, which ends the process where x is unsigned.
            x = x if least is None else tirx.max(x, like(least, x))
            return x if most is None else tirx.min(x, like(most, x))
        if least is not None:
            x = self.let(x)
            low = like(least, x)
            x = tirx.Select(x < low, low, x)
        if most is not None:
            x = self.let(x)
            high = like(most, x)
            x = tirx.Select(x > high, high, x)
        return x

    def relu(self, x: Expr) -> Expr:
        """max(x, 0); NaN stays."""
        return self.clamp(x, 0)
