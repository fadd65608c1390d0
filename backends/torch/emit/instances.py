"""What stands at a block call's path: its members, its `forward`, the initial content of its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import fx, nn

from ....compiler.dtypes import is_complex, is_float
from ....compiler.graph.graph import Graph, Node, Value, Weight
from ....compiler.graph.program import Program
from ....compiler.names import fresh, identifier, is_attribute
from ..leaves import build
from ..lower import GraphLowering, title_of
from .body import Body, BodyWriter
from .calls import Call, Unsplittable
from .expressions import Construction, Constructors
from .initial import blank, is_default
from .initial import lines as initial_lines
from .literals import number
from .sequences import compressed, returned

INDENT = "    "


class Layout:
    """The tree of modules of a program, and how its places are written from a class that stands at a path."""

    def __init__(self, root: nn.Module, scopes: frozenset[str], leaves: Mapping[str, nn.Module]) -> None:
        self.root = root
        self.scopes = scopes
        self.leaves = leaves
        self.modules = dict(root.named_modules(remove_duplicate=False))

    def is_list(self, path: str) -> bool:
        """Whether the children at a path are numbered from 0."""
        names = list(self.modules[path]._modules)
        return path not in self.scopes and bool(names) and names == [str(n) for n in range(len(names))]

    def is_dict(self, path: str) -> bool:
        """Whether the children at a path need quoted names."""
        if path in self.scopes or self.is_list(path):
            return False
        names = self.modules[path]._modules
        return not all(map(is_attribute, names)) and not _MEMBERS_OF_DICTS & names.keys()

    def access(self, scope: str, path: str) -> str:
        """`self....` for a path, in the class at `scope`."""
        assert path.startswith(f"{scope}.") or not scope
        parts = path[len(scope) + 1 if scope else 0 :].split(".")
        text, here = "self", scope
        for part in parts:
            if self.is_list(here):
                text += f"[{part}]"
            elif self.is_dict(here) and part in self.modules[here]._modules:
                text += f'["{part}"]'
            else:
                text = attribute(text, part)
            here = f"{here}.{part}" if here else part
        return text

    def owner(self, path: str) -> str:
        """The innermost class that a path belongs to."""
        while path not in self.scopes:
            path = path.rpartition(".")[0]
        return path


# What `nn.ModuleDict` is itself cannot be a key of one.
_MEMBERS_OF_DICTS = frozenset(dir(nn.ModuleDict))
_MEMBERS_OF_MODULES = frozenset(dir(nn.Module()))


def attribute(owner: str, name: str) -> str:
    """The access to an attribute of any name."""
    return f"{owner}.{name}" if is_attribute(name) else f'getattr({owner}, "{name}")'


class Instance(NamedTuple):
    """The text of a class for one place: numbers are holes."""

    block: str
    members: tuple[str, ...]
    initial: tuple[str, ...]
    bodies: tuple[tuple[str, Body], ...]


class InstanceWriter:
    """Writes the class at a path; `constructors` are the texts that make the classes inside."""

    def __init__(self, program: Program, layout: Layout, path: str, constructors: Mapping[str, str]) -> None:
        self.program = program
        self.layout = layout
        self.path = path
        self.constructors = constructors
        self.members: list[str] = []
        self.initial: list[str] = []
        self.constants: dict[str, str] = {}
        self.sequences: set[str] = set()
        self.calls_of_leaves = _leaf_nodes(program)

    def write(self, block: str, calls: Sequence[tuple[str, Sequence[Call], bool]]) -> Instance:
        """The instance; `calls` gives for each mode the calls of it, and whether dropouts follow the mode."""
        bodies: list[tuple[str, Body]] = []
        constants: list[str] = []
        for mode, found, live in calls:
            each = [self._body(one, constants, live) for one in found]
            if any(body != each[0] for body in each):
                raise Unsplittable(self.path)
            if each:
                lines, whole = compressed(each[0].lines, self._lists())
                self.sequences |= whole
                bodies.append((mode, Body(each[0].arguments, tuple(returned(lines)))))
        self._module(self.path)
        return Instance(block, (*self.members, *constants), tuple(self.initial), tuple(bodies))

    def _body(self, call: Call, constants: list[str], live: bool) -> Body:
        return BodyWriter(call, self._access, lambda v: self._constant(v, constants), live).write()

    def _access(self, path: str) -> str:
        if self.path and not path.startswith(f"{self.path}."):
            raise Unsplittable(self.path)
        return self.layout.access(self.path, path)

    # --- members ---

    def _module(self, path: str) -> None:
        """Statements that fill the module at a path, which stands already."""
        module = self.layout.modules[path]
        for name in (*module._parameters, *module._buffers):
            self._weight(path, name)
        for name in module._modules:
            inner = f"{path}.{name}" if path else name
            text = self._whole(inner)
            target = self.layout.access(self.path, inner)
            if text is not None:
                self.members.append(_assign(target, text))
            else:
                empty = "nn.ModuleDict()" if self.layout.is_dict(inner) else "nn.Module()"
                if self.layout.is_list(inner):
                    length = len(self.layout.modules[inner]._modules)
                    empty = f"nn.ModuleList(nn.Module() for _ in range({length}))"
                self.members.append(_assign(target, empty))
                self._module(inner)

    def _whole(self, path: str) -> str | None:
        """The expression that makes all that stands at a path; None where it takes statements."""
        if path in self.constructors:
            return self.constructors[path]
        if path in self.layout.leaves:
            return self._leaf(path)
        if not self._is_whole(path):
            return None
        items = [self._whole(f"{path}.{name}") for name in self.layout.modules[path]._modules]
        listed, is_generator = _listed([item for item in items if item is not None])
        if self.layout.access(self.path, path) in self.sequences:
            return f"nn.Sequential(*({listed}))" if is_generator else f"nn.Sequential({listed})"
        return f"nn.ModuleList({listed})" if is_generator else f"nn.ModuleList([{listed}])"

    def _is_whole(self, path: str) -> bool:
        """Whether one expression makes all that stands at a path."""
        if path in self.constructors or path in self.layout.leaves:
            return True
        module = self.layout.modules[path]
        if not self.layout.is_list(path) or module._parameters or module._buffers:
            return False
        return all(self._is_whole(f"{path}.{name}") for name in module._modules)

    def _lists(self) -> dict[str, int]:
        """The lengths of the lists of modules in the class, by their texts."""
        inside = f"{self.path}." if self.path else ""
        return {
            self.layout.access(self.path, path): len(module._modules)
            for path, module in self.layout.modules.items()
            if path.startswith(inside) and self.layout.is_list(path) and self.layout.owner(path) == self.path
        }

    def _leaf(self, path: str) -> str:
        node = self.calls_of_leaves[path]
        made = build(node, _LIBRARY)
        assert isinstance(made, Construction)
        leaf = self.layout.leaves[path]
        names = [*dict(leaf.named_parameters()), *dict(leaf.named_buffers())]
        found = {name: self.program.weights[f"{path}.{name}"] for name in names}
        kernel = found.get("weight")
        fan_in = 1
        for size in kernel.type.shape[1:] if kernel is not None else ():
            fan_in *= size if isinstance(size, int) else 1
        for name, weight in found.items():
            if not is_default(weight, leaf, name, fan_in):
                self._initialise(weight)
            if not weight.trainable and weight.kind == "param":
                self.initial.append(f"{self.layout.access(self.path, weight.path)}.requires_grad_(False)")
        return made.text()

    def _weight(self, path: str, name: str) -> None:
        weight = self.program.weights[f"{path}.{name}" if path else name]
        text, done = blank(weight)
        owner = self.layout.access(self.path, path) if path != self.path else "self"
        if weight.kind == "buffer":
            rest = "" if weight.persistent else ", persistent=False"
            self.members.append(f'{owner}.register_buffer("{name}", {text}{rest})')
        else:
            dtype = weight.type.dtype
            trained = weight.trainable and (is_float(dtype) or is_complex(dtype))
            frozen = "" if trained else ", requires_grad=False"
            made = f"nn.Parameter({text}{frozen})"
            named = f"{owner}.{name} = {made}"
            self.members.append(
                named if is_attribute(name) else f'{owner}.register_parameter("{name}", {made})'
            )
        if not done:
            self._initialise(weight)

    def _initialise(self, weight: Weight) -> None:
        target = self.layout.access(self.path, weight.path)
        if not isinstance(weight.init, Graph):
            self.initial += initial_lines(weight, target)
            return
        lines = constant_lines(weight.init, weight.init.outputs[0])
        self.initial.append("with torch.no_grad():")
        self.initial += [f"{INDENT}{line}" for line in lines[:-1]]
        self.initial.append(f"{INDENT}{target}.copy_({lines[-1].removeprefix('return ')})")

    def _constant(self, value: Value, lines: list[str]) -> str:
        """The buffer of a constant; the same constant of another mode is the same buffer."""
        graph = next(g for g in self.program.graphs.values() if value.node in set(g.nodes))
        code = constant_lines(graph, value)
        text = "\n".join(code)
        if text not in self.constants:
            module = self.layout.modules[self.path]
            taken = {*self.constants.values(), *module._modules, *module._parameters, *module._buffers}
            title = identifier(title_of(value.node).rpartition(".")[2])
            name = self.constants[text] = fresh(title, taken | _MEMBERS_OF_MODULES, between="")
            lines += code[:-1]
            result = code[-1].removeprefix("return ")
            lines.append(f'self.register_buffer("{name}", {result}, persistent=False)')
        return f"self.{self.constants[text]}"


class _Library:
    """The `Lowering` that `module` methods are given when their constructor calls are to be written."""

    nn = Constructors()

    def size(self, size: Any) -> Any:
        """The size itself."""
        return size

    def rank(self, shape: Any) -> int:
        """The number of axes."""
        return len(shape)

    def shape(self, shape: Any) -> Any:
        """The sizes."""
        return tuple(shape)


_LIBRARY = _Library()


def constant_lines(graph: Graph, value: Value) -> list[str]:
    """Statements that compute a value without inputs; the last returns it."""
    needed: set[Node] = set()
    stack = [value.node]
    while stack:
        node = stack.pop()
        if node not in needed:
            needed.add(node)
            stack += [used.node for used in node.inputs]
    part = Graph(graph.name, tuple(n for n in graph.nodes if n in needed), (), (), value, {})
    root = Call("", graph.name, None)
    code: fx.Graph = GraphLowering().lower(part)
    root.nodes = list(code.nodes)
    return returned(BodyWriter(root, str, str).write().lines)


def _leaf_nodes(program: Program) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for graph in program.graphs.values():
        for node in graph.nodes:
            if node.path is not None and not node.op.source:
                found.setdefault(node.path, node)
    return found


def _assign(target: str, text: str) -> str:
    if target.endswith('")'):
        owner, name = target.removeprefix("getattr(")[:-1].rsplit(", ", 1)
        return f"{owner}.add_module({name}, {text})"
    return f"{target} = {text}"


def _listed(items: list[str]) -> tuple[str, bool]:
    """Items by commas, equal ones in a row as a comprehension; and whether all is one comprehension."""
    runs: list[list[str]] = []
    for item in items:
        if runs and runs[-1][0] == item:
            runs[-1].append(item)
        else:
            runs.append([item])
    if len(runs) == 1 and len(items) > 2:
        return f"{items[0]} for _ in range({number(len(items), 'depth')})", True
    shown: list[str] = []
    for run in runs:
        if len(run) > 2:
            shown.append(f"*({run[0]} for _ in range({number(len(run), 'depth')}))")
        else:
            shown += run
    return ", ".join(shown), False
