"""Winograd's convolution as kernels, against torch in float64 and the defining matrices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

from planform.backends.tvm.codegen.build import build
from planform.backends.tvm.cpu import templates
from planform.backends.tvm.cpu.machine import Machine, host, of
from planform.backends.tvm.cpu.templates import winograd
from planform.backends.tvm.cpu.templates.winograd_plan import Plan, Work, plan
from planform.backends.tvm.cpu.templates.winograd_transforms import Transforms
from planform.backends.tvm.lowering.lower import Lowered, lower
from planform.backends.tvm.runtime.packing import Packing
from planform.backends.tvm.runtime.runner import Runner
from planform.backends.tvm.tensor_ir.layouts import Layout
from planform.compiler.graph.builder import Builder
from planform.compiler.graph.graph import Node, Value, Weight
from planform.compiler.ops.activation import Relu
from planform.compiler.ops.conv import ConvWith
from planform.compiler.ops.core.init import zeros
from planform.compiler.ops.elementwise import Add
from planform.compiler.sizes.dims import symbol
from planform.compiler.types import TensorType

Choose = Callable[[Plan], None]
GATE = 1e-3
"""The project's limit of relative errors; those of Winograd's convolution are to be far below it."""


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Choose:
    """Have every convolution that fits cut by one plan."""

    def chosen(wanted: Plan) -> None:
        monkeypatch.setattr(winograd, "plan", lambda work: wanted)
        monkeypatch.setattr(templates, "TEMPLATES", (winograd.fit, *templates.TEMPLATES))

    return chosen


class Network:
    """1 x 1 and 3 x 3 convolutions; with a rest, + what goes in and ReLU come after."""

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        out: int,
        pad: Any = 1,
        rest: bool = False,
        groups: int = 1,
    ) -> None:
        builder = Builder("net")
        self.weights: dict[str, np.ndarray] = {}
        self.builder, self.pad, self.rest, self.groups = builder, pad, rest, groups
        # An input of its own symbol for the batch.
        x = builder.input("x", TensorType((symbol("B"), 4, height, width)))
        inner = self._convolution(x, "a", channels, 4, 1, 0)
        y = self._convolution(inner, "b", out, channels // groups, 3, pad, groups)
        if rest:
            added = builder.add(Add(), [y, inner], ("x", "y")).results[0]
            y = builder.add(Relu(), [added], ("x",)).results[0]
        self.graph = builder.freeze(y)

    def _convolution(
        self, x: Value, name: str, out: int, channels: int, kernel: int, pad: Any, groups: int = 1
    ) -> Value:
        rng = np.random.default_rng(len(self.weights))
        operands = [x]
        for each, shape in (("w", (out, channels, kernel, kernel)), ("b", (out,))):
            operands.append(self.builder.weight(Weight(f"{name}.{each}", TensorType(shape), zeros())))
            self.weights[f"{name}.{each}"] = rng.standard_normal(shape).astype(np.float32)
        return self.builder.add(ConvWith(pad=pad, groups=groups), operands, ("x", "weight", "bias")).results[
            0
        ]

    def wanted(self, x: np.ndarray) -> np.ndarray:
        """What torch computes in float64."""
        weights = {name: torch.from_numpy(each).double() for name, each in self.weights.items()}
        inner = conv2d(torch.from_numpy(x).double(), weights["a.w"], weights["a.b"])
        y = conv2d(inner, weights["b.w"], weights["b.b"], padding=self.pad, groups=self.groups)
        return (torch.relu(y + inner) if self.rest else y).numpy()

    def runner(self) -> tuple[Runner, Lowered]:
        """The kernels, and what they are made from."""
        lowered = lower(self.graph, host())
        return Runner(lowered.program, build(lowered, host()), lowered.pack(self.weights)), lowered


def error(found: np.ndarray, wanted: np.ndarray) -> float:
    """The greatest difference, relative to the greatest element."""
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def is_transformed(lowered: Lowered) -> bool:
    return any(packing is not None and packing.sides for _, packing in lowered.packings.values())


@pytest.mark.parametrize("outputs", [2, 4])
@pytest.mark.parametrize(
    ("channels", "height", "width", "out", "pad", "rest", "cut"),
    [
        (32, 12, 12, 32, 1, False, (9, 5, 2, 1, True)),
        (16, 7, 9, 48, 1, False, (4, 4, 2, 2, False)),
        (20, 5, 6, 20, 1, True, (3, 2, 1, 1, True)),
        (1, 8, 13, 3, 1, False, (4, 3, 1, 1, False)),
        (3, 4, 3, 1, 0, False, (1, 1, 1, 1, True)),
        (33, 6, 5, 40, (2, 0), False, (3, 3, 4, 1, False)),
        (17, 1, 2, 16, 1, False, (1, 1, 1, 1, True)),
        (48, 10, 14, 48, 1, True, (6, 4, 1, 2, False)),
        (16, 9, 9, 80, 5, False, (5, 5, 2, 2, True)),
    ],
)
def test_kernels_equal_torch(
    choose: Choose,
    channels: int,
    height: int,
    width: int,
    out: int,
    pad: Any,
    rest: bool,
    cut: tuple[int, int, int, int, bool],
    outputs: int,
) -> None:
    *sizes, split = cut
    choose(Plan(outputs, *sizes, split == (outputs == 4)))
    network = Network(channels, height, width, out, pad, rest)
    runner, lowered = network.runner()
    assert is_transformed(lowered)
    for batch in (1, 3):
        x = np.random.default_rng(batch).standard_normal((batch, 4, height, width)).astype(np.float32)
        assert error(runner(x), network.wanted(x)) < 1e-5


@pytest.mark.parametrize("outputs", [2, 4])
@pytest.mark.parametrize(
    ("channels", "out", "groups", "rest", "cut"),
    [
        (32, 32, 2, True, (9, 5, 1, 1, True)),
        (96, 96, 3, True, (4, 4, 2, 2, False)),
        (64, 192, 4, False, (5, 5, 3, 3, True)),
        (96, 64, 2, False, (12, 6, 1, 3, False)),
        (128, 128, 8, True, (3, 3, 1, 8, True)),
    ],
)
def test_groups_of_whole_vectors_equal_torch(
    choose: Choose,
    channels: int,
    out: int,
    groups: int,
    rest: bool,
    cut: tuple[int, int, int, int, bool],
    outputs: int,
) -> None:
    choose(Plan(outputs, *cut))
    network = Network(channels, 10, 7, out, 1, rest, groups)
    runner, lowered = network.runner()
    assert is_transformed(lowered)
    for batch in (1, 2):
        x = np.random.default_rng(batch).standard_normal((batch, 4, 10, 7)).astype(np.float32)
        assert error(runner(x), network.wanted(x)) < 1e-5


def _checks(shape: tuple[int, ...]) -> np.ndarray:
    """+1 and -1 by turns in both of the last axes: the greatest sums in the transforms."""
    signs = (-1.0) ** np.add.outer(np.arange(shape[-2]), np.arange(shape[-1]))
    return np.broadcast_to(signs, shape).astype(np.float32)


ADVERSARIAL = {
    "checks": lambda w, x: (_checks(w.shape), _checks(x.shape)),
    "ones": lambda w, x: (np.ones_like(w), np.ones_like(x)),
    "one pixel far above the others": lambda w, x: (
        w,
        x * np.where(np.indices(x.shape)[-2:].prod(0) == 25, 1e4, 1.0),
    ),
    "channels of all magnitudes": lambda w, x: (
        w * np.logspace(-4, 4, w.shape[1], dtype=np.float32)[:, None, None],
        x,
    ),
    "corners": lambda w, x: (np.where(np.indices(w.shape)[-2:].sum(0) == 4, 1e3 * w, w), x),
}


@pytest.mark.parametrize("outputs", [2, 4])
@pytest.mark.parametrize("case", ADVERSARIAL)
def test_adversarial_weights_stay_far_below_the_gate(choose: Choose, outputs: int, case: str) -> None:
    choose(Plan(outputs, 9, 3, 2, 2, False))
    network = Network(64, 12, 12, 64)
    x = np.random.default_rng(0).standard_normal((1, 4, 12, 12)).astype(np.float32)
    weight, x = ADVERSARIAL[case](network.weights["b.w"], x)
    network.weights["b.w"] = np.ascontiguousarray(weight, dtype=np.float32)
    runner, _ = network.runner()
    assert error(runner(np.ascontiguousarray(x, dtype=np.float32)), network.wanted(x)) < GATE / 100


@pytest.mark.parametrize("outputs", [2, 4])
def test_weights_are_transformed_in_float64(outputs: int) -> None:
    sides = Transforms(outputs).weight
    size = outputs + 2
    weight = np.random.default_rng(0).standard_normal((5, 3, 3, 3)).astype(np.float32)
    packing = Packing((8, 3, size, size), (2, 4, 3, size, size), (0, 3, 4, 2, 1), sides)
    g = np.array(sides)
    wanted = np.einsum("ia,ocab,jb->ocij", g, weight.astype(np.float64), g)
    found = packing(weight)
    assert found.shape == packing.shape and found.dtype == np.float32
    # What fills the last vector up is no part of a result, and poisoned here.
    unpacked = found.transpose(0, 4, 3, 1, 2).reshape(8, 3, size, size)[:5]
    np.testing.assert_allclose(unpacked, wanted, rtol=1e-6, atol=1e-7)
    assert str(packing) != str(replace(packing, sides=()))


def machine() -> Machine:
    return of({"kind": "llvm", "mcpu": "znver4", "num-cores": 2}, 32 << 10, 1 << 20)


def _fits(machine: Machine, **changes: Any) -> bool:
    """Whether the template takes a convolution of 64 channels, 56 x 56, but for the changes."""
    op = ConvWith(**{"pad": 1, **{k: v for k, v in changes.items() if k in ("stride", "dilation", "groups")}})
    kernel, channels = changes.get("kernel", 3), changes.get("channels", 64)
    builder = Builder("net")
    x = builder.input("x", TensorType((1, channels, 56, 56)))
    shape = (64, channels // changes.get("groups", 1), kernel, kernel)
    weight = builder.weight(Weight("w", TensorType(shape), zeros()))
    node: Node = builder.add(op, [x, weight], ("x", "weight"))
    layout = changes.get("layout", Layout(1, 16))
    return winograd.fit(node, {"x": layout}, machine, changes.get("dtype", "float32")) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"stride": 2},
        {"dilation": 2},
        {"groups": 8},
        {"kernel": 5},
        {"kernel": 1},
        {"layout": Layout()},
        {"dtype": "float64"},
        {"channels": 3},
    ],
)
def test_others_are_left_to_other_templates(changes: dict[str, Any]) -> None:
    assert _fits(machine()) and _fits(machine(), groups=2)
    assert not _fits(machine(), **changes)


def test_plans_weigh_products_against_memory() -> None:
    # Much work for each weight: the larger tiles. One image of few pixels: the weights' 36 / 16 decide.
    wide = plan(Work(1, (56, 56), 64, 64, machine()))
    deep = plan(Work(1, (7, 7), 512, 512, machine()))
    assert wide is not None and wide.outputs == 4
    assert deep is not None and deep.outputs == 2
    many = plan(Work(32, (7, 7), 512, 512, machine()))
    assert many is not None and many.outputs == 4


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_plans_leave_registers_and_cover_all_tiles(threads: int) -> None:
    for vector, registers, cpu in ((64, 32, "znver4"), (32, 16, "haswell")):
        described = of({"kind": "llvm", "mcpu": cpu, "num-cores": threads})
        assert (described.vector, described.registers) == (vector, registers)
        for size, channels in ((56, 64), (14, 256), (7, 30)):
            work = Work(1, (size, size), channels, channels, described)
            for found in [each for outputs in (2, 4) for each in work.plans(outputs)]:
                assert found.pixels * found.blocks + found.blocks < registers
                assert found.strip <= found.room < found.strip + found.pixels
                assert work.cost(found) > 0


def test_panels_do_not_leave_their_groups() -> None:
    work = Work(1, (12, 12), 128, 768, machine(), 6)
    assert {found.blocks for found in work.plans(4)} == {1, 2, 4}
    # Six groups of 128 channels are a sixth of the products of 768 channels.
    assert work.direct() < Work(1, (12, 12), 768, 768, machine()).direct() / 5
