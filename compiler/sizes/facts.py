"""Facts about sizes in solved form.

Every fact becomes an equation: `a % k == 0` is `a == k*t` and `a >= b` is `a == b + t` for a fresh integer t
in a known range. An equation is solved for a symbol, which all else is then written without; what cannot be
solved stays as a hypothesis. Facts that cannot hold together are noticed where that shows in the process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from . import algebra as alg
from . import polynomials as poly
from .algebra import FloorDiv, Greatest, Least
from .expressions import ONE, ZERO, Expr, integer
from .limits import spend
from .walks import rewrite

MAX_TIGHTENED = 64
"""Ranges narrowed by one set of facts: `H > W` and `W > H` would narrow each other without end."""


class Facts:
    """What is known: `rules` give replaced atoms by those that are left; `zeros` and `nonnegative` are
    expressions with that value and sign, and in `multiples` the second divides the first. All but the rules'
    keys is written in what is left. `contradiction` says that no sizes satisfy the facts.
    """

    def __init__(self) -> None:
        self.rules: dict[Expr, Expr] = {}
        self.zeros: list[Expr] = []
        self.nonnegative: list[Expr] = []
        self.multiples: list[tuple[Expr, Expr]] = []
        self.contradiction = False
        self._fresh_count = 0
        self._tightened = 0

    def copy_from(self, other: Facts) -> None:
        """Start with the facts of another."""
        self.rules = dict(other.rules)
        self.zeros = list(other.zeros)
        self.nonnegative = list(other.nonnegative)
        self.multiples = list(other.multiples)
        self.contradiction = other.contradiction
        self._fresh_count = other._fresh_count
        self._tightened = other._tightened

    def normal(self, e: Expr) -> Expr:
        """The expression in the symbols that the facts leave free."""
        for _ in range(4):  # a rewritten numerator may make a floor that has a rule of its own
            written = rewrite(e, self.rules)
            if written == e:
                break
            e = written
        return e

    # --- facts ---

    def assume_equal(self, a: Expr, b: Expr) -> None:
        """Solve `a == b`."""
        self._solve(self.normal(a - b), frozenset())

    def assume_at_least(self, a: Expr, b: Expr) -> None:
        """Solve `a == b + t` for t >= 0."""
        self._order(self.normal(a - b))

    def assume_divisible(self, a: Expr, k: Expr) -> None:
        """Solve `a == k*t`, for t in the range that follows from those of a and k."""
        a, k = self.normal(a), self.normal(k)
        if k == ZERO:
            self.contradiction = True
            return
        if k.is_Integer:
            divisor = abs(int(k))
            k = integer(divisor)
            if divisor == 1 or self._congruence(a, divisor):
                return
        low = alg.bounds(alg.floor_div(a - 1, k) + 1)[0]  # rounded up, which is the same when it divides
        high = alg.bounds(alg.floor_div(a, k))[1]
        quotient = self._fresh(low, high)
        if not self._solve(a - poly.mul(k, quotient), frozenset({quotient}), record=False):
            self.multiples.append((a, k))

    def _congruence(self, a: Expr, k: int) -> bool:
        """Write the only symbol of a linear `a` as `k'*t + r`; False when `a` has another form."""
        parts, constant = poly.terms(a)
        if not parts:
            self.contradiction |= constant % k != 0
            return True
        if constant % math.gcd(k, *parts.values()):
            self.contradiction = True
            return True
        if len(parts) != 1:
            return False
        ((s, c),) = parts.items()
        if not s.is_Symbol:
            return False
        g = math.gcd(c, k)
        k //= g
        if k == 1:
            return True
        r = -pow(c // g, -1, k) * (constant // g) % k
        low, high = poly.RANGES[s]
        low = low if low == -math.inf else -((r - low) // k)
        high = high if high == math.inf else (high - r) // k
        if low > high:
            self.contradiction = True
            return True
        self._substitute(s, k * self._fresh(low, high) + r)
        return True

    # --- solving ---

    def _fresh(self, low: float, high: float) -> Expr:
        self._fresh_count += 1
        return poly.symbol(f"_{self._fresh_count}", low, high)

    def _order(self, e: Expr) -> None:
        """Use `e >= 0`; first divided by its content, so that 2*H >= 5 says H >= 3."""
        e = without_floors(e)
        parts, constant = poly.terms(primitive(e))
        for m, c in parts.items():
            # The least of several is at least so much when each is.
            if (isinstance(m, Least) and c == 1) or (isinstance(m, Greatest) and c == -1):
                rest = poly.join({x: n for x, n in parts.items() if x != m}, constant)
                for arg in m.args:
                    self._order(self.normal(rest + c * arg))
                return
        g = math.gcd(*parts.values()) or 1
        difference = poly.join({m: c // g for m, c in parts.items()}, constant // g)
        low, high = alg.bounds(difference)
        if high < 0:
            self.contradiction = True
        if low >= 0 or high < 0 or self._tighten(difference):
            return
        slack = self._fresh(0, high)
        if not self._solve(difference - slack, frozenset({slack}), record=False):
            self.nonnegative.append(difference)

    def _tighten(self, difference: Expr) -> bool:
        """Narrow the range of the only symbol of a linear expression that is not negative."""
        parts, constant = poly.terms(difference)
        if len(parts) != 1:
            return False
        ((s, c),) = parts.items()
        if not s.is_Symbol or self._tightened >= MAX_TIGHTENED:
            return False
        self._tightened += 1
        low, high = poly.RANGES[s]
        if c > 0:
            low = max(low, -(constant // c))
        else:
            high = min(high, constant // -c)
        if low > high:
            self.contradiction = True
        elif low == high:
            self._substitute(s, integer(int(low)))
        elif low > -math.inf:
            self._substitute(s, self._fresh(0, high - low) + int(low))
        else:
            self._substitute(s, self._fresh(low, high))
        return True

    def _solve(self, e: Expr, keep: frozenset[Expr], *, record: bool = True) -> bool:
        """Use `e == 0` to eliminate a symbol or another atom outside `keep`; False when it has none."""
        e = primitive(e)
        parts, constant = poly.terms(e)
        if not parts or constant % math.gcd(*parts.values()) or not alg.bounds(e)[0] <= 0 <= alg.bounds(e)[1]:
            self.contradiction |= bool(parts) or constant != 0
            return True
        options: list[tuple[int, bool, list[int], Expr, Expr]] = []
        for s, c in parts.items():
            if s.is_Symbol and abs(c) == 1 and s not in keep:
                spend(len(parts))
                value = -c * poly.join({m: c for m, c in parts.items() if m != s}, constant)
                if s not in poly.symbols_in(value):
                    name = str(s)
                    losses = len(_out_of_range(s, value))
                    options.append((losses, name.startswith("_"), [-ord(x) for x in name], s, value))
        if options:
            *_, s, value = min(options, key=lambda option: option[:3])
            self._replace(s, value)
            return True
        for atom, c in parts.items():
            spend(len(parts))
            if isinstance(atom, FloorDiv) and atom.args[1].is_Integer and self._remainder(e, atom, c):
                return True
            if not (isinstance(atom, FloorDiv) and abs(c) == 1):
                continue
            value = -c * poly.join({m: c for m, c in parts.items() if m != atom}, constant)
            numerator, divisor = atom.args
            if divisor.is_Integer:  # x // q == v says x == q*v + s for a remainder s
                remainder = self._fresh(0, int(divisor) - 1)
                equation = numerator - poly.mul(divisor, value) - remainder
                if self._solve(equation, keep | {remainder}, record=False):
                    return True
            if not value.has(atom):
                self._replace(atom, value)
                return True
        if record:
            self.zeros.append(e)
        return False

    def _remainder(self, e: Expr, floor: Expr, c: int) -> bool:
        """Solve `q*(x%k) + d == 0`, whose remainder is written by the floor; False for another equation."""
        x, k = floor.args[0], int(floor.args[1])
        if c % k:
            return False
        q = -c // k
        rest = e - q * (x - k * floor)
        if not rest.is_Integer:
            return False
        value, wrong = divmod(-int(rest), q)
        if wrong or not 0 <= value < k:
            self.contradiction = True
        else:
            self.assume_divisible(x - value, integer(k))
        return True

    def _replace(self, atom: Expr, value: Expr) -> None:
        """Add a rule, and keep what the range of the replaced atom said."""
        lost = _out_of_range(atom, value)
        self._substitute(atom, value)
        for hypothesis in lost:
            self._keep(without_floors(primitive(self.normal(hypothesis))))

    def _keep(self, hypothesis: Expr) -> None:
        """Record that an expression is not negative, without solving it for one of its symbols."""
        low, high = alg.bounds(hypothesis)
        self.contradiction |= high < 0
        if low < 0 <= high and not self._tighten(hypothesis):
            self.nonnegative.append(hypothesis)

    def _substitute(self, atom: Expr, value: Expr) -> None:
        """Write all that is known without the atom."""
        step = {atom: value}
        self.rules = {a: rewrite(v, step) for a, v in self.rules.items()} | step
        nonnegative, self.nonnegative = self.nonnegative, []
        for hypothesis in nonnegative:
            self._keep(self.normal(hypothesis))
        multiples = [(rewrite(a, step), rewrite(k, step)) for a, k in self.multiples]
        self.multiples = [(a, k) for a, k in multiples if k != ZERO and not (a.is_Integer and k.is_Integer)]
        self.contradiction |= any(
            k == ZERO or (a.is_Integer and k.is_Integer and int(a) % int(k)) for a, k in multiples
        )
        zeros, self.zeros = self.zeros, []
        for zero in zeros:
            self._solve(self.normal(zero), frozenset())


def primitive(e: Expr) -> Expr:
    """The expression without the common monomial of its terms, as far as that is always positive: it has
    the same zeros and the same sign.
    """
    parts, constant = poly.terms(e)
    if constant or not parts:
        return e
    _, common = poly.content(parts, constant)
    factor = poly.from_powers({x: n for x, n in common.items() if alg.bounds(x)[0] >= 1})
    return poly.add(*(c * (m / factor) for m, c in parts.items()))


def without_floors(e: Expr) -> Expr:
    """An expression that is negative exactly where this one is, with as few floors as possible.

    `x//q + v >= 0` is `x + q*v >= 0`, and `v - x//q >= 0` is `q*v + q - 1 - x >= 0`. Of the arguments of a
    min only those count that may be negative with what is added.
    """
    while True:
        parts, constant = poly.terms(e)
        for atom, c in parts.items():
            if (isinstance(atom, Least) and c == 1) or (isinstance(atom, Greatest) and c == -1):
                cases = [e - c * atom + c * arg for arg in atom.args]
                open_cases = [case for case in cases if alg.bounds(case)[0] < 0]
                if len(open_cases) == 1:
                    e = open_cases[0]
                    break
            if isinstance(atom, FloorDiv) and abs(c) == 1 and atom.args[1].is_Integer:
                x, q = atom.args[0], int(atom.args[1])
                rest = poly.join({m: n for m, n in parts.items() if m != atom}, constant)
                e = poly.add(c * x, poly.mul(integer(q), rest), integer(0 if c > 0 else q - 1))
                break
        else:
            return e


def _out_of_range(atom: Expr, value: Expr) -> list[Expr]:
    """What is not negative, beyond what is known of the value, because the atom has its range."""
    (low, high), (least, greatest) = alg.bounds(atom), alg.bounds(value)
    lost: list[Expr] = []
    if low > least:
        lost.append(value - integer(int(low)))
    if high < greatest:
        lost.append(integer(int(high)) - value)
    return lost


def cleared(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """The sides of `a >= b` without common terms and, where that is possible, without floors."""
    parts, constant = poly.terms(without_floors(primitive(a - b)))
    g = math.gcd(*parts.values()) or 1
    constant //= g
    left = poly.join({m: c // g for m, c in parts.items() if c > 0}, max(constant, 0))
    right = poly.join({m: -c // g for m, c in parts.items() if c < 0}, max(-constant, 0))
    return left, right


class Multiple(NamedTuple):
    """What a symbol is known to be: `factor*t + rest` for the symbol t, which has a range."""

    factor: int
    rest: int
    symbol: Expr


def known_multiple(s: Expr, value: Expr) -> Multiple | None:
    """The range and residue that a rule gives a symbol; None for a rule of another form."""
    parts, constant = poly.terms(value)
    if len(parts) != 1:
        return None
    ((t, factor),) = parts.items()
    if not (t.is_Symbol and factor > 0 and str(t).startswith("_")):
        return None
    return Multiple(factor, constant, poly.symbol(f"{s}'", *poly.RANGES[t]))


def written_back(e: Expr, known: Mapping[Expr, Multiple]) -> Expr:
    """The expression with the symbols of `known` by those that are multiples of them, where the numbers
    allow it without a division: `32*t` is H for `H == 32*t`, and `8*t` is `H//4`.
    """
    origin = {multiple.symbol: (s, multiple) for s, multiple in known.items()}
    if poly.symbols_in(e).isdisjoint(origin):
        return e
    parts, constant = poly.terms(e)
    pieces: list[Expr] = [integer(constant)]
    for monomial, c in parts.items():
        piece = ONE
        for atom, n in poly.powers(monomial).items():
            if atom in origin:
                s, (factor, rest, _) = origin[atom]
                for _ in range(n):
                    g = math.gcd(c, factor)
                    c //= g
                    piece = poly.mul(piece, alg.floor_div(s - rest, integer(factor // g)))
            elif atom.args:
                inner = alg.remade(atom, [written_back(arg, known) for arg in atom.args])
                piece = poly.mul(piece, poly.power(inner, n))
            else:
                piece = poly.mul(piece, poly.power(atom, n))
        pieces.append(poly.mul(integer(c), piece))
    return poly.add(*pieces)
