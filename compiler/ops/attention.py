"""Scaled dot-product attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from ..dtypes import BOOL, DType, bind
from ..sizes.dims import prod
from .core.base import Elements, Lowering, Op, Shape, case
from .core.counts import Cost
from .core.rows import wide
from .core.rules import (
    ShapeError,
    broadcast,
    need_at_least,
    need_divisible,
    need_equal,
    need_float,
    need_rank,
    need_same_dtype,
)


class ScaledDotProductAttention(Op, name="scaled_dot_product_attention"):
    """softmax(q k^T * scale + mask) v: [*b, N, E], [*b, M, E], [*b, M, D] -> [*b, N, D].

    Equation 1 of arXiv:1706.03762, as torch.nn.functional.scaled_dot_product_attention. Leading axes
    broadcast. `mask` broadcasts to [*b, N, M]: float is added to the scores, bool keeps where true. `causal`
    keeps what is not later, counted from the first row and column. `scale` is 1/sqrt(E) unless given. `gqa`
    lets groups of query heads (axis -3) share a head of keys and values (arXiv:2305.13245). A row whose keys
    are all masked is `empty`: "zero", as torch's function gives, or "nan", as a softmax of such a row.
    """

    causal: bool = False
    scale: float | None = None
    gqa: bool = False
    empty: Literal["zero", "nan"] = "zero"
    role = "contraction"
    samples = (
        case({}, (2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 7)),
        case({"causal": True, "scale": 0.5}, (2, 4, 5), (2, 4, 5), (2, 4, 5)),
        case({}, (2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 5), (2, 1, 4, 6)),
        case({}, (2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 5), ("bool", (1, 6))),
        case({"gqa": True}, (2, 6, 4, 5), (2, 3, 8, 5), (2, 3, 8, 5)),
        case({"empty": "nan"}, (2, 3, 4, 5), (2, 3, 6, 5), (2, 3, 6, 5), (2, 1, 4, 6)),
        case({}, (4, 5), (6, 5), (6, 7)),
        case({}, (2, 4, 5), (2, 6, 5), (2, 6, 7), (4, 6)),
        case({}, (2, 3, 2, 4, 5), (2, 3, 2, 6, 5), (2, 3, 2, 6, 7)),
        case({}, (2, 3, 2, 4, 5), (2, 3, 2, 6, 5), (2, 3, 2, 6, 7), (3, 2, 4, 6)),
        case({}, (2, 3, 2, 4, 5), (2, 3, 2, 6, 5), (2, 3, 2, 6, 7), ("bool", (2, 1, 1, 4, 6))),
    )

    def _scores(self, q: Shape, k: Shape) -> Shape:
        """The shape of q k^T, [*b, N, M], with keys repeated for the groups of queries."""
        heads = (*k[:-3], q[-3]) if self.gqa else k[:-2]
        leading = _leading(q[:-2], heads, "queries and keys", ("q", "k"))
        return (*leading, q[-2], k[-2])

    def shape(self, q: Shape, k: Shape, v: Shape, mask: Shape | None = None) -> Shape:
        for slot, shape in (("q", q), ("k", k), ("v", v)):
            need_rank(shape, 3 if self.gqa else 2, None, "attention", slot)
        need_equal(q[-1], k[-1], "features of queries and keys", ("q", -1), ("k", -1))
        need_equal(k[-2], v[-2], "numbers of keys and values", ("k", -2), ("v", -2))
        heads = v[:-2]
        if self.gqa:
            for slot, shape in (("k", k), ("v", v)):
                need_at_least(shape[-3], 1, "the number of heads", (slot, -3))
                need_divisible(q[-3], shape[-3], "the number of query heads", ("q", -3), argument="gqa")
            heads = (*v[:-3], q[-3])
        scores = self._scores(q, k)
        if mask is not None:
            if self.causal:
                raise ShapeError("attention takes a mask or `causal`, not both", "value", argument="causal")
            need_rank(mask, 0, len(scores), "the mask", "mask")
            whole = broadcast(scores, mask, what="mask and scores", slots=("q", "mask"))
            for axis, (left, right) in enumerate(zip(whole, scores, strict=True), start=-len(scores)):
                need_equal(left, right, f"axis {axis} of the mask and of the scores", ("mask", axis))
        return (*_leading(scores[:-2], heads, "scores and values", ("q", "v")), q[-2], v[-1])

    def dtype(self, q: DType, k: DType, v: DType, mask: DType | None = None) -> DType:
        need_float(q, "attention", "q")
        need_same_dtype({"q": q, "k": k, "v": v}, "attention")
        if mask is not None and mask not in (BOOL, q) and bind(mask) != "f32":
            raise ShapeError(f"the mask is {mask}, and must be bool or {q}", "dtype", (("mask", None),))
        return q

    def cost(self, out: Shape, q: Shape, k: Shape, v: Shape, mask: Shape | None = None) -> Cost:
        scores = prod(self._scores(q, k))
        # Softmax takes of each score the maximum, the difference, the exponential, the sum and the quotient.
        # The scale is one product a score; a mask one addition, `causal` one selection.
        return Cost(
            macs=scores * q[-1] + prod(out) * k[-2],
            multiply=scores,
            add=2 * scores if mask is None else 3 * scores,
            compare=2 * scores if self.causal else scores,
            transcendental=scores,
            divide=scores,
        )

    def torch(self, t: Lowering, q: Any, k: Any, v: Any, mask: Any = None) -> Any:
        settings: dict[str, Any] = {"is_causal": self.causal, "scale": self.scale}
        if self.gqa:
            settings["enable_gqa"] = True
        # torch has fast kernels for operands of just 4 axes, the leading ones alike, and masks of 2 or 4.
        rank, own = max(t.rank(x) for x in (q, k, v)), 3 if self.gqa else 2
        leading = _common([t.shape(x)[:-own] for x in (q, k, v)])
        operands = [_of_four(_stretched(t, x, leading, own), rank) for x in (q, k, v)]
        batch = leading[: max(rank - 3, 0)]
        boolean = mask is not None and t.dtype_of(mask) == BOOL
        mask = None if mask is None else _mask_of_four(t, mask, batch)
        out = t.F.scaled_dot_product_attention(*operands, mask, **settings)
        if self.empty == "nan" and mask is not None:
            masked = mask.logical_not() if boolean else mask == float("-inf")
            out = out.masked_fill(masked.all(-1, keepdim=True), float("nan"))
        if rank > 4:
            return out.unflatten(0, batch)
        return out if rank == 4 else out.flatten(0, 4 - rank)

    def te(self, t: Elements, q: Any, k: Any, v: Any, mask: Any = None) -> Any:
        # Stages for each row of the scores, all of which have its axes first.
        dtype = wide(q.dtype)
        shape = t.shape()
        rows, keys, features = shape[:-1], k.shape[-2], q.shape[-1]
        least = t.const(float("-inf"), dtype)

        def shared(x: Any, lead: tuple[Any, ...], *at: Any) -> Any:
            """An element of keys or values, for a head of queries."""
            if self.gqa:
                lead = (*lead[:-1], lead[-1] // (q.shape[-3] // x.shape[-3]))
            return t.cast(t.read(x, (*lead, *at)), dtype)

        def product(*index: Any) -> Any:
            *lead, n, m, e = index
            return t.cast(t.read(q, (*lead, n, e)), dtype) * shared(k, tuple(lead), m, e)

        products = t.reduce("sum", (*rows, keys), (features,), product, dtype)

        def score(*index: Any) -> Any:
            scale = t.rsqrt(t.cast(features, dtype)) if self.scale is None else t.const(self.scale, dtype)
            value = products[index] * scale
            if self.causal:
                return t.select(index[-1] <= index[-2], value, least)
            if mask is None:
                return value
            own = t.read(mask, index)
            return t.select(own, value, least) if mask.dtype == "bool" else value + t.cast(own, dtype)

        scores = t.compute((*rows, keys), score, dtype, keep=True)
        top = t.reduce("max", rows, (keys,), lambda *index: scores[index], dtype)

        def power(*index: Any) -> Any:
            # Where all is masked nothing is subtracted: the powers are zero, and so is the result.
            most = t.let(top[index[:-1]])
            if self.empty == "nan":
                return t.exp(scores[index] - most)
            return t.exp(scores[index] - t.select(t.eq(most, least), t.const(0, dtype), most))

        powers = t.compute((*rows, keys), power, dtype, keep=True)
        total = t.reduce("sum", rows, (keys,), lambda *index: powers[index], dtype)

        def part(*index: Any) -> Any:
            *lead, n, d, m = index
            return powers[(*lead, n, m)] * shared(v, tuple(lead), m, d)

        parts = t.reduce("sum", shape, (keys,), part, dtype)

        def element(*index: Any) -> Any:
            weight = t.let(total[index[:-1]])
            empty = t.eq(weight, t.const(0, dtype))
            return t.select(empty, t.const(0, dtype), parts[index] / weight)

        return t.compute(shape, element)


def _of_four(x: Any, rank: int) -> Any:
    """[*b, h, n, e] -> [prod(b), h, n, e]; where axes are missing, their size is 1."""
    if rank > 4:
        return x.flatten(0, rank - 4)
    for _ in range(4 - rank):
        x = x.unsqueeze(0)
    return x


def _mask_of_four(t: Lowering, mask: Any, batch: tuple[Any, ...]) -> Any:
    """A mask as it is applied to scores whose axes of sizes `batch` became one.

    It is copied only where it varies along some of these and not along others.
    """
    rank = t.rank(mask)
    if rank < 4:
        for _ in range({0: 2, 1: 1, 2: 0, 3: 1}[rank]):
            mask = mask.unsqueeze(0)
        return mask
    if all(_is_one(size) for size in t.shape(mask)[:-3]):
        return _of_four(mask, rank)
    return _of_four(_stretched(t, mask, batch, own=3), 3 + len(batch))


def _common(shapes: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The sizes under broadcasting. The shape rule has seen to it that those which are not 1 agree."""
    rank = max(len(shape) for shape in shapes)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(
        next((size for size in sizes if not _is_one(size)), 1) for sizes in zip(*padded, strict=True)
    )


def _stretched(t: Lowering, x: Any, leading: tuple[Any, ...], own: int) -> Any:
    """The operand with these leading axes before its last `own`, without copying."""
    shape = t.shape(x)
    alike = len(shape) == len(leading) + own and all(
        _is_one(wide) or not _is_one(size) for size, wide in zip(shape, leading, strict=False)
    )
    return x if alike else x.expand(*leading, *shape[-own:])


def _is_one(size: Any) -> bool:
    return isinstance(size, int) and size == 1


def _leading(left: Shape, right: Shape, what: str, slots: tuple[str, str]) -> Shape:
    """The common leading axes of operands with two more; those two keep the axes' numbers right."""
    return broadcast((*left, 1, 1), (*right, 1, 1), what=f"leading axes of {what}", slots=slots)[:-2]
