"""Views and moves."""

from __future__ import annotations

import random
from math import prod

from ..grow import Grower
from .common import UNARY, chain


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
        names = [f"{rng.choice(UNARY[:8])}({p.name})" if rng.random() < 0.4 else p.name for p in shuffled]
        g.add(chain(g, f"concat({', '.join(names)}, axis={axis})", norm=False))


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
    names = [f"{rng.choice(UNARY[:8])}({v.name})" if rng.random() < 0.4 else v.name for v in others]
    if rng.random() < 0.25 and len({v.shape for v in others}) == 1:
        g.add(f"stack({', '.join(names)}, axis={axis})")
        return
    done = g.add(f"concat({', '.join(names)}, axis={axis})")
    if done and rng.random() < 0.5 and done[0].rank == 4 and done[0].shape[1]:
        g.add(
            chain(
                g, f"{done[0].name} -> {g.label()}: conv({rng.choice((4, 8))}, {rng.choice((1, 3))}, pad=1)"
            )
        )
