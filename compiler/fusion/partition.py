"""The partition of a graph into kernels, with the reason for every boundary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

from ..cost.rows import Counter
from ..cost.sizes import Binding, check_bindings
from ..cost.traffic import Traffic
from ..devices import ZEN4, Device
from ..dtypes import DType
from ..graph.graph import Graph, Node, Value
from ..graph.static import static_nodes
from ..sizes.dims import Size, total
from .blocks import Block, Model, amount, arithmetic, choose
from .contract import Kernel, joined
from .kernels import Cause, Kernels, Obstacle
from .strips import Known


@dataclass(frozen=True, eq=False)
class Group:
    """Operators that run as one kernel.

    `kind` is "elementwise", "move", "view", "reduction", "window", "contraction", "attention", "opaque", or
    "block": several kernels run depth-first, as `block` says. `inputs` are the values read from outside,
    weights too, `outputs` those that something outside reads. `before` are the bytes that the operators move
    one by one, `after` those of the group; `macs` includes the multiply-adds done again; `buffer` is what it
    keeps between its kernels.
    """

    number: int
    kind: str
    main: Node
    nodes: tuple[Node, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    before: Size
    after: Size
    macs: Size
    buffer: int
    kernels: int
    block: Block | None = None


@dataclass(frozen=True, eq=False)
class Refused:
    """Why two groups were not joined: the cause, the words, and the value that passes between them."""

    cause: Cause
    reason: str
    value: Value
    producer: Node
    consumer: Node
    before: int
    after: int


@dataclass(frozen=True, eq=False)
class Partition:
    """The kernels of a graph, each after those that it reads from, and the boundaries between them.

    `prologue` are the operators that depend on weights and constants alone: they run once, and are in no
    group. `device` is what blocks were chosen for, if a model of traffic chose them.
    """

    graph: Graph
    groups: tuple[Group, ...]
    prologue: tuple[Node, ...]
    refusals: tuple[Refused, ...]
    device: Device | None = None

    @property
    def before(self) -> Size:
        """Bytes that the operators move one by one."""
        return total([group.before for group in self.groups])

    @property
    def after(self) -> Size:
        """Bytes that the groups move."""
        return total([group.after for group in self.groups])

    @property
    def macs(self) -> Size:
        """Multiply-adds, with those that are done again."""
        return total([group.macs for group in self.groups])

    @cached_property
    def group_of(self) -> Mapping[Node, Group]:
        """The group of each operator that is in one."""
        return {node: group for group in self.groups for node in group.nodes}


def partition(
    graph: Graph,
    bindings: Mapping[str, int] | None = None,
    device: Device = ZEN4,
    float_as: DType = "f32",
    blocks: bool = True,
) -> Partition:
    """Cut a graph into kernels so that little passes through memory, as far as a model can tell.

    What a backend runs is told by itself: `backends/tvm/grouping/partition.py`.

    Blocks are chosen for a `device`, whose memory near a kernel holds their working buffers. `bindings` give
    numbers for free sizes; where some stay free, kernels are not joined into blocks. Every
    operator that is not in the prologue is in one group, and groups contract without a cycle.
    """
    bindings = bindings or {}
    check_bindings(graph, bindings)
    binding = Binding(bindings, float_as)
    static = static_nodes(graph)
    kernels = Kernels(graph, static)
    figures = Figures(graph, binding)
    work = {node: arithmetic(figures.cost_of[node]) for node in kernels.roles}
    known = Known(figures.traffic, work, kernels.result.kernel_of, kernels.users, kernels.outputs)
    model = Model(known, device, float_as)
    order = kernels.result.ordered()
    chosen = choose(order, model) if blocks else [[kernel] for kernel in order]
    groups = tuple([_group(number, parts, model, figures) for number, parts in enumerate(chosen)])
    prologue = tuple(node for node in graph.operators() if node in static)
    refusals = _Boundaries(kernels, model, chosen, blocks).refusals()
    return Partition(graph, groups, prologue, tuple(refusals), device)


class Figures:
    """What groups of a graph's operators move and compute."""

    def __init__(self, graph: Graph, binding: Binding) -> None:
        self.traffic = Traffic(binding)
        self.cost_of = {row.node: row.cost for row in Counter(binding).rows(graph)}
        self._users = graph.users()
        self._outputs = frozenset(graph.outputs)

    def group(
        self, number: int, kind: str, main: Node, nodes: Sequence[Node], kernels: int, block: Block | None
    ) -> Group:
        """The group of some operators, in order."""
        inside = set(nodes)
        inputs = dict.fromkeys(value for node in nodes for value in node.inputs if value.node not in inside)
        outputs = [value for node in nodes for value in node.results if self._is_kept(value, inside)]
        moved = block.moved if block else None
        return Group(
            number,
            kind,
            main,
            tuple(nodes),
            tuple(inputs),
            tuple(outputs),
            self.traffic.alone(nodes).bytes,
            self.traffic.together(nodes, outputs).bytes if moved is None else moved,
            total([self.cost_of[node].macs for node in nodes]) + (block.again if block else 0),
            block.buffer if block else 0,
            kernels,
            block,
        )

    def _is_kept(self, value: Value, inside: Set[Node]) -> bool:
        return value in self._outputs or any(user not in inside for user in self._users[value])


def _group(number: int, kernels: Sequence[Kernel], model: Model, figures: Figures) -> Group:
    block = model.judge(kernels) if len(kernels) > 1 else None
    assert not isinstance(block, Obstacle)

    def macs(kernel: Kernel) -> int:
        return sum([_number(figures.cost_of[node].macs) for node in kernel.nodes])

    main = max(kernels, key=macs).main
    kind = "block" if block else _kind(kernels[0])
    return figures.group(number, kind, main, joined(kernels), len(kernels), block)


def _number(size: Size) -> int:
    return size if isinstance(size, int) else 0


def _kind(kernel: Kernel) -> str:
    return "attention" if kernel.main.op.name == "scaled_dot_product_attention" else kernel.role


def _no_gain(block: Block, apart: float, balance: float, neighbours: bool) -> str:
    """Why a block that could run is not chosen."""
    if block.worth(balance) < apart:
        moves = f"apart they move {amount(apart)}, together {amount(block.moved or 0)}"
        return (
            f"{moves}, and their neighbours gain more"
            if neighbours
            else f"{moves}, but not one after the other"
        )
    costs: list[str] = []
    if block.reread:
        costs.append(f"{amount(block.reread)} of weights that do not fit beside the buffer are read again")
    if block.again:
        costs.append(f"{block.again} multiply-adds are repeated")
    why = f": in {block.strips} strips " + " and ".join(costs) if costs else ""
    return f"together they would move {amount(block.moved or 0)}, and apart {amount(apart)}{why}"


class _Boundaries:
    """Asks for every pair of groups, one of which reads from the other, why they are two."""

    def __init__(
        self, kernels: Kernels, model: Model, chosen: Sequence[Sequence[Kernel]], blocks: bool
    ) -> None:
        self.kernels = kernels
        self.model = model
        self.chosen = chosen
        self.blocks = blocks
        self.place = {
            node: number for number, parts in enumerate(chosen) for kernel in parts for node in kernel.nodes
        }

    def refusals(self) -> list[Refused]:
        """A refusal for each pair, in the order of the readers."""
        found: dict[tuple[int, int], Refused] = {}
        for number, parts in enumerate(self.chosen):
            for node in joined(parts):
                for value in node.inputs:
                    before = self.place.get(value.node, number)
                    if before != number and (before, number) not in found:
                        found[before, number] = self._refused(value, node, before, number)
        return list(found.values())

    def _refused(self, value: Value, node: Node, before: int, after: int) -> Refused:
        obstacle = self._obstacle(value, node, before, after)
        return Refused(obstacle.cause, obstacle.reason, value, value.node, node, before, after)

    def _obstacle(self, value: Value, node: Node, before: int, after: int) -> Obstacle:
        first = self.kernels.obstacle(value, node)
        if first is not None and (first.cause in ("opaque", "cycle") or not self.blocks):
            return first
        if not self.blocks:
            return Obstacle("several readers", f"{node.op.title} is in the kernel of another operand")
        between = self._between(before, after)
        if between is not None:
            title = between.main.op.title
            return Obstacle(
                "cycle", f"{title} reads the one and is read by the other, so it runs between them"
            )
        found = self.model.judge([*self.chosen[before], *self.chosen[after]])
        if isinstance(found, Obstacle):
            return found
        apart = sum([self._worth(self.chosen[number]) for number in (before, after)])
        return Obstacle("no gain", _no_gain(found, apart, self.model.balance, after == before + 1))

    def _worth(self, parts: Sequence[Kernel]) -> float:
        if len(parts) == 1:
            return self.model.alone(parts[0])
        found = self.model.judge(parts)
        assert not isinstance(found, Obstacle)
        return found.worth(self.model.balance)

    def _between(self, before: int, after: int) -> Kernel | None:
        """A kernel of another group on a path from one group to the other."""
        sources, seen = set(self.chosen[before]), set[Kernel]()
        floor = min(kernel.level for kernel in sources)
        stack = [
            producer
            for kernel in self.chosen[after]
            for producer in kernel.producers
            if self.place[producer.main] not in (before, after)
        ]
        while stack:
            at = stack.pop()
            if at in seen or at.level <= floor:
                continue
            seen.add(at)
            if any(producer in sources for producer in at.producers):
                return at
            stack.extend(producer for producer in at.producers if self.place[producer.main] != after)
        return None
