"""The integer functions: `//`, min and max in canonical form, and the interval of an expression.

Division rounds down, as in Python. A remainder has no form of its own: `a % b` is
`a - b*(a // b)`, so that what is padded to a multiple, `H + (-H) % n`, is `n*((H + n - 1)//n)`; texts show
the remainder again (see `size_walks`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from .expressions import ONE, ZERO, Expr, Function, integer
from .formula import SizeTooLarge
from .limits import spend
from .polynomials import (
    RANGES,
    Interval,
    add,
    content,
    exact_quotient,
    from_powers,
    join,
    mul,
    order,
    power,
    powers,
    terms,
)

UNKNOWN: Interval = (-math.inf, math.inf)


class FloorDiv(Function):
    """`floor(a / b)`, in canonical form; see `floor_div`."""

    __slots__ = ()


class Least(Function):
    """The smallest of its arguments."""

    __slots__ = ()


class Greatest(Function):
    """The largest of its arguments."""

    __slots__ = ()


# --- intervals ---


@lru_cache(maxsize=1 << 16)
def bounds(e: Expr) -> Interval:
    """An interval that holds every value of the expression, from the ranges of its symbols."""
    if e.is_Integer:
        return int(e), int(e)
    if e.is_Symbol:
        return RANGES[e]
    if e.is_Add:
        intervals = [bounds(arg) for arg in e.args]
        low, high = sum(low for low, _ in intervals), sum(high for _, high in intervals)
        if e.has(FloorDiv):
            low, high = max(low, _relaxed_low(e)), min(high, -_relaxed_low(-e))
        return low, high
    if e.is_Mul:
        result: Interval = (1, 1)
        for arg in e.args:
            corners = [_times(x, y) for x in result for y in bounds(arg)]
            result = (min(corners), max(corners))
        return result
    if e.is_Pow:
        low, high = bounds(e.args[0])
        n = int(e.args[1])
        if low >= 0 or n % 2:
            return low**n, high**n
        return (high**n if high < 0 else 0), max(low**n, high**n)
    if isinstance(e, FloorDiv):
        return _floor_bounds(bounds(e.args[0]), bounds(e.args[1]))
    choose = min if isinstance(e, Least) else max
    intervals = [bounds(arg) for arg in e.args]
    return choose(low for low, _ in intervals), choose(high for _, high in intervals)


def _times(x: float, y: float) -> float:
    return 0 if x == 0 or y == 0 else x * y


def _floor_bounds(a: Interval, b: Interval) -> Interval:
    if b[0] < 1:
        return UNKNOWN
    low_divisor, high_divisor = (b[1], b[0]) if a[0] >= 0 else (b[0], b[1])
    low = a[0] if a[0] == -math.inf else 0 if low_divisor == math.inf else a[0] // low_divisor
    high_divisor = b[0] if a[1] >= 0 else b[1]
    high = a[1] if a[1] == math.inf else -1 if high_divisor == math.inf else a[1] // high_divisor
    return low, high


def _relaxed_low(e: Expr) -> float:
    try:
        relaxed, scale = relax(e)
    except SizeTooLarge:
        return -math.inf
    if relaxed == e:
        return -math.inf
    low = bounds(relaxed)[0]
    return low if low == -math.inf else -(-low // scale)


def relax(e: Expr) -> tuple[Expr, int]:
    """(n, K) with K*e >= n, where bounds replace floors by integers: x - (q-1) <= q*(x//q) <= x."""
    parts, constant = terms(e)
    pieces: list[tuple[Expr, int]] = [(integer(constant), 1)]
    for monomial, c in parts.items():
        pieces.append((c * monomial, 1))
        for atom, n in powers(monomial).items():
            if not (n == 1 and isinstance(atom, FloorDiv) and atom.args[1].is_Integer):
                continue
            cofactor, (x, q) = monomial / atom, atom.args
            if bounds(cofactor)[0] >= 0:
                pieces[-1] = (c * mul(cofactor, x - (q - 1) if c > 0 else x), int(q))
                break
    spend(4 * len(pieces))
    scale = math.lcm(*(q for _, q in pieces))
    return add(*(piece * (scale // q) for piece, q in pieces)), scale


# --- the integer functions ---


def floor_div(a: Expr, b: Expr) -> Expr:
    """`a // b` in canonical form.

    Multiples of the divisor leave the numerator, its constant lies in [0, b), its first coefficient is
    positive (`-x // k == -((x + k - 1) // k)`), common factors cancel, and `(x // a + n) // b` is `(x +
    a*n) // (a*b)`. So `(H - 1)//2 + 1`, `-(-H // 2)` and `(H + 1)//2` are one expression.
    """
    if b == ZERO:
        raise ZeroDivisionError("a size is divided by zero")
    if not b.is_Integer:
        return _floor_by_expression(a, b)
    return _floor_by_integer(-a, -int(b)) if int(b) < 0 else _floor_by_integer(a, int(b))


def _floor_by_integer(a: Expr, k: int) -> Expr:
    parts, constant = terms(a)
    whole = {m: q for m, c in parts.items() if (q := _toward_zero(c, k))}
    part = {m: r for m, c in parts.items() if (r := c - k * _toward_zero(c, k))}
    shift, constant = divmod(constant, k)
    outside = join(whole, shift)
    if not part:
        return outside
    divisor = math.gcd(k, *part.values())
    part, constant, k = {m: c // divisor for m, c in part.items()}, constant // divisor, k // divisor
    if part[min(part, key=order)] < 0:
        flipped = join({m: -c for m, c in part.items()}, k - 1 - constant)
        return outside - _floor_atom(flipped, k)
    return outside + _floor_atom(join(part, constant), k)


def _floor_atom(a: Expr, k: int) -> Expr:
    parts, constant = terms(a)
    inner = [m for m, c in parts.items() if c == 1 and isinstance(m, FloorDiv)]
    opaque = sum(1 for m in parts if m.has(FloorDiv))
    if len(inner) == 1 and opaque == 1 and bounds(inner[0].args[1])[0] >= 1:
        numerator, divisor = inner[0].args
        if divisor.is_Integer or (len(parts) == 1 and not constant):
            rest = join({m: c for m, c in parts.items() if m != inner[0]}, constant)
            return floor_div(numerator + mul(divisor, rest), divisor * k)
    low, high = _floor_bounds(bounds(a), (k, k))
    return integer(int(low)) if low == high else FloorDiv(a, integer(k))


def _toward_zero(c: int, k: int) -> int:
    return c // k if c >= 0 else -(-c // k)


def _cancel(a: Expr, b: Expr) -> tuple[Expr, Expr, Expr]:
    """Numerator and divisor without their common factor, and that factor (only atoms that cannot be zero)."""
    (pa, ca), (pb, cb) = terms(a), terms(b)
    (ga, xa), (gb, xb) = content(pa, ca), content(pb, cb)
    shared = {x: min(n, xb[x]) for x, n in xa.items() if x in xb and bounds(x)[0] >= 1}
    g, factor = math.gcd(ga, gb), from_powers(shared)

    def divided(parts: Mapping[Expr, int], constant: int) -> Expr:
        return join({m / factor: c // g for m, c in parts.items()}) + integer(constant // g) / factor

    return divided(pa, ca), divided(pb, cb), g * factor


def _positive_divisor(b: Expr) -> bool | None:
    """Whether the divisor is always positive (True), always negative (False), or of unknown sign (None)."""
    low, high = bounds(b)
    return True if low >= 1 else False if high <= -1 else None


def _reduce(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """`a == whole * b + rest`, with `whole` from the terms that b divides when it is one term."""
    if b.is_Add:
        return ZERO, a
    coefficient, monomial = b.split()
    own = powers(monomial)
    parts, _ = terms(a)
    multiples = {
        m: c
        for m, c in parts.items()
        if c % coefficient == 0 and all(powers(m).get(x, 0) >= n for x, n in own.items())
    }
    whole = join({m / monomial: c // coefficient for m, c in multiples.items() if m != monomial})
    whole += sum(c // coefficient for m, c in multiples.items() if m == monomial)
    return whole, a - join(multiples)


def _over_primitive(a: Expr, b: Expr) -> tuple[Expr, int, Expr] | None:
    """(q, c, p) with `a == q*p` and `b == c*p`, where the sum p holds no common integer."""
    if not b.is_Add:
        return None
    parts, constant = terms(b)
    c, _ = content(parts, constant)
    primitive = join({m: n // c for m, n in parts.items()}, constant // c)
    quotient = exact_quotient(a, primitive)
    return None if quotient is None else (quotient, c, primitive)


def _floor_by_expression(a: Expr, b: Expr) -> Expr:
    match _positive_divisor(b):
        case None:
            return FloorDiv(a, b)
        case False:
            return floor_div(-a, -b)
        case True:
            pass
    if a == ZERO:
        return ZERO
    a, b, _ = _cancel(a, b)
    if b.is_Integer:
        return floor_div(a, b)
    if split := _over_primitive(a, b):
        quotient, c, _ = split
        return _floor_by_integer(quotient, c)
    whole, a = _reduce(a, b)
    if whole != ZERO:
        return whole + floor_div(a, b)
    if isinstance(a, FloorDiv) and bounds(a.args[1])[0] >= 1:
        return floor_div(a.args[0], mul(a.args[1], b))
    if bounds(a)[0] >= 0 and bounds(b - a)[0] >= 1:
        return ZERO
    if bounds(a)[1] <= -1 and bounds(a + b)[0] >= 0:
        return -ONE
    return FloorDiv(a, b)


def modulo(a: Expr, b: Expr) -> Expr:
    """`a % b`, which is `a - b*(a // b)`."""
    return add(a, -mul(b, floor_div(a, b)))


def extremum(kind: Any, args: Iterable[Expr]) -> Expr:
    """The least or greatest of the arguments, flattened, without those that another always beats."""
    first, *others = sorted(args, key=lambda arg: isinstance(arg, kind), reverse=True)
    # Of the arguments of one that is there already none beats another.
    kept = list(first.args) if isinstance(first, kind) else [first]
    flat = {inner for arg in others for inner in (arg.args if isinstance(arg, kind) else (arg,))}
    for arg in sorted(flat.difference(kept), key=order):
        spend(15 * len(kept))
        if not any(_beats(kind, other, arg) for other in kept):
            kept = [other for other in kept if not _beats(kind, arg, other)] + [arg]
    return kept[0] if len(kept) == 1 else kind(*sorted(kept, key=order))


def _beats(kind: Any, a: Expr, b: Expr) -> bool:
    return bounds(b - a if kind is Least else a - b)[0] >= 0


def remade(e: Expr, args: Sequence[Expr]) -> Expr:
    """The function that an atom is, of other arguments."""
    return floor_div(*args) if isinstance(e, FloorDiv) else extremum(type(e), args)


BINARY: dict[str, Callable[[Expr, Expr], Expr]] = {
    "add": add,
    "sub": lambda a, b: add(a, -b),
    "mul": mul,
    "floordiv": floor_div,
    "mod": modulo,
    "pow": lambda a, n: power(a, int(n)),
    "min": lambda a, b: extremum(Least, (a, b)),
    "max": lambda a, b: extremum(Greatest, (a, b)),
}
"""The operations on canonical expressions, by name."""
