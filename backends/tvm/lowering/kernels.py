"""A group of operators as one function of TIR."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from ....compiler.devices import Cpu, Device
from ....compiler.dtypes import DType
from ....compiler.errors import PlanformError
from ....compiler.fusion.roles import role_of
from ....compiler.graph.builder import Builder
from ....compiler.graph.graph import Graph, Node, Value
from ....compiler.sizes.dims import free_symbols
from ..cpu.nest import emit_nest
from ..cpu.templates import Template, find
from ..cpu.templates.base import Accumulated
from ..cpu.templates.blocks import Block
from ..cpu.templates.blocks import fit as find_block
from ..grouping.aliases import is_alias
from ..grouping.epilogue import axis_behind, follows, paths
from ..grouping.grouping import is_block, main_of, mains_of
from ..runtime.dtypes import HALVES, kernel_dtype, storage_dtype, tvm_dtype
from ..runtime.packing import Packing
from ..tensor_ir.expressions import Expressions, emitting, size_expression
from ..tensor_ir.index_maps import IndexMap, index_map
from ..tensor_ir.indices import FAR, declared, index_type, is_far, wide
from ..tensor_ir.layouts import CHANNELS_LAST, PLAIN, Layout
from ..tensor_ir.loops import Loops, pointer, private_function
from ..tensor_ir.tensors import Computed, Extern, Source, Tensor, watch

Layouts = Mapping[Value, Layout]


Operand = tuple[Value, Packing | None]


@dataclass(frozen=True)
class Kernel:
    """A function that computes `results` from `operands`, values of the graph whose node it is.

    It takes pointers to both, in order, and then the sizes that `symbols` names. Weights may be wanted
    packed. `over` says which operand's place the only result may take.
    """

    name: str
    function: Any
    node: Node
    operands: tuple[Operand, ...]
    results: tuple[Value, ...]
    symbols: tuple[str, ...]
    over: tuple[int, ...] = ()


class Unsupported(PlanformError):
    """A node that has no defining computation for this backend."""

    def __init__(self, node: Node) -> None:
        self.node = node
        super().__init__(f"{node.op.title} has no kernel")


class KernelMaker:
    """Makes the kernels of a program; the same group is compiled once."""

    def __init__(
        self,
        machine: Device,
        float_as: DType = "f32",
        find: Callable[..., Template | None] = find,
        writer: type[Writer] | None = None,
    ) -> None:
        self.machine = machine
        self._find = find
        self._writer = writer or Writer
        self.float_as = float_as
        self.functions: dict[str, Any] = {}
        self.writes = True
        """Whether kernels are written; else they only have names."""
        # What stands for a value inside of a loop.
        self.outside: dict[Value, Value] = {}
        self._over: dict[str, tuple[int, ...]] = {}

    def template(self, node: Node, layouts: Layouts) -> Template | Block | None:
        """The template that runs a node's main operator, if there is one and its group is fit for it."""
        body = body_of(node)
        nodes = tuple(body.operators())
        main = main_of(nodes)
        if main is not None and is_block(node):
            dtype = kernel_dtype(main.results[0].type.dtype, self.float_as)
            return find_block(mains_of(nodes), _cpu(self.machine), dtype)
        if main is None or not follows(nodes, body.outputs, main):
            return None
        outside = dict(zip(body.inputs, node.inputs, strict=True))
        given: dict[str, Value] = {}
        for slot, value in zip(main.slots, main.inputs, strict=True):
            if value in outside:
                given[slot] = outside[value]
            elif not _is_looked_through(value.node, outside):
                return None
        found = {slot: layouts.get(value, PLAIN) for slot, value in given.items()}
        for slot, value in zip(main.slots, main.inputs, strict=True):
            if slot not in given:
                found[slot] = _layout_behind(value, outside, layouts)
        dtype = kernel_dtype(main.results[0].type.dtype, self.float_as)
        template = self._find(main, found, self.machine, dtype)
        if template is None or not self._has_computed(template, given):
            return template
        # Weights that others compute are packed at each call.
        template = find(main, found, _cpu(self.machine), dtype, computed=True)
        if template is None or any(slot not in given for slot in template.packings):
            return None
        packed = [given[slot] for slot in template.packings]
        return template if all(isinstance(size, int) for value in packed for size in value.shape) else None

    def _has_computed(self, template: Template, given: Mapping[str, Value]) -> bool:
        """Whether not all operands that a template wants packed are weights."""
        values = [given.get(slot) for slot in template.packings]
        found = [None if value is None else self.outside.get(value, value) for value in values]
        return any(value is None or value.node.op.name != "weight" for value in found)

    def make(self, node: Node, layouts: Layouts, template: Template | Block | None = None) -> Kernel:
        """The kernel of a node, whose members are its body if it is a fused group.

        Raises `Unsupported` where an operator has no defining computation.
        """
        body = body_of(node)
        packings = _packings(body, template)
        operands = tuple(dict.fromkeys((value, packings.get(at)) for at, value in enumerate(node.inputs)))
        symbols = tuple(sorted({name for each in body.nodes for name in _symbols(each)}))
        how = [str(layouts.get(value, PLAIN)) for value in (*node.inputs, *node.results)]
        how += [str(packing) for _, packing in operands] + [self.float_as]
        places = [operands.index((value, packings.get(at))) for at, value in enumerate(node.inputs)]
        name = "kernel_" + hashlib.sha256(f"{_structure(body)} {how} {places}".encode()).hexdigest()[:16]
        if not self.writes:
            return Kernel(name, None, node, operands, node.results, symbols, ())
        if name not in self.functions:
            with wide(_is_wide(body, operands, layouts)):
                writer = self._writer(node, body, layouts, self.machine, self.float_as, symbols)
                self.functions[name], self._over[name] = writer.write(operands, places, template)
        return Kernel(name, self.functions[name], node, operands, node.results, symbols, self._over[name])


def _cpu(machine: Device) -> Cpu:
    """The processor that templates and loops are for; what is for a GPU has a writer of its own."""
    assert isinstance(machine, Cpu)
    return machine


class Writer:
    """Writes one kernel."""

    def __init__(
        self,
        node: Node,
        body: Graph,
        layouts: Layouts,
        machine: Device,
        float_as: DType,
        symbols: Sequence[str],
    ) -> None:
        self.node = node
        self.body = body
        self.layouts = layouts
        self.machine = machine
        self.float_as = float_as
        self.symbols = {name: tirx.Var(name, "int64") for name in symbols}
        self.parameters: list[Any] = []
        self.loops = Loops()

    def write(
        self, operands: Sequence[Operand], places: Sequence[int], template: Template | Block | None
    ) -> tuple[Any, tuple[int, ...]]:
        """The function, and the operands whose place the result may take."""
        with emitting(self.loops):
            return self._write(operands, places, template)

    def _write(
        self, operands: Sequence[Operand], places: Sequence[int], template: Template | Block | None
    ) -> tuple[Any, tuple[int, ...]]:
        sources: list[Source] = []
        for number, (value, packing) in enumerate(operands):
            dtype = kernel_dtype(value.type.dtype, self.float_as)
            held = tvm_dtype(value.type.dtype, self.float_as)
            held = held if packing is None else packing.dtype(held)
            shape = self._sizes(value) if packing is None else packing.shape
            layout = self.layouts.get(value, PLAIN) if packing is None else PLAIN
            source = Source(shape, dtype, f"x{number}")
            source.buffer, source.layout = self._buffer(layout.shape(shape), held, f"x{number}"), layout
            sources.append(source)
        known: dict[Value, Tensor] = {
            value: sources[place] for value, place in zip(self.body.inputs, places, strict=True)
        }
        mains = [main for main, _ in _packed(self.body, template)]
        made = self._trace(known, mains)
        behind = paths(list(self.body.operators()), mains[-1]) if mains else {}
        moved: dict[Tensor, IndexMap] = {}
        results: list[Tensor] = []
        for number, (value, inner) in enumerate(zip(self.node.results, self.body.outputs, strict=True)):
            # What is only looked at in another shape is written in the shape that it is worked out in.
            layout = self.layouts.get(value, PLAIN)
            while layout == PLAIN and is_alias(inner.node) and inner.node not in mains:
                inner = inner.node.inputs[0]
            tensor = known[inner]
            held = tvm_dtype(value.type.dtype, self.float_as)
            # Programs read what they have written, and so that must not be rounded.
            apart = isinstance(tensor, (Source, Accumulated)) or (
                isinstance(tensor, Extern) and held in HALVES
            )
            if apart or tensor in results:
                tensor = _copy(tensor)
                made.append(tensor)
            tensor.layout = layout
            tensor.buffer = self._buffer(tensor.layout.shape(tensor.shape), held, f"y{number}")
            results.append(tensor)
            if behind.get(inner):
                moved[tensor] = index_map(behind[inner])
        if template is None or not mains:
            over = _same_place(sources, made, results)
            return self._nest(made, results), over
        main = mains[-1]
        accumulated = known[main.results[0]]
        assert isinstance(accumulated, Accumulated)
        accumulated.index_map = moved
        results.sort(key=made.index)
        if isinstance(template, Block):
            template.emit(self.loops, known, results)
            return self._function(), ()
        # Of a list of operands all but the first are named by their numbers.
        slots = [
            slot if main.slots.index(slot) == at else f"{slot}{at}" for at, slot in enumerate(main.slots)
        ]
        given = {slot: known[value] for slot, value in zip(slots, main.inputs, strict=True)}
        return self._run(template, given, accumulated, results), ()

    def _nest(self, made: Sequence[Tensor], results: Sequence[Tensor]) -> Any:
        """The function of a group without a template."""
        emit_nest(self.loops, made, results, _cpu(self.machine))
        return self._function()

    def _run(
        self,
        template: Template,
        operands: Mapping[str, Tensor],
        main: Accumulated,
        results: Sequence[Tensor],
    ) -> Any:
        """The function that a template writes."""
        template.emit(self.loops, operands, main, results, _cpu(self.machine))
        return self._function()

    def _function(self) -> Any:
        parameters = [*self.parameters, *self.symbols.values()]
        return private_function(parameters, self.loops.body(), self.loops.in_vectors)

    def _sizes(self, value: Value) -> tuple[Any, ...]:
        return tuple(size_expression(size, self.symbols) for size in value.shape)

    def _buffer(self, sizes: Sequence[Any], dtype: str, name: str) -> Any:
        dtype = storage_dtype(dtype)
        data = pointer(f"{name}_data", dtype)
        made = declared(sizes, dtype, name=name, data=data)
        self.loops.emit(tirx.DeclBuffer(made, data=data))
        self.parameters.append(data)
        return made

    def _trace(self, known: dict[Value, Tensor], mains: Sequence[Node]) -> list[Tensor]:
        """Enter the tensors of the body's operators in `known`; those made, in order."""
        made: list[Tensor] = []
        for node in self.body.operators():
            if node in mains:
                result = node.results[0]
                dtype = kernel_dtype(result.type.dtype, self.float_as)
                known[result] = Accumulated(self._sizes(result), dtype, node.op.name)
                continue
            if not hasattr(node.op, "te"):
                raise Unsupported(node)
            t = Expressions(node, self.symbols, self.float_as)
            arranged = node.op.arrange(node.slots, [known[value] for value in node.inputs])
            found = node.op.call(getattr(node.op, "te"), arranged, t)  # noqa: B009
            made += t.made
            results = [found] if isinstance(found, Tensor) else list(found)
            known.update(zip(node.results, results, strict=True))
        reads = Counter(value for node in self.body.operators() for value in node.inputs)
        for value, tensor in known.items():
            tensor.shared = isinstance(tensor, Computed) and reads[value] > 1
        return made


def _is_wide(body: Graph, operands: Sequence[Operand], layouts: Layouts) -> bool:
    """Whether a kernel's indices are of 64 bits: a value or an argument of an operator is large."""
    values = *body.inputs, *(value for node in body.nodes for value in node.results)
    shapes = [value.shape for value in values]
    shapes += [
        layouts.get(value, PLAIN).shape(value.shape) if packing is None else packing.shape
        for value, packing in operands
    ]
    numbers = (number for node in body.nodes for number in _numbers(node))
    return any(map(is_far, shapes)) or any(abs(number) >= FAR for number in numbers)


def _numbers(node: Node) -> Iterator[int]:
    """The whole numbers among an operator's arguments: strides and paddings, say."""
    left = [getattr(node.op, name) for name in node.op.arguments()]
    while left:
        thing = left.pop()
        if isinstance(thing, int):
            yield thing
        elif isinstance(thing, (tuple, list)):
            left += thing


def _structure(body: Graph) -> str:
    """All of a group that its code depends on: operators and types, no names."""
    number = {value: f"{at}.{value.index}" for at, node in enumerate(body.nodes) for value in node.results}
    rows = [
        f"{node.op.name} {node.op!r} {node.slots} {[number[value] for value in node.inputs]} "
        f"{[str(value.type) for value in node.results]}"
        for node in body.nodes
        if not node.op.source
    ]
    inputs = [f"{number[value]} {value.type}" for value in body.inputs]
    return "\n".join([*inputs, *rows, *[number[value] for value in body.outputs]])


def _is_looked_through(node: Node, outside: Container[Value]) -> bool:
    """Whether elements of a node are elements of what the kernel is given, in other places."""
    return role_of(node) in ("view", "move") and all(
        value in outside or _is_looked_through(value.node, outside) for value in node.inputs
    )


def _layout_behind(value: Value, outside: Mapping[Value, Value], layouts: Layouts) -> Layout:
    """How neighbours lie that are looked at through views."""
    rank = len(value.shape)
    axis = _neighbours(value, outside, layouts)
    return CHANNELS_LAST if axis == 1 and rank > 2 else PLAIN


def _neighbours(value: Value, outside: Mapping[Value, Value], layouts: Layouts) -> int | None:
    """The axis along which elements are neighbours in memory, if there is one."""
    rank = len(value.shape)
    if value in outside:
        layout = layouts.get(outside[value], PLAIN)
        return None if layout.blocked else rank - 1 if layout == PLAIN else layout.axis
    node = value.node
    if not node.op.view:
        return None
    axis = _neighbours(node.inputs[0], outside, layouts)
    return None if axis is None else axis_behind(node, axis)


def _packed(body: Graph, template: Template | Block | None) -> list[tuple[Node, Mapping[str, Packing]]]:
    """The operators that a template runs, and how it wants their operands packed."""
    if isinstance(template, Block):
        return list(zip(template.mains, [stage.packings for stage in template.stages], strict=True))
    main = None if template is None else main_of(body.operators())
    return [] if template is None or main is None else [(main, template.packings)]


def _packings(body: Graph, template: Template | Block | None) -> dict[int, Packing]:
    """For each operand of the node, by number, how it is packed, if it is."""
    number = {value: at for at, value in enumerate(body.inputs)}
    return {
        number[value]: packings[slot]
        for main, packings in _packed(body, template)
        for slot, value in zip(main.slots, main.inputs, strict=True)
        if slot in packings
    }


def _same_place(
    sources: Sequence[Source], made: Sequence[Tensor], results: Sequence[Tensor]
) -> tuple[int, ...]:
    """The operands that a kernel of one loop reads at the very place that it writes."""
    if len(results) != 1 or not isinstance(results[0], Computed):
        return ()
    if any(not isinstance(tensor, Computed) or tensor.keep for tensor in made):
        return ()
    result = results[0]
    index = tuple(tirx.Var(f"i{axis}", index_type(0)) for axis in range(result.rank))
    found: dict[int, bool] = {}
    for tensor, at in watch(lambda: result.at(index)):
        if isinstance(tensor, Source):
            fits = _held(tensor) == _held(result) and tensor.layout == result.layout and len(at) == len(index)
            fits = fits and all(_size_is(a, b) for a, b in zip(tensor.shape, result.shape, strict=True))
            fits = fits and all(i.same_as(j) for i, j in zip(at, index, strict=True))
            number = sources.index(tensor)
            found[number] = found.get(number, True) and fits
    return tuple(number for number, fits in found.items() if fits)


def _held(tensor: Tensor) -> str:
    """The type of the elements in memory."""
    assert tensor.buffer is not None
    return str(tensor.buffer.dtype)


def _size_is(left: Any, right: Any) -> bool:
    return isinstance(left, int) and isinstance(right, int) and left == right


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


def body_of(node: Node) -> Graph:
    """What a node runs: its members, if it is a fused group."""
    return node.bodies[0] if node.op.name == "fused" else alone(node)


def alone(node: Node) -> Graph:
    """A graph of one node, whose inputs are the node's."""
    builder = Builder(node.op.name)
    made = builder.copy(node, [builder.input(f"x{n}", value.type) for n, value in enumerate(node.inputs)])
    return builder.freeze(made.results)
