"""What size formulas and proofs about them may take, so that untrusted text cannot ask for more.

Work is counted in terms written or read, some 80,000 a second, so that a limit is met at the same place on
every machine. A formula past its limits raises `SizeTooLarge`; a question past them stays undecided, and
becomes a guard that is checked when the network runs.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Hashable
from contextlib import contextmanager
from contextvars import ContextVar

from ..errors import PlanformError
from .formula import SizeTooLarge

MAX_TERMS = 1024
"""Terms of one sum."""

MAX_PARTS = 10_000
"""Parts of one formula: symbols, numbers and operations, shared ones counted each time."""

MAX_DEPTH = 80
"""Operations within each other in one formula."""

MAX_WORK = 20_000
"""Work on one question, or on taking up one fact."""

MAX_PROOF_WORK = 100_000
"""Work on all questions of one elaboration."""

MAX_FORMULA_WORK = 100_000
"""Work on writing all formulas of one elaboration."""


class Allowance:
    """The work that is left for questions, of which each is paid once, and for writing formulas."""

    __slots__ = ("formulas", "left", "paid", "spent")

    def __init__(self, work: int) -> None:
        self.left = work
        self.formulas = MAX_FORMULA_WORK
        self.paid: set[Hashable] = set()
        self.spent = 0
        """The work that was done, without what was remembered."""


_allowance: ContextVar[Allowance | None] = ContextVar("allowance", default=None)


@contextmanager
def proving(work: int = MAX_PROOF_WORK) -> Generator[Allowance]:
    """Questions inside may take so much work together; what comes after it stays undecided."""
    allowance = Allowance(work)
    token = _allowance.set(allowance)
    try:
        yield allowance
    finally:
        _allowance.reset(token)


def allowed() -> int:
    """The work that the next question may take."""
    found = _allowance.get()
    return MAX_WORK if found is None else min(MAX_WORK, found.left)


def used(work: int) -> None:
    """Take the work of a question from what is left."""
    found = _allowance.get()
    if found is not None:
        found.left -= work
        found.spent += work


def pay(question: Hashable, work: int) -> bool:
    """Pay for what is remembered of another elaboration as if it was worked out now; false if too little is
    left. So what stays undecided does not depend on what the process has seen before.
    """
    found = _allowance.get()
    if found is None or question in found.paid:
        return True
    if found.left < work:
        return False
    found.left -= work
    found.paid.add(question)
    return True


def paid(question: Hashable) -> None:
    """Note that a question is paid for."""
    found = _allowance.get()
    if found is not None:
        found.paid.add(question)


class OutOfWork(PlanformError):
    """More work was asked for than there was; see `limited`."""


class Question:
    """The work that a question may take, and what it took."""

    __slots__ = ("allowed", "work")

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        self.work = 0

    @property
    def whole(self) -> bool:
        """Whether all that any question may take was there: one that failed will fail again."""
        return self.allowed == MAX_WORK


_work_left: ContextVar[float] = ContextVar("work left", default=math.inf)


@contextmanager
def limited() -> Generator[Question]:
    """What is done inside may take the work of one question, or raises `OutOfWork`."""
    question = Question(allowed())
    token = _work_left.set(question.allowed)
    try:
        yield question
    finally:
        question.work = question.allowed - int(max(0, _work_left.get()))
        used(question.work)
        _work_left.reset(token)


def spend(work: int) -> None:
    """Count terms that are about to be written or read."""
    left = _work_left.get() - work
    _work_left.set(left)
    if left < 0:
        raise OutOfWork


@contextmanager
def writing() -> Generator[None]:
    """Formulas written inside are paid from what an elaboration may write, or raise `SizeTooLarge`; what a
    question writes is its own affair.
    """
    allowance = _allowance.get()
    if allowance is None or _work_left.get() < math.inf:
        yield
        return
    token = _work_left.set(allowance.formulas)
    try:
        spend(5)
        yield
    except OutOfWork:
        raise SizeTooLarge("the formulas of the sizes are too many and too long together") from None
    finally:
        left = int(max(0, _work_left.get()))
        allowance.spent += allowance.formulas - left
        allowance.formulas = left
        _work_left.reset(token)
