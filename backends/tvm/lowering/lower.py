"""From a deployed graph to a program and its kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import numpy as np

from ....compiler.devices import Cpu, Device
from ....compiler.dtypes import DType
from ....compiler.graph.builder import Builder
from ....compiler.graph.graph import Graph, Node, Tree, Value, leaves, map_leaves
from ....compiler.graph.static import static_nodes
from ....compiler.ops.core.rules import axis_of
from ....compiler.ops.fused import Fused
from ....compiler.ops.layout import Permute, Reshape
from ....compiler.ops.pad import Pad
from ....compiler.ops.scan import Scan
from ....compiler.sizes.dims import Dim, Size, fold
from ....compiler.sizes.symbols import readings
from ..cpu.depth_first import with_blocks
from ..grouping.aliases import is_alias
from ..grouping.grouping import Grouping, grouped, has_te
from ..runtime.dtypes import tvm_dtype
from ..runtime.offsets import placed
from ..runtime.packing import Packing
from ..runtime.program import Check, Formula, Port, Program, Slot, Step, SymbolSource
from ..tensor_ir.layouts import PLAIN
from . import slices
from .kernels import KernelMaker, Unsupported
from .layout_assignment import LayoutAssignment
from .positions import Checked, with_checks


@dataclass(frozen=True)
class Lowered:
    """A program with the functions of its kernels.

    `packings` say of each weight slot's key which weight it is, and how it is packed, if it is.
    """

    program: Program
    functions: Mapping[str, Any]
    packings: Mapping[str, tuple[str, Packing | None]]

    def pack(self, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The weights as the program's slots want them, from the graph's weights by path."""
        return {
            key: np.asarray(weights[path], order="C") if packing is None else packing(weights[path])
            for key, (path, packing) in self.packings.items()
        }


def lower(
    graph: Graph, machine: Cpu, float_as: DType = "f32", functions: dict[str, Any] | None = None
) -> Lowered:
    """Cut the graph into kernels and plan their memory; kernels are entered in `functions` as they come.

    Raises `Unsupported` for an operator that has neither a defining computation nor one in numpy.
    """
    graph, checks = with_checks(graph)
    lowering = Lowering(grouping_for(graph, machine, float_as).fused(), checks, machine, float_as)
    if functions is not None:
        lowering.maker.functions = functions
    return lowering.run()


def grouping_for(graph: Graph, machine: Device, float_as: DType) -> Grouping:
    """What runs as one kernel: on a processor, depth first where that gains."""
    join = partial(with_blocks, machine=machine, float_as=float_as) if isinstance(machine, Cpu) else None
    return grouped(graph, float_as, join)


def formula(size: Size) -> Formula:
    """A size as plain data."""
    return fold(size, int, str, lambda kind, args: [kind, *args])


class Lowering:
    """The program in the making; the graph's output is (its own, what is checked)."""

    def __init__(self, graph: Graph, checks: Sequence[Checked], machine: Device, float_as: DType) -> None:
        self.graph = graph
        self.checks = checks
        self.float_as = float_as
        self.maker = KernelMaker(machine, float_as)
        self.static = static_nodes(graph)
        self.kept = self._results()
        self.placing = LayoutAssignment(graph, self.static, self.kept)
        self.layouts = self.placing.layouts
        self.packings: dict[str, tuple[str, Packing | None]] = {}
        self._weights: dict[str, int] = {}
        self._computed: dict[tuple[Value, Packing], int] = {}
        self.slots: list[Slot] = []
        self.slot_of: dict[Value, int] = {}
        self.constants: list[Step] = []
        self.steps: list[Step] = []
        self.free: set[Node] = set()
        """Nodes that need no kernel: their result is their operand's memory."""

    def run(self) -> Lowered:
        """The whole program."""
        graph = self.graph
        for number, value in enumerate(graph.inputs):
            self._slot(value, "input", number)
        for node in graph.nodes:
            if not node.op.source:
                self._place(node)
        outputs: list[tuple[int, tuple[Formula, ...]]] = []
        output, extremes = cast("tuple[Tree, tuple[Value, ...]]", graph.output)
        for value in leaves(output):
            slot = self._output(value)
            outputs.append((slot, tuple(formula(size) for size in value.shape)))
        counter = iter(range(len(outputs)))
        tree = map_leaves(output, lambda _: {"leaf": next(counter)})
        checks = tuple(map(self._check, extremes, self.checks))
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
            tuple(SymbolSource(*reading) for reading in found.values()),
            tuple((g.relation, formula(g.left), formula(g.right), g.message) for g in graph.guards),
            checks,
        )
        program = self._finished(program)
        if not found:
            program = placed(program, {})
        return Lowered(program, self.maker.functions, self.packings)

    def _check(self, extremes: Value, checked: Checked) -> Check:
        once = extremes.node in self.static and isinstance(checked.size, int)
        return Check(self._read(extremes), formula(checked.size), formula(checked.count), checked.about, once)

    def _finished(self, program: Program) -> Program:
        """The program before its values have places in memory."""
        return program

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
        stored = tuple(formula(size) for size in layout.shape(value.shape))
        shape = tuple(formula(size) for size in value.shape)
        self.slots.append(Slot(kind, self._dtype(value), shape, stored, key))
        self.slot_of[value] = len(self.slots) - 1
        return self.slot_of[value]

    def _read(self, value: Value, packing: Packing | None = None) -> int:
        """The slot of an operand; weights get theirs when they are read, one for each way to pack them."""
        value = self.maker.outside.get(value, value)
        if value.node.op.name != "weight":
            return self.slot_of[value] if packing is None else self._packed(value, packing)
        path = str(value.node.path)
        key = path if packing is None else f"{path}#{packing}"
        if key not in self.packings:
            shape = tuple(formula(size) for size in value.shape)
            stored = shape if packing is None else packing.shape
            dtype = self._dtype(value) if packing is None else packing.dtype(self._dtype(value))
            self.slots.append(Slot("weight", dtype, shape, stored, key))
            self.packings[key] = path, packing
            self._weights[key] = len(self.slots) - 1
        return self._weights[key]

    def _packed(self, value: Value, packing: Packing) -> int:
        """A slot with what was computed packed; packed once for all that read it so."""
        key = value, packing
        if key not in self._computed:
            builder = Builder("pack")
            source, body = builder.input("x", value.type), _packing_of(value, packing)
            made = builder.add(Fused(kind="move"), (source,), ("xs",), bodies=(body,))
            kernel = self.maker.make(made, {source: self.layouts.get(value, PLAIN)})
            slot = self._slot(made.results[0], "constant" if value.node in self.static else "arena")
            steps = self.constants if value.node in self.static else self.steps
            steps.append(Step(kernel.name, (self.slot_of[value],), (slot,), kernel.symbols))
            self._computed[key] = slot
        return self._computed[key]

    def _place(self, node: Node) -> None:
        if self.placing.is_free_view(node):
            self.free.add(node)
            self.slot_of[node.results[0]] = self._read(node.inputs[0])
            return
        if isinstance(node.op, Scan):
            self._loop(node, node.op)
            return
        constant = node in self.static
        template = self.maker.template(node, self.layouts)
        has_kernel = template is not None or node.op.name == "fused" or has_te(node)
        if has_kernel:
            self.placing.lay_out(node, template)
        steps = self.constants if constant else self.steps
        for value in node.results:
            kind = "constant" if constant else "output" if value in self.kept else "arena"
            self._slot(value, kind)
        results = tuple(self.slot_of[value] for value in node.results)
        about = _about(node)
        if has_kernel:
            kernel = self.maker.make(node, self.layouts, template)
            operands = tuple(self._read(value, packing) for value, packing in kernel.operands)
            over = tuple(operands[number] for number in kernel.over)
            steps.append(Step(kernel.name, operands, results, kernel.symbols, over, None, about))
            return
        if not hasattr(node.op, "numpy"):
            raise Unsupported(node)
        # Numpy sees values row by row, each in its own shape, also where it is a view of another.
        operands = tuple(self._plain(value) for value in node.inputs)
        arguments = {name: _plain(getattr(node.op, name)) for name in node.op.arguments()}
        arguments["slots"] = list(node.slots)
        arguments["shapes"] = [[formula(size) for size in value.shape] for value in node.inputs]
        steps.append(Step(node.op.name, operands, results, (), (), arguments, about))

    def _loop(self, node: Node, op: Scan) -> None:
        """A recurrence: slices in, the body's kernels, a slice out, the new state in the place of the old.

        Raises `Unsupported` where numpy runs an operator of the body.
        """
        (body,) = node.bodies
        graph = grouped(body, self.float_as).fused()
        sequence, axis = node.inputs[0], axis_of(op.axis, len(node.inputs[0].shape))
        # What it takes is made plain before it: of the slots from here on, the loop alone writes.
        source, *initial = [self._plain(value) for value in node.inputs[: 1 + op.states]]
        first = len(self.slots)
        results = [self._slot(value, "output" if value in self.kept else "arena") for value in node.results]
        states = results[1:]
        start: list[Step] = []
        for value, given, slot in zip(node.inputs[1 : 1 + op.states], initial, states, strict=True):
            self._move(start, slices.copy(self._dtype(value), value.shape), given, slot)
        before, self.steps = self.steps, []
        slot = self._slot(graph.inputs[0], "arena")
        self._move(self.steps, slices.take(self._dtype(sequence), sequence.shape, axis), source, slot)
        inner = graph.inputs[1:]
        self.slot_of.update(zip(inner, states, strict=False))
        self.maker.outside.update(zip(inner[op.states :], node.inputs[1 + op.states :], strict=True))
        for each in graph.operators():
            self._place(each)
        output, *new = graph.outputs
        result = node.results[0]
        # All are read before any is written: a new state may be an old one, or the slice.
        ready = [self._apart(value, states) for value in new]
        how = slices.put(self._dtype(result), result.shape, axis)
        self._move(self.steps, how, self._plain(output), results[0])
        for value, slot, target in zip(new, ready, states, strict=True):
            self._move(self.steps, slices.copy(self._dtype(value), value.shape), slot, target)
        steps, self.steps = tuple(self.steps), before
        if any(step.external for step in steps):
            raise Unsupported(node)
        touched = [slot for step in (*start, *steps) for slot in (*step.operands, *step.results)]
        # What is inside is written by the loop alone.
        inside = [slot for slot in dict.fromkeys(touched) if slot >= first and self._is_own(slot)]
        reads = tuple(slot for slot in dict.fromkeys(touched) if slot not in inside)
        loop = Step("scan", reads, (results[0], *(slot for slot in inside if slot != results[0])))
        turns = formula(sequence.shape[axis])
        about = _about(node)
        self.steps.append(
            replace(loop, about=about, start=tuple(start), body=steps, count=turns, reverse=op.reverse)
        )

    def _is_own(self, slot: int) -> bool:
        return self.slots[slot].kind in ("arena", "output")

    def _apart(self, value: Value, states: Sequence[int]) -> int:
        """The slot of a new state, or of a copy if that is the place of an old one."""
        slot = self._plain(value)
        if slot not in states:
            return slot
        apart = self._slot_like(value)
        self._move(self.steps, slices.copy(self._dtype(value), value.shape), slot, apart)
        return apart

    def _slot_like(self, value: Value) -> int:
        shape = tuple(formula(size) for size in value.shape)
        self.slots.append(Slot("arena", self._dtype(value), shape, shape))
        return len(self.slots) - 1

    def _plain(self, value: Value) -> int:
        """A slot with the value row by row."""
        slot = self._read(value)
        if self.placing.is_plain(value):
            return slot
        builder = Builder("plain")
        given = builder.input("x", value.type)
        made = builder.add(Reshape(sizes=value.shape), (given,), ("x",))
        kernel = self.maker.make(made, {given: self.layouts[value]})
        found = self._slot_like(value)
        self.steps.append(Step(kernel.name, (slot,), (found,), kernel.symbols))
        return found

    def _move(self, steps: list[Step], how: slices.SliceCopy, source: int, target: int) -> None:
        if how.name not in self.maker.functions:
            self.maker.functions[how.name] = self._function_of(how)
        steps.append(Step(how.name, (source,), (target,), how.symbols))

    def _function_of(self, move: slices.SliceCopy) -> Any:
        return move.function()

    def _output(self, value: Value) -> int:
        """The slot of a result; what the caller gave, and weights, are copied."""
        slot = self._read(value)
        if self.slots[slot].kind == "output":
            return slot
        source = self.slots[slot]
        self.slots.append(Slot("output", source.dtype, source.shape, source.stored, len(self.slots)))
        self.steps.append(Step("copy", (slot,), (len(self.slots) - 1,), (), (), {}, "result"))
        return len(self.slots) - 1


def _plain(thing: Any) -> Any:
    if isinstance(thing, Dim):
        return {"size": formula(thing)}
    if isinstance(thing, (tuple, list)):
        return [_plain(each) for each in thing]
    if isinstance(thing, np.ndarray):
        return thing.tolist()
    return thing


def _packing_of(value: Value, packing: Packing) -> Graph:
    """A packing as operators."""
    builder = Builder("packing")
    made = builder.input("x", value.type)
    shaped = packing.shaped or tuple(cast("tuple[int, ...]", value.shape))
    missing = [most - size for most, size in zip(packing.padded, shaped, strict=True)]
    amounts = [amount for after in reversed(missing) for amount in (0, after)]
    ops = (
        Reshape(sizes=shaped),
        Pad(amounts=tuple(amounts)),
        Reshape(sizes=packing.split),
        Permute(axes=packing.order),
    )
    for op in ops:
        made = builder.add(op, (made,), ("x",)).results[0]
    return builder.freeze(made)


def _about(node: Node) -> str:
    members = [each for body in node.bodies for each in body.operators()] or [node]
    named = next((each.path for each in members if each.path), "")
    place = str(node.origins[0].place) if node.origins else ""
    titles = " ".join(each.op.title for each in members)
    return " ".join(part for part in (titles, named, place) if part)
