"""Batch norms whose channels are another axis than number 1, against torch's on permuted views in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from planform.compiler.fusion.reach import Step, reach
from support.emitted import load
from support.faces import model

# The body, the sizes of x, and the axis of the norm called `bn`.
CASES = {
    "tokens": ("x -> bn: batch_norm(axis=-1)", (3, 5, 6), 2),
    "channels_last": ("x -> bn: batch_norm(axis=-1, momentum=none)", (2, 3, 4, 5), 3),
    "middle": ("x -> bn: batch_norm(axis=2, affine=false)", (2, 3, 4, 5), 2),
    "from_the_end": ("x -> bn: batch_norm(axis=-2, eps=0.001)", (2, 3, 4, 5), 2),
    "rows": ("x -> bn: batch_norm(axis=-1)", (4, 6), 1),
    "first": ("x -> bn: batch_norm(axis=-3)", (2, 3, 4, 5), 1),
}


def weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Numbers that are no fixed point of a norm; variances are positive."""
    generator = torch.Generator().manual_seed(1)
    drawn: dict[str, Tensor] = {}
    for path, value in state.items():
        fresh = torch.rand(value.shape, generator=generator, dtype=torch.float64)
        if value.is_floating_point():
            drawn[path] = fresh + 0.5 if path.endswith("var") else 2 * fresh - 1
        else:
            drawn[path] = value
    return drawn


def on_view(norm: nn.Module, x: Tensor, axis: int) -> Tensor:
    """What torch's norm makes of the tensor with that axis moved to where it has its channels."""
    moved = x.movedim(axis, -1)
    return norm(moved.reshape(-1, moved.shape[-1])).reshape(moved.shape).movedim(-1, axis)


@pytest.mark.parametrize("name", CASES)
def test_trains_and_runs_as_torch_does_on_a_permuted_view(name: str) -> None:
    body, shape, axis = CASES[name]
    inputs = f"x: [{', '.join(map(str, shape))}]"
    module = model(f"return {body}", inputs).to_torch(seed=0, dtype=torch.float64)
    assert isinstance(module.bn, nn.modules.batchnorm._BatchNorm)
    module.load_state_dict(weights(module.state_dict()))
    source = load(model(f"return {body}", inputs).to_source()).double()
    source.load_state_dict(module.state_dict())
    norm = nn.BatchNorm1d(
        shape[axis], eps=module.bn.eps, momentum=module.bn.momentum, affine=module.bn.affine
    ).double()
    norm.load_state_dict(module.bn.state_dict())
    generator = torch.Generator().manual_seed(0)
    for training in (True, True, False):
        x = torch.randn(shape, generator=generator, dtype=torch.float64) * 3 + 1
        given = [x.clone().requires_grad_() for _ in range(3)]
        made = [module.train(training)(given[0]), source.train(training)(given[1])]
        wanted = on_view(norm.train(training), given[2], axis)
        wanted.square().sum().backward()
        for one, result in zip(given, made, strict=False):
            torch.testing.assert_close(result, wanted, rtol=1e-12, atol=1e-12)
            result.square().sum().backward()
            torch.testing.assert_close(one.grad, given[2].grad, rtol=1e-10, atol=1e-10)
        for key, value in norm.state_dict().items():
            torch.testing.assert_close(module.bn.state_dict()[key], value, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(source.bn.state_dict()[key], value, rtol=1e-12, atol=1e-12)


# LeViT's `Linear_BN` norms the tokens of all samples at once: x.flatten(0, 1) and back.
LEVIT = """y = x -> qkv: linear(12) -> bn: batch_norm(axis=-1) -> hard_swish()
return y -> proj: linear(6) -> bn2: batch_norm(axis=-1)"""
CHANNELS_LAST = """y = x -> dw: conv(6, 3, pad=1, groups=6) -> rearrange("b c h w -> b h w c")
y = y -> bn: batch_norm(axis=-1) -> pw: linear(16) -> gelu() -> bn2: batch_norm(axis=-1)
y = y -> out: linear(6) -> bn3: batch_norm(axis=3)
return x + (y -> rearrange("b h w c -> b c h w"))"""
STAYS = "return relu(x) -> bn: batch_norm(axis=2) -> gelu()"
OWN = "return relu(x) -> bn: batch_norm(axis=2, track=false) -> gelu()"


@pytest.mark.parametrize(
    "body, shape, kept",
    [
        (LEVIT, {"B": 2, "N": 5, "C": 6}, 0),
        (CHANNELS_LAST, {"B": 2, "C": 6, "H": 5, "W": 7}, 0),
        (STAYS, {"B": 2, "N": 5, "C": 6, "K": 3}, 1),
        (OWN, {"B": 2, "N": 5, "C": 6, "K": 3}, 1),
    ],
    ids=["levit", "channels_last", "stays", "own_statistics"],
)
def test_folds_and_compiles(body: str, shape: dict[str, int], kept: int) -> None:
    free = ("B", "N", "H", "W")
    inputs = ", ".join(name if name in free else str(size) for name, size in shape.items())
    lines = body.replace("\n", ";")
    free_model, bound = (
        model(lines, f"x: [{inputs}]"),
        model(lines, f"x: [{inputs}]", **{name: size for name, size in shape.items() if name in free}),
    )
    eager = bound.to_torch(seed=0, dtype=torch.float64).eval()
    state = weights(eager.state_dict())
    eager.load_state_dict(state)
    x = torch.randn(tuple(shape.values()), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted = eager(x)
    names = [node.op.name for node in bound.deploy().graph.nodes]
    assert names.count("batch_norm_with") == kept
    deployed = bound.to_torch(mode="deploy", state_dict=state, dtype=torch.float64)
    torch.testing.assert_close(deployed(x), wanted, rtol=1e-10, atol=1e-10)
    single = {path: value.float() if value.is_floating_point() else value for path, value in state.items()}
    for compiled in (free_model.to_tvm(single), bound.to_tvm(single)):
        found = torch.as_tensor(np.asarray(compiled(x.float())))
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)


def test_convolutions_take_a_norm_of_their_channels_alone() -> None:
    graph = model("return x -> c: conv(8, 3) -> bn: batch_norm(axis=-1)", "x: [2, 4, 9, 9]").deploy()
    assert [node.op.name for node in graph.graph.nodes if not node.op.source] == [
        "conv_with",
        "batch_norm_with",
    ]
    (refusal,) = graph.refusals
    assert refusal.reason == "batch_norm works along axis 3 of what conv gives, whose channels are axis 1"
    graph = model("return x -> c: conv(8, 3) -> bn: batch_norm(axis=-3)", "x: [2, 4, 9, 9]").deploy()
    assert [node.op.name for node in graph.graph.nodes if not node.op.source] == ["conv_with"]


def test_costs_what_the_same_elements_cost_in_axis_1() -> None:
    def total(text: str, inputs: str) -> Any:
        (row,) = model(f"return {text}", inputs).cost().rows
        return row.cost

    # 2*3*4*5 elements in 5 channels: an addition and a product to norm, the same to scale; eps, and 5 roots.
    cost = total("x -> bn: batch_norm(axis=-1)", "x: [2, 3, 4, 5]")
    assert (cost.add, cost.multiply, cost.transcendental) == (120 + 120 + 5, 240, 5)
    assert cost == total("x -> bn: batch_norm()", "x: [2, 5, 3, 4]")


def test_statistics_need_all_other_axes_and_stored_ones_none() -> None:
    for body, free in (
        ("bn: batch_norm(axis=-1)", (0, 1, 2)),
        ("bn: batch_norm(axis=-1, track=false)", (2,)),
    ):
        graph = model(f"return x -> {body}", "x: [4, 5, 6]").graph
        (node,) = [node for node in graph.nodes if not node.op.source]
        (result,), x = node.results, graph.inputs[0]
        steps = [reach(node, result, axis)[x] for axis in range(3)]
        assert steps == [Step(axis) if axis in free else None for axis in range(3)]


@pytest.mark.parametrize(
    "arguments, shape, code, text",
    [
        ("axis=3", "[2, 4, 6]", "E304", "`axis` is 3, but there are 3 axes"),
        ("axis=-4", "[2, 4, 6]", "E304", "`axis` is -4, but there are 3 axes"),
        ("axis=0", "[2, 4, 6]", "E304", "`axis` is 0, the samples of the batch"),
        ("axis=-3", "[2, 4, 6]", "E304", "`axis` is -3, the samples of the batch"),
        ("axis=[1, 2]", "[2, 4, 6]", "E201", "`axis` of `batch_norm` must be an int"),
        ("axis=-1", "[6]", "E302", "batch_norm needs at least 2 axes, and got 1"),
    ],
)
def test_a_wrong_axis_is_told(arguments: str, shape: str, code: str, text: str) -> None:
    with pytest.raises(Exception) as caught:
        model(f"return x -> bn: batch_norm({arguments})", f"x: {shape}").deploy()
    assert code in str(caught.value) and text in str(caught.value)
