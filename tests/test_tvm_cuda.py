"""Kernels for GPUs, run on an emulated one: every operator and some networks against torch; nvcc compiles them."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

import planform
from planform.api.compile import deployed_model
from planform.api.model import Model
from planform.api.plan_file import PlanFile
from planform.backends.tvm.compile import compile_graph, kernels
from planform.backends.tvm.cuda import device
from planform.backends.tvm.cuda.build import build
from planform.backends.tvm.cuda.device import GpuMachine, gpu_of
from planform.backends.tvm.cuda.lower import lower
from planform.backends.tvm.errors import ArtifactError, BackendError, BuildError, TargetError
from planform.backends.tvm.runtime import cuda_driver
from planform.backends.tvm.runtime.compiled import load_compiled
from planform.backends.tvm.runtime.cuda_runner import GpuRunner
from planform.backends.tvm.runtime.program import Launch, Step
from planform.cli.app import run as run_command_line
from support.cuda_emulation import gpu as emulated_gpu
from support.eager import TORCH
from support.kernels import REGISTRY, Core, assert_equal_torch, cores_of, graph_of, operands_of, to_numpy

# One of each way to write a kernel: tiles, rows, elements, programs, numpy.
QUICK = {
    "conv",
    "cumsum",
    "fft",
    "gelu",
    "layer_norm",
    "matmul",
    "max_pool",
    "scaled_dot_product_attention",
    "scatter_add",
    "softmax",
}


def machine() -> GpuMachine:
    return gpu_of({"kind": "cuda", "arch": "sm_90"})


def _kernels(cores: list[Core], float_as: str) -> Any:
    lowered = lower(graph_of(cores), machine(), float_as)
    return GpuRunner(lowered.program, build(lowered, machine()), {})


@pytest.mark.parametrize(
    ("name", "float_as"),
    [
        pytest.param(name, float_as, marks=() if name in QUICK and float_as == "f32" else pytest.mark.slow)
        for name in sorted(REGISTRY)
        for float_as in ("f32", "f64")
    ],
)
def test_kernels_equal_torch(name: str, float_as: str) -> None:
    cores = cores_of(name)
    if not cores:
        return
    operands = [operands_of(types, op, float_as) for op, _, types in cores]
    flat = [to_numpy(x) for each in operands for x in each]
    with emulated_gpu():
        answers = _kernels(cores, float_as)(*flat)
    assert_equal_torch(cores, operands, answers, float_as)


TEXT = """planform 1
block lstm(x: [B, F], h: [B, F], c: [B, F]) {
    i, f, g, o = (concat(x, h, axis=1) -> gates: linear(4 * F) -> chunk(4, axis=1))
    c = c * sigmoid(f) + sigmoid(i) * tanh(g)
    h = tanh(c) * sigmoid(o)
    return h, h, c
}
block attend(x: [B, N, D], heads: int) {
    y = x -> norm: layer_norm()
    q, k, v = (y -> qkv: linear(3 * D) -> rearrange("b n (s h d) -> s b h n d", s=3, h=heads) -> unbind(axis=0))
    y = scaled_dot_product_attention(q, k, v) -> rearrange("b h n d -> b n (h d)") -> proj: linear(D)
    x = x + y
    return x + (x -> norm2: layer_norm() -> fc1: linear(4 * D) -> gelu() -> fc2: linear(D))
}
model images(x: [B, 3, H, W]) {
    x = x -> stem: conv(32, 3, pad=1) -> norm: batch_norm() -> relu()
    y = x -> deep: conv(32, 3, pad=1, groups=32) -> act: silu() -> point: conv(48, 1)
    y = y -> grouped: conv(48, 3, stride=2, pad=1, groups=4) -> max_pool(3, stride=2, pad=1)
    y = y -> gn: group_norm(groups=8) -> up: conv_transpose(24, 2, stride=2)
    return y -> mean(axis=[2, 3]) -> fc: linear(40) -> softmax(axis=-1)
}
model tokens(x: [B, N, D], heads: int = 2) {
    for i in range(2) { x = x -> "blocks.{i}": attend(heads) }
    return x -> norm: layer_norm()
}
model recurrent(x: [B, N, F], h: [B, F], c: [B, F]) { return scan(lstm, x, h, c, axis=1) }
model spectrum(x: [B, N]) { return x -> fft() -> abs() -> cumsum(axis=1) }
plan convolutions = images()
plan transformer = tokens()
plan recurrence = recurrent()
plan numbers = spectrum()
"""
PLANS: dict[str, tuple[dict[str, int], list[tuple[int, ...]]]] = {
    "convolutions": ({"B": 2, "H": 18, "W": 21}, [(2, 3, 18, 21)]),
    "transformer": ({"B": 2, "N": 37, "D": 48}, [(2, 37, 48)]),
    "recurrence": ({"B": 3, "N": 4, "F": 24}, [(3, 4, 24), (3, 24), (3, 24)]),
    "numbers": ({"B": 2, "N": 12}, [(2, 12)]),
}
# Features are those of weights, and stay known.
KNOWN = ("D", "F")


def model_of(plan: str, free: bool = False) -> Model:
    sizes = PLANS[plan][0]
    kept = {name: size for name, size in sizes.items() if name in KNOWN or not free}
    return Model(PlanFile.from_text(TEXT, "gpu.plan"), plan, {}, kept)


def compare(model: Model, inputs: list[torch.Tensor]) -> Any:
    """The plan on the emulated GPU against torch in float64."""
    eager = model.to_torch(seed=0).eval()
    with emulated_gpu():
        compiled = model.to_tvm(eager.state_dict(), target="cuda", cached=False)
        found = compiled(*inputs)
    with torch.inference_mode():
        wanted = eager.double()(*[x.double() for x in inputs])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5, check_dtype=False)
    return compiled


@pytest.mark.parametrize(
    ("plan", "free"),
    [
        pytest.param(plan, free, marks=() if free or plan == "transformer" else pytest.mark.slow)
        for plan in PLANS
        for free in (False, True)
    ],
)
def test_plans_equal_torch(plan: str, free: bool) -> None:
    compare(model_of(plan, free), [torch.randn(shape) for shape in PLANS[plan][1]])


@pytest.mark.parametrize(("dtype", "error"), [("f16", 1e-2), ("bf16", 1e-1)])
def test_floats_of_16_bits_are_computed_with_float32(dtype: str, error: float) -> None:
    model, x = model_of("transformer"), torch.randn(PLANS["transformer"][1][0])
    eager = model.to_torch(seed=0).eval()
    with emulated_gpu():
        compiled = model.to_tvm(eager.state_dict(), target="cuda", dtype=dtype, cached=False)
        found = compiled(x.to(TORCH[dtype]))
    assert found.dtype == TORCH[dtype]
    with torch.inference_mode():
        torch.testing.assert_close(found.double(), eager.double()(x.double()), rtol=error, atol=error)


@pytest.mark.parametrize(
    ("address", "shape"),
    [
        ("resnet18", (1, 3, 32, 32)),
        pytest.param("mobilenet_v2", (1, 3, 64, 64), marks=pytest.mark.slow),
        pytest.param("convnext_tiny", (1, 3, 32, 32), marks=pytest.mark.slow),
        pytest.param("deit_tiny_patch16_224", (1, 3, 224, 224), marks=pytest.mark.slow),
    ],
)
def test_networks_equal_torch(address: str, shape: tuple[int, ...]) -> None:
    compare(planform.load(address), [torch.randn(shape)])


def test_each_launch_says_its_kernel_grid_and_arguments(tmp_path: Path) -> None:
    """What an artifact holds is run again as it was, from threads too."""
    x = torch.randn(2, 3, 18, 21)
    compiled = compare(model_of("convolutions", free=True), [x])
    steps = [step for step in compiled.program.steps if not step.external]
    assert steps and all(launches_of(step) for step in steps)
    assert any(isinstance(launch.blocks, list) for step in steps for launch in launches_of(step))
    with emulated_gpu():
        compiled.save(tmp_path / "net.plank")
        again = load_compiled(tmp_path / "net.plank")
        assert again.artifact.manifest["architecture"] == "sm_80"
        others = [torch.randn(batch, 3, 18, 21) for batch in (1, 2, 1, 3)]
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(again, others))
        for given, result in zip(others, found, strict=True):
            assert torch.equal(result, compiled(given))


def launches_of(step: Step) -> list[Launch]:
    return [*step.launches, *[each for inner in (*step.start, *step.body) for each in launches_of(inner)]]


@pytest.mark.parametrize(
    ("arch", "plans"),
    [
        ("sm_90", ("convolutions", "transformer", "recurrence")),
        ("sm_80", ("transformer",)),
        pytest.param("sm_100", ("convolutions", "transformer", "recurrence"), marks=pytest.mark.slow),
        pytest.param("sm_80", ("convolutions", "recurrence"), marks=pytest.mark.slow),
    ],
)
def test_nvcc_compiles_what_is_made(arch: str, plans: tuple[str, ...]) -> None:
    target = {"kind": "cuda", "arch": arch}
    graphs = [deployed_model(model_of(plan, free=True)).graph for plan in plans]
    if shutil.which("nvcc") is None:
        with pytest.raises(BuildError) as caught:
            compile_graph(graphs[0], target, cached=False)
        assert caught.value.code == "E711"
        return
    for graph in graphs:
        artifact = compile_graph(graph, target, cached=False).artifact
        assert artifact.manifest["architecture"] == arch
        launched = {each.kernel for step in artifact.program.steps for each in launches_of(step)}
        assert launched and all(name.encode() in artifact.library for name in launched)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = deployed_model(model_of("numbers")).graph

    def refused(target: Any, **environment: str) -> BackendError:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            with pytest.raises((TargetError, BuildError)) as caught:
                compile_graph(graph, target, cached=False)
        return caught.value

    with emulated_gpu():
        error = refused({"kind": "cuda", "arch": "sm_9"})
        assert error.code == "E712" and "sm_90" in error.help[0]
        assert refused({"kind": "cuda", "bogus": 1}).code == "E701"
    for name in ("NVCC", "CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    assert refused("cuda", PATH="/nowhere").code == "E711"
    assert refused("cuda", NVCC="/nowhere/nvcc").code == "E711"
    assert refused("cuda", NVCC="false").code == "E711"


def test_without_a_gpu_nothing_is_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = model_of("numbers")
    with emulated_gpu():
        model.to_tvm(target={"kind": "cuda", "arch": "sm_90"}, cached=False).save(tmp_path / "a.plank")
        with pytest.raises(ArtifactError, match="is for sm_100, and this GPU is sm_90"):
            model.to_tvm(target={"kind": "cuda", "arch": "sm_100"}, cached=False)
    monkeypatch.setattr(cuda_driver, "LIBRARY", "libnone.so.1")
    with pytest.raises(ArtifactError, match=r"no driver of NVIDIA's here: libnone\.so\.1") as caught:
        load_compiled(tmp_path / "a.plank")
    assert caught.value.code == "E713"


def test_the_source_is_shown_with_the_lines_of_the_plan(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gpu.plan").write_text(TEXT, encoding="utf-8")
    with emulated_gpu():
        arguments = ["compile", "gpu.plan:transformer", "--at", "N=37,D=48", "--emit", "cuda"]
        assert run_command_line(arguments) == 0
        texts = dict(
            (step.about, text) for step, text in kernels(deployed_model(model_of("recurrence")).graph, "cuda")
        )
    shown = capsys.readouterr().out
    assert "__global__" in shown and "__shared__" in shown
    line = next(n for n, text in enumerate(TEXT.splitlines(), 1) if "fc2: linear" in text)
    assert any(
        text.startswith("// linear") and f"fc2 gpu.plan:{line}:" in text for text in shown.splitlines()
    )
    assert any("__global__" in text for text in texts.values())
    with pytest.raises(TargetError, match="no asm of kernels for a GPU"), emulated_gpu():
        list(kernels(deployed_model(model_of("numbers")).graph, "asm", "cuda"))


def test_a_tile_is_chosen_for_the_busiest_processor() -> None:
    from planform.backends.tvm.cuda.product import shape_for

    with emulated_gpu():
        gpu = machine()
    assert device.LEAST in ("sm_75", "sm_80")
    assert shape_for(4096, 4096, 1, gpu)[:2] == (128, 128)
    assert max(shape_for(64, 64, 1, gpu)[:2]) <= 32
    assert json.dumps(list(shape_for(1024, 64, 8, gpu)))
