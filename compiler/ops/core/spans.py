"""Bounds of integers that are known before a plan runs: the `spans` rules of operators.

A span is the least and the greatest that elements may be, as sizes; None where nothing is known. It is enough
to see that what `argmax`, `arange`, `clamp` or `%` made are positions of an axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ...dtypes import BOOL, I64
from ...sizes.dims import Size, maximum, minimum

if TYPE_CHECKING:
    from ...graph.graph import Node, Value
    from ...types import TensorType

Span = tuple[Size, Size] | None
Types = Sequence["TensorType"]
"""Of the operands, in their order."""
Spans = Sequence[Span]
"""Of the operands, in their order."""


def either(spans: Iterable[Span]) -> Span:
    """Bounds of elements that are of one of these."""
    found: list[tuple[Size, Size]] = []
    for span in spans:
        if span is None:
            return None
        found.append(span)
    if not found:
        return None
    return minimum(*[least for least, _ in found]), maximum(*[most for _, most in found])


def below(size: Size) -> Span:
    """Bounds of positions on an axis of that size."""
    return (0, size - 1)


def spans_of(node: Node, known: dict[Value, Span]) -> list[Span]:
    """Bounds of a node's results, given those of values before it.

    Of i64 alone, and of booleans: narrower integers wrap. A rule that gives one span tells it of all results.
    """
    rule = getattr(node.op, "spans", None)
    types = [value.type for value in node.inputs]
    given = [known.get(value) for value in node.inputs]
    found: list[Span] = [None] if rule is None else rule(types, given)
    found = found * len(node.results) if len(found) == 1 else found
    return [
        (0, 1) if value.type.dtype == BOOL else span if value.type.dtype == I64 else None
        for value, span in zip(node.results, found, strict=True)
    ]
