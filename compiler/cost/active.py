"""What routing leaves idle: of equal parts of an operator, as experts are, a position uses some.

An operator says so with a rule `parts`: how many of how many parts, and which operands are divided among
them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..ops.source import ReadWeight
from ..sizes.dims import Size
from .rows import Row


def idle_params(rows: Iterable[Row]) -> int:
    """The parameters of parts that a position does not use; a shared weight counts once."""
    idle: dict[str, int] = {}
    for row in rows:
        parts = _parts(row)
        if parts is None:
            continue
        used, of, slots = parts
        for slot, value in zip(row.node.slots, row.node.inputs, strict=True):
            if slot in slots and isinstance(value.node.op, ReadWeight):
                size = 1
                for axis in value.shape:
                    assert isinstance(axis, int), "the sizes of weights are known"
                    size *= axis
                idle[value.node.op.path] = size // of * (of - used)
    return sum(idle.values())


def macs_of_all_parts(row: Row) -> Size:
    """The multiply-adds of a row if all parts were used."""
    parts = _parts(row)
    return row.cost.macs if parts is None else row.cost.macs // parts[0] * parts[1]


def _parts(row: Row) -> tuple[int, int, tuple[str, ...]] | None:
    rule: Any = getattr(row.node.op, "parts", None)
    if rule is None:
        return None
    op, node = row.node.op, row.node
    return op.call(rule, op.arrange(node.slots, [value.shape for value in node.inputs]))
