"""Places in an arena for blocks that live for a while: rectangles of time and bytes, packed low.

Packing best is NP-hard (dynamic storage allocation). Blocks are placed one by one, each as low as those
that live at the same time allow; which one comes first decides, and several rules are tried. A packing that
is as high as the most bytes live at once is proved best, which on real networks most are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Block(NamedTuple):
    """Bytes that are in use from step `first` to step `last`, both included."""

    first: int
    last: int
    size: int

    @property
    def area(self) -> int:
        """Bytes times steps."""
        return self.size * (self.last - self.first + 1)


Offsets = tuple[int, ...]
# How often each rule's order is tried and repaired where no packing is proved best.
_ROUNDS = 16


def conflicts(blocks: Sequence[Block]) -> list[list[int]]:
    """For each block, the others that live at the same time at some step."""
    found: list[list[int]] = [[] for _ in blocks]
    active: list[int] = []
    for number in sorted(range(len(blocks)), key=lambda number: blocks[number].first):
        active = [other for other in active if blocks[other].last >= blocks[number].first]
        for other in active:
            found[other].append(number)
            found[number].append(other)
        active.append(number)
    return found


def live_bytes(blocks: Sequence[Block]) -> int:
    """The most bytes in use at a step: no packing is lower."""
    changes: dict[int, int] = {}
    for block in blocks:
        changes[block.first] = changes.get(block.first, 0) + block.size
        changes[block.last + 1] = changes.get(block.last + 1, 0) - block.size
    most = live = 0
    for step in sorted(changes):
        live += changes[step]
        most = max(most, live)
    return most


def height(blocks: Sequence[Block], offsets: Sequence[int]) -> int:
    """Where the highest block ends."""
    return max([offset + block.size for block, offset in zip(blocks, offsets, strict=True)], default=0)


def _rules(blocks: Sequence[Block], near: Sequence[Sequence[int]]) -> list[Callable[[int], tuple[int, ...]]]:
    """What sorts blocks for placing: by size, area, duration, conflicts, bytes in conflict, and time."""
    crowd = [sum([blocks[other].size for other in others]) for others in near]
    duration = [block.last - block.first for block in blocks]
    return [
        lambda n: (-blocks[n].size, -duration[n], n),
        lambda n: (-blocks[n].area, n),
        lambda n: (-duration[n], -blocks[n].size, n),
        lambda n: (-crowd[n] - blocks[n].size, -blocks[n].size, n),
        lambda n: (-len(near[n]), -blocks[n].size, n),
        lambda n: (blocks[n].first, -duration[n], n),
        lambda n: (-blocks[n].last, -duration[n], n),
    ]


def pack(blocks: Sequence[Block]) -> Offsets:
    """An offset for each block, so that blocks alive at the same time do not overlap; the best packing found.

    Offsets are sums of sizes: they are aligned if the sizes are.
    """
    near = conflicts(blocks)
    least = live_bytes(blocks)
    best: Offsets = ()
    lowest = -1
    orders = [sorted(range(len(blocks)), key=rule) for rule in _rules(blocks, near)]
    for _ in range(_ROUNDS):
        for order in orders:
            offsets = _place(blocks, order, near)
            found = height(blocks, offsets)
            if lowest < 0 or found < lowest:
                best, lowest = offsets, found
            if lowest == least:
                return best
            _repair(order, blocks, offsets)
    return best


def _place(blocks: Sequence[Block], order: Sequence[int], near: Sequence[Sequence[int]]) -> Offsets:
    """Blocks in an order, each in the lowest gap that takes it."""
    offsets = [-1] * len(blocks)
    for number in order:
        size = blocks[number].size
        taken = [(offsets[other], blocks[other].size) for other in near[number] if offsets[other] >= 0]
        taken.sort()
        at = 0
        for start, length in taken:
            if start - at >= size:
                break
            if start + length > at:
                at = start + length
        offsets[number] = at
    return tuple(offsets)


def _repair(order: list[int], blocks: Sequence[Block], offsets: Offsets) -> None:
    """Place earlier what ends highest."""
    highest = max(range(len(blocks)), key=lambda n: (offsets[n] + blocks[n].size, blocks[n].size))
    at = order.index(highest)
    order.insert(at // 2, order.pop(at))
