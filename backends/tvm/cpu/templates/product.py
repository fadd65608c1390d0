"""Sums of products in registers: vectors of output channels by pixels.

A tile is `pixels` neighbouring results by `blocks` vectors of output channels, all kept in registers while
taps and input channels go by: each step multiplies a vector of packed weights with one input element,
broadcast. Columns where the window leaves the input are known when the tile is written, so that padding
costs nothing; rows are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import groupby
from math import gcd
from typing import Any

from tvm import tirx

from ...tensor_ir.cascade import Cascade, cut_of, turn
from ...tensor_ir.expressions import emitting
from ...tensor_ir.indices import index_const, index_type
from ...tensor_ir.loops import Expr, Loops
from ...tensor_ir.tensors import Access, Tensor, watch
from .base import Accumulated, elements, finish, zero
from .tiles import ANYWHERE, INSIDE, LONG, PANEL, WRITTEN, Product, Spot, Taps, Tile

Read = Callable[[int, Any, Expr], Expr]
"""An element of the input, by pixel of a tile, tap of a row and channel of a part."""


class Writer:
    """Writes the loops of a product, and what follows in the group."""

    def __init__(
        self,
        product: Product,
        loops: Loops,
        weight: Tensor,
        bias: Tensor | None,
        main: Accumulated,
        results: Sequence[Tensor],
    ) -> None:
        self.product = product
        self.loops = loops
        self.weight = weight
        self.bias = bias
        self.main = main
        self.results = results
        self.cascade: Cascade | None = None

    def write(self) -> None:
        """Loops over samples, groups of output channels and rows on all threads, and tiles within."""
        product, loops = self.product, self.loops
        tiles = self._tiles()
        single = product.planes * product.rows == 1
        # Of a single row the tiles are spread over the threads.
        turns = len(tiles) if single else product.planes * product.rows
        whole = product.out // product.wide
        for first, count in ((0, whole), (whole, product.groups - whole)):
            if not count:
                continue
            left = min(product.wide, product.out - first * product.wide)
            total = product.batch * product.sections * count * turns
            kind = "parallel" if not isinstance(total, int) or total > 1 else "serial"
            with loops.loop(total, "o", kind) as outer:
                turn = loops.let(tirx.floormod(outer, turns), "turn")
                rest = tirx.floordiv(outer, turns)
                group = loops.let(tirx.floormod(rest, count) + first, "group")
                rest = tirx.floordiv(rest, count)
                section = loops.let(tirx.floormod(rest, product.sections), "section")
                sample = loops.let(tirx.floordiv(rest, product.sections), "sample")
                nothing = index_const(0)
                row: Any = nothing if single else turn
                if product.depth is not None:
                    plane = loops.let(tirx.floordiv(row, product.rows), "plane")
                    row = plane, loops.let(tirx.floormod(row, product.rows), "row")
                if single:
                    self._single(Spot(sample, section, group, row, turn), tiles, left)
                else:
                    self._row(Spot(sample, section, group, row, nothing), tiles, left)

    def rows(self, sample: Expr, first: Expr, count: Expr) -> None:
        """Some rows of a sample, on one thread: all of them for a group of output channels, then the next."""
        product, loops = self.product, self.loops
        tiles, nothing = self._tiles(), index_const(0)
        whole = product.out // product.wide
        for start, groups in ((0, whole), (whole, product.groups - whole)):
            if not groups:
                continue
            left = min(product.wide, product.out - start * product.wide)
            with loops.loop(groups, "group") as group, loops.loop(count, "row") as number:
                row = loops.let(first + number, "row")
                self._row(Spot(sample, nothing, group + start, row, nothing), tiles, left)

    def _tiles(self) -> list[Tile]:
        product = self.product
        starts = range(0, product.run, product.pixels)
        return [Tile(start, min(product.pixels, product.run - start)) for start in starts]

    def _single(self, spot: Spot, tiles: Sequence[Tile], left: int) -> None:
        """The tile of a number; tiles that are alike are one branch."""
        kinds: list[tuple[int, list[Tile]]] = []
        for number, tile in enumerate(tiles):
            like = self._like(tile)
            if kinds and self._like(kinds[-1][1][-1]) == like and like.start < 0:
                kinds[-1][1].append(tile)
            else:
                kinds.append((number, [tile]))
        turn = spot.start
        for first, alike in kinds:
            within = tirx.And(turn >= first, turn < first + len(alike))
            guard: AbstractContextManager[None] = (
                nullcontext() if len(kinds) == 1 else self.loops.when(within)
            )
            with guard:
                start = alike[0].start + (turn - first) * alike[0].pixels
                self._tile(spot._replace(start=start), self._like(alike[0]), left)

    def _row(self, spot: Spot, tiles: Sequence[Tile], left: int) -> None:
        """A row's tiles: those at its ends, where windows may leave the input, and loops over those alike."""
        for like, alike in groupby(tiles, self._like):
            first, *others = alike
            if like.start >= 0:
                self._tile(spot._replace(start=index_const(first.start)), like, left)
                continue
            with self.loops.loop(1 + len(others), "tile") as number:
                self._tile(spot._replace(start=first.start + number * first.pixels), like, left)

    def _like(self, tile: Tile) -> Tile:
        """The tile as the code for it sees it, of which there is one for all tiles that are alike."""
        horizontal = self.product.horizontal
        if horizontal.inside(*tile):
            return tile._replace(start=INSIDE)
        return tile._replace(start=ANYWHERE) if horizontal.count > WRITTEN else tile

    def _tile(self, spot: Spot, tile: Tile, left: int) -> None:
        product, loops, lanes = self.product, self.loops, self.product.lanes
        blocks = -(-left // lanes)
        cells = loops.alloc([tile.pixels * blocks * lanes], product.dtype, "cells", "local")
        packed = spot.section * product.groups + spot.group
        with loops.loop(lanes, "lane", "vectorized") as lane:
            for pixel in range(tile.pixels):
                for block in range(blocks):
                    bias = (
                        zero(product.dtype) if self.bias is None else self.bias[packed, block * lanes + lane]
                    )
                    loops.store(cells, bias, (pixel * blocks + block) * lanes + lane)
        self._begin(cells, tile.pixels * blocks)
        parts, rest = divmod(product.channels, product.part)
        if parts:
            with turn(loops, parts, self._cut_at(_PARTS), "part") as part:
                self._taps(cells, spot, tile, blocks, part, product.part)
        if rest:
            self._taps(cells, spot, tile, blocks, index_const(parts), rest)
        self._total()
        self._finish(cells, spot, tile, left)

    def _begin(self, cells: Any, vectors: int) -> None:
        """Vectors of sums, which are at their start: if they are long, their blocks are carried on."""
        cut = cut_of(self.product.extents, LONG, PANEL)
        if cut is None:
            self.cascade = None
            return

        def walk(function: Any) -> None:
            lanes = self.product.lanes
            with self.loops.loop(lanes, "lane", "vectorized") as lane:
                for vector in range(vectors):
                    function([vector * lanes + lane])

        self.cascade = Cascade(self.loops, cells, walk, cut)

    def _cut_at(self, *axes: int) -> Cascade | None:
        """The levels of sums whose blocks are parts of one of these axes of `Product.extents`."""
        return self.cascade if self.cascade is not None and self.cascade.cut.axis in axes else None

    def _total(self) -> None:
        """Bring what was carried on back to the sums."""
        if self.cascade is not None:
            self.cascade.total()

    def _taps(self, cells: Any, spot: Spot, tile: Tile, blocks: int, part: Expr, channels: int) -> None:
        loops, horizontal = self.loops, self.product.horizontal
        with self.lines(spot) as (above, line):
            read = self._reader(spot, tile, line, part, channels)
            if tile.start == ANYWHERE:
                self._long_row(cells, spot, tile, blocks, above, read, part, channels)
                return
            if tile.start == INSIDE:
                with turn(loops, horizontal.count, self._cut_at(_COLUMNS), "x") as x:
                    taps = (*above, x)
                    self._step(cells, spot, range(tile.pixels), blocks, taps, read, part, channels)
                return
            for number in range(horizontal.count):
                spots = [horizontal.at(tile.start + pixel, number) for pixel in range(tile.pixels)]
                pixels = [pixel for pixel, at in enumerate(spots) if 0 <= at < horizontal.size]
                if pixels:
                    taps = (*above, index_const(number))
                    self._step(cells, spot, pixels, blocks, taps, read, part, channels)
                    carried = self._cut_at(_COLUMNS)
                    if carried is not None and (number + 1) % carried.cut.step == 0:
                        carried.carry()

    def _long_row(
        self,
        cells: Any,
        spot: Spot,
        tile: Tile,
        blocks: int,
        above: tuple[Expr, ...],
        read: Read,
        part: Expr,
        channels: int,
    ) -> None:
        """A long row of taps: a loop over those that all pixels read inside, and guarded ones around it."""
        loops, horizontal = self.loops, self.product.horizontal
        count, dilation = horizontal.count, horizontal.dilation
        end = horizontal.at(spot.start + (tile.pixels - 1), 0)
        low = tirx.floordiv(dilation - 1 - horizontal.at(spot.start, 0), dilation)
        low = loops.let(tirx.min(tirx.max(low, 0), count), "low")
        high = tirx.floordiv(horizontal.size - 1 - end, dilation) + 1
        high = loops.let(tirx.max(tirx.min(high, count), low), "high")
        for first, stop, guarded in ((0, low, True), (low, high, False), (high, count, True)):
            with turn(loops, stop - first, self._cut_at(_COLUMNS), "x") as x:
                tap = loops.let(first + x, "tap")
                taps = (*above, tap)
                if not guarded:
                    self._step(cells, spot, range(tile.pixels), blocks, taps, read, part, channels)
                    continue
                for pixel in range(tile.pixels):
                    place = horizontal.at(spot.start + pixel, tap)
                    with loops.when(tirx.And(place >= 0, place < horizontal.size)):
                        self._step(cells, spot, [pixel], blocks, taps, read, part, channels)

    def _reader(self, spot: Spot, tile: Tile, line: Any, part: Expr, channels: int) -> Read:
        """How the input is read by pixel of the tile, tap of the row and channel of the part."""
        product, horizontal = self.product, self.product.horizontal
        first = spot.section * product.channels + part * product.part

        def read(pixel: int, tap: Any, channel: Expr) -> Expr:
            column = horizontal.at(spot.start + pixel, tap)
            return product.read(spot.sample, first + channel, line, column)

        return self._widened(spot, tile, line, first, channels) if self._narrow() else read

    def _narrow(self) -> list[Access]:
        """The reads, of tensors with 16 bits an element, that make an element of the input at a channel."""
        none, channel = index_const(0), tirx.Var("channel", index_type(0))
        line = none if self.product.depth is None else (none, none)
        reads = watch(lambda: self.product.read(none, channel, line, none))
        return [access for access in reads if access.tensor.is_narrow]

    def _widened(self, spot: Spot, tile: Tile, line: Any, first: Expr, channels: int) -> Read:
        """Make floats of 32 bits of the columns that a tile reads, in vectors, for all of its products."""
        product, loops, horizontal = self.product, self.loops, self.product.horizontal
        start = horizontal.at(spot.start, 0)
        # Columns from the first on that a tap may be at, and those of them that the input has.
        step = horizontal.stride if horizontal.count == 1 else gcd(horizontal.stride, horizontal.dilation)
        low, high = 0, horizontal.at(tile.pixels - 1, horizontal.count - 1) - horizontal.at(0, 0) + 1
        if tile.start >= 0:
            before = -horizontal.at(tile.start, 0)
            low, high = max(-(-before // step) * step, 0), min(high, before + horizontal.size)
        count = max(-(-(high - low) // step), 1)
        wide = loops.alloc([count, product.part], product.dtype, "wide", "local")
        # Channels that are apart in memory are no vector.
        places = [access.tensor.place(access.indices)[-1] for access in self._narrow()]
        beside = all(tirx.analysis.undefined_vars(place) for place in places)
        kind = "vectorized" if beside else "serial"
        with loops.loop(count, "column") as column:
            place = loops.let(start + low + column * step, "place")
            guard: AbstractContextManager[None] = nullcontext()
            if tile.start == ANYWHERE:
                guard = loops.when(tirx.And(place >= 0, place < horizontal.size))
            with guard, loops.loop(channels, "lane", kind) as lane:
                loops.store(wide, product.read(spot.sample, first + lane, line, place), column, lane)

        def read(pixel: int, tap: Any, channel: Expr) -> Expr:
            at = pixel * (horizontal.stride // step) - low // step
            return tirx.BufferLoad(wide, [tap * (horizontal.dilation // step) + at, channel])

        return read

    @contextmanager
    def lines(self, spot: Spot) -> Iterator[tuple[tuple[Expr, ...], Any]]:
        """Loops over the taps that choose a line of the input, and the line, where it is inside.

        Long sums are carried on after each line, if not less often.
        """
        depth, vertical = self.product.depth, self.product.vertical
        carried = self._cut_at(_PLANES, _LINES, _COLUMNS)
        if depth is None:
            with self._inside(vertical, spot.row, "y") as (y, line):
                yield (y,), line
                if carried is not None:
                    carried.carry()
            return
        with (
            self._inside(depth, spot.row[0], "z") as (z, plane),
            self._inside(vertical, spot.row[1], "y") as (y, line),
        ):
            yield (z, y), (plane, line)
            if carried is not None:
                carried.carry()

    @contextmanager
    def _inside(self, taps: Taps, position: Expr, name: str) -> Iterator[tuple[Expr, Expr]]:
        """The loop over taps along an axis: each with its place in the input, where that has it."""
        loops = self.loops
        with loops.loop(taps.count, name) as tap:
            place = taps.at(position, tap)
            guard: AbstractContextManager[None] = nullcontext()
            if taps.padded:
                place = loops.let(place, "line")
                guard = loops.when(tirx.And(place >= 0, place < taps.size))
            with guard:
                yield tap, place

    def _step(
        self,
        cells: Any,
        spot: Spot,
        pixels: Sequence[int],
        blocks: int,
        taps: tuple[Expr, ...],
        read: Read,
        part: Expr,
        channels: int,
    ) -> None:
        product, loops, lanes = self.product, self.loops, self.product.lanes
        packed = spot.section * product.groups + spot.group
        with loops.loop(channels, "channel") as channel, loops.loop(lanes, "lane", "vectorized") as lane:
            # Pixel by pixel, so that one broadcast input element at a time is in a register.
            for pixel in pixels:
                value = read(pixel, taps[-1], channel)
                for block in range(blocks):
                    weight = self.weight[packed, part, *taps, channel, block * lanes + lane]
                    cell = (pixel * blocks + block) * lanes + lane
                    loops.store(cells, tirx.BufferLoad(cells, [cell]) + value * weight, cell)

    def _finish(self, cells: Any, spot: Spot, tile: Tile, left: int) -> None:
        """Work out the rest of the group for the tile's elements, and store."""
        product, loops, lanes = self.product, self.loops, self.product.lanes
        blocks, rest = divmod(left, lanes)
        if self._is_short():
            for pixel in range(tile.pixels):
                for block in range(blocks + bool(rest)):
                    self._vector(
                        cells, spot, blocks + bool(rest), pixel, block, lanes if block < blocks else rest
                    )
            return
        # What takes many steps is written once, and reads the sums from memory.
        count = blocks + bool(rest)
        sums = loops.alloc([tile.pixels * count * lanes], product.dtype, "sums", "local")
        with loops.loop(lanes, "lane", "vectorized") as lane:
            for cell in range(tile.pixels * count):
                loops.store(sums, tirx.BufferLoad(cells, [cell * lanes + lane]), cell * lanes + lane)
        with loops.loop(tile.pixels, "pixel") as pixel:
            if blocks:
                with loops.loop(blocks, "block") as block:
                    self._vector(sums, spot, count, pixel, block, lanes)
            if rest:
                self._vector(sums, spot, count, pixel, index_const(blocks), rest)

    def _is_short(self) -> bool:
        """Whether the rest of the group is a few operations for each element."""
        trial = Loops()
        none = index_const(0)
        rank = len(self.product.index(none, none, none if self.product.depth is None else (none, none), none))
        index = tuple(tirx.Var(f"i{axis}", index_type(0)) for axis in range(rank))

        def named(value: Expr) -> Expr:
            return tirx.Var("element", value.ty)

        element = tirx.const(0, self.main.dtype)
        with emitting(trial):
            made = elements(self.main, self.results, index, element, named)
            values = [value for _, _, value in made]
        return len(trial.statements) <= _SHORT and all(len(str(value)) < 40 * _SHORT for value in values)

    def _vector(self, cells: Any, spot: Spot, blocks: int, pixel: Any, block: Any, valid: int) -> None:
        """Some neighbouring channels of one pixel."""
        product, loops, lanes = self.product, self.loops, self.product.lanes
        vector = spot.group * product.blocks + block
        if self.main.index_map:
            # Under a name, lanes are seen to be neighbours wherever they go.
            vector = loops.let(vector, "vector")
        first = spot.section * product.out
        with loops.loop(valid, "lane", "vectorized") as lane:
            index = product.index(spot.sample, first + vector * lanes + lane, spot.row, spot.start + pixel)
            cell = (pixel * blocks + block) * lanes + lane
            finish(loops, self.main, self.results, index, tirx.BufferLoad(cells, [cell]))


_PARTS, _PLANES, _LINES, _COLUMNS, _ = range(5)
"""Axes of `Product.extents`."""

_SHORT = 4
"""Operations on each element of a result that are written out for each vector."""
