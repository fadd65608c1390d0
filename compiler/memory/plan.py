"""Memory planned ahead: in which order a graph's operators run, and where in one arena their results are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from ..cost.sizes import Binding, BindingError, check_bindings
from ..dtypes import DType
from ..graph.graph import Graph, Node, Value
from ..sizes.dims import free_symbols
from ..types import TensorType
from .arrangement import Arrangement, arrange
from .problem import ALIGNMENT
from .storage import Storage, storage

SCHEMA = 1


class Buffer(NamedTuple):
    """A stretch of the arena, in bytes, in use from step `first` to step `last`, both included.

    `values` are what it holds: what the node writes and its views; none for room that an operator works in.
    `over` is the value whose place it takes, if it takes one.
    """

    offset: int
    size: int
    first: int
    last: int
    node: Node
    values: tuple[Value, ...]
    type: TensorType | None
    over: Value | None

    @property
    def path(self) -> str:
        """What to call it: the label of the operator that writes it, or the operator's name."""
        return name_of(self.node)


class Step(NamedTuple):
    """An operator that runs, and the bytes in use while it does."""

    node: Node
    live: int


@dataclass(frozen=True, eq=False)
class MemoryPlan:
    """An order of the operators and a place for each result in an arena of `size` bytes.

    `given_peak` are the bytes that the order of the graph would need with every result in a place of its own,
    before packing. `outside` are the bytes that are not planned, by kind; see `Storage`.
    """

    graph: Graph
    bindings: Mapping[str, int]
    float_as: DType
    alignment: int
    arrangement: Arrangement
    given_peak: int
    outside: Mapping[str, int]
    steps: tuple[Step, ...]
    buffers: tuple[Buffer, ...]

    @property
    def size(self) -> int:
        """Bytes of the arena."""
        return self.arrangement.size

    @property
    def lower_bound(self) -> int:
        """The most bytes in use at once: no arena is smaller with this order."""
        return self.arrangement.bound

    @property
    def least(self) -> bool:
        """Whether no order has a smaller lower bound."""
        return self.arrangement.least

    @property
    def peak(self) -> int:
        """The first step at which most bytes are in use."""
        return self.arrangement.peak

    @cached_property
    def offsets(self) -> dict[Value, int]:
        """Where each planned value begins, in bytes from the start of the arena."""
        return {value: buffer.offset for buffer in self.buffers for value in buffer.values}

    @property
    def in_place(self) -> int:
        """How many results take the place of an operand."""
        return len(self.arrangement.over)

    def at(self, step: int) -> tuple[Buffer, ...]:
        """The buffers in use at a step, the largest first; of a result and the operand it replaces, the
        result.
        """
        found = [buffer for buffer in self.buffers if buffer.first <= step <= buffer.last]
        replaced = {buffer.over for buffer in found if buffer.over is not None}
        shown = [buffer for buffer in found if not any(value in replaced for value in buffer.values[:1])]
        return tuple(sorted(shown, key=lambda buffer: (-buffer.size, buffer.first)))

    def to_dict(self) -> dict[str, Any]:
        """The plan for JSON; see docs/memory.md."""
        return {
            "planform_json": SCHEMA,
            "kind": "memory",
            "plan": self.graph.name,
            "bindings": dict(self.bindings),
            "float": self.float_as,
            "alignment": self.alignment,
            "size": self.size,
            "lower_bound": self.lower_bound,
            "least_order": self.least,
            "given_peak": self.given_peak,
            "in_place": self.in_place,
            "outside": dict(self.outside),
            "peak": self.peak,
            "steps": [
                {**about(step.node), "live": step.live, "number": number}
                for number, step in enumerate(self.steps)
            ],
            "buffers": [
                {
                    **about(buffer.node),
                    "offset": buffer.offset,
                    "size": buffer.size,
                    "first": buffer.first,
                    "last": buffer.last,
                    "dtype": buffer.type.dtype if buffer.type else None,
                    "shape": list(buffer.type.shape) if buffer.type else None,
                    "over": None if buffer.over is None else name_of(buffer.over.node),
                }
                for buffer in self.buffers
            ],
        }


def name_of(node: Node) -> str:
    """The label path of a node; without a label the operator's name after the path of its block."""
    if node.path:
        return node.path
    scope = node.region.path if node.region else ""
    return f"{scope}.{node.op.title}" if scope else node.op.title


def place_of(node: Node) -> str:
    """`file:line:column` of the plan's line that a node comes from; empty if it has none."""
    return str(node.origins[0].place) if node.origins else ""


def about(node: Node) -> dict[str, Any]:
    """What a report says of a node: its operator, label path and place in the plan."""
    return {"op": node.op.title, "path": name_of(node), "place": place_of(node)}


def plan_memory(
    graph: Graph,
    bindings: Mapping[str, int] | None = None,
    float_as: DType = "f32",
    reorder: bool = True,
    in_place: bool = True,
    inputs: bool = False,
    results: bool = True,
    alignment: int = ALIGNMENT,
) -> MemoryPlan:
    """Plan the memory that a call of a graph needs, each operator run by itself.

    `bindings` give numbers for all free sizes of the inputs; `float_as` is the type that floats have. With
    `reorder` operators may run in another order, with `in_place` a result may take the place of an operand
    that nothing needs any more. `inputs` and `results` say whether those are planned too. Offsets are
    multiples of `alignment` bytes. Raises `BindingError` where a size is not known. The plan is checked
    before it is returned.
    """
    bindings = dict(bindings or {})
    check_bindings(graph, bindings)
    binding = Binding(bindings, float_as)
    _check_bound(graph, binding)
    held = storage(graph, binding, graph.inputs if inputs else (), results, alignment)
    found = arrange(held.problem, reorder, in_place)
    given = held.problem.without_overlays().peak(range(len(held.problem.tasks)))
    steps = tuple([Step(held.nodes[task], live) for task, live in zip(found.order, found.live, strict=True)])
    return MemoryPlan(
        graph,
        bindings,
        float_as,
        alignment,
        found,
        given,
        held.outside,
        steps,
        tuple(_buffers(held, found, binding)),
    )


def _buffers(held: Storage, found: Arrangement, binding: Binding) -> list[Buffer]:
    made: list[Buffer] = []
    for number, values in enumerate(held.values):
        over = found.over.get(number)
        made.append(
            Buffer(
                found.offsets[number],
                held.problem.sizes[number],
                found.first[number],
                found.last[number],
                held.nodes[held.problem.writer[number]],
                values,
                binding.measure(values[0].type).type if values else None,
                None if over is None else held.values[over][0],
            )
        )
    return made


def _check_bound(graph: Graph, binding: Binding) -> None:
    """Raise `BindingError` unless every value's sizes are numbers."""
    free: dict[str, None] = {}
    for node in graph.nodes:
        for value in node.results:
            for size in binding.measure(value.type).type.shape:
                if not isinstance(size, int):
                    free |= dict.fromkeys(sorted(free_symbols(size)))
    if free:
        names = ", ".join(free)
        raise BindingError(f"memory is planned for numbers, and {graph.name} has the free sizes {names}")
