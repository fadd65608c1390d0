"""Experts: maps of which each position uses only those that a router chose for it."""

from __future__ import annotations

from typing import Any

from ..counts import Cost
from ..dims import Size, prod
from ..dtypes import DType
from .base import Layer, Lowering, Op, Shape, WeightSpec, case
from .index import need_index
from .init import Init, fan_in_uniform
from .rules import ShapeError, need_at_least, need_equal, need_positive, need_rank, need_same_dtype


class ExpertLinearWith(Op, name="expert_linear_with"):
    """Affine maps chosen for each position: [*b, K, I], i64[*b, K], [E, O, I], [E, O] -> [*b, K, O].

    y_k = W_e x_k + b_e with e = chosen[k], one of E experts (equation 1 of arXiv:1701.06538); K is the static
    bound of a position's choices, which differ.

    Cost: the chosen maps, which is what a position uses; `parts` tells how much more all would be. The
    lowering to torch asks every expert and keeps what was chosen, so that nothing depends on the data.
    """

    samples = (
        case({}, (2, 3, 2, 4), ("i64", (2, 3, 2)), (3, 5, 4), (3, 5)),
        case({}, (6, 1, 4), ("i64", (6, 1)), (2, 3, 4)),
    )

    def shape(self, x: Shape, chosen: Shape, weight: Shape, bias: Shape | None = None) -> Shape:
        need_rank(x, 2, None, "expert_linear")
        need_rank(chosen, len(x) - 1, len(x) - 1, "the choice of expert_linear", "chosen")
        need_rank(weight, 3, 3, "the weight of expert_linear", "weight")
        if not isinstance(weight[0], int):
            raise ShapeError("the number of experts must be known", operands=(("weight", 0),))
        for axis, (left, right) in enumerate(zip(x[:-1], chosen, strict=True)):
            what = f"sizes of axis {axis} of inputs and choices"
            need_equal(left, right, what, ("x", axis), ("chosen", axis))
        need_equal(x[-1], weight[2], "features of the input and of the weight", ("x", -1), ("weight", 2))
        need_at_least(weight[0], chosen[-1], "the number of experts, each chosen once,", ("weight", 0))
        if bias is not None:
            need_rank(bias, 2, 2, "the bias of expert_linear", "bias")
            for axis, what in enumerate(("experts", "features")):
                need_equal(
                    bias[axis], weight[axis], f"{what} of bias and weight", ("bias", axis), ("weight", axis)
                )
        return (*x[:-1], weight[1])

    def dtype(self, x: DType, chosen: DType, weight: DType, bias: DType | None = None) -> DType:
        need_index(chosen, "expert_linear", "chosen", ())
        given = {"x": x, "weight": weight} | ({} if bias is None else {"bias": bias})
        need_same_dtype(given, "expert_linear")
        return x

    def cost(self, out: Shape, x: Shape, chosen: Shape, weight: Shape, bias: Shape | None = None) -> Cost:
        return Cost(macs=prod(out) * x[-1], add=0 if bias is None else prod(out))

    def parts(
        self, x: Shape, chosen: Shape, weight: Shape, bias: Shape | None = None
    ) -> tuple[Size, Size, tuple[str, ...]]:
        """A position uses the first number of the second's equal parts, of these operands."""
        return chosen[-1], weight[0], ("weight", "bias")

    def torch(self, t: Lowering, x: Any, chosen: Any, weight: Any, bias: Any = None) -> Any:
        place = chosen.unsqueeze(-1)
        found: Any = None
        for expert in range(t.shape(weight)[0]):
            own = None if bias is None else bias.select(0, expert)
            answer = t.F.linear(x, weight.select(0, expert), own)
            kept = t.torch.where(place == expert, answer, t.torch.zeros_like(answer))
            found = kept if found is None else found + kept
        return found


class ExpertLinear(Layer, name="expert_linear"):
    """Affine maps chosen for each position: [*b, K, I], i64[*b, K] -> [*b, K, out]; see `expert_linear_with`.

    Weights: `weight` [experts, out, I], `bias` [experts, out] unless switched off; each expert's as those of
    `linear`.
    """

    experts: Size
    out: Size
    bias: bool = True
    init: Init | None = None
    bias_init: Init | None = None
    samples = (
        case({"experts": 3, "out": 4}, (2, 3, 2, 5), ("i64", (2, 3, 2))),
        case({"experts": 2, "out": 3, "bias": False}, (3, 2, 4), ("i64", (3, 2))),
    )

    def weights(self, x: Shape, chosen: Shape) -> dict[str, WeightSpec]:
        need_rank(x, 2, None, "expert_linear")
        need_positive(self.experts, "experts")
        need_positive(self.out, "out")
        # The fan of one expert: its weight is a matrix.
        default = fan_in_uniform(x[-1]) if isinstance(x[-1], int) else fan_in_uniform()
        specs = {"weight": WeightSpec((self.experts, self.out, x[-1]), self.init or default)}
        if self.bias:
            specs["bias"] = WeightSpec((self.experts, self.out), self.bias_init or default)
        return specs

    def core(self, x: Shape, chosen: Shape) -> ExpertLinearWith:
        return ExpertLinearWith()
