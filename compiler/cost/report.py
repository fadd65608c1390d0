"""The cost report of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..devices import Device
from ..dtypes import DType
from ..errors import ArgumentError
from ..graph.graph import Graph
from ..graph.program import Program
from ..ops.core.base import Mode
from ..sizes.dims import Size, total
from .active import idle_params, macs_of_all_parts
from .conventions import CONVENTIONS
from .groups import By, Group, group_rows
from .rows import Counter, Row
from .sizes import Binding, BindingError, check_bindings
from .sums import Sums, costs_to_dict, plain, sum_rows

SCHEMA = 1


@dataclass(frozen=True, eq=False)
class CostReport:
    """What a graph costs: a row for each operator, and sums of them.

    Sizes are numbers where `bindings` bind all symbols of the graph, and formulas otherwise. The sums agree
    with the rows: a weight that several operators share is counted once, their work each time.
    """

    plan: str
    mode: Mode
    bindings: Mapping[str, int]
    float_as: DType
    rows: tuple[Row, ...]

    @cached_property
    def sums(self) -> Sums:
        """The sums over all rows."""
        return sum_rows(self.rows)

    @property
    def params(self) -> int:
        """Parameters, frozen ones too."""
        return self.trainable + self.frozen

    @property
    def trainable(self) -> int:
        """Parameters that training moves."""
        return sum([row.trainable for row in self.rows])

    @property
    def frozen(self) -> int:
        """Parameters that training leaves alone."""
        return sum([row.frozen for row in self.rows])

    @property
    def buffers(self) -> int:
        """Elements of buffers."""
        return sum([row.buffers for row in self.rows])

    @property
    def active_params(self) -> int:
        """Parameters that one position uses: of experts those that it is routed to."""
        return self.params - idle_params(self.rows)

    @property
    def total_macs(self) -> Size:
        """Multiply-adds if every expert answered; `macs` counts those that are chosen."""
        return total([macs_of_all_parts(row) for row in self.rows])

    def macs(self, convention: str = "all") -> Size:
        """Multiply-adds, under a convention of `CONVENTIONS`."""
        if convention == "all":
            return self.sums.macs
        return total([row.cost.macs for row in self.select(convention)])

    def flops(self, convention: str = "all") -> Size:
        """2 x macs plus the other operations, under a convention of `CONVENTIONS`."""
        if convention == "all":
            return self.sums.flops
        return total([row.cost.flops for row in self.select(convention)])

    def activations(self, convention: str = "all") -> Size:
        """Elements written by operators that are not views, under a convention of `CONVENTIONS`."""
        if convention == "all":
            return self.sums.activations
        return total([row.activations for row in self.select(convention)])

    @property
    def bytes(self) -> Size:
        """Bytes that the operators read and write, each run by itself."""
        return self.sums.bytes

    def seconds_on(self, device: Device) -> tuple[float, float]:
        """The least time of all operators, one by one, and the part of it that waits for memory.

        By the roofline of each operator: it takes its arithmetic at the device's peak or its bytes at the
        device's bandwidth, whichever is longer. Raises `BindingError` where a size is free.
        """
        whole = waiting = 0.0
        for row in self.rows:
            flops, bytes = row.cost.flops, row.bytes_read + row.bytes_written
            if not isinstance(flops, int) or not isinstance(bytes, int):
                raise BindingError("the time on a device is for numbers, and sizes are free: bind them")
            seconds = device.seconds(flops, bytes, self.float_as)
            whole += seconds
            waiting += seconds if seconds > device.seconds(flops, 0, self.float_as) else 0.0
        return whole, waiting

    def select(self, convention: str) -> list[Row]:
        """The rows that a convention counts; `ValueError` for one that is not known."""
        keep = CONVENTIONS.get(convention)
        if keep is None:
            known = ", ".join(f'"{name}"' for name in CONVENTIONS)
            raise ArgumentError(f'no convention is called "{convention}"; known are {known}')
        return [row for row in self.rows if keep(row)]

    def groups(self, by: By = "scope", depth: int | None = None, fold: bool = True) -> tuple[Group, ...]:
        """The rows summed by kind of operator, by scope of labels or by block; see `group_rows`."""
        return group_rows(self.rows, by, depth, fold)

    def to_dict(self, by: By | None = None, depth: int | None = None) -> dict[str, Any]:
        """The report for JSON; see docs/cost.md. With `by`, the groups too."""
        sums = self.sums.to_dict()
        report: dict[str, Any] = {
            "planform_json": SCHEMA,
            "kind": "cost",
            "plan": self.plan,
            "mode": self.mode,
            "bindings": dict(self.bindings),
            "float": self.float_as,
            **sums,
            "rows": [row_to_dict(row) for row in self.rows],
        }
        if by is not None:
            report |= {"by": by, "depth": depth, "groups": [g.to_dict() for g in self.groups(by, depth)]}
        return report


def row_to_dict(row: Row) -> dict[str, Any]:
    """A row for JSON."""
    return {
        "path": row.path,
        "scope": row.scope,
        "blocks": list(row.blocks),
        "op": row.op,
        "results": [
            {"dtype": type.dtype, "shape": [plain(size) for size in type.shape]} for type in row.types
        ],
        "times": plain(row.times),
        "params": row.params,
        "trainable": row.trainable,
        "frozen": row.frozen,
        "buffers": row.buffers,
        **costs_to_dict(row.cost),
        "activations": plain(row.activations),
        "bytes_read": plain(row.bytes_read),
        "bytes_written": plain(row.bytes_written),
    }


def cost(
    target: Graph | Program,
    bindings: Mapping[str, int] | None = None,
    float_as: DType = "f32",
    mode: Mode = "eval",
) -> CostReport:
    """Count what a graph costs, or the graph of a program in a mode.

    `bindings` give numbers for symbols of the inputs' shapes; what they leave free stays a formula.
    `float_as` is the element type that the float variable stands for, which decides bytes. Raises
    `BindingError`.
    """
    graph = target if isinstance(target, Graph) else target.graphs[mode]
    bindings = bindings or {}
    check_bindings(graph, bindings)
    rows = tuple(Counter(Binding(bindings, float_as)).rows(graph))
    return CostReport(target.name, mode, dict(bindings), float_as, rows)
