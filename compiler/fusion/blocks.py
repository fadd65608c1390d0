"""Depth-first blocks: kernels that run together, a strip of the result at a time, chosen by a traffic model.

A block computes its last result in strips along one axis (rows of an image, tokens of a sequence) and for
each strip only what it needs of the values before, which stay in the cache. That saves writing and reading
them. It costs a working buffer, which must fit; what strips share of a value (the halo of a window), which is
computed again; and weights that do not fit beside the buffer, which are read again for each strip. The idea
is that of Lavin, arXiv:2404.03617, and of Qararyah et al., arXiv:2404.19331.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..devices import Device
from ..dtypes import DType
from ..graph.graph import Value
from ..ops.core.counts import Cost
from .contract import Kernel
from .kernels import Obstacle
from .strips import Known, Strips


class Block(NamedTuple):
    """How a block would run: strips of `rows` positions along `axis` of its last result.

    Without an axis whole samples are taken; `strips` counts those of all samples. `again` are the
    multiply-adds done more than once, `buffer` the bytes of its working buffer. The model of this file also
    tells the bytes that it moves in all (`moved`), and those of them that are weights read again (`reread`).
    """

    axis: int | None
    rows: int
    strips: int
    again: int
    buffer: int
    moved: int | None = None
    reread: int = 0

    def worth(self, balance: float) -> float:
        """The bytes moved, and in bytes what the repeated arithmetic costs; less is better.

        `balance` are the multiply-adds that a device does while one byte comes from memory.
        """
        return (self.moved or 0) + self.again / balance


class Model:
    """Judges blocks on a device: what fits into its near memory, and what repeated arithmetic costs."""

    def __init__(self, known: Known, device: Device, float_as: DType = "f32") -> None:
        self.known = known
        self.near = device.near
        self.balance = device.balance(float_as)
        self._alone: dict[Kernel, float] = {}

    def alone(self, kernel: Kernel) -> float:
        """The bytes that a kernel moves by itself; 0 where they are not known."""
        found = self._alone.get(kernel)
        if found is None:
            moved = self.known.traffic.together(kernel.nodes, self.known.kept(kernel.nodes)).bytes
            found = self._alone[kernel] = float(moved) if isinstance(moved, int) else 0.0
        return found

    def judge(self, kernels: Sequence[Kernel]) -> Block | Obstacle:
        """The best way to run kernels, in order, as one block; or why there is none."""
        growths = self.start(kernels[-1])
        for kernel in reversed(kernels[:-1]):
            if isinstance(growths, Obstacle):
                break
            growths = self.extend(growths, kernel)
        return growths if isinstance(growths, Obstacle) else self.best(growths)

    def start(self, last: Kernel) -> list[Strips] | Obstacle:
        """Blocks of one kernel, one for each way to cut its result."""
        obstacle = self._unfit(last)
        if obstacle is not None:
            return obstacle
        results = self.known.kept(last.nodes)
        if not results:
            return Obstacle("axis", f"nothing reads {last.main.op.title}")
        result = max(results, key=self.known.bytes_of)
        shape = self.known.sizes(result)
        bundles = (False, True) if len(shape) > 1 and shape[0] > 1 else (False,)
        cuts = [Strips(self.known, result, axis, each) for axis in self._axes(result) for each in bundles]
        return self._extended(cuts, last)

    def extend(self, growths: list[Strips], kernel: Kernel) -> list[Strips] | Obstacle:
        """The blocks with a kernel put in front."""
        return self._unfit(kernel) or self._extended(growths, kernel)

    def _extended(self, growths: list[Strips], kernel: Kernel) -> list[Strips]:
        for growth in growths:
            growth.extend(kernel)
        return growths

    def _unfit(self, kernel: Kernel) -> Obstacle | None:
        if kernel.role == "opaque":
            return Obstacle("opaque", f"{kernel.main.op.title} is a kernel of its own")
        if not self.known.bound(kernel):
            return Obstacle("size", "sizes are not bound to numbers, so that traffic cannot be weighed")
        return None

    def best(self, growths: Sequence[Strips]) -> Block | Obstacle:
        """The cheapest of the blocks that fit into the cache."""
        fits: list[Block] = []
        least: tuple[int, int | None] | None = None
        for strips in growths:
            rows, buffer = strips.longest(self.near)
            if buffer <= self.near:
                fits.append(self._block(strips, rows, buffer))
            elif least is None or buffer < least[0]:
                least = buffer, strips.axis
        if fits:
            return min(fits, key=lambda block: block.worth(self.balance))
        assert least is not None
        what = "a whole sample" if least[1] is None else f"one position along axis {least[1]}"
        needs = f"{what} needs a buffer of {amount(least[0])}"
        return Obstacle("memory", f"{needs}, and the cache budget is {amount(self.near)}")

    def _block(self, strips: Strips, rows: int, buffer: int) -> Block:
        moved, reread = strips.moved(rows, self.near - buffer)
        count = -(-strips.size // rows) * strips.batch
        return Block(strips.axis, rows, count, strips.again(rows), buffer, moved, reread)

    def _axes(self, result: Value) -> list[int | None]:
        """Axes to cut along: the first behind the batch along which the main operand comes in step."""
        shape = self.known.sizes(result)
        inner = [axis for axis in range(1, len(shape)) if shape[axis] > 1 and self._in_step(result, axis)]
        return [*inner[:1], None]

    def _in_step(self, value: Value, axis: int) -> bool:
        """Whether the nearest sum of products before a value is computed in step along an axis."""
        for _ in range(_FAR):
            if not value.node.inputs:
                break
            first, step = next(iter(self.known.reach(value, axis).items()))
            if step is None:
                return False
            if value.node.op.name in _MAIN:
                break
            value, axis = first, step.axis
        return True


_FAR = 8
_MAIN = frozenset({"conv_with", "linear_with", "matmul", "scaled_dot_product_attention"})


def amount(bytes: float) -> str:
    """A number of bytes for people."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if bytes >= size:
            return f"{bytes / size:.3g} {unit}"
    return f"{round(bytes)} B"


def arithmetic(cost: Cost) -> int:
    """An operator's work in multiply-adds, single operations counting half; 0 where it is a formula."""
    flops = cost.flops
    return flops // 2 if isinstance(flops, int) else 0


def choose(kernels: Sequence[Kernel], model: Model, longest: int = 8) -> list[list[Kernel]]:
    """Neighbours in the order of the kernels taken together so that all together cost least.

    Kernels next to each other in an order that respects data can always run as one, so that the best cut of
    the row, by dynamic programming, is a legal partition; blocks have at most `longest` kernels.
    """
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(kernels) + 1):
        last = kernels[end - 1]
        least = best[end - 1][0] + model.alone(last), end - 1
        growths = model.start(last)
        inside = {last}
        for start in range(end - 2, max(end - 1 - longest, -1), -1):
            first = kernels[start]
            if isinstance(growths, Obstacle) or not any(reader in inside for reader in first.readers):
                break
            inside.add(first)
            growths = model.extend(growths, first)
            found = growths if isinstance(growths, Obstacle) else model.best(growths)
            if isinstance(found, Obstacle):
                break
            cost = best[start][0] + found.worth(model.balance)
            if cost < least[0]:
                least = cost, start
        best.append(least)
    blocks: list[list[Kernel]] = []
    end = len(kernels)
    while end:
        start = best[end][1]
        blocks.append(list(kernels[start:end]))
        end = start
    return blocks[::-1]
