"""Elements, rows, recurrences, indices, masks, integers and constants."""

from __future__ import annotations

from typing import Any

from ..grow import Grower
from .common import ACTIVATIONS, UNARY


def elements(g: Grower) -> None:
    rng, x = g.rng, g.pick()
    y = g.same(x)
    small = f"{rng.choice((0.5, 2, -1.5, 3, 0.1))}"
    kinds = [
        f"{rng.choice(UNARY)}({x.name})",
        f"{x.name} {rng.choice('+-*')} {y.name}",
        f"{x.name} / (1.5 + abs({y.name}))",
        f"maximum({x.name}, {y.name}) + {small} * minimum({x.name}, {y.name})",
        f"where({x.name} > {y.name}, {x.name}, {small} * {y.name})",
        f"{x.name} * {small} + {small}",
        f"{small} - {x.name}",
        f"clamp({x.name}, min=-0.5, max=1.0)",
        f"lerp({x.name}, {y.name}, by=0.3)",
        f"({x.name} + {y.name}) * ({x.name} - {y.name})",
        f"sqrt(abs({x.name}) + 0.1) -> log()",
        f"{x.name} ** 2 + {y.name} ** 3",
        f"{x.name} -> {rng.choice(ACTIVATIONS)}",
        f"{x.name} * sigmoid({x.name}) + {x.name}",
    ]
    if x.rank > 1 and all(x.shape):
        row = g.input(*x.shape[-1:]) if rng.random() < 0.3 else None
        if row:
            kinds = [f"{x.name} * {row.name}", f"{row.name} - {x.name}", f"maximum({x.name}, {row.name})"]
        kinds += [f"{x.name} - mean({x.name}, axis={rng.randrange(x.rank)}, keepdim=true)"]
        kinds += [f"{x.name} / (0.5 + amax(abs({x.name}), axis=-1, keepdim=true))"]
    g.add(rng.choice(kinds))


def rows(g: Grower) -> None:
    """Reductions, running ones, and orders along an axis."""
    rng, x = g.rng, g.pick(2, 3, 4)
    axis = rng.randrange(-x.rank, x.rank)
    axes = sorted(rng.sample(range(x.rank), rng.randint(1, x.rank)))
    keep = rng.choice(("", ", keepdim=true"))
    where: Any = rng.choice((axis, axes))
    count = max(1, x.shape[axis] // 2)
    one = [
        f"{n}({x.name}, axis={where}{keep})" for n in ("sum", "mean", "amax", "amin", "var", "std", "norm")
    ]
    one += [f"logsumexp({x.name}, axis={where}{keep})", f"cumsum({x.name}, axis={axis})"]
    one += [f"cummax({x.name}, axis={axis})", f"argmax({x.name}, axis={axis}{keep})"]
    one += [f"any({x.name} > 0.5, axis={axis})", f"sum({x.name} > 0, axis={axis})"]
    two = [f"sort({x.name}, axis={axis}, descending={rng.choice(('true', 'false'))})"]
    two += [f"top_k({x.name}, {count}, axis={axis})"]
    if rng.random() < 0.7:
        g.add(rng.choice(one))
        return
    done = g.add(rng.choice(two), 2)
    if done and rng.random() < 0.6:
        other = g.same(x)
        g.add(f"take_along_axis({other.name}, {done[1].name}, axis={axis})")


def spectrum(g: Grower) -> None:
    rng, x = g.rng, g.pick(1, 2, 3, 4)
    axis = rng.randrange(-x.rank, x.rank)
    if not all(x.shape):
        return
    norm = rng.choice(("", ', norm="ortho"'))
    done = g.add(f"{rng.choice(('fft', 'rfft'))}({x.name}, axis={axis}{norm})")
    if not done:
        return
    c = done[0].name
    kinds = [f"abs({c})", f"real({c}) + imag({c})", f"view_as_real({c})", f"irfft({c}, axis={axis})"]
    kinds += [f"real(ifft({c}, axis={axis}))", f"{c} * conj({c})", f"angle({c} + 5.0)"]
    g.add(rng.choice(kinds))


def recurrence(g: Grower) -> None:
    """A scan along an axis."""
    rng, x = g.rng, g.pick(3)
    if not all(x.shape) or x.shape[1] > 9:
        return
    name, width = f"step{len(g.blocks)}", rng.choice((3, 4, 8))
    kind = rng.choice(("rnn", "lstm", "sum"))
    reverse = rng.choice(("", ", reverse=true"))
    axis, inner = (1, x.shape[2]) if rng.random() < 0.7 else (2, x.shape[1])
    zero = f"zeros([shape({x.name})[0], {width}])"
    if kind == "rnn":
        body = f"    h = tanh((x -> a: linear({width})) + (h -> b: linear({width}, bias=false)))\n    return h * 2.0, h"
        text, states = f"block {name}(x: [B, D], h: [B, E]) {{\n{body}\n}}", [zero]
    elif kind == "lstm":
        body = (
            f"    i, f, o, u = (concat(x, h, axis=1) -> gates: linear({4 * width}) -> chunk(4, axis=1))\n"
            "    c = c * sigmoid(f) + sigmoid(i) * tanh(u)\n    h = tanh(c) * sigmoid(o)\n    return h, h, c"
        )
        text, states = f"block {name}(x: [B, D], h: [B, E], c: [B, E]) {{\n{body}\n}}", [zero, zero]
    else:
        body = "    h = 0.7 * h + x\n    return relu(h), h"
        text, states = (
            f"block {name}(x: [B, D], h: [B, D]) {{\n{body}\n}}",
            [f"zeros([shape({x.name})[0], {inner}])"],
        )
    g.blocks.append(text)
    call = f"({', '.join([x.name, *states])}) -> {g.label()}: scan({name}(), axis={axis}{reverse})"
    if not g.add(call, 1 + len(states)):
        g.blocks.pop()


def indices(g: Grower) -> None:
    """Lookups and routing by integers."""
    rng = g.rng
    b, n, count = rng.choice((1, 2, 3)), rng.choice((1, 4, 5)), rng.choice((2, 5, 7))
    kind = rng.random()
    if kind < 0.4:
        ids = g.input(b, n, dtype="i64", below=count)
        g.add(f"{ids.name} -> {g.label()}: embedding({count}, {rng.choice((4, 8))})")
    elif kind < 0.6:
        x = g.pick(2, 3, 4)
        axis = rng.randrange(x.rank)
        if x.shape[axis]:
            ids = g.input(rng.choice((1, 3, 6)), dtype="i64", below=x.shape[axis])
            g.add(f"take({x.name}, {ids.name}, axis={axis})")
    elif kind < 0.8:
        x = g.pick(3)
        if all(x.shape):
            experts = rng.choice((2, 3))
            scores = g.add(f"{x.name} -> {g.label()}: linear({experts}) -> softmax(axis=-1)")
            chosen = g.add(f"top_k({scores[0].name}, {rng.choice((1, 2))})", 2) if scores else ()
            if chosen:
                k = chosen[1].shape[-1]
                wide = f'repeat({x.name}, "b n d -> b n k d", k={k})'
                routed = f"expert_linear({wide}, {chosen[1].name}, {experts}, {rng.choice((4, 6))})"
                routed = f"({wide}, {chosen[1].name}) -> {g.label()}: expert_linear({experts}, {rng.choice((4, 6))})"
                done = g.add(routed)
                if done:
                    g.add(f"sum({done[0].name} * unsqueeze({chosen[0].name}, -1), axis=-2)")
    else:
        ids = g.input(b, n, dtype="i64", below=count)
        g.add(f'cast(one_hot({ids.name}, {count}), "float") * {rng.choice((0.5, 2.0))}')


def masks(g: Grower) -> None:
    rng, x = g.rng, g.pick(2, 3, 4)
    m = g.input(*x.shape, dtype="bool") if rng.random() < 0.4 else None
    condition = m.name if m else f"({x.name} > {rng.choice((0.0, 0.3, -0.5))})"
    kinds = [
        f"where({condition}, {x.name}, otherwise={rng.choice((0.0, -1.0, -10000.0))})",
        f'{x.name} * cast({condition}, "float")',
        f"where({condition}, tanh({x.name}), {g.same(x).name})",
        f"softmax(where({condition}, {x.name}, otherwise=-30.0), axis=-1)",
        f'sum(cast({condition}, "i64"), axis=-1)',
        f"tril({x.name}) + triu({x.name}, diagonal=1) * 2.0",
    ]
    g.add(rng.choice(kinds))


def integers(g: Grower) -> None:
    rng = g.rng
    dtype = rng.choice(("i64", "i64", "i32", "u8", "i8", "i16", "bool"))
    known = [v for v in g.values if v.dtype == dtype]
    x = rng.choice(known) if known and rng.random() < 0.6 else g.fresh(rng.choice((1, 2, 3)), dtype)
    kinds = [
        f"{x.name} + {rng.choice((1, 2, -1))}",
        f"{x.name} * {x.name} - {x.name}",
        f"{x.name} // {rng.choice((2, 3, -2))}",
        f"{x.name} % {rng.choice((2, 3, -3))}",
        f"{x.name} / 3",
        f"{x.name} == {rng.choice((0, 1, 2))}",
        f"sum({x.name}, axis=-1)",
        f"cumsum({x.name}, axis=0)",
        f'cast({x.name}, "{rng.choice(("float", "i32", "i8", "bool", "f64"))}")',
        f"amax({x.name}, axis=-1)",
        f"maximum({x.name}, 1) + minimum({x.name}, 2)",
        f"-{x.name}",
        f"flip({x.name}, axis=0)",
        f"concat({x.name}, {x.name}, axis=0)",
        f"prod({x.name}, axis=-1)",
    ]
    g.add(rng.choice(kinds))


def regions(g: Grower) -> None:
    """Boxes of samples that there are, and samples of a grid."""
    rng, x = g.rng, g.pick(4)
    if not all(x.shape):
        return
    if rng.random() < 0.5:
        grid = g.input(x.shape[0], 3, 2, 2)
        padding = rng.choice(("zeros", "border", "reflection"))
        mode = rng.choice(("bilinear", "nearest", "bicubic"))
        g.add(f'grid_sample({x.name}, {grid.name}, mode="{mode}", padding_mode="{padding}")')
        return
    boxes = rng.choice((1, 3))
    samples = g.input(boxes, 1, dtype="i64", below=x.shape[0])
    corners = g.input(boxes, 4)
    done = g.add(f'concat(cast({samples.name}, "float"), 3.0 * {corners.name}, axis=1)')
    if done:
        aligned = rng.choice(("", ", aligned=true"))
        g.add(f"roi_align({x.name}, {done[0].name}, size=[2, 3], spatial_scale=0.5{aligned})")


def constants(g: Grower) -> None:
    """Values that the plan makes itself."""
    rng, x = g.rng, g.pick(2, 3, 4)
    n = x.shape[-1]
    if not n:
        return
    kinds = [
        f"{x.name} + arange({n}) * 0.1",
        f"{x.name} - full([{n}], {rng.choice((0.5, 2, -1.5))})",
        f"{x.name} + arange(shape({x.name})[-1])",
        f"{x.name} * tensor([{', '.join(str(i + 0.5) for i in range(n))}])",
        f"{x.name} @ eye({n}, {n + 1})",
        f"concat({x.name}, ones([{', '.join(map(str, (*x.shape[:-1], 2)))}]), axis=-1)",
        f"where(arange({n}) < {rng.randint(0, n)}, {x.name}, otherwise=0.5)",
        f"zeros([shape({x.name})[0], 1]) + reshape({x.name}, [shape({x.name})[0], -1])",
        f"tril(ones([{n}, {n}])) * {rng.choice((0.5, 1.0))} + sum({x.name})",
    ]
    g.add(rng.choice(kinds))
