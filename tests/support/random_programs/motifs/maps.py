"""Convolutions and linear maps, with what follows them in networks."""

from __future__ import annotations

from math import prod

from ..grow import Grower
from .common import UNARY, chain, divisor, residual


def conv(g: Grower) -> None:
    """A convolution of any kind, with what follows it in networks."""
    rng, x = g.rng, g.pick(3, 4, 4, 4, 5)
    channels = x.shape[1]
    if not channels:
        return
    out = rng.choice((channels, 4, 6, 8, 16, 16, 24, 5, 32))
    kernel = rng.choice((1, 1, 3, 3, 3, 2, 5, 7)) if x.rank < 5 else rng.choice((1, 2, 3))
    said = f"{out}, {kernel}"
    if x.rank == 4 and rng.random() < 0.2:
        kernel = 3
        said = f"{out}, [{rng.choice((1, 3))}, {rng.choice((3, 5))}]"
    groups = 1
    if rng.random() < 0.4:
        groups = channels if rng.random() < 0.7 else divisor(rng, channels)
        out = groups * rng.choice((1, 1, 1, 2))
        said = f"{out}, {kernel}"
    more = [f"groups={groups}"] if groups > 1 else []
    if rng.random() < 0.75 and kernel > 1:
        pad = rng.choice((str(kernel // 2), str(kernel // 2), '"same"', '"tf_same"', "1"))
        more.append(f"pad={pad}")
    if rng.random() < 0.3:
        more.append(f"stride={rng.choice((2, 2, 3))}")
    elif rng.random() < 0.15:
        more.append("dilation=2")
    if rng.random() < 0.4:
        more.append("bias=true")
    call = ", ".join([said, *more])
    done = g.add(chain(g, f"{x.name} -> {g.label()}: conv({call})"))
    if done and rng.random() < 0.4:
        residual(g, x, done[0])


def depthwise_chain(g: Grower) -> None:
    """Pointwise, depthwise, pointwise, with a residual where it fits."""
    rng, x = g.rng, g.pick(4)
    channels = x.shape[1]
    if channels < 1 or channels > 24:
        return
    wide = channels * rng.choice((1, 2, 3))
    kernel, stride = rng.choice((3, 3, 5)), rng.choice((1, 1, 1, 2))
    a = g.add(chain(g, f"{x.name} -> {g.label()}: conv({wide}, 1)"))
    if not a:
        return
    depth = f"conv({wide}, {kernel}, stride={stride}, pad={kernel // 2}, groups={wide})"
    b = g.add(chain(g, f"{a[0].name} -> {g.label()}: {depth}"))
    if not b:
        return
    scaled = b[0].name
    if rng.random() < 0.4:
        gate = (
            f"global_avg_pool({scaled}, keepdim=true) -> {g.label()}: conv({wide}, 1, bias=true) -> sigmoid()"
        )
        done = g.add(gate)
        scaled = f"({scaled} * {done[0].name})" if done else scaled
    c = g.add(f"{scaled} -> {g.label()}: conv({channels}, 1) -> {g.label()}: batch_norm()")
    if c and c[0].shape == x.shape:
        residual(g, x, c[0])


def transposed(g: Grower) -> None:
    rng, x = g.rng, g.pick(3, 4, 4, 5)
    if not 0 < prod(x.shape) < 800:
        return
    groups = divisor(rng, x.shape[1]) if rng.random() < 0.3 else 1
    kernel, stride = rng.choice((2, 3, 4)), rng.choice((1, 2, 2, 3))
    more = [f"{groups * rng.choice((1, 3, 4))}, {kernel}, stride={stride}, groups={groups}"]
    if rng.random() < 0.5:
        more.append("pad=1")
    if stride > 1 and rng.random() < 0.3:
        more.append("output_padding=1")
    if rng.random() < 0.15:
        more.append("dilation=2")
    if rng.random() < 0.4:
        more.append("bias=true")
    g.add(chain(g, f"{x.name} -> {g.label()}: conv_transpose({', '.join(more)})"))


def linear(g: Grower) -> None:
    rng, x = g.rng, g.pick(2, 2, 3, 3, 4)
    if not x.shape[-1]:
        return
    out = rng.choice((x.shape[-1], 4, 8, 16, 16, 10, 5, 24))
    bias = rng.choice(("", "", ", bias=false"))
    done = g.add(chain(g, f"{x.name} -> {g.label()}: linear({out}{bias})", norm=False))
    if done and rng.random() < 0.3:
        residual(g, x, done[0])


def twice(g: Grower) -> None:
    """A map whose value is read by several others: results of one kernel."""
    rng, x = g.rng, g.pick(2, 3, 4, 4)
    if not all(x.shape):
        return
    if x.rank > 2 and rng.random() < 0.7:
        kernel = rng.choice((1, 3))
        start = f"conv({rng.choice((4, 8, 16))}, {kernel}, pad={kernel // 2})"
    else:
        start = f"linear({rng.choice((4, 8, 16))})"
    done = g.add(chain(g, f"{x.name} -> {g.label()}: {start}", norm=x.rank > 2))
    if not done:
        return
    w = done[0]
    for _ in range(rng.choice((1, 2, 2, 3))):
        kind = rng.random()
        if kind < 0.4:
            g.add(f"{rng.choice(UNARY)}({w.name})")
        elif kind < 0.6:
            g.add(f"{w.name} {rng.choice('+-*')} {rng.choice((w, g.same(w))).name}")
        elif kind < 0.8 and w.rank > 2:
            g.add(chain(g, f"{rng.choice(UNARY)}({w.name}) -> {g.label()}: conv(8, 1)"))
        elif w.rank > 1:
            g.add(f"{rng.choice(('sum', 'mean', 'amax'))}({w.name}, axis={rng.choice((-1, 1))})")
