"""Recurrence: a step applied along an axis, with state carried from one position to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..sizes.dims import Size
from .core.base import Lowering, Op, Shape
from .core.counts import NOTHING, Cost
from .core.rules import ShapeError, Undecided, axis_of, collecting, need_equal

if TYPE_CHECKING:
    from ..graph.graph import Graph
    from ..types import TensorType


class Scan(Op, name="scan_loop"):
    """Run the body along an axis: [*a, N, *b], states, captured weights -> [*a', N, *b'], states.

    The body takes (slice without the axis, *state, *captured) and gives (output, *state). The outputs are
    stacked along the same axis; the state after the last position is the rest of the results. `reverse`
    starts at
    the end (outputs keep their positions). Plans write `scan(step, axis=1)`.
    """

    axis: int
    states: int
    reverse: bool = False
    internal = True

    def shape(self, *xs: Shape) -> list[Shape]:
        """Results follow from the body: see `infer`."""
        raise AssertionError("a scan is inferred from its body")

    def infer(
        self, types: tuple[TensorType, ...], slots: tuple[str, ...], bodies: tuple[Graph, ...] = ()
    ) -> tuple[tuple[TensorType, ...], tuple[Undecided, ...]]:
        with collecting() as undecided:
            inferred = self._stacked(types, *bodies)
        return inferred, tuple(undecided)

    def _stacked(self, types: tuple[TensorType, ...], body: Graph) -> tuple[TensorType, ...]:
        from ..types import TensorType

        sequence = types[0].shape
        axis = axis_of(self.axis, len(sequence))
        inside = [value.type for value in body.inputs]
        outside = [TensorType((*sequence[:axis], *sequence[axis + 1 :]), types[0].dtype), *types[1:]]
        for given, wanted in zip(outside, inside, strict=True):
            _same(given, wanted, "what a scan is given and what its step takes")
        output, *state = [value.type for value in body.outputs]
        if len(state) != self.states:
            raise ShapeError(f"the step returns {len(state)} states, and is given {self.states}", "value")
        for number, (before, after) in enumerate(zip(types[1:], state, strict=False), 1):
            _same(after, before, f"state {number} before and after the step")
        if axis > len(output.shape):
            raise ShapeError(
                f"the step's output has {len(output.shape)} axes, too few for axis {axis}", "rank"
            )
        stacked = (*output.shape[:axis], sequence[axis], *output.shape[axis:])
        return (TensorType(stacked, output.dtype), *state)

    def cost(self, out: Any, *xs: Shape) -> Cost:
        """The step's operators are counted, once for each position."""
        return NOTHING

    def repetitions(self, *xs: Shape) -> Size:
        """How often the body runs: the length of the axis."""
        return xs[0][axis_of(self.axis, len(xs[0]))]

    def torch(self, t: Lowering, *xs: Any) -> Any:
        sequence, state, captured = xs[0], xs[1 : 1 + self.states], xs[1 + self.states :]
        axis = axis_of(self.axis, t.rank(sequence))
        return t.scan(axis, self.reverse, sequence, tuple(state), tuple(captured))


def _same(given: TensorType, wanted: TensorType, what: str) -> None:
    if given.dtype != wanted.dtype:
        raise ShapeError(f"{what}: the types differ: {given.dtype} and {wanted.dtype}", "dtype")
    if len(given.shape) != len(wanted.shape):
        raise ShapeError(f"{what}: {given} and {wanted}", "rank")
    for axis, (a, b) in enumerate(zip(given.shape, wanted.shape, strict=True)):
        need_equal(a, b, f"{what}: sizes of axis {axis}")
