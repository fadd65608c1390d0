"""Arithmetic with scalars that does nothing, or twice what can be done once."""

from __future__ import annotations

from typing import Any

from ..dtypes import is_float
from ..graph import Node, Value
from ..match import Match, Pattern, anything, op
from ..rewrite import Editor, Rule

# The right operand that leaves the left one as it is.
_NEUTRAL = {"add": 0, "sub": 0, "mul": 1, "div": 1, "pow": 1}


def _scalar(node: Node) -> float | None:
    """The right operand, where it is a known number."""
    op: Any = node.op
    return float(op.scalar) if isinstance(op.scalar, (int, float)) and not op.reverse else None


def _is_neutral(match: Match) -> bool:
    same = match.root.results[0].type == match["x"].type
    return same and _scalar(match.root) == _NEUTRAL[match.root.op.name]


def _operand(match: Match, editor: Editor) -> Value:
    return match["x"]


def _both_known(match: Match) -> bool:
    """Two scalars, on floats throughout, so that no rounding to integers lies between."""
    types = {value.type.dtype for value in (match["x"], match["inner"], match.root.results[0])}
    return (
        len(types) == 1
        and all(is_float(dtype) for dtype in types)
        and _scalar(match.root) is not None
        and _scalar(match.node("inner")) is not None
    )


def _summed(match: Match, editor: Editor) -> Value:
    amount = sum(_signed(node) for node in (match.root, match.node("inner")))
    return editor.add("add", match["x"], scalar=amount)


def _signed(node: Node) -> float:
    scalar = _scalar(node) or 0.0
    return -scalar if node.op.name == "sub" else scalar


def _multiplied(match: Match, editor: Editor) -> Value:
    outer, inner = _scalar(match.root), _scalar(match.node("inner"))
    assert outer is not None and inner is not None
    return editor.add("mul", match["x"], scalar=outer * inner)


_X = anything("x")


def _twice(*names: str) -> Pattern:
    return op(*names, x=op(*names, x=_X, bind="inner", once=True))


RULES = (
    Rule("drop a neutral scalar", "operators", op(*_NEUTRAL, x=_X), _operand, _is_neutral),
    Rule("add scalars once", "operators", _twice("add", "sub"), _summed, _both_known),
    Rule("multiply scalars once", "operators", _twice("mul"), _multiplied, _both_known),
)
