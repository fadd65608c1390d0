"""Blocks of their own with layers in loops, called more than once with other depths."""

from __future__ import annotations

from ..grow import Grower
from .common import ACTIVATIONS, divisor


def stage(g: Grower) -> None:
    """A block of residual layers, each with its own weights, that is called once or twice."""
    rng, x = g.rng, g.pick(2, 3, 4)
    if not all(x.shape):
        return
    name, axis = f"stage{len(g.blocks)}", 1 if x.rank == 4 else -1
    width = x.shape[axis]
    activation = rng.choice(ACTIVATIONS[:12])
    if x.rank == 4:
        kernel, groups = rng.choice((1, 3)), rng.choice((1, divisor(rng, width), width))
        first = f"conv({width}, {kernel}, pad={kernel // 2}, groups={groups})"
        layer = f'x -> "layers.{{j}}.conv": {first} -> "layers.{{j}}.norm": batch_norm() -> {activation}'
    else:
        hidden = rng.choice((4, 5, 16))
        layer = (
            f'x -> "layers.{{j}}.norm": {rng.choice(("layer_norm()", "rms_norm()"))}'
            f' -> "layers.{{j}}.fc1": linear({hidden}) -> {activation} -> "layers.{{j}}.fc2": linear({width})'
        )
    joined = rng.choice(
        ("x = x + 0.5 * y", "x = x + y if j > 0 else y", "x = y", "x = y if j == 1 else x - y")
    )
    body = f"    for j in range(depth) {{\n        y = {layer}\n        {joined}\n    }}\n    return x"
    g.blocks.append(f"block {name}(x: tensor, depth: int = 2) {{\n{body}\n}}")
    done = g.add(f"{x.name} -> {g.label()}: {name}()")
    if not done:
        g.blocks.pop()
    elif rng.random() < 0.5:
        g.add(f"{done[0].name} -> {g.label()}: {name}(depth={rng.choice((1, 3))})")
