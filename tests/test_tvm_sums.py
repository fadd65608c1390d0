"""Long sums in kernels err no more than torch's: a few units in the last place, however many numbers there are.

Numbers of one sign are the hard case: in one accumulator their sum is soon so large that all of them are rounded
the same way.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import pytest
import torch

from planform.api.model import Model
from planform.api.plan_file import PlanFile
from planform.backends.tvm.tensor_ir.cascade import cut_of
from support.cuda_emulation import gpu as emulated_gpu

EPS = torch.finfo(torch.float32).eps
CUDA = {"kind": "cuda", "arch": "sm_90"}


class Case(NamedTuple):
    """A body, its inputs, and the sizes of these, of which the ones given by letters may stay free."""

    body: str
    inputs: str
    shapes: tuple[tuple[int, ...], ...]
    sizes: dict[str, int]


def case(body: str, inputs: str, *shapes: tuple[int, ...], **sizes: int) -> Case:
    return Case(body, inputs, shapes, sizes)


ROW = "x: [A, N]", (2, 1 << 18)
ROWS: dict[str, str] = {
    "mean": "mean(x, axis=1)",
    "all": "mean(x)",
    "var": "var(x, axis=1)",
    "std": "std(x, axis=1)",
    "norm": "norm(x, axis=1)",
    "norm of p": "norm(x, p=3.0, axis=1)",
    "logsumexp": "logsumexp(x, axis=1)",
    "softmax": "softmax(x, axis=1) * 262144.0",
    "log_softmax": "log_softmax(x, axis=1)",
    "l2_normalize": "l2_normalize(x, axis=1) * 512.0",
    "cumsum": "cumsum(x, axis=1)",
}
IMAGE = "x: [1, 4, H, W]", (1, 4, 512, 512)
CASES: dict[str, Case] = {
    **{name: case(body, ROW[0], ROW[1], A=2, N=1 << 18) for name, body in ROWS.items()},
    "first axis": case("mean(x, axis=0)", "x: [N, C]", (1 << 18, 5), N=1 << 18, C=5),
    "middle axis": case("mean(x, axis=1)", "x: [A, N, C]", (2, 1 << 17, 3), A=2, N=1 << 17, C=3),
    "axes apart": case("mean(x, axis=[0, 2])", "x: [N, A, M]", (1 << 16, 3, 5), N=1 << 16, A=3, M=5),
    "softmax first": case("softmax(x, axis=0) * 131072.0", "x: [N, C]", (1 << 17, 3), N=1 << 17, C=3),
    "group_norm": case("group_norm_with(x, groups=2)", *IMAGE, H=512, W=512),
    "instance_norm": case("instance_norm_with(x)", *IMAGE, H=512, W=512),
    "layer_norm": case("layer_norm_with(x)", "x: [A, 131072]", (2, 1 << 17), A=2),
    "rms_norm": case("rms_norm_with(x)", "x: [A, 131072]", (2, 1 << 17), A=2),
    "avg_pool": case("avg_pool(x, 256)", *IMAGE, H=512, W=512),
    "adaptive pool": case("adaptive_avg_pool(x, [2, 1])", *IMAGE, H=512, W=512),
    "global pool": case("global_avg_pool(x)", *IMAGE, H=512, W=512),
    "pool in blocks": case(
        "avg_pool(relu(conv_with(x, w)), [2048, 8])",
        "x: [1, 4, H, 8], w: [16, 4, 1, 1]",
        (1, 4, 4096, 8),
        (16, 4, 1, 1),
        H=4096,
    ),
    "linear": case("linear_with(x, w)", "x: [A, 65536], w: [16, 65536]", (3, 65536), (16, 65536), A=3),
    "matmul": case("matmul(x, y)", "x: [A, N], y: [N, 16]", (8, 65536), (65536, 16), A=8, N=65536),
    "row times column": case("matmul(x, y)", "x: [A, N], y: [N, 1]", (2, 65536), (65536, 1), A=2, N=65536),
    "einsum": case(
        'einsum(x, y, "ank,bkn->ab")',
        "x: [A, 256, 256], y: [16, 256, 256]",
        (4, 256, 256),
        (16, 256, 256),
        A=4,
    ),
    "einsum of sums": case(
        'einsum(x, y, "abcd,bz->a")', "x: [A, 16, 8, 6], y: [16, 5]", (3, 16, 8, 6), (16, 5), A=3
    ),
    "convolution of channels": case(
        "conv_with(x, w)", "x: [A, 8192, 3, 3], w: [16, 8192, 3, 3]", (1, 8192, 3, 3), (16, 8192, 3, 3), A=1
    ),
    "convolution of taps": case(
        "conv_with(x, w, pad=2)",
        "x: [A, 16, 20, 18], w: [16, 16, 20, 20]",
        (1, 16, 20, 18),
        (16, 16, 20, 20),
        A=1,
    ),
    "convolution along time": case(
        "conv_with(x, w)", "x: [A, 16, 1030], w: [16, 16, 1025]", (1, 16, 1030), (16, 16, 1025), A=1
    ),
    "convolution of volumes": case(
        "conv_with(x, w, pad=1)",
        "x: [A, 16, 9, 8, 9], w: [16, 16, 9, 9, 9]",
        (1, 16, 9, 8, 9),
        (16, 16, 9, 9, 9),
        A=1,
    ),
    "depthwise": case(
        "conv_with(x, w, groups=16)",
        "x: [A, 16, 1024, 9], w: [16, 1, 1024, 8]",
        (1, 16, 1024, 9),
        (16, 1, 1024, 8),
        A=1,
    ),
    "narrow groups": case(
        "conv_with(relu(conv_with(x, v)), w, groups=4)",
        "x: [A, 4, 512, 8], v: [16, 4, 1, 1], w: [16, 4, 512, 4]",
        (1, 4, 512, 8),
        (16, 4, 1, 1),
        (16, 4, 512, 4),
        A=1,
    ),
    "transposed": case(
        "conv_transpose_with(x, w)", "x: [A, 16384, 2], w: [16384, 16, 2]", (1, 16384, 2), (16384, 16, 2), A=1
    ),
    "attention": case(
        "scaled_dot_product_attention(q, k, v)",
        "q: [A, 4, 16], k: [A, 32768, 16], v: [A, 32768, 16]",
        (1, 4, 16),
        (1, 32768, 16),
        (1, 32768, 16),
        A=1,
    ),
}
FREE = [name for name, each in CASES.items() if each.sizes.keys() & {"N", "H"}]
GPU = [
    "mean",
    "all",
    "var",
    "softmax",
    "first axis",
    "axes apart",
    "avg_pool",
    "matmul",
    "row times column",
    "attention",
]


QUICK = (
    "mean",
    "var",
    "softmax",
    "first axis",
    "axes apart",
    "group_norm",
    "avg_pool",
    "linear",
    "matmul",
    "einsum of sums",
    "convolution of taps",
    "attention",
)


def params(names: Iterable[str], *quick: str) -> list[Any]:
    """All names; those that are not quick are for the slow sweep."""
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow) for name in names]


def model(given: Case, free: bool) -> Model:
    text = (
        f"planform 1\nmodel network({given.inputs}) {{\n    return {given.body}\n}}\nplan net = network()\n"
    )
    return Model(PlanFile.from_text(text), "net", {}, {} if free else given.sizes)


def numbers(shapes: tuple[tuple[int, ...], ...]) -> list[torch.Tensor]:
    """Numbers about 0.1, all of one sign."""
    generator = torch.Generator().manual_seed(7)
    return [0.1 + 1e-3 * torch.rand(shape, generator=generator) for shape in shapes]


def judge(given: Case, free: bool, dtype: str = "f32", target: Any = None) -> None:
    """A plan's error against float64 is no more than four times torch's, or eight units of the last place."""
    made = model(given, free)
    kind = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[dtype]
    inputs = [x.to(kind) for x in numbers(given.shapes)]
    with torch.inference_mode():
        wanted = made.to_torch(dtype=torch.float64).eval()(*[x.double() for x in inputs])
        eager = made.to_torch(dtype=torch.float32).eval()(*[x.float() for x in inputs])
    found = made.to_tvm(dtype=dtype, target=target, cached=False, seed=0)(*inputs).double()
    allowed = torch.maximum(4 * (eager - wanted).abs().max(), 8 * EPS * wanted.abs())
    if dtype != "f32":
        # What is stored is rounded, once.
        allowed = allowed + torch.finfo(kind).eps / 2 * wanted.abs()
    worst = ((found - wanted).abs() / allowed).max()
    assert worst <= 1, f"{worst:.2f} of what is allowed"


@pytest.mark.parametrize("name", params(CASES, *QUICK))
def test_long_sums_of_known_lengths_are_exact(name: str) -> None:
    judge(CASES[name], free=False)


@pytest.mark.parametrize("name", params(FREE, "mean", "first axis", "axes apart", "matmul"))
def test_long_sums_of_free_lengths_are_exact(name: str) -> None:
    judge(CASES[name], free=True)


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("dtype", ["f16", "bf16"])
@pytest.mark.parametrize("name", params(["mean", "first axis", "norm", "linear"], "mean"))
def test_floats_of_16_bits_are_summed_so_too(name: str, dtype: str, free: bool) -> None:
    judge(CASES[name], free, dtype)


@pytest.mark.parametrize("name", params(GPU, "mean", "matmul", "attention"))
def test_kernels_of_gpus_sum_so_too(name: str) -> None:
    with emulated_gpu():
        judge(CASES[name], free=True, target=CUDA)


@pytest.mark.parametrize("name", params(["mean", "first axis", "linear"], "linear"))
def test_kernels_of_gpus_sum_known_lengths_so_too(name: str) -> None:
    with emulated_gpu():
        judge(CASES[name], free=False, target=CUDA)


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize("shape", [(5_000_000,), (1_250_000, 4)])
def test_the_mean_of_millions_of_tenths_is_a_tenth(shape: tuple[int, ...], free: bool) -> None:
    inputs = "x: [N]" if len(shape) == 1 else "x: [N, 4]"
    made = model(Case("mean(x, axis=0)", inputs, (shape,), {"N": shape[0]}), free)
    found = made.to_tvm(cached=False, seed=0)(torch.full(shape, 0.1))
    # In one accumulator it was 0.0957.
    torch.testing.assert_close(found, torch.full(shape[1:], 0.1), rtol=8 * EPS, atol=0.0)


def test_an_infinite_number_makes_an_infinite_sum() -> None:
    """Also where it has been carried on, and what it was carried from starts anew."""
    made = model(Case("sum(x, axis=1)", "x: [A, N]", ((3, 1 << 15),), {"A": 3, "N": 1 << 15}), False)
    x = torch.ones(3, 1 << 15)
    x[0, 5], x[1, 7], x[1, 9], x[2, 3] = torch.inf, torch.inf, -torch.inf, torch.nan
    torch.testing.assert_close(
        made.to_tvm(cached=False, seed=0)(x), torch.tensor([torch.inf, torch.nan, torch.nan]), equal_nan=True
    )


def test_short_sums_are_left_as_they_are() -> None:
    assert cut_of([]) is None and cut_of([14, 14]) is None and cut_of([512]) is None
    assert cut_of([4608], 4608, 512) is None


@pytest.mark.parametrize(
    ("extents", "axis", "step", "levels"),
    [
        ([1 << 12], 0, 64, 1),  # 64 blocks
        ([1 << 20], 0, 64, 3),  # 2^14 blocks, 2^8 of them, 4 of these
        ([1000, 5], 0, 12, 1),  # of 60 additions
        ([50, 3, 100], 2, 64, 2),  # 300 blocks
        ([100, 100, 8], 1, 8, 2),  # 1300 blocks
        ([40, 128, 1], 1, 64, 1),
    ],
)
def test_blocks_have_64_additions(extents: list[int], axis: int, step: int, levels: int) -> None:
    found = cut_of(extents)
    assert found is not None
    assert (found.axis, found.step, found.levels) == (axis, step, levels)


def test_a_product_of_two_sums_errs_as_little_as_torch() -> None:
    """Of numbers of both signs, in the mean of the squares: it was ten times as far off."""
    given = CASES["einsum of sums"]
    made = model(given, free=False)
    eager, compiled = made.to_torch(), made.to_tvm(cached=False, seed=0)
    generator = torch.Generator().manual_seed(3)
    ours, torchs = 0.0, 0.0
    for _ in range(50):
        inputs = [torch.randn(shape, generator=generator) for shape in given.shapes]
        x, y = (each.double() for each in inputs)
        wanted = x.sum((1, 2, 3)) * y.sum()
        ours += (compiled(*inputs) - wanted).square().sum().item()
        torchs += (eager(*inputs) - wanted).square().sum().item()
    assert ours <= 9 * torchs
