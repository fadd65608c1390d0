"""Elements in another order along an axis. Nothing is computed."""

from __future__ import annotations

from typing import Any

from ..sizes.dims import Size
from .core.base import Elements, Lowering, Shape, case
from .core.indexing import moved, typed
from .core.rows import from_end
from .core.rules import ShapeError, axes_of, axis_of
from .join import Move


class Roll(Move, name="roll"):
    """Shift along axes, what leaves at one end comes in at the other: [*S] -> [*S]; torch.roll."""

    shifts: Size | tuple[Size, ...]
    axis: int | tuple[int, ...]
    samples = (
        case({"shifts": (-1, 2), "axis": (1, 2)}, (2, 4, 5)),
        case({"shifts": 1, "axis": -1}, (2, 4)),
    )

    def shape(self, x: Shape) -> Shape:
        shifts = self.shifts if isinstance(self.shifts, tuple) else (self.shifts,)
        axes = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        if len(shifts) != len(axes) or not shifts:
            raise ShapeError(
                f"roll has {len(shifts)} shifts for {len(axes)} axes", "value", argument="shifts"
            )
        for axis in axes:
            axis_of(axis, len(x))
        return x

    def torch(self, t: Lowering, x: Any) -> Any:
        shifts = (
            tuple(t.size(shift) for shift in self.shifts)
            if isinstance(self.shifts, tuple)
            else t.size(self.shifts)
        )
        return x.roll(shifts, self.axis)

    def by_axis(self, rank: int) -> dict[int, Size]:
        """By how much each axis that is named is shifted in all."""
        shifts = self.shifts if isinstance(self.shifts, tuple) else (self.shifts,)
        axes = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        found: dict[int, Size] = {}
        for shift, axis in zip(shifts, axes, strict=True):
            found[axis % rank] = found.get(axis % rank, 0) + shift
        return found

    def te(self, t: Elements, x: Any) -> Any:
        sums = self.by_axis(x.rank)
        sizes = t.node.inputs[0].shape

        def place(*i: Any) -> list[Any]:
            found = list(i)
            for axis, shift in sums.items():
                n = sizes[axis]
                by = t.size(0 if isinstance(n, int) and n == 0 else shift % n)
                if not isinstance(by, int) or by:
                    at = typed(t, i[axis], t.size(n))
                    found[axis] = t.let(t.select(at < by, at + (t.size(n) - by), at - by))
            return found

        return moved(t, x, place)

    def numpy(self, np: Any, x: Any) -> Any:
        return np.roll(x, self.shifts, self.axis)


class Flip(Move, name="flip"):
    """Reverse axes: [*S] -> [*S]; torch.flip."""

    axis: int | tuple[int, ...]
    samples = (case({"axis": -1}, (2, 3)), case({"axis": (0, 2)}, (2, 3, 4)))

    def shape(self, x: Shape) -> Shape:
        axes_of(self.axis, len(x))
        return x

    def torch(self, t: Lowering, x: Any) -> Any:
        return x.flip(self.axis)

    def te(self, t: Elements, x: Any) -> Any:
        axes = axes_of(self.axis, x.rank)
        return moved(t, x, lambda *i: [from_end(p, x.shape[a]) if a in axes else p for a, p in enumerate(i)])

    def numpy(self, np: Any, x: Any) -> Any:
        return np.flip(x, self.axis)
