"""Joining and cutting that undo each other: concat, stack, split, chunk, unbind, slice, select, narrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...graph.graph import Value
from ...ops.core.rules import axis_of
from ...sizes.dims import Size
from ..editor import Editor
from ..match import Match, anything, op
from ..rule import Rule
from .views import same_shape

_CUTS = ("split", "chunk", "narrow", "slice")


def _axis(value: Value) -> int:
    """The axis of a concat, split, ...; of a stack the new one."""
    op: Any = value.node.op
    return axis_of(op.axis, len(value.shape))


def _along(match: Match, name: str = "x") -> int:
    """The axis of the operand that the root cuts."""
    op: Any = match.root.op
    return axis_of(op.axis, len(match[name].shape))


def _parts(value: Value) -> tuple[Value, ...]:
    """The operands of a concat or stack."""
    return value.node.inputs


# --- concat and stack ---


def _is_one(match: Match) -> bool:
    (result,) = match.root.results
    return len(match.root.inputs) == 1 and match.root.inputs[0].type.dtype == result.type.dtype


def _only(match: Match, editor: Editor) -> Value:
    return match.root.inputs[0]


def _nests(match: Match) -> bool:
    return any(_inside(match, value) for value in match.root.inputs)


def _inside(match: Match, value: Value) -> bool:
    """A concat that only this one reads, on the same axis."""
    return (
        value.node.op.name == "concat"
        and match.facts.uses(value) == 1
        and _axis(value) == _axis(match.root.results[0])
        and value.type.dtype == match.root.results[0].type.dtype
    )


def _flat(match: Match, editor: Editor) -> Value:
    parts: list[Value] = []
    for value in match.root.inputs:
        parts += _parts(value) if _inside(match, value) else (value,)
    match.cover(*[value.node for value in match.root.inputs if _inside(match, value)])
    return editor.add("concat", *parts, axis=_axis(match.root.results[0]))


def _rejoins(match: Match) -> bool:
    """The operands are all the pieces of one cut, in order, along the same axis."""
    root, first = match.root, match.root.inputs[0].node
    wanted = ("unbind",) if root.op.name == "stack" else ("split", "chunk")
    if first.op.name not in wanted or root.inputs != first.results:
        return False
    op: Any = first.op
    return axis_of(op.axis, len(first.inputs[0].shape)) == _axis(root.results[0])


def _before(match: Match, editor: Editor) -> Value:
    cut = match.root.inputs[0].node
    match.cover(cut)
    return cut.inputs[0]


# --- cuts of what was joined ---


def _interval(match: Match) -> list[tuple[Size, Size]] | None:
    """(start, length) of each result of a cut along its axis; None where that is not plain."""
    op: Any = match.root.op
    along = _along(match)
    lengths = [value.shape[along] for value in match.root.results]
    if op.name == "narrow":
        return [(op.start, op.length)] if isinstance(op.start, int) and op.start >= 0 else None
    if op.name == "slice":
        plain = op.step == 1 and (op.start is None or (isinstance(op.start, int) and op.start >= 0))
        return [(op.start or 0, lengths[0])] if plain else None
    found: list[tuple[Size, Size]] = []
    start: Size = 0
    for length in lengths:
        found.append((start, length))
        start = start + length
    return found


def _cuts_at_joints(match: Match) -> bool:
    return _axis(match["x"]) == _along(match) and _pieces(match) is not None


def _pieces(match: Match) -> list[Value] | None:
    """The operands of the concat that the results of the cut are, if each is one."""
    joined = match["x"]
    along = _axis(joined)
    if any(part.type.dtype != joined.type.dtype or len(part.shape) <= along for part in _parts(joined)):
        return None
    starts: list[tuple[Size, Value]] = []
    start: Size = 0
    for part in _parts(joined):
        starts.append((start, part))
        start = start + part.shape[along]
    found: list[Value] = []
    for start, length in _interval(match) or ():
        for at, part in starts:
            if at == start and part.shape[along] == length:
                found.append(part)
                break
        else:
            return None
    return found or None


def _take_pieces(match: Match, editor: Editor) -> Sequence[Value]:
    found = _pieces(match)
    assert found is not None
    return found


def _unstacks(match: Match) -> bool:
    if _axis(match["x"]) != _along(match) or any(
        part.type.dtype != match["x"].type.dtype for part in _parts(match["x"])
    ):
        return False
    return match.root.op.name == "unbind" or _selected(match) is not None


def _selected(match: Match) -> Value | None:
    op: Any = match.root.op
    parts = _parts(match["x"])
    known = isinstance(op.index, int) and -len(parts) <= op.index < len(parts)
    return parts[op.index] if known else None


def _unstack(match: Match, editor: Editor) -> Sequence[Value]:
    if match.root.op.name == "unbind":
        return _parts(match["x"])
    found = _selected(match)
    assert found is not None
    return (found,)


def _is_whole(match: Match) -> bool:
    results = match.root.results
    return len(results) == 1 and same_shape(results[0].shape, match["x"].shape)


def _operand(match: Match, editor: Editor) -> Value:
    return match["x"]


_X = anything("x")
_CONCAT = op("concat", bind="x")
_STACK = op("stack", bind="x")

RULES = (
    Rule("drop a concat of one", "operators", op("concat"), _only, _is_one),
    Rule("join what was cut", "operators", op("concat", "stack"), _before, _rejoins),
    Rule("flatten nested concats", "operators", op("concat"), _flat, _nests),
    Rule("take the parts of a concat", "operators", op(*_CUTS, x=_CONCAT), _take_pieces, _cuts_at_joints),
    Rule("take the parts of a stack", "operators", op("unbind", "select", x=_STACK), _unstack, _unstacks),
    Rule("drop a cut into one piece", "operators", op("split", "chunk", x=_X), _operand, _is_whole),
)
