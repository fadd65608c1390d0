"""Kernels that move elements, against torch: symbolic sizes, and several operators in one kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from planform.backends.tvm.codegen.build import build
from planform.backends.tvm.cpu.machine import host
from planform.backends.tvm.lowering.lower import lower
from planform.backends.tvm.runtime.runner import Runner
from planform.compiler.graph.builder import Builder
from planform.compiler.graph.graph import Value
from planform.compiler.ops import registry
from planform.compiler.ops.core.indexing import matched
from planform.compiler.sizes.dims import evaluate, symbol
from planform.compiler.types import TensorType

N, M = symbol("N"), symbol("M")
SIZES = {"N": 7, "M": 13}
REGISTRY = registry()


def _apply(builder: Builder, name: str, *operands: Value, **arguments: Any) -> Value:
    op = REGISTRY[name](**arguments)
    signature = op.signature()
    slots = [s.name for s in signature for _ in range(len(operands) if s.arity == "many" else 1)]
    return builder.add(op, list(operands), tuple(slots[: len(operands)])).results[0]


def _run(make: Callable[[Builder, Value], Value], shape: tuple[Any, ...], x: torch.Tensor) -> torch.Tensor:
    builder = Builder("moves")
    out = make(builder, builder.input("x", TensorType(shape)))
    lowered = lower(builder.freeze((out,)), host())
    (found,) = Runner(lowered.program, build(lowered, host()), {})(x.numpy())
    return torch.from_numpy(np.array(found))


SYMBOLIC: list[tuple[str, dict[str, Any], tuple[Any, ...], Callable[[torch.Tensor], torch.Tensor]]] = [
    ("reshape", {"sizes": (-1, 4, M)}, (N, M, 8), lambda x: x.reshape(14, 4, 13)),
    ("roll", {"shifts": (3, -2), "axis": (0, 1)}, (N, M, 3), lambda x: x.roll((3, -2), (0, 1))),
    ("flip", {"axis": (0, 1)}, (N, M), lambda x: x.flip(0, 1)),
    (
        "pad",
        {"amounts": (1, 2, 3, 0), "mode": "reflect"},
        (2, N, M),
        lambda x: torch.nn.functional.pad(x[None], (1, 2, 3, 0), "reflect")[0],
    ),
    (
        "pad",
        {"amounts": (-1, 2, 3, -2), "mode": "circular"},
        (2, 3, N, M),
        lambda x: torch.nn.functional.pad(x, (-1, 2, 3, -2), "circular"),
    ),
    (
        "rearrange",
        {"pattern": "(h p) (w q) -> (h w) (p q)", "sizes": (("p", 3), ("q", 2))},
        (3 * N, 2 * M),
        lambda x: x.reshape(7, 3, 13, 2).permute(0, 2, 1, 3).reshape(91, 6),
    ),
    (
        "channel_shuffle",
        {"groups": 3},
        (2, 3 * N, M),
        lambda x: torch.nn.functional.channel_shuffle(x, 3),
    ),
    (
        "fold",
        {"size": (5, 6), "kernel": 3, "pad": 1},
        (N, 18, 30),
        lambda x: torch.nn.functional.fold(x, (5, 6), 3, padding=1),
    ),
]


@pytest.mark.parametrize(
    ("name", "arguments", "shape", "wanted"), SYMBOLIC, ids=[f"{c[0]}{n}" for n, c in enumerate(SYMBOLIC)]
)
def test_symbolic_sizes(name: str, arguments: Any, shape: Any, wanted: Any) -> None:
    x = torch.randn([evaluate(size, SIZES) for size in shape])
    found = _run(lambda b, v: _apply(b, name, v, **arguments), shape, x)
    torch.testing.assert_close(found, wanted(x))


def test_moves_in_one_kernel() -> None:
    """A reversed axis that is split by division: TVM makes a wrong address of it if written as a difference."""
    x = torch.randn(2, 3, 4, 6)

    def scan(b: Builder, v: Value) -> Value:
        flat = _apply(b, "flatten", _apply(b, "exp", v), start=1)
        return _apply(b, "relu", _apply(b, "flip", _apply(b, "neg", flat), axis=1))

    def windows(b: Builder, v: Value) -> Value:
        rolled = _apply(b, "roll", _apply(b, "permute", v, axes=(0, 2, 3, 1)), shifts=(-1, -1), axis=(1, 2))
        parts = _apply(b, "reshape", rolled, sizes=(2, 2, 2, 3, 2, 3))
        return _apply(b, "exp", _apply(b, "permute", parts, axes=(0, 1, 3, 2, 4, 5)))

    torch.testing.assert_close(_run(scan, (2, 3, 4, 6), x), (-x.exp().flatten(1)).flip(1).relu())
    rolled = x.permute(0, 2, 3, 1).roll((-1, -1), (1, 2)).reshape(2, 2, 2, 3, 2, 3)
    torch.testing.assert_close(_run(windows, (2, 3, 4, 6), x), rolled.permute(0, 1, 3, 2, 4, 5).exp())


def test_axes_that_hold_the_same() -> None:
    """Groups of axes, as few as can be told; what cannot be told apart is one group."""
    height, width = symbol("H"), symbol("W")
    assert matched((N, 1, height * width, 3), (N, height, width, 3)) == [
        ([0], [0]),
        ([2], [1, 2]),
        ([3], [3]),
    ]
    assert matched((6, 4), (4, 6)) == [([0, 1], [0, 1])]
    assert matched((6, 4), (3, 2, 2, 2)) == [([0], [0, 1]), ([1], [2, 3])]
    assert matched((2, N, 3), (2, 3)) == [([0], [0]), ([1, 2], [1])]
