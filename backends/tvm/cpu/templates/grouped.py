"""Convolution in narrow groups: a vector holds the output channels of several groups.

Each lane needs the input channels of its own group. Of the packed input these lie in the same few registers,
so that for each channel of a group one permutation brings it to all lanes of the group, and goes into all
taps of a row that read the pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tvm import tirx

from .....compiler.devices import Cpu
from .....compiler.graph.graph import Node
from ...runtime.packing import Packing
from ...tensor_ir.layouts import Layout
from ...tensor_ir.loops import Loops
from ...tensor_ir.tensors import Tensor
from .axes import Axes, groups_of
from .base import Accumulated, zero
from .product import Writer
from .tiles import WRITTEN, Spot, Tile

_WRITTEN = 768
"""Products in the code of a tile, about, at most."""


class Grouped:
    """Groups whose output channels divide a vector; channels are packed, sizes known but for the batch."""

    def __init__(self, node: Node, machine: Cpu, dtype: str) -> None:
        weight = node.inputs[1].shape
        self.axes = axes = Axes.of(node)
        self.dtype, self.lanes = dtype, machine.lanes(dtype)
        self.out, self.channels = int(weight[0]), int(weight[1])  # pyright: ignore[reportArgumentType]
        self.own = self.out // groups_of(node)
        taps = axes.horizontal.count
        # Besides the sums, a row of weights, an input vector and its permutations are in registers.
        most = max(machine.registers - min(taps, 7) - 5, 4)
        most = min(most, max(_WRITTEN // (taps * self.channels), 4))
        self.pixels = -(-axes.run // -(-axes.run // most))
        kernel = [tap.count for tap in axes.taps[-axes.rank :]]
        vectors = -(-self.out // self.lanes)
        padded = (vectors * self.lanes, self.channels, *kernel)
        split = (vectors, self.lanes, self.channels, *axes.kernel)
        # [vector, taps above a row, channel, tap of the row, lane]
        order = (0, *range(3, len(split) - 1), 2, len(split) - 1, 1)
        self.packings = {"weight": Packing(padded, split, order)}
        if "bias" in node.slots:
            self.packings["bias"] = Packing(padded[:1], split[:2], (0, 1))
        self.layout = Layout(1, self.lanes)

    def emit(
        self,
        loops: Loops,
        operands: Mapping[str, Tensor],
        main: Accumulated,
        results: Sequence[Tensor],
        machine: Cpu,
    ) -> None:
        """Loops over samples, vectors of channels and rows on all threads, and tiles of a row within."""
        x = operands["x"]
        product = self.axes.product(x, self.channels, self.out, self.pixels, self.lanes, self.dtype)
        bias = operands.get("bias")
        GroupWriter(self.own, product, loops, operands["weight"], bias, main, results).write()


class GroupWriter(Writer):
    """Groups of `own` output channels side by side in a vector, each of which sums its group's channels."""

    def __init__(self, own: int, *given: Any) -> None:
        super().__init__(*given)
        self.own = own

    def _tile(self, spot: Spot, tile: Tile, left: int) -> None:
        product, loops, lanes = self.product, self.loops, self.product.lanes
        cells = loops.alloc([tile.pixels * lanes], product.dtype, "cells", "local")
        with loops.loop(lanes, "lane", "vectorized") as lane:
            bias = zero(product.dtype) if self.bias is None else self.bias[spot.group, lane]
            for pixel in range(tile.pixels):
                loops.store(cells, bias, pixel * lanes + lane)
        each = lanes // self.own * product.channels
        readers = self._readers(tile)
        self._begin(cells, tile.pixels)
        with self.lines(spot) as (above, line):
            given = self._loaded(spot, line, list(readers), each)
            for channel in range(product.channels):
                with loops.loop(lanes, "lane", "vectorized") as lane:
                    place = tirx.floordiv(lane, self.own) * product.channels + channel
                    taps = range(product.horizontal.count)
                    weights = [loops.let(self.weight[spot.group, *above, channel, tap, lane]) for tap in taps]
                    for number, pairs in enumerate(readers.values()):
                        value = loops.let(tirx.BufferLoad(given, [number * each + place]))
                        for pixel, tap in pairs:
                            cell = pixel * lanes + lane
                            loops.store(cells, tirx.BufferLoad(cells, [cell]) + value * weights[tap], cell)
        self._total()
        self._finish(cells, spot, tile, left)

    def _loaded(self, spot: Spot, line: Any, offsets: Sequence[int], each: int) -> Any:
        """Of columns that far from the first one so many channels, those that a vector of results needs."""
        product, loops = self.product, self.loops
        first = product.horizontal.at(spot.start, 0)
        width = min(each, product.lanes)
        found = loops.alloc([len(offsets) * each], product.dtype, "given", "local")
        with loops.loop(width, "lane", "vectorized") as lane:
            for number, offset in enumerate(offsets):
                for part in range(0, each, width):
                    channel = spot.group * each + part + lane
                    value = product.read(spot.sample, channel, line, first + offset)
                    loops.store(found, value, number * each + part + lane)
        return found

    def _readers(self, tile: Tile) -> dict[int, list[tuple[int, int]]]:
        """The pixels, with their taps, that read each column of the input, counted from the first pixel's."""
        horizontal = self.product.horizontal
        found: dict[int, list[tuple[int, int]]] = {}
        for pixel in range(tile.pixels):
            for tap in range(horizontal.count):
                if tile.start >= 0 and not 0 <= horizontal.at(tile.start + pixel, tap) < horizontal.size:
                    continue
                found.setdefault(horizontal.at(pixel, tap) - horizontal.at(0, 0), []).append((pixel, tap))
        return dict(sorted(found.items()))


def fit(node: Node, layouts: Mapping[str, Layout], machine: Cpu, dtype: str) -> Any:
    """The template for a node, or None where groups do not divide a vector or channels are not packed."""
    if node.op.name != "conv_with" or dtype not in ("float32", "float64"):
        return None
    x, weight = node.inputs[0].shape, node.inputs[1].shape
    known = all(isinstance(size, int) for size in (*x[1:], *weight))
    lanes = machine.lanes(dtype)
    groups = groups_of(node)
    if not known or len(weight) != len(x) or groups == 1 or layouts.get("x") != Layout(1, lanes):
        return None
    own, channels = int(weight[0]) // groups, int(weight[1])  # pyright: ignore[reportArgumentType]
    if own >= lanes or lanes % own:
        return None
    each = lanes // own * channels
    # Of a last vector that is not full all registers are there too.
    if -(-int(weight[0]) // lanes) * each > -(-groups * channels // lanes) * lanes:  # pyright: ignore[reportArgumentType]
        return None
    if channels > _CHANNELS or int(weight[-1]) > WRITTEN:  # pyright: ignore[reportArgumentType]
        return None
    # The groups of a vector read whole registers, or an even part of one.
    if lanes % each if each < lanes else each % lanes:
        return None
    return Grouped(node, machine, dtype)


_CHANNELS = 16
"""Input channels of a group, at most: each is written out."""
