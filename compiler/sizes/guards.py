"""Constraints on sizes that are left to run time, and what they say together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import PlanformError
from .dims import Assumptions, Size, assuming, contradictory, holds, render, substitute, without_assumptions

if TYPE_CHECKING:
    from ..graph.graph import Origin

# Beyond it finding out which guards matter takes longer than it helps.
_MAX_BLAMED = 64


@dataclass(frozen=True)
class Guard:
    """A constraint that elaboration could not decide: `relation(left, right)` must hold when the module runs.

    `relation` is "==", ">=" or "%" (right divides left).
    """

    relation: str
    left: Size
    right: Size
    message: str
    origin: Origin | None = None

    def admits(self, sizes: Mapping[str, int]) -> bool:
        """Whether the constraint may hold for these values of symbols: they do not refute it."""
        left, right = (substitute(size, dict(sizes)) for size in (self.left, self.right))
        if not isinstance(left, int) or not isinstance(right, int):
            return True
        if self.relation == "%":
            return right != 0 and left % right == 0
        return left == right if self.relation == "==" else left >= right

    def __str__(self) -> str:
        left, right = render(self.left), render(self.right)
        if self.relation == "%":
            left, right = (text if text.isalnum() else f"({text})" for text in (left, right))
            return f"{left} % {right} == 0"
        return f"{left} {self.relation} {right}"


class Contradiction(PlanformError):
    """A constraint that no sizes satisfy together with those before it; `others` are the ones that matter."""

    def __init__(self, guard: Guard, others: tuple[Guard, ...]) -> None:
        super().__init__(f"{guard} contradicts {', '.join(map(str, others)) or 'the sizes of the inputs'}")
        self.guard = guard
        self.others = others


def facts_of(guards: Iterable[Guard]) -> Assumptions:
    """What holds wherever the guards do."""
    facts = Assumptions()
    for guard in guards:
        facts.assume(guard.relation, guard.left, guard.right)
    return facts


def conflicting(guards: Sequence[Guard], guard: Guard) -> tuple[Guard, ...] | None:
    """Those of the guards that cannot hold together with one more, none of them to spare; None if all may."""

    def refuted(others: Sequence[Guard]) -> bool:
        with without_assumptions(), assuming(facts_of(others)):
            if holds(guard.relation, guard.left, guard.right) is False:
                return True
        with without_assumptions(), assuming(facts_of([*others, guard])):
            return contradictory()

    if not refuted(guards):
        return None
    needed = list(guards)
    for other in guards if len(guards) <= _MAX_BLAMED else ():
        fewer = [each for each in needed if each is not other]
        if refuted(fewer):
            needed = fewer
    return tuple(needed)
