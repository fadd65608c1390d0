"""Convolutions and products by templates, against torch in float64: odd sizes, strides, dilations, groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from planform.backends.tvm.codegen.build import build
from planform.backends.tvm.cpu.machine import host
from planform.backends.tvm.lowering.lower import lower
from planform.backends.tvm.runtime.runner import Runner
from planform.compiler.graph.builder import Builder
from planform.compiler.graph.graph import Weight
from planform.compiler.ops.activation import Gelu
from planform.compiler.ops.conv import ConvWith
from planform.compiler.ops.conv_transpose import ConvTransposeWith
from planform.compiler.ops.core.base import Op
from planform.compiler.ops.core.init import zeros
from planform.compiler.ops.einsum import Einsum
from planform.compiler.ops.elementwise import Add
from planform.compiler.ops.matmul import MatMul
from planform.compiler.ops.pool import AvgPool, MaxPool
from planform.compiler.sizes.dims import symbol
from planform.compiler.types import TensorType
from support.timing import Stopwatch

TOLERANCE = {"f64": 1e-12, "f32": 1e-5}


def error(found: np.ndarray, wanted: np.ndarray) -> float:
    """The greatest difference, relative to the greatest element."""
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


class Network:
    """An operator with weights; before it a 1x1 convolution if `packed`, after it x + gelu if `rest`."""

    def __init__(
        self,
        op: Op,
        shape: tuple[int, ...],
        weight: tuple[int, ...] = (),
        bias: bool = True,
        packed: bool = True,
        rest: bool = False,
        dtype: str = "f32",
    ) -> None:
        self.op, self.packed, self.rest, self.dtype = op, packed, rest, dtype
        self.type = np.float32 if dtype == "f32" else np.float64
        self.shape = shape
        builder = Builder("net")
        self.builder = builder
        self.weights: dict[str, np.ndarray] = {}
        x = builder.input("x", TensorType((symbol("B"), *shape)))
        if packed:
            ones = (1,) * (len(shape) - 1)
            x = self._apply(ConvWith(), x, "before", (shape[0], shape[0], *ones), shape[0])
        out = 0
        if weight and bias:
            out = weight[1] * op.groups if op.name == "conv_transpose_with" else weight[0]  # type: ignore
        y = self._apply(op, x, "own", weight, out)
        if rest:
            gelu = builder.add(Gelu(), [y], ("x",)).results[0]
            y = builder.add(Add(), [y, gelu], ("x", "y")).results[0]
        self.graph = builder.freeze(y)
        self.lowered = lower(self.graph, host(), dtype)
        self.runner = Runner(
            self.lowered.program, build(self.lowered, host()), self.lowered.pack(self.weights)
        )

    def _apply(self, op: Op, x: Any, name: str, weight: tuple[int, ...], bias: int) -> Any:
        rng = np.random.default_rng(len(self.weights))
        operands = [x]
        for each, shape in ((f"{name}.w", weight), (f"{name}.b", (bias,))):
            if shape not in ((), (0,)):
                operands.append(self.builder.weight(Weight(each, TensorType(shape), zeros())))
                self.weights[each] = rng.standard_normal(shape).astype(self.type)
        return self.builder.add(op, operands, ("x", "weight", "bias")[: len(operands)]).results[0]

    def given(self, batch: int) -> np.ndarray:
        return np.random.default_rng(batch).standard_normal((batch, *self.shape)).astype(self.type)

    def wanted(self, x: np.ndarray) -> np.ndarray:
        """What torch computes in float64."""
        w = {name: torch.from_numpy(each).double() for name, each in self.weights.items()}
        y = torch.from_numpy(x).double()
        rank = y.ndim - 2
        if self.packed:
            y = (F.conv1d, F.conv2d, F.conv3d)[rank - 1](y, w["before.w"], w["before.b"])
        y = self._torch(y, w.get("own.w"), w.get("own.b"))
        return (y + F.gelu(y) if self.rest else y).numpy()

    def _torch(self, x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None) -> torch.Tensor:
        op: Any = self.op
        rank = x.ndim - 2
        if op.name == "max_pool":
            function: Any = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[rank - 1]
            return function(x, op.kernel, op.stride, op.pad, op.dilation, op.ceil_mode)
        if op.name == "avg_pool":
            function = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[rank - 1]
            return function(x, op.kernel, op.stride, op.pad, op.ceil_mode, op.count_include_pad)
        if op.name == "conv_transpose_with":
            function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[rank - 1]
            more = (op.stride, op.pad, op.output_padding, op.groups, op.dilation)
            return function(x, weight, bias, *more)
        pad = op.pad
        if isinstance(pad, tuple) and any(isinstance(each, tuple) for each in pad):
            x = F.pad(x, [size for pair in reversed(pad) for size in pair])
            pad = 0
        function = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
        return function(x, weight, bias, op.stride, pad, op.dilation, op.groups)

    def check(self, *batches: int) -> None:
        for batch in batches:
            x = self.given(batch)
            assert error(self.runner(x), self.wanted(x)) < TOLERANCE[self.dtype]

    def packings(self) -> list[Any]:
        """How the operator's own weights are packed."""
        found = [packing for path, packing in self.lowered.packings.values() if path == "own.w"]
        return [packing for packing in found if packing is not None]


GROUPED = [
    # groups, input and output channels of each, sizes, kernel, other arguments
    (8, 4, 4, (9, 11), (3, 3), {"pad": 1}),
    (16, 2, 2, (7, 30), (3, 3), {"pad": 1, "stride": 2}),
    (4, 8, 8, (6, 5), (3, 3), {"pad": 1}),
    (4, 8, 8, (6, 29), (3, 3), {"pad": 2, "dilation": 2, "stride": (2, 1)}),
    (6, 4, 2, (5, 9), (5, 3), {"pad": (2, 1)}),
    (16, 1, 2, (8, 8), (3, 3), {"pad": 1}),
    (5, 2, 4, (8, 7), (2, 3), {"pad": ((0, 1), (2, 1))}),
    (3, 24, 24, (6, 7), (3, 3), {"pad": 1}),
    (2, 12, 80, (7, 7), (3, 3), {"pad": 1}),
    (2, 5, 20, (5, 7), (1, 1), {}),
    (2, 24, 40, (6, 33), (1, 3), {"pad": (0, 1)}),
    (8, 4, 4, (31,), (3,), {"pad": 1}),
    (4, 4, 4, (3, 5, 6), (3, 2, 3), {"pad": 1}),
    (8, 3, 4, (6, 6), (3, 3), {"pad": 1}),
]


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize(("groups", "channels", "out", "sizes", "kernel", "arguments"), GROUPED)
def test_groups(
    groups: int,
    channels: int,
    out: int,
    sizes: tuple[int, ...],
    kernel: tuple[int, ...],
    arguments: dict[str, Any],
    dtype: str,
) -> None:
    op = ConvWith(groups=groups, **arguments)
    weight = (groups * out, channels, *kernel)
    network = Network(op, (groups * channels, *sizes), weight, rest=True, dtype=dtype)
    network.check(1, 2)
    if (channels, out) in ((4, 4), (2, 2), (8, 8), (24, 24), (12, 80)):
        assert network.packings()


VOLUMES = [
    # input and output channels, groups, sizes, kernel, other arguments
    (5, 20, 1, (5, 6, 7), (3, 3, 3), {"pad": 1}),
    (17, 33, 1, (6, 5, 9), (3, 3, 3), {"pad": 1, "stride": 2}),
    (4, 16, 1, (4, 5, 6), (1, 1, 1), {}),
    (4, 16, 1, (7, 7, 8), (2, 3, 1), {"pad": (1, 2, 0), "dilation": (2, 2, 1), "stride": (1, 2, 3)}),
    (32, 32, 2, (3, 4, 5), (3, 3, 3), {"pad": 1}),
    (20, 20, 20, (5, 4, 9), (3, 3, 3), {"pad": 1, "stride": (2, 1, 2)}),
    (3, 24, 1, (40,), (7,), {"pad": 3, "stride": 2}),
    (24, 24, 24, (33,), (4,), {"pad": ((3, 0),)}),
    (32, 32, 32, (7, 9), (3, 5), {"pad": (1, 2)}),
    (32, 32, 32, (21,), (3,), {"pad": 1, "stride": 2}),
]


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize(("channels", "out", "groups", "sizes", "kernel", "arguments"), VOLUMES)
def test_volumes_and_signals(
    channels: int,
    out: int,
    groups: int,
    sizes: tuple[int, ...],
    kernel: tuple[int, ...],
    arguments: dict[str, Any],
    dtype: str,
) -> None:
    op = ConvWith(groups=groups, **arguments)
    weight = (out, channels // groups, *kernel)
    network = Network(op, (channels, *sizes), weight, rest=True, dtype=dtype)
    network.check(1, 3)
    assert network.packings()
    Network(op, (channels, *sizes), weight, packed=False, bias=False, dtype=dtype).check(2)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize(
    ("channels", "out", "groups", "sizes", "kernel", "arguments"),
    [
        (8, 20, 1, (260,), (257,), {"pad": 1}),
        (8, 16, 1, (90,), (65,), {"pad": ((40, 3),), "stride": 2, "dilation": 2}),
        (32, 32, 32, (70,), (67,), {"pad": 33}),
        (16, 16, 4, (3, 70), (1, 67), {"pad": (0, 33)}),
    ],
)
def test_kernels_as_long_as_the_row(
    channels: int,
    out: int,
    groups: int,
    sizes: tuple[int, ...],
    kernel: tuple[int, ...],
    arguments: dict[str, Any],
    dtype: str,
) -> None:
    op = ConvWith(groups=groups, **arguments)
    Network(op, (channels, *sizes), (out, channels // groups, *kernel), dtype=dtype).check(1, 2)


def test_the_code_of_long_kernels_is_short() -> None:
    with Stopwatch() as watch:
        Network(ConvWith(pad=1), (16, 4100), (16, 16, 4099), packed=False).check(1)
    assert watch.seconds < 30


POOLS = [
    (20, (9, 8), MaxPool(kernel=3, stride=2, pad=1)),
    (32, (8, 40), MaxPool(kernel=(3, 2), stride=2, pad=(1, 0), ceil_mode=True)),
    (16, (9,), MaxPool(kernel=3, dilation=2)),
    (18, (5, 4, 6), MaxPool(kernel=2)),
    (5, (7, 6, 5), MaxPool(kernel=3, stride=2, pad=1)),
    (20, (9, 8), AvgPool(kernel=3, stride=1, pad=1)),
    (32, (9, 8), AvgPool(kernel=3, stride=2, pad=1, count_include_pad=False)),
    (32, (9, 8), AvgPool(kernel=2, ceil_mode=True)),
    (17, (4, 5, 6), AvgPool(kernel=2)),
]


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize(("channels", "sizes", "op"), POOLS)
def test_pools(channels: int, sizes: tuple[int, ...], op: Op, dtype: str) -> None:
    network = Network(op, (channels, *sizes), rest=True, dtype=dtype)
    network.check(1, 2)
    x = network.given(1)
    x[0, 0].flat[0] = np.nan
    found, wanted = network.runner(x), network.wanted(x)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))


TRANSPOSED = [
    # input and output channels of a group, groups, sizes, kernel, other arguments
    (16, 20, 1, (5, 7), (2, 2), {"stride": 2}),
    (20, 33, 1, (6, 5), (3, 3), {"stride": 2, "pad": 1, "output_padding": 1}),
    (17, 16, 1, (4, 9), (4, 4), {"stride": 2, "pad": 1}),
    (8, 16, 1, (3, 4), (5, 3), {"stride": (3, 2), "pad": (2, 0), "output_padding": (2, 1)}),
    (8, 4, 1, (7, 6), (3, 3), {"pad": 1, "dilation": 2}),
    (16, 32, 2, (5, 4), (3, 4), {"stride": (1, 4)}),
    (12, 5, 1, (3, 4, 5), (2, 2, 2), {"stride": 2}),
    (12, 16, 1, (3, 2, 4), (3, 4, 3), {"stride": 2, "pad": 1, "output_padding": (1, 0, 1)}),
    (9, 7, 1, (11,), (4,), {"stride": 2, "pad": 1}),
    (64, 16, 1, (1, 1), (4, 4), {}),
    (5, 3, 1, (4, 4), (1, 1), {"stride": 2}),
    (4, 3, 1, (2, 3), (16, 16), {"stride": 8, "pad": 4}),
]


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize(("channels", "out", "groups", "sizes", "kernel", "arguments"), TRANSPOSED)
def test_transposed(
    channels: int,
    out: int,
    groups: int,
    sizes: tuple[int, ...],
    kernel: tuple[int, ...],
    arguments: dict[str, Any],
    dtype: str,
) -> None:
    op = ConvTransposeWith(groups=groups, **arguments)
    network = Network(op, (channels * groups, *sizes), (channels * groups, out, *kernel), dtype=dtype)
    network.check(1, 2)
    assert network.packings() or min(kernel) < 2


MATRICES = [
    # einsum's pattern, or None for matmul; the operands' shapes
    (None, (5, 7), (7, 33)),
    (None, (2, 3, 20, 17), (2, 3, 17, 16)),
    (None, (5, 1, 2, 3), (6, 3, 40)),
    (None, (4, 9, 8), (8, 24)),
    (None, (6, 8), (2, 8, 19)),
    (None, (1, 40), (40, 64)),
    ("bhnd,bhmd->bhnm", (2, 3, 14, 5), (2, 3, 26, 5)),
    ("bnk,bkm->bmn", (2, 18, 4), (2, 4, 9)),
    ("bcxy,dcx->bdyx", (2, 3, 16, 4), (5, 3, 16)),
    ("abij,bkij->abk", (2, 3, 4, 5), (3, 32, 4, 5)),
    ("xyk,km->xym", (3, 4, 5), (5, 21)),
    ("i,j->ij", (3,), (20,)),
]


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize(("pattern", "left", "right"), MATRICES)
def test_matrices(pattern: str | None, left: tuple[int, ...], right: tuple[int, ...], dtype: str) -> None:
    builder = Builder("net")
    given = [builder.input(name, TensorType(shape)) for name, shape in (("x", left), ("y", right))]
    op, slots = (MatMul(), ("x", "y")) if pattern is None else (Einsum(pattern=pattern), ("xs", "xs"))
    y = builder.add(op, given, slots).results[0]
    y = builder.add(Gelu(), [y], ("x",)).results[0]
    lowered = lower(builder.freeze(y), host(), dtype)
    runner = Runner(lowered.program, build(lowered, host()), {})
    rng = np.random.default_rng(0)
    arrays = [
        rng.standard_normal(shape).astype(np.float32 if dtype == "f32" else np.float64)
        for shape in (left, right)
    ]
    a, b = (torch.from_numpy(each).double() for each in arrays)
    wanted = F.gelu(a @ b if pattern is None else torch.einsum(pattern, a, b)).numpy()
    assert error(runner(*arrays), wanted) < TOLERANCE[dtype]
