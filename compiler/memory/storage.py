"""The buffers and tasks of a graph."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ..cost.sizes import Binding
from ..graph.graph import Graph, Node, Value
from ..graph.static import static_nodes
from ..ops.scan import Scan
from .arrangement import arrange
from .problem import ALIGNMENT, Problem, Task
from .views import extent, may_overwrite, shares_storage


@dataclass(frozen=True, eq=False)
class Storage:
    """A graph as a memory problem.

    `nodes` are the operators that the tasks are. `values` are, for each buffer, the values that it holds:
    the one that is written and its views; none for room that an operator works in. `outside` are the bytes
    of what the caller or the preparation of the weights owns, by kind: `inputs`, `weights`, `constants`,
    `results`.
    """

    problem: Problem
    nodes: tuple[Node, ...]
    values: tuple[tuple[Value, ...], ...]
    outside: dict[str, int]


def storage(
    graph: Graph,
    binding: Binding,
    inputs: Collection[Value] = (),
    results: bool = True,
    alignment: int = ALIGNMENT,
) -> Storage:
    """The operators as tasks, and what they write as buffers.

    What depends on weights and constants alone is computed once, before any call, and stays outside.
    `inputs` are the caller's unless they are to be planned too (then they are written by the first tasks);
    `results` are planned unless they are the caller's. An operator with bodies works in room as large as
    the plan of its largest body.
    """
    static = static_nodes(graph)
    outputs = set(graph.outputs)
    # The value whose storage a value is in.
    root: dict[Value, Value] = {}
    for node in graph.nodes:
        shared = node not in static and shares_storage(node, binding)
        for value in node.results:
            root[value] = root[node.inputs[0]] if shared else value
    held: dict[Value, list[Value]] = {}
    for value, head in root.items():
        held.setdefault(head, []).append(value)
    is_result = {head: any(value in outputs for value in values) for head, values in held.items()}

    number: dict[Value, int] = {}
    sizes: list[int] = []
    values: list[tuple[Value, ...]] = []
    tasks: list[Task] = []
    nodes: list[Node] = []
    outside: dict[str, int] = {"inputs": 0, "weights": 0, "constants": 0, "results": 0}
    ordered: list[int] = []

    def buffer(size: int, holds: tuple[Value, ...]) -> int:
        sizes.append(size)
        values.append(holds)
        return len(sizes) - 1

    entry: tuple[int, ...] = ()
    for node in graph.nodes:
        is_input = node.op.name == "input"
        if node in static or (is_input and node.results[0] not in inputs):
            kind = "inputs" if is_input else "weights" if node.op.source else "constants"
            outside[kind] += sum([extent(value, binding) for value in node.results if root[value] is value])
            continue
        if all(root[value] is not value for value in node.results):
            continue
        writes: list[int] = []
        for value in node.results:
            if is_result[value] and not results:
                outside["results"] += extent(value, binding)
            else:
                number[value] = buffer(extent(value, binding), tuple(held[value]))
                writes.append(number[value])
        overlays = [
            (writes[0], number[root[value]])
            for value in may_overwrite(node, binding)
            if writes and root[value] in number
        ]
        room = max([_room(node, body, binding, alignment) for body in node.bodies], default=0)
        if room:
            writes.append(buffer(room, ()))
        reads = dict.fromkeys([number[root[value]] for value in node.inputs if root[value] in number])
        after = entry
        if node.effects:
            # What has effects keeps its order.
            after = (*entry, *ordered[-1:])
            ordered.append(len(tasks))
        if is_input:
            entry = (*entry, len(tasks))
        tasks.append(Task(tuple(reads), tuple(writes), tuple(dict.fromkeys(overlays)), after))
        nodes.append(node)
    kept = frozenset(number[head] for head, kept in is_result.items() if kept and head in number)
    problem = Problem(tuple(sizes), tuple(tasks), kept, alignment)
    return Storage(problem, tuple(nodes), tuple(values), outside)


def _room(node: Node, body: Graph, binding: Binding, alignment: int) -> int:
    """The bytes that one run of a body needs: a scan's step gets a slice and the states in tensors of its
    own.
    """
    own = body.inputs[: 1 + node.op.states] if isinstance(node.op, Scan) else ()
    return arrange(storage(body, binding, own, True, alignment).problem).size
