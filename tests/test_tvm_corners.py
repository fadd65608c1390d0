"""Kernels where it is easy to be wrong: padding of long producers, library calls in vectors, unusual operands."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from planform.api.model import Model
from planform.api.plan_file import PlanFile
from planform.backends.tvm.cpu.machine import host
from planform.backends.tvm.lowering.lower import lower


def model(body: str, inputs: str = "x: [B, 7, 300]", results: str = "", **sizes: int) -> Model:
    text = f"planform 1\nmodel network({inputs}){results} {{\n{body}\n}}\nplan net = network()\n"
    return Model(PlanFile.from_text(text), "net", {}, sizes)


def agree(made: Model, *inputs: torch.Tensor, dtype: str = "f32", rtol: float = 2e-5) -> None:
    """The plan as machine code gives what its torch module gives."""
    kind = {"f32": torch.float32, "f64": torch.float64}[dtype]
    eager = made.to_torch(seed=0, dtype=kind).eval()
    compiled = made.to_tvm(eager.state_dict(), dtype=dtype, cached=False)
    with torch.inference_mode():
        wanted = eager(*inputs)
    torch.testing.assert_close(compiled(*inputs), wanted, rtol=rtol, atol=rtol, equal_nan=True)


def code_size(made: Model) -> int:
    """The characters of all kernels as text."""
    lowered = lower(made.program.graphs["eval"], host())
    return sum(len(function.script()) for function in lowered.functions.values())


@pytest.mark.parametrize("count", [1, 6])
def test_a_padded_producer_is_right(count: int) -> None:
    chain = " -> ".join(["silu()", "gelu()"] * count)
    agree(model(f"return x -> {chain} -> pad([3, 3]) -> sum(axis=[2])", B=2), torch.randn(2, 7, 300))
    agree(model(f"return x -> {chain} -> pad([3, 3])"), torch.randn(2, 7, 300))


def test_code_of_a_padded_producer_grows_with_its_length() -> None:
    """Each of the six functions reads its operand several times: written out they would be millions."""

    def size(count: int) -> int:
        steps = "\n".join(["x = x * sigmoid(x + tanh(x))"] * count)
        return code_size(model(f"{steps}\nreturn x -> pad([3, 3])", B=2))

    one, three, six = size(1), size(3), size(6)
    assert six - three < 2 * (three - one)


FUNCTIONS = ["sin()", "pow(2.5)", "erf()", "floor_divide(0.3)", "round()", "gelu()"]
PLACES = {
    "in a sum": "return x -> {} -> sum(axis=[2])",
    "of what is padded": "return x -> pad([3, 3]) -> {} -> sum(axis=[2])",
    "padded": "return x -> {} -> pad([3, 3]) -> sum(axis=[2])",
    "in other axes": "return x -> permute([1, 0, 2]) -> reshape([14, B*150]) -> {} -> sum(axis=[1])",
    "after a product": "return x -> c: conv(32, 3, pad=1) -> {}",
    "after rows": "return x -> c: linear(48) -> {}",
}


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("place", PLACES)
def test_loops_of_vectors_may_call_the_library(place: str, dtype: str) -> None:
    kind = {"f32": torch.float32, "f64": torch.float64}[dtype]
    x = torch.rand(4, 7, 300, dtype=kind) + 0.1
    for function in FUNCTIONS:
        # Sums of hundreds of numbers, and quotients near a whole number, differ by their order.
        if function != "floor_divide(0.3)" or not place.startswith("after"):
            agree(
                model(PLACES[place].format(function), B=4),
                x,
                dtype=dtype,
                rtol=1e-3 if dtype == "f32" else 1e-9,
            )


@pytest.mark.parametrize("sizes", [{}, {"B": 2, "L": 37}])
def test_recurrences_run_backwards(sizes: dict[str, int]) -> None:
    body = "return linear_recurrence(sigmoid(a), x, axis=1, reverse=true)"
    inputs = torch.randn(2, 37, 3, 5), torch.randn(2, 37, 3, 5)
    agree(model(body, "a: [B, L, 3, 5], x: [B, L, 3, 5]", **sizes), *inputs)


@pytest.mark.parametrize("stem", ["x", "x -> c: conv({}, 3, pad=1)"], ids=["plain", "blocks"])
@pytest.mark.parametrize(("channels", "groups"), [(24, 6), (24, 3), (40, 1), (32, 2), (36, 12), (16, 16)])
def test_groups_of_channels_need_not_be_blocks(channels: int, groups: int, stem: str) -> None:
    body = f"return {stem.format(channels)} -> n: group_norm({groups}) -> silu()"
    inputs = f"x: [B, {channels}, H, W]"
    agree(model(body, inputs, H=9, W=7), torch.randn(2, channels, 9, 7) + 3)
    agree(model(body, inputs), torch.randn(3, channels, 5, 6) - 3)


@pytest.mark.parametrize("largest", ["true", "false"])
@pytest.mark.parametrize(("size", "k", "axis"), [(50, 7, -1), (50, 50, -1), (9, 1, 1), (4, 3, 1)])
def test_the_largest_are_the_first_of_a_stable_sort(size: int, k: int, axis: int, largest: str) -> None:
    """With ties, infinities and NaN, where torch's `topk` gives any of the equal ones."""
    generator = np.random.default_rng(1)
    shape = (3, 5, size) if axis < 0 else (3, size, 5)
    x = generator.integers(-2, 3, shape).astype(np.float32)
    x[generator.random(shape) < 0.1] = np.nan
    x[generator.random(shape) < 0.1] = np.inf
    made = model(
        f"values, places = x -> top_k({k}, axis={axis}, largest={largest})\nreturn (values, places)",
        "x: [A, C, D]",
    ).to_tvm()
    values, places = made(x)
    wanted = torch.from_numpy(x).sort(dim=axis, descending=largest == "true", stable=True)
    index = torch.arange(k)
    np.testing.assert_array_equal(values, wanted.values.index_select(axis, index).numpy())
    np.testing.assert_array_equal(places, wanted.indices.index_select(axis, index).numpy())
    assert np.array_equal(values, torch.from_numpy(x).topk(k, axis, largest == "true").values, equal_nan=True)


def test_integers_over_zero_are_zero() -> None:
    """As documented; torch raises."""
    made = model("return x // y, x % y", "x: i64[N], y: i64[N]").to_tvm()
    found = made(np.array([5, -5, 0]), np.array([0, 0, 0]))
    assert [each.tolist() for each in found] == [[0, 0, 0], [0, 0, 0]]


@cache
def _sum() -> Any:
    return model("return (relu(x) + y, x)", "x: [B, C], y: [B, C]").to_tvm()


def _shifted(array: np.ndarray, by: int) -> np.ndarray:
    """The same elements, so many bytes behind a multiple of 64."""
    room = np.zeros(array.nbytes + 128, np.uint8)
    start = -room.ctypes.data % 64 + by
    found = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    found[...] = array
    return found


@pytest.mark.parametrize("by", [4, 20, 1, 3])
def test_operands_may_lie_anywhere(by: int) -> None:
    x, y = np.random.default_rng(0).standard_normal((2, 5, 67)).astype(np.float32)
    found = _sum()(_shifted(x, by), _shifted(y, by))
    np.testing.assert_array_equal(found[0], np.maximum(x, 0) + y)


def test_operands_may_be_one_array_repeated_or_reversed() -> None:
    x = torch.randn(6, 6)
    for left, right in ((x, x), (x, x.T), (x[:1].expand(6, 6), x), (x.flip(0), x[::2].repeat(2, 1))):
        found, same = _sum()(left, right)
        torch.testing.assert_close(found, left.relu() + right)
        assert torch.equal(same, left)
    numbers = x.numpy()
    np.testing.assert_array_equal(
        _sum()(numbers[::-1], numbers[:, ::-1])[0], np.maximum(numbers[::-1], 0) + numbers[:, ::-1]
    )


def test_results_are_apart_from_operands_and_from_each_other() -> None:
    x, y = torch.randn(4, 3), torch.randn(4, 3)
    kept = x.clone(), y.clone()
    total, same = _sum()(x, y)
    total.zero_()
    same.zero_()
    assert torch.equal(x, kept[0]) and torch.equal(y, kept[1])
    # A result that is given back as an operand is not written over while it is read.
    total, _ = _sum()(x, y)
    again, _ = _sum()(total, total)
    torch.testing.assert_close(again, total.relu() + total)


def test_tensors_without_axes() -> None:
    made = model("return (x * y, exp(x))", "x: [], y: [B]").to_tvm()
    x, y = torch.randn(()), torch.randn(5)
    product, power = made(x, y)
    torch.testing.assert_close(product, x * y)
    assert power.shape == () and torch.allclose(power, x.exp())
    assert made(x.numpy(), y.numpy())[1].shape == ()


@pytest.mark.parametrize("count", [0, 1, 5])
def test_axes_may_be_empty(count: int) -> None:
    made = model(
        "return (concat([past, x], axis=1), sum(past, axis=[1]), past * 2)",
        "x: [B, 3, 4], past: [B, P >= 0, 4]",
    )
    compiled = made.to_tvm()
    x, past = torch.randn(2, 3, 4), torch.randn(2, count, 4)
    for given in (past, past.transpose(0, 1).contiguous().transpose(0, 1)):
        joined, total, double = compiled(x, given)
        torch.testing.assert_close(joined, torch.cat([past, x], 1))
        torch.testing.assert_close(total, past.sum(1))
        torch.testing.assert_close(double, past * 2)


def test_calls_at_once_do_not_meet() -> None:
    """Kernels, numpy between them, and a recurrence, of several sizes."""
    made = model(
        "y, _ = (x * 2) -> sort()\nreturn linear_recurrence(sigmoid(x), y, axis=1) -> softmax(axis=-1)",
        "x: [B, L, 9]",
    )
    compiled, eager = made.to_tvm(), made.to_torch()
    inputs = [torch.randn(1 + n % 3, 4 + n % 11, 9) for n in range(60)]
    with torch.inference_mode():
        wanted = [eager(x) for x in inputs]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(compiled, inputs))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
