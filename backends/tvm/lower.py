"""From a deployed graph to a program and its kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...compiler.dims import Dim, Size, equal, fold, prod
from ...compiler.dtypes import DType, is_complex
from ...compiler.fusion import Group, Partition, fuse, partition
from ...compiler.graph import Graph, Node, Value, map_leaves
from ...compiler.ops.layout import Permute, Transpose
from ...compiler.readings import readings
from ...compiler.static import static_nodes
from .dtypes import tvm_dtype
from .kernels import KernelMaker, Layouts, Unsupported
from .layouts import PLAIN
from .machine import Machine
from .memory import placed
from .program import Formula, Port, Program, Reading, Slot, Step


class Lowered:
    """A program with the functions of its kernels."""

    def __init__(self, program: Program, functions: Mapping[str, Any]) -> None:
        self.program = program
        self.functions = functions


def lower(graph: Graph, machine: Machine, float_as: DType = "f32") -> Lowered:
    """Cut the graph into kernels and plan their memory.

    Raises `Unsupported` for an operator that has neither a defining computation nor one in numpy.
    """
    parts = partition(graph, float_as=float_as, blocks=False)
    fused = fuse(graph, replace(parts, groups=_possible(parts)))
    return _Lowering(fused, machine, float_as).run()


def _possible(parts: Partition) -> tuple[Group, ...]:
    """The groups, without those that have a member that numpy runs: these members stay alone."""
    found: list[Group] = []
    for group in parts.groups:
        if all(node.op.view or has_te(node) for node in group.nodes):
            found.append(group)
        else:
            found += [replace(group, nodes=(node,)) for node in group.nodes]
    return tuple(found)


def has_te(node: Node) -> bool:
    """Whether a kernel can compute a node."""
    values = (*node.inputs, *node.results)
    return hasattr(node.op, "te") and not any(is_complex(value.type.dtype) for value in values)


def formula(size: Size) -> Formula:
    """A size as plain data."""
    return fold(size, int, str, lambda kind, args: [kind, *args])


class _Lowering:
    def __init__(self, graph: Graph, machine: Machine, float_as: DType) -> None:
        self.graph = graph
        self.float_as = float_as
        self.maker = KernelMaker(machine, float_as)
        self.static = static_nodes(graph)
        self.layouts: Layouts = {}
        self.slots: list[Slot] = []
        self.slot_of: dict[Value, int] = {}
        self.constants: list[Step] = []
        self.steps: list[Step] = []

    def run(self) -> Lowered:
        """The whole program."""
        graph = self.graph
        self.kept = self._results()
        for number, value in enumerate(graph.inputs):
            self._slot(value, "input", number)
        for node in graph.nodes:
            if node.op.name == "weight":
                self._slot(node.results[0], "weight", node.path)
            elif not node.op.source:
                self._place(node)
        outputs: list[tuple[int, tuple[Formula, ...]]] = []
        for value in graph.outputs:
            slot = self._output(value)
            outputs.append((slot, tuple(formula(size) for size in value.shape)))
        counter = iter(range(len(outputs)))
        tree = map_leaves(graph.output, lambda _: {"leaf": next(counter)})
        ports = tuple(
            Port(name, tuple(formula(size) for size in value.shape), self._dtype(value))
            for name, value in zip(graph.input_names, graph.inputs, strict=True)
        )
        found = readings([value.shape for value in graph.inputs])
        program = Program(
            graph.name,
            tuple(self.slots),
            tuple(self.constants),
            tuple(self.steps),
            ports,
            tuple(outputs),
            tree,
            tuple(Reading(*reading) for reading in found.values()),
            tuple((g.relation, formula(g.left), formula(g.right), g.message) for g in graph.guards),
        )
        if not found:
            program = placed(program, {})
        return Lowered(program, self.maker.functions)

    def _results(self) -> set[Value]:
        """The values whose memory the caller gets: what the outputs are views of."""
        root: dict[Value, Value] = {}
        for node in self.graph.nodes:
            for value in node.results:
                root[value] = root[node.inputs[0]] if is_alias(node) else value
        found = {root[value] for value in self.graph.outputs}
        return {value for value in found if value.node not in self.static and value.node.op.name != "input"}

    def _dtype(self, value: Value) -> str:
        return tvm_dtype(value.type.dtype, self.float_as)

    def _slot(self, value: Value, kind: Any, key: Any = None) -> int:
        layout = self.layouts.get(value, PLAIN)
        stored = layout.shape(value.shape)
        shape = tuple(formula(size) for size in value.shape)
        self.slots.append(Slot(kind, self._dtype(value), shape, tuple(formula(s) for s in stored), key))
        self.slot_of[value] = len(self.slots) - 1
        return self.slot_of[value]

    def _place(self, node: Node) -> None:
        if is_alias(node):
            self.slot_of[node.results[0]] = self.slot_of[node.inputs[0]]
            return
        constant = node in self.static
        steps = self.constants if constant else self.steps
        for value in node.results:
            kind = "constant" if constant else "output" if value in self.kept else "arena"
            self._slot(value, kind, len(self.slots) if kind == "output" else None)
        results = tuple(self.slot_of[value] for value in node.results)
        about = _about(node)
        if node.op.name == "fused" or has_te(node):
            kernel = self.maker.make(node, self.layouts)
            operands = tuple(self.slot_of[value] for value in kernel.operands)
            over = tuple(operands[number] for number in kernel.over)
            steps.append(Step(kernel.name, operands, results, kernel.symbols, over, None, about))
            return
        if not hasattr(node.op, "numpy"):
            raise Unsupported(node)
        operands = tuple(self.slot_of[value] for value in node.inputs)
        arguments = {name: _plain(getattr(node.op, name)) for name in node.op.arguments()}
        arguments["slots"] = list(node.slots)
        steps.append(Step(node.op.name, operands, results, (), (), arguments, about))

    def _output(self, value: Value) -> int:
        """The slot of a result; what the caller gave, and weights, are copied."""
        slot = self.slot_of[value]
        if self.slots[slot].kind == "output":
            return slot
        source = self.slots[slot]
        self.slots.append(Slot("output", source.dtype, source.shape, source.stored, len(self.slots)))
        self.steps.append(Step("copy", (slot,), (len(self.slots) - 1,), (), (), {}, "result"))
        return len(self.slots) - 1


def is_alias(node: Node) -> bool:
    """Whether the result is the operand's elements in their order."""
    if not node.op.view or len(node.results) != 1 or len(node.inputs) != 1:
        return False
    operand, result = node.inputs[0], node.results[0]
    if operand.type.dtype != result.type.dtype or equal(prod(operand.shape), prod(result.shape)) is not True:
        return False
    if isinstance(node.op, (Permute, Transpose)):
        return _keeps_order(node.op, operand.shape)
    return True


def _keeps_order(op: Permute | Transpose, shape: Sequence[Size]) -> bool:
    rank = len(shape)
    if isinstance(op, Permute):
        order = [axis % rank for axis in op.axes]
    else:
        order = list(range(rank))
        order[op.a], order[op.b] = order[op.b], order[op.a]
    kept = [axis for axis in order if shape[axis] != 1]
    return kept == sorted(kept)


def _plain(thing: Any) -> Any:
    if isinstance(thing, Dim):
        return {"size": formula(thing)}
    if isinstance(thing, (tuple, list)):
        return [_plain(each) for each in thing]
    if isinstance(thing, np.ndarray):
        return thing.tolist()
    return thing


def _about(node: Node) -> str:
    members = [each for body in node.bodies for each in body.operators()] or [node]
    named = next((each.path for each in members if each.path), "")
    place = str(node.origins[0].place) if node.origins else ""
    titles = " ".join(each.op.title for each in members)
    return " ".join(part for part in (titles, named, place) if part)
