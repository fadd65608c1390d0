"""The kinds of statements that programs are grown of: pieces of networks, views, and any operator."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import prod
from typing import Any

from planform.compiler.ops import Op, registry
from support.opcases import Application, application, argument_variants, variants

from .grow import Grower, Value

ACTIVATIONS = [
    "relu()",
    "silu()",
    "gelu()",
    "sigmoid()",
    "tanh()",
    "hard_swish()",
    "leaky_relu()",
    "elu()",
    "relu6()",
    "mish()",
    "softplus()",
    'gelu(approximate="tanh")',
    "quick_gelu()",
    "hard_sigmoid()",
    "selu()",
    "softsign()",
    "exp()",
    "abs()",
    "erf()",
]
_UNARY = [
    "relu",
    "sigmoid",
    "tanh",
    "gelu",
    "silu",
    "abs",
    "neg",
    "square",
    "sin",
    "cos",
    "erf",
    "softplus",
    "sigmoid",
    "exp",
    "floor",
    "round",
    "sign",
]


def _chain(g: Grower, x: str, *, norm: bool = True) -> str:
    """By chance a norm and an activation after a map."""
    rng = g.rng
    if norm and rng.random() < 0.5:
        x += f" -> {g.label()}: batch_norm()"
    if rng.random() < 0.7:
        x += f" -> {rng.choice(ACTIVATIONS)}"
    return x


def _divisor(rng: random.Random, *sizes: int) -> int:
    return rng.choice([n for n in range(1, min(sizes) + 1) if all(size % n == 0 for size in sizes)])


# ---------------------------------------------------------------- maps


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
        groups = channels if rng.random() < 0.7 else _divisor(rng, channels)
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
    done = g.add(_chain(g, f"{x.name} -> {g.label()}: conv({call})"))
    if done and rng.random() < 0.4:
        _residual(g, x, done[0])


def depthwise_chain(g: Grower) -> None:
    """Pointwise, depthwise, pointwise, with a residual where it fits."""
    rng, x = g.rng, g.pick(4)
    channels = x.shape[1]
    if channels < 1 or channels > 24:
        return
    wide = channels * rng.choice((1, 2, 3))
    kernel, stride = rng.choice((3, 3, 5)), rng.choice((1, 1, 1, 2))
    a = g.add(_chain(g, f"{x.name} -> {g.label()}: conv({wide}, 1)"))
    if not a:
        return
    depth = f"conv({wide}, {kernel}, stride={stride}, pad={kernel // 2}, groups={wide})"
    b = g.add(_chain(g, f"{a[0].name} -> {g.label()}: {depth}"))
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
        _residual(g, x, c[0])


def transposed(g: Grower) -> None:
    rng, x = g.rng, g.pick(3, 4, 4, 5)
    if not 0 < prod(x.shape) < 800:
        return
    groups = _divisor(rng, x.shape[1]) if rng.random() < 0.3 else 1
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
    g.add(_chain(g, f"{x.name} -> {g.label()}: conv_transpose({', '.join(more)})"))


def linear(g: Grower) -> None:
    rng, x = g.rng, g.pick(2, 2, 3, 3, 4)
    if not x.shape[-1]:
        return
    out = rng.choice((x.shape[-1], 4, 8, 16, 16, 10, 5, 24))
    bias = rng.choice(("", "", ", bias=false"))
    done = g.add(_chain(g, f"{x.name} -> {g.label()}: linear({out}{bias})", norm=False))
    if done and rng.random() < 0.3:
        _residual(g, x, done[0])


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
    done = g.add(_chain(g, f"{x.name} -> {g.label()}: {start}", norm=x.rank > 2))
    if not done:
        return
    w = done[0]
    for _ in range(rng.choice((1, 2, 2, 3))):
        kind = rng.random()
        if kind < 0.4:
            g.add(f"{rng.choice(_UNARY)}({w.name})")
        elif kind < 0.6:
            g.add(f"{w.name} {rng.choice('+-*')} {rng.choice((w, g.same(w))).name}")
        elif kind < 0.8 and w.rank > 2:
            g.add(_chain(g, f"{rng.choice(_UNARY)}({w.name}) -> {g.label()}: conv(8, 1)"))
        elif w.rank > 1:
            g.add(f"{rng.choice(('sum', 'mean', 'amax'))}({w.name}, axis={rng.choice((-1, 1))})")


def _residual(g: Grower, x: Value, y: Value) -> None:
    if x.shape != y.shape:
        return
    rng = g.rng
    form = rng.choice(
        ("{x} + {y}", "{y} + {x}", "{x} + 0.5 * {y}", "relu({x} + {y})", "{x} * {y}", "{x} - {y}")
    )
    g.add(form.format(x=x.name, y=y.name))


# ---------------------------------------------------------------- norms, pools, resize


def norm(g: Grower) -> None:
    rng, x = g.rng, g.pick(2, 3, 3, 4, 4, 5)
    kinds = ["layer_norm()", "layer_norm(bias=false)", "rms_norm()", "layer_norm(affine=false)"]
    if x.rank > 2 and x.shape[1]:
        groups = _divisor(rng, x.shape[1])
        kinds += ["batch_norm()", f"group_norm({groups})", "instance_norm(affine=true)", "layer_norm(axis=1)"]
        kinds += ["batch_norm(affine=false)", "frozen_batch_norm()", f"group_norm({groups}, affine=false)"]
        kinds += ["layer_norm(axis=[-2, -1])", "rms_norm(axis=[1, 2])", "local_response_norm(3)"]
    kinds += ["l2_normalize(axis=-1)", "softmax(axis=-1)", "softmax(axis=1)", "log_softmax(axis=-1)"]
    kind = rng.choice(kinds)
    named = "" if kind.startswith(("l2", "soft", "log", "local")) else f"{g.label()}: "
    g.add(_chain(g, f"{x.name} -> {named}{kind}", norm=False))


def pool(g: Grower) -> None:
    rng, x = g.rng, g.pick(3, 4, 4, 4, 5)
    kernel = rng.choice((2, 2, 3))
    pad = rng.choice(("", ", pad=1", ', pad="tf_same"'))
    ceil = ", ceil_mode=true" if rng.random() < 0.25 and "tf" not in pad else ""
    stride = rng.choice(("", ", stride=1", ", stride=2", ", stride=3"))
    spatial = x.rank - 2
    size = "[" + ", ".join(str(rng.choice((1, 2, 3, 5))) for _ in range(spatial)) + "]"
    call = rng.choice(
        (
            f"max_pool({kernel}{stride}{pad}{ceil})",
            f"avg_pool({kernel}{stride}{pad}{ceil})",
            f"avg_pool({kernel}{stride}{pad}{ceil}, count_include_pad=false)",
            f"max_pool({kernel}, stride=1, dilation=2)",
            f"lp_pool({kernel}{stride})",
            f"adaptive_avg_pool({size})",
            f"adaptive_max_pool({size})",
            "global_avg_pool()",
            "global_max_pool(keepdim=true)",
        )
    )
    g.add(_chain(g, f"{x.name} -> {call}"))


def resize(g: Grower) -> None:
    rng, x = g.rng, g.pick(3, 4, 4, 4, 5)
    if prod(x.shape) > 700:
        return
    mode = {3: "linear", 4: rng.choice(("bilinear", "bicubic")), 5: "trilinear"}[x.rank]
    mode = rng.choice((mode, mode, "nearest", "nearest-exact", "area"))
    spatial = x.rank - 2
    size = "[" + ", ".join(str(rng.choice((1, 3, 4, 5, 7, 8))) for _ in range(spatial)) + "]"
    to = rng.choice((f"size={size}", f"scale={rng.choice((2, 0.5, 1.5, 3))}"))
    corners = ", align_corners=true" if "linear" in mode or mode == "bicubic" else ""
    corners = rng.choice(("", corners))
    alias = ", antialias=true" if mode in ("bilinear", "bicubic") and rng.random() < 0.2 else ""
    g.add(_chain(g, f'{x.name} -> resize({to}, mode="{mode}"{corners}{alias})'))


# ---------------------------------------------------------------- attention


def attention(g: Grower) -> None:
    """A block of attention on [B, N, D], or the operator on heads of any numbers."""
    rng = g.rng
    x = g.pick(3)
    if not all(x.shape):
        return
    heads = rng.choice((1, 2, 4))
    width = heads * rng.choice((2, 3, 4, 8))
    qkv = g.add(f"{x.name} -> {g.label()}: layer_norm() -> {g.label()}: linear({3 * width})")
    if not qkv:
        return
    parts = g.add(
        f'rearrange({qkv[0].name}, "b n (s h d) -> s b h n d", s=3, h={heads}) -> unbind(axis=0)', 3
    )
    if not parts:
        return
    q, k, v = (part.name for part in parts)
    if rng.random() < 0.5:
        more = rng.choice(("", ", causal=true", ", scale=0.3"))
        done = g.add(f"scaled_dot_product_attention({q}, {k}, {v}{more})")
    else:
        scores = g.add(f"{q} @ transpose({k}, -2, -1) * {width**-0.5:.4f} -> softmax(axis=-1)")
        done = g.add(f"{scores[0].name} @ {v}") if scores else ()
    if done:
        joined = f'rearrange({done[0].name}, "b h n d -> b n (h d)") -> {g.label()}: linear({x.shape[-1]})'
        out = g.add(joined)
        if out:
            _residual(g, x, out[0])


def heads(g: Grower) -> None:
    """The operator with grouped heads, masks, and values of a width and number of heads of their own."""
    rng = g.rng
    b, n, m = rng.choice((1, 2)), rng.choice((1, 3, 5, 8)), rng.choice((1, 4, 5, 7))
    e, d = rng.choice((2, 4, 8)), rng.choice((2, 3, 8))
    hk, hv = rng.choice((1, 2, 4)), rng.choice((1, 2, 4))
    grouped = rng.random() < 0.5
    hq = rng.choice((4, 8)) if grouped else rng.choice((1, 4))
    if not grouped and rng.random() < 0.7:
        hk = hv = hq
    q, k, v = g.input(b, hq, n, e), g.input(b, hk, m, e), g.input(b, hv, m, d)
    more = ", gqa=true" if grouped else ""
    if rng.random() < 0.3:
        mask = g.input(*rng.choice(((n, m), (b, 1, n, m), (1, hq, 1, m))))
        more = f", mask={mask.name}" + more
    elif rng.random() < 0.3:
        more += ", causal=true"
    if rng.random() < 0.3:
        more += f", scale={rng.choice((0.1, 1.0, 2.5))}"
    named = [f"sigmoid({value.name})" if rng.random() < 0.2 else value.name for value in (q, k, v)]
    g.add(f"scaled_dot_product_attention({', '.join(named)}{more})")


def matmul(g: Grower) -> None:
    rng, x = g.rng, g.pick(2, 3, 4)
    if not all(x.shape):
        return
    inner = x.shape[-1]
    other = g.input(*(x.shape[:-2] if rng.random() < 0.6 else ()), inner, rng.choice((1, 3, 8)))
    form = rng.choice(
        ("{x} @ {y}", "{x} @ {y}", "matmul({x}, {y}) -> relu()", "transpose({y}) @ transpose({x})")
    )
    g.add(form.format(x=x.name, y=other.name))


def einsum(g: Grower) -> None:
    rng, x = g.rng, g.pick(2, 3, 4)
    names = "abcd"[: x.rank]
    kept = "".join(rng.sample(names, rng.randint(1, x.rank)))
    if rng.random() < 0.5:
        shared = rng.sample(names, rng.randint(1, x.rank))
        y = g.input(*[x.shape[names.index(n)] for n in shared], rng.choice((2, 3, 5)))
        pattern = f"{names},{''.join(shared)}z->{kept}{rng.choice(('z', ''))}"
        g.add(f'einsum({x.name}, {y.name}, "{pattern}")')
    else:
        g.add(f'einsum({x.name}, {x.name}, "{names},{names}->{kept}")')


# ---------------------------------------------------------------- views and moves


def view(g: Grower) -> None:
    """Another order or shape of a value, or a part of it."""
    rng, x = g.rng, g.pick(2, 3, 4, 5)
    axis = rng.randrange(-x.rank, x.rank)
    size = x.shape[axis]
    axes = list(range(x.rank))
    rng.shuffle(axes)
    kinds = [
        f"permute({x.name}, {axes})",
        f"transpose({x.name}, {rng.randrange(x.rank)}, {rng.randrange(x.rank)})",
        f"flatten({x.name}, {rng.randrange(x.rank)})",
        f"flip({x.name}, axis={axis})",
        f"roll({x.name}, {rng.randint(-3, 3)}, axis={axis})",
        f"unsqueeze({x.name}, axis={axis})",
        f"{x.name}[{', '.join(_slice(rng, n) for n in x.shape[: rng.randint(1, x.rank)])}]",
        f"{x.name}[..., {_slice(rng, x.shape[-1])}]",
        f"pad({x.name}, [{rng.randint(-1, 2)}, {rng.randint(0, 2)}], value={rng.choice((0.0, 1.5))})",
        f"tile({x.name}, {[rng.choice((1, 1, 2)) for _ in axes]})",
    ]
    if x.rank == 4:
        kinds += [
            f'rearrange({x.name}, "b c h w -> b (h w) c")',
            f'rearrange({x.name}, "b c h w -> b h (c w)")',
            f'rearrange({x.name}, "b c h w -> (b h) w c")',
            f'pad({x.name}, [1, 1, 1, 2], mode="{rng.choice(("reflect", "replicate", "circular"))}")',
        ]
        for n in (2, 4):
            if x.shape[1] % n == 0:
                kinds.append(f'rearrange({x.name}, "b (g c) h w -> b (c g) h w", g={n})')
                kinds.append(f"channel_shuffle({x.name}, {n})")
            if x.shape[1] % (n * n) == 0:
                kinds.append(f"pixel_shuffle({x.name}, {n})")
            if x.shape[2] % n == 0 and x.shape[3] % n == 0:
                kinds.append(f'rearrange({x.name}, "b c (h p) (w q) -> (b h w) (p q) c", p={n}, q={n})')
                kinds.append(f"pixel_unshuffle({x.name}, {n})")
    if x.rank == 3:
        kinds += [f'rearrange({x.name}, "b n c -> b c n")', f'rearrange({x.name}, "b n c -> n (b c)")']
        for n in (2, 3, 4):
            if x.shape[2] % n == 0:
                kinds.append(f'rearrange({x.name}, "b n (h d) -> b h n d", h={n})')
            if x.shape[1] % n == 0:
                kinds.append(f'rearrange({x.name}, "b (h w) c -> b c h w", h={n})')
    total = prod(x.shape)
    for n in (2, 3, 4):
        if x.shape[0] and total % (x.shape[0] * n) == 0:
            kinds.append(f"reshape({x.name}, [shape({x.name})[0], {n}, {total // x.shape[0] // n}])")
    if size and size > 1:
        kinds.append(f"select({x.name}, axis={axis}, index={rng.randrange(-size, size)})")
        start = rng.randrange(size)
        kinds.append(f"narrow({x.name}, axis={axis}, start={start}, length={rng.randint(1, size - start)})")
    g.add(rng.choice(kinds))


def _slice(rng: random.Random, size: int) -> str:
    kind = rng.random()
    if kind < 0.3 or not size:
        return ":"
    start = rng.randrange(size)
    if kind < 0.45:
        return str(rng.choice((start, start - size)))
    stop = rng.choice(("", str(rng.randint(start + 1, size)), "-1" if size - start > 1 else ""))
    step = rng.choice(("", "", ":2", ":3"))
    return f"{rng.choice((str(start), '' if start == 0 else str(start - size)))}:{stop}{step}"


def split(g: Grower) -> None:
    """Parts of a value that go different ways, and may meet again."""
    rng, x = g.rng, g.pick(2, 3, 4)
    axis = rng.randrange(x.rank)
    size = x.shape[axis]
    if size < 2:
        return
    if rng.random() < 0.5:
        count = rng.choice([n for n in (2, 3, 4) if n <= size])
        parts = g.add(f"chunk({x.name}, {count}, axis={axis})", -(-size // -(-size // count)))
    elif rng.random() < 0.8:
        cut = rng.randint(1, size - 1)
        parts = g.add(f"split({x.name}, [{cut}, {size - cut}], axis={axis})", 2)
    else:
        parts = g.add(f"unbind({x.name}, axis={axis})", size) if size <= 4 else ()
    if len(parts) < 2:
        return
    kind = rng.random()
    if kind < 0.3 and parts[0].shape == parts[1].shape:
        g.add(f"{parts[0].name} * sigmoid({parts[1].name})")
    elif kind < 0.7 and parts[0].rank == x.rank:
        shuffled = rng.sample(parts, len(parts))
        names = [f"{rng.choice(_UNARY[:8])}({p.name})" if rng.random() < 0.4 else p.name for p in shuffled]
        g.add(_chain(g, f"concat({', '.join(names)}, axis={axis})", norm=False))


def join(g: Grower) -> None:
    rng, x = g.rng, g.pick(2, 3, 4)
    axis = rng.randrange(x.rank)
    others = [x]
    for _ in range(rng.choice((1, 1, 2))):
        fitting = [
            v
            for v in g.values
            if v.real
            and v.rank == x.rank
            and v.shape[:axis] == x.shape[:axis]
            and v.shape[axis + 1 :] == x.shape[axis + 1 :]
        ]
        others.append(rng.choice(fitting))
    rng.shuffle(others)
    names = [f"{rng.choice(_UNARY[:8])}({v.name})" if rng.random() < 0.4 else v.name for v in others]
    if rng.random() < 0.25 and len({v.shape for v in others}) == 1:
        g.add(f"stack({', '.join(names)}, axis={axis})")
        return
    done = g.add(f"concat({', '.join(names)}, axis={axis})")
    if done and rng.random() < 0.5 and done[0].rank == 4 and done[0].shape[1]:
        g.add(
            _chain(
                g, f"{done[0].name} -> {g.label()}: conv({rng.choice((4, 8))}, {rng.choice((1, 3))}, pad=1)"
            )
        )


# ---------------------------------------------------------------- elements and rows


def elements(g: Grower) -> None:
    rng, x = g.rng, g.pick()
    y = g.same(x)
    small = f"{rng.choice((0.5, 2, -1.5, 3, 0.1))}"
    kinds = [
        f"{rng.choice(_UNARY)}({x.name})",
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


# ---------------------------------------------------------------- any operator


def _written(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_written, value))}]"
    return "none" if value is None else repr(value)


# What is random, or undefined, or has a motif of its own since not every operand will do.
_EXCLUDED = "rrelu scatter scan roi_align"
_WRAPS = ("{}", "{}", "{}", "sigmoid({}) * 0.8 + 0.1", "abs({}) + 0.1", "abs({}) + 1.5", "tanh({})")


def anything(g: Grower) -> None:
    """Any operator of the registry, by one of its samples or a variant, on values there are or new ones."""
    rng = g.rng
    names = sorted(set(registry()) - set(_EXCLUDED.split()))
    operator = registry()[rng.choice(names)]
    if not operator.samples:
        return
    made = application(operator, rng.choice(operator.samples))
    if rng.random() < 0.4:
        changed = (
            variants(made, rng) if rng.random() < 0.7 or not made.arguments else argument_variants(made, rng)
        )
        made = next(iter(changed), made)
        try:
            core, slots, types = made.core()
            core.infer(types, slots)
        except Exception:  # not every variant is valid, in whatever way
            return
    call(g, made)


def call(g: Grower, made: Application) -> None:
    """A call of the operator, its operands values of the program where they fit."""
    rng = g.rng
    operator = made.operator
    many = operator.many()
    order = [operand.name for operand in operator.signature()]
    if any(not isinstance(size, int) for type in made.types for size in type.shape):
        return
    written: list[str] = []
    ready: list[Value] = []
    for slot, type in zip(made.slots, made.types, strict=True):
        shape = tuple(int(str(size)) for size in type.shape)
        value = _operand(g, type.dtype, shape)
        ready.append(value)
        text = rng.choice(_WRAPS).format(value.name) if value.real else value.name
        if slot != many and order.index(slot) > len(written) - made.slots.count(many or "") + bool(many):
            text = f"{slot}={text}"
        written.append(text)
    arguments = [f"{name}={_written(value)}" for name, value in made.arguments]
    if "inf" in " ".join(arguments) or "nan" in " ".join(arguments):
        return
    label = "" if issubclass(operator, Op) else f"{g.label()}: "
    joined = ", ".join(arguments)
    expression = (
        f"({', '.join(written)}) -> {label}{operator.name}({joined})"
        if label
        else f"{operator.name}({', '.join([*written, *arguments])})"
    )
    try:
        core, slots, types = made.core()
        count = len(core.infer(types, slots)[0])
    except Exception:  # arguments of a variant may be wrong in any way
        return
    g.add(expression, count)


def _operand(g: Grower, dtype: str, shape: tuple[int, ...]) -> Value:
    """A value of that type: one there is, or one cut out of another, or a new input."""
    known = [v for v in g.values if v.dtype == dtype and v.shape == shape]
    if known and g.rng.random() < 0.8:
        return g.rng.choice(known)
    large = [v for v in g.values if v.dtype == dtype and v.tensor.numel() >= prod(shape) and v.rank]
    if dtype == "float" and large and prod(shape) and shape and g.rng.random() < 0.6:
        source = g.rng.choice(large[-4:])
        done = g.add(f"reshape(flatten({source.name}, 0)[:{prod(shape)}], {list(shape)})")
        if done:
            return done[0]
    return g.input(*shape, dtype=dtype, below=None if dtype in ("float", "bool") else g.rng.choice((2, 2, 3)))


MOTIFS: dict[Callable[[Grower], None], float] = {
    conv: 4,
    depthwise_chain: 2,
    transposed: 1.5,
    linear: 2.5,
    twice: 3,
    norm: 3,
    pool: 2,
    resize: 1,
    attention: 2,
    heads: 0.7,
    matmul: 1,
    einsum: 0.8,
    view: 5,
    split: 3,
    join: 2.5,
    elements: 4,
    rows: 2.5,
    spectrum: 0.6,
    recurrence: 0.8,
    indices: 1,
    masks: 1,
    integers: 0.8,
    constants: 1,
    regions: 0.5,
    anything: 9,
}
