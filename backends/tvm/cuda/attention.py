"""Attention without the matrix of scores: blocks of query rows go over the keys part by part.

Each row keeps the largest score so far, the sum of the powers and the weighted sum of the values, which are
scaled down when a larger score comes (arXiv:2205.14135, algorithm 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tvm import tirx

from ....compiler.dtypes import BOOL
from ....compiler.graph.graph import Node
from ..cpu.templates.base import Accumulated, finish
from ..runtime.packing import Packing
from ..tensor_ir.access import over, product_of
from ..tensor_ir.expressions import emitting
from ..tensor_ir.indices import index_const
from ..tensor_ir.layouts import PLAIN
from ..tensor_ir.loops import Expr, type_of
from ..tensor_ir.math.elementary import Functions
from ..tensor_ir.tensors import Tensor
from .elements import split
from .launches import LaunchSequence, Thread

_ROWS = 32
"""Query rows of a block."""
_KEYS = 32
"""Keys of a part."""
_THREADS = 128
_PART = 32
"""Features that are loaded at once."""
_MOST = 128
"""Features of a value at most: a thread has a share of a row's in registers."""
_CARRIED = 32
"""Parts whose sums are added up apart, where there are more or it is not known how many there are."""
_SHARE = _THREADS // _ROWS
"""Threads of a row."""


class Attention:
    """softmax(q k^T * scale + mask) v; the sizes of heads are known, and all others may be free."""

    layout = PLAIN
    packings: Mapping[str, Packing] = {}

    def __init__(self, node: Node, dtype: str) -> None:
        given = dict(zip(node.slots, node.inputs, strict=True))
        self.op: Any = node.op
        self.dtype = dtype
        self.kind = "float64" if dtype == "float64" else "float32"
        self.features = int(given["q"].shape[-1])  # pyright: ignore[reportArgumentType]
        self.out = int(given["v"].shape[-1])  # pyright: ignore[reportArgumentType]
        self.boolean = "mask" in given and given["mask"].type.dtype == BOOL

    def launch(
        self,
        work: LaunchSequence,
        operands: Mapping[str, Tensor],
        main: Accumulated,
        results: Sequence[Tensor],
    ) -> None:
        """A block for each head and part of its query rows."""
        lead, rows = main.shape[:-2], main.shape[-2]
        # One part of no rows is none of the blocks' where nothing is launched, and can be divided by.
        parts = over(rows, _ROWS) if rows != 0 else 1
        with work.launch(product_of([*lead, parts]), _THREADS) as thread:
            known = isinstance(parts, int)
            block = thread.block if known else thread.block.astype("int64")
            first = thread.let(tirx.floormod(block, parts) * _ROWS, "first")
            index = split(thread, tirx.floordiv(block, parts), lead)
            _Block(self, thread, operands, main, results, tuple(index), first).run()


class _Block:
    def __init__(
        self,
        plan: Attention,
        thread: Thread,
        operands: Mapping[str, Tensor],
        main: Accumulated,
        results: Sequence[Tensor],
        lead: tuple[Expr, ...],
        first: Expr,
    ) -> None:
        self.plan = plan
        self.thread = thread
        self.operands = operands
        self.main = main
        self.results = results
        self.lead = lead
        self.first = first
        self.rows = main.shape[-2]
        self.keys = operands["k"].shape[-2]
        self.functions = Functions()
        self.functions.let = thread.let
        self.zero = tirx.const(0.0, plan.kind)
        self.never = -tirx.infinity(plan.kind)
        # A thread works on one row, with those beside it; it has every `_SHARE`th key and feature.
        self.row = thread.let(tirx.floordiv(thread.number, _SHARE), "row")
        self.share = thread.let(tirx.floormod(thread.number, _SHARE), "share")
        self.own = over(plan.out, _SHARE)
        # Where keys are many, sums and features have another place each, which they are carried to.
        short = isinstance(self.keys, int) and self.keys <= _CARRIED * _KEYS
        self.places = 1 if short else 2

    def run(self) -> None:
        """Part by part, then the results."""
        plan, thread, kind = self.plan, self.thread, self.plan.kind
        self.sums = thread.alloc([self.places * self.own], kind, "sums", "local")
        # The largest score, the sums of the powers.
        self.state = thread.alloc([1 + self.places], kind, "state", "local")
        self.scores = thread.shared([_ROWS, _KEYS + 1], kind, "scores")
        self.queries = thread.shared([_ROWS, _PART + 1], kind, "queries")
        self.part = thread.shared([_KEYS, max(_PART, 1) + 1], kind, "part")
        with thread.loop(self.places * self.own, "d", "unrolled") as d:
            thread.store(self.sums, self.zero, d)
        thread.store(self.state, self.never, 0)
        for place in range(self.places):
            thread.store(self.state, self.zero, 1 + place)
        count: Any = over(self.keys, _KEYS)
        if plan.op.causal:
            # Later keys are for none of the rows.
            needed = over(self.first + _ROWS, _KEYS)
            kinds = str(needed.ty.dtype)
            bound = tirx.const(count, kinds) if isinstance(count, int) else count.astype(kinds)
            count = thread.let(tirx.min(bound, needed), "parts")
        with thread.loop(count, "part") as part:
            start = thread.let(part * _KEYS, "start")
            self._score(start)
            self._soften()
            self._add(start)
            if self.places > 1:
                passed = tirx.truncmod(part + 1, _CARRIED)
                with thread.when(tirx.EQ(passed, tirx.const(0, type_of(passed)))):
                    self._carry()
        if self.places > 1:
            self._carry()
        self._finish()

    def _carry(self) -> None:
        """Add what some parts gave to what those before did."""
        thread = self.thread
        thread.store(self.state, self.state[2] + self.state[1], 2)
        thread.store(self.state, self.zero, 1)
        with thread.loop(self.own, "d", "unrolled") as d:
            thread.store(self.sums, self.sums[d + self.own] + self.sums[d], d + self.own)
            thread.store(self.sums, self.zero, d)

    def _fill(self, buffer: Any, lines: int, width: int, read: Any, inside: Any) -> None:
        """A part of an operand in shared memory, zeros where there is none."""
        thread = self.thread
        thread.wait()
        with thread.loop(over(lines * width, _THREADS), "turn") as turn:
            at = thread.let(turn * _THREADS + thread.number, "at")
            with thread.when(at < lines * width):
                line = thread.let(tirx.floordiv(at, width), "line")
                column = thread.let(tirx.floormod(at, width), "column")
                held = thread.alloc([1], self.plan.kind, "held", "local")
                thread.store(held, self.zero, 0)
                with thread.when(inside(line, column)), emitting(thread):
                    value = read(line, column)
                    if type_of(value) != self.plan.kind:
                        value = value.astype(self.plan.kind)
                    thread.store(held, value, 0)
                thread.store(buffer, held[index_const(0)], line, column)

    def _shared(self, slot: str, *at: Expr) -> Expr:
        """An element of the keys or values that this head reads."""
        lead, operand = self.lead, self.operands[slot]
        if self.plan.op.gqa:
            groups = self.operands["q"].shape[-3] // operand.shape[-3]
            lead = (*lead[:-1], tirx.floordiv(lead[-1], groups))
        return _read(operand, (*lead, *at))

    def _score(self, start: Expr) -> None:
        """The scores of this block's rows and a part of the keys, in shared memory."""
        plan, thread = self.plan, self.thread
        each = _KEYS // _SHARE
        cells = thread.alloc([each], plan.kind, "cells", "local")
        with thread.loop(each, "m", "unrolled") as m:
            thread.store(cells, self.zero, m)
        with thread.loop(over(plan.features, _PART), "f") as step:
            offset = thread.let(step * _PART, "offset")

            def there(position: Expr, total: Any, column: Expr, offset: Expr = offset) -> Expr:
                return tirx.And(_below(position, total), offset + column < plan.features)

            self._fill(
                self.queries,
                _ROWS,
                _PART,
                lambda line, column: _read(
                    self.operands["q"], (*self.lead, _plus(self.first, line), offset + column)
                ),
                lambda line, column: there(_plus(self.first, line), self.rows, column),
            )
            self._fill(
                self.part,
                _KEYS,
                _PART,
                lambda line, column: self._shared("k", _plus(start, line), offset + column),
                lambda line, column: there(_plus(start, line), self.keys, column),
            )
            thread.wait()
            with thread.loop(_PART, "e") as e, thread.loop(each, "m", "unrolled") as m:
                key = m * _SHARE + self.share
                product = tirx.BufferLoad(self.queries, [self.row, e]) * tirx.BufferLoad(self.part, [key, e])
                thread.store(cells, tirx.BufferLoad(cells, [m]) + product, m)
        scale = plan.features**-0.5 if plan.op.scale is None else float(plan.op.scale)
        row = _plus(self.first, self.row)
        with thread.loop(each, "m", "unrolled") as m:
            column = thread.let(m * _SHARE + self.share, "column")
            key = thread.let(_plus(start, column), "key")
            held = thread.alloc([1], plan.kind, "score", "local")
            thread.store(held, self.never, 0)
            inside = tirx.And(_below(row, self.rows), _below(key, self.keys))
            if plan.op.causal:
                inside = tirx.And(inside, key.astype("int64") <= row.astype("int64"))
            with thread.when(inside), emitting(thread):
                value = tirx.BufferLoad(cells, [m]) * tirx.const(scale, plan.kind)
                mask = self.operands.get("mask")
                if mask is not None:
                    own = _read(mask, (*self.lead, row, key))
                    value = (
                        tirx.Select(own, value, self.never) if plan.boolean else value + own.astype(plan.kind)
                    )
                thread.store(held, value, 0)
            thread.store(self.scores, held[index_const(0)], self.row, column)
        thread.wait()

    def _soften(self) -> None:
        """Powers in place of the scores of a row; what was summed before is scaled to the new largest."""
        thread, kind = self.thread, self.plan.kind
        top = thread.alloc([1], kind, "top", "local")
        zero = index_const(0)
        before = thread.let(self.state[zero], "before")
        thread.store(top, before, 0)
        with thread.loop(_KEYS, "m") as m:
            score = self.scores[self.row, m]
            thread.store(top, tirx.Select(score > top[zero], score, top[zero]), 0)
        # Where all is masked nothing is subtracted: the powers are zero.
        most = thread.let(tirx.Select(top[zero] == self.never, self.zero, top[zero]), "most")
        with emitting(thread):
            scale = thread.let(self.functions.exp(before - most), "scale")
        thread.store(self.state, top[zero], 0)
        for place in range(self.places):
            thread.store(self.state, self.state[1 + place] * scale, 1 + place)
        with thread.loop(self.places * self.own, "d", "unrolled") as d:
            thread.store(self.sums, self.sums[d] * scale, d)
        thread.wait()
        each = _KEYS // _SHARE
        with thread.loop(each, "m", "unrolled") as m, emitting(thread):
            column = m * _SHARE + self.share
            power = self.functions.exp(self.scores[self.row, column] - most)
            thread.store(self.scores, power, self.row, column)
        thread.wait()
        part = thread.alloc([1], kind, "part", "local")
        thread.store(part, self.zero, 0)
        with thread.loop(_KEYS, "m") as m:
            thread.store(part, part[zero] + self.scores[self.row, m], 0)
        thread.store(self.state, self.state[1] + part[zero], 1)

    def _add(self, start: Expr) -> None:
        """The values of a part of the keys, weighted; some features at a time."""
        plan, thread = self.plan, self.thread
        share = _PART // _SHARE
        for step in range(over(plan.out, _PART)):
            offset = step * _PART
            self._fill(
                self.part,
                _KEYS,
                _PART,
                lambda line, column, offset=offset: self._shared("v", _plus(start, line), offset + column),
                lambda line, column, offset=offset: tirx.And(
                    _below(_plus(start, line), self.keys), offset + column < plan.out
                ),
            )
            thread.wait()
            mine = min(share, self.own - step * share)
            # Those of a part first: long sums of one number after the other would be less exact.
            held = thread.alloc([mine], plan.kind, "held", "local")
            with thread.loop(mine, "d", "unrolled") as d:
                thread.store(held, self.zero, d)
            with thread.loop(_KEYS, "m") as m, thread.loop(mine, "d", "unrolled") as d:
                product = self.scores[self.row, m] * self.part[m, d * _SHARE + self.share]
                thread.store(held, held[d] + product, d)
            with thread.loop(mine, "d", "unrolled") as d:
                at = d + step * share
                thread.store(self.sums, self.sums[at] + held[d], at)

    def _finish(self) -> None:
        """Divide by the sums, work out the rest of the group, and store."""
        plan, thread = self.plan, self.thread
        total = thread.let(self.state[self.places], "total")
        divisor = total
        if plan.op.empty == "zero":
            divisor = thread.let(
                tirx.Select(total == self.zero, tirx.const(1.0, plan.kind), total), "divisor"
            )
        row = thread.let(_plus(self.first, self.row), "row")
        with thread.loop(self.own, "d", "unrolled") as d:
            column = thread.let(d * _SHARE + self.share, "column")
            with thread.when(tirx.And(_below(row, self.rows), column < plan.out)), emitting(thread):
                value = thread.let(self.sums[d + (self.places - 1) * self.own] / divisor, "value")
                own = value if plan.kind == plan.dtype else value.astype(plan.dtype)
                finish(thread, self.main, self.results, (*self.lead, row, column), own)


def _plus(first: Expr, more: Expr) -> Expr:
    return first + more.astype(first.ty.dtype)


def _below(position: Expr, total: Any) -> Expr:
    if isinstance(total, int):
        return position < tirx.const(total, position.ty.dtype)
    return position.astype("int64") < total


def _read(x: Tensor, index: Sequence[Expr]) -> Expr:
    """An operand at the index of a result that it is broadcast to."""
    last = index[len(index) - x.rank :]
    ones = [isinstance(size, int) and size == 1 for size in x.shape]
    return x[tuple(0 if one else i for one, i in zip(ones, last, strict=True))]


def fit(node: Node, dtype: str) -> Attention | None:
    """Attention for a node, or None where it is another operator or heads are too wide or unknown."""
    if node.op.name != "scaled_dot_product_attention" or "float" not in dtype:
        return None
    given = dict(zip(node.slots, node.inputs, strict=True))
    sizes = given["q"].shape[-1], given["v"].shape[-1]
    if not all(isinstance(size, int) and int(size) > 0 for size in sizes) or int(sizes[1]) > _MOST:  # pyright: ignore[reportArgumentType]
        return None
    return Attention(node, dtype)
