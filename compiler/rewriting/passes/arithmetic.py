"""Arithmetic with scalars that leaves every number as it is, NaN, infinities and -0 included.

Two scalars in a row are not made one: the sum or product between them is rounded, and may overflow.
"""

from __future__ import annotations

from math import copysign
from typing import Any

from ...dtypes import is_complex, is_float
from ...graph.graph import Node, Value
from ..editor import Editor
from ..match import Match, anything, op
from ..rule import Rule

# The right operand that leaves the left one as it is; -0 + 0 is 0, and -0 + -0 is -0.
_NEUTRAL = {"add": -0.0, "sub": 0.0, "mul": 1.0, "div": 1.0, "pow": 1.0}


def _scalar(node: Node) -> float | None:
    """The right operand, where it is a known number."""
    op: Any = node.op
    return float(op.scalar) if isinstance(op.scalar, (int, float)) and not op.reverse else None


def _is_neutral(match: Match) -> bool:
    result, x = match.root.results[0], match["x"]
    scalar, neutral = _scalar(match.root), _NEUTRAL[match.root.op.name]
    if result.type != x.type or scalar is None or scalar != neutral or is_complex(x.type.dtype):
        return False
    return not is_float(x.type.dtype) or copysign(1, scalar) == copysign(1, neutral)


def _operand(match: Match, editor: Editor) -> Value:
    return match["x"]


RULES = (Rule("drop a neutral scalar", "operators", op(*_NEUTRAL, x=anything("x")), _operand, _is_neutral),)
