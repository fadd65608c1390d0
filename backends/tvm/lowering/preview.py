"""What a build will run, without writing its kernels."""

from __future__ import annotations

from dataclasses import replace

from ....compiler.fusion import Partition
from ....compiler.graph.graph import Graph
from ..grouping.partition import partition_of
from ..runtime.program import Program
from .kernels import KernelMaker
from .lower import Lowering, grouping_for
from .positions import with_checks


def preview(graph: Graph, maker: KernelMaker) -> tuple[Partition, Program]:
    """The partition that a graph is lowered by, and the program that runs it.

    A group's `kernels` are those that it runs, 0 where its results are its operands' memory. Raises
    `Unsupported` as lowering does.
    """
    maker.writes = False
    graph, checks = with_checks(graph)
    grouping = grouping_for(graph, maker.machine, maker.float_as)
    fused, places = grouping.with_places()
    lowering = Lowering(fused, checks, maker.machine, maker.float_as)
    lowering.maker = maker
    program = lowering.run().program
    running = {group for node, group in places.items() if node not in lowering.free}
    groups = tuple(group if group in running else replace(group, kernels=0) for group in grouping.groups)
    return partition_of(replace(grouping, groups=groups), maker.float_as), program
