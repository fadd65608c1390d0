"""Text with holes: numbers that may differ between two instances of one class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from ....compiler.names import quoted

_HOLE = re.compile("\x02([^\x03\x04]*)\x04([^\x03]*)\x03")


class Hole(NamedTuple):
    """A number in a text, and what it is called where it stands."""

    value: str
    hint: str


def number(value: float, hint: str = "") -> str:
    """A number as a hole."""
    return f"\x02{value!r}\x04{hint}\x03"


def literal(value: Any, hint: str = "") -> str:
    """A Python value as text, its numbers as holes."""
    if isinstance(value, bool) or value is None:
        return repr(value)
    if isinstance(value, (int, float)) and value == value and abs(value) != float("inf"):
        return number(value, hint)
    if isinstance(value, float):
        return f'float("{value}")'
    if isinstance(value, tuple):
        items = [literal(item, hint) for item in value]
        return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"
    if isinstance(value, list):
        return f"[{', '.join(literal(item, hint) for item in value)}]"
    if isinstance(value, str):
        return quoted(value)
    return repr(value)


def holes(text: str) -> list[Hole]:
    """The holes in order."""
    return [Hole(*found) for found in _HOLE.findall(text)]


def skeleton(text: str) -> str:
    """The text without its numbers."""
    return _HOLE.sub("\x02\x03", text)


def fill(text: str, values: Sequence[str]) -> str:
    """The text with the holes filled in order."""
    remaining = iter(values)
    return _HOLE.sub(lambda _: next(remaining), text)


def plain(text: str) -> str:
    """The text with its own numbers."""
    return _HOLE.sub(lambda found: found[1], text)


def wrap(line: str, width: int = 100) -> list[str]:
    """A long line of code broken at the commas of its last bracket that can be broken."""
    if len(line) <= width:
        return [line]
    indent = line[: len(line) - len(line.lstrip())]
    line = _bracketed(line, width)
    found = _outer_group(line)
    if found is None:
        return [line]
    opening, closing, commas = found
    starts = [opening + 1, *(comma + 1 for comma in commas)]
    ends = [*commas, closing]
    pieces = [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]
    pieces = [piece for piece in pieces if piece]
    # What stands before may be too long for itself; the bracket that is still open holds no group yet.
    lines = wrap(line[: opening + 1], width)
    joined = f"{indent}    {', '.join(pieces)}"
    # A lone starred or generator argument takes no comma behind it.
    if len(joined) <= width and len(pieces) > 1:
        lines.append(joined)
    else:
        comma = "," if len(pieces) > 1 else ""
        repeated = re.fullmatch(r"(.*\)) (for _ in range\(\d+\))", pieces[0]) if len(pieces) == 1 else None
        if repeated:
            lines += [*wrap(f"{indent}    {repeated[1]}", width), f"{indent}    {repeated[2]}"]
            return [*lines, f"{indent}{line[closing:]}"]
        for piece in pieces:
            lines.extend(wrap(f"{indent}    {piece}{comma}", width))
    return [*lines, f"{indent}{line[closing:]}"]


def _bracketed(line: str, width: int) -> str:
    """The line with brackets around a bare tuple that is too long for itself, so that it can be broken."""
    names = re.fullmatch(r"(\s*)(return |)(\w+(?:, \w+)+)(, .+| = .+|)", line)
    if names is None or len(names[1] + names[2] + names[3]) <= width:
        return line
    if names[2]:
        return f"{names[1]}return ({names[3]}{names[4]})"
    return f"{names[1]}({names[3]}){names[4]}"


def _outer_group(line: str) -> tuple[int, int, list[int]] | None:
    """The last bracket at depth 0 with something in it: its place, its end and its commas."""
    depth, best, opening, commas = 0, None, -1, []
    mark, escaped = "", False
    for position, letter in enumerate(line):
        if mark:
            if letter == mark and not escaped:
                mark = ""
            escaped = letter == "\\" and not escaped
        elif letter in "\"'":
            mark = letter
        elif letter in "([{":
            if depth == 0:
                opening, commas = position, []
            depth += 1
        elif letter in ")]}":
            depth -= 1
            if depth == 0 and position > opening + 1:
                best = opening, position, commas
        elif letter == "," and depth == 1:
            commas.append(position)
    return best
