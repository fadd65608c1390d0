"""What size formulas and proofs about them may take, so that untrusted text cannot ask for more.

Work is counted in terms written or read, some 100,000 a second, so that a limit is met at the same place on
every machine. A formula past its limits raises `SizeTooLarge`; a question past them stays undecided, and
becomes a guard that is checked when the network runs.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

MAX_TERMS = 1024
"""Terms of one sum."""

MAX_PARTS = 10_000
"""Parts of one formula: symbols, numbers and operations, shared ones counted each time."""

MAX_DEPTH = 80
"""Operations within each other in one formula."""

MAX_WORK = 20_000
"""Work on one question, or on taking up one fact."""

MAX_PROOF_WORK = 250_000
"""Work on all questions of one elaboration."""


class Allowance:
    """The work that is left for questions."""

    __slots__ = ("left",)

    def __init__(self, work: int) -> None:
        self.left = work


_allowance: ContextVar[Allowance | None] = ContextVar("allowance", default=None)


@contextmanager
def proving(work: int = MAX_PROOF_WORK) -> Generator[None]:
    """Questions inside may take so much work together; what comes after it stays undecided."""
    token = _allowance.set(Allowance(work))
    try:
        yield
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
