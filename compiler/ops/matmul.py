"""Matrix products."""

from __future__ import annotations

from typing import Any

from ..dtypes import DType
from ..sizes.dims import prod
from .core.base import Elements, Lowering, Op, Shape, case
from .core.counts import Cost
from .core.rows import wide
from .core.rules import broadcast, need_equal, need_rank, need_same_dtype


class MatMul(Op, name="matmul"):
    """Matrix product, `x @ y`: [*a, N, K], [*b, K, M] -> [*ab, N, M], as torch.matmul.

    Leading axes broadcast. A first operand [K] is a row, a second one [K] a column, and the result lacks it.
    """

    role = "contraction"
    samples = (
        case({}, (2, 3), (3, 4)),
        case({}, (5, 1, 2, 3), (6, 3, 4)),
        case({}, (3,), (3,)),
        case({}, (3,), (2, 3, 4)),
        case({}, (2, 4, 3), (3,)),
    )

    def shape(self, x: Shape, y: Shape) -> Shape:
        need_rank(x, 1, None, "matmul", "x")
        need_rank(y, 1, None, "matmul", "y")
        inner = -1 if len(y) == 1 else -2
        places = f"axis {len(x) - 1} of the left and axis {len(y) + inner} of the right"
        need_equal(x[-1], y[inner], f"inner sizes ({places})", ("x", -1), ("y", inner))
        # Ones for the axes of the product keep the numbers of the leading axes right in messages.
        leading = broadcast((*x[:-2], 1, 1), (*y[:-2], 1, 1), what="leading axes of matmul", slots=("x", "y"))
        return (*leading[:-2], *x[-2:-1], *y[-1:][: len(y) - 1])

    def dtype(self, x: DType, y: DType) -> DType:
        need_same_dtype({"x": x, "y": y}, "matmul")
        return x

    def cost(self, out: Shape, x: Shape, y: Shape) -> Cost:
        return Cost(macs=prod(out) * x[-1])

    def torch(self, t: Lowering, x: Any, y: Any) -> Any:
        return t.torch.matmul(x, y)

    def te(self, t: Elements, x: Any, y: Any) -> Any:
        dtype = wide(t.dtype())
        shape = t.shape()
        columns = 1 if y.rank > 1 else 0
        rows = 1 if x.rank > 1 else 0

        def element(*index: Any) -> Any:
            at, k = index[:-1], index[-1]
            lead = at[: len(at) - rows - columns]
            row, column = at[len(lead) : len(lead) + rows], at[len(lead) + rows :]
            left = t.read(x, (*lead, *row, k) if rows else (k,))
            right = t.read(y, (*lead, k, *column) if columns else (k,))
            return t.cast(left, dtype) * t.cast(right, dtype)

        total = t.reduce("sum", shape, (x.shape[-1],), element, dtype)
        return total if dtype == t.dtype() else t.compute(shape, lambda *i: total[i])

    def numpy(self, np: Any, x: Any, y: Any) -> Any:
        return np.matmul(x, y)
