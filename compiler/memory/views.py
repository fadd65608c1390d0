"""Which operators make no buffer of their own: views, and results that may take the place of an operand."""

from __future__ import annotations

from ..cost.sizes import Binding
from ..graph.graph import Node, Value
from ..ops.cast import Cast
from ..ops.core.rules import axis_of
from ..ops.index import MaskedFill
from ..ops.layout import Permute, Transpose
from ..ops.norm import BatchNormWith
from ..ops.pointwise import Binary, Unary
from ..ops.select import Clamp, Lerp, Where
from ..types import Shape

# Each element of the result depends on the operands' elements at the same place, and on vectors that are
# read-only: a kernel reads them before it writes there.
_ELEMENTWISE = (Unary, Binary, Clamp, Lerp, Where, MaskedFill)


def shares_storage(node: Node, binding: Binding) -> bool:
    """Whether the result is its operand's bytes in their order, under another shape.

    Tensors are dense, the last axis the fastest. So a reshape is a view, and a permute that only moves axes
    of size 1, and a slice of all; a slice of a part and any other permute are copied, though torch has
    views for them.
    """
    if not node.op.view or len(node.results) != 1:
        return False
    (result,) = node.results
    (operand,) = set(node.inputs) if len(set(node.inputs)) == 1 else (None,)
    if operand is None or extent(operand, binding) != extent(result, binding):
        return False
    if isinstance(node.op, (Permute, Transpose)):
        return _moves_only_ones(node.op, binding.measure(operand.type).type.shape)
    return True


def extent(value: Value, binding: Binding) -> int:
    """The bytes of a value whose sizes are all bound."""
    measured = binding.measure(value.type)
    assert isinstance(measured.elements, int)
    return measured.elements * measured.width


def _moves_only_ones(op: Permute | Transpose, shape: Shape) -> bool:
    rank = len(shape)
    if isinstance(op, Permute):
        order = [axis_of(axis, rank) for axis in op.axes]
    else:
        order = list(range(rank))
        a, b = axis_of(op.a, rank), axis_of(op.b, rank)
        order[a], order[b] = order[b], order[a]
    kept = [axis for axis in order if shape[axis] != 1]
    return kept == sorted(kept)


def may_overwrite(node: Node, binding: Binding) -> tuple[Value, ...]:
    """The operands whose place the node's result may take, if nothing needs them later.

    They have the type and the number of elements of the result, so under broadcasting each stands at the
    place that it is read at. A batch norm with running statistics is elementwise too.
    """
    if len(node.results) != 1 or node.op.view:
        return ()
    (result,) = node.results
    if isinstance(node.op, BatchNormWith):
        operands = () if node.op.training or "running_mean" not in node.slots else node.inputs[:1]
    elif isinstance(node.op, _ELEMENTWISE) and not isinstance(node.op, Cast):
        operands = node.inputs
    else:
        operands = ()
    return tuple(
        dict.fromkeys(
            value
            for value in operands
            if binding.measure(value.type).type.dtype == binding.measure(result.type).type.dtype
            and extent(value, binding) == extent(result, binding)
        )
    )
