"""Common subexpressions computed once; what nothing reads is not computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graph import Graph, Node, Value
from ..rewrite import Change, Editor, Log, rebuild


def share(graph: Graph, log: Log | None = None) -> Graph:
    """The graph with equal applications to equal operands made once; the graph itself if there are none.

    Operators with effects stay as often as they are: each draws its own numbers. Nodes that nothing reads and
    that have no effect on state are left out.
    """
    log = Log() if log is None else log
    before = log.applied
    known: dict[Any, Node] = {}

    def finish(node: Node, editor: Editor) -> Sequence[Value]:
        if node.bodies or node.effects or not node.results:
            return node.results
        first = known.setdefault((node.op, node.inputs, node.slots), node)
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

    found = rebuild(graph, finish)
    return found if log.applied > before or len(found.nodes) < len(graph.nodes) else graph
