"""First-order recurrences along an axis, computed without a loop over positions.

Both operators unfold h_t = a_t*h_{t-1} + b_t in blocks of `BLOCK` positions (Blelloch 1990, "Prefix sums
and their applications"): all blocks advance together from a zero state, which also gives the product of the
factors up to each position; a shorter recurrence over the ends of the blocks, solved the same way, gives the
state that enters each block. The steps written down grow with the logarithm of the length, and no factor is
inverted.

What is counted is the recurrence itself, not the extra products of that order of evaluation.
"""

from __future__ import annotations

from typing import Any

from ..dtypes import DType
from ..sizes.dims import prod
from .core.base import Elements, Lowering, Op, Shape, case
from .core.counts import Cost
from .core.rows import running, wide
from .core.rules import (
    axis_of,
    need_at_least,
    need_divisible,
    need_equal,
    need_float,
    need_inexact,
    need_rank,
    need_same_dtype,
)

BLOCK = 16
# Channels that a kernel advances together.
LANES = 16
# Enough for 16^8 positions, more than a tensor holds.
_LEVELS = 8


class LinearRecurrence(Op, name="linear_recurrence"):
    """All states of h_t = a_t * h_{t-1} + b_t along an axis: [*s], [*s] -> [*s].

    `state`, [*s] without the axis, is what comes before the first position; zero if it is not given.
    `reverse` starts at the end. Equation 1 of arXiv:1709.04057.
    """

    axis: int
    reverse: bool = False
    samples = (
        case({"axis": 1}, (2, 5, 3), (2, 5, 3)),
        case({"axis": -1, "reverse": True}, (2, 19), (2, 19), (2,)),
        case({"axis": 0}, ("c64", (4, 2)), ("c64", (4, 2)), ("c64", (2,))),
    )

    def shape(self, a: Shape, b: Shape, state: Shape | None = None) -> Shape:
        need_rank(a, 1, None, "linear_recurrence", "a")
        axis = axis_of(self.axis, len(a))
        need_rank(b, len(a), len(a), "linear_recurrence", "b")
        for number, (left, right) in enumerate(zip(a, b, strict=True)):
            need_equal(
                left, right, f"sizes of axis {number} of factors and inputs", ("a", number), ("b", number)
            )
        need_at_least(a[axis], 1, f"the size of axis {axis}", ("a", axis))
        if state is not None:
            rest = (*a[:axis], *a[axis + 1 :])
            need_rank(state, len(rest), len(rest), "the state of linear_recurrence", "state")
            for number, (left, right) in enumerate(zip(state, rest, strict=True)):
                need_equal(
                    left, right, f"sizes of axis {number} of the state", ("state", number), ("a", None)
                )
        return a

    def dtype(self, a: DType, b: DType, state: DType | None = None) -> DType:
        need_inexact(a, "linear_recurrence", "a")
        need_same_dtype({"a": a, "b": b} | ({} if state is None else {"state": state}), "linear_recurrence")
        return a

    def cost(self, out: Shape, a: Shape, b: Shape, state: Shape | None = None) -> Cost:
        if state is not None:
            return Cost(macs=prod(a))
        # The first state is the first input.
        axis = axis_of(self.axis, len(a))
        return Cost(macs=prod((*a[:axis], a[axis] - 1, *a[axis + 1 :])))

    def torch(self, t: Lowering, a: Any, b: Any, state: Any = None) -> Any:
        axis = axis_of(self.axis, t.rank(a))
        length = t.shape(a)[axis]
        if self.reverse:
            a, b = a.flip(axis), b.flip(axis)
        states = recurrence(t, a, b, state, axis, t.rank(a), length)
        return states.flip(axis) if self.reverse else states

    def te(self, t: Elements, a: Any, b: Any, state: Any = None) -> Any:
        dtype = wide(a.dtype)

        def start(row: tuple[Any, ...]) -> Any:
            return t.const(0, dtype) if state is None else t.cast(state[row], dtype)

        def step(before: Any, index: tuple[Any, ...]) -> Any:
            return t.cast(a[index], dtype) * before + t.cast(b[index], dtype)

        return running(t, a.shape, axis_of(self.axis, a.rank), dtype, start, step, self.reverse)

    def numpy(self, np: Any, a: Any, b: Any, state: Any = None) -> Any:
        factors, inputs = np.moveaxis(a, self.axis, 0), np.moveaxis(b, self.axis, 0)
        states = np.empty_like(inputs)
        held = 0 if state is None else state
        for at in reversed(range(len(states))) if self.reverse else range(len(states)):
            held = states[at] = factors[at] * held + inputs[at]
        return np.moveaxis(states, 0, self.axis)


class SelectiveScan(Op, name="selective_scan"):
    """State-space model whose matrices depend on the input: [B, D, L] -> [B, D, L] (arXiv:2312.00752).

    u, delta [B, D, L], a [D, N], b and c [B, G, N, L] or [B, N, L], d [D], delta_bias [D]. For each of the D
    channels, with N states and the matrices b and c of its group (D/G channels each),

        h_t = exp(delta_t a) h_{t-1} + delta_t b_t u_t,    y_t = c_t h_t + d u_t

    which is equation 2 of the paper, discretised as its implementation does: exactly for a, by Euler's rule
    for b. The state starts at zero. `delta_bias` is added to delta, and `softplus` applied to it, first.

    Cost: for each of B*D*L*N states 2 MACs, 2 products and 1 exponential (7 FLOPs),
    and for each of B*D*L positions the product of delta and u, a MAC with `d`, a sum with the bias, and the
    softplus. A public convention, which VMamba's counter follows, takes 9*B*D*L*N, and B*D*L more with `d`.
    """

    softplus: bool = False
    samples = (
        case({}, (2, 4, 5), (2, 4, 5), (4, 3), (2, 3, 5), (2, 3, 5)),
        case({"softplus": True}, (2, 4, 6), (2, 4, 6), (4, 3), (2, 2, 3, 6), (2, 2, 3, 6), (4,), (4,)),
        case({}, (1, 6, 7), (1, 6, 7), (6, 1), (1, 3, 1, 7), (1, 1, 7), None, (6,)),
        case({}, (1, 2, 18), (1, 2, 18), (2, 3), (1, 2, 3, 18), (1, 3, 18), (2,)),
    )

    def shape(
        self,
        u: Shape,
        delta: Shape,
        a: Shape,
        b: Shape,
        c: Shape,
        d: Shape | None = None,
        delta_bias: Shape | None = None,
    ) -> Shape:
        for slot, shape in (("u", u), ("delta", delta)):
            need_rank(shape, 3, 3, "selective_scan", slot)
        need_rank(a, 2, 2, "the matrix a of selective_scan", "a")
        for axis, what in enumerate(("batches", "channels", "lengths")):
            need_equal(u[axis], delta[axis], f"{what} of u and delta", ("u", axis), ("delta", axis))
        need_equal(a[0], u[1], "channels of a and u", ("a", 0), ("u", 1))
        for axis, what in ((1, "the number of channels"), (2, "the length")):
            need_at_least(u[axis], 1, what, ("u", axis))
        for slot, shape in (("b", b), ("c", c)):
            need_rank(shape, 3, 4, f"the matrix {slot} of selective_scan", slot)
            need_equal(shape[0], u[0], f"batches of {slot} and u", (slot, 0), ("u", 0))
            need_equal(shape[-2], a[1], f"states of {slot} and a", (slot, -2), ("a", 1))
            need_equal(shape[-1], u[2], f"lengths of {slot} and u", (slot, -1), ("u", 2))
            if len(shape) == 4:
                need_at_least(shape[1], 1, "the number of groups", (slot, 1))
                need_divisible(u[1], shape[1], "the number of channels", ("u", 1), (slot, 1))
        for slot, shape in (("d", d), ("delta_bias", delta_bias)):
            if shape is not None:
                need_rank(shape, 1, 1, f"`{slot}`", slot)
                need_equal(shape[0], u[1], f"sizes of `{slot}` and channels", (slot, 0), ("u", 1))
        return u

    def dtype(
        self,
        u: DType,
        delta: DType,
        a: DType,
        b: DType,
        c: DType,
        d: DType | None = None,
        delta_bias: DType | None = None,
    ) -> DType:
        given = {"u": u, "delta": delta, "a": a, "b": b, "c": c, "d": d, "delta_bias": delta_bias}
        need_float(u, "selective_scan", "u")
        need_same_dtype({slot: dtype for slot, dtype in given.items() if dtype is not None}, "selective_scan")
        return u

    def cost(
        self,
        out: Shape,
        u: Shape,
        delta: Shape,
        a: Shape,
        b: Shape,
        c: Shape,
        d: Shape | None = None,
        delta_bias: Shape | None = None,
    ) -> Cost:
        positions = prod(u)
        states = positions * a[1]
        cost = Cost(macs=2 * states, multiply=2 * states + positions, transcendental=states)
        if d is not None:
            cost += Cost(macs=positions)
        if delta_bias is not None:
            cost += Cost(add=positions)
        if self.softplus:
            cost += Cost(transcendental=2 * positions, compare=positions)
        return cost

    def torch(
        self, t: Lowering, u: Any, delta: Any, a: Any, b: Any, c: Any, d: Any = None, delta_bias: Any = None
    ) -> Any:
        length = t.shape(u)[2]
        if delta_bias is not None:
            delta = delta + delta_bias.unsqueeze(-1)
        if self.softplus:
            delta = t.F.softplus(delta)
        channels = t.shape(u)[1]

        def per_group(operand: Any, shape: tuple[Any, ...]) -> Any:
            # [B, D, L] -> [B, G, D/G, 1, L], beside [B, G, 1, N, L].
            groups = shape[1] if len(shape) == 4 else 1
            return operand.unflatten(1, (groups, channels // groups)).unsqueeze(-2)

        def matrix(operand: Any, shape: tuple[Any, ...]) -> Any:
            return operand.unsqueeze(2) if len(shape) == 4 else operand.unsqueeze(1).unsqueeze(1)

        shape_b, shape_c = t.shape(b), t.shape(c)
        # All states, [B, D, N, L].
        factors = (delta.unsqueeze(2) * a.unsqueeze(-1)).exp()
        inputs = (per_group(delta * u, shape_b) * matrix(b, shape_b)).flatten(1, 2)
        states = recurrence(t, factors, inputs, None, 3, 4, length)
        groups = shape_c[1] if len(shape_c) == 4 else 1
        read = states.unflatten(1, (groups, channels // groups)) * matrix(c, shape_c)
        y = read.sum(-2).flatten(1, 2)
        return y if d is None else t.torch.addcmul(y, u, d.unsqueeze(-1))

    def te(
        self, t: Elements, u: Any, delta: Any, a: Any, b: Any, c: Any, d: Any = None, delta_bias: Any = None
    ) -> Any:
        """In step for `LANES` channels, whose states stay in the cache; positions are read in blocks."""
        dtype = wide(u.dtype)
        batches, channels, length = u.shape
        states = a.shape[1]
        parts, blocks = (channels + (LANES - 1)) // LANES, (length + (BLOCK - 1)) // BLOCK
        zero = t.const(0, dtype)

        def matrix(x: Any, batch: Any, first: Any, lane: Any, n: Any, k: Any) -> Any:
            if x.rank == 3:
                return t.cast(x[batch, n, k], dtype)
            width = channels // x.shape[1]
            # All lanes are in one group where its width allows.
            alike = isinstance(width, int) and (width % LANES == 0 or x.shape[1] == 1)
            channel = first if alike else t.minimum(first + lane, channels - 1)
            return t.cast(x[batch, channel // width, n, k], dtype)

        def emit(loops: Any, outs: list[Any]) -> None:
            with loops.loop(batches * parts, "o", "parallel") as number:
                batch = loops.let(number // parts, "batch")
                first = loops.let(number % parts * LANES, "first")

                def channel(lane: Any) -> Any:
                    return t.minimum(first + lane, channels - 1)

                state, rate = (loops.alloc([states, LANES], dtype, name) for name in ("state", "rate"))
                skip, shift = (loops.alloc([LANES], dtype, name) for name in ("skip", "shift"))
                step, value, y = (loops.alloc([BLOCK, LANES], dtype, name) for name in ("step", "value", "y"))
                with loops.loop(LANES, "lane") as lane:
                    loops.store(skip, zero if d is None else t.cast(d[channel(lane)], dtype), lane)
                    bias = zero if delta_bias is None else t.cast(delta_bias[channel(lane)], dtype)
                    loops.store(shift, bias, lane)
                    with loops.loop(states, "n") as n:
                        loops.store(state, zero, n, lane)
                        loops.store(rate, t.cast(a[channel(lane), n], dtype), n, lane)
                with loops.loop(blocks, "block") as block:
                    start = loops.let(block * BLOCK, "start")
                    count = loops.let(t.minimum(length - start, BLOCK), "count")
                    with loops.loop(LANES, "lane") as lane, loops.loop(count, "k") as k:
                        at = batch, channel(lane), start + k
                        loops.store(step, t.cast(delta[at], dtype), k, lane)
                        loops.store(value, t.cast(u[at], dtype), k, lane)
                    with loops.loop(count, "k") as k:
                        with loops.loop(LANES, "lane") as lane:
                            loops.store(y, value[k, lane] * skip[lane], k, lane)
                            time = loops.let(step[k, lane] + shift[lane])
                            time = loops.let(softplus(t, time, dtype)) if self.softplus else time
                            loops.store(step, time, k, lane)
                            loops.store(value, time * value[k, lane], k, lane)
                        with loops.loop(states, "n") as n, loops.loop(LANES, "lane") as lane:
                            place = batch, first, lane, n, start + k
                            factor = t.exp(step[k, lane] * rate[n, lane])
                            after = loops.let(factor * state[n, lane] + value[k, lane] * matrix(b, *place))
                            loops.store(state, after, n, lane)
                            loops.store(y, y[k, lane] + after * matrix(c, *place), k, lane)
                    filled = loops.let(t.minimum(channels - first, LANES), "filled")
                    with loops.loop(filled, "lane") as lane, loops.loop(count, "k") as k:
                        loops.store(outs[0], t.cast(y[k, lane], t.dtype()), batch, first + lane, start + k)

        return t.build([(u.shape, t.dtype())], emit)[0]


def softplus(t: Elements, x: Any, dtype: str) -> Any:
    """log(1 + e^x), which is x where that is large, as torch has it."""
    return t.select(x > t.const(20, dtype), x, t.log1p(t.exp(x)))


def recurrence(t: Lowering, a: Any, b: Any, state: Any, axis: int, rank: int, length: Any) -> Any:
    """All states of h_t = a_t h_{t-1} + b_t along an axis of `length` positions; `state` may be None."""
    known = isinstance(length, int)
    levels = _LEVELS
    if known:
        levels, reach = 1, BLOCK
        while reach < length:
            levels, reach = levels + 1, reach * BLOCK
    return _unfold(t, a, b, state, axis, rank, length, levels)


def _unfold(t: Lowering, a: Any, b: Any, state: Any, axis: int, rank: int, length: Any, levels: int) -> Any:
    known = isinstance(length, int)
    if levels == 1:
        # One block; positions that are missing leave the state alone: what they hold is cut off.
        size = length if known else BLOCK
        if not known:
            a, b = (_pad(t, x, axis, rank, BLOCK - length) for x in (a, b))
        states, _ = _advance(t, a, b, state, axis, size, products=False)
        found = t.torch.stack(states, axis)
        return found if known else found.narrow(axis, 0, length)
    blocks = (length + (BLOCK - 1)) // BLOCK
    if not known or length % BLOCK:
        a, b = (_pad(t, x, axis, rank, blocks * BLOCK - length) for x in (a, b))
    a, b = (x.unflatten(axis, (blocks, BLOCK)) for x in (a, b))
    states, products = _advance(t, a, b, None, axis + 1, BLOCK, products=True)
    # The state after each block, and, moved by one block, that before it.
    ends = _unfold(t, products[-1], states[-1], state, axis, rank, blocks, levels - 1)
    first = t.torch.zeros_like(ends.narrow(axis, 0, 1)) if state is None else state.unsqueeze(axis)
    before = t.torch.cat([first, ends.narrow(axis, 0, blocks - 1)], axis)
    inside = t.torch.stack(states, axis + 1)
    reach = t.torch.stack(products, axis + 1)
    found = t.torch.addcmul(inside, reach, before.unsqueeze(axis + 1)).flatten(axis, axis + 1)
    return found.narrow(axis, 0, length) if not known or length % BLOCK else found


def _advance(
    t: Lowering, a: Any, b: Any, state: Any, axis: int, size: int, products: bool
) -> tuple[list[Any], list[Any]]:
    """The states at each of `size` positions, and the products of all factors up to them."""
    factors, inputs = a.unbind(axis), b.unbind(axis)
    states = [inputs[0] if state is None else t.torch.addcmul(inputs[0], factors[0], state)]
    reach = [factors[0]]
    for at in range(1, size):
        states.append(t.torch.addcmul(inputs[at], factors[at], states[-1]))
        if products:
            reach.append(reach[-1] * factors[at])
    return states, reach


def _pad(t: Lowering, x: Any, axis: int, rank: int, count: Any) -> Any:
    return t.F.pad(x, (*[0, 0] * (rank - 1 - axis), 0, count))
