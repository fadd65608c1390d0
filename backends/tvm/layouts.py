"""How the elements of a value lie in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx


@dataclass(frozen=True)
class Layout:
    """Row by row, or with axis `axis` cut into blocks whose inner index runs fastest: NCHW16c is (1, 16)."""

    axis: int | None = None
    block: int = 1

    def shape(self, sizes: Sequence[Any]) -> list[Any]:
        """The sizes of the buffer; the last block is filled up."""
        if self.axis is None:
            return list(sizes)
        found = list(sizes)
        found[self.axis] = -(-sizes[self.axis] // self.block)
        return [*found, self.block]

    def indices(self, at: Sequence[Any]) -> list[Any]:
        """The place in the buffer of an element."""
        if self.axis is None:
            return list(at)
        found = list(at)
        inner = tirx.floormod(found[self.axis], self.block)
        found[self.axis] = tirx.floordiv(found[self.axis], self.block)
        return [*found, inner]


PLAIN = Layout()
