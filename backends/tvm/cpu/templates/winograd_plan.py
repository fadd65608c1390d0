"""How a convolution by Winograd's method is cut for cores and caches, and whether it is worth it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .....compiler.devices import Cpu

TAPS = 3
"""The kernel's size in each axis."""

# Cycles and bytes a cycle of one core, in round numbers of today's processors.
_POINT = 7.0
"""Cycles of one element of a transform, in and out of the caches."""
_STORE = 4.0
"""Cycles to clear and store a register of sums."""
_LAUNCH = 5000.0
"""Cycles until all threads have begun and ended."""
_MEMORY, _SHARED = 7.0, 16.0
"""Bytes a cycle from memory and from the last cache."""
_STRIP = 64
"""Tiles of a strip at most, unless there is one for each thread."""
_GAIN = 0.9
"""Part of a simpler way's time that another has to stay under."""


@dataclass(frozen=True)
class Plan:
    """How the work is cut: `outputs` squared results a tile, `strip` tiles at once.

    A strip's products are made for `group` tiles in registers, each `pixels` tiles of the image by `blocks`
    vectors of output channels. Threads take strips, or, with `split`, share each strip's output channels.
    """

    outputs: int
    strip: int
    pixels: int
    blocks: int
    group: int
    split: bool

    @property
    def room(self) -> int:
        """Tiles of a strip, with those that fill up the last registers."""
        return -(-self.strip // self.pixels) * self.pixels


@dataclass(frozen=True)
class Work:
    """The sizes of a convolution, and estimates of its time in cycles.

    It makes `out` channels in all from `channels` in each of `sections` (its groups).
    """

    batch: int
    made: tuple[int, int]
    channels: int
    out: int
    machine: Cpu
    sections: int = 1

    @property
    def lanes(self) -> int:
        """Elements of a register."""
        return self.machine.lanes("float32")

    def direct(self) -> float:
        """Nine products for each result and input channel."""
        results, taps = self.batch * self.made[0] * self.made[1], TAPS**2
        vectors = -(-self.out // self.lanes)
        compute = results * (self.channels * taps + _STORE) * vectors / self.machine.threads
        return _together(compute, self._weights(taps, vectors) / self.machine.threads / _MEMORY) + _LAUNCH

    def _weights(self, points: int, vectors: int) -> int:
        return points * self.channels * vectors * self.lanes * 4

    def plans(self, outputs: int) -> list[Plan]:
        """The ways to cut the work with tiles of so many results a side."""
        tiles = self.batch * -(-self.made[0] // outputs) * -(-self.made[1] // outputs)
        vectors = -(-self.out // self.lanes)
        # Strips of like sizes, for a strip's input and sums to stay in a cache or to be one for all.
        found: list[Plan] = []
        for strip in {-(-tiles // count) for count in range(1, tiles + 1)}:
            if strip > _STRIP and strip < tiles // self.machine.threads:
                continue
            for blocks in range(1, min(vectors, 4) + 1):
                if self.sections > 1 and vectors // self.sections % blocks:
                    continue
                # A register for each vector of weights, one for the input, and one free.
                turns = -(-strip // ((self.machine.registers - 2 - blocks) // blocks))
                panels = -(-vectors // blocks)
                for group in {-(-panels // count) for count in (1, 2, 3, 4, 8, 16, panels)}:
                    cut = Plan(outputs, strip, -(-strip // turns), blocks, group, False)
                    found += [cut, replace(cut, split=True)]
        return found

    def cost(self, plan: Plan) -> float:
        """Products and transforms, and what comes from beyond a core's own cache."""
        machine, threads, lanes = self.machine, self.machine.threads, self.lanes
        points = (plan.outputs + TAPS - 1) ** 2
        tiles = self.batch * -(-self.made[0] // plan.outputs) * -(-self.made[1] // plan.outputs)
        strips = -(-tiles // plan.strip)
        parts, vectors = -(-self.channels * self.sections // lanes), -(-self.out // lanes)
        panels = -(-vectors // plan.blocks)
        groups = -(-panels // plan.group)
        # With less than 8 sums the adder waits for itself; reads take a little.
        step = max(8.0 / (plan.pixels * plan.blocks), 1.0) + 0.1 * (1 / plan.pixels + 1 / plan.blocks)
        group = plan.room * plan.group * plan.blocks * points * (self.channels * step + _STORE)
        group += plan.strip * plan.group * plan.blocks * points * _POINT
        enter = plan.strip * parts * points * _POINT
        weights = self._weights(points, panels * plan.blocks)
        entered = points * plan.room * parts * lanes * 4
        sums = points * plan.room * plan.group * plan.blocks * lanes * 4
        if plan.split:
            turns = -(-groups // threads)
            compute = strips * (turns * group + enter / threads + 2 * _LAUNCH)
            # What the others have transformed, for each group again where it does not stay.
            again = turns if entered + sums > machine.l2 else 1
            moved = strips * (weights * turns / groups / _MEMORY + entered * again / _SHARED)
            excess = sums * turns * strips if sums > machine.l2 else 0
        else:
            turns = -(-strips // threads)
            compute = turns * (groups * group + enter) + _LAUNCH
            again = turns - 1 if weights + entered + sums > machine.l2 else 0
            other = weights * (threads - 1) / threads if strips > 1 else 0
            moved = weights / threads / _MEMORY + (other + again * weights) / _SHARED
            excess = (entered * groups + sums * groups) * turns if entered + sums > machine.l2 else 0
        return _together(compute, moved + excess / _SHARED)


def _together(compute: float, moved: float) -> float:
    """Half of what is moved comes while something is computed."""
    return max(moved, compute + moved / 2)


def plan(work: Work) -> Plan | None:
    """The fastest plan, or None for the direct convolution: the simpler one unless another gains."""
    best, least = None, work.direct()
    for outputs in (2, 4):
        found = min(work.plans(outputs), key=work.cost)
        cost = work.cost(found)
        if cost < _GAIN * least:
            best, least = found, cost
    return best
