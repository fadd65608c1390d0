"""Sums and products in one form are what sympy makes of the same."""

from __future__ import annotations

from functools import reduce
from typing import Any

import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from planform.compiler.sizes.expressions import (
    ONE,
    ZERO,
    Expr,
    Integer,
    Symbol,
    multiplied,
    powers_of,
    raised,
)

NAMES = ("a", "b", "c", "d")
FORMULAS = st.recursive(
    st.sampled_from(NAMES) | st.integers(-4, 4),
    lambda inner: st.tuples(st.sampled_from("+-*n"), inner, inner),
    max_leaves=8,
)


def build(formula: Any, symbols: dict[str, Any], integer: Any) -> Any:
    """A formula over someone's symbols and integers."""
    if isinstance(formula, str):
        return symbols[formula]
    if isinstance(formula, int):
        return integer(formula)
    kind, left, right = formula
    left, right = build(left, symbols, integer), build(right, symbols, integer)
    return {
        "+": lambda: left + right,
        "-": lambda: left - right,
        "*": lambda: left * right,
        "n": lambda: -left,
    }[kind]()


def ours(formula: Any) -> Expr:
    return build(formula, {name: Symbol(name) for name in NAMES}, Integer)


def table(e: Expr) -> dict[tuple[int, ...], int]:
    """Coefficients by the powers of the symbols, as sympy's `Poly.as_dict` has them."""
    found = {}
    for term in e.terms():
        coefficient, monomial = term.split()
        powers = {str(atom): power for atom, power in powers_of(monomial).items()}
        if coefficient:
            found[tuple(powers.get(name, 0) for name in NAMES)] = coefficient
    return found


@given(FORMULAS)
@settings(max_examples=300, deadline=None)
def test_arithmetic_is_that_of_sympy(formula: Any) -> None:
    theirs = sympy.Poly(
        build(formula, {name: sympy.Symbol(name) for name in NAMES}, sympy.Integer), *map(sympy.Symbol, NAMES)
    )
    assert table(ours(formula)) == {powers: int(n) for powers, n in theirs.as_dict().items() if n}


@given(FORMULAS, FORMULAS)
@settings(max_examples=200, deadline=None)
def test_what_is_equal_has_one_form(left: Any, right: Any) -> None:
    a, b = ours(left), ours(right)
    assert (a == b) == (table(a) == table(b))
    assert a + b == b + a and hash(a + b) == hash(b + a) and (a + b).args == (b + a).args
    assert a * b == b * a and a - a == ZERO and (a - b) + b == a


@given(st.lists(st.sampled_from(NAMES), max_size=6), st.lists(st.sampled_from(NAMES), max_size=3))
@settings(max_examples=100, deadline=None)
def test_a_quotient_of_products_has_powers_of_both(above: list[str], below: list[str]) -> None:
    numerator, divisor = (reduce(lambda e, name: e * Symbol(name), names, ONE) for names in (above, below))
    wanted = {name: above.count(name) - below.count(name) for name in NAMES}
    quotient = numerator / divisor
    assert {str(a): n for a, n in powers_of(quotient).items()} == {a: n for a, n in wanted.items() if n}
    assert multiplied((quotient, divisor)) == numerator


def test_parts_are_seen() -> None:
    a, b = Symbol("a"), Symbol("b")
    e = 3 * a * a * b + 2
    assert (str(a), e.has(b), e.has(Integer), e.has(Symbol("c"))) == ("a", True, True, False)
    assert list(e.atoms(Symbol)) == [b, a]
    assert e.args == (Integer(2), 3 * a * a * b) and e.args[1].args == (Integer(3), b, raised(a, 2))
    assert (3 * a).split() == (3, a) and Integer(5).split() == (5, ONE)
