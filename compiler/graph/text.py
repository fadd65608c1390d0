"""Graphs as text, one line a node; the same graph always gives the same text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

from ..ops.core.base import Op
from ..ops.source import Input, ReadWeight
from ..sizes.dims import Dim, render
from .graph import Graph, Node, Tree, Value

# Arguments with an entry for each spatial axis, or for both sides of each: equal entries are written once.
_PER_AXIS = frozenset({"stride", "pad", "dilation", "kernel", "output_pad"})


def print_graph(graph: Graph) -> str:
    """The graph as text.

    A line shows the results with their types, the operator with its operands, its arguments where they differ
    from the defaults, and the label path (or the scope of a call without a label). Weights are written by
    path where they are read.

        graph net(image: [B, 3, H, W]) {
          %2: [B, 8, H//2, W//2] = conv(%0, .weight) stride=2 pad=1  # stem
          %3: [B, 8, H//2, W//2] = relu(%2)
          return %3
        }
    """
    return "\n".join(_graph_lines(graph)) + "\n"


def print_node(node: Node) -> str:
    """The line of a node, without its bodies."""
    if isinstance(node.op, ReadWeight):
        return f"{_results(node)} = weight {node.op.path}"
    if isinstance(node.op, Input):
        return f"{_results(node)} = input {node.op.label}"
    # Not strict, so that a broken node can be shown in an error.
    operands = [_operand(node, slot, value) for slot, value in zip(node.slots, node.inputs, strict=False)]
    words = [f"{_results(node)} = {node.op.title}({', '.join(operands)})", *arguments_text(node.op)]
    scope = node.region.path if node.region else ""
    comment = f"  # {node.path}" if node.path else f"  # in {scope}" if scope else ""
    return " ".join(words) + comment


def arguments_text(op: Op) -> list[str]:
    """The arguments that differ from their defaults, each as `name=value`."""
    shown: list[str] = []
    for argument in op.arguments().values():
        value = getattr(op, argument.name)
        if argument.required or value != argument.default:
            if argument.name in _PER_AXIS:
                value = _collapse(value)
                if not argument.required and value == _collapse(argument.default):
                    continue
            shown.append(f"{argument.name}={_text(value)}")
    return shown


def _graph_lines(graph: Graph) -> Iterator[str]:
    inputs = [f"{name}: {value.type}" for name, value in zip(graph.input_names, graph.inputs, strict=True)]
    numbers = ", ".join(str(value) for value in graph.inputs)
    yield f"graph {graph.name}({', '.join(inputs)}) {{" + (f"  # {numbers}" if numbers else "")
    for guard in graph.guards:
        yield f"  guard {guard}"
    for node in graph.nodes:
        if node.op.source:
            continue
        yield f"  {print_node(node)}"
        for number, body in enumerate(node.bodies):
            for line in _graph_lines(body):
                yield f"    {f'body {number}: ' if line.startswith('graph ') else ''}{line}"
    yield f"  return {_tree(graph.output)}"
    yield "}"


def _results(node: Node) -> str:
    return ", ".join(f"{value}: {value.type}" for value in node.results)


def _operand(node: Node, slot: str, value: Value) -> str:
    op = value.node.op
    if not isinstance(op, ReadWeight):
        return str(value)
    return f".{slot}" if op.path == f"{node.path}.{slot}" else f"{slot}={op.path}"


def _tree(tree: Tree) -> str:
    if isinstance(tree, Value):
        op = tree.node.op
        return op.path if isinstance(op, ReadWeight) else str(tree)
    if isinstance(tree, tuple):
        return f"({', '.join(_tree(item) for item in tree)}{',' if len(tree) == 1 else ''})"
    if isinstance(tree, list):
        return f"[{', '.join(_tree(item) for item in tree)}]"
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{key}: {_tree(item)}" for key, item in tree.items()) + "}"
    return _text(tree)


def _collapse(value: Any) -> Any:
    """A tuple of equal entries as one of them."""
    if not isinstance(value, tuple):
        return value
    entries = tuple([_collapse(item) for item in cast("tuple[Any, ...]", value)])
    return entries[0] if len(set(entries)) == 1 else entries


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(_text(item) for item in cast("tuple[Any, ...]", value)) + "]"
    if isinstance(value, Dim):
        return render(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return "none" if value is None else str(value)
