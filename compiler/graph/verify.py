"""Checks that a graph is well formed; run between passes."""

from __future__ import annotations

from ..dtypes import DTYPES
from ..errors import PlanformError
from ..ops.core.base import Op
from ..ops.core.rules import ShapeError
from ..ops.source import Input, ReadWeight
from ..sizes.dims import assuming, equal
from ..types import TensorType
from .graph import Graph, Node, Value, Weight, leaves
from .text import print_node


class GraphError(PlanformError):
    """A graph that breaks a rule of its structure: a fault of whoever built it, never of a plan."""

    def __init__(self, message: str, graph: Graph, node: Node | None = None) -> None:
        where = f"{graph.name}: {print_node(node)}" if node else graph.name
        super().__init__(f"{message}\n  in {where}")
        self.message = message
        self.node = node


def verify(graph: Graph) -> None:
    """Raise `GraphError` unless these hold, in bodies too.

    Nodes are numbered in order and come after what they read; every value used is a result of a node of the
    graph; the operands have slots that the operator knows, and inference from their types gives the types of
    the results; inputs and weights agree with the graph's lists; the initial contents of weights are graphs
    without inputs that give the weight's type.
    """
    with assuming(graph.facts):
        _verify(graph)


def _verify(graph: Graph) -> None:
    known: set[Value] = set()
    for number, node in enumerate(graph.nodes):
        if node.id != number:
            raise GraphError(f"the node at place {number} has the number {node.id}", graph, node)
        _check_results(graph, node)
        for value in node.inputs:
            if value not in known:
                raise GraphError(
                    f"{value} is read before it is made, or belongs to another graph", graph, node
                )
        if not node.op.source:
            _check_slots(graph, node)
            _check_types(graph, node)
        elif node.inputs:
            raise GraphError("a source has no operands", graph, node)
        for body in node.bodies:
            verify(body)
        known.update(node.results)
    _check_inputs(graph)
    _check_weights(graph)
    for value in graph.outputs:
        if value not in known:
            raise GraphError(f"the result {value} belongs to another graph", graph)


def _check_results(graph: Graph, node: Node) -> None:
    for index, value in enumerate(node.results):
        if value.node is not node or value.index != index:
            raise GraphError(f"result {index} is {value}", graph, node)
        if value.type.dtype not in DTYPES:
            raise GraphError(f"{value} has the unknown element type {value.type.dtype}", graph, node)


def _check_slots(graph: Graph, node: Node) -> None:
    arities = {operand.name: operand.arity for operand in node.op.signature()}
    if len(node.slots) != len(node.inputs):
        raise GraphError(f"{len(node.inputs)} operands have {len(node.slots)} slots", graph, node)
    for slot in dict.fromkeys(node.slots):
        if slot not in arities:
            raise GraphError(f"{node.op.title} has no operand {slot}", graph, node)
        if node.slots.count(slot) > 1 and arities[slot] != "many":
            raise GraphError(f"the operand {slot} is given twice", graph, node)
    for slot, arity in arities.items():
        if arity == "one" and slot not in node.slots:
            raise GraphError(f"the operand {slot} is missing", graph, node)


def _check_types(graph: Graph, node: Node) -> None:
    op: Op = node.op
    try:
        types, _ = op.infer(tuple([value.type for value in node.inputs]), node.slots, node.bodies)
    except ShapeError as error:
        raise GraphError(error.message, graph, node) from error
    if len(types) != len(node.results):
        raise GraphError(f"{len(node.results)} results, and inference gives {len(types)}", graph, node)
    for value, wanted in zip(node.results, types, strict=True):
        if not same_type(value.type, wanted):
            raise GraphError(f"{value} is {value.type}, and inference gives {wanted}", graph, node)


def _check_inputs(graph: Graph) -> None:
    made = tuple(value for node in graph.nodes if isinstance(node.op, Input) for value in node.results)
    if made != graph.inputs:
        raise GraphError(f"the inputs are {graph.inputs}, and the nodes of inputs give {made}", graph)
    names = tuple(value.node.op.label for value in made if isinstance(value.node.op, Input))
    if names != graph.input_names or len(set(names)) != len(names):
        raise GraphError(f"the inputs are called {graph.input_names}, and their nodes {names}", graph)


def _check_weights(graph: Graph) -> None:
    read: set[str] = set()
    for node in graph.nodes:
        if isinstance(node.op, ReadWeight):
            path = node.op.path
            weight = graph.weights.get(path)
            if weight is None:
                raise GraphError(f"the weight {path} is not in the table", graph, node)
            if path in read:
                raise GraphError(f"the weight {path} has two nodes", graph, node)
            if node.results[0].type != weight.type:
                raise GraphError(f"the weight {path} is {weight.type} in the table", graph, node)
            read.add(path)
    for path, weight in graph.weights.items():
        if path != weight.path:
            raise GraphError(f"the table has the weight {weight.path} under {path}", graph)
        if path not in read:
            raise GraphError(f"the weight {path} is in the table, and nothing reads it", graph)
        _check_initial_content(graph, weight)


def _check_initial_content(graph: Graph, weight: Weight) -> None:
    if not isinstance(weight.init, Graph):
        return
    verify(weight.init)
    results = tuple(leaves(weight.init.output))
    if weight.init.inputs or len(results) != 1 or not same_type(results[0].type, weight.type):
        raise GraphError(
            f"the initial content of {weight.path} is not a graph that gives {weight.type}", graph
        )


def same_type(left: TensorType, right: TensorType) -> bool:
    """Whether the element types are the same and the sizes are proved equal."""
    return left == right or (
        left.dtype == right.dtype
        and len(left.shape) == len(right.shape)
        and all(equal(a, b) is True for a, b in zip(left.shape, right.shape, strict=True))
    )
