"""The canonical layout of a plan file.

The formatter arranges the tokens of the text, so it cannot change what the text means: it decides blanks,
indentation and the columns of tables, keeps comments and the author's line breaks, and adds breaks where a
line is too long.

- Four columns of indentation; a bracket's content one step deeper than the line that opens it.
- A pipe over several lines has its arrows below each other. Further arrows, and the parts of neighbouring
  plans and claims, keep columns that the author gave them.
- A body or record that spans lines begins and ends with a line break.
- At most one blank line, none after `{`, before `}` or within `( )` and `[ ]`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .parser import read
from .pieces import CLOSERS, OPENERS, Piece, pieces
from .rows import ANCHORS, Anchor, Brace, Row, align
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
        align(rows)
        too_long = {offset for row in rows for offset in row.breaks(WIDTH)}
        if too_long <= forced:
            return "".join(f"{row.text}\n" for row in rows)
        forced |= too_long


@dataclass
class Frame:
    """An open bracket, or the file. Its closing bracket stands at column `base`, its content at `indent`."""

    kind: str
    base: int
    indent: int
    spread: bool = False
    forced: bool = False
    statement: int = -1
    head: str = ""
    fresh: bool = True
    arrows: int = 0
    pipe_column: int = 0
    row: Row = field(default_factory=lambda: Row(""))
    brace: Brace | None = None

    @property
    def by_lines(self) -> bool:
        """Whether line breaks separate what it holds."""
        return self.kind in ("body", "record", "about", "table")

    def begin(self, piece: Piece) -> None:
        """A statement or element begins here."""
        self.statement = piece.start
        self.head = piece.type
        self.fresh = False
        self.arrows = 0
        self.pipe_column = self.indent + (2 * STEP if self.kind == "body" else STEP)


class Layout:
    """Arranges pieces into rows, given the offsets of braces and statements to be spread over lines."""

    def __init__(self, found: list[Piece], forced: set[int]) -> None:
        self.pieces = found
        self.forced = forced
        self.frames = [Frame("body", 0, 0)]
        self.result: list[Row] = []
        self.continued, self.after_body = _continuations(found)

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
        continued = index in self.continued
        broken = before is None or self._breaks(piece, before, frame)
        if piece.type not in CLOSERS and (frame.fresh or (broken and frame.by_lines and not continued)):
            frame.begin(piece)
        if broken:
            self._new_row(index, before, frame, continued)
        elif piece.type == "COMMENT":
            self.result[-1].text += "  "
        elif piece.space:
            self.result[-1].text += " "
        row = self.result[-1]
        if piece.type == "ARROW":
            self._note_arrow(piece, frame, row, first_in_row=broken)
        elif len(self.frames) == 1 and before is not None:
            self._note_anchor(piece, before, frame, row)
        row.text += piece.text
        if piece.type in OPENERS:
            self._open(piece, frame, row)
        elif piece.type in CLOSERS:
            closed = self.frames.pop()
            if closed.brace is not None:
                closed.brace.closed = len(row.text) - 1 if closed.row is row else len(closed.row.text)
        elif piece.type in ("COMMA", "VBAR") and frame.kind != "body":
            frame.fresh = True

    # -------------------------------------------------------------- line breaks

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
        column = frame.pipe_column if continued and index not in self.after_body else frame.indent
        head = frame.head if frame.statement == piece.start and len(self.frames) == 1 else ""
        self.result.append(Row(" " * column, frame.statement, head))

    # -------------------------------------------------------------- arrows and brackets

    def _note_arrow(self, piece: Piece, frame: Frame, row: Row, *, first_in_row: bool) -> None:
        column = len(row.text)
        if not frame.arrows and not first_in_row and column - frame.indent <= FAR:
            frame.pipe_column = column
        frame.arrows += 1
        if row.statement == frame.statement:
            row.anchors.append(Anchor(str(row.arrows), column, piece.column))
            row.arrows += 1

    def _note_anchor(self, piece: Piece, before: Piece, frame: Frame, row: Row) -> None:
        names = ANCHORS.get(frame.head, {})
        name = names.get("COLON" if before.type == "COLON" else "" if piece.type == "COLON" else piece.type)
        if name is not None and row.statement == frame.statement:
            row.anchors.append(Anchor(name, len(row.text), piece.column))

    def _open(self, piece: Piece, frame: Frame, row: Row) -> None:
        margin = len(row.text) - len(row.text.lstrip())
        base = frame.indent if piece.kind in ("body", "about", "table") else margin
        opened = Frame(piece.kind, base, base + STEP)
        if piece.type == "LBRACE":
            opened.forced = piece.start in self.forced
            opened.spread = opened.forced or piece.line < self.pieces[piece.partner].line
            if not opened.spread:
                opened.row, opened.brace = row, Brace(piece.start, len(row.text) - 1)
                row.braces.append(opened.brace)
        self.frames.append(opened)


def _continuations(found: list[Piece]) -> tuple[set[int], set[int]]:
    """The indices at which a statement goes on: arrows, each `else`, and the comments before either; and
    those of them that follow the end of a body.
    """
    continued: set[int] = set()
    after_body: set[int] = set()
    comments: list[int] = []
    before = ""
    for index, piece in enumerate(found):
        comments.append(index)
        if piece.type == "COMMENT":
            continue
        if piece.type in ("ARROW", "ELSE"):
            continued.update(comments)
            if before == "body":
                after_body.update(comments)
        before = piece.kind if piece.type == "RBRACE" else ""
        comments = []
    return continued, after_body
