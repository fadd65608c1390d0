"""Functions of one number, as expressions that vectorise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx

from .loops import Expr, type_of


class Functions:
    """Scalar functions. Those of float32 are arithmetic, so that loops over them run in vectors."""

    let: Callable[[Expr], Expr]

    def exp(self, x: Expr) -> Expr:
        """e^x."""
        x = self.let(x)
        if type_of(x) != "float32":
            return tirx.exp(x)
        # e^x = 2^n e^r with n = round(x log2 e) and |r| <= ln(2)/2; ln 2 in two parts keeps r exact.
        bounded = self.let(_clamp(x, -104.0, 89.0))
        n = self.let(tirx.floor(bounded * _f32(1.4426950408889634) + _f32(0.5)))
        r = self.let((bounded - n * _f32(0.693359375)) - n * _f32(-2.12194440e-4))
        value = horner(r, (1 / 720, 1 / 120, 1 / 24, 1 / 6, 0.5, 1.0, 1.0))
        # 2^n in two factors, neither of which over- or underflows.
        whole = self.let(_clamp_number(n, -160.0, 160.0).astype("int32"))
        half = self.let(whole >> 1)
        return self.let(value * _power_of_two(half)) * _power_of_two(whole - half)

    def add(self, x: Expr, y: Expr) -> Expr:
        """X + y; of booleans, or."""
        return tirx.Or(x, y) if type_of(x) == "bool" else x + y

    def sub(self, x: Expr, y: Expr) -> Expr:
        """X - y."""
        return x - y

    def mul(self, x: Expr, y: Expr) -> Expr:
        """X y; of booleans, and."""
        return tirx.And(x, y) if type_of(x) == "bool" else x * y

    def sigmoid(self, x: Expr) -> Expr:
        """1 / (1 + e^-x)."""
        one = tirx.const(1.0, type_of(x))
        return one / (one + self.exp(tirx.const(0.0, type_of(x)) - x))

    def maximum(self, x: Expr, y: Expr) -> Expr:
        """The larger; a NaN wins."""
        x, y = self.let(x), self.let(y)
        if "float" not in type_of(x):
            return tirx.max(x, y)
        return tirx.Select(tirx.Or(x > y, x != x), x, y)

    def minimum(self, x: Expr, y: Expr) -> Expr:
        """The smaller; a NaN wins."""
        x, y = self.let(x), self.let(y)
        if "float" not in type_of(x):
            return tirx.min(x, y)
        return tirx.Select(tirx.Or(x < y, x != x), x, y)

    def relu(self, x: Expr) -> Expr:
        """max(x, 0); NaN stays."""
        zero = tirx.const(0, type_of(x))
        x = self.let(x)
        return tirx.Select(x < zero, zero, x)


def horner(x: Expr, coefficients: tuple[float, ...]) -> Expr:
    """A polynomial, the highest power first."""
    value: Any = _f32(coefficients[0])
    for each in coefficients[1:]:
        value = value * x + _f32(each)
    return value


def _f32(value: float) -> Expr:
    return tirx.const(value, "float32")


def _clamp(x: Expr, least: float, most: float) -> Expr:
    """Between bounds; NaN stays."""
    low = tirx.Select(x < _f32(least), _f32(least), x)
    return tirx.Select(low > _f32(most), _f32(most), low)


def _clamp_number(x: Expr, least: float, most: float) -> Expr:
    """Between bounds; NaN becomes one of them, so that it can be converted to an integer."""
    low = tirx.Select(x > _f32(least), x, _f32(least))
    return tirx.Select(low < _f32(most), low, _f32(most))


def _power_of_two(n: Expr) -> Expr:
    return tirx.reinterpret("float32", (n + 127) << 23)
