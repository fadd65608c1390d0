"""Windows as columns and their sum: `unfold` that is read through, `fold` that gathers, maps that are convolutions.

The judge is `torch.nn.Unfold` and `torch.nn.Fold` in float64, with what is around them written out in torch.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from planform.api.compile import deployed_model
from planform.api.model import Model
from planform.api.plan_file import PlanFile
from planform.backends.tvm.cpu.machine import host
from planform.backends.tvm.lowering.lower import lower
from planform.compiler.fusion import partition
from planform.compiler.fusion.reach import Step, reach
from planform.compiler.ops.fold import Fold, Unfold
from planform.compiler.types import TensorType
from support.kernels import Core, kernels

TEXT = """planform 1
# Involution (arXiv:2103.06255): a window of each pixel, weighed by numbers that are made for it.
model involution(x: [B, 8, H, W], kernel: [B, 9, N]) {
    w = x -> unfold(3, pad=1) -> rearrange("b (c k) n -> b c k n", k=9)
    return einsum(w, kernel, "b c k n, b k n -> b c n") -> relu()
}
# What a ring of neighbours has at most; windows that overlap, and leave the plane.
model dilate(x: [B, 3, H, W]) {
    return relu(x) -> unfold((3, 2), stride=(2, 1), dilation=(1, 2), pad=(1, 2)) -> max(axis=-2)
}
# Outlook attention (arXiv:2106.13112): what each pixel gives to its neighbours is added where they are.
model outlook(a: [B, N, 2, 9, 9], v: [B, 16, 7, 6]) {
    w = v -> unfold(3, pad=1) -> rearrange("b (h c k) n -> b n h k c", h=2, k=9)
    y = (softmax(a) @ w) -> rearrange("b n h k c -> b (h c k) n")
    return v + fold(y, [7, 6], 3, pad=1)
}
model smooth(x: [B, 4, H, W], scale: [36, 1]) {
    y = gelu(unfold(x, 3, stride=2, pad=1) * scale)
    return fold(y, [H, W], 3, stride=2, pad=1) + x
}
model merging(x: [B, 4, H, W]) {
    return x -> unfold(2, stride=2) -> transpose(1, 2) -> reduction: linear(8) -> gelu()
}
model patches(x: [B, 4, H, W]) {
    y = x -> unfold((3, 2), stride=(2, 1), dilation=(1, 2), pad=(1, 0)) -> rearrange("b k n -> b n k")
    return y -> fc: linear(8, bias=true)
}
model wide(x: [B, 4, 8, 8], w: [36, 40]) {
    return (x -> unfold(3, pad=1) -> transpose(1, 2)) @ w
}
model normed(x: [B, 4, 8, 8]) {
    return x -> unfold(2, stride=2) -> transpose(1, 2) -> layer_norm(affine=false)
}
plan net_involution = involution()
plan net_dilate = dilate()
plan net_outlook = outlook()
plan net_smooth = smooth()
plan net_merging = merging()
plan net_patches = patches()
plan net_wide = wide()
plan net_normed = normed()
"""


def involution(x: Tensor, kernel: Tensor) -> Tensor:
    windows = nn.Unfold(3, padding=1)(x).unflatten(1, (8, 9))
    return (windows * kernel[:, None]).sum(2).relu()


def dilate(x: Tensor) -> Tensor:
    return nn.Unfold((3, 2), (1, 2), (1, 2), (2, 1))(x.relu()).amax(1)


def outlook(a: Tensor, v: Tensor) -> Tensor:
    windows = nn.Unfold(3, padding=1)(v).reshape(len(v), 2, 8, 9, -1).permute(0, 4, 1, 3, 2)
    y = (a.softmax(-1) @ windows).permute(0, 2, 4, 3, 1).reshape(len(v), 16 * 9, -1)
    return v + nn.Fold((7, 6), 3, padding=1)(y)


def smooth(x: Tensor, scale: Tensor) -> Tensor:
    y = F.gelu(nn.Unfold(3, padding=1, stride=2)(x) * scale)
    return nn.Fold(tuple(x.shape[2:]), 3, padding=1, stride=2)(y) + x


# The plan, its reference, its sizes, and how many kernels it takes: windows are not written between.
PLANS: list[tuple[str, Callable[..., Tensor], dict[str, int], int]] = [
    ("involution", involution, {"B": 2, "H": 5, "W": 7, "N": 35}, 1),
    ("dilate", dilate, {"B": 2, "H": 6, "W": 5}, 2),  # overlapping windows would repeat the relu
    ("outlook", outlook, {"B": 2, "N": 42}, 4),
    ("smooth", smooth, {"B": 2, "H": 7, "W": 6}, 1),
]
TOLERANCE = {"f32": 2e-5, "bf16": 2e-2}


def model(name: str, **sizes: int) -> Model:
    return Model(PlanFile.from_text(TEXT, "windows.plan"), f"net_{name}", {}, sizes)


def inputs(name: str, sizes: dict[str, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = [value.shape for value in model(name, **sizes).graph.inputs]
    return [torch.randn([int(size) for size in shape], generator=generator) for shape in shapes]


@pytest.mark.parametrize("float_as", ["f32", "bf16"])
@pytest.mark.parametrize("name, reference, sizes, most", PLANS, ids=[row[0] for row in PLANS])
def test_plans_of_windows_equal_torch(
    name: str, reference: Callable[..., Tensor], sizes: dict[str, int], most: int, float_as: Any
) -> None:
    given = [x.to({"f32": torch.float32, "bf16": torch.bfloat16}[float_as]) for x in inputs(name, sizes)]
    wanted = reference(*[x.double() for x in given])
    bound = model(name, **sizes)
    for made in (bound, model(name)):
        found = made.to_tvm(dtype=float_as)(*given)
        assert found.dtype == given[0].dtype
        torch.testing.assert_close(found.double(), wanted, rtol=TOLERANCE[float_as], atol=TOLERANCE[float_as])
    steps = lower(deployed_model(bound, float_as).graph, host(), float_as).program.steps
    assert len(steps) <= most, [step.about for step in steps]


def sweep(kernel: Any, strides: Any, dilations: Any, pads: Any) -> list[tuple[Any, ...]]:
    """Windows that a plane of 5 by 7 has."""
    found = []
    for each in product(kernel, strides, dilations, pads):
        spans = [d * (k - 1) + 1 for k, d in zip(*(pair(each[at]) for at in (0, 2)), strict=True)]
        if all(size + 2 * p >= span for size, p, span in zip((5, 7), pair(each[3]), spans, strict=True)):
            found.append(each)
    return found


def pair(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


QUICK = sweep([2, 3, (1, 4)], [1, 2, (3, 2)], [1, 2], [0, (1, 2)])
ALL = sweep([1, 2, 3, (1, 4), (3, 2)], [1, 2, 3, 4, (3, 2), (1, 3)], [1, 2, 3, (2, 1)], [0, 1, (1, 2), 3])


@pytest.mark.parametrize("settings", [QUICK, pytest.param(ALL, marks=pytest.mark.slow)], ids=["quick", "all"])
def test_all_windows_equal_torch(settings: list[tuple[Any, ...]]) -> None:
    generator = torch.Generator().manual_seed(0)
    for start in range(0, len(settings), 60):
        cores: list[Core] = []
        given: list[Tensor] = []
        wanted: list[Tensor] = []
        for kernel, stride, dilation, pad in settings[start : start + 60]:
            torchs = {"kernel_size": kernel, "stride": stride, "dilation": dilation, "padding": pad}
            ours = {"kernel": kernel, "stride": stride, "dilation": dilation, "pad": pad}
            image = torch.randn(2, 3, 5, 7, generator=generator, dtype=torch.float64)
            columns = torch.randn(nn.Unfold(**torchs)(image).shape, generator=generator, dtype=torch.float64)
            given += [image, columns]
            wanted += [nn.Unfold(**torchs)(image), nn.Fold((5, 7), **torchs)(columns)]
            cores += [
                (op, ("x",), (TensorType(tuple(x.shape), "float"),))
                for op, x in ((Unfold(**ours), image), (Fold(size=(5, 7), **ours), columns))
            ]
        answers = kernels(cores, "f64")(*[x.numpy() for x in given])
        for (op, _, _), (found,), right in zip(cores, answers, wanted, strict=True):
            torch.testing.assert_close(
                torch.from_numpy(found),
                right,
                rtol=1e-12,
                atol=1e-12,
                msg=lambda text, op=op: f"{op}: {text}",
            )


@pytest.mark.parametrize(
    "name, torchs",
    [
        ("merging", {"kernel_size": 2, "stride": 2}),
        ("patches", {"kernel_size": (3, 2), "stride": (2, 1), "dilation": (1, 2), "padding": (1, 0)}),
    ],
)
def test_a_linear_map_of_windows_is_a_convolution(name: str, torchs: dict[str, Any]) -> None:
    sizes = {"B": 2, "H": 8, "W": 6}
    bound, free = model(name, **sizes), model(name)
    for made in (bound, free):
        names = [node.op.name for node in made.deploy().graph.operators() if not node.op.view]
        assert names == ["conv_with", *(["gelu"] if name == "merging" else [])]
        assert "take a linear map of windows for a convolution" in [
            change.rule for change in made.deploy().changes
        ]
    eager = bound.to_torch(seed=0).eval()
    (x,) = inputs(name, sizes)
    state = eager.state_dict()
    weights = [value.double() for value in state.values()]
    wanted = F.linear(nn.Unfold(**torchs)(x.double()).mT, *weights)
    wanted = F.gelu(wanted) if name == "merging" else wanted
    torch.testing.assert_close(eager(x).double(), wanted, rtol=2e-5, atol=2e-5)
    deployed = bound.to_torch(mode="deploy", state_dict=state)
    torch.testing.assert_close(deployed(x).double(), wanted, rtol=2e-5, atol=2e-5)
    for made in (bound, free):
        found = torch.as_tensor(made.to_tvm(state)(x))
        torch.testing.assert_close(found.double(), wanted, rtol=2e-5, atol=2e-5)


def test_what_reads_windows_often_is_given_them_in_memory() -> None:
    for name, title in (("wide", "matmul"), ("normed", "layer_norm")):
        parts = partition(model(name, B=1).deploy().graph, blocks=False)
        assert len(parts.groups) == 2
        (refused,) = parts.refusals
        assert refused.reason == f"{title} reads each element of unfold many times, so it must be kept"


def test_windows_that_are_not_written_move_no_bytes() -> None:
    # By hand, in floats: x is read, 8*5*7, and the weights, 9*35; the result is written, 8*35.
    parts = partition(model("involution", B=1, H=5, W=7, N=35).deploy().graph)
    assert (len(parts.groups), parts.after) == (1, 4 * (8 * 35 + 9 * 35 + 8 * 35))
    # One by one unfold, the look at it as an axis more, einsum and relu.
    columns = 72 * 35
    each = [8 * 35 + columns, columns + columns, columns + 9 * 35 + 8 * 35, 2 * 8 * 35]
    assert parts.before in (4 * sum(each), 4 * (sum(each) - 2 * columns))


def test_windows_keep_samples_apart() -> None:
    (unfold,) = [node for node in model("normed").graph.operators() if node.op.name == "unfold"]
    steps = [reach(unfold, unfold.results[0], axis)[unfold.inputs[0]] for axis in range(3)]
    assert steps == [Step(0), None, None]
