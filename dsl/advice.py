"""What helps where a word cannot stand, by the word and by what could have stood there."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Situation(NamedTuple):
    """The word found, the kind of the token before, the innermost open bracket or "", what is accepted."""

    found: str
    before: str
    bracket: str
    accepts: frozenset[str]


ADVICE: tuple[tuple[Callable[[Situation], bool], str], ...] = (
    (
        lambda at: at.found == "for" and at.bracket == "LPAR",
        "a comprehension stands in brackets: `sum([f(x) for x in xs])`",
    ),
    (
        lambda at: at.found == ":" and at.bracket == "LBRACE" and "EQUAL" in at.accepts,
        "fields are written `name = value`",
    ),
    (
        lambda at: "WHEN" in at.accepts and "ARROW" in at.accepts,
        "a pipe binds loosely; put it in parentheses to go on: `(x -> f()) + y`",
    ),
    (
        lambda at: (at.before == "DOT" and "NAME" in at.accepts) or at.found == ".",
        "a number has digits on both sides of its point: `0.5`, `1.0`",
    ),
    (
        lambda at: at.bracket == "TEXT" and at.found in ('"', "}"),
        "a brace within a text opens an expression; write `\\{` for the brace itself",
    ),
    (lambda at: at.found == "not" and "NUMBER" in at.accepts, "put it in parentheses: `(not x)`"),
    (
        lambda at: at.accepts == frozenset({"ELSE"}),
        "a value chosen by `if` needs the other one: `a if c else b`",
    ),
    (lambda at: at.before == "IS", "`is` tests for `none` alone; compare with `==`"),
)


def advice(situation: Situation) -> tuple[str, ...]:
    """The help lines of the first entry that applies, or none."""
    return next(((help,) for applies, help in ADVICE if applies(situation)), ())
