"""Blocks of convolutions that run depth first, against torch in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from planform.backends.tvm.codegen.build import build
from planform.backends.tvm.cpu import depth_first
from planform.backends.tvm.cpu.machine import host, of
from planform.backends.tvm.cpu.templates import blocks_plan
from planform.backends.tvm.lowering.lower import Lowered, lower
from planform.backends.tvm.runtime.runner import Runner
from planform.compiler.dtypes import DType
from planform.compiler.graph.builder import Builder
from planform.compiler.graph.graph import Node, Value, Weight
from planform.compiler.ops.activation import HardSwish, Relu6, Silu
from planform.compiler.ops.conv import ConvWith
from planform.compiler.ops.core.init import zeros
from planform.compiler.ops.elementwise import Add
from planform.compiler.sizes.dims import symbol
from planform.compiler.types import TensorType
from support.eager import TORCH
from support.kernels import to_numpy, to_torch

ACTIVATIONS: dict[str, tuple[Any, Any]] = {
    "none": (None, lambda x: x),
    "relu6": (Relu6(), F.relu6),
    "silu": (Silu(), F.silu),
    "hard_swish": (HardSwish(), F.hardswish),
}


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Have all that can be one block run as one; the numbers of convolutions in those that were made."""
    made: list[int] = []

    def cut(mains: list[Node], *_: Any) -> list[list[Node]]:
        made.append(len(mains))
        return [mains]

    monkeypatch.setattr(depth_first, "cut", cut)
    yield made


class Network:
    """Convolutions in a row behind one that packs channels: (out, kernel, stride, pad, dilation, depthwise)."""

    def __init__(
        self,
        size: tuple[int, int],
        stages: list[tuple[int, int, int, int, int, bool]],
        activation: str = "relu6",
        residual: bool = False,
        batch: Any = None,
        channels: int = 16,
        bias: bool = True,
    ) -> None:
        self.builder = Builder("net")
        self.weights: dict[str, np.ndarray] = {}
        self.stages, self.residual, self.bias = stages, residual, bias
        self.op, self.function = ACTIVATIONS[activation]
        x = self.builder.input("x", TensorType((batch or symbol("B"), 3, *size)))
        # Read twice, so that the block begins behind it.
        first = self._convolution(x, channels, (1, 1, 0, 1, False), 3)
        y = first
        for number, (out, *how) in enumerate(stages):
            y = self._convolution(y, out, tuple(how), int(y.shape[1]))
            if self.op is not None and number + 1 < len(stages):
                y = self.builder.add(self.op, [y], ("x",)).results[0]
        if residual:
            y = self.builder.add(Add(), [y, first], ("x", "y")).results[0]
        self.graph = self.builder.freeze((y, first))

    def _convolution(self, x: Value, out: int, how: tuple[Any, ...], channels: int) -> Value:
        kernel, stride, pad, dilation, depthwise = how
        rng = np.random.default_rng(len(self.weights))
        shape = (out, 1 if depthwise else channels, kernel, kernel)
        name = str(len(self.weights))
        operands = [x, self.builder.weight(Weight(f"{name}.w", TensorType(shape), zeros()))]
        self.weights[f"{name}.w"] = (rng.standard_normal(shape) / np.prod(shape[1:]) ** 0.5).astype("f4")
        if self.bias:
            operands.append(self.builder.weight(Weight(f"{name}.b", TensorType((out,)), zeros())))
            self.weights[f"{name}.b"] = rng.standard_normal(out).astype("f4")
        op = ConvWith(stride=stride, pad=pad, dilation=dilation, groups=out if depthwise else 1)
        slots = ("x", "weight", "bias")[: len(operands)]
        return self.builder.add(op, operands, slots).results[0]

    def wanted(self, given: np.ndarray) -> np.ndarray:
        """What torch computes in float64."""
        weights = [torch.from_numpy(each).double() for each in self.weights.values()]
        parts = [
            (weights[n], weights[n + 1] if self.bias else None) for n in range(0, len(weights), 1 + self.bias)
        ]
        first = y = F.conv2d(torch.from_numpy(given).double(), *parts[0])
        for number, (out, _, stride, pad, dilation, depthwise) in enumerate(self.stages):
            groups = out if depthwise else 1
            y = F.conv2d(y, *parts[number + 1], stride=stride, padding=pad, dilation=dilation, groups=groups)
            if number + 1 < len(self.stages):
                y = self.function(y)
        return (y + first if self.residual else y).numpy()

    def check(self, *batches: int, threads: int | None = None) -> Lowered:
        lowered = lower(self.graph, host(threads))
        runner = Runner(lowered.program, build(lowered, host(threads)), lowered.pack(self.weights))
        for batch in batches:
            shape = tuple(size if isinstance(size, int) else batch for size in self.graph.inputs[0].shape)
            x = np.random.default_rng(batch).standard_normal(shape).astype("f4")
            found, wanted = runner(x)[0], self.wanted(x)
            assert found.shape == wanted.shape
            assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()
        return lowered


def inverted(wide: int, out: int, stride: int = 1, kernel: int = 3, dilation: int = 1, pad: int = 1) -> Any:
    """The stages of an inverted residual."""
    return [(wide, 1, 1, 0, 1, False), (wide, kernel, stride, pad, dilation, True), (out, 1, 1, 0, 1, False)]


CASES: dict[str, tuple[Any, ...]] = {
    "residual": ((12, 12), inverted(48, 16), "relu6", True),
    "odd sizes": ((7, 13), inverted(40, 16), "silu", True),
    "stride 2": ((11, 14), inverted(24, 20, stride=2), "hard_swish", False),
    "kernel 5": ((9, 10), inverted(32, 8, stride=2, kernel=5, pad=2), "relu6", False),
    "dilation": ((12, 9), inverted(33, 16, dilation=2, pad=2), "silu", True),
    "no padding": ((10, 9), inverted(17, 16, pad=0), "none", False),
    "more padding than the kernel": ((5, 6), inverted(16, 16, pad=4), "relu6", False),
    "steps wider than the kernel": ((17, 8), inverted(32, 16, stride=3, kernel=2, pad=0), "relu6", False),
    "single row": ((1, 9), inverted(32, 16), "relu6", True),
    "wide and low": ((2, 40), inverted(96, 16), "relu6", True),
    "without expansion": ((9, 9), inverted(16, 24)[1:], "relu6", False),
    "without projection": ((13, 9), inverted(56, 0, stride=2)[:2], "silu", False),
    "dense, then a projection": ((9, 11), [(48, 3, 2, 1, 1, False), (16, 1, 1, 0, 1, False)], "relu6", False),
    "windows on windows": (
        (14, 10),
        [(32, 3, 1, 1, 1, False), (32, 3, 2, 1, 1, True), (16, 3, 1, 1, 1, False)],
        "relu6",
        False,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_block_equals_torch(joined: list[int], name: str) -> None:
    size, stages, *rest = CASES[name]
    lowered = Network(size, stages, *rest).check(1, 3)
    assert joined == [len(stages)]
    assert len(lowered.program.steps) == 2


@pytest.mark.parametrize(("threads", "step"), [(1, 2), (2, 5), (3, 1)])
def test_rows_may_be_cut_in_any_way(
    joined: list[int], monkeypatch: pytest.MonkeyPatch, threads: int, step: int
) -> None:
    monkeypatch.setattr(blocks_plan, "_STEP", step)
    Network((13, 10), inverted(32, 16), residual=True).check(1, threads=threads)
    Network((13, 10), inverted(32, 16, stride=2), batch=2, bias=False).check(2, threads=threads)
    assert joined == [3, 3]


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_a_block_of_halves_rounds_what_it_stores_alone(joined: list[int], dtype: DType) -> None:
    network = Network((9, 11), inverted(40, 16, stride=2), "silu", batch=2)
    lowered = lower(network.graph, host(), dtype)
    assert joined == [3]
    kind = TORCH[dtype]
    # Operands that are halves already, so that the only roundings are those of results.
    rounded = {name: torch.from_numpy(each).to(kind) for name, each in network.weights.items()}
    network.weights = {name: each.float().numpy() for name, each in rounded.items()}
    runner = Runner(
        lowered.program,
        build(lowered, host()),
        lowered.pack({name: to_numpy(each) for name, each in rounded.items()}),
    )
    x = torch.randn(2, 3, 9, 11, generator=torch.Generator().manual_seed(0)).to(kind)
    found = to_torch(runner(to_numpy(x))[0], kind).double().numpy()
    wanted = network.wanted(x.float().numpy())
    # The block reads what the convolution before it has stored, and stores: two roundings, of half a step.
    assert np.abs(found - wanted).max() < 2 * torch.finfo(kind).eps * np.abs(wanted).max()


def test_a_value_that_something_else_reads_is_not_hidden(joined: list[int]) -> None:
    builder = Builder("net")
    x = builder.input("x", TensorType((1, 16, 8, 8)))
    made = [x]
    for name, (out, kernel, _, pad, _, depthwise) in zip("abc", inverted(32, 16), strict=True):
        shape = (out, 1 if depthwise else int(made[-1].shape[1]), kernel, kernel)
        weight = builder.weight(Weight(name, TensorType(shape), zeros()))
        op = ConvWith(pad=pad, groups=out if depthwise else 1)
        made.append(builder.add(op, [made[-1], weight], ("x", "weight")).results[0])
    lower(builder.freeze((made[-1], made[1])), host())
    assert joined == [2]


def machine(threads: int, l2: int = 1 << 20) -> Any:
    return of({"kind": "llvm", "mcpu": "znver4", "num-cores": threads}, 32 << 10, l2)


def _saved(threads: int, size: int, wide: int, channels: int, stride: int = 1, l2: int = 1 << 20) -> float:
    network = Network((size, size), inverted(wide, channels, stride), channels=channels, batch=1)
    mains = [node for node in network.graph.operators() if node.op.name == "conv_with"][1:]
    return blocks_plan.saved(mains, machine(threads, l2), "float32")


@pytest.mark.parametrize("threads", [1, 2])
def test_blocks_are_taken_where_the_middle_would_leave_the_cache(threads: int) -> None:
    # Of MobileNetV2 at 224 x 224: in the first blocks 4.8 and 1.8 MB lie between, in the last ones 188 kB.
    assert _saved(threads, 112, 96, 16, stride=2) > 0
    assert _saved(threads, 56, 144, 24) > 0
    assert _saved(threads, 14, 384, 64) == 0
    assert _saved(threads, 7, 960, 160) == 0
    assert _saved(threads, 56, 144, 24, l2=64 << 10) == 0


def test_products_that_outweigh_memory_stay_apart() -> None:
    network = Network((56, 56), [(64, 3, 1, 1, 1, False), (64, 3, 1, 1, 1, False)], channels=64, batch=1)
    mains = [node for node in network.graph.operators() if node.op.name == "conv_with"][1:]
    assert blocks_plan.cut(mains, machine(2), "float32") == [[main] for main in mains]
