"""The matrices of Winograd's convolution, and vectors times them with few instructions."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from tvm import tirx

from ...tensor_ir.loops import Expr, Loops
from .winograd_plan import TAPS

# Where the polynomials are evaluated, besides 0 and infinity: at these and their negatives. Of simple
# fractions, 3/4 and 3/2 give F(4x4, 3x3) the smallest error: 0.4 of that of 1 and 2.
_POINTS = {2: (Fraction(1),), 4: (Fraction(3, 4), Fraction(3, 2))}


class Transforms:
    """The matrices of F(m x m, 3 x 3), by Cook and Toom: points 0, p, -p, ..., infinity."""

    def __init__(self, outputs: int) -> None:
        self.outputs = outputs
        self.positive = _POINTS[outputs]
        self.size = outputs + TAPS - 1
        points = [Fraction(0)]
        for point in self.positive:
            points += [point, -point]
        self.input: list[list[Fraction]] = []
        weight: list[list[Fraction]] = []
        for point in points:
            others = [other for other in points if other != point]
            norm = Fraction(1)
            for other in others:
                norm *= point - other
            self.input.append([*_polynomial(others), Fraction(0)])
            weight.append([point**power / norm for power in range(TAPS)])
        self.input.append(_polynomial(points))
        weight.append([Fraction(int(power == TAPS - 1)) for power in range(TAPS)])
        self.weight = tuple(tuple(float(each) for each in row) for row in weight)

    def forward(self, loops: Loops, given: Sequence[Expr]) -> list[Expr]:
        """B^T of a column: rows of p and -p share their even and their odd parts."""
        found = [_sum(self.input[0], given)]
        for number, point in enumerate(self.positive):
            row = self.input[2 * number + 1]
            even = [c if power % 2 == 0 else Fraction(0) for power, c in enumerate(row)]
            odd = [c / point if power % 2 else Fraction(0) for power, c in enumerate(row)]
            left, right = loops.let(_sum(even, given)), loops.let(_sum(odd, given))
            found += [_sum([Fraction(1), sign * point], [left, right]) for sign in (1, -1)]
        return [*found, _sum(self.input[-1], given)]

    def backward(self, loops: Loops, given: Sequence[Expr]) -> list[Expr]:
        """A^T of a column: even powers want the sum of p's and -p's elements, odd ones the difference."""
        pairs = [(given[2 * n + 1], given[2 * n + 2]) for n in range(len(self.positive))]
        both = [[loops.let(a + b), loops.let(a - b)] for a, b in pairs]
        found: list[Expr] = []
        for power in range(self.outputs):
            terms = [each[power % 2] for each in both]
            scales = [point**power for point in self.positive]
            if power == 0:
                terms, scales = [given[0], *terms], [Fraction(1), *scales]
            if power == self.outputs - 1:
                terms, scales = [given[-1], *terms], [Fraction(1), *scales]
            found.append(_sum(scales, terms))
        return found


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """The coefficients of the product of (x - root), of x^0 first."""
    found = [Fraction(1)]
    for root in roots:
        shifted, kept = [Fraction(0), *found], [*found, Fraction(0)]
        found = [a - root * b for a, b in zip(shifted, kept, strict=True)]
    return found


def _sum(scales: Sequence[Fraction], terms: Sequence[Expr]) -> Expr:
    """A sum of products; terms without a factor first, so that the others can be added in one instruction."""
    used = [(scale, term) for scale, term in zip(scales, terms, strict=True) if scale]
    used.sort(key=lambda each: each[0] != 1)
    scale, found = used[0]
    if scale != 1:
        found = found * tirx.const(float(scale), "float32")
    for scale, term in used[1:]:
        if abs(scale) == 1:
            found = found + term if scale == 1 else found - term
        else:
            found = found + term * tirx.const(float(scale), "float32")
    return found
