"""Winograd's convolution for 3 x 3 kernels: fewer products, for sums before and after.

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (arXiv 1509.09308). A tile of
m x m results is A^T [(G w G^T) . (B^T d B)] A, where d are (m + 2) x (m + 2) elements of the input and the
product is by element. Summed over the input channels, it is one matrix product for each of the (m + 2)^2
points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tvm import tirx

from .....compiler.devices import Cpu
from .....compiler.graph.graph import Node
from ...runtime.packing import Packing
from ...tensor_ir.indices import index_const
from ...tensor_ir.layouts import Layout
from ...tensor_ir.loops import Buffer, Expr, Loops
from ...tensor_ir.tensors import Tensor
from .axes import groups_of
from .base import Accumulated, finish, zero
from .tiles import LONG
from .winograd_plan import TAPS, Plan, Work, plan
from .winograd_transforms import Transforms


class Winograd:
    """A convolution of 3 x 3 whose sizes, but for the batch, are known; input channels are packed.

    Groups have whole vectors of channels, and whole panels of output channels.
    """

    def __init__(self, node: Node, machine: Cpu, plan: Plan) -> None:
        x, weight, result = node.inputs[0].shape, node.inputs[1].shape, node.results[0].shape
        pads = node.op.window(x[2:], weight[2:])[2]  # pyright: ignore[reportAttributeAccessIssue]
        self.plan, self.transforms = plan, Transforms(plan.outputs)
        self.dtype, self.lanes = "float32", machine.lanes("float32")
        self.before = [int(pad[0]) for pad in pads]
        self.sizes = [int(size) for size in x[2:]]  # pyright: ignore[reportArgumentType]
        self.made = [int(size) for size in result[2:]]  # pyright: ignore[reportArgumentType]
        self.tiles = [-(-size // plan.outputs) for size in self.made]
        self.channels, self.out = int(weight[1]), int(weight[0])  # pyright: ignore[reportArgumentType]
        self.sections = groups_of(node)
        self.given = self.channels * self.sections
        self.parts, self.vectors = -(-self.given // self.lanes), -(-self.out // self.lanes)
        wide = plan.blocks * self.lanes
        self.panels = -(-self.out // wide)
        size, groups = self.transforms.size, -(-self.panels // plan.group)
        padded = (groups * plan.group * wide, self.channels, size, size)
        split = (groups, plan.group, wide, self.channels, size, size)
        # In the order that they are read in.
        self.packings = {"weight": Packing(padded, split, (0, 4, 5, 1, 3, 2), self.transforms.weight)}
        if "bias" in node.slots:
            self.packings["bias"] = Packing((self.vectors * self.lanes,), (self.vectors, self.lanes), (0, 1))
        self.layout = Layout(1, self.lanes)

    def emit(
        self,
        loops: Loops,
        operands: Mapping[str, Tensor],
        main: Accumulated,
        results: Sequence[Tensor],
        machine: Cpu,
    ) -> None:
        """Loops over strips of tiles, which are numbered through the batch."""
        _Writer(self, loops, operands, main, results).write()


class _Strip(NamedTuple):
    """Tiles from `start` on, `count` of them, and their transformed input [point, part and tile, lane]."""

    start: Expr
    count: Any
    made: Buffer


class _Writer:
    """Writes the loops, and what follows in the group."""

    def __init__(
        self,
        winograd: Winograd,
        loops: Loops,
        operands: Mapping[str, Tensor],
        main: Accumulated,
        results: Sequence[Tensor],
    ) -> None:
        self.winograd, self.plan, self.transforms = winograd, winograd.plan, winograd.transforms
        self.loops, self.lanes = loops, winograd.lanes
        self.x, self.weight, self.bias = operands["x"], operands["weight"], operands.get("bias")
        self.main, self.results = main, results
        self.points = self.transforms.size**2

    def write(self) -> None:
        """Strips of tiles: the input's transform, the products, and the results, by groups of channels."""
        winograd, plan, loops = self.winograd, self.plan, self.loops
        vertical, horizontal = winograd.tiles
        total = self.x.shape[0] * (vertical * horizontal)
        known = isinstance(total, int)
        strips = -(-total // plan.strip) if known else tirx.ceildiv(total, plan.strip)
        groups = -(-winograd.panels // plan.group)
        shape = [self.points, _apart(winograd.parts * plan.room), self.lanes]
        with loops.loop(strips, "strip", "serial" if plan.split else "parallel") as number:
            start = loops.let(number * plan.strip, "start")
            count: Any = plan.strip
            if not known or total % plan.strip:
                count = loops.let(tirx.min(total - start, plan.strip), "count")
            strip = _Strip(start, count, loops.alloc(shape, "float32", "transformed"))
            self._transform(strip)
            with loops.loop(groups, "group", "parallel" if plan.split else "serial") as group:
                self._group(strip, group)

    def _place(self, tile: Expr) -> tuple[Expr, Expr, Expr]:
        """The sample that a tile is of, and its first row and column among the results."""
        vertical, horizontal = self.winograd.tiles
        loops, outputs = self.loops, self.plan.outputs
        sample = loops.let(tirx.floordiv(tile, vertical * horizontal), "sample")
        within = loops.let(tirx.floormod(tile, vertical * horizontal), "within")
        row = loops.let(tirx.floordiv(within, horizontal) * outputs, "row")
        return sample, row, loops.let(tirx.floormod(within, horizontal) * outputs, "column")

    def _transform(self, strip: _Strip) -> None:
        """B^T d B of all tiles and input channels of a strip."""
        loops, winograd, plan = self.loops, self.winograd, self.plan
        whole, rest = divmod(winograd.given, self.lanes)
        kind = "parallel" if plan.split else "serial"
        for first, parts, valid in ((0, whole, self.lanes), (whole, 1, rest)):
            if not parts or not valid:
                continue
            with loops.loop(parts * strip.count, "o", kind) as turn:
                part = loops.let(tirx.floordiv(turn, strip.count) + first, "part")
                tile = loops.let(tirx.floormod(turn, strip.count), "tile")
                sample, row, column = self._place(strip.start + tile)
                self._transform_tile(strip, part, tile, (sample, row, column), valid)

    def _transform_tile(
        self, strip: _Strip, part: Expr, tile: Expr, place: tuple[Expr, Expr, Expr], valid: int
    ) -> None:
        loops, winograd, size = self.loops, self.winograd, self.transforms.size
        sample, row, column = place
        top, left = row - winograd.before[0], column - winograd.before[1]
        half = loops.alloc([size, size, self.lanes], "float32", "half", "local")
        with loops.loop(size, "i") as i:
            line = loops.let(top + i, "line")
            inside = tirx.And(line >= 0, line < winograd.sizes[0])
            with loops.when(tirx.Not(inside)), loops.loop(valid, "lane", "vectorized") as lane:
                for j in range(size):
                    loops.store(half, zero("float32"), i, j, lane)
            with loops.when(inside), loops.loop(valid, "lane", "vectorized") as lane:
                given = [loops.let(self._read(sample, part, line, left, j, lane)) for j in range(size)]
                for j, value in enumerate(self.transforms.forward(loops, given)):
                    loops.store(half, value, i, j, lane)
        at = part * self.plan.room + tile
        with loops.loop(size, "j") as j, loops.loop(valid, "lane", "vectorized") as lane:
            given = [loops.let(tirx.BufferLoad(half, [index_const(i), j, lane])) for i in range(size)]
            for i, value in enumerate(self.transforms.forward(loops, given)):
                loops.store(strip.made, value, i * size + j, at, lane)

    def _read(self, sample: Expr, part: Expr, line: Expr, left: Expr, j: int, lane: Expr) -> Expr:
        """An element of a tile's input; columns that no tile has outside of the image need no test."""
        before, size = self.winograd.before[1], self.winograd.sizes[1]
        last = (self.winograd.tiles[1] - 1) * self.plan.outputs - before + j
        column = left + j
        value = self.x[sample, part * self.lanes + lane, line, column]
        tests = [column >= 0] if j < before else []
        if last >= size:
            tests.append(column < size)
        if not tests:
            return value
        return tirx.if_then_else(tests[0] if len(tests) == 1 else tirx.And(*tests), value, zero("float32"))

    def _group(self, strip: _Strip, group: Expr) -> None:
        """The products of a strip with the weights of a group of panels, and the results made of them."""
        loops, winograd, plan = self.loops, self.winograd, self.plan
        first = loops.let(group * plan.group, "first")
        panels: Any = plan.group
        if winograd.panels % plan.group:
            panels = loops.let(tirx.min(winograd.panels - first, plan.group), "panels")
        sums = loops.alloc(
            [self.points, _apart(plan.group * plan.blocks * plan.room), self.lanes], "float32", "sums"
        )
        with loops.loop(self.points, "point") as point, loops.loop(panels, "panel") as panel:
            full = isinstance(strip.count, int)
            turns = plan.room // plan.pixels if full else tirx.ceildiv(strip.count, plan.pixels)
            with loops.loop(turns, "turn") as turn:
                self._multiply(strip, sums, point, (group, panel), turn)
        vectors: Any = panels * plan.blocks
        # The last vector of channels may not be full, and the last panel not have all vectors.
        whole = winograd.out // self.lanes
        exact = winograd.out % (plan.blocks * self.lanes) == 0
        if not exact:
            vectors = loops.let(tirx.max(tirx.min(whole - first * plan.blocks, vectors), 0), "vectors")
        with loops.loop(strip.count, "tile") as tile:
            place = self._place(strip.start + tile)
            with loops.loop(vectors, "vector") as vector:
                self._finish(sums, first * plan.blocks + vector, vector * plan.room + tile, place, self.lanes)
            rest = winograd.out % self.lanes
            if rest:
                last = whole - first * plan.blocks
                with loops.when(tirx.And(last >= 0, last < panels * plan.blocks)):
                    self._finish(sums, index_const(whole), last * plan.room + tile, place, rest)

    def _multiply(
        self, strip: _Strip, sums: Buffer, point: Expr, place: tuple[Expr, Expr], turn: Expr
    ) -> None:
        """Sums over the input channels, in registers."""
        loops, plan, lanes = self.loops, self.plan, self.lanes
        size = self.transforms.size
        group, number = place
        panel = group, tirx.floordiv(point, size), tirx.floormod(point, size), number
        start = turn * plan.pixels
        before = self._before(group * plan.group + number)
        cells = loops.alloc([plan.pixels * plan.blocks * lanes], "float32", "cells", "local")
        with loops.loop(lanes, "lane", "vectorized") as lane:
            for cell in range(plan.pixels * plan.blocks):
                loops.store(cells, zero("float32"), cell * lanes + lane)

        def channels(part: Expr, count: int) -> None:
            with loops.loop(count, "channel") as channel:
                self._fetch(panel, turn, part * lanes + channel)
                with loops.loop(lanes, "lane", "vectorized") as lane:
                    for pixel in range(plan.pixels):
                        at = (before + part) * plan.room + start + pixel
                        value = tirx.BufferLoad(strip.made, [point, at, channel])
                        for block in range(plan.blocks):
                            weight = self.weight[*panel, part * lanes + channel, block * lanes + lane]
                            cell = (pixel * plan.blocks + block) * lanes + lane
                            loops.store(cells, tirx.BufferLoad(cells, [cell]) + value * weight, cell)

        parts, rest = divmod(self.winograd.channels, lanes)
        if parts:
            with loops.loop(parts, "part") as part:
                channels(part, lanes)
        if rest:
            channels(index_const(parts), rest)
        with loops.loop(lanes, "lane", "vectorized") as lane:
            for pixel in range(plan.pixels):
                for block in range(plan.blocks):
                    value = tirx.BufferLoad(cells, [(pixel * plan.blocks + block) * lanes + lane])
                    loops.store(
                        sums, value, point, (number * plan.blocks + block) * plan.room + start + pixel, lane
                    )

    def _before(self, panel: Expr) -> Expr:
        """The vectors of input channels that are before those of a panel's section."""
        winograd = self.winograd
        if winograd.sections == 1:
            return index_const(0)
        section = tirx.floordiv(panel, winograd.panels // winograd.sections)
        return self.loops.let(section * (winograd.channels // self.lanes), "before")

    def _fetch(self, panel: tuple[Expr, ...], turn: Expr, channel: Expr) -> None:
        """Ask for the next panel of weights, in equal parts while this one is used; few turns wait for it."""
        loops, plan, channels = self.loops, self.plan, self.winograd.channels
        turns = -(-plan.strip // plan.pixels)
        if turns > plan.blocks:
            return
        weight: Any = self.weight.buffer
        lines = -(-plan.blocks // turns)
        for each in range(lines):
            line = (turn * channels + channel) * lines + each
            place = tirx.floordiv(line, plan.blocks), tirx.floormod(line, plan.blocks) * self.lanes
            # What is after the last panel of a point is the next point's first.
            first = tirx.BufferLoad(weight, [*panel[:-1], panel[-1] + 1, *place])
            address = tirx.call_intrin(weight.data.ty, "tirx.address_of", first)
            how = [tirx.const(value, "int32") for value in (0, 2, 1)]  # to read; into the second cache; data
            loops.emit(tirx.Evaluate(tirx.call_llvm_intrin("void", "llvm.prefetch", address, *how)))

    def _finish(
        self, sums: Buffer, vector: Expr, at: Expr, place: tuple[Expr, Expr, Expr], valid: int
    ) -> None:
        """A^T m A of a tile, the rest of the group for its elements, and stores."""
        loops, winograd, lanes = self.loops, self.winograd, self.lanes
        size, outputs = self.transforms.size, self.plan.outputs
        sample, row, column = place
        half = loops.alloc([size, outputs, lanes], "float32", "half", "local")
        with loops.loop(size, "i") as i, loops.loop(lanes, "lane", "vectorized") as lane:
            given = [loops.let(tirx.BufferLoad(sums, [i * size + j, at, lane])) for j in range(size)]
            for j, value in enumerate(self.transforms.backward(loops, given)):
                loops.store(half, value, i, j, lane)
        cells = loops.alloc([outputs, lanes], "float32", "cells", "local")
        columns: Any = outputs
        if winograd.made[1] % outputs:
            columns = tirx.min(winograd.made[1] - column, outputs)
        rows: Any = outputs
        if winograd.made[0] % outputs:
            rows = loops.let(tirx.min(winograd.made[0] - row, outputs), "rows")
        with loops.loop(columns, "j") as j:
            with loops.loop(lanes, "lane", "vectorized") as lane:
                given = [loops.let(tirx.BufferLoad(half, [index_const(i), j, lane])) for i in range(size)]
                for i, value in enumerate(self.transforms.backward(loops, given)):
                    bias = zero("float32") if self.bias is None else self.bias[vector, lane]
                    loops.store(cells, value + bias, i, lane)
            with loops.loop(rows, "i") as i, loops.loop(valid, "lane", "vectorized") as lane:
                index = (sample, vector * lanes + lane, row + i, column + j)
                finish(loops, self.main, self.results, index, tirx.BufferLoad(cells, [i, lane]))


def _apart(vectors: int) -> int:
    """An odd number of vectors, so that what is apart by so many shares no set of the cache."""
    return vectors | 1


def fit(node: Node, layouts: Mapping[str, Layout], machine: Cpu, dtype: str) -> Any:
    """The template for a node, or None where it is another operator or would be slower than directly."""
    if node.op.name != "conv_with" or dtype != "float32":
        return None
    x, weight, result = node.inputs[0].shape, node.inputs[1].shape, node.results[0].shape
    if len(x) != 4 or not all(isinstance(size, int) for size in (*x[1:], *weight)):
        return None
    stride, dilation, _ = node.op.window(x[2:], weight[2:])  # pyright: ignore[reportAttributeAccessIssue]
    plain = tuple(weight[2:]) == (TAPS, TAPS) and all(each == 1 for each in (*stride, *dilation))
    plain = plain and node.inputs[0] is not node.inputs[1]
    lanes, sections = machine.lanes(dtype), groups_of(node)
    channels, out = int(weight[1]), int(weight[0])  # pyright: ignore[reportArgumentType]
    if not plain or layouts.get("x") != Layout(1, lanes):
        return None
    if channels > LONG or (sections > 1 and (channels % lanes or out // sections % lanes)):
        return None
    batch = x[0] if isinstance(x[0], int) else 1
    made = int(result[2]), int(result[3])  # pyright: ignore[reportArgumentType]
    chosen = plan(Work(batch, made, channels, out, machine, sections))
    return None if chosen is None else Winograd(node, machine, chosen)
