"""What several rows cost together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..ops.core.counts import KINDS, Cost
from ..sizes.dims import Size, render, total
from .rows import Row


class Sums(NamedTuple):
    """The sums over some rows; `params` is `trainable + frozen`."""

    operators: int
    trainable: int
    frozen: int
    buffers: int
    cost: Cost
    activations: Size
    bytes_read: Size
    bytes_written: Size

    @property
    def params(self) -> int:
        """Parameters, frozen ones too; each weight once."""
        return self.trainable + self.frozen

    @property
    def macs(self) -> Size:
        """Multiply-adds."""
        return self.cost.macs

    @property
    def flops(self) -> Size:
        """2 x macs plus the other operations."""
        return self.cost.flops

    @property
    def bytes(self) -> Size:
        """Bytes read and written."""
        return self.bytes_read + self.bytes_written

    def to_dict(self) -> dict[str, Any]:
        """For JSON: numbers, or formulas as text."""
        return {
            "operators": self.operators,
            "params": self.params,
            "trainable": self.trainable,
            "frozen": self.frozen,
            "buffers": self.buffers,
            **costs_to_dict(self.cost),
            "activations": plain(self.activations),
            "bytes": plain(self.bytes),
            "bytes_read": plain(self.bytes_read),
            "bytes_written": plain(self.bytes_written),
        }


def sum_rows(rows: Sequence[Row]) -> Sums:
    """The sums over the rows."""
    costs = [row.cost for row in rows]
    return Sums(
        len(rows),
        sum([row.trainable for row in rows]),
        sum([row.frozen for row in rows]),
        sum([row.buffers for row in rows]),
        Cost(*[total([getattr(cost, kind) for cost in costs]) for kind in ("macs", *KINDS)]),
        total([row.activations for row in rows]),
        total([row.bytes_read for row in rows]),
        total([row.bytes_written for row in rows]),
    )


def plain(size: Size) -> int | str:
    """A number, or the formula as text."""
    return size if isinstance(size, int) else render(size)


def costs_to_dict(cost: Cost) -> dict[str, Any]:
    """MACs, FLOPs and operations by kind."""
    return {
        "macs": plain(cost.macs),
        "flops": plain(cost.flops),
        "ops": {kind: plain(getattr(cost, kind)) for kind in KINDS},
    }
