"""The one table of diagnostic codes: message template, explanation and bad inputs that fire each.

Ranges: E0xx text and limits of files, E1xx names and declarations, E2xx static values, E3xx shapes and
operators, E4xx weights and labels, E5xx modes, taps and models, E6xx claims and budgets, E7xx compiling and
running, W9xx warnings.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """`message` is a `str.format` template; `explanation` is what `planform explain` prints; `bad`
    holds inputs that must fire the code (whole files, each called `net.plan`), `beside` the files that lie
    beside them, and `ask` the plan that is asked for where the code is about asking.
    """

    message: str
    explanation: str
    bad: tuple[str, ...]
    beside: tuple[tuple[str, str], ...] = ()
    ask: str | None = None


CODES: dict[str, Code] = {}


def define(
    code: str,
    message: str,
    explanation: str,
    *bad: str,
    beside: tuple[tuple[str, str], ...] = (),
    ask: str | None = None,
) -> None:
    """Enter a code into the table; a code is defined once."""
    if code in CODES:
        raise ValueError(f"{code} is defined twice")
    CODES[code] = Code(message, explanation, bad, beside, ask)
