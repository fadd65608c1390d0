"""Long sums of floats: partial sums are carried on from level to level, as torch's are.

A sum of n numbers, one after the other, may err by n/2 units in the last place. Where more than a few hundred
would follow each other, those of a block are summed apart and carried to a first level, what some blocks gave
to a second, and so on: then the lengths of these chains count, and not n. Short sums are left as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from tvm import tirx

from .access import divides, over, product_of
from .loops import Buffer, Expr, Loops

At = Sequence[Any]
Walk = Callable[[Callable[[At], None]], None]
"""Calls a function with the index of each cell of a buffer."""

_BLOCK = 64
"""Additions, or carries to a level, before what they made is carried on."""
_CHAIN = 512
"""Additions one after the other, at most, that are left as they are."""
_LEVELS = 3
"""Levels for sums of unknown length: the last is a chain of n / 2^18 additions."""


class Cut(NamedTuple):
    """How nested loops become blocks: the loops from `axis` on, of which `step` turns of that one.

    `levels` are those that a block is carried to.
    """

    axis: int
    step: int
    levels: int


def cut_of(extents: Sequence[Any], chain: int = _CHAIN, block: int = _BLOCK) -> Cut | None:
    """The blocks of nested loops, of which each innermost turn is an addition; None where all fit `chain`."""
    total = product_of(extents)
    if isinstance(total, int) and total <= chain:
        return None
    inner = 1
    for axis in range(len(extents) - 1, -1, -1):
        size = extents[axis]
        if isinstance(size, int) and inner * size <= block:
            inner *= size
            continue
        step = max(block // inner, 1)
        blocks = product_of([*extents[:axis], over(size, step)])
        return Cut(axis, step, _levels(blocks))
    raise AssertionError("a block is longer than what is left as it is")


def _levels(blocks: Any) -> int:
    if not isinstance(blocks, int):
        return _LEVELS
    levels = 1
    while blocks > 2 * _BLOCK:
        blocks = -(-blocks // _BLOCK)
        levels += 1
    return levels


class Cascade:
    """Sums in `cells`, and the levels that blocks are carried to."""

    def __init__(self, loops: Loops, cells: Buffer, walk: Walk, cut: Cut) -> None:
        self.loops, self.walk, self.cut = loops, walk, cut
        dtype = str(cells.dtype)
        self.zero = tirx.const(0.0, dtype)
        self.sums: list[Buffer] = [cells]
        for _ in range(cut.levels):
            self.sums.append(loops.alloc(cells.shape, dtype, "level", "local"))
        for level in self.sums[1:]:
            self._each(lambda at, level=level: loops.store(level, self.zero, *at))
        self.turns: Buffer | None = None
        if cut.levels > 1:
            self.turns = loops.alloc([1], "int32", "turns", "local")
            loops.store(self.turns, tirx.const(0, "int32"), 0)

    def carry(self) -> None:
        """After each block: on to the first level, and from each level to the next when that is its turn."""
        self._move(0)
        if self.turns is None:
            return
        first = tirx.const(0, "int32")
        self.loops.store(self.turns, tirx.BufferLoad(self.turns, [first]) + 1, first)
        for level in range(1, self.cut.levels):
            passed = tirx.truncmod(tirx.BufferLoad(self.turns, [first]), _BLOCK**level)
            with self.loops.when(tirx.EQ(passed, first)):
                self._move(level)

    def total(self) -> None:
        """At last: all levels in the cells."""
        for level in self.sums[1:]:
            self._each(lambda at, level=level: self._add(self.sums[0], level, at))

    def _move(self, level: int) -> None:
        source, target = self.sums[level : level + 2]

        def move(at: At) -> None:
            self._add(target, source, at)
            self.loops.store(source, self.zero, *at)

        self._each(move)

    def _add(self, target: Buffer, source: Buffer, at: At) -> None:
        value = tirx.BufferLoad(target, list(at)) + tirx.BufferLoad(source, list(at))
        self.loops.store(target, value, *at)

    def _each(self, function: Callable[[At], None]) -> None:
        self.walk(function)


@contextmanager
def parts(
    loops: Loops, extents: Sequence[Any], cascade: Cascade | None
) -> Iterator[tuple[list[Expr], Any, Any]]:
    """Loops over all axes but the last, and parts of that: the index, where a part begins, and its length."""
    *outer, last = extents
    if cascade is None:
        with loops.loops(outer, "k") as at:
            yield at, 0, last
        return
    axis, step, _ = cascade.cut
    size = extents[axis]
    with loops.loops(extents[:axis], "k") as before, loops.loop(over(size, step), "block") as block:
        start = block * step
        count = step if step == 1 or divides(step, size) else tirx.min(size - start, step)
        if axis == len(outer):
            yield before, start, count
        else:
            with loops.loop(count, "k") as at, loops.loops(outer[axis + 1 :], "k") as rest:
                yield [*before, start + at, *rest], 0, last
        cascade.carry()


@contextmanager
def turns(loops: Loops, extents: Sequence[Any], cascade: Cascade | None) -> Iterator[list[Expr]]:
    """Nested loops in blocks, which are carried on; gives the index."""
    if cascade is None:
        with loops.loops(extents, "k") as at:
            yield at
        return
    with parts(loops, extents, cascade) as (before, start, count), loops.loop(count, "k") as at:
        yield [*before, start + at]


@contextmanager
def turn(loops: Loops, extent: Any, cascade: Cascade | None, name: str) -> Iterator[Expr]:
    """One loop, which is the one that is cut in blocks if any is."""
    if cascade is None:
        with loops.loop(extent, name) as at:
            yield at
        return
    step = cascade.cut.step
    with loops.loop(over(extent, step), "block") as block:
        start = block * step
        count = step if step == 1 or divides(step, extent) else tirx.min(extent - start, step)
        with loops.loop(count, name) as at:
            yield start + at
        cascade.carry()
