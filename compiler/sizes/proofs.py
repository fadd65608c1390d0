"""Three-valued proofs about canonical expressions, under the facts of `size_facts`.

A question becomes one about the sign of a difference. A few sample points first show what cannot be proved;
then interval arithmetic, linear relaxation of floors and a bounded split into residue classes try to prove
the rest.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from itertools import count
from typing import Final, NamedTuple, TypeAlias
from weakref import WeakValueDictionary

from . import algebra as alg
from . import polynomials as poly
from .algebra import Greatest, Least
from .expressions import ZERO, Expr
from .facts import Facts, known_multiple, primitive, without_floors, written_back
from .formula import SizeTooLarge
from .limits import OutOfWork, limited, paid, pay, spend
from .walks import residues, rewrite, value_at

Fact: TypeAlias = tuple[str, Expr, Expr]

MAX_FACTS = 128
MAX_NODES = 300
MAX_CASES = 64
MAX_MEMO = 1 << 17
SAMPLES = 8
RECENT = 512


class Answer(NamedTuple):
    """A verdict, and the work that it took."""

    verdict: bool | None
    work: int


class Sample(NamedTuple):
    """The value of an expression, and of each hypothesis, at a point within the ranges."""

    value: int
    known: Sequence[int]
    admitted: bool
    """Whether all facts hold there."""

    def without(self, number: int, factor: int) -> Sample:
        """The value without a multiple of a hypothesis."""
        return self._replace(value=self.value - factor * self.known[number])


def _negated(samples: Sequence[Sample]) -> list[Sample]:
    return [sample._replace(value=-sample.value) for sample in samples]


_numbers = count()


class Context(Facts):
    """Facts, and the answers already found under them. Contexts of the same facts are one as long as it is
    remembered, and `number` is theirs alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.number = next(_numbers)
        self.size = 0
        self.work = 0
        self.memo: dict[tuple[str, Expr, Expr], Answer] = {}
        self._simplified: dict[Expr, Expr] = {}
        self._extended: WeakValueDictionary[Fact, Context] = WeakValueDictionary()

    def extended(self, fact: Fact) -> Context:
        """The context of one more fact: (kind, a, b), which is understood under those of this one.

        Past `MAX_FACTS` facts prove nothing, as one that is too large to use.
        """
        if self.size >= MAX_FACTS:
            return self
        made = self._extended.get(fact)
        if made is None:
            made, whole = self._with(fact)
            paid(made.number)
            if whole:
                self._extended[fact] = made
        elif not pay(made.number, made.work):
            made, _ = self._with(fact)
        _recent.append(made)
        return made

    def _with(self, fact: Fact) -> tuple[Context, bool]:
        """The context of one more fact, and whether that was not cut short by the work that was left."""
        kind, a, b = fact
        made = Context()
        made.copy_from(self)
        made.size = self.size + 1
        whole = True
        with limited() as question:
            try:
                spend(10 + len(made.rules) // 10)
                getattr(made, f"assume_{kind}")(a, b)
            except (SizeTooLarge, OutOfWork) as error:
                # What was half understood is left out.
                made.copy_from(self)
                whole = isinstance(error, SizeTooLarge) or question.whole
        made.work = question.work
        # What was asked on the way was answered without all of the fact.
        made.memo.clear()
        made._simplified.clear()
        return made, whole

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

    def simplified(self, e: Expr) -> Expr:
        """The expression as the ranges and residues of its symbols let it be written."""
        written = self._simplified.get(e)
        if written is None:
            if len(self._simplified) >= MAX_MEMO:
                self._simplified.clear()
            written = self._simplified[e] = self._rewritten(e)
        return written

    def _rewritten(self, e: Expr) -> Expr:
        known = {
            s: multiple
            for s in sorted(poly.symbols_in(e), key=str)
            if s in self.rules and (multiple := known_multiple(s, self.rules[s])) is not None
        }
        if not known:
            return e
        try:
            with limited():
                inside = {s: k.factor * k.symbol + k.rest for s, k in known.items()}
                return written_back(rewrite(e, inside), known)
        except (SizeTooLarge, OutOfWork):
            return e

    def _remembered(self, question: str, a: Expr, b: Expr) -> bool | None:
        key = (question, a, b)
        known = self.memo.get(key)
        if known is not None:
            return known.verdict if pay((self.number, key), known.work) else None
        answer, whole = self._answer(question, a, b)
        paid((self.number, key))
        if whole:
            if len(self.memo) >= MAX_MEMO:
                self.memo.clear()
            self.memo[key] = answer
        return answer.verdict

    def _answer(self, question: str, a: Expr, b: Expr) -> tuple[Answer, bool]:
        """The answer, and whether it was not cut short by the work that was left."""
        if poly.extent(a)[0] + poly.extent(b)[0] > MAX_NODES:
            return Answer(None, 0), True
        verdict, whole = None, True
        with limited() as limit:
            try:
                spend(10)
                match question:
                    case "equal":
                        verdict = self._is_zero(self.normal(a - b))
                    case "at_least":
                        verdict = self._is_nonnegative(self.normal(a - b))
                    case _:
                        verdict = self._is_multiple(self.normal(a), self.normal(b))
            except SizeTooLarge:
                pass
            except OutOfWork:
                whole = limit.whole
        return Answer(verdict, limit.work), whole

    def _is_multiple(self, a: Expr, k: Expr) -> bool | None:
        for known, known_k in self.multiples:
            quotient = poly.exact_quotient(a, known)
            if quotient is not None and alg.modulo(poly.mul(quotient, known_k), k) == ZERO:
                return True
        return self._is_zero(self.normal(alg.modulo(a, k)))

    def _is_zero(self, e: Expr) -> bool | None:
        e = primitive(e)
        if e.is_Integer:
            return int(e) == 0
        if poly.extent(e)[0] > MAX_NODES:
            return None
        if any(poly.exact_quotient(e, zero) is not None for zero in self.zeros):
            return True
        samples = self._samples(e)
        values = [sample.value for sample in samples if sample.admitted]
        may_hold, may_fail = 0 in values or not values, any(values) or not values
        if may_hold and may_fail and values:
            return None
        if may_fail and (
            _never_zero(e) or self._positive(e, samples) or self._positive(-e, _negated(samples))
        ):
            return False
        cases = residues(e, MAX_CASES)
        if cases is None:
            return None
        if may_hold and all(case == ZERO for case in cases):
            return True
        return (
            False
            if may_fail and all(_never_zero(c) or lower(c) > 0 or lower(-c) > 0 for c in cases)
            else None
        )

    def _is_nonnegative(self, e: Expr) -> bool | None:
        e = without_floors(primitive(e))
        if e.is_Integer:
            return int(e) >= 0
        if poly.extent(e)[0] > MAX_NODES:
            return None
        samples = self._samples(e)
        signs = {sample.value >= 0 for sample in samples if sample.admitted}
        if len(signs) == 2:
            return None
        if False not in signs and self._nonnegative(e, samples):
            return True
        return False if True not in signs and self._positive(-e, _negated(samples)) else None

    def _positive(self, e: Expr, samples: Sequence[Sample]) -> bool:
        return self._nonnegative(e - 1, [sample._replace(value=sample.value - 1) for sample in samples])

    def _nonnegative(self, e: Expr, samples: Sequence[Sample], depth: int = 2) -> bool:
        """Whether e >= 0 is proved, from the ranges and by taking away at most `depth` hypotheses."""
        if lower(e) >= 0:
            return True
        cases = residues(e, MAX_CASES)
        if cases is not None and all(lower(case) >= 0 for case in cases):
            return True
        if not depth:
            return False
        parts, _ = poly.terms(e)
        for number, hypothesis in enumerate(self.nonnegative):
            shared = [
                (parts[m], c) for m, c in poly.terms(hypothesis)[0].items() if m in parts and parts[m] * c > 0
            ]
            factor = max((c // d for c, d in shared), default=0)
            if factor > 0:
                rest = [sample.without(number, factor) for sample in samples]
                # With no hypothesis left to take away it would hold at all points.
                if any(sample.value < 0 and (sample.admitted or depth == 1) for sample in rest):
                    continue
                spend(len(parts) + len(hypothesis.args))
                if self._nonnegative(e - factor * hypothesis, rest, depth - 1):
                    return True
        return False

    def _samples(self, e: Expr) -> list[Sample]:
        """Values at a few points within the ranges."""
        samples: list[Sample] = []
        multiples = [alg.modulo(a, k) for a, k in self.multiples]
        everything = [e, *self.nonnegative, *self.zeros, *multiples]
        spend(SAMPLES * sum(poly.extent(x)[0] for x in everything) // 8)
        symbols = sorted({s for x in everything for s in poly.symbols_in(x)}, key=str)
        for i in range(SAMPLES):
            point = {s: _sample(s, i, j) for j, s in enumerate(symbols)}
            try:
                known = [value_at(hypothesis, point) for hypothesis in self.nonnegative]
                admitted = min(known, default=0) >= 0 and not any(
                    value_at(x, point) for x in (*self.zeros, *multiples)
                )
                samples.append(Sample(value_at(e, point), known, admitted))
            except ZeroDivisionError:
                continue
        return samples


NOTHING: Final = Context()
"""The context of no facts."""

_recent: deque[Context] = deque(maxlen=RECENT)


def _sample(s: Expr, i: int, j: int) -> int:
    """The i-th sample of the j-th symbol: the least value, a common one, then scattered ones."""
    low, high = poly.RANGES[s]
    start = int(low) if low > -math.inf else int(min(high, -7))
    step = (0, 1, 2 + j, 223 + 2 * j, 60 * (j + 1), 997 * (i + j * j), j % 2, 7)[i]
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
    spend(20)
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
    for s in sorted(poly.symbols_in(e), key=str):
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
