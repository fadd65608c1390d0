"""Functions of each element, named as in torch."""

from __future__ import annotations

from math import log
from typing import Any

from ..dtypes import I64, DType, is_bool
from .core.base import case
from .core.counts import Cost
from .pointwise import Unary

_ANY = (case({}, (2, 3)), case({}, ("i64", (3,))), case({}, ("complex", (2,))), case({}, ()))
_REAL = (case({}, (2, 3)), case({}, ("i64", (3,))), case({}, ()))


def logistic(np: Any, x: Any) -> Any:
    """1/(1 + e^-x) of complex numbers, in numpy."""
    return 1 / (1 + np.exp(-x))


class Neg(Unary, name="neg"):
    """-x; one add for each real number: [*s] -> [*s]."""

    counts = Cost(add=1)
    counts_complex = Cost(add=2)
    accepts = "ifc"
    samples = _ANY


class Abs(Unary, name="abs"):
    """|x|; of a complex number the modulus sqrt(re^2 + im^2): [*s] -> [*s]."""

    counts = Cost(compare=1)
    counts_complex = Cost(multiply=2, add=1, transcendental=1)
    accepts = "ifc"
    gives = "real"
    samples = _ANY


class Sign(Unary, name="sign"):
    """-1, 0 or 1: [*s] -> [*s]."""

    counts = Cost(compare=2)
    accepts = "bif"
    samples = _REAL


class Square(Unary, name="square"):
    """x^2: [*s] -> [*s]."""

    counts = Cost(multiply=1)
    counts_complex = Cost(multiply=4, add=2)
    samples = _ANY

    def dtype(self, x: DType) -> DType:
        return I64 if is_bool(x) else super().dtype(x)


class Reciprocal(Unary, name="reciprocal"):
    """1/x: [*s] -> [*s]."""

    counts = Cost(divide=1)
    counts_complex = Cost(multiply=2, add=2, divide=2)
    gives = "float"
    samples = _ANY


class Sqrt(Unary, name="sqrt"):
    """The square root: [*s] -> [*s]."""

    counts = Cost(transcendental=1)
    counts_complex = Cost(multiply=3, add=3, compare=1, transcendental=3)
    gives = "float"
    domain = (0.1, 4.0)
    samples = _ANY


class Rsqrt(Unary, name="rsqrt"):
    """1/sqrt(x): [*s] -> [*s]."""

    counts = Cost(transcendental=1)
    counts_complex = Cost(multiply=5, add=5, compare=1, divide=2, transcendental=3)
    gives = "float"
    domain = (0.1, 4.0)
    samples = _ANY

    def numpy(self, np: Any, x: Any) -> Any:
        return 1 / np.sqrt(x)


class Exp(Unary, name="exp"):
    """e^x: [*s] -> [*s]."""

    counts = Cost(transcendental=1)
    counts_complex = Cost(multiply=2, transcendental=3)
    gives = "float"
    samples = _ANY


class Exp2(Unary, name="exp2"):
    """2^x: [*s] -> [*s]."""

    counts = Cost(transcendental=1)
    counts_complex = Cost(multiply=4, transcendental=3)
    gives = "float"
    samples = _ANY

    def numpy(self, np: Any, x: Any) -> Any:
        return np.exp(x * log(2))


class Expm1(Unary, name="expm1"):
    """e^x - 1, exact near 0: [*s] -> [*s]."""

    counts = Cost(transcendental=1)
    counts_complex = Cost(multiply=2, add=1, transcendental=3)
    gives = "float"
    samples = _ANY


class Log(Unary, name="log"):
    """The natural logarithm: [*s] -> [*s]."""

    counts = Cost(transcendental=1)
    counts_complex = Cost(multiply=2, add=1, transcendental=3)
    gives = "float"
    domain = (0.1, 4.0)
    samples = _ANY


class Log1p(Unary, name="log1p"):
    """log(1 + x), exact near 0: [*s] -> [*s]."""

    counts = Cost(transcendental=1)
    counts_complex = Cost(multiply=2, add=2, transcendental=3)
    gives = "float"
    domain = (-0.9, 4.0)
    samples = _ANY


class Log2(Unary, name="log2"):
    """The logarithm to base 2: [*s] -> [*s]."""

    counts = Cost(transcendental=1)
    counts_complex = Cost(multiply=4, add=1, transcendental=3)
    gives = "float"
    domain = (0.1, 4.0)
    samples = _ANY


class Log10(Unary, name="log10"):
    """The logarithm to base 10: [*s] -> [*s]."""

    counts = Cost(transcendental=1)
    counts_complex = Cost(multiply=4, add=1, transcendental=3)
    gives = "float"
    domain = (0.1, 4.0)
    samples = _ANY


class Sin(Unary, name="sin"):
    """The sine: [*s] -> [*s]."""

    counts = Cost(transcendental=1)
    counts_complex = Cost(multiply=2, transcendental=4)
    gives = "float"
    samples = _ANY


class Cos(Unary, name="cos"):
    """The cosine: [*s] -> [*s]."""

    counts = Cost(transcendental=1)
    counts_complex = Cost(multiply=2, add=1, transcendental=4)
    gives = "float"
    samples = _ANY


class Tan(Unary, name="tan"):
    """The tangent: [*s] -> [*s]."""

    counts = Cost(transcendental=1)
    counts_complex = Cost(multiply=2, add=1, divide=2, transcendental=4)
    gives = "float"
    samples = _ANY


class Asin(Unary, name="asin"):
    """The inverse sine: [*s] -> [*s]."""

    counts = Cost(transcendental=1)
    counts_complex = Cost(multiply=9, add=10, compare=1, transcendental=6)
    gives = "float"
    domain = (-0.9, 0.9)
    samples = _ANY


class Acos(Unary, name="acos"):
    """The inverse cosine: [*s] -> [*s]."""

    counts = Cost(transcendental=1)
    counts_complex = Cost(multiply=9, add=12, compare=1, transcendental=6)
    gives = "float"
    domain = (-0.9, 0.9)
    samples = _ANY


class Atan(Unary, name="atan"):
    """The inverse tangent: [*s] -> [*s]."""

    counts = Cost(transcendental=1)
    counts_complex = Cost(multiply=10, add=6, divide=2, transcendental=3)
    gives = "float"
    samples = _ANY


class Sinh(Unary, name="sinh"):
    """The hyperbolic sine: [*s] -> [*s]."""

    counts = Cost(transcendental=1)
    counts_complex = Cost(multiply=2, transcendental=4)
    gives = "float"
    samples = _ANY


class Cosh(Unary, name="cosh"):
    """The hyperbolic cosine: [*s] -> [*s]."""

    counts = Cost(transcendental=1)
    counts_complex = Cost(multiply=2, transcendental=4)
    gives = "float"
    samples = _ANY


class Tanh(Unary, name="tanh"):
    """The hyperbolic tangent: [*s] -> [*s]."""

    counts = Cost(transcendental=1)
    counts_complex = Cost(multiply=2, add=1, divide=2, transcendental=4)
    gives = "float"
    samples = _ANY


class Asinh(Unary, name="asinh"):
    """The inverse hyperbolic sine: [*s] -> [*s]."""

    counts = Cost(transcendental=1)
    counts_complex = Cost(multiply=9, add=10, compare=1, transcendental=6)
    gives = "float"
    samples = _ANY


class Acosh(Unary, name="acosh"):
    """The inverse hyperbolic cosine: [*s] -> [*s]."""

    counts = Cost(transcendental=1)
    counts_complex = Cost(multiply=12, add=13, compare=2, transcendental=9)
    gives = "float"
    domain = (1.1, 4.0)
    samples = _ANY


class Atanh(Unary, name="atanh"):
    """The inverse hyperbolic tangent: [*s] -> [*s]."""

    counts = Cost(transcendental=1)
    counts_complex = Cost(multiply=10, add=6, divide=2, transcendental=3)
    gives = "float"
    domain = (-0.9, 0.9)
    samples = _ANY


class Erf(Unary, name="erf"):
    """The error function: [*s] -> [*s]."""

    counts = Cost(transcendental=1)
    accepts = "bif"
    gives = "float"
    samples = _REAL


class Sigmoid(Unary, name="sigmoid"):
    """The logistic function 1/(1 + e^-x): [*s] -> [*s]."""

    counts = Cost(transcendental=1)
    counts_complex = Cost(multiply=4, add=3, divide=2, transcendental=3)
    gives = "float"
    samples = _ANY

    def numpy(self, np: Any, x: Any) -> Any:
        return logistic(np, x)


class Floor(Unary, name="floor"):
    """Rounded down; one compare: [*s] -> [*s]."""

    counts = Cost(compare=1)
    accepts = "if"
    samples = _REAL


class Ceil(Unary, name="ceil"):
    """Rounded up; one compare: [*s] -> [*s]."""

    counts = Cost(compare=1)
    accepts = "if"
    samples = _REAL


class Trunc(Unary, name="trunc"):
    """Rounded toward zero; one compare: [*s] -> [*s]."""

    counts = Cost(compare=1)
    accepts = "if"
    samples = _REAL


class Round(Unary, name="round"):
    """Rounded to the nearest integer, halves to even; one compare: [*s] -> [*s]."""

    counts = Cost(compare=1)
    accepts = "if"
    samples = _REAL


class LogicalNot(Unary, name="logical_not"):
    """Whether zero: [*s] -> bool[*s]."""

    counts = Cost(compare=1)
    counts_complex = Cost(compare=2)
    gives = "bool"
    samples = _ANY


class IsNan(Unary, name="isnan"):
    """Whether not a number: [*s] -> bool[*s]."""

    counts = Cost(compare=1)
    counts_complex = Cost(compare=2)
    gives = "bool"
    samples = _ANY


class IsInf(Unary, name="isinf"):
    """Whether infinite: [*s] -> bool[*s]."""

    counts = Cost(compare=1)
    counts_complex = Cost(compare=2)
    gives = "bool"
    samples = _ANY


class IsFinite(Unary, name="isfinite"):
    """Whether neither infinite nor not a number: [*s] -> bool[*s]."""

    counts = Cost(compare=1)
    counts_complex = Cost(compare=2)
    gives = "bool"
    samples = _ANY
