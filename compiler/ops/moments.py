"""Second moments over axes: a mean, then the squared differences from it."""

from __future__ import annotations

from typing import Any

from ..sizes.dims import prod
from .core.base import Elements, Lowering, Shape, case
from .core.counts import Cost
from .core.rows import over_count, wide
from .reduce import Reduction, combinations


class Var(Reduction, name="var"):
    """Variance over axes: [*s, n] -> [*s]; squared differences from the mean, over n - correction."""

    correction: int = 1
    accepts = "fc"
    gives = "real"
    samples = (
        *Reduction.samples[:3],
        case({"axis": 1, "correction": 0}, (2, 3)),
        case({"axis": (), "correction": 0}, (2, 3)),
        case({"axis": 1}, ("complex", (2, 3))),
    )

    def cost(self, out: Shape, x: Shape) -> Cost:
        elements, results = prod(x), prod(out)
        return Cost(add=2 * combinations(x, out) + elements, multiply=elements, divide=2 * results)

    def cost_complex(self, out: Shape, x: Shape) -> Cost:
        """The cost where the operand is complex."""
        elements, results, pairs = prod(x), prod(out), combinations(x, out)
        return Cost(add=3 * pairs + 3 * elements, multiply=2 * elements, divide=3 * results)

    def over(self, t: Lowering, x: Any, axes: tuple[int, ...], keepdim: bool) -> Any:
        return getattr(t.torch, self.name)(x, dim=axes, correction=self.correction, keepdim=keepdim)

    def te(self, t: Elements, x: Any) -> Any:
        dtype = wide(x.dtype)
        rows = self.rows(t, x)
        squares, _ = rows.squares(dtype)
        count = rows.count - self.correction
        count = max(count, 0) if isinstance(count, int) else t.maximum(count, t.const(0, "int64"))
        return t.compute(
            rows.shape, lambda *row: self.finish(t, over_count(t, squares[row], count, dtype)), keep=True
        )

    def finish(self, t: Elements, variance: Any) -> Any:
        """The result for a variance."""
        return variance

    def numpy(self, np: Any, x: Any) -> Any:
        axis = self.axis if x.ndim else None
        return getattr(np, self.name)(x, axis=axis, ddof=self.correction, keepdims=self.keepdim)


class Std(Var, name="std"):
    """Standard deviation over axes: [*s, n] -> [*s]; the root of `var`."""

    samples = (*Var.samples[:4], Var.samples[5])

    def cost(self, out: Shape, x: Shape) -> Cost:
        return super().cost(out, x) + Cost(transcendental=prod(out))

    def cost_complex(self, out: Shape, x: Shape) -> Cost:
        return super().cost_complex(out, x) + Cost(transcendental=prod(out))

    def finish(self, t: Elements, variance: Any) -> Any:
        return t.sqrt(variance)
