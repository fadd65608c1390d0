"""The folded block structure of a graph as a picture: boxes, edges with shapes; as text, dot or SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from ..errors import ArgumentError
from ..graph.graph import Graph, Value, leaves
from ..graph.structure import Part, Run, fold, structure
from ..graph.text import arguments_text
from ..names import quoted
from ..types import TensorType

Format = Literal["text", "dot", "svg"]
FORMATS: tuple[Format, ...] = ("text", "dot", "svg")


@dataclass(frozen=True)
class Box:
    """A box: `kind` is "input", "output", "block" or "operator"; `repeat` equal ones in a row are one box."""

    kind: str
    title: str
    path: str = ""
    detail: str = ""
    repeat: int = 1


@dataclass(frozen=True)
class Edge:
    """What flows from one box, by number, to another; several values between the same boxes are one edge."""

    source: int
    target: int
    types: tuple[TensorType, ...]

    @property
    def label(self) -> str:
        """The shapes; the same shape is written once."""
        return "  ".join(dict.fromkeys(str(type) for type in self.types))


@dataclass(frozen=True)
class Picture:
    """Boxes in topological order, and edges between them."""

    name: str
    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]

    def to_networkx(self) -> Any:
        """As a networkx `DiGraph` over the boxes' numbers, with their fields; edges have a `label`."""
        networkx: Any = import_module("networkx")  # loaded only where it is used; it has no types
        found = networkx.DiGraph(name=self.name)
        for number, box in enumerate(self.boxes):
            found.add_node(number, **vars(box))
        for edge in self.edges:
            found.add_edge(edge.source, edge.target, label=edge.label)
        return found


def draw(graph: Graph, format: Format = "text", depth: int | None = None) -> str:
    """The picture as text, graphviz source or SVG.

    `depth` says how many levels of block calls are opened, the model being the first: 0 draws it as one box.
    None opens all in text, and one level in pictures.
    """
    if depth is not None and depth < 0:
        raise ArgumentError(f"depth is {depth}, and must be at least 0")
    if format == "text":
        return "\n".join(_text_lines(graph, depth)) + "\n"
    picture = picture_of(graph, 1 if depth is None else depth)
    if format == "dot":
        return to_dot(picture)
    from .svg import to_svg

    return to_svg(picture)


def picture_of(graph: Graph, depth: int = 1) -> Picture:
    """Boxes for the block calls at a depth and the operators above it; a chain of equal calls is one box."""
    parts = _opened(structure(graph), depth)
    runs = _chains(parts, graph)
    boxes = [Box("input", name, "", "") for name in graph.input_names]
    place: dict[Any, int] = {value.node: number for number, value in enumerate(graph.inputs)}
    for run in runs:
        for part in (*run.parts, *run.last):
            for node in part.nodes:
                place.setdefault(node, len(boxes))
        boxes.append(_box(run))
    # Occurrences between the first and the last of a chain stand in its box too.
    first = {id(part): number + len(graph.inputs) for number, run in enumerate(runs) for part in run.parts}
    sofar = 0
    for part in parts:
        sofar = first.get(id(part), sofar)
        for node in part.nodes:
            place.setdefault(node, sofar)
    flows: dict[tuple[int, int], dict[Value, None]] = {}
    for node in graph.operators():
        for value in node.inputs:
            source = place.get(value.node)
            if source is not None and source != place[node]:
                flows.setdefault((source, place[node]), {})[value] = None
    for name, value in _named_results(graph):
        source = place.get(value.node)
        if source is not None:
            flows[source, len(boxes)] = {value: None}
            boxes.append(Box("output", name))
    edges = [Edge(*ends, tuple(value.type for value in values)) for ends, values in sorted(flows.items())]
    return Picture(graph.name, tuple(boxes), tuple(edges))


def to_dot(picture: Picture) -> str:
    """Graphviz source."""
    lines = [
        f"digraph {_quote(picture.name)} {{",
        '  node [shape=box, style="rounded,filled", fillcolor=white, fontname="Helvetica", fontsize=11];',
        '  edge [fontname="Courier", fontsize=9, color="#64748b"];',
    ]
    fills = {"input": "#e2e8f0", "output": "#e2e8f0", "block": "#e0e7ff", "operator": "#ffffff"}
    for number, box in enumerate(picture.boxes):
        title = f"{box.title} x{box.repeat}" if box.repeat > 1 else box.title
        label = "\n".join(line for line in (title, box.path, box.detail) if line)
        lines.append(f"  n{number} [label={_quote(label)}, fillcolor={_quote(fills[box.kind])}];")
    lines += [f"  n{edge.source} -> n{edge.target} [label={_quote(edge.label)}];" for edge in picture.edges]
    return "\n".join([*lines, "}"]) + "\n"


def _quote(text: str) -> str:
    """A double-quoted string of the dot language; lines are centred."""
    lines = "\\n".join(_escaped(line) for line in text.split("\n"))
    return f'"{lines}"'


def _escaped(text: str) -> str:
    # Only the quote and the backslash mean something in it, before graphviz looks for entities of HTML.
    return quoted(text)[1:-1].replace("&", "&amp;")


def _box(run: Run) -> Box:
    kind = "block" if any(part.is_block for part in run.parts) else "operator"
    detail = "" if kind == "block" else " ".join(arguments_text(run.parts[0].nodes[0].op))
    title = " + ".join(part.title for part in run.parts)
    return Box(kind, title, run.path, detail, run.repeat)


def _opened(part: Part, depth: int) -> list[Part]:
    """The parts that a picture shows where `depth` levels are opened."""
    if not depth or not part.children:
        return [part]
    return [shown for child in part.children for shown in _opened(child, depth - 1)]


def _chains(parts: Sequence[Part], graph: Graph) -> list[Run]:
    """Runs of equal block calls, each of which passes what it computes only to the next."""
    runs: list[Run] = []
    readers: dict[Value, set[Any]] = {}
    place = {node: number for number, part in enumerate(parts) for node in part.nodes}
    for node in graph.operators():
        for value in node.inputs:
            readers.setdefault(value, set()).add(place[node])
    for value in graph.outputs:
        readers.setdefault(value, set()).add(None)
    at = 0
    for run in fold(parts, blocks_only=True):
        period = len(run.parts)
        length = period * run.repeat
        members = parts[at : at + length]
        chained = run.repeat > 1 and all(
            reader is not None and at + index < reader < at + (index // period + 2) * period
            for index, part in enumerate(members[: length - period])
            for value in part.results
            for reader in readers.get(value, ())
        )
        runs += [run] if chained else [Run([part], [part]) for part in members]
        at += length
    return runs


def _named_results(graph: Graph) -> Iterator[tuple[str, Value]]:
    """The results, under the names of a record where the graph returns one."""
    named = graph.output if isinstance(graph.output, dict) else {"result": graph.output}
    for name, tree in named.items():
        values = tuple(leaves(tree))
        for number, value in enumerate(values):
            yield (name if len(values) == 1 else f"{name} {number}"), value


def _text_lines(graph: Graph, depth: int | None) -> Iterator[str]:
    inputs = ", ".join(
        f"{name}: {value.type}" for name, value in zip(graph.input_names, graph.inputs, strict=True)
    )
    yield f"{graph.name}({inputs})"
    rows = list(_tree_rows(structure(graph), depth, "", ""))
    width = min(max((len(left) for left, _ in rows), default=0), 60)
    for left, right in rows:
        yield f"{left:<{width}}  {right}".rstrip()


def _tree_rows(part: Part, depth: int | None, scope: str, indent: str) -> Iterator[tuple[str, str]]:
    """Lines of the tree and the shapes beside them; labels are relative to the scope that they stand in."""
    if depth == 0:
        return
    below = None if depth is None else depth - 1
    runs = fold(part.children, blocks_only=True)
    for number, run in enumerate(runs):
        last = number == len(runs) - 1
        branch, trunk = ("└─ ", "   ") if last else ("├─ ", "│  ")
        times = f" x{run.repeat}" if run.repeat > 1 else ""
        if len(run.parts) > 1:
            yield f"{indent}{branch}{_range(run, scope)}{times}", _types(run.last[-1])
            yield from _tree_rows(Part("", "", None, [], run.parts), depth, scope, indent + trunk)
            continue
        (first,) = run.parts
        name = f"{_range(run, scope)}: {first.title}" if run.path else first.title
        yield f"{indent}{branch}{name}{times}", _types(run.last[0])
        yield from _tree_rows(first, below, first.path or scope, indent + trunk)


def _range(run: Run, scope: str) -> str:
    ends = [path.removeprefix(f"{scope}.") for path in (run.parts[0].path, run.last[-1].path)]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} .. {ends[1]}"


def _types(part: Part) -> str:
    return "  ".join(dict.fromkeys(str(type) for type in part.result_types))
