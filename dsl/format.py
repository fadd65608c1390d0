"""The canonical layout of a plan file.

The formatter arranges the tokens of the text, so it cannot change what the text means: it decides blanks,
indentation and the columns of tables, keeps comments and the author's line breaks, and adds breaks where a line
is too long.

- Four columns of indentation; a bracket's content one step deeper than the line that opens it.
- A pipe over several lines has its arrows below each other; further arrows keep columns that the author gave.
- A body or record that spans lines begins and ends with a line break.
- At most one blank line, none after `{`, before `}` or within `( )` and `[ ]`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby

from .parser import read
from .pieces import CLOSERS, OPENERS, Piece, pieces
from .source import Source
from .tables import table_rows

WIDTH = 120
"""Longer lines are broken, where there is a pipe or a pair of braces to break at."""

STEP = 4
FAR = 24
"""Arrows align below the first of their pipe, unless that stands further than this from the statement."""


def format_source(source: Source) -> str:
    """The text of a source in canonical layout; raises `PlanError` if it has mistakes of syntax."""
    found = pieces(read(source))
    forced: set[int] = set()
    while True:
        rows = Layout(found, forced).rows()
        _align(rows)
        too_long = {
            offset for row in rows if len(row.text) > WIDTH and (offset := row.break_at()) is not None
        }
        if too_long <= forced:
            return "".join(f"{row.text}\n" for row in rows)
        forced |= too_long


@dataclass
class Row:
    """A line of the result, with what may be broken in it.

    `arrows`: for each arrow of the statement, its column here and in the source; `braces`: the offsets of braces
    opened and closed here.
    """

    text: str
    statement: int = -1
    arrows: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    braces: list[int] = field(default_factory=list[int])

    def break_at(self) -> int | None:
        """The offset of the brace or statement that should be spread over lines."""
        if self.braces:
            return self.braces[0]
        return self.statement if len(self.arrows) > 1 else None


@dataclass
class Frame:
    """An open bracket, or the file. Its closing bracket stands at column `base`, its content at `indent`."""

    kind: str
    base: int
    indent: int
    spread: bool = False
    forced: bool = False
    statement: int = -1
    fresh: bool = True
    arrows: int = 0
    pipe_column: int = 0

    @property
    def by_lines(self) -> bool:
        """Whether line breaks separate what it holds."""
        return self.kind in ("body", "record", "about", "table")

    def begin(self, offset: int) -> None:
        """A statement or element begins here."""
        self.statement = offset
        self.fresh = False
        self.arrows = 0
        self.pipe_column = self.indent + (2 * STEP if self.kind == "body" else STEP)


class Layout:
    """Arranges pieces into rows, given the offsets of braces and statements that must be spread over lines."""

    def __init__(self, found: list[Piece], forced: set[int]) -> None:
        self.pieces = found
        self.forced = forced
        self.frames = [Frame("body", 0, 0)]
        self.result: list[Row] = []

    def rows(self) -> list[Row]:
        """The whole file."""
        index = 0
        while index < len(self.pieces):
            piece = self.pieces[index]
            self._place(index, piece)
            index += 1
            if piece.type == "LBRACE" and piece.kind == "table":
                lines = table_rows(self.pieces[index : piece.partner])
                if lines is not None:
                    indent = " " * self.frames[-1].indent
                    self.result += [Row(indent + line if line else "") for line in lines]
                    index = piece.partner
        return self.result

    def _place(self, index: int, piece: Piece) -> None:
        before = self.pieces[index - 1] if index else None
        frame = self.frames[-1]
        continued = self._continues(index)
        broken = before is None or self._breaks(piece, before, frame)
        if piece.type not in CLOSERS and (frame.fresh or (broken and frame.by_lines and not continued)):
            frame.begin(piece.start)
        if broken:
            self._new_row(index, before, frame, continued)
        elif piece.type == "COMMENT":
            self.result[-1].text += "  "
        elif piece.space:
            self.result[-1].text += " "
        row = self.result[-1]
        if piece.type == "ARROW":
            self._note_arrow(piece, frame, row, first_in_row=broken)
        row.text += piece.text
        if piece.type in OPENERS:
            self._open(piece, frame, row)
        elif piece.type in CLOSERS:
            self.frames.pop()
        elif piece.type in ("COMMA", "VBAR") and frame.kind != "body":
            frame.fresh = True

    # -------------------------------------------------------------- line breaks

    def _continues(self, index: int) -> bool:
        """Whether a statement goes on here: at an arrow, an `else`, or a comment before either."""
        while self.pieces[index].type == "COMMENT" and index + 1 < len(self.pieces):
            index += 1
        return self.pieces[index].type in ("ARROW", "ELSE")

    def _breaks(self, piece: Piece, before: Piece, frame: Frame) -> bool:
        """Whether a new line begins with this piece."""
        if before.type == "COMMENT":
            return True
        if piece.type == "COMMENT":
            return piece.kind == "own"
        if piece.type == "ELSE" and before.type == "RBRACE" and before.kind == "body":
            return False
        if before.type == "LBRACE" or piece.type == "RBRACE":
            return frame.spread and before.type + piece.type != "LBRACERBRACE"
        if before.type == "COMMA" and frame.forced and frame.kind != "body":
            return True
        if piece.type == "ARROW" and frame.arrows and frame.statement in self.forced:
            return True
        return before.line < piece.line

    def _new_row(self, index: int, before: Piece | None, frame: Frame, continued: bool) -> None:
        piece = self.pieces[index]
        blank = before is not None and piece.line - before.line > 1 and before.type not in OPENERS
        if blank and frame.by_lines and not continued and piece.type not in CLOSERS:
            self.result.append(Row(""))
        if piece.type in CLOSERS:
            self.result.append(Row(" " * frame.base, self.frames[-2].statement))
            return
        column = frame.pipe_column if continued and not self._after_body(index) else frame.indent
        self.result.append(Row(" " * column, frame.statement))

    def _after_body(self, index: int) -> bool:
        """Whether the last piece before this one, comments aside, closes a body."""
        while index > 0 and self.pieces[index - 1].type == "COMMENT":
            index -= 1
        before = self.pieces[index - 1]
        return before.type == "RBRACE" and before.kind == "body"

    # -------------------------------------------------------------- arrows and brackets

    def _note_arrow(self, piece: Piece, frame: Frame, row: Row, *, first_in_row: bool) -> None:
        column = len(row.text)
        if not frame.arrows and not first_in_row and column - frame.indent <= FAR:
            frame.pipe_column = column
        frame.arrows += 1
        if row.statement == frame.statement:
            row.arrows.append((column, piece.column))

    def _open(self, piece: Piece, frame: Frame, row: Row) -> None:
        margin = len(row.text) - len(row.text.lstrip())
        base = frame.indent if piece.kind in ("body", "about", "table") else margin
        opened = Frame(piece.kind, base, base + STEP)
        if piece.type == "LBRACE":
            opened.forced = piece.start in self.forced
            opened.spread = opened.forced or piece.line < self.pieces[piece.partner].line
            if not opened.spread:
                row.braces.append(piece.start)
        self.frames.append(opened)


def _align(rows: list[Row]) -> None:
    """Give the second, third, ... arrows of a pipe's lines the same columns where the author did."""
    for statement, group in groupby(rows, lambda row: row.statement):
        lines = [row for row in group if len(row.arrows) > 1]
        if statement < 0 or len(lines) < 2:
            continue
        for place in range(1, max(len(row.arrows) for row in lines)):
            having = [row for row in lines if len(row.arrows) > place]
            if len(having) > 1 and len({row.arrows[place][1] for row in having}) == 1:
                column = max(row.arrows[place][0] for row in having)
                for row in having:
                    _shift(row, place, column - row.arrows[place][0])


def _shift(row: Row, place: int, by: int) -> None:
    """Move an arrow and what follows it to the right."""
    at = row.arrows[place][0]
    row.text = row.text[:at] + " " * by + row.text[at:]
    row.arrows[place:] = [(column + by, source) for column, source in row.arrows[place:]]
