"""The layout of tables: columns of cells, aligned."""

from __future__ import annotations

from collections.abc import Iterator

from .pieces import OPENERS, Piece


def table_rows(inside: list[Piece]) -> list[str] | None:
    """The lines between a table's braces, without indentation; None if a comment stands within a cell."""
    rows = list(_rows(inside))
    cells = [_cells(row) for row in rows]
    if any(piece.type == "COMMENT" for row in rows if row[0].type != "COMMENT" for piece in row[:-1]):
        return None
    widths: list[int] = []
    for row in cells:
        widths += [0] * (len(row) - len(widths))
        widths[: len(row)] = map(max, widths, map(len, row))
    lines: list[str] = []
    for place, (row, texts) in enumerate(zip(rows, cells, strict=True)):
        if place and row[0].line - rows[place - 1][-1].line > 1:
            lines.append("")
        comment = row[-1].text if row[-1].type == "COMMENT" else ""
        line = " | ".join(text.ljust(width) for text, width in zip(texts, widths, strict=False)).rstrip()
        lines.append(f"{line}  {comment}" if line and comment else line or comment)
    return lines


def _rows(inside: list[Piece]) -> Iterator[list[Piece]]:
    """The pieces of each row, its trailing comment included; a comment on its own line is a row."""
    row: list[Piece] = []
    depth = 0
    for piece in inside:
        new = row and not depth and piece.line > row[-1].line and piece.type not in ("ARROW", "ELSE")
        if new:
            yield row
            row = []
        row.append(piece)
        if piece.partner >= 0:
            depth += 1 if piece.type in OPENERS else -1
    if row:
        yield row


def _cells(row: list[Piece]) -> list[str]:
    """The text of each cell of a row."""
    cells: list[str] = []
    depth = 0
    fresh = True
    for piece in row:
        if piece.type == "COMMENT":
            continue
        if piece.type == "VBAR" and not depth:
            fresh = True
            continue
        if fresh:
            cells.append("")
        cells[-1] += " " * (piece.space and not fresh) + piece.text
        fresh = False
        if piece.partner >= 0:
            depth += 1 if piece.type in OPENERS else -1
    return cells
