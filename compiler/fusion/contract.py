"""A graph whose nodes are joined step by step into kernels, always without a cycle between kernels."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from heapq import heapify, heappop, heappush

from ..graph.graph import Node
from ..ops.core.base import Role


class Kernel:
    """Nodes that run together. `role` is that of its main operator, `main` that operator.

    `producers` and `readers` are the kernels that it reads from and that read from it. `level` grows along
    every path between kernels.
    """

    __slots__ = ("level", "main", "nodes", "producers", "readers", "role")

    def __init__(self, node: Node, role: Role, producers: Collection[Kernel]) -> None:
        self.nodes = [node]
        self.main = node
        self.role: Role = role
        self.producers: dict[Kernel, None] = dict.fromkeys(producers)
        self.readers: dict[Kernel, None] = {}
        self.level = 1 + max((kernel.level for kernel in producers), default=0)

    @property
    def first(self) -> int:
        """The number of its first node."""
        return self.nodes[0].id


class Contraction:
    """The kernels that a graph's operators are in. Nodes enter in order, each as a kernel of its own."""

    def __init__(self, nodes: Iterable[tuple[Node, Role]]) -> None:
        self.kernel_of: dict[Node, Kernel] = {}
        for node, role in nodes:
            self.enter(node, role)

    def enter(self, node: Node, role: Role) -> Kernel:
        """A kernel of one node; those that it reads from have entered before."""
        known = [self.kernel_of[value.node] for value in node.inputs if value.node in self.kernel_of]
        kernel = self.kernel_of[node] = Kernel(node, role, known)
        for producer in kernel.producers:
            producer.readers[kernel] = None
        return kernel

    def detour(self, producer: Kernel, consumer: Kernel) -> Kernel | None:
        """A kernel on another path from one to the other: joining the two would make a cycle."""
        for other in consumer.producers:
            if other is not producer and self._depends(other, producer):
                return other
        return None

    def _depends(self, kernel: Kernel, on: Kernel) -> bool:
        """Whether a path leads from `on` to `kernel`; levels bound the search."""
        seen: set[Kernel] = set()
        stack = [kernel]
        while stack:
            at = stack.pop()
            if at is on:
                return True
            if at not in seen and at.level > on.level:
                seen.add(at)
                stack.extend(at.producers)
        return False

    def join(self, producer: Kernel, consumer: Kernel, keep: Kernel) -> Kernel:
        """One kernel of two, between which there is no detour; the role is that of `keep`, one of them."""
        gone = consumer if keep is producer else producer
        keep.nodes = sorted([*producer.nodes, *consumer.nodes], key=lambda node: node.id)
        for node in gone.nodes:
            self.kernel_of[node] = keep
        for before in gone.producers:
            del before.readers[gone]
            if before is not keep:
                before.readers[keep] = keep.producers[before] = None
        for after in gone.readers:
            del after.producers[gone]
            if after is not keep:
                after.producers[keep] = keep.readers[after] = None
        keep.producers.pop(gone, None)
        keep.readers.pop(gone, None)
        self._settle(keep)
        return keep

    def _settle(self, kernel: Kernel) -> None:
        """Raise the levels from a kernel on until each is above its producers'."""
        stack = [kernel]
        while stack:
            at = stack.pop()
            level = 1 + max((before.level for before in at.producers), default=0)
            if level > at.level or at is kernel:
                at.level = max(at.level, level)
                stack.extend(after for after in at.readers if after.level <= at.level)

    def ordered(self) -> list[Kernel]:
        """The kernels, each after those that it reads from; otherwise by their first nodes."""
        kernels = list(dict.fromkeys(self.kernel_of.values()))
        waiting = {kernel: len(kernel.producers) for kernel in kernels}
        ready = [(kernel.first, kernel) for kernel in kernels if not waiting[kernel]]
        heapify(ready)
        found: list[Kernel] = []
        while ready:
            _, kernel = heappop(ready)
            found.append(kernel)
            for after in kernel.readers:
                waiting[after] -= 1
                if not waiting[after]:
                    heappush(ready, (after.first, after))
        return found


def joined(kernels: Sequence[Kernel]) -> list[Node]:
    """The nodes of several kernels in order."""
    return sorted([node for kernel in kernels for node in kernel.nodes], key=lambda node: node.id)
