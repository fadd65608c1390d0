"""Blocks: several convolutions one after the other, some rows at a time.

What the stages pass on are rows in a buffer of the thread, which its cache holds, so that wide values between
an expansion and a projection never go to memory. Rows that neighbouring windows share are kept, and worked
out again only where another thread has them. The idea is that of Lavin, arXiv:2404.03617.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tvm import tirx

from .....compiler.devices import Cpu
from .....compiler.graph.graph import Node, Value
from ...tensor_ir.indices import index_const, index_type
from ...tensor_ir.layouts import Layout
from ...tensor_ir.loops import Expr, Loops
from ...tensor_ir.tensors import Tensor
from .base import Accumulated
from .blocks_plan import Plan, plan_of
from .blocks_stage import Rows
from .product import Writer


class Block:
    """Convolutions, `mains`, each of which reads what is made of the one before."""

    def __init__(self, mains: Sequence[Node], plan: Plan) -> None:
        self.mains = tuple(mains)
        self.plan = plan
        self.stages = plan.stages
        self.layout = Layout(1, self.stages[-1].lanes)

    def emit(self, loops: Loops, tensors: Mapping[Value, Tensor], results: Sequence[Tensor]) -> None:
        """Loops over samples and parts of the rows on all threads, and over some rows at a time within.

        `tensors` are operands and what is worked out of them, by value; packed ones are read by the packed
        index.
        """
        plan, rows = self.plan, self.stages[-1].rows
        share = -(-rows // plan.parts)
        total = tensors[self.mains[0].inputs[0]].shape[0] * plan.parts
        kind = "parallel" if not isinstance(total, int) or total > 1 else "serial"
        with loops.loop(total, "o", kind) as outer:
            sample = loops.let(tirx.floordiv(outer, plan.parts), "sample")
            part = tirx.floormod(outer, plan.parts).astype(index_type(plan.parts))
            start = loops.let(part * share, "start")
            end: Any = share if plan.parts == 1 else loops.let(tirx.min(start + share, rows), "end")
            writers = self._writers(loops, tensors, results)
            with loops.loop(-(-share // plan.step), "turn") as turn:
                first = loops.let(start + turn * plan.step, "first")
                stop = loops.let(tirx.min(first + plan.step, end), "stop")
                spans = self._spans(loops, turn, first, stop)
                for writer, (low, high) in zip(writers, spans, strict=True):
                    writer.rows(sample, low, loops.let(tirx.max(high - low, 0), "count"))

    def _writers(
        self, loops: Loops, tensors: Mapping[Value, Tensor], results: Sequence[Tensor]
    ) -> list[Writer]:
        """The stages' writers, with buffers for what they pass on."""
        found: list[Writer] = []
        x = tensors[self.mains[0].inputs[0]]
        for number, (stage, main) in enumerate(zip(self.stages, self.mains, strict=True)):
            made, passed = tensors[main.results[0]], results
            assert isinstance(made, Accumulated)
            if number < len(self.plan.rooms):
                inner = tensors[self.mains[number + 1].inputs[0]]
                passed = [Rows(inner, stage, self.plan.rooms[number], loops)]
            found.append(stage.writer(loops, tensors, x, made, passed))
            x = passed[0]
        return found

    def _spans(self, loops: Loops, turn: Expr, first: Expr, stop: Expr) -> list[tuple[Expr, Expr]]:
        """The rows that each stage is to make for some of the last, but for those made in turns before."""
        low, high, made = first, stop, first
        found = [(low, high)]
        for stage in reversed(self.stages[1:]):
            taps = stage.vertical
            if taps.count > 1 or taps.stride > 1 or taps.padded:
                high = loops.let(tirx.min(taps.at(high - 1, taps.count - 1) + 1, taps.size), "high")
                made = loops.let(tirx.min(taps.at(made - 1, taps.count - 1) + 1, taps.size), "made")
                least = tirx.Select(turn > 0, made, index_const(0))
                low = loops.let(tirx.max(tirx.max(taps.at(low, 0), least), 0), "low")
            found.append((low, high))
        return found[::-1]


def fit(mains: Sequence[Node], machine: Cpu, dtype: str) -> Block:
    """The template for main operators that `blocks_plan.cut` has put into one block."""
    return Block(mains, plan_of(mains, machine, dtype))
