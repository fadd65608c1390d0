"""Numbers in kernels: bits of floats, polynomials, comparisons that know NaN, functions of the C library."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from .loops import CURRENT, Expr, type_of

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


def like(value: Any, x: Expr) -> Expr:
    """A number of the type of x."""
    if not isinstance(value, (int, float)):
        return value
    dtype = type_of(x)
    return tirx.const(float(value) if "float" in dtype else int(value), dtype)


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
