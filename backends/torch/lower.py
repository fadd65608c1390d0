"""A graph of a plan as an fx graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from functools import reduce
from operator import add, floordiv, mod, mul, sub
from operator import pow as power
from typing import Any

import torch
from torch import fx, nn
from torch.fx.node import has_side_effect

from ...compiler.dtypes import DType
from ...compiler.graph.graph import Graph, Node, Value, map_leaves
from ...compiler.names import arguments, identifier
from ...compiler.sizes.dims import Size, fold
from ...compiler.sizes.symbols import readings
from ...compiler.types import TensorType
from .dtypes import plan_dtype, torch_dtype
from .errors import LoweringError
from .examples import Examples
from .leaves import LeafCall, weights_of
from .loops import ScanLoop, step_module
from .tracing import Code, Namespace, Tracer


def title_of(node: Node) -> str:
    """A name for the node's result: its label path, or the operator under the path of the block call."""
    if node.path:
        return node.path
    region = node.region
    return f"{region.path}.{node.op.title}" if region is not None and region.path else node.op.title


class GraphLowering:
    """Appends the nodes of plan graphs to an fx graph; it is the `Lowering` that operators are given.

    `loops` are the modules of scans that the graph calls, by name. `leaves` are the paths of calls that are
    modules; `constants` are values held as attributes, by name, and `skip` the nodes that made them. A body
    of the node being lowered (`bodies`) is appended with `inline`.
    """

    def __init__(
        self,
        dtype: torch.dtype = torch.float32,
        leaves: Collection[str] = (),
        constants: Mapping[Value, str] | None = None,
        skip: Set[Node] = frozenset(),
    ) -> None:
        self.graph = fx.Graph()
        self.graph.set_codegen(Code())
        self.tracer = Tracer(self.graph)
        self.torch: Any = Namespace(torch, self.tracer, self._device)
        self.nn: Any = Namespace(nn, self.tracer, self._device)
        self.F: Any = Namespace(nn.functional, self.tracer, self._device)
        self.bodies: tuple[Graph, ...] = ()
        self._float = dtype
        self._leaves = frozenset(leaves)
        self._constants = constants or {}
        self._skip = skip
        self._proxies: dict[Value, Any] = {}
        self._values: dict[fx.Node, Value] = {}
        self._sizes: dict[Size, Any] = {}
        self._symbols: dict[str, Any] = {}
        self._attributes: dict[str, Any] = {}
        self._inputs: list[Any] = []
        self._device_proxy: Any = None
        self.loops: dict[str, ScanLoop] = {}
        self._examples = Examples(self._type_of, dtype)
        self._node: Node | None = None

    # --- the whole graph ---

    def lower(self, graph: Graph, guards: str | None = None) -> fx.Graph:
        """The fx graph of a program's graph; `guards` is the path of the module that checks the inputs."""
        for name, value in zip(input_identifiers(graph), graph.inputs, strict=True):
            proxy = self.tracer.create_proxy("placeholder", name, (), {}, name=name)
            self._enter(value, proxy)
            self._inputs.append(proxy)
        if guards is not None:
            self.tracer.create_proxy("call_module", guards, tuple(self._inputs), {}, name="guards")
        shapes = [value.shape for value in graph.inputs]
        for symbol, reading in readings(shapes).items():
            self._symbols[symbol] = (self._inputs[reading.input], reading)
        self._append(graph)
        output = map_leaves(graph.output, self._operand)
        self.tracer.create_proxy("output", "output", (output,), {}, name="output")
        return self.graph

    def inline(self, body: Graph, *operands: Any) -> Any:
        """Append a body graph applied to operands; its results in their structure."""
        for value, operand in zip(body.inputs, operands, strict=True):
            self._enter(value, operand)
        outer = self._node, self.bodies, self.tracer.prefix, self.tracer.marks
        self._append(body)
        self._node, self.bodies, self.tracer.prefix, self.tracer.marks = outer
        return map_leaves(body.output, self._operand)

    def scan(
        self, axis: int, reverse: bool, sequence: Any, state: Sequence[Any], captured: Sequence[Any]
    ) -> Any:
        """Run the body of the node along an axis, as a module of its own: (outputs, *last state)."""
        assert self._node is not None
        (body,) = self.bodies
        inner = GraphLowering(self._float)
        step = inner.lower(body)
        name = base = f"_scan_{identifier(title_of(self._node))}"
        while name in self.loops:
            name = f"{base}_{len(self.loops)}"
        self.loops[name] = ScanLoop(step_module(step, inner.loops), axis, len(state), reverse)
        operands = (sequence, *state, *captured)
        found = self.tracer.create_proxy("call_module", name, operands, {}, name=name.strip("_"))
        results: Any = found
        return tuple(results[index] for index in range(1 + len(state)))

    # --- what operators ask ---

    def shape(self, operand: Any) -> tuple[Any, ...]:
        """The operand's sizes: ints where known, proxies of run-time ints where symbolic."""
        known = self._known(operand)
        if known is None:
            return tuple(operand.size(axis) for axis in range(self.rank(operand)))
        return tuple(self.size(size) for size in known.shape)

    def rank(self, operand: Any) -> int:
        """The operand's number of axes."""
        known = self._known(operand)
        return self._examples.of(operand.node).dim() if known is None else len(known.shape)

    def dtype_of(self, operand: Any) -> DType:
        """The operand's type in the plan."""
        known = self._known(operand)
        return (
            plan_dtype(self._examples.of(operand.node).dtype, self._float) if known is None else known.dtype
        )

    def dtype(self, dtype: DType) -> torch.dtype:
        """The torch type, with the float variable bound."""
        return torch_dtype(dtype, self._float)

    def size(self, size: Size) -> Any:
        """An int, or the proxy that computes a symbolic size once."""
        if isinstance(size, (int, fx.Proxy)):
            return size
        found = self._sizes.get(size)
        if found is None:
            prefix, self.tracer.prefix = self.tracer.prefix, None
            found = self._sizes[size] = fold(size, lambda value: value, self._symbol, self._operation)
            self.tracer.prefix = prefix
        return found

    # --- steps ---

    def _append(self, graph: Graph) -> None:
        for node in graph.nodes:
            if node.op.source or node in self._skip:
                continue
            self._node, self.bodies = node, node.bodies
            self._append_node(node)
            self._node, self.bodies, self.tracer.prefix, self.tracer.marks = None, (), None, {}

    def _append_node(self, node: Node) -> None:
        before = len(self.graph.nodes)
        last = next(reversed(self.graph.nodes), None)
        self.tracer.prefix = title = identifier(title_of(node))
        self.tracer.marks = {"node": node}
        result = self._apply_leaf(node) if node.path in self._leaves else self._apply(node)
        results = self._split(node, result)
        fresh = _after(self.graph, last, len(self.graph.nodes) - before)
        for value, proxy in zip(node.results, results, strict=True):
            if isinstance(proxy, fx.Proxy) and proxy.node in fresh and proxy.node.op != "call_module":
                proxy.node._rename(title)
            self._enter(value, proxy)
        if "state" in node.effects:
            _keep(self.graph, fresh)

    def _apply(self, node: Node) -> Any:
        function = getattr(node.op.within(self._largest(node)), "torch", None)
        if function is None:
            raise LoweringError(f"operator `{node.op.title}`{_place(node)} has no lowering to torch")
        operands = node.op.arrange(node.slots, [self._operand(value) for value in node.inputs])
        return node.op.call(function, operands, self)

    def _largest(self, node: Node) -> float:
        """The largest number of what scalars are computed with: 16-bit floats are widened to 32 bits."""
        types = {self.dtype(value.type.dtype) for value in (*node.inputs, *node.results)}
        return torch.finfo(torch.float64 if types & {torch.float64, torch.complex128} else torch.float32).max

    def _apply_leaf(self, node: Node) -> Any:
        assert node.path is not None
        weights = weights_of(node)
        given = [
            (s, self._operand(v)) for s, v in zip(node.slots, node.inputs, strict=True) if s not in weights
        ]
        path = node.path
        module = LeafCall(
            node,
            lambda args, kwargs: self.tracer.create_proxy(
                "call_module", path, args, kwargs, name=identifier(path)
            ),
        )
        call = getattr(node.op, "call_module", None)
        if call is None:
            return module(*[operand for _, operand in given])
        return node.op.call(call, node.op.arrange([s for s, _ in given], [o for _, o in given]), self, module)

    def _split(self, node: Node, result: Any) -> Sequence[Any]:
        if len(node.results) == 1 and not (isinstance(result, (tuple, list)) or _several(node)):
            return (result,)
        if isinstance(result, (tuple, list)):
            return result
        return [result[index] for index in range(len(node.results))]

    def _operand(self, value: Value) -> Any:
        found = self._proxies.get(value)
        if found is None:
            if value in self._constants:
                path = self._constants[value]
            elif value.node.op.name == "weight":
                path = value.node.op.path  # pyright: ignore[reportAttributeAccessIssue]
            else:
                raise LoweringError(
                    f"`{value.node.op.title}`{_place(value.node)} is used before it is computed"
                )
            found = self._attribute(path)
            self._enter(value, found)
        return found

    def _attribute(self, path: str) -> Any:
        if path not in self._attributes:
            self._attributes[path] = self.tracer.create_proxy("get_attr", path, (), {}, name=identifier(path))
        return self._attributes[path]

    def _enter(self, value: Value, proxy: Any) -> None:
        self._proxies[value] = proxy
        if isinstance(proxy, fx.Proxy):
            self._values[proxy.node] = value

    def _known(self, operand: Any) -> TensorType | None:
        """The plan's type of an operand; None for what a lowering made on its way."""
        return self._type_of(operand.node)

    def _type_of(self, node: fx.Node) -> TensorType | None:
        value = self._values.get(node)
        return None if value is None else value.type

    def _symbol(self, name: str) -> Any:
        if name not in self._symbols:
            raise LoweringError(f"size {name} cannot be read off any input")
        found = self._symbols[name]
        if isinstance(found, tuple):
            source, reading = found
            plain = reading.factor == 1 and reading.offset == 0
            label = name if plain else None
            found = self.tracer.create_proxy("call_method", "size", (source, reading.axis), {}, name=label)
            if reading.offset:
                found = self._call(sub, found, reading.offset)
            if reading.factor != 1:
                found = self._call(floordiv, found, reading.factor)
            self._symbols[name] = found
        return found

    def _operation(self, kind: str, args: tuple[Any, ...]) -> Any:
        if kind in ("min", "max"):
            function = torch.sym_min if kind == "min" else torch.sym_max
        else:
            function = {"add": add, "mul": mul, "floordiv": floordiv, "mod": mod, "pow": power}[kind]
        if kind == "add":
            # `a + (-1)*b` reads better as `a - b`; a plain number stands last.
            args = (
                *[arg for arg in args if not isinstance(arg, int)],
                *[arg for arg in args if isinstance(arg, int)],
            )
            return reduce(
                lambda a, b: (
                    self._call(sub, a, -b) if isinstance(b, int) and b < 0 else self._call(add, a, b)
                ),
                args,
            )
        return reduce(lambda a, b: self._call(function, a, b), args)

    def _call(self, function: Any, *args: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, args, {})

    def _device(self) -> Any:
        """Where new tensors go: beside the first input, or else the first weight read."""
        if self._device_proxy is None:
            sources = self._inputs or list(self._attributes.values())
            if not sources:
                return None
            self._device_proxy = self.tracer.create_proxy(
                "call_function", getattr, (sources[0], "device"), {}, name="device"
            )
        return self._device_proxy


def input_identifiers(graph: Graph) -> list[str]:
    """The names of the inputs as Python names, all different."""
    return arguments(graph.input_names)


def _several(node: Node) -> bool:
    """Whether the operator gives a list, even if of one result."""
    rule = node.op.shape
    if "ist" not in str(rule.__annotations__.get("return")) and "Shapes" not in str(
        rule.__annotations__.get("return")
    ):
        return False
    shapes = node.op.call(rule, node.op.arrange(node.slots, [value.shape for value in node.inputs]))
    return isinstance(shapes, list)


def _after(graph: fx.Graph, last: fx.Node | None, count: int) -> set[fx.Node]:
    """The `count` nodes that follow `last`."""
    found: set[fx.Node] = set()
    if count:
        node = next(iter(graph.nodes)) if last is None else last.next
        for _ in range(count):
            found.add(node)
            node = node.next
    return found


def _keep(graph: fx.Graph, nodes: set[fx.Node]) -> None:
    """Let fx's removal of dead code spare what changes state: it knows of functions only, not of methods."""
    for node in nodes:
        if node.op == "call_method" and str(node.target).endswith("_"):
            function = getattr(torch.Tensor, str(node.target))
            node.op, node.target = "call_function", function
            has_side_effect(function)
        elif node.op == "call_function" and node.target is nn.functional.batch_norm:
            has_side_effect(nn.functional.batch_norm)


def _place(node: Node) -> str:
    where = f" at {node.path}" if node.path else ""
    place = node.origins[0].place if node.origins else None
    return f"{where} ({place})" if place is not None else where
