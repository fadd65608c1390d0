"""Rows that are reduced: a team of threads runs the stages of each row one after the other.

A warp combines by shuffles; a block of several combines what its warps found through shared memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx

from ....compiler.devices import Gpu
from ..cpu.reductions import Combination
from ..tensor_ir.access import over, product_of
from ..tensor_ir.cascade import Cascade, cut_of, turn
from ..tensor_ir.expressions import emitting
from ..tensor_ir.indices import index_const, index_type
from ..tensor_ir.loops import Expr
from ..tensor_ir.tensors import Reduced, Tensor
from .elements import Tail, split
from .launches import THREADS, LaunchSequence, Thread

_SHORT = 1024
"""Elements of a row that one warp combines at most."""
_WARPS = 4
"""Rows, and warps, of a block where each row has a warp."""


def emit(work: LaunchSequence, tail: Tail, common: int, gpu: Gpu) -> None:
    """A launch that runs the stages of each row, which are all axes but the first `common`.

    Reduced stages have one number for each row, which all threads of the team have at hand.
    """
    stages = tail.tensors
    lengths = [product_of(stage.extents) for stage in stages if isinstance(stage, Reduced)]
    short = all(isinstance(length, int) and length <= _SHORT for length in lengths)
    lead = stages[0].shape[:common]
    count = product_of(lead)
    team = gpu.warp if short else THREADS
    blocks = over(count, _WARPS) if short else count
    with work.launch(blocks, gpu.warp * _WARPS if short else THREADS) as thread:
        kind = index_type(count)
        if short:
            warp = tirx.floordiv(thread.number, gpu.warp)
            first: Any = thread.block.astype(kind)
            row = thread.let(first * _WARPS + warp.astype(kind), "row")
            lane = thread.let(tirx.floormod(thread.number, gpu.warp), "lane")
        else:
            row, lane = thread.block.astype(kind), thread.number
        bound = tirx.const(count, kind) if isinstance(count, int) else count
        with thread.when(row < bound):
            _Row(thread, tail, split(thread, row, lead), lane, team, gpu).run()
    tail.release()


class _Row:
    def __init__(
        self, thread: Thread, tail: Tail, prefix: Sequence[Expr], lane: Expr, team: int, gpu: Gpu
    ) -> None:
        self.thread = thread
        self.tail = tail
        self.prefix = tuple(prefix)
        self.lane = lane
        self.team = team
        self.gpu = gpu

    def run(self) -> None:
        """Stage after stage."""
        tail, thread = self.tail, self.thread
        for number, stage in enumerate(tail.tensors):
            if stage.rank > len(self.prefix):
                stage.buffer, stage.outer = tail.homes[stage], 0
                self._write(stage)
                if number < len(tail.tensors) - 1:
                    self._wait()
                continue
            if isinstance(stage, Reduced):
                value = self._combined(stage)
            else:
                with emitting(thread):
                    value = stage.at(self.prefix)
            tail.hold(thread, stage, value)
            if stage in tail.homes:
                with thread.when(self.lane == 0):
                    tail.store(thread, stage, self.prefix)

    def _turns(
        self, sizes: Sequence[Any], each: Callable[[list[Expr]], None], cascade: Cascade | None = None
    ) -> None:
        """The positions of axes of these sizes, one for each thread of the team at a time."""
        thread, total = self.thread, product_of(sizes)
        if isinstance(total, int) and total == 0:
            return
        with turn(thread, over(total, self.team), cascade, "turn") as number:
            kind = index_type(total)
            at = thread.let(number.astype(kind) * self.team + self.lane.astype(kind), "at")
            bound = tirx.const(total, kind) if isinstance(total, int) else total
            with thread.when(at < bound):
                each(split(thread, at, sizes))

    def _write(self, stage: Tensor) -> None:
        def each(at: list[Expr]) -> None:
            index = (*self.prefix, *at)
            with emitting(self.thread):
                self.thread.store(stage.buffer, stage.at(index), *stage.place(index))

        self._turns(stage.shape[len(self.prefix) :], each)

    def _combined(self, stage: Reduced) -> Expr:
        """All elements of the row as one, known to each thread of the team."""
        thread, zero = self.thread, index_const(0)
        combination = Combination(thread, stage, self.gpu)
        cell = thread.alloc([1], stage.dtype, "sums", "local")
        found = tirx.BufferLoad(cell, [zero])
        thread.store(cell, combination.identity, zero)

        def each(at: list[Expr]) -> None:
            with emitting(thread):
                value = stage.function(*self.prefix, *at)
                thread.store(cell, combination.combine(found, value), zero)

        cut = cut_of([over(product_of(stage.extents), self.team)])
        cascade = combination.cascade(cell, cut, combination.side_by_side(1))
        self._turns(stage.extents, each, cascade)
        combination.finish(cascade)
        apart = 1
        while apart < self.gpu.warp:
            with emitting(thread):
                thread.store(cell, combination.combine(found, self._other(cell, stage.dtype, apart)), zero)
            apart *= 2
        if self.team > self.gpu.warp:
            self._across(cell, combination, stage.dtype)
        return found

    def _other(self, cell: Any, dtype: str, apart: int) -> Expr:
        """The value of the thread whose number in the warp differs in one bit."""
        kind = dtype if dtype in ("float16", "float32", "float64", "int32", "int64") else "int32"
        if dtype == "bfloat16":
            kind = "float32"
        value = tirx.BufferLoad(cell, [index_const(0)]).astype(kind)
        mask = tirx.const(2**32 - 1, "uint32")
        held = self.thread.alloc([1], kind, "other", "local")
        found = tirx.call_extern(kind, "__shfl_xor_sync", mask, value, tirx.const(apart, "int32"))
        self.thread.store(held, found, 0)
        return tirx.BufferLoad(held, [index_const(0)]).astype(dtype)

    def _across(self, cell: Any, combination: Combination, dtype: str) -> None:
        """What the warps of the block found, as one."""
        thread, warps, zero = self.thread, self.team // self.gpu.warp, index_const(0)
        parts = thread.shared([warps], dtype, "parts")
        with thread.when(tirx.floormod(self.lane, self.gpu.warp) == 0):
            thread.store(parts, tirx.BufferLoad(cell, [zero]), tirx.floordiv(self.lane, self.gpu.warp))
        thread.wait()
        thread.store(cell, combination.identity, zero)
        with thread.loop(warps, "warp") as warp, emitting(thread):
            other = tirx.BufferLoad(parts, [warp])
            thread.store(cell, combination.combine(tirx.BufferLoad(cell, [zero]), other), zero)
        # Before the next reduction writes there.
        thread.wait()

    def _wait(self) -> None:
        if self.team > self.gpu.warp:
            self.thread.wait()
        else:
            call = tirx.call_extern("int32", "__syncwarp")
            self.thread.emit(tirx.Evaluate(call))
