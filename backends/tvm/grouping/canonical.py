"""Operators in the terms that kernels are made of: movements as views, channels normalised as a last axis.

Permutations that merely say where channels are cost nothing once a value lies in memory accordingly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ....compiler.graph.builder import Builder
from ....compiler.graph.graph import Graph, Node, Origin, Value, map_leaves
from ....compiler.ops.conv import ConvWith
from ....compiler.ops.core.base import Op
from ....compiler.ops.core.rules import axes_of
from ....compiler.ops.einops import Rearrange, flat
from ....compiler.ops.layout import Permute, Reshape, Tile
from ....compiler.ops.norm_rows import LayerNormWith, RmsNormWith
from ....compiler.ops.pointwise import Unary
from ....compiler.ops.source import Input, ReadWeight


def canonical(graph: Graph) -> Graph:
    """The same graph, with `rearrange` as reshapes and a permutation, and norms over the last axis."""
    builder = Builder(graph.name)
    for guard in graph.guards:
        builder.guard(guard)
    new: dict[Value, Value] = {}
    keep: list[Value] = []
    users = graph.users()
    for node in graph.nodes:
        if isinstance(node.op, Input):
            results: Sequence[Value] = builder.input(node.op.label, node.results[0].type).node.results
        elif isinstance(node.op, ReadWeight):
            results = [builder.weight(graph.weights[node.op.path])]
        else:
            operands = [new[value] for value in node.inputs]
            single = len(node.inputs) == 1 and len(users[node.inputs[0]]) == 1
            results = _Rewriter(builder, node, single).results(operands)
        if node.op.source:
            results[0].node.origins = node.origins
        new.update(zip(node.results, results, strict=True))
        if "state" in node.effects:
            keep.extend(results)
    return builder.freeze(map_leaves(graph.output, new.__getitem__), keep)


class _Rewriter:
    """Enters a node of another graph in a builder."""

    def __init__(self, builder: Builder, node: Node, single: bool) -> None:
        self.builder = builder
        self.node = node
        # Whether the node has one operand, which nothing else reads.
        self.single = single

    def results(self, operands: list[Value]) -> Sequence[Value]:
        op = self.node.op
        if isinstance(op, Rearrange):
            return [self._rearranged(op, operands[0])]
        if isinstance(op, (LayerNormWith, RmsNormWith)):
            axes = axes_of(op.axis, len(operands[0].shape))
            last = len(operands[0].shape) - 1
            if len(axes) == 1 and axes[0] != last:
                return [self._normalised(op, operands, axes[0])]
        if self.single and isinstance(op, Unary) and isinstance(operands[0].node.op, Permute):
            return [self._before(operands[0].node)]
        if isinstance(op, ConvWith) and len(operands[1].shape) > len(operands[0].shape):
            batch = operands[0].shape[0]
            if isinstance(batch, int) and batch and operands[1].shape[0] == batch:
                return [self._conditional(op, operands, batch)]
        return self.builder.copy(self.node, operands).results

    def _before(self, turn: Node) -> Value:
        """Element by element, and then the permutation: it may cost nothing where nothing follows it."""
        made = self._add(self.node.op, turn.inputs, self.node.slots)
        made.path = self.node.path
        return self._add(turn.op, made.results, turn.slots).results[0]

    def _conditional(self, op: ConvWith, operands: list[Value], batch: int) -> Value:
        """Samples with kernels of their own are groups of one sample (arXiv:1904.04971, section 3)."""
        x, weight, *bias = operands
        x = self._view(Reshape(sizes=(1, batch * x.shape[1], *x.shape[2:])), x)
        weight = self._view(Reshape(sizes=(batch * weight.shape[1], *weight.shape[2:])), weight)
        own = bias and len(bias[0].shape) > 1
        bias = [self._view(Reshape(sizes=(weight.shape[0],)), each) if own else each for each in bias]
        if bias and bias[0].shape != (weight.shape[0],):
            bias = [self._add(Tile(repeats=(batch,)), bias, ("x",)).results[0]]
        made = self._add(replace(op, groups=op.groups * batch), [x, weight, *bias], self.node.slots)
        made.path = self.node.path
        return self._view(Reshape(sizes=self.node.results[0].shape), made.results[0])

    def _rearranged(self, op: Rearrange, x: Value) -> Value:
        found = op.solve(x.shape)
        before, after = flat(found.left), flat(found.right)
        x = self._view(Reshape(sizes=tuple(found.sizes[name] for name in before)), x)
        x = self._view(Permute(axes=tuple(before.index(name) for name in after)), x)
        return self._view(Reshape(sizes=found.result()), x)

    def _normalised(self, op: LayerNormWith | RmsNormWith, operands: list[Value], axis: int) -> Value:
        rank = len(operands[0].shape)
        there = (*(each for each in range(rank) if each != axis), axis)
        back = tuple(there.index(each) for each in range(rank))
        x = self._view(Permute(axes=there), operands[0])
        made = self._add(replace(op, axis=-1), [x, *operands[1:]], self.node.slots)
        made.path = self.node.path
        return self._view(Permute(axes=back), made.results[0])

    def _view(self, op: Op, x: Value) -> Value:
        """The view, unless it is nothing."""
        if isinstance(op, Reshape) and op.sizes == x.shape:
            return x
        if isinstance(op, Permute) and op.axes == tuple(range(len(op.axes))):
            return x
        return self._add(op, [x], ("x",)).results[0]

    def _add(self, op: Op, operands: Sequence[Value], slots: tuple[str, ...]) -> Node:
        made = self.builder.add(op, operands, slots)
        made.origins = tuple[Origin, ...](self.node.origins)
        return made
