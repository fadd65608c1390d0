"""Rows of a table by index."""

from __future__ import annotations

from typing import Any

from ..dtypes import DType
from ..sizes.dims import Size, prod
from .core.base import Elements, Layer, Lowering, Op, Shape, WeightSpec, case
from .core.counts import NOTHING, Cost
from .core.indexing import within
from .core.init import Init, normal
from .core.rules import ShapeError, need_at_least, need_positive, need_rank
from .positions import Positions


class EmbeddingWith(Op, name="embedding_with"):
    """Rows of a given table by index: i64[*b], [num, dim] -> [*b, dim], as torch.nn.functional.embedding.

    Indices count from 0, and others than the table has are an error when the plan runs. The row `padding_idx`
    gets no gradient; a negative one counts from the end.
    """

    padding_idx: int | None = None
    role = "move"
    samples = (
        case({}, ("i64", (2, 3)), (5, 4)),
        case({"padding_idx": 4}, ("i32", (4,)), (5, 2)),
    )

    def shape(self, x: Shape, weight: Shape) -> Shape:
        need_rank(weight, 2, 2, "the table of embedding", "weight")
        need_at_least(weight[0], 1, "the number of rows", ("weight", 0))
        if self.padding_idx is not None:
            least = self.padding_idx + 1 if self.padding_idx >= 0 else -self.padding_idx
            need_at_least(weight[0], least, "the number of rows, for `padding_idx`,", ("weight", 0))
        return (*x, weight[1])

    def dtype(self, x: DType, weight: DType) -> DType:
        if x not in ("i32", "i64"):
            raise ShapeError(f"embedding needs i64 or i32 indices, and got {x}", "dtype", (("x", None),))
        return weight

    def cost(self, out: Shape, x: Shape, weight: Shape) -> Cost:
        return NOTHING

    def reads(self, x: Shape, weight: Shape) -> dict[str, Size]:
        return {"weight": prod(x) * weight[1]}

    def positions(self, out: Shape, x: Shape, weight: Shape) -> Positions:
        return Positions("x", weight[0])

    def torch(self, t: Lowering, x: Any, weight: Any) -> Any:
        return t.F.embedding(x, weight, padding_idx=self.padding_idx)

    def te(self, t: Elements, x: Any, weight: Any) -> Any:
        return t.compute(t.shape(), lambda *i: weight[within(t, x[i[:-1]], x.dtype, weight.shape[0]), i[-1]])

    def numpy(self, np: Any, x: Any, weight: Any) -> Any:
        return np.take(weight, x, 0, mode="clip")

    def module(self, t: Lowering, x: Shape, weight: Shape) -> Any:
        return t.nn.Embedding(weight[0], weight[1], padding_idx=self.padding_idx)


class Embedding(Layer, name="embedding"):
    """A learned row for each index: i64[*b] -> [*b, dim].

    Weights: `weight` [num, dim], standard normal, with the row `padding_idx` zero and without gradient.
    """

    num: Size
    dim: Size
    padding_idx: int | None = None
    init: Init | None = None
    samples = (
        case({"num": 5, "dim": 4}, ("i64", (2, 3))),
        case({"num": 5, "dim": 3, "padding_idx": -1}, ("i64", (2,))),
    )

    def weights(self, x: Shape) -> dict[str, WeightSpec]:
        need_positive(self.num, "num")
        need_positive(self.dim, "dim")
        return {"weight": WeightSpec((self.num, self.dim), self.init or self._default())}

    def _default(self) -> Init:
        if self.padding_idx is None:
            return normal()
        return Init("normal", (*normal().arguments, ("zero_row", self.padding_idx)))

    def core(self, x: Shape) -> EmbeddingWith:
        return EmbeddingWith(padding_idx=self.padding_idx)
