"""Indices past 32 bits: tensors of more elements, products of positions, and what is larger than the memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_tvm_results import MAINS, agree, body_of, operand_of
from tvm import tirx

from planform.api.compile import deployed_model
from planform.api.model import Model
from planform.api.plan_file import PlanFile
from planform.backends.tvm.codegen.build import build
from planform.backends.tvm.codegen.ranges import overflowing
from planform.backends.tvm.compile import lowered_for
from planform.backends.tvm.cpu.machine import host
from planform.backends.tvm.cuda import lower as cuda_lower
from planform.backends.tvm.cuda.device import gpu_of
from planform.backends.tvm.lowering import kernels, slices
from planform.backends.tvm.runtime import arena
from planform.backends.tvm.runtime.arena import aligned_array
from planform.backends.tvm.runtime.runner import Runner
from planform.backends.tvm.tensor_ir import indices
from planform.backends.tvm.tensor_ir.indices import FAR, index_type, is_far, wide
from planform.backends.tvm.tensor_ir.loops import Loops, pointer, private_function
from support.kernels import REGISTRY, assert_equal_torch, cores_of, operands_of, to_numpy
from support.kernels import kernels as runner_of


def model_of(given: str, body: str) -> Model:
    text = f"planform 1\nmodel network({given}) {{\n{body}\n}}\nplan net = network()\n"
    return Model(PlanFile.from_text(text), "net", {}, {})


def functions(given: str, body: str, machine: Any) -> dict[str, Any]:
    return lowered_for(deployed_model(model_of(given, body)).graph, machine).functions


def answer(given: str, body: str, *arrays: np.ndarray) -> Any:
    lowered = lowered_for(deployed_model(model_of(given, body)).graph, host())
    return Runner(lowered.program, build(lowered, host()), {})(*arrays)


# All ways to write a kernel, at sizes just past 32 bits, and at free ones that may be.
PROGRAMS = [
    ("x: [3, 40000, 40000]", "return x * 2.0 + 1.0"),
    ("x: [3, 40000, 40000]", "return transpose(x, 1, 2) * 2.0"),
    ("x: [16384, 151936]", "return softmax(x, axis=1)"),
    ("x: [16384, 151936]", "return softmax(x, axis=0)"),
    ("x: [16384, 151936]", "return layer_norm(x)"),
    ("x: [40000, 65536]", "return x -> l: linear(16)"),
    ("x: [16, 40000]", "return x -> l: linear(65536)"),
    ("x: [65536, 128], y: [128, 65536]", "return matmul(x, y)"),
    ("x: [65536, 128], y: [128, 65536]", "return mean(matmul(x, y))"),
    ("x: [8, 64, 3000, 3000]", "return x -> c: conv(64, 3, pad=1) -> relu()"),
    ("x: [8, 64, 3000, 3000]", "return x -> c: conv(64, 3, pad=1, groups=64)"),
    ("x: [8, 64, 3000, 3000]", "return x -> c: conv(60, 5, stride=2)"),
    ("x: [8, 64, 3000, 3000]", "return max_pool(x, 3, stride=2, pad=1)"),
    ("x: [8, 64, 1500, 1500]", "return x -> c: conv_transpose(32, 2, stride=2)"),
    ("x: [8, 64, 1500, 1500]", "return resize(x, scale=2)"),
    ("x: [8, 64, 1500, 1500]", 'return resize(x, scale=2, mode="bilinear")'),
    ("x: [1, 1, 100000]", "return adaptive_avg_pool(x, [60001])"),
    ("x: [1, 1, 100000]", "return adaptive_max_pool(x, [60001])"),
    ("x: [B, 1, H]", "return adaptive_avg_pool(x, [60001])"),
    ("x: [B, 3, H, W]", "return x -> c: conv(16, 3, pad=1) -> relu()"),
    ("x: [B, 40000, 40000, 3]", "return x + 1.0"),
    ("x: [40000, B, 40000, 3]", "return transpose(x, 0, 2) + 1.0"),
    ("x: [40000, 40000, 3, B]", "return softmax(x, axis=2)"),
    ("x: [40000, 40000, 3, B]", "return sum(x, axis=[0, 1])"),
    ("x: [40000, 40000, 3]", "return argmax(x)"),
    ("x: [40000, 40000, 3]", 'return x -> rearrange("a b c -> (a b c)") -> cumsum(axis=0)'),
    ("x: [40000, 40000, 3]", "return roll(x, 7, axis=1)"),
    ("x: [40000, 40000]", "return pad(x, [20000, 20000, 0, 0])"),
    ("x: [4]", "return expand(x, [1000000000, 4])"),
    ("x: [4]", "return arange(0, 5000000000) + sum(x)"),
    ("x: [4]", "return pad(x, [5000000000, 1])"),
    ("x: [64, 8, 100000, 64]", "return scaled_dot_product_attention(x, x, x)"),
    ("x: [3000000000]", "return x[::3] + 1.0"),
    ("x: [3000000000]", "return flip(x, axis=0)"),
    ("x: [65536, 65536], i: i64[5, 65536]", "return gather(x, i, axis=0)"),
    ("i: i64[5]", "return i -> e: embedding(3000000, 1024)"),
    ("x: [8, 64, 3000, 3000]", "return unfold(x, 3, pad=1)"),
    ("x: [8, 4, 8000, 8000], g: [8, 100, 100, 2]", "return grid_sample(x, g)"),
]
MACHINES = {"cpu": host, "gpu": lambda: gpu_of({"kind": "cuda", "arch": "sm_80"})}


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_in_indices_fit_their_bits(machine: str) -> None:
    found = {
        program: parts
        for program in PROGRAMS
        for function in functions(*program, MACHINES[machine]()).values()
        if (parts := overflowing(function))
    }
    assert not found


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("program", [PROGRAMS[1], PROGRAMS[9], PROGRAMS[-3]])
def test_numbers_that_do_not_fit_are_found(
    program: tuple[str, str], machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "_is_wide", lambda *_: False)
    assert any(overflowing(each) for each in functions(*program, MACHINES[machine]()).values())


def test_a_product_of_positions_that_does_not_fit_is_found() -> None:
    loops, data = Loops(), [pointer(name, "float32") for name in ("x", "y")]
    x, y = (indices.declared([100000], "float32", name=each.name, data=each) for each in data)
    for buffer, each in zip((x, y), data, strict=True):
        loops.emit(tirx.DeclBuffer(buffer, data=each))
    with loops.loop(60001, "i") as i:
        loops.store(y, x[i * 100000 // 60001], i)
    assert overflowing(private_function(data, loops.body())) == ["i * 100000"]  # and not the quotient


def test_small_kernels_keep_indices_of_32_bits() -> None:
    (function,) = functions("x: [2, 64, 56, 56]", "return softmax(x, axis=1)", host()).values()
    assert "T.int64" not in function.script()
    assert index_type(FAR) == "int32"
    with wide(True):
        assert index_type(1) == "int64"
    assert is_far([1 << 14, 1 << 14]) and not is_far([1 << 14, (1 << 14) - 1])


# Values. Memory that nobody touched costs nothing.


@pytest.fixture(scope="module")
def large() -> np.ndarray:
    found = np.zeros((65536, 32800), np.uint8)
    found[-1, -1], found[65535, 5], found[40000, 32799] = 7, 3, 9
    return found


@pytest.mark.parametrize("shape", ["[65536, 32800]", "[H, W]"])
@pytest.mark.parametrize(
    ("result", "wanted"),
    [
        ("x[-1, -1]", 7),
        ("x[65534:, 5]", [0, 3]),
        ("x[39999:40002, 32790:] -> max(axis=1)", [0, 9, 0]),
    ],
)
def test_elements_past_32_bits_are_read(large: np.ndarray, shape: str, result: str, wanted: Any) -> None:
    assert answer(f"x: u8{shape}", f"return {result}", large).tolist() == wanted


def test_rows_past_32_bits_are_gathered(large: np.ndarray) -> None:
    index = np.full((1, 32800), 40000)
    found = answer("x: u8[65536, 32800], i: i64[1, 32800]", "return gather(x, i, axis=0)", large, index)
    assert found.nonzero()[1].tolist() == [32799] and found[0, -1] == 9


@pytest.mark.parametrize("kind", ["avg", "max"])
def test_adaptive_windows_of_many_bins_are_right(kind: str) -> None:
    x = torch.arange(100000.0).reshape(1, 1, -1)
    wanted = getattr(torch.nn.functional, f"adaptive_{kind}_pool1d")(x, 60001).numpy()
    for shape in ("[1, 1, 100000]", "[B, 1, H]"):
        found = answer(f"x: {shape}", f"return adaptive_{kind}_pool(x, [60001])", x.numpy())
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_resizes_of_long_axes_are_right(mode: str) -> None:
    x = torch.rand(1, 1, 1, 100000)
    wanted = torch.nn.functional.interpolate(x, (1, 60001), mode=mode).numpy()
    for shape in ("[1, 1, 1, 100000]", "[B, 1, H, W]"):
        found = answer(f"x: {shape}", f'return resize(x, [1, 60001], mode="{mode}")', x.numpy())
        np.testing.assert_allclose(found, wanted, rtol=1e-2, atol=1e-2)


def test_strides_past_32_bits_are_right() -> None:
    x = np.arange(4, dtype=np.float32).reshape(1, 1, 4)
    assert answer("x: [1, 1, 4]", "return max_pool(x, 2, stride=3000000000)", x).tolist() == [[[1.0]]]


# Larger than the memory.


@pytest.mark.parametrize(
    "body",
    [
        "return zeros([16777216, 1048576]) -> sum()",
        "return x + ones([16777216, 1048576, 4])[5, 6]",
        "return x[0] + arange(0, 100000000000000)[-1]",
    ],
)
def test_constants_larger_than_the_memory_are_refused(body: str) -> None:
    with pytest.raises(MemoryError):
        answer("x: [4]", body, np.zeros(4, np.float32))


def test_launches_for_more_elements_than_a_gpu_has_memory_for_are_refused() -> None:
    with pytest.raises(MemoryError, match="blocks"):
        functions("x: [4]", "return pad(x, [1000000000000, 1])", MACHINES["gpu"]())


def test_memory_that_the_machine_has_not_is_refused() -> None:
    with pytest.raises(MemoryError, match="the machine has"):
        aligned_array([1 << 50], np.dtype(np.uint8))


def test_memory_that_a_container_has_not_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = tmp_path / "first", tmp_path / "second"
    limits[0].write_text("max\n", encoding="ascii")
    monkeypatch.setattr(arena, "_CONTAINER", limits)
    assert len(aligned_array([1 << 30], np.dtype(np.uint8))) == 1 << 30
    limits[1].write_text("1000000000\n", encoding="ascii")
    with pytest.raises(MemoryError, match="has 1000000000"):
        aligned_array([1 << 30], np.dtype(np.uint8))


# Indices of 64 bits compute the same as those of 32.


@pytest.fixture
def all_wide(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(kernels, "_is_wide", lambda *_: True)
    for module in (slices, cuda_lower):
        monkeypatch.setattr(module, "is_far", lambda _: True)
    monkeypatch.setenv("PLANFORM_CACHE", str(tmp_path))


QUICK = {"argmax", "embedding", "pad", "softmax", "top_k"}
QUICK_MAINS = {"attention", "conv2d", "linear"}


@pytest.mark.usefixtures("all_wide")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in sorted(REGISTRY)]
)
def test_wide_kernels_of_operators_equal_torch(name: str) -> None:
    cores = cores_of(name)
    if cores:
        operands = [operands_of(types, op, "f32") for op, _, types in cores]
        found = runner_of(cores, "f32")(*[to_numpy(x) for each in operands for x in each])
        assert_equal_torch(cores, operands, found, "f32")


@pytest.mark.usefixtures("all_wide")
@pytest.mark.parametrize(
    "main", [pytest.param(main, marks=() if main in QUICK_MAINS else pytest.mark.slow) for main in MAINS]
)
def test_wide_kernels_of_templates_equal_torch(main: str) -> None:
    agree(model_of(f"x: {MAINS[main][0]}", body_of(main, "both of one")), operand_of(main))
