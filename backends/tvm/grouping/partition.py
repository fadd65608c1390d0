"""The kernels that run, with what they move and why there are not fewer."""

from __future__ import annotations

from dataclasses import replace

from ....compiler.cost.sizes import Binding
from ....compiler.dtypes import DType
from ....compiler.fusion import Group, Partition, Refused
from ....compiler.fusion.kernels import Obstacle
from ....compiler.fusion.partition import Figures
from ....compiler.fusion.roles import role_of
from ....compiler.graph.graph import Node, Value
from .grouping import Grouping, main_of


def partition_of(grouping: Grouping, float_as: DType = "f32") -> Partition:
    """A partition in which a view may be in several groups, each of which reads through it."""
    figures = Figures(grouping.graph, Binding({}, float_as))
    groups = tuple([_measured(number, group, figures) for number, group in enumerate(grouping.groups)])
    refusals = _Boundaries(grouping, replace(grouping.parts, groups=groups)).refusals()
    return Partition(grouping.graph, groups, grouping.parts.prologue, refusals)


def _measured(number: int, group: Group, figures: Figures) -> Group:
    """A group of a kernel: a part of a larger one has a main operator, and so a kind, of its own."""
    main, kind = group.main, group.kind
    if main not in group.nodes:
        own = [node for node in group.nodes if not node.op.view] or group.nodes
        main = main_of(group.nodes) or own[-1]
        kind = role_of(main)
    return figures.group(number, kind, main, group.nodes, group.kernels, group.block)


class _Boundaries:
    """Why two groups are two: for the reason that kernels of one kind have, or that of this backend."""

    def __init__(self, grouping: Grouping, found: Partition) -> None:
        self.found = found
        self.split = grouping.split
        self.first = grouping.parts.group_of
        self.before = {(each.before, each.after): each for each in grouping.parts.refusals}

    def refusals(self) -> tuple[Refused, ...]:
        """One for each pair of groups, in the order of the readers."""
        maker = {value: group.number for group in self.found.groups for value in group.outputs}
        refused: dict[tuple[int, int], Refused] = {}
        for group in self.found.groups:
            for node in group.nodes:
                for value in node.inputs:
                    pair = maker.get(value, group.number), group.number
                    if pair[0] != pair[1] and value in group.inputs and pair not in refused:
                        cause, reason = self._obstacle(value, node)
                        refused[pair] = Refused(cause, reason, value, value.node, node, *pair)
        return tuple(refused.values())

    def _obstacle(self, value: Value, node: Node) -> Obstacle:
        groups = [self.first[each] for each in (value.node, node)]
        known = self.before.get((groups[0].number, groups[1].number))
        if known is not None:
            return Obstacle(known.cause, known.reason)
        apart = next((each for each in (node, value.node) if each in self.split), None)
        if apart is not None:
            return Obstacle("kernel", f"{apart.op.title} has a kernel of its own: {self.split[apart]}")
        return Obstacle("kernel", f"{node.op.title} reads it through a view, as others do")
