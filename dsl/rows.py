"""Lines of formatted text, and the columns that an author gave them.

Where all lines of a pipe have their second (third, ...) arrow in one column of the source, or neighbouring
plans or claims some part, they keep a common column in the result; everything else is one blank apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

_COMPARISONS = dict.fromkeys(("EQ", "LE", "GE", "LESSTHAN", "MORETHAN"), "op")
_CLAIM = {"COLON": "metric", "AT": "at", **_COMPARISONS, "WITHIN": "within", "FROM": "from"}

ANCHORS = {"PLAN": {"EQUAL": "value", "AT": "at"}, "CLAIM": _CLAIM, "BUDGET": _CLAIM}
"""For each kind of declaration, the tokens at (for a colon: after) which columns may begin, in order."""


@dataclass
class Brace:
    """A pair of braces on one line: the offset in the source, and columns in the result."""

    offset: int
    opened: int
    closed: int = 0


class Anchor(NamedTuple):
    """A place that may be aligned: what it is, its column in the result and in the source."""

    name: str
    column: int
    source: int


@dataclass
class Row:
    """A line of the result, with what may be aligned and broken in it.

    `head`: the kind of declaration that begins here; `arrows`: the number of arrows of the statement here;
    `braces`: those opened and closed here, the outer ones before those within.
    """

    text: str
    statement: int = -1
    head: str = ""
    arrows: int = 0
    anchors: list[Anchor] = field(default_factory=list[Anchor])
    braces: list[Brace] = field(default_factory=list[Brace])

    def breaks(self, width: int) -> list[int]:
        """The offsets of the braces, or of the statement, to be spread over lines so that it fits a width."""
        if len(self.text) <= width:
            return []
        if not self.braces:
            return [self.statement] if self.arrows > 1 else []
        found: list[int] = []
        margin = len(self.text) - len(self.text.lstrip())
        end = 0
        # What follows a broken brace is a line of its own, that begins with the closing one.
        for brace in self.braces:
            if brace.opened < end:
                continue
            if found and margin + len(self.text) - end <= width:
                break
            found.append(brace.offset)
            end = brace.closed
        return found


def align(rows: list[Row]) -> None:
    """Give columns to the lines of each pipe and to neighbouring plans and claims."""
    for head, group in groupby(rows, lambda row: row.head):
        if head in ANCHORS:
            _align(list(group), dict.fromkeys(ANCHORS[head].values()))
    for statement, group in groupby(rows, lambda row: row.statement):
        lines = list(group)
        if statement >= 0 and len(lines) > 1:
            _align(lines, map(str, range(1, max(row.arrows for row in lines))))


def _align(rows: list[Row], names: Iterable[str]) -> None:
    """Move anchors of one name to one column, if they had one in the source."""
    for name in names:
        having = [
            (row, place) for row in rows for place, anchor in enumerate(row.anchors) if anchor.name == name
        ]
        anchors = [row.anchors[place] for row, place in having]
        if len(having) > 1 and len({anchor.source for anchor in anchors}) == 1:
            column = max(anchor.column for anchor in anchors)
            for row, place in having:
                _shift(row, place, column - row.anchors[place].column)


def _shift(row: Row, place: int, by: int) -> None:
    """Move an anchor and what follows it to the right."""
    at = row.anchors[place].column
    row.text = row.text[:at] + " " * by + row.text[at:]
    row.anchors[place:] = [anchor._replace(column=anchor.column + by) for anchor in row.anchors[place:]]
