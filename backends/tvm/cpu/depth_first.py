"""Kernels that follow each other, joined where running them depth first gains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ....compiler.devices import Cpu
from ....compiler.dtypes import DType
from ....compiler.fusion import Block, Group
from ....compiler.graph.graph import Graph, Node, Value
from ..grouping.epilogue import paths
from ..grouping.grouping import main_of
from ..runtime.dtypes import kernel_dtype
from .templates.blocks_plan import Plan, cut, plan_of
from .templates.blocks_stage import is_depthwise, is_stage


def with_blocks(
    graph: Graph, groups: Sequence[Group], machine: Cpu, float_as: DType = "f32"
) -> tuple[Group, ...]:
    """The groups, of which some that follow each other are one, in the place of the last of them."""
    chains = _Chains(graph, groups, float_as).found()
    gone: set[Group] = set()
    joined: dict[Group, Group] = {}
    for chain in chains:
        mains = [main_of(group.nodes) for group in chain]
        group_of = {main: group for main, group in zip(mains, chain, strict=True) if main is not None}
        dtype = kernel_dtype(next(iter(group_of)).results[0].type.dtype, float_as)
        for part in cut(list(group_of), machine, dtype):
            if len(part) > 1:
                *before, last = (group_of[main] for main in part)
                gone.update(before)
                joined[last] = _joined([*before, last], plan_of(part, machine, dtype))
    return tuple(joined.get(group, group) for group in groups if group not in gone)


class _Chains:
    """Looks for groups each of which has one result, which only the main operator of the next one reads."""

    def __init__(self, graph: Graph, groups: Sequence[Group], float_as: DType) -> None:
        self.users = graph.users()
        self.outputs = frozenset(graph.outputs)
        self.float_as = float_as
        # What convolutions make has its channels in blocks, or last.
        made = [group.outputs for group in groups if _title(main_of(group.nodes)) == "conv_with"]
        self.packed = {value for outputs in made for value in outputs}
        self.main_of = {group: main for group in groups if (main := self._stage(group)) is not None}
        self.maker_of = {group.outputs[0]: group for group in self.main_of if len(group.outputs) == 1}

    def found(self) -> list[list[Group]]:
        """Chains of two groups and more, none of which is a part of another."""
        next_of = {before: group for group in self.main_of if (before := self._before(group)) is not None}
        behind = set(next_of.values())
        chains: list[list[Group]] = []
        for group in next_of:
            if group not in behind:
                chain = [group]
                while chain[-1] in next_of:
                    chain.append(next_of[chain[-1]])
                chains.append(chain)
        return chains

    def _stage(self, group: Group) -> Node | None:
        """The group's main operator, if it can be a stage of a block."""
        main = main_of(group.nodes)
        if main is None or not is_stage(main):
            return None
        if is_depthwise(main) and main.inputs[0] not in self.packed:
            return None
        floats = kernel_dtype(main.results[0].type.dtype, self.float_as) in ("float32", "float64")
        found = paths(group.nodes, main)
        return main if floats and all(value in found for value in group.outputs) else None

    def _before(self, group: Group) -> Group | None:
        """The group that a chain with this one has before it."""
        main = self.main_of[group]
        value = main.inputs[0]
        before = self.maker_of.get(value)
        if before is None or self.users[value] != [main] or value in self.outputs:
            return None
        return None if self._is_moved(before, value) else before

    def _is_moved(self, group: Group, value: Value) -> bool:
        """Whether a result's elements are in other places than those of the main operator's."""
        return bool(paths(group.nodes, self.main_of[group])[value])


def _title(main: Node | None) -> str:
    return "" if main is None else main.op.name


def _joined(groups: Sequence[Group], plan: Plan) -> Group:
    # Each may have its own copy of a view that they read through.
    nodes = tuple(dict.fromkeys(node for group in groups for node in group.nodes))
    inside = set(nodes)
    inputs = dict.fromkeys(value for node in nodes for value in node.inputs if value.node not in inside)
    block = Block(2, plan.step, plan.strips, plan.again, plan.buffer)
    return replace(
        groups[-1], kind="block", nodes=nodes, inputs=tuple(inputs), kernels=len(groups), block=block
    )
