"""Diagnostics as text with carets, and as data for JSON."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any, NamedTuple

from ..compiler.names import lines_printable, printable
from .diagnostics import Diagnostic, Label
from .source import Source

WIDTH = 110
"""Columns of a source line that are shown; longer lines are clipped around the span."""

_CLIP = "..."


class Mark(NamedTuple):
    """A part of one line to underline: columns `start:end` from 0, and what to say of it."""

    source: Source
    line: int
    start: int
    end: int
    sign: str
    text: str


def render(diagnostic: Diagnostic) -> str:
    """A diagnostic as text: message, place, the lines concerned with underlines, notes and help."""
    groups = [_marks(diagnostic.primary, "^"), *(_marks(label, "-") for label in diagnostic.secondary)]
    gutter = max(len(str(mark.line)) for group in groups for mark in group)
    margin = " " * gutter
    lines = [
        f"{diagnostic.severity}[{diagnostic.code}]: {printable(diagnostic.message)}",
        f"{margin}--> {printable(diagnostic.primary.span.where)}",
        f"{margin} |",
    ]
    above: Mark | None = None
    for group in groups:
        for mark in group:
            same_line = above is not None and above.source is mark.source and above.line == mark.line
            if above is not None and not same_line:
                lines.append(f"{margin} :" if mark is not group[0] else f"{margin} |")
                if above.source is not mark.source:
                    place = f"{mark.source.name}:{mark.line}:{mark.start + 1}"
                    lines.append(f"{margin}::: {printable(place)}")
            lines.extend(_excerpt(mark, gutter, with_source=not same_line))
            above = mark
    lines.extend(_remark(gutter, note) for note in diagnostic.notes)
    lines.extend(_remark(gutter, f"help: {help}") for help in diagnostic.help)
    return "\n".join(line.rstrip() for line in lines)


def render_all(diagnostics: Iterable[Diagnostic]) -> str:
    """Several diagnostics, with blank lines between them."""
    return "\n\n".join(map(render, diagnostics))


def to_json(diagnostic: Diagnostic) -> dict[str, Any]:
    """A diagnostic as plain data. Lines and columns count from 1; the end is just after the span."""
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        **_place(diagnostic.primary),
        "secondary": [_place(label) for label in diagnostic.secondary],
        "notes": list(diagnostic.notes),
        "help": list(diagnostic.help),
    }


def _place(label: Label) -> dict[str, Any]:
    source, start, end = label.span
    line, column = source.position(start)
    end_line, end_column = source.position(max(start, end))
    return {
        "file": source.name,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
        "text": label.text,
    }


def _marks(label: Label, sign: str) -> list[Mark]:
    """One mark, or the first and the last line of a span over several lines."""
    source, start, end = label.span
    line, column = source.position(start)
    last = start + max(len(source.text[start:end].rstrip()) - 1, 0)
    last_line, last_column = source.position(last)
    if last_line == line:
        return [Mark(source, line, column - 1, max(last_column, column), sign, label.text)]
    first = source.line(line)
    final = source.line(last_line)
    indent = len(final) - len(final.lstrip())
    return [
        Mark(source, line, column - 1, max(len(first), column), sign, ""),
        Mark(source, last_line, min(indent, last_column - 1), last_column, sign, label.text),
    ]


def _excerpt(mark: Mark, gutter: int, *, with_source: bool) -> list[str]:
    """The source line with its number, and the line that underlines it."""
    text = mark.source.line(mark.line)
    left = 0
    if len(text) > WIDTH and mark.end > WIDTH - 10:
        left = max(0, min(mark.start - WIDTH // 3, len(text) - WIDTH))
    right = min(len(text), left + WIDTH)
    shown = (_CLIP if left else "") + text[left:right] + (_CLIP if right < len(text) else "")
    shift = left - (len(_CLIP) if left else 0)
    start = max(mark.start - shift, 0)
    end = min(max(mark.end - shift, start + 1), len(shown) + 1)
    shown = "".join(" " if char in "\t\f" else char if char.isprintable() else "\ufffd" for char in shown)
    before = _columns(shown[:start])
    length = max(_columns(shown[start:end]), 1)
    under = f"{' ' * gutter} | {' ' * before}{mark.sign * length} {printable(mark.text)}"
    return [f"{mark.line:>{gutter}} | {shown}", under] if with_source else [under]


def _columns(text: str) -> int:
    """The columns that a text fills on a terminal."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)


def _remark(gutter: int, text: str) -> str:
    first, *rest = lines_printable(text).split("\n")
    return "\n".join([f"{' ' * gutter} = {first}", *(f"{' ' * (gutter + 3)}{line}" for line in rest)])
