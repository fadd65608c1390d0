"""How values lie in memory: as a template writes them, as they are read, or with their channels last.

Convolutions write channels in blocks, which they read best. Where a permutation takes channels to the end, or
back, it costs nothing if they are last; values that are combined element by element lie alike.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from ....compiler.fusion.roles import role_of
from ....compiler.graph.analysis import connected
from ....compiler.graph.graph import Graph, Node, Value
from ....compiler.ops.core.rules import axis_of
from ....compiler.ops.join import Concat
from ..cpu.templates import Template
from ..cpu.templates.blocks import Block
from ..grouping.aliases import is_alias, is_to_first, is_to_last
from ..grouping.epilogue import axis_behind, paths
from ..grouping.grouping import main_of, mains_of, members_of
from ..tensor_ir.layouts import CHANNELS_LAST, PLAIN, Layout
from .kernels import body_of


class LayoutAssignment:
    """The layouts of a graph's values, which are laid out in order; what is not among them is plain.

    Results in `kept` are the caller's, and those of `static` nodes constants: both are plain.
    """

    def __init__(self, graph: Graph, static: Container[Node], kept: Container[Value]) -> None:
        self.layouts: dict[Value, Layout] = {}
        self._static, self._kept = static, kept
        self._last = channels_last(graph)

    def of(self, value: Value) -> Layout:
        """How a value lies."""
        return self.layouts.get(value, PLAIN)

    def is_plain(self, value: Value) -> bool:
        """Whether a value lies row by row."""
        return self.of(value).axis is None

    def is_free_view(self, node: Node) -> bool:
        """Whether a node is its operand's memory in another shape, or in another layout."""
        layout = self.of(node.inputs[0]) if node.inputs else None
        if is_alias(node) and layout == PLAIN:
            return True
        result = node.results[0]
        if node in self._static or result in self._kept:
            return False
        if is_to_first(node) and layout == PLAIN:
            self.layouts[result] = CHANNELS_LAST
            return True
        return is_to_last(node) and layout == CHANNELS_LAST

    def lay_out(self, node: Node, template: Template | Block | None) -> None:
        """Choose how the results lie in memory: as a template writes them, or as they are read."""
        members = members_of(node)
        mains = mains_of(members)
        for value in node.results:
            if value in self._kept or node in self._static:
                continue
            if template is not None and mains:
                self.layouts[value] = self._written(node, value, template)
                continue
            joins = any(_joins_channels(each) for each in members)
            packed = [
                self.layouts[operand]
                for operand in node.inputs
                if not self.is_plain(operand)
                and operand.shape[:1] == value.shape[:1]
                and (joins or operand.shape[1:2] == value.shape[1:2])
                and len(operand.shape) == len(value.shape)
            ]
            if packed and all(
                role_of(each) in ("elementwise", "window") or _joins_channels(each, packed[0].block)
                for each in members
            ):
                last = value in self._last and CHANNELS_LAST in packed
                self.layouts[value] = CHANNELS_LAST if last else packed[0]

    def _written(self, node: Node, value: Value, template: Template | Block) -> Layout:
        """The layout of a template's result in which it writes neighbours side by side."""
        body = body_of(node)
        inner = body.outputs[node.results.index(value)]
        members = list(body.operators())
        main = mains_of(members)[-1]
        path = paths(members, main)[inner]
        if not path:
            blocked = template.layout.blocked and template.layout.axis == 1
            return CHANNELS_LAST if blocked and value in self._last else template.layout
        plain = template.layout == PLAIN
        axis = len(main.results[0].shape) - 1 if plain else template.layout.axis
        for view in path:
            axis = None if axis is None else axis_behind(view, axis)
        return CHANNELS_LAST if axis == 1 and len(value.shape) > 2 else PLAIN


def _joins_channels(node: Node, block: int = 1) -> bool:
    """Whether a node puts channels behind each other, of which each piece begins with a block."""
    if not isinstance(node.op, Concat) or axis_of(node.op.axis, len(node.results[0].shape)) != 1:
        return False
    sizes = [value.shape[1] for value in node.inputs[:-1]]
    return all(isinstance(size, int) and (not block or size % block == 0) for size in sizes)


def channels_last(graph: Graph) -> set[Value]:
    """The values of a graph of kernels that lie with axis 1 last."""
    alike: list[tuple[Value, Value]] = []
    wanted: set[Value] = set()
    for node in graph.operators():
        if is_to_last(node):
            wanted.add(node.inputs[0])
        elif is_to_first(node):
            wanted.add(node.results[0])
        else:
            wanted |= _turned(node)
            alike += _alike(node)
    return connected(alike, wanted)


def _turned(node: Node) -> set[Value]:
    """Results whose channels a kernel puts first behind its main operator, as neighbours."""
    if node.op.name != "fused" or main_of(members_of(node)) is None:
        return set()
    found: set[Value] = set()
    for result, inner in zip(node.results, node.bodies[0].outputs, strict=True):
        at = inner
        while at.node.op.name != "input" and role_of(at.node) in ("elementwise", "view"):
            if is_to_first(at.node):
                found.add(result)
            if not at.node.inputs:
                break
            at = at.node.inputs[0]
    return found


def _alike(node: Node) -> Iterator[tuple[Value, Value]]:
    """A kernel's operands and results that are combined element by element."""
    members = members_of(node)
    main = main_of(members)
    body = dict(zip(node.bodies[0].inputs, node.inputs, strict=True)) if node.op.name == "fused" else {}
    for member in members:
        if member is main or role_of(member) not in ("elementwise", "window"):
            continue
        operands = [body.get(value, value) for value in member.inputs]
        for operand in operands:
            for result in node.results:
                same = operand.shape[:2] == result.shape[:2] and len(operand.shape) == len(result.shape) > 2
                if same and operand in node.inputs:
                    yield operand, result
