"""Layered drawing of a directed graph, from top to bottom.

The method of Sugiyama, Tagawa and Toda (1981): layers by longest path, few crossings by the median of the
neighbours, then places that keep edges straight. The last step is exact for each layer:
the nearest places (least squares) to those wanted that keep the order and the distances, found by pooling
neighbours that would overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

SWEEPS = 12
GAP = 28.0


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
    x = [0.0] * len(items)
    for row in rows:
        at = 0.0
        for number in row:
            at += items[number].left
            x[number] = at
            at += items[number].right + GAP
    for sweep in range(2 * SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):
            wanted: list[float] = []
            weights: list[float] = []
            for number in row:
                # Looking both ways settles; looking one way first spreads the places quickly.
                near = before[number] if down else after[number]
                near = near + (after[number] if down else before[number]) if sweep >= SWEEPS else near
                # Long edges should be straight, most of all where they pass through layers.
                pulls = [
                    (x[other], 8.0 if number >= real and other >= real else 2.0 if other < real else 1.0)
                    for other in near
                ]
                weight = sum(pull for _, pull in pulls)
                wanted.append(sum(at * pull for at, pull in pulls) / weight if weight else x[number])
                weights.append(weight or 0.1)
            for number, at in zip(row, _spread(row, items, wanted, weights), strict=True):
                x[number] = at
    return x


def _spread(row: list[int], items: list[Item], wanted: list[float], weights: list[float]) -> list[float]:
    """The places nearest to those wanted that keep the order and leave room for all."""
    offset = 0.0
    offsets: list[float] = []
    for index, number in enumerate(row):
        if index:
            offset += items[row[index - 1]].right + GAP + items[number].left
        offsets.append(offset)
    # With the offsets taken away the places must not decrease: isotonic regression by pooling.
    pools: list[tuple[float, float, int]] = []
    for want, weight, off in zip(wanted, weights, offsets, strict=True):
        value, mass, size = want - off, weight, 1
        while pools and pools[-1][0] > value:
            other, heavier, more = pools.pop()
            value = (value * mass + other * heavier) / (mass + heavier)
            mass, size = mass + heavier, size + more
        pools.append((value, mass, size))
    values = [value for value, _, size in pools for _ in range(size)]
    return [value + off for value, off in zip(values, offsets, strict=True)]
