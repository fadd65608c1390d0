"""How the elements of a value lie in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx


@dataclass(frozen=True)
class Layout:
    """Row by row, or with axis `axis` cut into blocks whose inner index runs fastest: NCHW16c is (1, 16).

    A block of 0 is the whole axis, which comes last: NHWC is (1, 0).
    """

    axis: int | None = None
    block: int = 1

    @property
    def blocked(self) -> bool:
        """Whether an axis is in blocks."""
        return self.axis is not None and self.block > 0

    def shape(self, sizes: Sequence[Any]) -> list[Any]:
        """The sizes of the buffer; the last block is filled up."""
        if self.axis is None:
            return list(sizes)
        found = list(sizes)
        if not self.block:
            last = found.pop(self.axis)
            return [*found, last]
        found[self.axis] = -(-sizes[self.axis] // self.block)
        return [*found, self.block]

    def indices(self, at: Sequence[Any]) -> list[Any]:
        """The place in the buffer of an element."""
        if self.axis is None:
            return list(at)
        found = list(at)
        if not self.block:
            last = found.pop(self.axis)
            return [*found, last]
        inner = tirx.floormod(found[self.axis], self.block)
        found[self.axis] = tirx.floordiv(found[self.axis], self.block)
        return [*found, inner]

    def axis_of(self, axis: int, rank: int) -> tuple[int, int]:
        """The buffer's axis along which one of the tensor's runs, and how many elements a step is."""
        if self.axis is None or self.block or axis < self.axis:
            return axis, self.block if axis == self.axis else 1
        return (rank - 1 if axis == self.axis else axis - 1), 1

    def index(self, place: Sequence[Any]) -> list[Any]:
        """The index of the element at a place in the buffer."""
        if self.axis is None:
            return list(place)
        *found, last = place
        if self.block:
            found[self.axis] = found[self.axis] * self.block + last
        else:
            found.insert(self.axis, last)
        return found


PLAIN = Layout()
CHANNELS_LAST = Layout(1, 0)
