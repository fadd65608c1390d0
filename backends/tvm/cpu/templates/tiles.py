"""What a product sums, and how it is cut into tiles that registers hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...tensor_ir.loops import Expr

LONG = 4608
"""Products that are summed one after the other at most: those of a 3x3 convolution of 512 channels."""
PANEL = 512
"""Products, about, that are summed apart where there are more."""


class Taps(NamedTuple):
    """Along one axis: the kernel's size, stride, dilation, zeros before, and the input's size."""

    count: int
    stride: int
    dilation: int
    before: int
    size: int
    padded: bool

    def at(self, position: Any, tap: Any) -> Any:
        """Where a tap of a window is in the input."""
        return position * self.stride + tap * self.dilation - self.before

    def inside(self, first: int, count: int) -> bool:
        """Whether no window of some neighbours leaves the input."""
        last = self.at(first + count - 1, self.count - 1)
        return self.at(first, 0) >= 0 and last < self.size


@dataclass(frozen=True)
class Product:
    """What is summed: for each result, `taps` by `channels` products.

    A row has `run` results, and there are `rows` of them in each of `batch` samples. Output channels are in
    `sections` (a convolution's groups) of `out` each. `read(sample, channel, line, column)` is an element of
    the input; `index(sample, channel, row, column)` the place of a result. Weights are packed
    [section and group of vectors, part, tap, tap, channel of the part, vectors].

    With `depth`, an axis of taps before the others, there are `planes` of rows; rows and lines are then pairs
    with the plane, and taps of weights three.
    """

    batch: Any
    rows: int
    run: int
    channels: int
    out: int
    sections: int
    vertical: Taps
    horizontal: Taps
    pixels: int
    blocks: int
    lanes: int
    part: int
    dtype: str
    read: Callable[[Expr, Expr, Expr, Expr], Expr]
    index: Callable[[Expr, Expr, Expr, Expr], tuple[Expr, ...]]
    depth: Taps | None = None
    planes: int = 1

    @property
    def extents(self) -> list[int]:
        """What is summed over: parts of channels; planes, lines and columns of taps; channels of a part."""
        whole = -(-self.channels // self.part)
        planes = 1 if self.depth is None else self.depth.count
        part = min(self.part, self.channels)
        return [whole, planes, self.vertical.count, self.horizontal.count, part]

    @property
    def wide(self) -> int:
        """Output channels of a tile."""
        return self.blocks * self.lanes

    @property
    def groups(self) -> int:
        """Tiles of output channels in a section."""
        return -(-self.out // self.wide)


WRITTEN = 64
"""Taps of a row, at most, that are written out in tiles at its ends."""

INSIDE, ANYWHERE = -1, -2
"""First columns of tiles that may be at several places: where no window leaves the input, or at any."""


class Tile(NamedTuple):
    """Results of a row, from a first column on."""

    start: int
    pixels: int


class Spot(NamedTuple):
    """Where a tile is: sample, section, group of output channels in it, row and first column."""

    sample: Expr
    section: Expr
    group: Expr
    row: Expr
    start: Expr


def tile_of(run: int, vectors: int, registers: int, most: int = 64) -> tuple[int, int]:
    """Pixels, at most `most`, and vectors of channels that are in registers at once.

    A register is left for each vector of weights, one for the input, and one free. Few tiles and no small
    rest come first, then many results for each read: weights are read once for all pixels, input elements
    once for all vectors.
    """
    best: tuple[float, int, int] | None = None
    for blocks in range(1, min(vectors, 4) + 1):
        room = min((registers - 2 - blocks) // blocks, most)
        tiles = -(-run // room)
        pixels = -(-run // tiles)
        # Registers that sum, on average; with less than 8 the adder waits for itself.
        used = run / tiles * blocks * vectors / (-(-vectors // blocks) * blocks)
        reads = 1 / pixels + 1 / blocks
        cost = max(8.0 / used, 1.0) + 0.05 * reads + 0.01 * (pixels * tiles - run)
        if best is None or cost < best[0]:
            best = cost, pixels, blocks
    assert best is not None
    return best[1], best[2]
