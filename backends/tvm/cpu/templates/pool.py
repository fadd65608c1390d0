"""Pools over windows: channels in the lanes, a row's pixels side by side in registers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tvm import tirx

from .....compiler.devices import Cpu
from .....compiler.graph.graph import Node
from .....compiler.ops.conv import per_axis, resolve_padding
from ...runtime.packing import Packing
from ...tensor_ir.layouts import CHANNELS_LAST, Layout
from ...tensor_ir.loops import Loops
from ...tensor_ir.math.elementary import Functions
from ...tensor_ir.tensors import Tensor
from .axes import Axes
from .base import Accumulated, zero
from .product import Writer
from .tiles import Spot, Taps, Tile


class Pool:
    """Maximum or mean of windows in one to three axes whose sizes are known; channels are side by side."""

    packings: Mapping[str, Packing] = {}

    def __init__(self, node: Node, machine: Cpu, dtype: str) -> None:
        self.axes = axes = axes_of(node)
        self.dtype, self.lanes = dtype, machine.lanes(dtype)
        self.channels = int(node.inputs[0].shape[1])  # pyright: ignore[reportArgumentType]
        self.divisor: int | None = None
        if node.op.name == "avg_pool":
            taps = 1
            for size in axes.kernel:
                taps *= size
            self.divisor = getattr(node.op, "divisor_override") or taps  # noqa: B009
        most = max(machine.registers - 6, 4)
        self.pixels = -(-axes.run // -(-axes.run // most))
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
        product = self.axes.product(x, 1, self.channels, self.pixels, self.lanes, self.dtype)
        PoolWriter(self.divisor, product, loops, x, None, main, results).write()


class PoolWriter(Writer):
    """Each channel combines its own window: the mean with a divisor, else the maximum, where a NaN wins."""

    def __init__(self, divisor: int | None, *given: Any) -> None:
        super().__init__(*given)
        self.divisor = divisor
        self.functions = Functions()
        self.functions.let = self.loops.let

    def _tile(self, spot: Spot, tile: Tile, left: int) -> None:
        product, loops, lanes = self.product, self.loops, self.product.lanes
        cells = loops.alloc([tile.pixels * lanes], product.dtype, "cells", "local")
        none = zero(product.dtype) if self.divisor else tirx.const(float("-inf"), product.dtype)
        with loops.loop(lanes, "lane", "vectorized") as lane:
            for pixel in range(tile.pixels):
                loops.store(cells, none, pixel * lanes + lane)
        horizontal = product.horizontal
        if self.divisor is not None:
            self._begin(cells, tile.pixels)
        with self.lines(spot) as (_, line), loops.loop(left, "lane", "vectorized") as lane:
            channel = spot.group * lanes + lane
            for tap in range(horizontal.count):
                for pixel in range(tile.pixels):
                    place = horizontal.at(tile.start + pixel, tap)
                    if tile.start >= 0 and not 0 <= place < horizontal.size:
                        continue
                    column = horizontal.at(spot.start + pixel, tap)
                    value = product.read(spot.sample, channel, line, column)
                    cell = pixel * lanes + lane
                    loops.store(cells, self._combined(tirx.BufferLoad(cells, [cell]), value), cell)
        if self.divisor is not None:
            self._total()
            divisor = tirx.const(float(self.divisor), product.dtype)
            with loops.loop(lanes, "lane", "vectorized") as lane:
                for cell in range(tile.pixels):
                    place = cell * lanes + lane
                    loops.store(cells, tirx.BufferLoad(cells, [place]) / divisor, place)
        self._finish(cells, spot, tile, left)

    def _combined(self, sofar: Any, value: Any) -> Any:
        return sofar + value if self.divisor else self.functions.maximum(value, sofar)


def axes_of(node: Node) -> Axes:
    """The windows of a pool whose sizes are known."""
    op: Any = node.op
    x, result = node.inputs[0].shape, node.results[0].shape
    rank = len(x) - 2
    kernel, stride = per_axis(op.kernel, rank, "kernel"), op.strides(rank)
    dilation = per_axis(getattr(op, "dilation", 1), rank, "dilation")
    pads = resolve_padding(op.pad, x[2:], kernel, stride, dilation)
    sizes = tuple(int(size) for size in result[2:])  # pyright: ignore[reportArgumentType]
    taps: list[Taps] = []
    for k, s, d, pad, size, count in zip(kernel, stride, dilation, pads, x[2:], sizes, strict=True):
        made = Taps(int(k), int(s), int(d), int(pad[0]), int(size), False)  # pyright: ignore[reportArgumentType]
        # With `ceil_mode` the last window may leave the input without any padding.
        taps.append(made._replace(padded=not made.inside(0, count)))
    return Axes.made(tuple(taps), sizes)


def fit(node: Node, layouts: Mapping[str, Layout], machine: Cpu, dtype: str) -> Any:
    """The template for a node, or None where it is another operator or channels are not side by side."""
    if node.op.name not in ("max_pool", "avg_pool") or dtype not in ("float32", "float64"):
        return None
    op: Any = node.op
    x = node.inputs[0].shape
    if not all(isinstance(size, int) for size in x[1:]):
        return None
    lanes, layout = machine.lanes(dtype), layouts.get("x")
    beside = layout == Layout(1, lanes) or (layout == CHANNELS_LAST and int(x[1]) % lanes == 0)  # pyright: ignore[reportArgumentType]
    if not beside or max(per_axis(op.kernel, len(x) - 2, "kernel")) > _TAPS:  # pyright: ignore[reportArgumentType]
        return None
    if op.name == "avg_pool" and op.divisor_override is None:
        # Elsewhere windows have divisors of their own.
        even = not op.ceil_mode and op.pad != "tf_same"
        padded = any(taps.padded for taps in axes_of(node).taps)
        if not even or (padded and not op.count_include_pad):
            return None
    return Pool(node, machine, dtype)


_TAPS = 16
"""Taps of a row, at most: each is written out."""
