"""The block calls of a trace as a tree, what passes their borders, and the order of what they do."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Set

from torch import fx

from ....compiler.errors import PlanformError
from ....compiler.graph.graph import Region
from .trace import Trace


class Unsplittable(PlanformError):
    """The call at `path` cannot be a class of its own; its code belongs into the call around it."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class Call:
    """A block call: the nodes of its own, inner calls, the values that it takes and gives."""

    def __init__(self, path: str, block: str, parent: Call | None) -> None:
        self.path = path
        self.block = block
        self.parent = parent
        self.children: list[Call] = []
        self.nodes: list[fx.Node] = []
        self.arguments: dict[fx.Node, None] = {}
        self.results: dict[fx.Node, None] = {}
        self.first = -1

    def around(self) -> Iterator[Call]:
        """The call and those around it, from the inside."""
        call: Call | None = self
        while call is not None:
            yield call
            call = call.parent

    def walk(self) -> Iterator[Call]:
        """The call and all inside it."""
        yield self
        for child in self.children:
            yield from child.walk()

    @property
    def has_effects(self) -> bool:
        """Whether anything inside is random or changes state."""
        return any(has_effects(node) for call in self.walk() for node in call.nodes)


Item = fx.Node | Call


def has_effects(node: fx.Node) -> bool:
    """Whether the order of the node matters: it is random, or changes state that another node changes too."""
    if node.op not in ("call_function", "call_method", "call_module") or "node" not in node.meta:
        return False
    effects = node.meta["node"].effects
    if node.op == "call_module" and "random" not in effects:
        return bool(effects) and len(node.graph.find_nodes(op="call_module", target=node.target)) > 1
    return bool(effects)


def call_tree(trace: Trace, merged: Set[str], name: str) -> Call:
    """The calls of a trace; one without a path of its own, or with one in `merged`, is part of its caller."""
    root = Call("", name, None)
    known: dict[Region | None, Call] = {None: root}

    def call_of(region: Region | None) -> Call:
        found = known.get(region)
        if found is None:
            assert region is not None
            outer = root if region.parent is None else call_of(region.parent)
            if not region.path or region.path == outer.path or region.path in merged:
                found = outer
            else:
                if outer.path and not region.path.startswith(f"{outer.path}."):
                    raise Unsplittable(outer.path)
                found = Call(region.path, region.block, outer)
                outer.children.append(found)
            known[region] = found
        return found

    home: dict[fx.Node, Call] = {}
    for position, node in enumerate(trace.code.nodes):
        call = home[node] = call_of(node.meta["node"].region) if "node" in node.meta else root
        call.nodes.append(node)
        for outer in call.around():
            outer.first = position if outer.first < 0 else outer.first
    for node in trace.code.nodes:
        for used in node.all_input_nodes:
            _cross(used, home[used], home[node])
    for call in root.walk():
        call.results = {node: None for node in trace.code.nodes if node in call.results}
    return root


def _cross(value: fx.Node, maker: Call, user: Call) -> None:
    if maker is user:
        return
    makers, users = list(maker.around()), list(user.around())
    for call in users:
        if call in makers:
            break
        call.arguments[value] = None
    for call in makers:
        if call in users:
            break
        call.results[value] = None


def ordered(call: Call) -> list[Item]:
    """The call's own nodes and inner calls in an order that respects their data, near the original one."""
    item_of: dict[fx.Node, Item] = {node: node for node in call.nodes}
    for child in call.children:
        item_of |= {node: child for inner in child.walk() for node in inner.nodes}
    place = {node: number for number, node in enumerate(call.nodes[0].graph.nodes)} if call.nodes else {}
    items: list[Item] = [*call.nodes, *call.children]
    needs: dict[Item, set[Item]] = {}
    for item in items:
        inputs = item.all_input_nodes if isinstance(item, fx.Node) else list(item.arguments)
        needs[item] = {item_of[node] for node in inputs if node in item_of}
    users: dict[Item, list[Item]] = {item: [] for item in items}
    for item, needed in needs.items():
        for other in needed:
            users[other].append(item)
    rank = {item: place[item] if isinstance(item, fx.Node) else item.first for item in items}
    waiting = {item: len(needed) for item, needed in needs.items()}
    heap = [(rank[item], number) for number, item in enumerate(items) if not waiting[item]]
    number_of = {item: number for number, item in enumerate(items)}
    heapq.heapify(heap)
    found: list[Item] = []
    while heap:
        item = items[heapq.heappop(heap)[1]]
        found.append(item)
        for user in users[item]:
            waiting[user] -= 1
            if not waiting[user]:
                heapq.heappush(heap, (rank[user], number_of[user]))
    if len(found) < len(items):
        stuck = next(item for item in items if waiting[item] and isinstance(item, Call))
        raise Unsplittable(stuck.path)
    return found
