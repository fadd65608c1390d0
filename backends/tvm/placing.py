"""Which values lie with their channels last.

Convolutions write channels in blocks, which they read best. Where a permutation takes channels to the end, or
back, it costs nothing if they are last; values that are combined element by element lie alike.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...compiler.analysis import connected
from ...compiler.fusion.roles import role_of
from ...compiler.graph import Graph, Node, Value
from .aliases import is_to_first, is_to_last
from .grouping import main_of, members_of


def channels_last(graph: Graph) -> set[Value]:
    """The values of a graph of kernels that lie with axis 1 last."""
    alike: list[tuple[Value, Value]] = []
    wanted: set[Value] = set()
    for node in graph.operators():
        if is_to_last(node):
            wanted.add(node.inputs[0])
        elif is_to_first(node):
            wanted.add(node.results[0])
        else:
            wanted |= _turned(node)
            alike += _alike(node)
    return connected(alike, wanted)


def _turned(node: Node) -> set[Value]:
    """Results whose channels a kernel puts first behind its main operator, as neighbours."""
    if node.op.name != "fused" or main_of(members_of(node)) is None:
        return set()
    found: set[Value] = set()
    for result, inner in zip(node.results, node.bodies[0].outputs, strict=True):
        at = inner
        while at.node.op.name != "input" and role_of(at.node) in ("elementwise", "view"):
            if is_to_first(at.node):
                found.add(result)
            if not at.node.inputs:
                break
            at = at.node.inputs[0]
    return found


def _alike(node: Node) -> Iterator[tuple[Value, Value]]:
    """A kernel's operands and results that are combined element by element."""
    members = members_of(node)
    main = main_of(members)
    body = dict(zip(node.bodies[0].inputs, node.inputs, strict=True)) if node.op.name == "fused" else {}
    for member in members:
        if member is main or role_of(member) not in ("elementwise", "window"):
            continue
        operands = [body.get(value, value) for value in member.inputs]
        for operand in operands:
            for result in node.results:
                same = operand.shape[:2] == result.shape[:2] and len(operand.shape) == len(result.shape) > 2
                if same and operand in node.inputs:
                    yield operand, result
