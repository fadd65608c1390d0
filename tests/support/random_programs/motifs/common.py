"""What the kinds of statements share."""

from __future__ import annotations

import random

from ..grow import Grower, Value

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
UNARY = [
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


def chain(g: Grower, x: str, *, norm: bool = True) -> str:
    """By chance a norm and an activation after a map."""
    rng = g.rng
    if norm and rng.random() < 0.5:
        x += f" -> {g.label()}: batch_norm()"
    if rng.random() < 0.7:
        x += f" -> {rng.choice(ACTIVATIONS)}"
    return x


def divisor(rng: random.Random, *sizes: int) -> int:
    return rng.choice([n for n in range(1, min(sizes) + 1) if all(size % n == 0 for size in sizes)])


def residual(g: Grower, x: Value, y: Value) -> None:
    if x.shape != y.shape:
        return
    rng = g.rng
    form = rng.choice(
        ("{x} + {y}", "{y} + {x}", "{x} + 0.5 * {y}", "relu({x} + {y})", "{x} * {y}", "{x} - {y}")
    )
    g.add(form.format(x=x.name, y=y.name))
