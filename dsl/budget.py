"""The work that computing a plan may take: one account for all that untrusted text can ask for.

Prices are in `limits`; a unit is about a microsecond. Whoever computes says what it takes before or as it is
done, so that neither time nor memory grows past the account, however the work is divided.
"""

from __future__ import annotations

from typing import Any, cast

from ..compiler.errors import PlanformError
from . import limits
from .diagnostics import PlanError
from .values import Record


class Exhausted(PlanError):
    """The account is empty: nothing more is computed, and nothing else is worth saying."""


class Budget:
    """What is left of the work of a check, or of one elaboration; shared by all that belongs to it."""

    __slots__ = ("left",)

    def __init__(self, work: int | None = None) -> None:
        self.left = limits.MAX_WORK if work is None else work

    def spend(self, work: int) -> bool:
        """Take some work off; false if there was not enough."""
        self.left -= work
        return self.left >= 0


_CONTAINERS = frozenset({list, tuple, dict, Record})


class TooDeep(PlanformError, ValueError):
    """Lists, tuples and records nested in each other past `MAX_NESTING`."""


def weight(value: Any, most: int) -> int:
    """The work of going through a static value, at most a little more than `most`; raises `TooDeep`.

    What a value holds twice counts twice: whoever goes through it meets it twice.
    """
    if type(value) is str:
        return 1 + (len(value) >> limits.TEXT_SHIFT)
    found = 0
    pending: list[tuple[Any, int]] = [(value, 1)]
    while pending:
        held, depth = pending.pop()
        if depth > limits.MAX_NESTING:
            raise TooDeep
        items = (
            list(cast("dict[str, Any]", held).values()) if isinstance(held, dict) else cast("list[Any]", held)
        )
        found += 1 + len(items)
        if found > most:
            break
        for item in items:
            if type(item) is str:
                found += len(item) >> limits.TEXT_SHIFT
            elif type(item) in _CONTAINERS:
                pending.append((item, depth + 1))
    return found
