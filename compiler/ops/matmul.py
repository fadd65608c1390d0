"""Matrix products."""

from __future__ import annotations

from typing import Any

from ..counts import Cost
from ..dims import prod
from ..dtypes import DType
from .base import Lowering, Op, Shape, case
from .rules import broadcast, need_equal, need_rank, need_same_dtype


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
        need_equal(x[-1], y[inner], "the sizes that matmul sums over", ("x", -1), ("y", inner))
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
