"""Layered drawing of a directed graph, from top to bottom.

The method of Sugiyama, Tagawa and Toda (1981): layers by longest path, few crossings by the median of the
neighbours, then columns of items that stand exactly above each other (the idea of Brandes and Köpf, 2001),
moved to where the rest of their edges pull them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

SWEEPS = 12
GAP = 28.0
# Pieces of edges: between two stand-ins, a whole edge between neighbouring layers, the end of a long one.
INNER, ENTIRE, END = range(3)


@dataclass
class Item:
    """Something to place: room to the left and right of its centre, and its height."""

    left: float
    right: float
    height: float


@dataclass
class Layout:
    """Centres of the items, the layer of each, and the height of each layer.

    `routes[e]` gives the x of edge e in each layer between those of its ends.
    """

    x: list[float]
    layer: list[int]
    heights: list[float]
    routes: list[list[float]] = field(default_factory=list[list[float]])


def lay_out(items: Sequence[Item], edges: Sequence[tuple[int, int]]) -> Layout:
    """Place the items. Edges go from lower to higher numbers: the numbering is a topological order."""
    layer = _layers(len(items), edges)
    # An edge over several layers becomes a chain of narrow stand-ins, one in each layer between.
    all_items = list(items)
    all_layers = list(layer)
    chains: list[list[int]] = []
    short: list[tuple[int, int]] = []
    for source, target in edges:
        chain: list[int] = []
        for between in range(layer[source] + 1, layer[target]):
            chain.append(len(all_items))
            all_items.append(Item(10.0, 10.0, 0.0))
            all_layers.append(between)
        chains.append(chain)
        path = [source, *chain, target]
        short.extend(pairwise(path))
    count = max(all_layers, default=-1) + 1
    rows: list[list[int]] = [[] for _ in range(count)]
    for number, row in enumerate(all_layers):
        rows[row].append(number)
    before: list[list[int]] = [[] for _ in all_items]
    after: list[list[int]] = [[] for _ in all_items]
    for source, target in short:
        before[target].append(source)
        after[source].append(target)
    rows = _untangle(rows, before, after)
    x = _place(rows, all_items, before, after, len(items))
    heights = [max([all_items[number].height for number in row], default=0.0) for row in rows]
    routes = [[x[number] for number in chain] for chain in chains]
    return Layout(x[: len(items)], layer, heights, routes)


def _layers(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    layer = [0] * count
    for source, target in sorted(edges):
        layer[target] = max(layer[target], layer[source] + 1)
    entered = {target for _, target in edges}
    below: list[list[int]] = [[] for _ in range(count)]
    for source, target in edges:
        below[source].append(target)
    # What nothing leads to (an input, a constant) moves down to its first reader.
    for number in reversed(range(count)):
        if number not in entered and below[number]:
            layer[number] = min(layer[target] for target in below[number]) - 1
    return layer


def _untangle(rows: list[list[int]], before: list[list[int]], after: list[list[int]]) -> list[list[int]]:
    """Order each layer by the median place of its neighbours, down and up; keep what crosses least."""
    best, fewest = rows, _crossings(rows, after)
    current = rows
    for sweep in range(SWEEPS):
        if not fewest:
            break
        down = sweep % 2 == 0
        neighbours = before if down else after
        current = [list(row) for row in current]
        for number in range(len(current)) if down else reversed(range(len(current))):
            near = number - 1 if down else number + 1
            if not 0 <= near < len(current):
                continue
            place = {item: index for index, item in enumerate(current[near])}
            here = {item: float(index) for index, item in enumerate(current[number])}
            for item in current[number]:
                places = sorted(place[other] for other in neighbours[item] if other in place)
                if places:
                    here[item] = (places[(len(places) - 1) // 2] + places[len(places) // 2]) / 2
            current[number].sort(key=here.__getitem__)
        crossings = _crossings(current, after)
        if crossings < fewest:
            best, fewest = current, crossings
    return best


def _crossings(rows: list[list[int]], after: list[list[int]]) -> int:
    total = 0
    for upper, lower in pairwise(rows):
        place = {item: index for index, item in enumerate(lower)}
        ends: list[int] = []
        for item in upper:
            targets = sorted(place[target] for target in after[item] if target in place)
            total += sum(1 for target in targets for end in ends if end > target)
            ends.extend(targets)
    return total


def _place(
    rows: list[list[int]], items: list[Item], before: list[list[int]], after: list[list[int]], real: int
) -> list[float]:
    """The x of each item: those in one column share it, and a column stands where its neighbours pull it."""
    column, columns = _columns(rows, before, after, real)
    # How far each column must stand from those to its left and right.
    left: list[dict[int, float]] = [{} for _ in range(columns)]
    right: list[dict[int, float]] = [{} for _ in range(columns)]
    for row in rows:
        for one, other in pairwise(row):
            apart = items[one].right + GAP + items[other].left
            a, b = column[one], column[other]
            left[b][a] = right[a][b] = max(apart, left[b].get(a, 0.0))
    pulls: list[list[int]] = [[] for _ in range(columns)]
    for number, targets in enumerate(after):
        for target in targets:
            a, b = column[number], column[target]
            if a != b:
                pulls[a].append(b)
                pulls[b].append(a)
    order = _left_to_right(left)
    x = [0.0] * columns
    for at in order:
        x[at] = max([x[other] + apart for other, apart in left[at].items()], default=0.0)
    for sweep in range(SWEEPS):
        for at in reversed(order) if sweep % 2 == 0 else order:
            if pulls[at]:
                wanted = sum(x[other] for other in pulls[at]) / len(pulls[at])
                least = max([x[other] + apart for other, apart in left[at].items()], default=-inf)
                most = min([x[other] - apart for other, apart in right[at].items()], default=inf)
                x[at] = max(least, min(most, wanted))
    return [x[at] for at in column]


def _columns(
    rows: list[list[int]], before: list[list[int]], after: list[list[int]], real: int
) -> tuple[list[int], int]:
    """The column of each item: neighbours in adjacent layers that stand exactly above each other.

    Long edges come first, then edges between items (the middle ones of those that fan out or in), then the
    ends of long edges; none may cross another.
    """
    below: dict[int, int] = {}
    above: dict[int, int] = {}
    place = {item: index for row in rows for index, item in enumerate(row)}
    for row in rows[:-1]:
        candidates = [
            (_kind(source, target, real), source, target) for source in row for target in after[source]
        ]
        for kind, source, target in sorted(candidates):
            fan = [other for other in after[source] if other < real]
            if kind == ENTIRE and (
                _off_middle(target, fan, place) or _off_middle(source, before[target], place) > 0.5
            ):
                continue
            free = source not in below and target not in above
            crossed = any(
                (place[source] - place[other]) * (place[target] - place[below[other]]) < 0
                for other in row
                if other in below
            )
            if free and not crossed:
                below[source], above[target] = target, source
    column = [-1] * len(after)
    columns = 0
    for row in rows:
        for item in row:
            if item in above:
                column[item] = column[above[item]]
            else:
                column[item] = columns
                columns += 1
    return column, columns


def _kind(source: int, target: int, real: int) -> int:
    if source >= real and target >= real:
        return INNER
    return ENTIRE if source < real and target < real else END


def _off_middle(one: int, fan: list[int], place: dict[int, int]) -> float:
    ordered = sorted(fan, key=place.__getitem__)
    return abs(ordered.index(one) - (len(ordered) - 1) / 2)


def _left_to_right(left: list[dict[int, float]]) -> list[int]:
    """The columns, each after those to its left; there is such an order because columns never cross."""
    waiting = [len(others) for others in left]
    right: list[list[int]] = [[] for _ in left]
    for at, others in enumerate(left):
        for other in others:
            right[other].append(at)
    ready = [at for at, number in enumerate(waiting) if not number]
    for at in ready:
        for other in right[at]:
            waiting[other] -= 1
            if not waiting[other]:
                ready.append(other)
    return ready
