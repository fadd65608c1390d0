"""Checks of positions that data gives: a graph with the extremes of all that are not known to be in range.

Kernels hold positions within their axis, and so touch no other memory. What was given is wrong all the same,
and whoever called is told so: the extremes are results of the graph, beside its own, and in a loop one more
state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from ....compiler.dtypes import I64
from ....compiler.graph.builder import Builder
from ....compiler.graph.graph import Graph, Node, Value, map_leaves
from ....compiler.ops.constant import Literal
from ....compiler.ops.core.spans import Span, spans_of
from ....compiler.ops.positions import NOTHING_YET, Extremes, Positions
from ....compiler.ops.scan import Scan
from ....compiler.ops.source import Input, ReadWeight
from ....compiler.sizes.dims import Size, assuming, holds, prod
from ....compiler.types import TensorType

_EXTREMES = TensorType((2,), I64)


@dataclass(frozen=True)
class Checked:
    """Extremes that must be positions of an axis: `count` of them (of a loop, at each turn), below `size`."""

    size: Size
    count: Size
    about: str


def positions_of(node: Node) -> tuple[Value, Positions] | None:
    """The operand of a node that holds positions, and of what."""
    rule = getattr(node.op, "positions", None)
    if rule is None:
        return None
    shapes = [value.shape for value in node.inputs]
    declared: Positions = node.op.call(rule, node.op.arrange(node.slots, shapes), node.results[0].shape)
    return node.inputs[node.slots.index(declared.slot)], declared


def with_checks(graph: Graph) -> tuple[Graph, tuple[Checked, ...]]:
    """The graph, whose output is (its own, the extremes of each check), and the checks."""
    builder = Builder(graph.name)
    for guard in graph.guards:
        builder.guard(guard)
    with assuming(graph.facts):
        copy = _Copy(builder, graph)
        made = copy.run(lambda number: None)
    output = map_leaves(graph.output, copy.new.__getitem__), tuple(value for value, _ in made)
    return builder.freeze(output, copy.kept), tuple(checked for _, checked in made)


class _Copy:
    """A graph in a builder, and the extremes of its positions."""

    def __init__(self, builder: Builder, graph: Graph) -> None:
        self.builder = builder
        self.graph = graph
        self.new: dict[Value, Value] = {}
        self.kept: list[Value] = []
        self._spans: dict[Value, Span] = {}

    def run(self, before: Callable[[int], Value | None]) -> list[tuple[Value, Checked]]:
        """Copy all nodes; the extremes. `before` gives those that a check goes on from, by its number."""
        found: list[tuple[Value, Checked]] = []
        known: set[tuple[Value, Size, int | None]] = set()
        for node in self.graph.nodes:
            if isinstance(node.op, Scan):
                found += self._loop(node, node.op, before, len(found))
                continue
            self._copy(node)
            declared = positions_of(node)
            if declared is None:
                continue
            value, (_, size, column) = declared
            if (value, size, column) in known or self._in_range(value, size):
                continue
            known.add((value, size, column))
            earlier = before(len(found))
            operands = (self.new[value], *(() if earlier is None else (earlier,)))
            slots = ("x", "before")[: len(operands)]
            made = self.builder.add(Extremes(column=column), operands, slots)
            made.origins = node.origins
            count = prod(value.shape if column is None else value.shape[:-1])
            found.append((made.results[0], Checked(size, count, _about(node))))
        return found

    def _copy(self, node: Node) -> None:
        if isinstance(node.op, Input):
            made = self.builder.input(node.op.label, node.results[0].type).node
        elif isinstance(node.op, ReadWeight):
            made = self.builder.weight(self.graph.weights[node.op.path]).node
        else:
            made = self.builder.copy(node, [self.new[value] for value in node.inputs])
        made.origins = node.origins
        self._enter(node, made.results)

    def _enter(self, node: Node, results: Sequence[Value]) -> None:
        self.new.update(zip(node.results, results, strict=True))
        self._spans.update(zip(node.results, spans_of(node, self._spans), strict=True))
        if "state" in node.effects:
            self.kept.extend(results)

    def _in_range(self, value: Value, size: Size) -> bool:
        span = self._spans.get(value)
        return span is not None and bool(holds(">=", span[0], 0)) and bool(holds(">=", size - 1, span[1]))

    def _loop(
        self, node: Node, op: Scan, before: Callable[[int], Value | None], number: int
    ) -> list[tuple[Value, Checked]]:
        """A recurrence whose body may read at positions: their extremes so far are states of it."""
        body, checks = _with_states(node.bodies[0], op.states)
        if not checks:
            self._copy(node)
            return []
        operands = [self.new[value] for value in node.inputs]
        operands[1 + op.states : 1 + op.states] = [
            before(number + at) or self.builder.add(Literal(values=NOTHING_YET), (), ()).results[0]
            for at in range(len(checks))
        ]
        slots = ("xs",) * len(operands)
        longer = replace(cast("Any", op), states=op.states + len(checks))
        made = self.builder.add(longer, operands, slots, node.path, bodies=(body,))
        made.origins = node.origins
        count = len(node.results)
        self._enter(node, made.results[:count])
        turns = op.repetitions(*[value.shape for value in node.inputs])
        return [
            (value, replace(checked, count=checked.count * turns))
            for value, checked in zip(made.results[count:], checks, strict=True)
        ]


def _with_states(body: Graph, states: int) -> tuple[Graph, list[Checked]]:
    """The body of a recurrence that takes and gives the extremes too, behind the states it has."""
    builder = Builder(body.name)
    copy = _Copy(builder, body)
    entered: list[Value] = []

    def before(number: int) -> Value:
        entered.append(builder.input(f"extremes{len(entered)}", _EXTREMES))
        return entered[-1]

    found = copy.run(before)
    if not found:
        return body, []
    output, *rest = body.outputs
    new = tuple(copy.new[value] for value in (output, *rest))
    made = builder.freeze((*new, *(value for value, _ in found)), copy.kept)
    # Inputs come in the order of the operands: the slice, the states, what is captured.
    inputs = [copy.new[value] for value in body.inputs]
    inputs[1 + states : 1 + states] = entered
    nodes = (*(value.node for value in inputs), *(node for node in made.nodes if not node.op.source))
    for number, node in enumerate(nodes):
        node.id = number
    names = tuple(cast("Input", value.node.op).label for value in inputs)
    ordered = replace(made, nodes=nodes, inputs=tuple(inputs), input_names=names)
    return ordered, [checked for _, checked in found]


def _about(node: Node) -> str:
    """What reads at positions, and where it stands in the plan."""
    named = f" `{node.path}`" if node.path else ""
    place = f", at {node.origins[0].place}" if node.origins else ""
    return f"{node.op.title}{named}{place}"
