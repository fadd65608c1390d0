"""Experts: maps of which each position uses only those that a router chose for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..dtypes import DType
from ..sizes.dims import Size, prod
from .core.base import Elements, Layer, Lowering, Op, Shape, WeightSpec, case
from .core.counts import Cost
from .core.indexing import loop_kind, parted, within
from .core.init import Init, fan_in_uniform
from .core.rows import product, wide
from .core.rules import ShapeError, need_at_least, need_equal, need_positive, need_rank, need_same_dtype
from .index import need_index


class ExpertLinearWith(Op, name="expert_linear_with"):
    """Affine maps chosen for each position: [*b, K, I], i64[*b, K], [E, O, I], [E, O] -> [*b, K, O].

    y_k = W_e x_k + b_e with e = chosen[k], one of E experts (equation 1 of arXiv:1701.06538); K is the static
    bound of a position's choices, which differ. A choice that is no expert's gives zeros.

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

    def te(self, t: Elements, x: Any, chosen: Any, weight: Any, bias: Any = None) -> Any:
        experts, out, features = weight.shape
        choices = product(chosen.shape)
        dtype = wide(t.dtype())
        # Outputs that are worked out together, of the same elements of `x`.
        block = 4 if isinstance(out, int) and out % 4 == 0 else 1
        tiles = (out + (_TILE - 1)) // _TILE

        def emit(b: Any, outs: list[Any]) -> None:
            starts, order = _by_expert(t, b, chosen, experts, choices)
            with b.loop(tiles * experts, "o", loop_kind(choices, out, features)) as number:
                expert = b.let(number % experts, "expert")
                first = b.let(number // experts * _TILE, "first")
                count = b.let(t.minimum(out - first, _TILE) // block, "count")
                with b.loop(starts[expert + 1] - starts[expert], "r") as r:
                    at = [b.let(i, "i") for i in parted(t, order[starts[expert] + r], chosen.shape)]
                    known = b.let(t.mul(chosen[tuple(at)] >= 0, chosen[tuple(at)] < experts), "known")
                    with b.loop(count, "c") as group:
                        rows = b.let(first + group * block, "rows")
                        sums = _products(
                            t,
                            b,
                            block,
                            features,
                            dtype,
                            lambda n, k: (
                                t.cast(x[(*at, k)], dtype),
                                t.cast(weight[expert, rows + n, k], dtype),
                            ),
                        )
                        with b.loop(block, "n") as n:
                            value = sums[n, 0]
                            if bias is not None:
                                value = value + t.cast(bias[expert, rows + n], dtype)
                            value = t.select(known, value, t.const(0, dtype))
                            b.store(outs[0], t.cast(value, t.dtype()), *at, rows + n)

        return t.build([(t.shape(), t.dtype())], emit)[0]

    def numpy(self, np: Any, x: Any, chosen: Any, weight: Any, bias: Any = None) -> Any:
        known = ((chosen >= 0) & (chosen < weight.shape[0]))[..., None]
        expert = np.where(known[..., 0], chosen, 0)
        found = np.zeros((*x.shape[:-1], weight.shape[1]), x.dtype)
        for number in range(weight.shape[0]):
            own = expert == number
            found[own] = x[own] @ weight[number].T + (0 if bias is None else bias[number])
        return np.where(known, found, 0)


_TILE = 16
"""Outputs of an expert that a thread works out for all positions that chose it, with the weights at hand."""
_LANES = 16


def _by_expert(t: Elements, b: Any, chosen: Any, experts: int, choices: Any) -> tuple[Any, Any]:
    """The choices in the order of their experts, and where those of each begin: counted and put in place."""
    kind = t.index_type(choices)
    starts = b.alloc([experts + 1], kind, "starts")
    ends = b.alloc([experts], kind, "ends")
    order = b.alloc([choices], kind, "order")

    def expert(choice: Any) -> Any:
        at = tuple(parted(t, choice, chosen.shape))
        return b.let(within(t, chosen[at], chosen.dtype, experts), "expert")

    with b.loop(experts + 1, "e") as e:
        b.store(starts, t.const(0, kind), e)
    with b.loop(choices, "p") as p:
        e = expert(p)
        b.store(starts, starts[e + 1] + 1, e + 1)
    with b.loop(experts, "e") as e:
        b.store(starts, starts[e] + starts[e + 1], e + 1)
        b.store(ends, starts[e], e)
    with b.loop(choices, "p") as p:
        e = expert(p)
        b.store(order, t.cast(p, kind), ends[e])
        b.store(ends, ends[e] + 1, e)
    return starts, order


def _products(
    t: Elements, b: Any, block: int, features: Any, dtype: str, factors: Callable[[Any, Any], tuple[Any, Any]]
) -> Any:
    """Sums of products over the features, [block, 0]."""
    sums = b.alloc([block, _LANES], dtype, "sums")

    def take(n: Any, lane: Any, k: Any) -> None:
        left, right = factors(n, k)
        b.store(sums, sums[n, lane] + left * right, n, lane)

    with b.loop(block, "n") as n, b.loop(_LANES, "lane", "vectorized") as lane:
        b.store(sums, t.const(0, dtype), n, lane)
    whole = features // _LANES
    with (
        b.loop(whole, "k") as k,
        b.loop(block, "n", "unrolled") as n,
        b.loop(_LANES, "lane", "vectorized") as lane,
    ):
        take(n, lane, k * _LANES + lane)
    with b.loop(features - whole * _LANES, "k") as k, b.loop(block, "n") as n:
        take(n, 0, whole * _LANES + k)
    with b.loop(_LANES - 1, "lane") as lane, b.loop(block, "n") as n:
        b.store(sums, sums[n, 0] + sums[n, lane + 1], n, 0)
    return sums


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
