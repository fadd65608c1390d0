"""Walks over expressions: replacing atoms, values at a point, residue classes, and the plain tree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import product as cartesian

from .algebra import FloorDiv, Greatest, Least, remade
from .expressions import ONE, Expr, integer, raised
from .formula import Node, Tree, render_tree
from .limits import spend
from .polynomials import (
    MAX_FACTOR_ATOMS,
    MAX_FACTOR_TERMS,
    NAMES,
    RANGES,
    add,
    content,
    from_poly,
    from_powers,
    join,
    mul,
    order,
    power,
    powers,
    symbol,
    symbols_in,
    terms,
    text,
    to_poly,
)


def rewrite(e: Expr, mapping: Mapping[Expr, Expr]) -> Expr:
    """Replace atoms, keeping canonical form."""
    return _rewritten(e, mapping, frozenset[Expr]().union(*map(symbols_in, mapping)))


def _rewritten(e: Expr, mapping: Mapping[Expr, Expr], touched: frozenset[Expr]) -> Expr:
    if e in mapping:
        return mapping[e]
    if not e.args or touched.isdisjoint(symbols_in(e)):
        return e
    spend(1)
    args = [_rewritten(arg, mapping, touched) for arg in e.args]
    if e.is_Add:
        return add(*args)
    if e.is_Mul:
        result = ONE
        for arg in args:
            result = mul(result, arg)
        return result
    if e.is_Pow:
        return power(args[0], int(args[1]))
    return remade(e, args)


def value_at(e: Expr, point: Mapping[Expr, int]) -> int:
    """The integer value at a point that gives every symbol."""
    if e.is_Integer:
        return int(e)
    if e.is_Symbol:
        return point[e]
    args = [value_at(arg, point) for arg in e.args]
    if e.is_Add:
        return sum(args)
    if e.is_Mul:
        return math.prod(args)
    if e.is_Pow:
        return args[0] ** args[1]
    if isinstance(e, FloorDiv):
        return args[0] // args[1]
    return min(args) if isinstance(e, Least) else max(args)


def residues(e: Expr, limit: int) -> list[Expr] | None:
    """The expression in each residue class that clears its floors; None above `limit` classes."""
    moduli: dict[Expr, int] = {}
    for atom in e.atoms(FloorDiv):
        if not atom.args[1].is_Integer:
            return None
        for s in sorted(symbols_in(atom.args[0]), key=str):
            moduli[s] = math.lcm(moduli.get(s, 1), int(atom.args[1]))
    if not moduli or math.prod(moduli.values()) > limit:
        return None
    cases: list[Expr] = []
    for choice in cartesian(*(range(m) for m in moduli.values())):
        mapping: dict[Expr, Expr] = {}
        for (s, m), r in zip(moduli.items(), choice, strict=True):
            low, high = RANGES[s]
            low = low if low == -math.inf else -((r - low) // m)
            high = high if high == math.inf else (high - r) // m
            mapping[s] = m * symbol(f"{s}'", low, high) + r
            if low > high:
                break
        else:
            cases.append(rewrite(e, mapping))
    return cases


_KINDS: Mapping[type[Expr], str] = {FloorDiv: "floordiv", Least: "min", Greatest: "max"}


@lru_cache(maxsize=1 << 14)
def to_tree(e: Expr) -> Tree:
    """The expression as plain data, each sum in the shortest of its expanded and factored forms."""
    if e.is_Integer:
        return int(e)
    if e.is_Symbol:
        return NAMES[e]
    if e.is_Add:
        return _sum_tree(e)
    if e.is_Mul:
        coefficient, monomial = e.split()
        return _product_tree(coefficient, [to_tree(f) for f in monomial.factors()])
    if e.is_Pow:
        return Node("pow", (to_tree(e.args[0]), int(e.args[1])))
    return Node(_KINDS[type(e)], tuple(to_tree(arg) for arg in e.args))


def _product_tree(coefficient: int, factors: Sequence[Tree]) -> Tree:
    ordered = sorted(
        factors, key=lambda f: (isinstance(f, Node) and f.kind == "add", render_tree(f).strip("("))
    )
    args = (*([coefficient] if coefficient != 1 else []), *ordered)
    return args[0] if len(args) == 1 else Node("mul", args)


def _sum_tree(e: Expr) -> Tree:
    parts, constant = terms(e)
    candidates = [_expanded_tree(parts, constant), *_remainder_trees(e)]
    divisor, common = content(parts, constant)
    if len(parts) <= MAX_FACTOR_TERMS:
        if divisor > 1 or common:
            inside = {m / from_powers(common): c // divisor for m, c in parts.items()}
            rest = _expanded_tree(*terms(join(inside, constant // divisor)))
            candidates.append(_product_tree(divisor, [*_power_trees(common), rest]))
        atoms = {atom for m in parts for atom in powers(m)}
        if len(parts) > 2 and len(atoms) <= MAX_FACTOR_ATOMS and -8 <= min(order(m)[0] for m in parts) < -1:
            candidates.append(_factored_tree(parts, constant))
    return min(reversed(candidates), key=lambda tree: len(render_tree(tree)))


def _remainder_trees(e: Expr) -> list[Tree]:
    """The sum with remainders, where those make it shorter: `H - 4*(H//4)` is `H%4`."""
    found: list[Tree] = []
    while (taken := _take_remainder(e)) is not None:
        tree, e = taken
        found.append(tree)
    if not found:
        return []
    parts, constant = terms(e)
    if parts:
        rest = _expanded_tree(parts, constant)
        negative = all(c < 0 for c in parts.values()) and constant <= 0
        found = [*found, rest] if negative else [rest, *found]
    elif constant:
        found.append(constant)
    flat = [inner for tree in found for inner in _addends(tree)]
    return [flat[0] if len(flat) == 1 else Node("add", tuple(flat))]


def _addends(tree: Tree) -> tuple[Tree, ...]:
    return tree.args if isinstance(tree, Node) and tree.kind == "add" else (tree,)


def _take_remainder(e: Expr) -> tuple[Tree, Expr] | None:
    """One multiple of a remainder that the sum holds, and what else it holds."""
    parts, _ = terms(e)
    for monomial, c in parts.items():
        for atom, n in powers(monomial).items():
            if n != 1 or not isinstance(atom, FloorDiv):
                continue
            numerator, divisor = atom.args
            lead, first = next(
                iter(terms(divisor)[0].items()), (ONE, int(divisor) if divisor.is_Integer else 1)
            )
            if c % first:
                continue
            cofactor = monomial / atom / lead
            if any(n < 0 for n in powers(cofactor).values()):
                continue
            factor = -c // first
            rest = e - mul(factor * cofactor, numerator - mul(divisor, atom))
            if len(terms(rest)[0]) >= len(parts) - 1:
                continue
            if factor < 0 and divisor.is_Integer:  # (k - 1) - n%k is (-n - 1)%k
                k = int(divisor)
                constant = (-1 - terms(numerator)[1]) % k
                numerator = join({m: -c for m, c in terms(numerator)[0].items()}, constant)
                rest, factor = rest + mul(factor * cofactor, integer(k - 1)), -factor
            remainder = Node("mod", (to_tree(numerator), to_tree(divisor)))
            factors = [to_tree(f) for f in cofactor.factors() if f != ONE]
            return _product_tree(factor, [*factors, remainder]), rest
    return None


def _power_trees(exponents: Mapping[Expr, int]) -> list[Tree]:
    return [to_tree(raised(atom, n)) for atom, n in exponents.items()]


def _expanded_tree(parts: Mapping[Expr, int], constant: int) -> Tree:
    ordered = sorted(parts, key=order)
    ordered.sort(key=lambda m: parts[m] < 0)  # a sum opens with a positive term where it has one
    trees: list[Tree] = [to_tree(m * parts[m]) for m in ordered]
    if constant:
        trees.insert(0 if constant > 0 and all(c < 0 for c in parts.values()) else len(trees), constant)
    return trees[0] if len(trees) == 1 else Node("add", tuple(trees))


def _atoms(parts: Mapping[Expr, int]) -> set[Expr]:
    return {atom for monomial in parts for atom in powers(monomial)}


def _factored_tree(parts: Mapping[Expr, int], constant: int) -> Tree:
    atoms = sorted(_atoms(parts), key=text)
    coefficient, factors = to_poly(parts, constant, atoms).factor_list()
    trees: list[Tree] = []
    for factor, n in factors:
        base = _expanded_tree(*terms(from_poly(factor, atoms)))
        trees.append(base if n == 1 else Node("pow", (base, int(n))))
    return _product_tree(int(coefficient), trees)
