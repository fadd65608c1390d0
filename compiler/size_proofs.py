"""Three-valued proofs about canonical expressions, under assumptions.

Every fact becomes an equation: `a % k == 0` is `a == k*t` and `a >= b` is `a == b + t` for a fresh integer
t in a known range. An equation is solved for a symbol, which a proof then replaces; what cannot be solved
stays as a hypothesis. A question becomes one about the sign of a difference. A few sample points first show
what cannot be proved; then interval arithmetic, linear relaxation of floors and a bounded split into
residue classes try to prove the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextvars import ContextVar
from functools import lru_cache
from typing import TypeAlias

from . import size_algebra as alg
from . import size_polynomials as poly
from .printers import SizeTooLarge
from .size_algebra import FloorDiv, Greatest, Least
from .size_polynomials import Expr
from .size_walks import residues, rewrite, value_at

Fact: TypeAlias = tuple[str, Expr, Expr]

MAX_NODES = 300
MAX_CASES = 64
MAX_MEMO = 1 << 17
SAMPLES = 6
MAX_STEPS = 300
"""Bounds computed for one question before it is left undecided."""


class _GaveUp(Exception):
    """A question took too many steps."""


_steps_left = ContextVar("steps left", default=MAX_STEPS)


@lru_cache(maxsize=512)
def context(facts: tuple[Fact, ...]) -> Context:
    """The proof context of these facts: (kind, a, b), each understood under those before it."""
    made = Context()
    for kind, a, b in facts:
        try:
            getattr(made, f"assume_{kind}")(a, b)
        except SizeTooLarge:
            continue  # a fact too large to use proves nothing
    made.memo.clear()
    return made


class Context:
    """Facts in solved form, and the answers already found under them."""

    def __init__(self) -> None:
        self.rules: list[tuple[Expr, Expr]] = []
        self.zeros: list[Expr] = []
        self.nonnegative: list[Expr] = []
        self.multiples: list[tuple[Expr, Expr]] = []
        self.memo: dict[tuple[str, Expr, Expr], bool | None] = {}
        self.fresh_count = 0

    # --- facts ---

    def assume_equal(self, a: Expr, b: Expr) -> None:
        """Solve `a == b`."""
        self.solve(self.normal(a - b), keep=frozenset())

    def assume_at_least(self, a: Expr, b: Expr) -> None:
        """Solve `a == b + t` for t >= 0; first divided by its content, so that 2*H >= 5 says H >= 3."""
        parts, constant = poly.terms(self.normal(a - b))
        if not parts:
            return
        g = math.gcd(*parts.values())
        difference = poly.join({m: c // g for m, c in parts.items()}, constant // g)
        if alg.bounds(difference)[0] >= 0:
            return
        slack = self.fresh(0, alg.bounds(difference)[1])
        if not self.solve(difference - slack, keep=frozenset({slack}), record=False):
            self.nonnegative.append(difference)

    def assume_divisible(self, a: Expr, k: Expr) -> None:
        """Solve `a == k*t`, for t in the range that follows from those of a and k."""
        a, k = self.normal(a), self.normal(k)
        if k.is_Integer:
            k = abs(k)
            if k < 2 or self._solve_congruence(a, int(k)):
                return
        low = alg.bounds(alg.floor_div(a - 1, k) + 1)[0]  # rounded up, which is the same when it divides
        high = alg.bounds(alg.floor_div(a, k))[1]
        quotient = self.fresh(low, high)
        if not self.solve(a - poly.mul(k, quotient), keep=frozenset({quotient}), record=False):
            self.multiples.append((a, k))

    def _solve_congruence(self, a: Expr, k: int) -> bool:
        """Write the only symbol of a linear `a` as `k'*t + r`; False when `a` has another form."""
        parts, constant = poly.terms(a)
        if len(parts) != 1:
            return False
        ((s, c),) = parts.items()
        g = math.gcd(c, k)
        if not s.is_Symbol or constant % g:
            return False
        k //= g
        r = -pow(c // g, -1, k) * (constant // g) % k if k > 1 else 0
        low, high = poly.RANGES[s]
        low = low if low == -math.inf else -((r - low) // k)
        high = high if high == math.inf else (high - r) // k
        self.rules.append((s, k * self.fresh(low, high) + r))
        return True

    def fresh(self, low: float, high: float) -> Expr:
        """A new symbol within a range."""
        self.fresh_count += 1
        return poly.symbol(f"_{self.fresh_count}", low, high)

    def solve(self, e: Expr, keep: frozenset[Expr], *, record: bool = True) -> bool:
        """Use `e == 0` to eliminate a symbol or another atom outside `keep`; False when it has none."""
        parts, constant = poly.terms(e)
        symbols = [m for m, c in parts.items() if m.is_Symbol and abs(c) == 1 and m not in keep]
        for s in sorted(symbols, key=lambda s: (str(s).startswith("_"), [-ord(x) for x in str(s)])):
            value = -parts[s] * poly.join({m: c for m, c in parts.items() if m != s}, constant)
            if not value.has(s):
                self._replace(s, value)
                return True
        for atom, c in parts.items():
            if not (isinstance(atom, FloorDiv) and abs(c) == 1):
                continue
            value = -c * poly.join({m: c for m, c in parts.items() if m != atom}, constant)
            numerator, divisor = atom.args
            if divisor.is_Integer:  # x // q == v says x == q*v + s for a remainder s
                remainder = self.fresh(0, int(divisor) - 1)
                equation = numerator - poly.mul(divisor, value) - remainder
                if self.solve(equation, keep | {remainder}, record=False):
                    return True
            if not value.has(atom):
                self._replace(atom, value)
                return True
        if record and parts:
            self.zeros.append(e)
        return False

    def _replace(self, atom: Expr, value: Expr) -> None:
        """Add a rule, and keep what the range of the replaced atom said."""
        (low, high), (least, greatest) = alg.bounds(atom), alg.bounds(value)
        self.rules.append((atom, value))
        if low > least:
            self.nonnegative.append(value - poly.integer(int(low)))
        if high < greatest:
            self.nonnegative.append(poly.integer(int(high)) - value)

    def normal(self, e: Expr) -> Expr:
        """The expression in the symbols that the facts leave free."""
        for atom, value in self.rules:
            e = rewrite(e, {atom: value})
        return e

    # --- questions ---

    def equal(self, a: Expr, b: Expr) -> bool | None:
        """Whether `a == b`."""
        return self._remembered("equal", a, b)

    def at_least(self, a: Expr, b: Expr) -> bool | None:
        """Whether `a >= b`."""
        return self._remembered("at_least", a, b)

    def divisible(self, a: Expr, k: Expr) -> bool | None:
        """Whether `a % k == 0`."""
        return self._remembered("divisible", a, k)

    def _remembered(self, question: str, a: Expr, b: Expr) -> bool | None:
        key = (question, a, b)
        if key not in self.memo:
            if len(self.memo) >= MAX_MEMO:
                self.memo.clear()
            self.memo[key] = self._answer(question, a, b)
        return self.memo[key]

    def _answer(self, question: str, a: Expr, b: Expr) -> bool | None:
        if poly.extent(a)[0] + poly.extent(b)[0] > MAX_NODES:
            return None
        _steps_left.set(MAX_STEPS)
        try:
            if question == "equal":
                return self._is_zero(self.normal(a - b))
            if question == "at_least":
                return self._is_nonnegative(self.normal(a - b))
            a, b = self.normal(a), self.normal(b)
            if any(self._is_multiple(a, b, known, k) for known, k in self.multiples):
                return True
            return self._is_zero(self.normal(alg.modulo(a, b)))
        except (SizeTooLarge, _GaveUp):
            return None

    def _is_multiple(self, a: Expr, k: Expr, known: Expr, known_k: Expr) -> bool:
        known, known_k = self.normal(known), self.normal(known_k)
        quotient = poly.exact_quotient(a, known)
        return quotient is not None and alg.modulo(poly.mul(quotient, known_k), k) == poly.ZERO

    def _is_zero(self, e: Expr) -> bool | None:
        if e.is_Integer:
            return int(e) == 0
        if poly.extent(e)[0] > MAX_NODES:
            return None
        if any(poly.exact_quotient(e, zero) is not None for zero in map(self.normal, self.zeros)):
            return True
        values = list(self._samples(e))
        may_hold, may_fail = 0 in values or not values, any(values) or not values
        if may_hold and may_fail and values:
            return None
        if may_fail and (_never_zero(e) or self._positive(e) or self._positive(-e)):
            return False
        cases = residues(e, MAX_CASES)
        if cases is None:
            return None
        if may_hold and all(case == poly.ZERO for case in cases):
            return True
        return (
            False
            if may_fail and all(_never_zero(c) or lower(c) > 0 or lower(-c) > 0 for c in cases)
            else None
        )

    def _is_nonnegative(self, e: Expr) -> bool | None:
        if e.is_Integer:
            return int(e) >= 0
        if poly.extent(e)[0] > MAX_NODES:
            return None
        signs = {value >= 0 for value in self._samples(e)}
        if len(signs) == 2:
            return None
        if False not in signs and self._nonnegative(e):
            return True
        return False if True not in signs and self._nonnegative(-e - 1) else None

    def _positive(self, e: Expr) -> bool:
        return self._nonnegative(e - 1)

    def _nonnegative(self, e: Expr, depth: int = 2) -> bool:
        """Whether e >= 0 is proved, from the ranges and by taking away at most `depth` hypotheses."""
        if lower(e) >= 0:
            return True
        cases = residues(e, MAX_CASES)
        if cases is not None and all(lower(case) >= 0 for case in cases):
            return True
        if not depth:
            return False
        for hypothesis in map(self.normal, self.nonnegative):
            parts, _ = poly.terms(e)
            shared = [
                (parts[m], c) for m, c in poly.terms(hypothesis)[0].items() if m in parts and parts[m] * c > 0
            ]
            factor = max((c // d for c, d in shared), default=0)
            if factor > 0 and self._nonnegative(e - factor * hypothesis, depth - 1):
                return True
        return False

    def _samples(self, e: Expr) -> Iterator[int]:
        """Values at a few points within the ranges that satisfy the hypotheses."""
        nonnegative = [self.normal(h) for h in self.nonnegative]
        zeros = [self.normal(z) for z in self.zeros]
        multiples = [self.normal(alg.modulo(a, k)) for a, k in self.multiples]
        everything = [e, *nonnegative, *zeros, *multiples]
        found: set[Expr] = {s for x in everything for s in x.free_symbols}
        symbols: list[Expr] = sorted(found, key=str)
        for i in range(SAMPLES):
            point = {s: _sample(s, i, j) for j, s in enumerate(symbols)}
            try:
                if any(value_at(x, point) for x in (*zeros, *multiples)):
                    continue
                if all(value_at(h, point) >= 0 for h in nonnegative):
                    yield value_at(e, point)
            except ZeroDivisionError:
                continue


def _sample(s: Expr, i: int, j: int) -> int:
    """The i-th sample of the j-th symbol: the least value, a common one, then scattered ones."""
    low, high = poly.RANGES[s]
    start = int(low) if low > -math.inf else int(min(high, -7))
    step = (0, 1, 2 + j, 223 + 2 * j, 60 * (j + 1), 997 * (i + j * j))[i]
    return start + step if start + step <= high else start + step % (int(high) - start + 1)


def _never_zero(e: Expr) -> bool:
    """Whether a common factor of all coefficients but not of the constant rules out zero."""
    parts, constant = poly.terms(e)
    return constant % math.gcd(*parts.values(), 0) != 0 if parts else constant != 0


@lru_cache(maxsize=1 << 14)
def lower(e: Expr, depth: int = 3) -> float:
    """A proved lower bound of the expression, over the ranges of its symbols."""
    best = alg.bounds(e)[0]
    if best >= 0 or e.is_Integer:
        return best
    left = _steps_left.get()
    if not left:
        raise _GaveUp
    _steps_left.set(left - 1)
    shifted = _shift(e)
    best = max(best, alg.bounds(shifted)[0])
    if depth:
        relaxed, scale = alg.relax(shifted)
        if scale > 1 or relaxed != shifted:
            bound = lower(relaxed, depth - 1)
            best = max(best, bound if bound == -math.inf else -(-bound // scale))
        best = max(best, _split(shifted, depth))
    return best


def _shift(e: Expr) -> Expr:
    """The expression in symbols that start at zero, where products of positive terms show their sign."""
    mapping: dict[Expr, Expr] = {}
    for s in e.free_symbols:
        low, high = poly.RANGES[s]
        if low not in (0, -math.inf):
            mapping[s] = poly.symbol(f"{s}+", 0, high - low) + int(low)
    return rewrite(e, mapping) if mapping else e


def _split(e: Expr, depth: int) -> float:
    """A lower bound through the arguments of one min or max; the best or the worst argument, by its sign."""
    for atom, c in poly.terms(e)[0].items():
        if isinstance(atom, (Least, Greatest)):
            choices = [lower(e - c * atom + c * arg, depth - 1) for arg in atom.args]
            return max(choices) if isinstance(atom, Greatest) == (c > 0) else min(choices)
    return -math.inf
