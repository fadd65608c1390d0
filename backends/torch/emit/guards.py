"""What a plan asks of its inputs' sizes, as the first statements of a `forward`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ....compiler.dims import Size, free_symbols, to_python
from ....compiler.graph import Graph
from ....compiler.guards import Guard
from ....compiler.names import quoted
from ....compiler.ops.base import Mode
from ....compiler.program import Program
from ....compiler.readings import readings
from ..guards import Constraint
from .body import Body
from .instances import INDENT


def guarded(program: Program, body: Body) -> Body:
    """The body of the whole network behind the constraints of its modes.

    fx, torch.compile and torch.export keep `torch._assert`, or prove it; a bare `assert` would go with -O.
    """
    lines = list(_lines(program, body.arguments))
    return Body(body.arguments, (*lines, *body.lines)) if lines else body


def _lines(program: Program, arguments: Sequence[str]) -> Iterator[str]:
    graphs = [graph for mode, graph in program.graphs.items() if mode in ("train", "eval")]
    everywhere = set.intersection(*[{_relation(guard) for guard in graph.guards} for graph in graphs])
    always = [guard for guard in graphs[0].guards if _relation(guard) in everywhere]
    names = _symbols(graphs[0], arguments)
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
        if guard.relation == "%" and isinstance(guard.right, int):
            test = f"{_enclosed(left)} % {right} == 0"
        message = f"{guard.message}: {Constraint(guard.relation, guard.left, guard.right, guard.message)}"
        # The test beside it says the same, and a text cannot be broken.
        yield f"torch._assert({test}, {quoted(message if len(message) <= 80 else guard.message)})"


def _enclosed(text: str) -> str:
    return f"({text})" if any(sign in text for sign in "+-*/% ") else text
