"""Depthwise convolution: channels in the lanes, a row's pixels side by side in registers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tvm import tirx

from .....compiler.devices import Cpu
from .....compiler.graph.graph import Node
from ...runtime.packing import Packing
from ...tensor_ir.layouts import CHANNELS_LAST, PLAIN, Layout
from ...tensor_ir.loops import Loops
from ...tensor_ir.tensors import Tensor
from .axes import Axes, groups_of
from .base import Accumulated, zero
from .product import Writer
from .tiles import WRITTEN, Spot, Tile


class Depthwise:
    """One filter for each channel, in one to three axes whose sizes are known; channels are packed."""

    def __init__(self, node: Node, machine: Cpu, dtype: str) -> None:
        self.axes = axes = Axes.of(node)
        self.dtype, self.lanes = dtype, machine.lanes(dtype)
        self.out = int(node.inputs[1].shape[0])  # pyright: ignore[reportArgumentType]
        # Besides the sums, a row of weights and an input vector are in registers.
        most = max(machine.registers - min(axes.horizontal.count, 7) - 4, 4)
        self.pixels = -(-axes.run // -(-axes.run // most))
        kernel = [tap.count for tap in axes.taps[-axes.rank :]]
        groups = -(-self.out // self.lanes)
        padded = (groups * self.lanes, 1, *kernel)
        split = (groups, self.lanes, *axes.kernel)
        self.packings = {"weight": Packing(padded, split, (0, *range(2, len(split)), 1))}
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
        product = self.axes.product(x, 1, self.out, self.pixels, self.lanes, self.dtype)
        ChannelWriter(product, loops, operands["weight"], operands.get("bias"), main, results).write()


class ChannelWriter(Writer):
    """Each channel sums its own products."""

    def _tile(self, spot: Spot, tile: Tile, left: int) -> None:
        product, loops, lanes = self.product, self.loops, self.product.lanes
        cells = loops.alloc([tile.pixels * lanes], product.dtype, "cells", "local")
        with loops.loop(lanes, "lane", "vectorized") as lane:
            bias = zero(product.dtype) if self.bias is None else self.bias[spot.group, lane]
            for pixel in range(tile.pixels):
                loops.store(cells, bias, pixel * lanes + lane)
        horizontal = product.horizontal
        self._begin(cells, tile.pixels)
        with self.lines(spot) as (above, line), loops.loop(lanes, "lane", "vectorized") as lane:
            channel = spot.group * lanes + lane
            # All taps of a row at once, so that an input vector is read once for all that it goes into.
            for tap in range(horizontal.count):
                weight = self.weight[spot.group, *above, tap, lane]
                for pixel in range(tile.pixels):
                    place = horizontal.at(tile.start + pixel, tap)
                    if tile.start >= 0 and not 0 <= place < horizontal.size:
                        continue
                    column = horizontal.at(spot.start + pixel, tap)
                    value = product.read(spot.sample, channel, line, column)
                    cell = pixel * lanes + lane
                    loops.store(cells, tirx.BufferLoad(cells, [cell]) + value * weight, cell)
        self._total()
        self._finish(cells, spot, tile, left)


def fit(node: Node, layouts: Mapping[str, Layout], machine: Cpu, dtype: str) -> Any:
    """The template for a node, or None where it is another operator or its channels do not fill vectors."""
    if node.op.name != "conv_with" or dtype not in ("float32", "float64"):
        return None
    x, weight = node.inputs[0].shape, node.inputs[1].shape
    known = all(isinstance(size, int) for size in (*x[1:], *weight))
    if not known or len(weight) != len(x):
        return None
    if not groups_of(node) == x[1] == weight[0] or int(weight[-1]) > WRITTEN:  # pyright: ignore[reportArgumentType]
        return None
    lanes, layout = machine.lanes(dtype), layouts.get("x")
    # Where channels are not side by side, gathering them is still less than to sum one by one.
    whole = layout in (CHANNELS_LAST, PLAIN) and int(x[1]) % lanes == 0  # pyright: ignore[reportArgumentType]
    return Depthwise(node, machine, dtype) if whole or layout == Layout(1, lanes) else None
