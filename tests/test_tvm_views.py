"""Movements between kernels that cost nothing: views read through, permutations written behind, channels last."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from planform.api.compile import deployed_model
from planform.api.model import Model
from planform.api.plan_file import PlanFile
from planform.backends.tvm.cpu.machine import host
from planform.backends.tvm.lowering.lower import lower

TEXT = """planform 1
model attend_net(x: [B, N, F], heads: int = 2) {
    qkv = x -> qkv: linear(3 * F) -> rearrange("b n (three h d) -> three b h n d", three=3, h=heads)
    q, k, v = unbind(qkv)
    y = scaled_dot_product_attention(q, k, v) -> rearrange("b h n d -> b n (h d)")
    return x + (y -> proj: linear(F))
}
model convnext_net(image: [B, C, H, W]) {
    x = image -> stem: conv(C * 2, 2, stride=2) -> norm: layer_norm(axis=1) -> gelu()
    y = x -> dw: conv(C * 2, 3, pad=1, groups=C * 2) -> rearrange("b c h w -> b h w c") -> ln: layer_norm()
    y = y -> fc1: linear(C * 4) -> gelu() -> fc2: linear(C * 2) -> rearrange("b h w c -> b c h w")
    x = x + y
    return x -> norm2: layer_norm(axis=1) -> down: conv(C, 3, stride=2, pad=1)
}
model windows_net(x: [B, H, W, C]) {
    y = x -> roll((-1, -2), axis=(1, 2)) -> rearrange("b (h p) (w q) c -> b (h w) (p q) c", p=2, q=2)
    y = y -> fc: linear(C)
    y = y -> rearrange("b (h w) (p q) c -> b (h p) (w q) c", p=2, q=2, h=H // 2) -> roll((1, 2), axis=(1, 2))
    return x + y
}
model gates_net(x: [B, H, W, C]) {
    g, i, c = x -> fc: linear(C * 2) -> split((C, C // 2, C // 2), axis=-1)
    c = c -> rearrange("b h w c -> b c h w") -> dw: conv(C // 2, 3, pad=1, groups=C // 2) -> rearrange("b c h w -> b h w c")
    return (gelu(g) * concat([i, c], axis=-1)) -> out: linear(C)
}
model conditional_net(x: [B, C, H, W], experts: int = 3) {
    routing = x -> global_avg_pool() -> route: linear(experts) -> sigmoid()
    a = (routing -> a: linear(8 * C * 9)) -> reshape([B, 8, C, 3, 3])
    x = conv_with(x, a, pad=1) -> relu()
    b = (routing -> b: linear(8 * 9)) -> reshape([B, 8, 1, 3, 3])
    return conv_with(x, b, pad=1, groups=8)
}
model several_net(x: [B, N, F]) {
    y = x -> fc: linear(F)
    z = transpose(y, 1, 2)
    return z, y + 1.0, softmax(z) -> reshape([B, F * N])
}
plan attend = attend_net()
plan convnext = convnext_net()
plan windows = windows_net()
plan gates = gates_net()
plan conditional = conditional_net()
plan several = several_net()
"""


def model(name: str, sizes: dict[str, int]) -> Model:
    return Model(PlanFile.from_text(TEXT, "views.plan"), name, {}, sizes)


def inputs(made: Model, free: dict[str, int]) -> list[Any]:
    torch.manual_seed(1)
    shapes = [[free.get(str(size), size) for size in value.shape] for value in made.graph.inputs]
    return [torch.randn([int(size) for size in shape]) for shape in shapes]


CASES = [
    ("attend", {"B": 2, "N": 9, "F": 64}, 3),
    ("attend", {"B": 1, "N": 17, "F": 12}, 3),
    ("convnext", {"B": 2, "C": 16, "H": 14, "W": 10}, 8),
    ("convnext", {"B": 1, "C": 12, "H": 9, "W": 12}, 8),
    ("windows", {"B": 2, "H": 4, "W": 6, "C": 32}, 1),
    ("gates", {"B": 1, "H": 5, "W": 6, "C": 64}, 4),
    ("gates", {"B": 2, "H": 5, "W": 6, "C": 20}, 4),
    ("conditional", {"B": 1, "C": 8, "H": 6, "W": 7}, 9),
    ("conditional", {"B": 3, "C": 5, "H": 6, "W": 7}, 12),
    ("several", {"B": 2, "N": 6, "F": 16}, None),
]


@pytest.mark.parametrize(("name", "sizes", "most"), CASES)
def test_kernels_equal_torch(name: str, sizes: dict[str, int], most: int | None) -> None:
    made = model(name, sizes)
    eager = made.to_torch(seed=0).eval()
    given = inputs(made, {})
    with torch.inference_mode():
        found = made.to_tvm(eager.state_dict(), cached=False)(*given)
        wanted = eager.double()(*[each.double() for each in given])
    for left, right in zip(
        torch.utils._pytree.tree_leaves(found), torch.utils._pytree.tree_leaves(wanted), strict=True
    ):
        assert left.shape == right.shape
        torch.testing.assert_close(left.double(), right, rtol=2e-5, atol=2e-5)
    if most is not None:
        program = lower(deployed_model(made, "f32").graph, host()).program
        assert len(program.steps) <= most


@pytest.mark.parametrize(
    ("name", "known", "free"),
    [
        ("attend", {"F": 32}, {"B": 2, "N": 7}),
        ("convnext", {"C": 16}, {"B": 2, "H": 12, "W": 9}),
        ("windows", {"C": 16}, {"B": 1, "H": 6, "W": 4}),
        ("gates", {"C": 32}, {"B": 2, "H": 3, "W": 5}),
        ("conditional", {"C": 8}, {"B": 2, "H": 4, "W": 5}),
    ],
)
def test_free_sizes_equal_torch(name: str, known: dict[str, int], free: dict[str, int]) -> None:
    made = model(name, known)
    eager = made.to_torch(seed=0).eval()
    given = inputs(made, free)
    with torch.inference_mode():
        found = made.to_tvm(eager.state_dict(), cached=False)(*given)
        wanted = eager.double()(*[each.double() for each in given])
    torch.testing.assert_close(found.double(), wanted, rtol=2e-5, atol=2e-5)
