"""Numbers in kernels: bits of floats, polynomials, comparisons that know NaN, functions of the C library."""

from __future__ import annotations

from collections.abc import Callable
from math import copysign
from typing import Any

import numpy as np
from tvm import tirx

from ..loops import CURRENT, Expr, type_of

MAGIC = 12582912.0
"""1.5 * 2^23: its sum with a number below 2^22 is rounded to a whole number, which the low bits hold."""
MAGIC_BITS = 0x4B400000


def horner(x: Expr, coefficients: tuple[float, ...]) -> Expr:
    """A polynomial of float32, the highest power first."""
    value: Any = f32(coefficients[0])
    for each in coefficients[1:]:
        value = value * x + f32(each)
    return value


def pairwise(x: Expr, square: Expr, coefficients: tuple[float, ...]) -> Expr:
    """The same in pairs of powers, which rounds less often in a row."""
    rest = coefficients[::-1]
    terms: list[Any] = [f32(c) for c in rest[::2]]
    for at, each in enumerate(rest[1::2]):
        terms[at] = terms[at] + f32(each) * x
    value = terms.pop()
    for term in reversed(terms):
        value = value * square + term
    return value


def libm(name: str, *arguments: Expr) -> Expr:
    """A function of the C library, of float32 or float64."""
    dtype = type_of(arguments[0])
    loops = CURRENT.get()
    if loops is not None:
        loops.one_by_one()
    return tirx.call_pure_extern(dtype, name + ("f" if dtype == "float32" else ""), *arguments)


def is_float(x: Expr) -> bool:
    """Whether the type is a float's."""
    return "float" in type_of(x)


def constant(value: float, dtype: str) -> Expr:
    """A number of a type of floats, rounded to it, in a form in which TVM leaves all arithmetic with it.

    It takes x * 0, x + 0 and 0 / x for one of their operands, whatever x is, and will not have x / 0.
    """
    rounded = _rounded(value, dtype)
    if float(rounded.value) != 0:
        return rounded
    # Calls are not worked out before LLVM does it.
    if copysign(1, value) < 0:
        return tirx.call_intrin(dtype, "tirx.nearbyint", tirx.const(-0.25, dtype))
    return tirx.call_intrin(dtype, "tirx.floor", tirx.const(0.5, dtype))


def _rounded(value: float, dtype: str) -> Expr:
    with np.errstate(over="ignore"):
        return tirx.const(float(np.array(value, dtype)), dtype)


def wrapping(function: Callable[..., Expr], *operands: Expr) -> Expr:
    """Arithmetic of integers modulo 2^bits: TVM and C take signed sums and products not to overflow.

    LLVM's code of unsigned ones is seen to in `codegen/wrapping.py`.
    """
    dtype = type_of(operands[0])
    if dtype not in ("int32", "int64"):
        return function(*operands)
    return function(*[_unsigned(each) for each in operands]).astype(dtype)


def _unsigned(x: Expr) -> Expr:
    """The bits of an integer as one without a sign; TVM converts no negative number."""
    dtype = f"u{type_of(x)}"
    if isinstance(x, tirx.IntImm) and int(x) < 0:
        return tirx.reinterpret(dtype, x)
    return x.astype(dtype)


def to_integer(x: Expr, dtype: str) -> Expr:
    """A float as an integer, toward zero, as torch converts on a processor.

    By way of 32 bits, for i64 and u8 of 64: what is out of their range, and NaN, is their least number, of
    which the low bits are kept.
    """
    way = "int64" if dtype in ("int64", "uint8") else "int32"
    end = 2.0 ** (int(way[3:]) - 1)
    kind = type_of(x)
    inside = tirx.And(x >= tirx.const(-end, kind), x < tirx.const(end, kind))
    whole: Any = tirx.Select(inside, x, tirx.const(-end, kind))
    return whole.astype(way).astype(dtype)


def like(value: Any, x: Expr) -> Expr:
    """A number of the type of x."""
    if not isinstance(value, (int, float)):
        return value
    dtype = type_of(x)
    return _rounded(value, dtype) if "float" in dtype else tirx.const(int(value), dtype)


def number_of(x: Expr) -> Expr:
    """A boolean as 0 or 1; others as they are."""
    return x.astype("int32") if type_of(x) == "bool" else x


def is_nan(x: Expr) -> Expr:
    """Whether not a number, by its bits: TVM takes x != x for false."""
    if not is_float(x):
        return tirx.const(False, "bool")
    width, fraction = {"float32": (32, 23), "float64": (64, 52)}[type_of(x)]
    integer = f"int{width}"
    magnitude = tirx.const(2 ** (width - 1) - 1, integer)
    infinity = tirx.const(2 ** (width - 1) - 2**fraction, integer)
    return (tirx.reinterpret(integer, x) & magnitude) > infinity


def truth(x: Expr) -> Expr:
    """Whether not 0."""
    return x if type_of(x) == "bool" else differ(x, like(0, x))


def differ(x: Expr, y: Expr) -> Expr:
    """Whether not equal: also where one is NaN, of which TVM's own comparison says no."""
    return tirx.Not(tirx.EQ(x, y)) if is_float(x) else tirx.NE(number_of(x), number_of(y))


def f32(value: float) -> Expr:
    """A float32."""
    return tirx.const(float(value), "float32")


def i32(value: int) -> Expr:
    """An int32."""
    return tirx.const(value, "int32")


def bits(x: Expr) -> Expr:
    """The bits of a float32 as an integer."""
    return tirx.reinterpret("int32", x)


def as_is(x: Expr) -> Expr:
    """A float32 that TVM does not simplify further: it takes (x + y) - y for x."""
    return tirx.reinterpret("float32", tirx.reinterpret("int32", x))


def whole(shifted: Expr) -> Expr:
    """The whole number n of n + `MAGIC`."""
    return as_is(shifted) - f32(MAGIC)


def power_of_two(n: Expr, bias: int = 127) -> Expr:
    """2^n of an integer n, of which bits above the exponent's do not count."""
    return tirx.reinterpret("float32", (n + i32(bias)) << i32(23))


def signed(magnitude: Expr, sign: Expr) -> Expr:
    """A float32 that is not negative, with the sign of another."""
    return tirx.reinterpret("float32", bits(magnitude) | (bits(sign) & i32(-(2**31))))
