"""A graph as the tree of its block calls, with equal neighbours folded; what pictures are drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from ..types import TensorType
from .graph import Graph, Node, Region, Value


@dataclass(eq=False)
class Part:
    """A block call or a single operator.

    `title` is the name of the block or operator, `path` its label path ("" without a label). `nodes` are the
    operators inside. `results` are the values that something outside reads, in order.
    """

    title: str
    path: str
    region: Region | None = None
    nodes: list[Node] = field(default_factory=list[Node])
    children: list[Part] = field(default_factory=list["Part"])
    results: list[Value] = field(default_factory=list[Value])

    @property
    def is_block(self) -> bool:
        """Whether this is a block call, or the model."""
        return bool(self.children)

    @property
    def result_types(self) -> tuple[TensorType, ...]:
        """The types of the results."""
        return tuple(value.type for value in self.results)

    def signature(self) -> Any:
        """Equal for parts that do the same to the same shapes, under whatever labels.

        Arguments that are fractions (a rate, an epsilon) are left out: they do not change the structure.
        """
        if not self.children:
            return tuple([_signature(node) for node in self.nodes])
        return (self.title, tuple([child.signature() for child in self.children]), self.result_types)


def structure(graph: Graph) -> Part:
    """The tree of block calls; the root is the model."""
    root = Part(graph.name, "")
    parts: dict[Region, Part] = {}
    around: dict[Node, tuple[Part, ...]] = {}
    for node in graph.operators():
        place = root
        chain = [root]
        for region in node.region.chain() if node.region else ():
            part = parts.get(region)
            if part is None:
                outer = place.region.path if place.region else ""
                path = region.path if region.path != outer else ""
                part = parts[region] = Part(region.block, path, region)
                place.children.append(part)
            place = part
            chain.append(part)
        leaf = Part(node.op.title, node.path or "", None, [node])
        place.children.append(leaf)
        around[node] = (*chain, leaf)
        for part in chain:
            part.nodes.append(node)
    _find_results(graph, around)
    return root


def _find_results(graph: Graph, around: dict[Node, tuple[Part, ...]]) -> None:
    read: dict[Part, dict[Value, None]] = {}

    def leaves_parts(value: Value, reader: tuple[Part, ...]) -> None:
        for part in around.get(value.node, ()):
            if part not in reader:
                read.setdefault(part, {})[value] = None

    for node in graph.operators():
        for value in node.inputs:
            leaves_parts(value, around[node])
    for value in graph.outputs:
        leaves_parts(value, ())
    for part, values in read.items():
        part.results = sorted(values, key=lambda value: (value.node.id, value.index))


def _signature(node: Node) -> Any:
    arguments = [getattr(node.op, name) for name in node.op.arguments()]
    kept = tuple([value for value in arguments if not isinstance(value, float)])
    types = tuple([value.type for value in node.inputs]), tuple([value.type for value in node.results])
    return node.op.title, kept, node.slots, types


@dataclass(eq=False)
class Run:
    """Parts that stand one after the other: `parts` is one period, and `repeat` says how often it occurs.

    `last` holds the parts of the last occurrence.
    """

    parts: list[Part]
    last: list[Part]
    repeat: int = 1

    @property
    def path(self) -> str:
        """The label path, or where the first and the last occurrence stand."""
        first, last = self.parts[0].path, self.last[-1].path
        return first if first == last else f"{first} .. {last}"


LONGEST_PERIOD = 4


def fold(parts: Sequence[Part], blocks_only: bool = False) -> list[Run]:
    """Equal neighbours taken together, whole periods too (a, b, a, b is twice a, b); at each place the
    longest run.
    """
    signatures = [part.signature() for part in parts]
    runs: list[Run] = []
    at = 0
    while at < len(parts):
        # Looking for runs that are not wanted would take quadratic time in long chains of operators.
        near = parts[at : at + LONGEST_PERIOD]
        most = sum(1 for _ in takewhile(lambda part: part.is_block, near)) if blocks_only else len(near)
        period, repeat = _longest(signatures, at, most)
        end = at + period * repeat
        runs.append(Run(list(parts[at : at + period]), list(parts[end - period : end]), repeat))
        at = end
    return runs


def _longest(signatures: Sequence[Any], at: int, most: int) -> tuple[int, int]:
    """The period, of at most `most`, and the number of repetitions that cover most from a place on; the
    shortest period among equals.
    """
    best, covered = (1, 1), 1
    for period in range(1, most + 1):
        pattern = signatures[at : at + period]
        if len(pattern) < period:
            break
        repeat = 1
        while signatures[at + repeat * period : at + (repeat + 1) * period] == pattern:
            repeat += 1
        if repeat > 1 and period * repeat > covered:
            best, covered = (period, repeat), period * repeat
    return best
