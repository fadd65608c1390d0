"""What a plan asks of its inputs, as the first statements of a `forward`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ....compiler.graph.graph import Graph
from ....compiler.graph.program import Program
from ....compiler.names import quoted
from ....compiler.ops.core.base import Mode
from ....compiler.sizes.dims import Size, at_least, free_symbols, render, to_python
from ....compiler.sizes.guards import Guard
from ....compiler.sizes.symbols import linear, readings
from ..contract import Axis, axes_of
from ..guards import Constraint
from .body import Body
from .instances import INDENT


def guarded(program: Program, body: Body) -> Body:
    """The body of the whole network behind what its inputs must be, and the constraints of its modes.

    fx, torch.compile and torch.export keep `torch._assert`, or prove it; a bare `assert` would go with -O.
    """
    lines = list(_lines(program, body.arguments))
    return Body(body.arguments, (*lines, *body.lines)) if lines else body


def _lines(program: Program, arguments: Sequence[str]) -> Iterator[str]:
    graphs = [graph for mode, graph in program.graphs.items() if mode in ("train", "eval")]
    everywhere = set.intersection(*[{_relation(guard) for guard in graph.guards} for graph in graphs])
    always = [guard for guard in graphs[0].guards if _relation(guard) in everywhere]
    names = _symbols(graphs[0], arguments)
    yield from _contract(program, graphs[0], arguments)
    yield from _formulas(graphs[0], arguments, names)
    yield from _asserts(always, names)
    if len(graphs) < 2:
        return
    conditions: tuple[tuple[Mode, str], ...] = (
        ("train", "if self.training:"),
        ("eval", "if not self.training:"),
    )
    for mode, condition in conditions:
        own = [guard for guard in program.graphs[mode].guards if _relation(guard) not in everywhere]
        found = [INDENT + line for line in _asserts(own, names)]
        if found:
            yield from (condition, *found)


def _contract(program: Program, graph: Graph, arguments: Sequence[str]) -> Iterator[str]:
    """The call of `check_inputs`, whose text stands at the end of the file."""
    if not graph.inputs:
        return
    axes = axes_of([value.shape for value in graph.inputs])
    given = [
        f"({quoted(name)}, {argument}, {quoted(value.type.dtype)}, {_axes(shape)})"
        for name, argument, value, shape in zip(graph.input_names, arguments, graph.inputs, axes, strict=True)
    ]
    yield f"check_inputs({quoted(program.name)}, [{', '.join(given)}])"


def _axes(axes: Sequence[Axis]) -> str:
    return f"[{', '.join(quoted(axis) if isinstance(axis, str) else _plain(axis) for axis in axes)}]"


def _plain(axis: int | tuple[Any, ...]) -> str:
    if isinstance(axis, int):
        return str(axis)
    text = ", ".join(quoted(part) if isinstance(part, str) else str(part) for part in axis)
    return f"({text},)" if len(axis) == 1 else f"({text})"


def _formulas(graph: Graph, arguments: Sequence[str], names: Mapping[str, str]) -> Iterator[str]:
    """Axes that are formulas of several symbols, or not linear in one."""
    for name, argument, value in zip(graph.input_names, arguments, graph.inputs, strict=True):
        for axis, size in enumerate(value.shape):
            if isinstance(size, int) or linear(size) is not None or not free_symbols(size) <= names.keys():
                continue
            message = f"{name}: axis {axis} must be {render(size)}"
            yield f"torch._assert({argument}.shape[{axis}] == {to_python(size, names)}, {quoted(message)})"


def _relation(guard: Guard) -> tuple[str, Size, Size]:
    return guard.relation, guard.left, guard.right


def _symbols(graph: Graph, arguments: Sequence[str]) -> dict[str, str]:
    """How each free size is read off the arguments."""
    names: dict[str, str] = {}
    for name, reading in readings([value.shape for value in graph.inputs]).items():
        text = f"{arguments[reading.input]}.shape[{reading.axis}]"
        if reading.offset:
            text = f"({text} {'-' if reading.offset > 0 else '+'} {abs(reading.offset)})"
        names[name] = text if reading.factor == 1 else f"({text} // {reading.factor})"
    return names


def _asserts(guards: Sequence[Guard], names: Mapping[str, str]) -> Iterator[str]:
    for guard in guards:
        if not free_symbols(guard.left) | free_symbols(guard.right) <= names.keys():
            continue
        left, right = to_python(guard.left, names), to_python(guard.right, names)
        test = f"({left}) % ({right}) == 0" if guard.relation == "%" else f"{left} {guard.relation} {right}"
        if guard.relation == "%" and not at_least(guard.right, 1):
            # Nothing is a multiple of 0, and Python has no remainder by it.
            yield f"torch._assert({right} != 0, {quoted(f'{guard.message}: {render(guard.right)} is 0')})"
        if guard.relation == "%" and isinstance(guard.right, int):
            test = f"{_enclosed(left)} % {right} == 0"
        message = f"{guard.message}: {Constraint(guard.relation, guard.left, guard.right, guard.message)}"
        # The test beside it says the same, and a text cannot be broken.
        yield f"torch._assert({test}, {quoted(message if len(message) <= 80 else guard.message)})"


def _enclosed(text: str) -> str:
    return f"({text})" if any(sign in text for sign in "+-*/% ") else text
