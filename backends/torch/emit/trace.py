"""A program's graph as one flat list of torch calls, each with the block call that it came from."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from torch import fx

from ....compiler.graph.graph import Graph, Node, Region, Value
from ....compiler.sizes.dims import Size, render
from ....compiler.sizes.symbols import readings
from ....compiler.types import TensorType
from ..constants import find_constants
from ..errors import LoweringError
from ..lower import GraphLowering


def size_at_run_time(number: int) -> int:
    """Stands in traces for the symbolic size of that number."""
    raise AssertionError("only written down, never called")


def device_of_inputs() -> Any:
    """Stands in traces for the device that new tensors go to."""
    raise AssertionError("only written down, never called")


class Trace(NamedTuple):
    """A traced graph: `symbols` are the sizes that stand for the free symbols at the entry."""

    graph: Graph
    code: fx.Graph
    constants: dict[str, Value]


class SourceLowering(GraphLowering):
    """Lowers for printing: sizes, devices and attributes are asked for in each block call anew.

    With `still`, operators that are the identity in evaluation are left out.
    """

    def __init__(self, graph: Graph, leaves: Collection[str], still: bool = False) -> None:
        nodes, values = find_constants(graph)
        self.held = {f"constant {number}": value for number, value in enumerate(values)}
        super().__init__(leaves=leaves, constants={v: name for name, v in self.held.items()}, skip=nodes)
        self._local: dict[Any, Any] = {}
        self._still = still

    @property
    def _region(self) -> Region | None:
        return self._node.region if self._node is not None else None

    def trace(self, graph: Graph) -> Trace:
        """The whole graph."""
        code = self.lower(graph)
        for value, proxy in self._proxies.items():
            if isinstance(proxy, fx.Proxy):
                proxy.node.meta.setdefault("type", value.type)
        return Trace(graph, code, self.held)

    def _append_node(self, node: Node) -> None:
        if self._still and node.op.in_mode("eval") is None:
            self._enter(node.results[0], self._operand(node.inputs[0]))
            return
        super()._append_node(node)

    def scan(
        self, axis: int, reverse: bool, sequence: Any, state: Sequence[Any], captured: Sequence[Any]
    ) -> Any:
        """The steps of a scan, written out one after another."""
        length = self.shape(sequence)[axis]
        if not isinstance(length, int):
            place = f" at {self._node.path}" if self._node is not None and self._node.path else ""
            steps = render(length.node.meta["size"])
            raise LoweringError(f"the scan{place} has {steps} steps; bind the size to write them out")
        (body,) = self.bodies
        outputs: dict[int, Any] = {}
        for at in range(length - 1, -1, -1) if reverse else range(length):
            outputs[at], *state = self.inline(body, sequence.select(axis, at), *state, *captured)
        return (self.torch.stack([outputs[at] for at in range(length)], axis), *state)

    def size(self, size: Size) -> Any:
        """An int, or a mark that stands for a symbolic size in this block call."""
        if isinstance(size, (int, fx.Proxy)):
            return size
        return self._once((self._region, size), "call_function", size_at_run_time, {"size": size})

    def _device(self) -> Any:
        return self._once((self._region, "device"), "call_function", device_of_inputs, {"device": True})

    def _operand(self, value: Value) -> Any:
        if value in self._constants:
            # Constants belong to the block call that computes them.
            name, region = self._constants[value], value.node.region
            marks = {"node": value.node, "type": value.type, "constant": value}
            found = self._once((region, name), "get_attr", name, marks)
        elif value.node.op.name == "weight":
            path = value.node.op.path  # pyright: ignore[reportAttributeAccessIssue]
            found = self._once((self._region, path), "get_attr", path, {"type": value.type})
        else:
            return super()._operand(value)
        self._enter(value, found)
        return found

    def _once(self, key: Any, kind: str, target: Any, marks: dict[str, Any]) -> Any:
        if key not in self._local:
            arguments = (len(self._local),) if target is size_at_run_time else ()
            proxy = self.tracer.create_proxy(kind, target, arguments, {})
            proxy.node.meta.update(marks)
            self._local[key] = proxy
        return self._local[key]


def entry_symbols(types: list[TensorType]) -> dict[str, tuple[int, int, int, int]]:
    """For each symbol that tensors of these types show: (tensor, axis, factor, offset)."""
    found = readings([type.shape for type in types])
    return {name: (r.input, r.axis, r.factor, r.offset) for name, r in found.items()}
