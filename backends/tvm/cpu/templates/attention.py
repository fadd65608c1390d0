"""Attention without the matrix of scores: strips of query rows, whose scores stay in the cache.

For each head the keys are turned once, so that neighbours along a vector are keys. A strip's scores are a
product of its rows and all keys; softmax runs over them in place; and the result is their product with the
values, divided by the sums of the rows. The idea of not keeping the scores is that of arXiv:2112.05682 and
arXiv:2205.14135.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tvm import tirx

from .....compiler.devices import Cpu
from .....compiler.dtypes import BOOL
from .....compiler.graph.graph import Node
from ...runtime.packing import Packing
from ...tensor_ir.cascade import Cascade, cut_of, turn
from ...tensor_ir.expressions import emitting
from ...tensor_ir.indices import index_const
from ...tensor_ir.layouts import PLAIN, Layout
from ...tensor_ir.loops import Expr, Loops
from ...tensor_ir.math.elementary import Functions
from ...tensor_ir.tensors import Tensor
from .base import Accumulated, finish, zero
from .tiles import LONG, PANEL, tile_of

_STRIP = 24
"""Rows of a strip, at most."""


class Attention:
    """softmax(q k^T * scale + mask) v with sizes that are known, but for the first axis."""

    layout = PLAIN
    packings: Mapping[str, Packing] = {}

    def __init__(self, node: Node, machine: Cpu, dtype: str) -> None:
        given = dict(zip(node.slots, node.inputs, strict=True))
        q, k, v = (given[slot].shape for slot in ("q", "k", "v"))
        self.op: Any = node.op
        self.dtype, self.lanes, self.threads = dtype, machine.lanes(dtype), machine.threads
        self.registers = machine.registers
        self.rows, self.keys = int(q[-2]), int(k[-2])  # pyright: ignore[reportArgumentType]
        self.features, self.out = int(q[-1]), int(v[-1])  # pyright: ignore[reportArgumentType]
        self.boolean = "mask" in given and given["mask"].type.dtype == BOOL
        strips = -(-self.rows // _STRIP)
        self.strip = -(-self.rows // strips)

    def emit(
        self,
        loops: Loops,
        operands: Mapping[str, Tensor],
        main: Accumulated,
        results: Sequence[Tensor],
        machine: Cpu,
    ) -> None:
        """Heads, or parts of a head where heads are few, on all threads."""
        lead = main.shape[:-2]
        heads: Any = 1
        for size in lead:
            heads = heads * size
        strips = -(-self.rows // self.strip)
        parts = 1
        if isinstance(heads, int) and heads % self.threads:
            # Keys are turned once more for each part.
            parts = min(strips, 2 * self.threads)
        with loops.loop(heads * parts, "o", "parallel") as outer:
            head = loops.let(tirx.floordiv(outer, parts), "head")
            index = [loops.let(each, "lead") for each in _split(head, lead)]
            work = _Head(self, loops, operands, main, results, tuple(index))
            first = tirx.floormod(outer, parts)
            each = -(-strips // parts)
            with loops.loop(each, "strip") as number:
                strip = loops.let(first * each + number, "strip") if parts > 1 else number
                if strips % parts:
                    with loops.when(strip < strips):
                        work.strip(strip)
                else:
                    work.strip(strip)


class _Head:
    def __init__(
        self,
        plan: Attention,
        loops: Loops,
        operands: Mapping[str, Tensor],
        main: Accumulated,
        results: Sequence[Tensor],
        lead: tuple[Expr, ...],
    ) -> None:
        self.plan = plan
        self.loops = loops
        self.operands = operands
        self.main = main
        self.results = results
        self.lead = lead
        self.functions = Functions()
        self.functions.let = loops.let
        lanes = plan.lanes
        self.wide = -(-plan.keys // lanes) * lanes
        self.deep = -(-plan.out // lanes) * lanes
        self.turned = loops.alloc([plan.features, self.wide], plan.dtype, "turned")
        self._turn()
        self.values = loops.alloc([plan.keys, self.deep], plan.dtype, "values")
        with loops.loop(plan.keys, "m") as m, loops.loop(plan.out, "d") as d:
            loops.store(self.values, self._shared("v", m, d), m, d)
        if self.deep > plan.out:
            with loops.loop(plan.keys, "m") as m, loops.loop(self.deep - plan.out, "d") as d:
                loops.store(self.values, zero(plan.dtype), m, d + plan.out)
        self.scores = loops.alloc([plan.strip, self.wide], plan.dtype, "scores")
        self.sums = loops.alloc([plan.strip], plan.dtype, "sums")

    def _shared(self, slot: str, *at: Expr) -> Expr:
        """An element of the keys or values that this head reads."""
        lead, operand = self.lead, self.operands[slot]
        if self.plan.op.gqa:
            # Keys and values may have numbers of heads of their own.
            group = self.operands["q"].shape[-3] // operand.shape[-3]
            lead = (*lead[:-1], tirx.floordiv(lead[-1], group))
        with emitting(self.loops):
            return _read(operand, (*lead, *at))

    def _turn(self) -> None:
        plan, loops = self.plan, self.loops
        with loops.loop(plan.features, "e") as e:
            with loops.loop(plan.keys, "m") as m:
                loops.store(self.turned, self._shared("k", m, e), e, m)
            if self.wide > plan.keys:
                with loops.loop(self.wide - plan.keys, "m") as m:
                    loops.store(self.turned, zero(plan.dtype), e, m + plan.keys)

    def strip(self, number: Expr) -> None:
        """The results of some rows; the last strip may have fewer."""
        plan = self.plan
        rest = plan.rows % plan.strip
        first = number * plan.strip
        if not rest:
            self._rows(first, plan.strip)
            return
        whole = plan.rows // plan.strip
        if whole:
            with self.loops.when(number < whole):
                self._rows(first, plan.strip)
        with self.loops.when(number >= whole):
            self._rows(index_const(whole * plan.strip), rest)

    def _rows(self, first: Expr, rows: int) -> None:
        self._score(first, rows)
        self._softmax(rows)
        self._combine(first, rows)

    def _score(self, first: Expr, rows: int) -> None:
        plan, lanes = self.plan, self.plan.lanes
        scale = plan.features**-0.5 if plan.op.scale is None else float(plan.op.scale)

        def query(row: Expr, e: Expr) -> Expr:
            with emitting(self.loops):
                return _read(self.operands["q"], (*self.lead, first + row, e))

        def keep(row: Expr, vector: Expr, lane: Expr, value: Expr) -> None:
            key = vector * lanes + lane
            place = row, key
            value = value * tirx.const(scale, plan.dtype)
            if plan.op.causal:
                value = tirx.Select(key <= first + row, value, self._never())
            mask = self.operands.get("mask")
            if mask is not None:
                # What stands for no key is masked below, whatever is read for it.
                bounded = tirx.min(key, plan.keys - 1) if self.wide > plan.keys else key
                with emitting(self.loops):
                    own = _read(mask, (*self.lead, first + row, bounded))
                value = (
                    tirx.Select(own, value, self._never()) if plan.boolean else value + own.astype(plan.dtype)
                )
            self.loops.store(self.scores, value, *place)

        self._product(rows, self.wide // lanes, plan.features, query, self.turned, keep)
        if self.wide > plan.keys:
            with self.loops.loop(rows, "n") as row, self.loops.loop(self.wide - plan.keys, "m") as m:
                self.loops.store(self.scores, self._never(), row, m + plan.keys)

    def _never(self) -> Expr:
        return -tirx.infinity(self.plan.dtype)

    def _softmax(self, rows: int) -> None:
        """Powers in place of scores, and the sums of the rows."""
        plan, loops, lanes = self.plan, self.loops, self.plan.lanes
        with loops.loop(rows, "n") as row:
            cells = loops.alloc([lanes], plan.dtype, "cells", "local")

            def each(function: Any) -> None:
                with loops.loop(lanes, "lane", "vectorized") as lane:
                    function([lane])

            def fold(start: Expr, take: Any, long: bool = False) -> None:
                each(lambda at: loops.store(cells, start, *at))
                cut = cut_of([self.wide // lanes]) if long else None
                cascade = None if cut is None else Cascade(loops, cells, each, cut)
                with (
                    turn(loops, self.wide // lanes, cascade, "r") as part,
                    loops.loop(lanes, "lane", "vectorized") as lane,
                ):
                    take(part * lanes + lane, lane)
                if cascade is not None:
                    cascade.total()

            def largest(at: Expr, lane: Expr) -> None:
                value, best = self.scores[row, at], tirx.BufferLoad(cells, [lane])
                loops.store(cells, tirx.Select(value > best, value, best), lane)

            fold(self._never(), largest)
            top = loops.alloc([1], plan.dtype, "top", "local")
            loops.store(top, tirx.BufferLoad(cells, [index_const(0)]), index_const(0))
            with loops.loop(lanes - 1, "lane") as lane:
                here, best = (
                    tirx.BufferLoad(cells, [lane + 1]),
                    tirx.BufferLoad(top, [index_const(0)]),
                )
                loops.store(top, tirx.Select(here > best, here, best), index_const(0))
            found = tirx.BufferLoad(top, [index_const(0)])
            # Where all is masked nothing is subtracted: the powers are zero, and so is the result.
            if plan.op.empty == "zero":
                found = tirx.Select(found == self._never(), zero(plan.dtype), found)
            most = loops.let(found, "most")

            def raise_(at: Expr, lane: Expr) -> None:
                power = loops.let(self.functions.exp(self.scores[row, at] - most), "power")
                loops.store(self.scores, power, row, at)
                loops.store(cells, tirx.BufferLoad(cells, [lane]) + power, lane)

            fold(zero(plan.dtype), raise_, long=True)
            loops.store(self.sums, zero(plan.dtype), row)
            with loops.loop(lanes, "lane") as lane:
                loops.store(
                    self.sums, tirx.BufferLoad(self.sums, [row]) + tirx.BufferLoad(cells, [lane]), row
                )
            total = tirx.BufferLoad(self.sums, [row])
            one = tirx.const(1.0, plan.dtype)
            loops.store(self.sums, tirx.Select(total == zero(plan.dtype), one, one / total), row)

    def _combine(self, first: Expr, rows: int) -> None:
        plan, lanes = self.plan, self.plan.lanes

        def power(row: Expr, key: Expr) -> Expr:
            return self.scores[row, key]

        def keep(row: Expr, vector: Expr, lane: Expr, value: Expr) -> None:
            index = (*self.lead, first + row, vector * lanes + lane)
            element = value * tirx.BufferLoad(self.sums, [row])
            finish(self.loops, self.main, self.results, index, element)

        self._product(rows, self.deep // lanes, plan.keys, power, self.values, keep, plan.out)

    def _product(
        self, rows: int, vectors: int, depth: int, left: Any, right: Any, keep: Any, valid: int | None = None
    ) -> None:
        """Rows by vectors of sums over `depth`, in tiles that registers hold; `keep` takes their vectors."""
        plan, loops, lanes = self.plan, self.loops, self.plan.lanes
        pixels, blocks = tile_of(rows, vectors, plan.registers, rows)
        valid = vectors * lanes if valid is None else valid

        def tile(row: Expr, count: int, vector: Expr, width: int, end: int) -> None:
            cells = loops.alloc([count * width * lanes], plan.dtype, "cells", "local")

            def each(function: Any) -> None:
                with loops.loop(lanes, "lane", "vectorized") as lane:
                    for cell in range(count * width):
                        function([cell * lanes + lane])

            each(lambda at: loops.store(cells, zero(plan.dtype), *at))
            cut = cut_of([depth], LONG, PANEL)
            cascade = None if cut is None else Cascade(loops, cells, each, cut)
            with turn(loops, depth, cascade, "e") as e, loops.loop(lanes, "lane", "vectorized") as lane:
                for pixel in range(count):
                    value = left(row + pixel, e)
                    for block in range(width):
                        cell = (pixel * width + block) * lanes + lane
                        weight = tirx.BufferLoad(right, [e, (vector + block) * lanes + lane])
                        loops.store(cells, tirx.BufferLoad(cells, [cell]) + value * weight, cell)
            if cascade is not None:
                cascade.total()
            for pixel in range(count):
                for block in range(width):
                    there = min(lanes, end - block * lanes)
                    if there <= 0:
                        continue
                    with loops.loop(there, "lane", "vectorized") as lane:
                        cell = (pixel * width + block) * lanes + lane
                        keep(row + pixel, vector + block, lane, tirx.BufferLoad(cells, [cell]))

        def columns(row: Expr, count: int) -> None:
            whole = valid // (blocks * lanes)
            if whole:
                with loops.loop(whole, "c") as column:
                    tile(row, count, column * blocks, blocks, blocks * lanes)
            if vectors > whole * blocks:
                start = index_const(whole * blocks)
                tile(row, count, start, vectors - whole * blocks, valid - whole * blocks * lanes)

        if rows // pixels:
            with loops.loop(rows // pixels, "t") as number:
                columns(number * pixels, pixels)
        if rows % pixels:
            columns(index_const(rows - rows % pixels), rows % pixels)


def _read(x: Tensor, index: Sequence[Expr]) -> Expr:
    """An operand at the index of a result that it is broadcast to."""
    last = index[len(index) - x.rank :]
    ones = [isinstance(size, int) and size == 1 for size in x.shape]
    return x[tuple(0 if one else i for one, i in zip(ones, last, strict=True))]


def _split(flat: Expr, extents: Sequence[Any]) -> list[Expr]:
    found: list[Expr] = []
    for extent in reversed(extents[1:]):
        found.append(tirx.floormod(flat, extent))
        flat = tirx.floordiv(flat, extent)
    return [flat, *reversed(found)] if extents else []


def fit(node: Node, layouts: Mapping[str, Layout], machine: Cpu, dtype: str) -> Any:
    """The template for a node, or None where it is another operator or sizes are not known."""
    if node.op.name != "scaled_dot_product_attention" or dtype not in ("float32", "float64"):
        return None
    result = node.results[0].shape
    for value in (*node.inputs, node.results[0]):
        if not all(isinstance(size, int) and size > 0 for size in value.shape[1:]):
            return None
    if len(result) < 3 and not all(isinstance(size, int) for size in result):
        return None
    for value in node.inputs[:3]:
        if not all(isinstance(size, int) for size in value.shape[-2:]):
            return None
    return Attention(node, machine, dtype)
