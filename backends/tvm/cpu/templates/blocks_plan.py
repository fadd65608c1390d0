"""Which convolutions that follow each other gain by running depth first, and how such a block is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

from .....compiler.devices import Cpu
from .....compiler.graph.graph import Node
from .blocks_stage import Stage

_MOVED = 40
"""Bytes in a cycle between a core and what is beyond its caches, as far as arithmetic does not hide that."""
_GAIN = 0.06
"""A block is to save this part of its arithmetic, since what follows each sum is not counted."""
_LONGEST = 3
_STEP = 4
"""Rows at a time, at most: more do not gain, and need larger buffers."""


@dataclass(frozen=True)
class Plan:
    """`step` rows of the last stage at a time, of one of `parts` equal parts of its rows.

    `rooms` are the rows that are kept of what each stage makes, but for the last.
    """

    stages: tuple[Stage, ...]
    step: int
    parts: int
    rooms: tuple[int, ...]
    batch: int

    @property
    def buffer(self) -> int:
        """Bytes that a thread keeps."""
        return sum([stage.row * room for stage, room in zip(self.stages, self.rooms, strict=False)])

    @property
    def strips(self) -> int:
        """Steps of all parts and samples."""
        rows = ceil(self.stages[-1].rows / self.parts)
        return self.batch * self.parts * ceil(rows / self.step)

    @property
    def again(self) -> int:
        """Multiply-adds that are done twice: those of rows that two parts need."""
        shared = 0
        for number, room in enumerate(_rooms(self.stages, 1)):
            stride = prod([stage.vertical.stride for stage in self.stages[number + 1 :]])
            shared += max(room - stride, 0) * self.stages[number].work
        return self.batch * (self.parts - 1) * shared


def plan_of(mains: Sequence[Node], machine: Cpu, dtype: str) -> Plan:
    """How a block is cut: a few rows at a time, as half of a core's cache has room for."""
    stages = tuple(Stage(main, machine, dtype) for main in mains)
    rows, batch = stages[-1].rows, mains[0].inputs[0].shape[0]
    samples = batch if isinstance(batch, int) else 1
    whole = isinstance(batch, int) and batch % machine.threads == 0
    parts = 1 if whole else min(machine.threads, rows)
    steps = range(min(_STEP, -(-rows // parts)), 0, -1)
    plans = [Plan(stages, step, parts, _rooms(stages, step), samples) for step in steps]
    return next((plan for plan in plans if plan.buffer <= machine.l2 // 2), plans[-1])


def _rooms(stages: Sequence[Stage], step: int) -> tuple[int, ...]:
    """The rows of each stage, but for the last, that some rows of the last are made of."""
    found = [step]
    for stage in reversed(stages[1:]):
        taps = stage.vertical
        found.append(min(taps.at(found[-1] - 1, taps.count - 1) - taps.at(0, 0) + 1, taps.size))
    return tuple(found[:0:-1])


def saved(mains: Sequence[Node], machine: Cpu, dtype: str) -> float:
    """Cycles of each core that a block saves; 0 where its kernels had better run one after the other."""
    plan = plan_of(mains, machine, dtype)
    stages, lanes = plan.stages, plan.stages[0].lanes
    if plan.buffer > machine.l2 * 3 // 4 or not all(stage.depthwise or stage.pointwise for stage in stages):
        return 0.0
    if stages[0].depthwise and stages[0].out % lanes:
        # Its operand may have channels last, and no room behind them.
        return 0.0
    share = plan.batch / machine.threads
    # Most of what is made stays in the cores' own caches anyway, unless it is larger.
    made = [share * stage.rows * stage.row for stage in stages[:-1]]
    gained = sum([2 * each for each in made if each > machine.l2 * 3 // 4]) / _MOVED
    work = share * sum([stage.rows * stage.work for stage in stages]) / lanes
    # Where a sample's rows are shared out, one thread may get more, and what lies between is made twice.
    rows = stages[-1].rows
    lost = work * (-(-rows // plan.parts) * plan.parts / rows - 1)
    if plan.parts > 1:
        lost += plan.again / (plan.parts - 1) / lanes
    return gained - lost if gained - lost > _GAIN * work else 0.0


def cut(mains: Sequence[Node], machine: Cpu, dtype: str) -> list[list[Node]]:
    """Main operators, each of which reads what the one before makes, in blocks that save most in all."""
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(mains) + 1):
        most = best[end - 1][0], end - 1
        for start in range(max(end - _LONGEST, 0), end - 1):
            gain = saved(mains[start:end], machine, dtype)
            if gain > 0.0 and best[start][0] + gain >= most[0]:
                most = best[start][0] + gain, start
        best.append(most)
    found: list[list[Node]] = []
    end = len(mains)
    while end:
        start = best[end][1]
        found.insert(0, list(mains[start:end]))
        end = start
    return found
