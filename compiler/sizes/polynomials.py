"""Integer polynomials over atoms: symbols, each with a range, and the integer functions of `algebra`.

The one place that imports sympy, for the division and the factors of polynomials in several atoms, when the
first is asked for: importing it takes longer than checking a network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from .expressions import ONE, Expr, Symbol, added, joined, multiplied, powers_of, raised
from .formula import LIMIT, Leaf, SizeTooLarge
from .limits import MAX_DEPTH, MAX_PARTS, MAX_TERMS, spend

Interval: TypeAlias = tuple[float, float]
"""Least and greatest value, both included; integers or an infinity."""

MAX_FACTOR_TERMS = 48
MAX_FACTOR_ATOMS = 8
"""What sums are factored for texts: the time that it takes grows fast with each."""

NAMES: dict[Expr, Leaf] = {}
RANGES: dict[Expr, Interval] = {}


def symbol(name: str, low: float, high: float = math.inf) -> Expr:
    """The integer symbol of that name within [low, high]; equal arguments give equal symbols."""
    label = name if (low, high) == (1, math.inf) else f"{name}:{low}:{high}"
    found = Symbol(label)
    if found not in RANGES:
        NAMES[found] = Leaf(name, int(low) if low > -math.inf else 0)
        RANGES[found] = (low, high)
    return found


def terms(e: Expr) -> tuple[dict[Expr, int], int]:
    """The coefficient of each monomial, and the constant."""
    parts: dict[Expr, int] = {}
    constant = 0
    args = e.terms()
    spend(len(args))
    for arg in args:
        coefficient, monomial = arg.split()
        if arg.is_Integer:
            constant += coefficient
        else:
            parts[monomial] = coefficient
    return parts, constant


def join(parts: Mapping[Expr, int], constant: int = 0) -> Expr:
    """The inverse of `terms`."""
    return joined(parts, constant)


@lru_cache(maxsize=1 << 16)
def powers(monomial: Expr) -> Mapping[Expr, int]:
    """The exponent of each atom of a monomial without coefficient."""
    return powers_of(monomial)


def from_powers(exponents: Mapping[Expr, int]) -> Expr:
    """The inverse of `powers`."""
    return multiplied([raised(base, n) for base, n in exponents.items()])


def add(*args: Expr) -> Expr:
    """The sum, canonical."""
    spend(len(args))
    return checked(added(args))


def mul(a: Expr, b: Expr) -> Expr:
    """The product, expanded."""
    left, right = a.terms(), b.terms()
    if len(left) * len(right) > MAX_TERMS:
        raise SizeTooLarge(
            f"a product of sizes has {len(left) * len(right)} terms; at most {MAX_TERMS} are allowed"
        )
    spend(len(left) * len(right))
    return checked(added([multiplied((x, y)) for x in left for y in right]))


def power(a: Expr, n: int) -> Expr:
    """`a ** n` for n >= 0, expanded."""
    result = ONE
    for _ in range(n):
        result = mul(result, a)
    return result


def checked(e: Expr) -> Expr:
    """The expression itself, unless it has too many terms or a number beyond the limit."""
    args = e.terms()
    if len(args) > MAX_TERMS:
        raise SizeTooLarge(f"a size formula has {len(args)} terms; at most {MAX_TERMS} are allowed")
    for arg in args:
        coefficient, monomial = arg.split()
        if abs(coefficient) > LIMIT:
            raise SizeTooLarge("a size exceeds 2**63")
        if any(n > 63 for n in powers(monomial).values()):
            raise SizeTooLarge("a power of a size exceeds 2**63")
    return e


@lru_cache(maxsize=1 << 16)
def symbols_in(e: Expr) -> frozenset[Expr]:
    """The symbols of the expression."""
    return frozenset({e}) if e.is_Symbol else frozenset[Expr]().union(*map(symbols_in, e.args))


@lru_cache(maxsize=1 << 16)
def extent(e: Expr) -> tuple[int, int]:
    """The number of nodes of the expression, shared ones counted each time, and its depth."""
    inner = [extent(arg) for arg in e.args]
    return 1 + sum(nodes for nodes, _ in inner), 1 + max((depth for _, depth in inner), default=0)


def check_extent(e: Expr) -> None:
    """Refuse an expression that is too large or nested too deeply to be walked or printed."""
    nodes, depth = extent(e)
    if nodes > MAX_PARTS or depth > MAX_DEPTH:
        raise SizeTooLarge(
            f"a size formula has {nodes} parts, {depth} deep; {MAX_PARTS} and {MAX_DEPTH} are allowed"
        )


def exact_quotient(a: Expr, b: Expr) -> Expr | None:
    """The polynomial q with `a == q * b`, where there is one with integer coefficients."""
    (pa, ca), (pb, cb) = terms(a), terms(b)
    if max(len(pa), len(pb)) > MAX_FACTOR_TERMS or not pb:
        return None
    atoms = sorted({atom for m in (*pa, *pb) for atom in powers(m)}, key=text)
    quotient, remainder = to_poly(pa, ca, atoms).div(to_poly(pb, cb, atoms), auto=False)
    return from_poly(quotient, atoms) if remainder.is_zero else None


def to_poly(parts: Mapping[Expr, int], constant: int, atoms: Sequence[Expr]) -> Any:
    """Sympy's dense or sparse polynomial, in place of whose generators stand the atoms."""
    import sympy as untyped  # pyright: ignore[reportMissingTypeStubs]  (sympy has no types)

    sympy: Any = untyped
    table = {tuple(powers(m).get(a, 0) for a in atoms): c for m, c in parts.items()}
    if constant or not table:
        table[(0,) * len(atoms)] = constant
    generators = [sympy.Symbol(f"g{i}") for i in range(len(atoms))]
    return sympy.Poly.from_dict(table, *generators, domain=sympy.ZZ)


def from_poly(poly: Any, atoms: Sequence[Expr]) -> Expr:
    """The inverse of `to_poly`."""
    products = poly.as_dict().items()
    return joined(
        {from_powers(dict(zip(atoms, exponents, strict=True))): int(c) for exponents, c in products}
    )


def content(parts: Mapping[Expr, int], constant: int) -> tuple[int, Mapping[Expr, int]]:
    """The greatest integer and the greatest monomial that divide every term."""
    common: Mapping[Expr, int] | None = {} if constant else None
    for monomial in parts:
        own = powers(monomial)
        common = own if common is None else {a: min(n, own[a]) for a, n in common.items() if a in own}
    return math.gcd(*parts.values(), constant), common or {}


@lru_cache(maxsize=1 << 16)
def order(monomial: Expr) -> tuple[int, bool, str]:
    """The place of a monomial in a sum: by falling degree, symbols before functions, then by name."""
    exponents = powers(monomial)
    return -sum(exponents.values()), any(atom.args for atom in exponents), text(monomial)


@lru_cache(maxsize=1 << 16)
def text(e: Expr) -> str:
    """A name of the expression to sort by."""
    if not e.args:
        return str(e)
    args = [text(arg) for arg in e.args]
    if e.is_Pow:
        return "**".join(args)
    if e.is_Add or e.is_Mul:
        return (" + " if e.is_Add else "*").join(sorted(args))
    return f"{type(e).__name__}({', '.join(args)})"
