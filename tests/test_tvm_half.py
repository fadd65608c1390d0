"""Floats of 16 bits in machine code: how they are rounded, all operators, whole plans, and how they are passed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import planform
from planform.api.compile import deployed_model
from planform.api.model import Model
from planform.api.plan_file import PlanFile
from planform.backends.tvm.cpu.machine import host
from planform.backends.tvm.errors import InputError
from planform.backends.tvm.lowering.lower import lower
from planform.backends.tvm.runtime.compiled import CompiledPlan
from planform.backends.tvm.runtime.dtypes import narrowed, widened
from planform.cli.app import app
from planform.compiler.dtypes import bind
from support.compiled import model
from support.eager import TORCH, run
from support.kernels import REGISTRY, cores_of, kernels, operands_of, to_numpy, to_torch

HALVES = ("f16", "bf16")
# One of each way to make a kernel: elements, rows, programs, templates, numpy.
QUICK = (
    "add",
    "batch_norm",
    "cast",
    "conv",
    "cumsum",
    "embedding",
    "fft",
    "gelu",
    "gather",
    "layer_norm",
    "linear",
    "max_pool",
    "rms_norm",
    "scaled_dot_product_attention",
    "selective_scan",
    "softmax",
    "top_k",
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds of these tests are shared among them, and with nobody else."""
    monkeypatch.setenv("PLANFORM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def plan(body: str, *inputs: str, **bindings: int) -> Model:
    """A plan of one line."""
    given = ", ".join(inputs)
    text = f"planform 1\nmodel network({given}) {{\n    return {body}\n}}\nplan net = network()\n"
    return Model(PlanFile.from_text(text), "net", {}, bindings)


def _all_of_32_bits() -> np.ndarray:
    """Numbers of all exponents, among them ties, what rounds to infinity, what has no leading 1, and NaN."""
    high = np.arange(1 << 16, dtype=np.uint32) << 16
    low = np.array([0, 1, 0x0FFF, 0x1000, 0x1001, 0x3000, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    return (high[:, None] | low).reshape(-1).view(np.float32)


@pytest.mark.parametrize("dtype", HALVES)
def test_stored_floats_are_rounded_as_torch_rounds(dtype: str) -> None:
    x = torch.from_numpy(_all_of_32_bits())
    found = plan(f"x -> cast({dtype})", "x: f32[N]").to_tvm(dtype=dtype)(x)
    torch.testing.assert_close(found, x.to(TORCH[dtype]), rtol=0, atol=0, equal_nan=True)
    with np.errstate(over="ignore"):
        array = narrowed(x.numpy(), "bfloat16") if dtype == "bf16" else x.numpy().astype(np.float16)
    assert torch.equal(to_torch(array, TORCH[dtype]).isnan(), x.isnan())
    torch.testing.assert_close(to_torch(array, TORCH[dtype]), found, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", HALVES)
def test_stored_floats_are_read_exactly(dtype: str) -> None:
    bits = torch.arange(-(1 << 15), 1 << 15, dtype=torch.int16)
    x = bits.view(TORCH[dtype])
    found = plan("x -> cast(f32)", f"x: {dtype}[N]").to_tvm()(x)
    torch.testing.assert_close(found, x.float(), rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(
        torch.from_numpy(widened(to_numpy(x))), x.float(), rtol=0, atol=0, equal_nan=True
    )


@pytest.mark.parametrize("dtype", HALVES)
def test_a_cast_rounds_also_within_a_kernel(dtype: str) -> None:
    made = plan(f"x -> cast({dtype}) -> cast(f32)", "x: f32[N]").to_tvm()
    x = torch.randn(1000)
    assert len(made.program.steps) == 1
    assert torch.equal(made(x), x.to(TORCH[dtype]).float())


def _compare(name: str, float_as: str) -> None:
    """The samples against float64 from the same operands: what is right to float32 is rounded once."""
    cores = cores_of(name)
    if not cores:
        return
    operands = [operands_of(types, op, float_as) for op, _, types in cores]
    found = kernels(cores, float_as)(*[to_numpy(x) for each in operands for x in each])
    half = TORCH[float_as]
    for (op, slots, types), given, results in zip(cores, operands, found, strict=True):
        wide = [
            x.to(torch.complex128) if x.is_complex() else x.double() if x.dtype == half else x for x in given
        ]
        wanted = run(op, slots, wide, "f64")
        for left, right, type in zip(results, wanted, op.infer(types, slots)[0], strict=True):
            dtype = TORCH[bind(type.dtype, float_as)]
            tensor = to_torch(left, dtype)
            assert tensor.shape == right.shape, f"{op}"
            if "random" in op.effects:
                assert not tensor.is_floating_point() or tensor.isfinite().all()
                continue
            rounded = right.to(dtype).to(right.dtype)
            right = torch.where(rounded.isinf(), rounded, right)
            # Half a step of the type, and what test_te.py allows to float32.
            step = torch.finfo(dtype).eps / 2 if dtype.itemsize == 2 and dtype.is_floating_point else 0.0
            torch.testing.assert_close(
                tensor.to(right.dtype),
                right,
                rtol=step + 2e-5,
                atol=2e-6,
                equal_nan=True,
                msg=lambda text, op=op, types=types: f"{op} {types}: {text}",
            )


@pytest.mark.parametrize("float_as", HALVES)
@pytest.mark.parametrize("name", QUICK)
def test_kernels_equal_torch(name: str, float_as: str) -> None:
    assert name in REGISTRY
    _compare(name, float_as)


@pytest.mark.slow
@pytest.mark.parametrize("float_as", HALVES)
@pytest.mark.parametrize("name", sorted(REGISTRY.keys() - {*QUICK}))
def test_all_kernels_equal_torch(name: str, float_as: str) -> None:
    _compare(name, float_as)


TEMPLATES = {
    "directly": "x -> a: conv(32, 1) -> b: conv(40, 5, stride=2, pad=4, dilation=2) -> gelu()",
    "from rows": "x -> a: conv(24, 7, stride=2, pad=3) -> b: conv(36, 1, stride=2) -> relu()",
    "by Winograd": "x -> a: conv(64, 1) -> b: conv(64, 3, pad=1) -> relu()",
    "by channel": "x -> a: conv(48, 1) -> b: conv(48, 3, stride=2, pad=1, groups=48) -> silu()",
    "in groups": "x -> a: conv(32, 1) -> b: conv(64, 3, pad=1, groups=8) -> c: conv(64, 3, groups=2)",
    "of rows": "x -> flatten(1) -> a: linear(33) -> gelu() -> b: linear(50)",
}


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("case", TEMPLATES)
def test_templates_take_them(case: str, dtype: str) -> None:
    side = 32 if case == "by Winograd" else 19
    made = plan(TEMPLATES[case], f"x: [B, 5, {side}, {side + 2}]", B=2)
    lowered = lower(deployed_model(made, dtype).graph, host(), dtype)
    packed = [packing for path, packing in lowered.packings.values() if path.endswith("weight")]
    assert packed and all(packing is not None for packing in packed)
    weights = made.to_torch(seed=0, dtype=TORCH[dtype]).eval().state_dict()
    wide = made.to_torch(seed=0, dtype=torch.float64).eval()
    wide.load_state_dict(weights)
    x = torch.randn(2, 5, side, side + 2).to(TORCH[dtype])
    with torch.inference_mode():
        wanted = wide(x.double())
    found = made.to_tvm(weights, dtype=dtype)(x)
    # A few layers, each rounded once.
    error = (found.double() - wanted).abs().max() / wanted.abs().max()
    assert error < 2 * torch.finfo(TORCH[dtype]).eps


@pytest.mark.parametrize(
    ("name", "side", "dtype"),
    [
        ("resnet18", 64, "f16"),
        ("mobilenetv2_035", 64, "bf16"),
        ("deit_tiny_patch16_224", 224, "bf16"),
        pytest.param("resnet18", 64, "bf16", marks=pytest.mark.slow),
        pytest.param("mobilenetv2_035", 64, "f16", marks=pytest.mark.slow),
        pytest.param("deit_tiny_patch16_224", 224, "f16", marks=pytest.mark.slow),
    ],
)
def test_plans_err_no_more_than_torch_does(name: str, side: int, dtype: str) -> None:
    given = planform.load(name)
    free = [size for size in given.graph.inputs[0].shape if not isinstance(size, int)]
    given = given.at(**dict(zip(("B", "H", "W"), (1, side, side)[: len(free)], strict=False)))
    weights = given.to_torch(seed=0).eval().state_dict()
    x = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))

    def eager(dtype: torch.dtype) -> torch.Tensor:
        module = given.to_torch(dtype=dtype).eval()
        module.load_state_dict(weights)
        with torch.inference_mode():
            return module(x.to(dtype)).double()

    wanted = eager(torch.float64)
    found = given.to_tvm(weights, dtype=dtype)(x.to(TORCH[dtype]))
    assert found.dtype == TORCH[dtype]
    error = (found.double() - wanted).norm() / wanted.norm()
    assert error < 1.5 * (eager(TORCH[dtype]) - wanted).norm() / wanted.norm()


def small(dtype: str) -> CompiledPlan:
    return model().to_tvm(seed=0, dtype=dtype)


def test_bfloat16_in_numpy_is_its_bits_or_that_of_ml_dtypes() -> None:
    x = torch.randn(2, 3, 6, 5).bfloat16()
    wanted = small("bf16")(x)
    assert wanted.dtype == torch.bfloat16
    bits = small("bf16")(to_numpy(x))
    assert bits.dtype == np.uint16
    named = small("bf16")(to_numpy(x).view(ml_dtypes.bfloat16))
    assert named.dtype == ml_dtypes.bfloat16
    for found in (bits, named.view(np.uint16)):
        np.testing.assert_array_equal(found, to_numpy(wanted))
    assert small("bf16").signature == {"image": "bfloat16[B, 3, H, W]"}


@pytest.mark.parametrize(
    ("dtype", "given", "message"),
    [
        ("f16", torch.zeros(1, 3, 4, 4), "small: image holds float32, and must hold float16"),
        ("f16", torch.zeros(1, 3, 4, 4).bfloat16(), "small: image holds bfloat16, and must hold float16"),
        ("bf16", torch.zeros(1, 3, 4, 4).half(), "small: image holds float16, and must hold bfloat16"),
        (
            "bf16",
            torch.zeros(1, 3, 4, 4, dtype=torch.uint16),
            "small: image holds uint16, and must hold bfloat16",
        ),
        (
            "bf16",
            np.zeros((1, 3, 4, 4), "f4"),
            "holds float32, and must hold bfloat16 (in numpy its bits, uint16",
        ),
        ("f32", np.zeros((1, 3, 4, 4), ml_dtypes.bfloat16), "image holds bfloat16, and must hold float32"),
    ],
)
def test_other_types_are_refused_by_name(dtype: str, given: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        small(dtype)(given)
    assert message in str(caught.value)


@pytest.mark.parametrize("dtype", HALVES)
def test_files_hold_them(tmp_path: Path, dtype: str) -> None:
    text = "planform 1\nmodel network(x: [B, 64]) {\n    return x -> a: linear(256) -> relu()\n}\nplan net = network()\n"
    path = tmp_path / "net.plan"
    path.write_text(text, encoding="utf-8")
    sizes: dict[str, int] = {}
    for float_as in ("f32", dtype):
        made = tmp_path / f"{float_as}.plank"
        command = ["compile", str(path), "--to", "tvm", "--float", float_as, "--seed", "0", "-o", str(made)]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0, result.output
        loaded = planform.load_compiled(made)
        sizes[float_as] = sum(array.nbytes for array in loaded.artifact.weights.values())
    assert 2 * sizes[dtype] == sizes["f32"]
    x = torch.randn(3, 64).to(TORCH[dtype])
    module = Model(PlanFile(path), "net", {}).to_torch(seed=0).eval().to(TORCH[dtype]).double()
    with torch.inference_mode():
        wanted = module(x.double())
    step = torch.finfo(TORCH[dtype]).eps
    torch.testing.assert_close(loaded(x).double(), wanted, rtol=step, atol=step / 8)
    result = CliRunner().invoke(app, ["run", str(tmp_path / f"{dtype}.plank"), "--at", "B=2"])
    assert result.exit_code == 0, result.output
