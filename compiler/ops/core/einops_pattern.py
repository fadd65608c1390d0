"""Patterns of named axes: `"b (h p) w -> b h (p w)"`, as in einops (Rogozhnikov 2022,
openreview.net/forum?id=oapKSVM2bcj).

A pattern has two sides; a side is a row of groups; a group is an axis or several in parentheses, the first of
which varies slowest. `1` and `()` are an axis of size 1, `...` any number of axes, an integer an axis without
a name.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from .rules import ShapeError

ELLIPSIS = "..."
Span = tuple[int, int]
_TOKEN = re.compile(r"\s*(->|\.\.\.|[()]|\w+|\S)")


class Axis(NamedTuple):
    """An elementary axis: its name (`...` for any number of them), where it is written, its size if it is a
    number.

    The name of a number holds its place, so that each is an axis of its own.
    """

    name: str
    span: Span
    size: int | None = None


Group = tuple[Axis, ...]
Names = tuple[tuple[str, ...], ...]


class Side(NamedTuple):
    """One side of the arrow: its groups, which of them have parentheses, and where it is written."""

    groups: tuple[Group, ...]
    wrapped: tuple[bool, ...]
    span: Span

    def axes(self) -> list[Axis]:
        """All elementary axes in order."""
        return [axis for group in self.groups for axis in group]

    def has(self, name: str) -> bool:
        """Whether an axis of that name is on this side."""
        return any(axis.name == name for axis in self.axes())

    def expanded(self, extra: int) -> Names:
        """The names of each group, with `...` replaced by `extra` axes: groups of their own, or members of
        its group.
        """
        rest = tuple(f"{ELLIPSIS}{number}" for number in range(extra))
        found: list[tuple[str, ...]] = []
        for group, wrapped in zip(self.groups, self.wrapped, strict=True):
            if not wrapped and group and group[0].name == ELLIPSIS:
                found += [(name,) for name in rest]
            else:
                found.append(
                    tuple(
                        name for axis in group for name in (rest if axis.name == ELLIPSIS else (axis.name,))
                    )
                )
        return tuple(found)


class Pattern(NamedTuple):
    """Both sides."""

    left: Side
    right: Side

    def extra(self, rank: int) -> int:
        """How many axes `...` stands for in an input of that rank; `ShapeError` where it does not fit."""
        groups = len(self.left.groups)
        if not self.left.has(ELLIPSIS):
            if rank != groups:
                message = f"the pattern's input has {groups} axes, and there are {rank}"
                raise ShapeError(message, "rank", (("x", None),), "pattern", at=self.left.span)
            return 0
        if rank < groups - 1:
            message = f"the pattern's input has at least {groups - 1} axes, and there are {rank}"
            raise ShapeError(message, "rank", (("x", None),), "pattern", at=self.left.span)
        return rank - groups + 1


def wrong(message: str, at: Span, help: str | None = None) -> ShapeError:
    """An error inside the pattern."""
    return ShapeError(message, "value", (), "pattern", help, at)


@lru_cache(maxsize=4096)
def parse(text: str) -> Pattern:
    """Read a pattern; `ShapeError` with the offsets of what is wrong."""
    tokens = [(found.group(1), found.span(1)) for found in _TOKEN.finditer(text)]
    arrows = [number for number, (token, _) in enumerate(tokens) if token == "->"]
    if not arrows:
        raise wrong("the pattern has no `->`", (0, len(text)), 'write it as "input -> result"')
    if len(arrows) > 1:
        raise wrong("the pattern has a second `->`", tokens[arrows[1]][1])
    left = _side(tokens[: arrows[0]], (0, tokens[arrows[0]][1][0]))
    right = _side(tokens[arrows[0] + 1 :], (tokens[arrows[0]][1][1], len(text)))
    for group, wrapped in zip(left.groups, left.wrapped, strict=True):
        for axis in group:
            if wrapped and axis.name == ELLIPSIS:
                raise wrong("`...` cannot stand in parentheses on the left", axis.span)
    if right.has(ELLIPSIS) and not left.has(ELLIPSIS):
        span = next(axis.span for axis in right.axes() if axis.name == ELLIPSIS)
        raise wrong("`...` is on the right alone", span, "write it on the left too")
    return Pattern(left, right)


def _side(tokens: list[tuple[str, Span]], span: Span) -> Side:
    groups: list[Group] = []
    wrapped: list[bool] = []
    seen: set[str] = set()
    opened: Span | None = None
    inside: list[Axis] = []
    for token, at in tokens:
        if token == "(":
            if opened is not None:
                raise wrong("parentheses do not nest", at)
            opened, inside = at, []
        elif token == ")":
            if opened is None:
                raise wrong("`)` closes nothing", at)
            groups.append(tuple(inside))
            wrapped.append(True)
            opened = None
        else:
            axis = _axis(token, at)
            if axis is not None and axis.name in seen:
                raise wrong(f"`{token}` is twice on this side", at)
            members = () if axis is None else (axis,)
            seen.update(member.name for member in members)
            if opened is None:
                groups.append(members)
                wrapped.append(False)
            else:
                inside += members
    if opened is not None:
        raise wrong("`(` is not closed", opened)
    return Side(tuple(groups), tuple(wrapped), span)


def _axis(token: str, at: Span) -> Axis | None:
    """The axis of a token; None for 1, which needs no name."""
    if token == ELLIPSIS:
        return Axis(token, at)
    if token.isascii() and token.isdigit():
        size = int(token)
        if size == 0:
            raise wrong("an axis cannot have the size 0 here", at)
        return None if size == 1 else Axis(f"{token}@{at[0]}", at, size)
    if not token.isidentifier():
        raise wrong(
            f"`{token}` is not a name of an axis", at, "use names, integers, `...`, parentheses and spaces"
        )
    if token[0] == "_" or token[-1] == "_":
        raise wrong(f"`{token}`: the name of an axis neither starts nor ends with an underscore", at)
    return Axis(token, at)
