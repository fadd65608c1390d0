"""Attention and products of matrices."""

from __future__ import annotations

from ..grow import Grower
from .common import residual


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
            residual(g, x, out[0])


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
