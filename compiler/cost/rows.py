"""The cost of each operator of a graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ..dtypes import is_complex
from ..graph.graph import Graph, Node, Region, Value, Weight
from ..ops.core.base import Op
from ..ops.core.counts import Cost
from ..ops.fused import Fused
from ..ops.source import ReadWeight
from ..sizes.dims import Size, total
from ..types import TensorType
from .sizes import Binding
from .traffic import Traffic

BUFFER, FROZEN, TRAINABLE = "buffer", "frozen", "trainable"


class Row(NamedTuple):
    """One operator's cost; sizes may be symbolic.

    `path` is the label path of the call, or None. `types` are those of the results. Weights are counted, in
    elements, with the first operator that reads them. `activations` counts the elements that the operator
    writes; a view writes and reads nothing. All counts but those of weights are for all repetitions, of which
    there are `times`.
    """

    node: Node
    path: str | None
    region: Region | None
    types: tuple[TensorType, ...]
    trainable: int
    frozen: int
    buffers: int
    cost: Cost
    activations: Size
    bytes_read: Size
    bytes_written: Size
    times: Size = 1

    @property
    def op(self) -> str:
        """The operator's name for people."""
        return self.node.op.title

    @property
    def params(self) -> int:
        """Parameters, frozen ones too."""
        return self.trainable + self.frozen

    @property
    def bytes(self) -> Size:
        """Bytes read and written."""
        return self.bytes_read + self.bytes_written

    @property
    def scope(self) -> str:
        """The label path of the block call that the operator stands in; empty at the top."""
        return self.region.path if self.region else ""

    @property
    def blocks(self) -> tuple[str, ...]:
        """The names of the block calls around the operator, outermost first, without the model's."""
        return tuple(region.block for region in self.region.chain()) if self.region else ()


class _Work(NamedTuple):
    """What an application costs apart from its weights: the same for equal operators on equal types."""

    types: tuple[TensorType, ...]
    cost: Cost
    activations: Size
    bytes_read: Size
    bytes_written: Size


class Counter:
    """Counts graphs under one binding. Weights are counted where they are first read, bodies included."""

    def __init__(self, binding: Binding) -> None:
        self.binding = binding
        self.seen: set[str] = set()
        self._known: dict[Any, _Work] = {}

    def rows(self, graph: Graph, times: Size = 1) -> Iterator[Row]:
        """A row for each operator in order; the operators of bodies follow the node that runs them.

        A weight that no operator reads (it is a result of the graph) has a row of its own.
        """
        table = {
            node.results[0]: graph.weights[node.op.path]
            for node in graph.nodes
            if isinstance(node.op, ReadWeight)
        }
        for node in graph.nodes:
            if not node.op.source:
                yield self._row(node, table, times)
                for body in node.bodies:
                    rows = self.rows(body, times * self._repetitions(node))
                    # The members of a fused group pass values on without memory.
                    yield from map(_unmoved, rows) if isinstance(node.op, Fused) else rows
        for value, weight in table.items():
            if weight.path not in self.seen:
                yield self._count_weights(
                    value.node, (value,), table, _Work((value.type,), Cost(), 0, 0, 0), 1
                )

    def _row(self, node: Node, table: Mapping[Value, Weight], times: Size) -> Row:
        inputs = node.inputs
        if node.bodies:
            return self._count_weights(node, inputs, table, self._work(node), times)
        # Operands that are one value are read once, so that it matters which of them are.
        same = None if len(set(inputs)) == len(inputs) else tuple([inputs.index(value) for value in inputs])
        key = (node.op, tuple([value.type for value in inputs]), node.slots, same)
        work = self._known.get(key)
        if work is None:
            work = self._known[key] = self._work(node)
        return self._count_weights(node, inputs, table, work, times)

    def _count_weights(
        self, node: Node, inputs: tuple[Value, ...], table: Mapping[Value, Weight], work: _Work, times: Size
    ) -> Row:
        counts: dict[str, int] = dict.fromkeys((TRAINABLE, FROZEN, BUFFER), 0)
        for value in inputs:
            weight = table.get(value)
            if weight is not None and weight.path not in self.seen:
                self.seen.add(weight.path)
                counts[kind_of(weight)] += elements_of(weight)
        types, cost, activations, read, written = work
        if times != 1:
            cost, activations, read, written = (
                cost.scaled(times),
                activations * times,
                read * times,
                written * times,
            )
        return Row(
            node,
            node.path,
            node.region,
            types,
            counts[TRAINABLE],
            counts[FROZEN],
            counts[BUFFER],
            cost,
            activations,
            read,
            written,
            times,
        )

    def _work(self, node: Node) -> _Work:
        measure = self.binding.measure
        results = [measure(value.type) for value in node.results]
        types = tuple([result.type for result in results])
        shapes = node.op.arrange(node.slots, [measure(value.type).type.shape for value in node.inputs])
        out = types[0].shape if len(types) == 1 else [type.shape for type in types]
        cost = self.binding.cost(_count(node, shapes, out))
        if isinstance(node.op, Fused):
            (body,) = node.bodies
            members = [member for member in body.nodes if not member.op.source]
            moved = Traffic(self.binding).together(members, body.outputs)
            elements = total(result.elements for result in results)
            return _Work(types, cost, elements, moved.read, moved.written)
        # A body's operators move the data of the node that runs them.
        if node.op.view or node.bodies:
            return _Work(types, cost, 0, 0, 0)
        # `reads` and `writes` give elements by slot where an operator does not read all, or writes to an
        # operand.
        reads, writes = (self._elements(node.op, rule, shapes) for rule in ("reads", "writes"))
        read: dict[Value, Size] = {}
        written = [result.elements * result.width for result in results]
        for slot, value in zip(node.slots, node.inputs, strict=True):
            extent = measure(value.type)
            read.setdefault(value, self.binding.size(reads.get(slot, extent.elements)) * extent.width)
            if slot in writes:
                written.append(self.binding.size(writes[slot]) * extent.width)
        elements = total(result.elements for result in results)
        return _Work(types, cost, elements, total(read.values()), total(written))

    def _elements(self, op: Op, rule: str, shapes: dict[str, Any]) -> dict[str, Size]:
        method = getattr(op, rule, None)
        return {} if method is None else op.call(method, shapes)

    def _repetitions(self, node: Node) -> Size:
        """How often the node runs its bodies: its rule `repetitions`, or once."""
        rule = getattr(node.op, "repetitions", None)
        if rule is None:
            return 1
        shapes = [self.binding.measure(value.type).type.shape for value in node.inputs]
        return self.binding.size(node.op.call(rule, node.op.arrange(node.slots, shapes)))


def _unmoved(row: Row) -> Row:
    return row._replace(activations=0, bytes_read=0, bytes_written=0)


def kind_of(weight: Weight) -> str:
    """One of "trainable", "frozen" and "buffer"."""
    if weight.kind != "param":
        return BUFFER
    return TRAINABLE if weight.trainable else FROZEN


def elements_of(weight: Weight) -> int:
    """The number of elements; the sizes of weights are known."""
    count = 1
    for size in weight.type.shape:
        if not isinstance(size, int):
            raise TypeError(f"the weight {weight.path} has the unknown size {size}")
        count *= size
    return count


def _count(node: Node, shapes: dict[str, Any], out: Any) -> Cost:
    """What the operator counts; operations on complex numbers are counted in real ones.

    An operator says what they are with a rule `cost_complex`. Without one it is linear: a complex
    multiply-add is four real ones, a sum two, a product four products and two sums, and a quotient by a real
    number two.
    """
    if not any(is_complex(value.type.dtype) for value in (*node.inputs, *node.results)):
        return node.op.call(node.op.cost, shapes, out)
    rule = getattr(node.op, "cost_complex", None)
    if rule is not None:
        return node.op.call(rule, shapes, out)
    cost: Cost = node.op.call(node.op.cost, shapes, out)
    return Cost(
        macs=4 * cost.macs,
        add=2 * cost.add + 2 * cost.multiply,
        multiply=4 * cost.multiply,
        divide=2 * cost.divide,
        compare=cost.compare,
        transcendental=cost.transcendental,
    )
