"""What helps where a word cannot stand, by the word and by what could have stood there."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple


class Situation(NamedTuple):
    """The word found, the kind of the token before, the innermost open bracket or "", what is accepted,
    and the line before and from the word on.
    """

    found: str
    before: str
    bracket: str
    accepts: frozenset[str]
    left: str
    right: str

    @property
    def follows_value(self) -> bool:
        """Whether a value is complete before the word."""
        return "PLUS" in self.accepts and "NAME" not in self.accepts

    @property
    def declares(self) -> str:
        """The word that opens the line."""
        words = self.left.split()
        return words[0] if words else ""


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
        lambda at: (
            {"ARROW", "IF"} <= at.accepts
            and "PLUS" not in at.accepts
            and re.search(r":\s*\w", at.left) is not None
        ),
        "a label names one call; put parentheses around both to go on: `(fc: linear(x, 3)) + 1`",
    ),
    (lambda at: at.found in ("True", "False", "None"), "write `true`, `false` or `none`"),
    (
        lambda at: at.found == "when" and at.follows_value,
        "`when` follows a call of a pipe, left out where c is false: `x -> f() when c`; to leave out "
        "a term, write `y = y + f(x) if c else y`",
    ),
    (
        lambda at: at.follows_value and "//" in at.left and at.found[:1].isalpha(),
        "comments begin with `#`; `//` divides whole numbers",
    ),
    (
        lambda at: at.follows_value and re.match(r"\w+(\.\w+)*\s*[(:]", at.right) is not None,
        "a value goes into a call by `->`: `x -> conv(64, 3)`",
    ),
    (
        lambda at: at.follows_value and at.before == "NAME" and (at.found == "{" or at.found[:1].isalpha()),
        "arguments of a call stand in round brackets: `relu(x)`",
    ),
    (
        lambda at: at.follows_value and at.found == "|",
        "a value goes into a call by `->`; of two conditions, write `or`",
    ),
    (
        lambda at: at.found == "|" and "|" not in at.left and not at.left.strip(),
        "bars stand between the cells of a row, not around them",
    ),
    (
        lambda at: at.found == "|" and set(at.left) <= set(" -|"),
        "no line stands between the head of a table and its rows",
    ),
    (
        lambda at: at.found in ("", "\n") and at.left.rstrip().endswith("|"),
        "a cell without a value is `none`",
    ),
    (lambda at: at.found == "(" and at.before == "FOR", "write `for i in range(3) {`, without parentheses"),
    (
        lambda at: at.declares == "use" and at.found == "*",
        "names that are used are written out: `use std (mlp, patch_embed)`",
    ),
    (
        lambda at: at.declares == "use" and at.found == "as",
        "what is imported keeps its name; give it another by `OTHER = NAME` on a line of its own",
    ),
    (
        lambda at: at.declares == "use" and "LPAR" in at.accepts,
        'write `use std (NAME)`, `use atlas "family/network.plan" (NAME)` or `use "file.plan" (NAME)`',
    ),
    (
        lambda at: at.declares == "plan" and at.accepts == frozenset({"EQUAL"}),
        "write `plan NAME = model(...)`",
    ),
    (
        lambda at: at.declares in ("model", "block", "inline") and at.accepts == frozenset({"LPAR"}),
        "inputs and parameters stand in parentheses: `model net(x: [B, 3, H, W]) {`",
    ),
    (
        lambda at: at.declares in ("model", "block", "inline") and at.found == "*" and "NAME" in at.accepts,
        "the number of inputs is fixed; a list of tensors is one input: `xs: list[tensor]`",
    ),
    (lambda at: at.declares == "planform", "the first line is `planform 1`"),
    (
        lambda at: at.bracket == "LPAR" and "LIST" in at.accepts and at.found.isdigit(),
        "a shape stands in square brackets: `[B, 3, H, W]`",
    ),
    (
        lambda at: at.bracket == "LBRACE" and at.found == '"' and "NAME" in at.accepts,
        "fields are names, without quotes: `{name = value}`",
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
