"""Kernels with several results, of which some are made of others, and values that numpy receives as they lie."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from planform.api.compile import deployed_model
from planform.api.model import Model
from planform.api.plan_file import PlanFile
from planform.backends.tvm.compile import lowered_for
from planform.backends.tvm.cpu import depth_first
from planform.backends.tvm.cpu.machine import host
from planform.backends.tvm.cpu.templates import TEMPLATES
from planform.backends.tvm.lowering.kernels import KernelMaker
from planform.compiler.graph.graph import Node
from support.cuda_emulation import gpu as emulated_gpu
from support.eager import TORCH

TOLERANCE = {"f64": 1e-10, "f32": 3e-5, "f16": 4e-3, "bf16": 3e-2}
DTYPES = ("f32", "f64", "f16", "bf16")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds of these tests are shared among them, and with nobody else."""
    monkeypatch.setenv("PLANFORM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def plan(body: str, **inputs: str) -> Model:
    given = ", ".join(f"{name}: {shape}" for name, shape in inputs.items())
    text = f"planform 1\nmodel network({given}) {{\n{body}\n}}\nplan net = network()\n"
    return Model(PlanFile.from_text(text), "net", {}, {})


def agree(model: Model, *inputs: torch.Tensor, dtype: str = "f32", target: Any = None) -> None:
    """The compiled plan gives, from operands of a type, what torch gives in float64."""
    eager = model.to_torch(seed=0, dtype=torch.float64).eval()
    rounded = {
        name: x.to(TORCH[dtype]).double() if x.is_floating_point() else x
        for name, x in eager.state_dict().items()
    }
    eager.load_state_dict(rounded)
    given = [x.to(TORCH[dtype]) if x.is_floating_point() else x for x in inputs]
    with torch.inference_mode():
        wanted = eager(*[x.double() if x.is_floating_point() else x for x in given])
    found = model.to_tvm(rounded, target=target, dtype=dtype)(*given)
    if not isinstance(wanted, tuple):
        wanted, found = (wanted,), (found,)
    for number, (left, right) in enumerate(zip(found, wanted, strict=True)):
        assert left.shape == right.shape
        if not right.is_floating_point():
            assert torch.equal(left, right), f"result {number}"
            continue
        scale = right.abs().max().item() + 1.0
        error = (left.double() - right).abs().max().item()
        assert error <= TOLERANCE[dtype] * scale, f"result {number}: {error}"


# One for each template: what is read, the main operator, and another shape for its result.
MAINS = {
    "linear": ("[2, 6, 8]", "c: linear(24)", "[2, 144]"),
    "linear of one column": ("[5, 8]", "c: linear(1)", "[5]"),
    "conv1d": ("[2, 16, 11]", "c: conv(16, 3, pad=1)", "[2, 4, 44]"),
    "conv2d": ("[2, 8, 9, 7]", "c: conv(20, 3, stride=2)", "[2, 20, 12]"),
    "conv3d": ("[1, 8, 4, 5, 6]", "c: conv(16, 3, pad=1)", "[16, 120]"),
    "winograd": ("[1, 64, 14, 14]", "h: conv(64, 1) -> relu() -> c: conv(64, 3, pad=1)", "[64, 196]"),
    "depthwise": ("[2, 16, 9, 7]", "h: conv(16, 1) -> c: conv(16, 3, pad=1, groups=16)", "[2, 16, 63]"),
    "narrow groups": ("[2, 32, 9, 7]", "h: conv(32, 1) -> c: conv(32, 3, pad=1, groups=8)", "[2, 32, 63]"),
    "transposed": ("[2, 16, 5, 4]", "c: conv_transpose(16, 3, stride=2)", "[2, 16, 99]"),
    "max pool": ("[2, 16, 9, 7]", "h: conv(16, 1) -> max_pool(3, stride=2)", "[2, 16, 12]"),
    "mean pool": ("[2, 16, 9, 7]", "h: conv(16, 1) -> avg_pool(2)", "[2, 16, 12]"),
    "matmul": ("[3, 24, 8]", "matmul(transpose(x, 1, 2))", "[3, 576]"),
    "einsum": ("[3, 24, 8]", 'einsum(x, pattern="a b c, a d c -> b a d")', "[24, 72]"),
    "attention": ("[2, 3, 6, 8]", "scaled_dot_product_attention(x, x)", "[2, 144]"),
}
# What is made of w, the result of the kernel or a part of it; every second reads it again.
RESULTS = {
    "one of the other": "return w, sigmoid(w)",
    "the other first": "return sigmoid(w), w",
    "both of one": "v = tanh(w)\nu = w * v\nreturn u, v, w, silu(u) + v",
    "another shape": "return sigmoid(w), reshape(w, {shape}), silu(reshape(w, {shape}))",
    "another order": "return transpose(w, 0, -1), sigmoid(w), silu(transpose(w, 0, -1))",
}

QUICK_ON_GPU = [
    ("attention", "both of one"),
    ("conv2d", "another shape"),
    ("linear", "one of the other"),
    ("max pool", "the other first"),
]


def body_of(main: str, results: str) -> str:
    """A kernel with these results."""
    _, operators, shape = MAINS[main]
    return f"w = x -> {operators} -> relu()\n" + RESULTS[results].format(shape=shape)


def operand_of(main: str) -> torch.Tensor:
    return torch.randn([int(size) for size in MAINS[main][0][1:-1].split(",")])


@pytest.mark.parametrize("main", MAINS)
def test_a_result_made_of_another_is_right(main: str) -> None:
    agree(plan(body_of(main, "both of one"), x=MAINS[main][0]), operand_of(main))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("results", RESULTS)
@pytest.mark.parametrize("main", MAINS)
def test_results_made_of_each_other_are_right(main: str, results: str, dtype: str) -> None:
    agree(plan(body_of(main, results), x=MAINS[main][0]), operand_of(main), dtype=dtype)


def test_each_template_is_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    used: set[Any] = set()
    choose = KernelMaker.template

    def watched(self: KernelMaker, *given: Any) -> Any:
        found = choose(self, *given)
        used.add(type(found).__module__)
        return found

    monkeypatch.setattr(KernelMaker, "template", watched)
    for main in MAINS:
        model = plan(body_of(main, "one of the other"), x=MAINS[main][0])
        lowered_for(deployed_model(model).graph, host())
    assert {fit.__module__ for fit in TEMPLATES} <= used


@pytest.mark.parametrize("dtype", ["f32", pytest.param("f16", marks=pytest.mark.slow)])
def test_results_of_a_block_made_of_each_other_are_right(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dtype: str
) -> None:
    made: list[int] = []

    def cut(mains: list[Node], *_: Any) -> list[list[Node]]:
        made.append(len(mains))
        return [mains]

    monkeypatch.setattr(depth_first, "cut", cut)
    monkeypatch.setenv("PLANFORM_CACHE", str(tmp_path))
    body = """h = x -> h: conv(16, 1)
w = h -> a: conv(32, 1) -> relu6() -> b: conv(32, 3, pad=1, groups=32) -> relu6() -> c: conv(16, 1)
w = relu(w + h)
return h, sigmoid(w), w, tanh(w) + w"""
    agree(plan(body, x="[2, 8, 9, 7]"), torch.randn(2, 8, 9, 7), dtype=dtype)
    assert made == [3]


def test_a_result_that_two_kernels_read_is_right() -> None:
    body = """w = x -> c: conv(16, 3, pad=1) -> relu()
return (sigmoid(w) -> d: conv(16, 1)) + (w -> e: conv(16, 1))"""
    agree(plan(body, x="[1, 3, 9, 9]"), torch.randn(1, 3, 9, 9))


@pytest.mark.parametrize(
    ("main", "results"),
    [
        pytest.param(main, results, marks=() if (main, results) in QUICK_ON_GPU else pytest.mark.slow)
        for main in MAINS
        for results in RESULTS
    ],
)
def test_results_made_of_each_other_are_right_on_a_gpu(main: str, results: str) -> None:
    with emulated_gpu():
        agree(plan(body_of(main, results), x=MAINS[main][0]), operand_of(main), target="cuda")


ORDERS = {
    "a transposition": "transpose(x, 1, 2)",
    "another shape": "reshape(x, [2, 4, 24])",
    "channels last": "x -> c: conv(16, 3, pad=1) -> permute([0, 2, 1])",
    "a convolution": "x -> c: conv(16, 3, pad=1)",
    "a view of a convolution": "x -> c: conv(16, 3, pad=1) -> tanh() -> reshape([2, 8, 32])",
    "a pool behind it": "x -> c: conv(16, 3, pad=1) -> max_pool(3, stride=1)",
}
NUMPYS = """
a, b = sort(y, axis=1)
c, d = top_k(y, 3, axis=1)
e = argsort(y, axis=1)
f = real(ifft(fft(y, axis=1) * complex(y, y), axis=1))
g = abs(fft(y, axis=-1))
h = cumsum(a, axis=1)
return a, b, c, d, e, f, g, h, (y -> relu() -> sort(axis=-1))[0]"""


@pytest.mark.parametrize("order", ORDERS)
def test_numpy_is_given_values_row_by_row(order: str) -> None:
    agree(plan(f"y = {ORDERS[order]}" + NUMPYS, x="[2, 6, 16]"), torch.randn(2, 6, 16))


@pytest.mark.parametrize("order", ["a transposition", "channels last"])
@pytest.mark.parametrize("target", [None, "cuda"])
@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_numpy_is_given_values_as_float32(order: str, target: Any, dtype: str) -> None:
    body = f"y = {ORDERS[order]}\nreturn sort(y, axis=1)[0], top_k(y, 3, axis=2)[0]"
    with emulated_gpu():
        agree(plan(body, x="[2, 6, 16]"), torch.randn(2, 6, 16), target=target, dtype=dtype)


def test_numpy_is_given_values_of_free_sizes_row_by_row() -> None:
    text = """planform 1
model network(x: [B, N, M]) {
    return sort(transpose(x, 1, 2), axis=1)[0], argsort(reshape(x, [B, N * M]), axis=1)
}
plan net = network()
"""
    x = torch.randn(2, 5, 7)
    found = Model(PlanFile.from_text(text), "net", {}, {}).to_tvm()(x)
    assert torch.equal(found[0], x.transpose(1, 2).sort(1).values)
    assert torch.equal(found[1], x.reshape(2, 35).argsort(1))


HEADS = [(4, 4, 2), (4, 2, 4), (6, 3, 2), (6, 1, 3), (4, 4, 1), (4, 2, 2)]


@pytest.mark.parametrize(
    ("heads", "target"), [*((heads, None) for heads in HEADS), ((4, 4, 2), "cuda"), ((6, 1, 3), "cuda")]
)
def test_keys_and_values_have_heads_of_their_own(heads: tuple[int, int, int], target: Any) -> None:
    """Torch repeats keys, and values, as often as each needs it."""
    shapes = [(2, heads[0], 5, 8), (2, heads[1], 7, 8), (2, heads[2], 7, 9)]
    inputs = {name: str(list(shape)) for name, shape in zip("qkv", shapes, strict=True)}
    given = [torch.randn(shape) for shape in shapes]
    body = "return scaled_dot_product_attention(q, k, v, gqa=true)"
    with emulated_gpu():
        found = plan(body, **inputs).to_tvm(target=target)(*given)
    q, k, v = (x.double() for x in given)
    k, v = (x.repeat_interleave(heads[0] // x.shape[1], 1) for x in (k, v))
    wanted = torch.softmax(q @ k.transpose(2, 3) / 8**0.5, -1) @ v
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)
