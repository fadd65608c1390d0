"""A group of operators as one function of TIR."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from ...compiler.dims import free_symbols
from ...compiler.dtypes import DType
from ...compiler.graph import Builder, Graph, Node, Value
from ...compiler.printer import print_graph
from .dtypes import tvm_dtype
from .expressions import Expressions, size_expression
from .layouts import PLAIN, Layout
from .loops import Loops, pointer, private_function
from .machine import Machine
from .nest import emit_nest
from .tensors import Computed, Source, Tensor

Layouts = Mapping[Value, Layout]


@dataclass(frozen=True)
class Kernel:
    """A function that computes `results` from `operands`, values of the graph whose node it is.

    It takes pointers to both, in order, and then the sizes that `symbols` names. `over` says which operand's
    place the only result may take.
    """

    name: str
    function: Any
    node: Node
    operands: tuple[Value, ...]
    results: tuple[Value, ...]
    symbols: tuple[str, ...]
    over: tuple[int, ...] = ()


class Unsupported(Exception):
    """A node that has no defining computation for this backend."""

    def __init__(self, node: Node) -> None:
        self.node = node
        super().__init__(f"{node.op.title} has no kernel")


class KernelMaker:
    """Makes the kernels of a program; the same group is compiled once."""

    def __init__(self, machine: Machine, float_as: DType = "f32") -> None:
        self.machine = machine
        self.float_as = float_as
        self.functions: dict[str, Any] = {}
        self._over: dict[str, tuple[int, ...]] = {}

    def make(self, node: Node, layouts: Layouts) -> Kernel:
        """The kernel of a node, whose members are its body if it is a fused group.

        Raises `Unsupported` where an operator has no defining computation.
        """
        body = node.bodies[0] if node.op.name == "fused" else alone(node)
        operands = tuple(dict.fromkeys(node.inputs))
        symbols = tuple(sorted({name for each in body.nodes for name in _symbols(each)}))
        how = [layouts.get(value, PLAIN) for value in (*operands, *node.results)]
        key = f"{print_graph(body)} {self.float_as} {how} {[operands.index(value) for value in node.inputs]}"
        name = "kernel_" + hashlib.sha256(key.encode()).hexdigest()[:16]
        if name not in self.functions:
            self.functions[name], self._over[name] = self._function(node, body, operands, symbols, layouts)
        return Kernel(name, self.functions[name], node, operands, node.results, symbols, self._over[name])

    def _function(
        self, node: Node, body: Graph, operands: Sequence[Value], symbols: Sequence[str], layouts: Layouts
    ) -> tuple[Any, tuple[int, ...]]:
        variables = {name: tirx.Var(name, "int64") for name in symbols}
        sources: dict[Value, Source] = {}
        parameters: list[Any] = []
        loops = Loops()

        def buffer(value: Value, name: str) -> Any:
            dtype = tvm_dtype(value.type.dtype, self.float_as)
            shape = tuple(size_expression(size, variables) for size in value.shape)
            sizes = layouts.get(value, PLAIN).shape(shape) or [1]
            data = pointer(f"{name}_data", dtype)
            made = tirx.decl_buffer(sizes, dtype, name=name, data=data)
            loops.emit(tirx.DeclBuffer(made, data=data))
            parameters.append(data)
            return made, shape, dtype

        for number, value in enumerate(operands):
            made, shape, dtype = buffer(value, f"x{number}")
            source = sources[value] = Source(shape, dtype, f"x{number}")
            source.buffer, source.layout = made, layouts.get(value, PLAIN)
        inputs = [sources[value] for value in node.inputs]
        made, results = self._trace(body, inputs, variables)
        for number, (value, tensor) in enumerate(zip(node.results, results, strict=True)):
            tensor.buffer, _, _ = buffer(value, f"y{number}")
            tensor.layout = layouts.get(value, PLAIN)
        emit_nest(loops, made, results, self.machine)
        function = private_function([*parameters, *variables.values()], loops.body())
        return function, ()

    def _trace(
        self, body: Graph, inputs: Sequence[Tensor], symbols: dict[str, Any]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The tensors that the body's operators make, in order, and its results, each one of its own."""
        known: dict[Value, Tensor] = dict(zip(body.inputs, inputs, strict=True))
        made: list[Tensor] = []
        for node in body.operators():
            if not hasattr(node.op, "te"):
                raise Unsupported(node)
            t = Expressions(node, symbols, self.float_as)
            arranged = node.op.arrange(node.slots, [known[value] for value in node.inputs])
            found = node.op.call(getattr(node.op, "te"), arranged, t)  # noqa: B009
            made += t.made
            results = [found] if isinstance(found, Tensor) else list(found)
            known.update(zip(node.results, results, strict=True))
        results = []
        for value in body.outputs:
            tensor = known[value]
            if isinstance(tensor, Source) or tensor in results:
                tensor = _copy(tensor)
                made.append(tensor)
            results.append(tensor)
        return made, results


def _copy(tensor: Tensor) -> Computed:
    return Computed(tensor.shape, tensor.dtype, lambda *index: tensor[index], tensor.name)


def _symbols(node: Node) -> set[str]:
    found = {name for value in node.results for size in value.shape for name in free_symbols(size)}
    for name in node.op.arguments():
        found |= _free(getattr(node.op, name))
    return found


def _free(thing: Any) -> set[str]:
    if isinstance(thing, (tuple, list)):
        return {name for item in thing for name in _free(item)}
    try:
        return set(free_symbols(thing))
    except (TypeError, AttributeError):
        return set()


def alone(node: Node) -> Graph:
    """A graph of one node, whose inputs are the node's."""
    builder = Builder(node.op.name)
    made = builder.copy(node, [builder.input(f"x{n}", value.type) for n, value in enumerate(node.inputs)])
    return builder.freeze(made.results)
