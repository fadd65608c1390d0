"""What is known before a graph runs: values that depend on weights and constants alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from functools import lru_cache
from typing import Any, cast

from ..ops.core.base import Op
from ..ops.source import ReadWeight
from ..sizes.dims import Dim
from .graph import Graph, Node


def static_nodes(graph: Graph) -> frozenset[Node]:
    """The nodes that depend on no input: weights, constants, and what is computed from them alone."""
    found: set[Node] = set()
    for node in graph.nodes:
        if is_static_node(node, found):
            found.add(node)
    return frozenset(found)


def is_static_node(node: Node, known: Set[Node]) -> bool:
    """Whether a node whose static operands are `known` is static: no randomness, no state, no free size."""
    if node.op.source:
        return isinstance(node.op, ReadWeight)
    return (
        not node.bodies
        and all(value.node in known for value in node.inputs)
        and not node.op.effects
        and not _takes_symbol(node.op)
        and not any(has_symbol(value.shape) for value in node.results)
    )


@lru_cache(4096)
def _takes_symbol(op: Op) -> bool:
    return any(has_symbol(getattr(op, name)) for name in op.arguments())


def has_symbol(thing: Any) -> bool:
    """Whether a free size stands anywhere in sizes or arguments."""
    if isinstance(thing, Dim):
        return True
    if isinstance(thing, (tuple, list)):
        return any(has_symbol(item) for item in cast("Sequence[Any]", thing))
    if isinstance(thing, Mapping):
        return any(has_symbol(item) for item in cast("Mapping[Any, Any]", thing).values())
    return False
