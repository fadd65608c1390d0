"""A plan as a torch module: leaves of torch.nn, a graph for each mode, one table of weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, fx, nn

from ...compiler.graph.graph import Graph, Weight
from ...compiler.graph.program import Program
from ...compiler.names import identifier
from .constants import evaluate, find_constants
from .dtypes import torch_dtype
from .errors import LoweringError, ModeError
from .guards import Guards
from .initialise import fill
from .leaves import leaf_modules, register, static_shape
from .lower import GraphLowering, input_identifiers, title_of
from .portable import portable

GUARDS = "_guards"
# The tables that a module and its graphs have in common.
_TABLES = ("_parameters", "_buffers", "_non_persistent_buffers_set", "_modules")
# Constants by mode: (number of the node, number of its result) -> name of the buffer.
ConstantNames = Mapping[str, Mapping[tuple[int, int], str]]


class PlanModule(nn.Module):
    """A plan's network; `to_torch` makes it.

    Its children stand at the plan's label paths. `graphs` holds an fx graph module for each mode; they are
    views of this module, whose tables they share, and `.train()` and `.eval()` select between them. Editing
    such a graph (and `recompile()`) changes what this module computes. In a mode that the sizes do not admit,
    a call raises `ModeError`. `program` is what it was made from. A label of such a name comes first.
    """

    graphs: dict[str, fx.GraphModule]
    program: Program
    _own: ClassVar[dict[str, str]] = {"graphs": "_graphs", "program": "_program"}

    def __init__(self, program: Program, dtype: torch.dtype) -> None:
        super().__init__()
        self._program = program
        self._dtype = dtype
        self._leaf_paths: tuple[str, ...] = ()
        self._constant_names: ConstantNames = {}
        self._graphs: dict[str, fx.GraphModule] = {}

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            own = type(self)._own.get(name)
            if own is None or own not in dir(self):
                raise
        return getattr(self, own)

    def _run(self, *inputs: Any) -> Any:
        mode = "train" if self.training else "eval"
        graph = self._graphs.get(mode)
        if graph is None:
            why = self._program.refused.get(mode)
            if why is not None:
                raise ModeError(f"{self._program.name} has no {mode} mode at these sizes: {why}")
            graph = next(iter(self._graphs.values()))
        return type(graph).forward(self, *inputs)

    def _attach(self, graphs: Mapping[str, fx.Graph]) -> None:
        """Make the graph modules and let them share this module's tables."""
        self._graphs = {}
        for mode, graph in graphs.items():
            made = graph_view(self, graph, f"{type(self).__name__}_{mode}")
            made.__dict__["training"] = mode == "train"
            self._graphs[mode] = made

    def _lower(self) -> dict[str, fx.Graph]:
        """The fx graphs of the program."""
        found: dict[str, fx.Graph] = {}
        for mode, graph in self._program.graphs.items():
            names = self._constant_names.get(mode, {})
            constants = {graph.nodes[node].results[index]: name for (node, index), name in names.items()}
            skip = find_constants(graph).nodes if names else frozenset()
            lowering = GraphLowering(self._dtype, self._leaf_paths, constants, skip)
            found[mode] = lowering.lower(graph, GUARDS)
            for name, loop in lowering.loops.items():
                _rename_calls(found[mode], name, f"{name}_{mode}")
                self._modules[f"{name}_{mode}"] = loop
        return found

    def __deepcopy__(self, memo: dict[int, Any]) -> PlanModule:
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        shared = {"_program": self._program, "_graphs": {}}
        made.__dict__.update(
            {k: copy.deepcopy(v, memo) for k, v in self.__dict__.items() if k not in shared} | shared
        )
        made._attach({mode: copy.deepcopy(graph.graph) for mode, graph in self._graphs.items()})
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        state = {key: value for key, value in self.__dict__.items() if key not in ("_program", "_graphs")}
        base = type(self).__bases__[0]
        return _restore, (portable(self._program), self._dtype, base), state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._attach(self._lower())


def graph_view(owner: nn.Module, graph: fx.Graph, name: str = "GraphModule") -> fx.GraphModule:
    """A graph as a module with the children and weights of `owner`, whatever they are called."""
    # It takes its graph before the tables: a label may be called `graph`.
    made = fx.GraphModule(nn.Module(), fx.Graph(), class_name=name)
    fx.GraphModule.graph.fset(made, graph)  # pyright: ignore[reportOptionalCall]
    for table in _TABLES:
        made.__dict__[table] = owner.__dict__[table]
    return made


def assemble(
    program: Program,
    dtype: torch.dtype,
    place: torch.device,
    make: Callable[[Weight], Tensor],
    base: type[PlanModule] = PlanModule,
) -> PlanModule:
    """A module of a class under `base` that computes the program, with the weights that `make` gives.

    Raises `LoweringError` where torch cannot express the plan.
    """
    module = _empty(program, dtype, base)
    leaves = leaf_modules(program)
    taken = {path.partition(".")[0] for path in (*program.weights, *leaves)}
    for name in sorted(taken):
        if hasattr(type(module), name) or name in vars(module):
            raise LoweringError(
                f"{program.name}: the label `{name}` is a name that torch modules use themselves"
            )
    register(module, program.weights, leaves, make)
    module._leaf_paths = tuple(leaves)
    module._constant_names = _hold_constants(module, program, dtype, place)
    module.add_module(GUARDS, Guards.of(program))
    module._attach(module._lower())
    return module


def initial(weight: Weight, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The initial content of a weight."""
    wanted = torch_dtype(weight.type.dtype, dtype)
    if isinstance(weight.init, Graph):
        (tensor,) = evaluate(weight.init, weight.init.nodes, weight.init.outputs, dtype)
        return tensor.to(device, wanted, copy=True)
    tensor = torch.empty(static_shape(weight), dtype=wanted, device=device)
    fill(tensor, weight.init, weight.path)
    return tensor


def _rename_calls(graph: fx.Graph, old: str, new: str) -> None:
    for node in graph.nodes:
        if node.op == "call_module" and node.target == old:
            node.target = new


def _empty(program: Program, dtype: torch.dtype, base: type[PlanModule]) -> PlanModule:
    """A module without content, of a class of its own whose `forward` has the plan's inputs."""
    names = ", ".join(
        input_identifiers(program.graph if "eval" in program.graphs else next(iter(program.graphs.values())))
    )
    space: dict[str, Any] = {}
    exec(f"def forward(self, {names}):\n    return self._run({names})\n", space)
    body = {"forward": space["forward"], "__module__": __name__, "__doc__": f"The plan {program.name}."}
    return type(identifier(program.name), (base,), body)(program, dtype)


def _restore(program: Program, dtype: torch.dtype, base: type[PlanModule]) -> PlanModule:
    return _empty(program, dtype, base)


def _hold_constants(
    module: nn.Module, program: Program, dtype: torch.dtype, device: torch.device
) -> ConstantNames:
    """Compute the constants and hold them as buffers that are not saved; two modes share equal ones."""
    held: dict[str, Tensor] = {}
    names: dict[str, dict[tuple[int, int], str]] = {}
    for mode, graph in program.graphs.items():
        nodes, values = find_constants(graph)
        if not values:
            continue
        number = {node: position for position, node in enumerate(graph.nodes)}
        for value, tensor in zip(values, evaluate(graph, nodes, values, dtype), strict=True):
            name = base = f"_{identifier(title_of(value.node))}"
            suffix = 0
            while name in held and not _same(held[name], tensor):
                suffix += 1
                name = f"{base}_{suffix}"
            if name not in held:
                held[name] = tensor
                module.register_buffer(name, tensor.to(device), persistent=False)
            names.setdefault(mode, {})[number[value.node], value.index] = name
    return names


def _same(left: Tensor, right: Tensor) -> bool:
    return left.dtype == right.dtype and left.shape == right.shape and torch.equal(left, right)


@contextmanager
def seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Random numbers from a seed inside, and torch's generators as before after; nothing without a seed."""
    if seed is None:
        yield
        return
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield
