"""Common subexpressions computed once; what nothing reads is not computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...graph.graph import Graph, Node, Value
from ...ops.core.promotion import exactly
from ..editor import Editor
from ..rule import Change, Log
from ..sweep import rebuild


def share(graph: Graph, log: Log | None = None) -> Graph:
    """The graph with equal applications to equal operands made once; the graph itself if there are none.

    Operators with effects stay as often as they are: each draws its own numbers. Nodes that nothing reads and
    that have no effect on state are left out.
    """
    if not (_repeats(graph) or _is_unread(graph)):
        return graph
    log = Log() if log is None else log
    known: dict[Any, Node] = {}

    def finish(node: Node, editor: Editor) -> Sequence[Value]:
        if not _may_be_shared(node):
            return node.results
        first = known.setdefault(_key(node), node)
        if first is node:
            return node.results
        if first.path is None:
            first.path = node.path
        first.origins = tuple(dict.fromkeys((*first.origins, *node.origins)))
        log.applied += 1
        if editor.is_static(node.results[0]):
            return first.results
        log.changes.append(Change("compute once", "operators", first.path or "", first.origins))
        return first.results

    return rebuild(graph, finish)


def _may_be_shared(node: Node) -> bool:
    return not (node.op.source or node.bodies or node.effects) and bool(node.results)


def _key(node: Node) -> Any:
    """What tells two applications apart: -0 and 0 are different arguments, and so are 1 and true."""
    arguments = tuple(exactly(getattr(node.op, name)) for name in node.op.arguments())
    return type(node.op), arguments, node.inputs, node.slots


def _repeats(graph: Graph) -> bool:
    """Whether two applications are equal, on operands that are one."""
    known: set[Any] = set()
    for node in graph.nodes:
        if _may_be_shared(node):
            key = _key(node)
            if key in known:
                return True
            known.add(key)
    return False


def _is_unread(graph: Graph) -> bool:
    """Whether there are nodes that neither a result nor an effect on state needs."""
    needed = {value.node for value in graph.inputs}
    stack = [value.node for value in graph.outputs]
    stack += [node for node in graph.nodes if "state" in node.effects]
    while stack:
        node = stack.pop()
        if node not in needed:
            needed.add(node)
            stack.extend(value.node for value in node.inputs)
    return len(needed) < len(graph.nodes)
