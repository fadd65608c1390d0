"""Walks over expressions: replacing atoms, values at a point, residue classes, and the plain tree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product as cartesian

from .printers import Node, Tree, render_tree
from .size_algebra import FloorDiv, Greatest, Least, Mod, extremum, floor_div, modulo
from .size_polynomials import (
    MAX_FACTOR_TERMS,
    NAMES,
    ONE,
    RANGES,
    Expr,
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
    sympy,
    terms,
    to_poly,
)


def rewrite(e: Expr, mapping: Mapping[Expr, Expr], *, without_mod: bool = False) -> Expr:
    """Replace atoms, keeping canonical form; `without_mod` also turns `a % b` into `a - b*(a//b)`."""
    if e in mapping:
        return mapping[e]
    if not e.args:
        return e
    args = [rewrite(arg, mapping, without_mod=without_mod) for arg in e.args]
    if e.is_Add:
        return add(*args)
    if e.is_Mul:
        result = ONE
        for arg in args:
            result = mul(result, arg)
        return result
    if e.is_Pow:
        return power(args[0], int(args[1]))
    if isinstance(e, FloorDiv):
        return floor_div(*args)
    if isinstance(e, Mod):
        return args[0] - mul(args[1], floor_div(*args)) if without_mod else modulo(*args)
    return extremum(type(e), args)


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
    if isinstance(e, Mod):
        return args[0] % args[1]
    return min(args) if isinstance(e, Least) else max(args)


def residues(e: Expr, limit: int) -> list[Expr] | None:
    """The expression in each residue class that clears its floors; None above `limit` classes."""
    moduli: dict[Expr, int] = {}
    for atom in e.atoms(FloorDiv):
        if not atom.args[1].is_Integer:
            return None
        for s in atom.args[0].free_symbols:
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


def to_tree(e: Expr) -> Tree:
    """The expression as plain data, each sum in the shortest of its expanded and factored forms."""
    if e.is_Integer:
        return int(e)
    if e.is_Symbol:
        return NAMES[e]
    if e.is_Add:
        return _sum_tree(e)
    if e.is_Mul:
        coefficient, monomial = e.as_coeff_Mul()
        return _product_tree(int(coefficient), [to_tree(f) for f in sympy.Mul.make_args(monomial)])
    if e.is_Pow:
        return Node("pow", (to_tree(e.args[0]), int(e.args[1])))
    kind = {FloorDiv: "floordiv", Mod: "mod", Least: "min", Greatest: "max"}[type(e)]
    return Node(kind, tuple(to_tree(arg) for arg in e.args))


def _product_tree(coefficient: int, factors: Sequence[Tree]) -> Tree:
    ordered = sorted(
        factors, key=lambda f: (isinstance(f, Node) and f.kind == "add", render_tree(f).strip("("))
    )
    args = (*([coefficient] if coefficient != 1 else []), *ordered)
    return args[0] if len(args) == 1 else Node("mul", args)


def _sum_tree(e: Expr) -> Tree:
    parts, constant = terms(e)
    candidates = [_expanded_tree(parts, constant)]
    divisor, common = content(parts, constant)
    if len(parts) <= MAX_FACTOR_TERMS:
        if divisor > 1 or common:
            inside = {m / from_powers(common): c // divisor for m, c in parts.items()}
            rest = _expanded_tree(*terms(join(inside, constant // divisor)))
            candidates.append(_product_tree(divisor, [*_power_trees(common), rest]))
        if len(parts) > 2 and any(order(m)[0] < -1 for m in parts):
            candidates.append(_factored_tree(parts, constant))
    return min(reversed(candidates), key=lambda tree: len(render_tree(tree)))


def _power_trees(exponents: Mapping[Expr, int]) -> list[Tree]:
    return [to_tree(sympy.Pow(atom, n)) for atom, n in exponents.items()]


def _expanded_tree(parts: Mapping[Expr, int], constant: int) -> Tree:
    ordered = sorted(parts, key=order)
    ordered.sort(key=lambda m: parts[m] < 0)  # a sum opens with a positive term where it has one
    trees: list[Tree] = [to_tree(sympy.Mul(parts[m], m)) for m in ordered]
    if constant:
        trees.insert(0 if constant > 0 and all(c < 0 for c in parts.values()) else len(trees), constant)
    return trees[0] if len(trees) == 1 else Node("add", tuple(trees))


def _factored_tree(parts: Mapping[Expr, int], constant: int) -> Tree:
    atoms = sorted({atom for m in parts for atom in powers(m)}, key=str)
    coefficient, factors = to_poly(parts, constant, atoms).factor_list()
    trees: list[Tree] = []
    for factor, n in factors:
        base = _expanded_tree(*terms(from_poly(factor, atoms)))
        trees.append(base if n == 1 else Node("pow", (base, int(n))))
    return _product_tree(int(coefficient), trees)
