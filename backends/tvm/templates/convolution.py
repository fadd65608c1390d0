"""Direct convolution: channels in the lanes of registers, pixels of a row in as many registers as there are.

A tile is `pixels` neighbouring results of a row by `blocks` vectors of output channels, all kept in registers
while the kernel's taps and the input channels go by: each step multiplies a vector of packed weights with one
input element, broadcast. Columns where the window leaves the input are known when the tile is written, so
that padding costs nothing; rows are skipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from ....compiler.graph import Node
from ..expressions import emitting
from ..layouts import PLAIN, Layout
from ..loops import Expr, Loops
from ..machine import Machine
from ..packing import Packing
from ..tensors import Tensor
from .base import Accumulated, zero


@dataclass(frozen=True)
class Tile:
    """Results of a row, from a first column on, and the columns that the input has before and after."""

    start: int
    pixels: int


class Convolution:
    """A convolution of one group in one or two axes whose sizes, but for the batch, are known."""

    def __init__(self, node: Node, source: Layout, machine: Machine, dtype: str) -> None:
        x, weight = node.inputs[0].shape, node.inputs[1].shape
        stride, dilation, pads = node.op.window(x[2:], weight[2:])  # pyright: ignore[reportAttributeAccessIssue]
        flat = len(x) == 3
        self.flat = flat
        self.channels, self.out = int(x[1]), int(weight[0])
        self.height, self.width = (1, int(x[2])) if flat else (int(x[2]), int(x[3]))
        result = node.results[0].shape
        self.rows, self.columns = (1, int(result[2])) if flat else (int(result[2]), int(result[3]))
        one: Any = (1,) if flat else ()
        self.kernel = (*one, *(int(k) for k in weight[2:]))
        self.stride = (*one, *(int(s) for s in stride))
        self.dilation = (*one, *(int(d) for d in dilation))
        self.pads = ((0, 0), *pads) if flat else tuple(pads)
        self.dtype = dtype
        self.lanes = machine.lanes(dtype)
        # One tap without padding: neighbours in memory need no row to be neighbours.
        self.pointwise = self.kernel == (1, 1) and self.stride == (1, 1) and not any(map(any, self.pads))
        if self.pointwise:
            self.run, self.turns = self.rows * self.columns, 1
        else:
            self.run, self.turns = self.columns, self.rows
        vectors = -(-self.out // self.lanes)
        self.pixels, self.blocks = _tile(self.run, vectors, machine.registers)
        self.groups = -(-vectors // self.blocks)
        self.source = source
        wide = self.blocks * self.lanes
        parts = -(-self.channels // self.lanes)
        kh, kw = self.kernel
        weight_rank = () if flat else (kh,)
        padded = (self.groups * wide, parts * self.lanes, *weight_rank, kw)
        self.packings: dict[str, Packing] = {
            "weight": Packing(padded, (self.groups, wide, parts, self.lanes, kh, kw), (0, 2, 4, 5, 3, 1))
        }
        if "bias" in node.slots:
            self.packings["bias"] = Packing((self.groups * wide,), (self.groups, wide), (0, 1))
        single = self.rows * self.columns == 1
        self.layout = PLAIN if single else Layout(1, self.lanes)

    def emit(
        self,
        loops: Loops,
        operands: Mapping[str, Tensor],
        main: Accumulated,
        results: Sequence[Tensor],
        machine: Machine,
    ) -> None:
        """Loops over samples, vectors of output channels and rows on all threads, and tiles within."""
        x, weight, bias = operands["x"], operands["weight"], operands.get("bias")
        work = _Work(self, loops, x, weight, bias, main, results)
        batch = x.shape[0]
        tiles = _tiles(self.run, self.pixels)
        if self.pointwise:
            # Tiles are turns of the outer loop: there is one long row.
            turns, each = len(tiles), None
        else:
            turns, each = self.turns, tiles
        whole = self.out // (self.blocks * self.lanes)
        for first, count in ((0, whole), (whole, self.groups - whole)):
            if not count:
                continue
            left = min(self.blocks * self.lanes, self.out - first * self.blocks * self.lanes)
            total = batch * count * turns
            kind = "parallel" if not isinstance(total, int) or total > 1 else "serial"
            with loops.loop(total, "o", kind) as outer:
                turn = loops.let(tirx.floormod(outer, turns), "turn")
                group = loops.let(tirx.floormod(tirx.floordiv(outer, turns), count) + first, "group")
                sample = loops.let(tirx.floordiv(outer, turns * count), "sample")
                if each is not None:
                    work.row(sample, group, turn, each, left)
                else:
                    work.part(sample, group, turn, tiles, left)


class _Work:
    def __init__(
        self,
        shape: Convolution,
        loops: Loops,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        main: Accumulated,
        results: Sequence[Tensor],
    ) -> None:
        self.shape = shape
        self.loops = loops
        self.x = x
        self.weight = weight
        self.bias = bias
        self.main = main
        self.results = results

    def part(self, sample: Expr, group: Expr, turn: Expr, tiles: Sequence[Tile], left: int) -> None:
        """The tile of that number in the one row of a pointwise convolution."""
        full = [tile for tile in tiles if tile.pixels == tiles[0].pixels]
        rest = tiles[len(full) :]
        if not rest:
            self.tile(sample, group, tirx.const(0, "int32"), turn * tiles[0].pixels, tiles[0], left)
            return
        with self.loops.when(turn < len(full)):
            self.tile(sample, group, tirx.const(0, "int32"), turn * tiles[0].pixels, tiles[0], left)
        with self.loops.when(turn >= len(full)):
            start = tirx.const(rest[0].start, "int32")
            self.tile(sample, group, tirx.const(0, "int32"), start, rest[0], left)

    def row(self, sample: Expr, group: Expr, row: Expr, tiles: Sequence[Tile], left: int) -> None:
        """A row's tiles: those at its ends, where the window may leave the input, and a loop between."""
        inner = [tile for tile in tiles if self._inside(tile) and tile.pixels == tiles[0].pixels]
        for tile in tiles:
            if tile not in inner:
                self.tile(sample, group, row, tirx.const(tile.start, "int32"), tile, left)
        if inner:
            with self.loops.loop(len(inner), "tile") as number:
                start = inner[0].start + number * inner[0].pixels
                self.tile(sample, group, row, start, Tile(-1, inner[0].pixels), left)

    def _inside(self, tile: Tile) -> bool:
        shape = self.shape
        first = tile.start * shape.stride[1] - shape.pads[1][0]
        last = (tile.start + tile.pixels - 1) * shape.stride[1] - shape.pads[1][0]
        return first >= 0 and last + (shape.kernel[1] - 1) * shape.dilation[1] < shape.width

    def tile(self, sample: Expr, group: Expr, row: Expr, start: Expr, tile: Tile, left: int) -> None:
        """One tile. `tile.start` is its first column where that is known, else -1: then it lies inside."""
        shape, loops = self.shape, self.loops
        lanes = shape.lanes
        blocks = -(-left // lanes)
        count = tile.pixels * blocks
        cells = loops.alloc([count * lanes], shape.dtype, "cells", "local")

        def place(pixel: int, block: int, lane: Expr) -> Expr:
            return (pixel * blocks + block) * lanes + lane

        with loops.loop(lanes, "lane", "vectorized") as lane:
            for block in range(blocks):
                bias = zero(shape.dtype) if self.bias is None else self.bias[group, block * lanes + lane]
                for pixel in range(tile.pixels):
                    loops.store(cells, bias, place(pixel, block, lane))
        parts, rest = divmod(shape.channels, lanes)
        if parts:
            with loops.loop(parts, "part") as part:
                self._taps(cells, place, sample, group, row, start, tile, blocks, part, lanes)
        if rest:
            part = tirx.const(parts, "int32")
            self._taps(cells, place, sample, group, row, start, tile, blocks, part, rest)
        self._finish(cells, place, sample, group, row, start, tile, left)

    def _taps(
        self,
        cells: Any,
        place: Any,
        sample: Expr,
        group: Expr,
        row: Expr,
        start: Expr,
        tile: Tile,
        blocks: int,
        part: Expr,
        channels: int,
    ) -> None:
        shape, loops = self.shape, self.loops
        kh, kw = shape.kernel
        above, below = shape.pads[0]
        with loops.loop(kh, "kh") as y:
            line = row * shape.stride[0] + y * shape.dilation[0] - above
            guard: AbstractContextManager[None] = nullcontext()
            if above or below:
                line = loops.let(line, "line")
                guard = loops.when(tirx.And(line >= 0, line < shape.height))
            with guard:
                if tile.start < 0 or shape.pointwise or self._inside(tile):
                    with loops.loop(kw, "kw") as column:
                        pixels = range(tile.pixels)
                        self._step(
                            cells,
                            place,
                            sample,
                            group,
                            line,
                            start,
                            y,
                            column,
                            pixels,
                            blocks,
                            part,
                            channels,
                        )
                    return
                for number in range(kw):
                    pixels = [
                        p
                        for p in range(tile.pixels)
                        if 0 <= self._column(tile.start + p, number) < shape.width
                    ]
                    if pixels:
                        column = tirx.const(number, "int32")
                        self._step(
                            cells,
                            place,
                            sample,
                            group,
                            line,
                            start,
                            y,
                            column,
                            pixels,
                            blocks,
                            part,
                            channels,
                        )

    def _column(self, column: Any, tap: Any) -> Any:
        shape = self.shape
        return column * shape.stride[1] + tap * shape.dilation[1] - shape.pads[1][0]

    def _step(
        self,
        cells: Any,
        place: Any,
        sample: Expr,
        group: Expr,
        line: Expr,
        start: Expr,
        y: Expr,
        column: Expr,
        pixels: Sequence[int],
        blocks: int,
        part: Expr,
        channels: int,
    ) -> None:
        shape, loops, lanes = self.shape, self.loops, self.shape.lanes
        with loops.loop(channels, "channel") as channel, loops.loop(lanes, "lane", "vectorized") as lane:
            for block in range(blocks):
                weight = self.weight[group, part, y, column, channel, block * lanes + lane]
                for pixel in pixels:
                    if shape.pointwise:
                        at = start + pixel
                        spot = (tirx.floordiv(at, shape.columns), tirx.floormod(at, shape.columns))
                    else:
                        spot = (line, self._column(start + pixel, column))
                    index = (sample, part * lanes + channel, *(spot[1:] if shape.flat else spot))
                    cell = place(pixel, block, lane)
                    value = tirx.BufferLoad(cells, [cell]) + self.x[index] * weight
                    loops.store(cells, value, cell)

    def _finish(
        self, cells: Any, place: Any, sample: Expr, group: Expr, row: Expr, start: Expr, tile: Tile, left: int
    ) -> None:
        """Work out the rest of the group for the tile's elements, and store."""
        shape, loops, lanes = self.shape, self.loops, self.shape.lanes
        wide = shape.blocks * lanes
        for block in range(-(-left // lanes)):
            valid = min(lanes, left - block * lanes)
            for pixel in range(tile.pixels):
                with loops.loop(valid, "lane", "vectorized") as lane:
                    if shape.pointwise:
                        at = start + pixel
                        spot = (tirx.floordiv(at, shape.columns), tirx.floormod(at, shape.columns))
                    else:
                        spot = (row, start + pixel)
                    index = (sample, group * wide + block * lanes + lane, *(spot[1:] if shape.flat else spot))
                    cell = place(pixel, block, lane)
                    self.main.element = lambda _, cell=cell: tirx.BufferLoad(cells, [cell])
                    with emitting(loops):
                        values = [result.at(index) for result in self.results]
                        for result, value in zip(self.results, values, strict=True):
                            loops.store(result.buffer, value, *result.place(index))
        self.main.element = None


def _tile(run: int, vectors: int, registers: int) -> tuple[int, int]:
    """Pixels and vectors of channels that are in registers at once.

    Weights are read once for all pixels, input elements once for all vectors; two registers are left for
    them. Few tiles and no small rest come first, then many results for each read.
    """
    room = registers - 3
    best: tuple[float, int, int] | None = None
    for blocks in range(1, min(vectors, 4) + 1):
        most = room // blocks
        if not most:
            continue
        tiles = -(-run // most)
        pixels = -(-run // tiles)
        # Registers that work in the tiles of a row, on average; below 8 the adder waits for itself.
        used = run / tiles * blocks * vectors / (-(-vectors // blocks) * blocks)
        reads = 1 / pixels + 1 / blocks
        cost = max(8.0 / used, 1.0) + 0.3 * reads + 0.01 * (pixels * tiles - run)
        if best is None or cost < best[0]:
            best = cost, pixels, blocks
    assert best is not None
    return best[1], best[2]


def _tiles(run: int, pixels: int) -> list[Tile]:
    return [Tile(start, min(pixels, run - start)) for start in range(0, run, pixels)]


def fit(node: Node, layouts: Mapping[str, Layout], machine: Machine, dtype: str) -> Convolution | None:
    """The template for a node, or None where it is another operator or another kind of convolution."""
    if node.op.name != "conv_with" or dtype not in ("float32", "float64"):
        return None
    x, weight = node.inputs[0].shape, node.inputs[1].shape
    known = all(isinstance(size, int) for size in (*x[1:], *weight))
    if not known or len(x) not in (3, 4) or len(weight) != len(x):
        return None
    if getattr(node.op, "groups") != 1 or node.inputs[0] is node.inputs[1]:  # noqa: B009
        return None
    return Convolution(node, layouts.get("x", PLAIN), machine, dtype)
