"""A group of operators that run as one kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..sizes.dims import equal
from .core.base import Op, Shape
from .core.counts import NOTHING, Cost
from .core.rules import ShapeError, Undecided

if TYPE_CHECKING:
    from ..graph.graph import Graph
    from ..types import TensorType


class Fused(Op, name="fused"):
    """Run the body as one kernel: what comes from outside, weights too -> what is read outside.

    `kind` is the group's. `axis` and `rows` say how a block runs: strips of that many positions along an axis
    of its last result. The members are operators of the body; they have its arithmetic, and this node its
    bytes.
    """

    kind: str
    axis: int | None = None
    rows: int | None = None
    internal = True

    def shape(self, *xs: Shape) -> list[Shape]:
        """Results follow from the body: see `infer`."""
        raise AssertionError("a fused group is inferred from its body")

    def infer(
        self, types: tuple[TensorType, ...], slots: tuple[str, ...], bodies: tuple[Graph, ...] = ()
    ) -> tuple[tuple[TensorType, ...], tuple[Undecided, ...]]:
        (body,) = bodies
        wanted = tuple(value.type for value in body.inputs)
        if types != wanted and not _alike(types, wanted):
            given = ", ".join(map(str, types))
            raise ShapeError(f"the group takes {', '.join(map(str, wanted))}, and is given {given}", "value")
        return tuple(value.type for value in body.outputs), ()

    def cost(self, out: Any, *xs: Shape) -> Cost:
        """The members are counted, in the body."""
        return NOTHING

    def torch(self, t: Any, *xs: Any) -> Any:
        return t.inline(t.bodies[0], *xs)


def _alike(types: tuple[TensorType, ...], wanted: tuple[TensorType, ...]) -> bool:
    """Whether types are the same where what is known of sizes holds: a guard may have told more since."""
    return len(types) == len(wanted) and all(
        x.dtype == y.dtype
        and len(x.shape) == len(y.shape)
        and all(equal(a, b) for a, b in zip(x.shape, y.shape, strict=True))
        for x, y in zip(types, wanted, strict=True)
    )
