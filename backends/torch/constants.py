"""What depends on neither inputs nor weights, found and computed once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, fx, nn

from ...compiler.graph.graph import Graph, Node, Value
from ...compiler.sizes.dims import Dim
from .lower import GraphLowering


class Constants(NamedTuple):
    """The nodes that need not run, and those of their values that others read."""

    nodes: frozenset[Node]
    values: tuple[Value, ...]


def find_constants(graph: Graph) -> Constants:
    """The constant part of a graph: no input, no weight, no randomness, no symbolic size."""
    nodes: set[Node] = set()
    for node in graph.nodes:
        if (
            not node.op.source
            and not node.bodies
            and not node.effects
            and all(value.node in nodes for value in node.inputs)
            and not any(_symbolic(value.shape) for value in node.results)
            and not _symbolic(node.op)
        ):
            nodes.add(node)
    read = [value for node in graph.nodes if node not in nodes for value in node.inputs]
    values = [value for value in (*read, *graph.outputs) if value.node in nodes]
    return Constants(frozenset(nodes), tuple(dict.fromkeys(values)))


def evaluate(
    graph: Graph, nodes: Iterable[Node], values: Sequence[Value], dtype: torch.dtype
) -> list[Tensor]:
    """The values of constant nodes, on the CPU."""
    kept = frozenset(nodes)
    part = Graph(graph.name, tuple(n for n in graph.nodes if n in kept), (), (), tuple(values), {})
    lowered = GraphLowering(dtype).lower(part)
    with torch.no_grad(), torch.device("cpu"):
        return [torch.as_tensor(result).contiguous() for result in fx.GraphModule(nn.Module(), lowered)()]


def _symbolic(thing: Any) -> bool:
    if isinstance(thing, Dim):
        return True
    if isinstance(thing, (tuple, list)):
        return any(_symbolic(item) for item in cast("Sequence[Any]", thing))
    if isinstance(thing, Mapping):
        return any(_symbolic(item) for item in thing.values())
    return is_dataclass(thing) and any(_symbolic(getattr(thing, item.name)) for item in fields(thing))
