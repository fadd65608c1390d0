"""Kernels for other processors: what their inner loops are made of, and that what can run here is right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import planform
from planform.api.compile import deployed_model, to_artifact
from planform.api.locate import EXAMPLES
from planform.api.model import Model
from planform.api.plan_file import PlanFile
from planform.backends.tvm.compile import kernels
from planform.backends.tvm.errors import BuildError
from planform.backends.tvm.runtime import host

NEON = {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "neoverse-n1"}
AVX2 = {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": "haswell"}

# A multiply-add of four numbers at once in a register of NEON, and of eight in one of AVX2.
FMA = {
    "aarch64": r"\bfmla\s+v\d+\.4s",
    "x86_64": r"\bvfmadd\d+ps\s.*%ymm\d+",
}
BODIES = {
    "convolution": "return x -> c: conv(64, 3, pad=1)",
    "strided convolution": "return x -> c: conv(64, 3, stride=2, pad=1)",
    "pointwise": "return x -> c: conv(128, 1)",
    "depthwise": "return x -> a: conv(64, 1) -> c: conv(64, 3, pad=1, groups=64) -> e: conv(64, 1)",
    "linear": "return x -> flatten(2) -> permute([0, 2, 1]) -> c: linear(128)",
}


def model(body: str) -> Model:
    text = f"planform 1\nmodel network(x: [1, 64, 28, 28]) {{\n{body}\n}}\nplan net = network()\n"
    return Model(PlanFile.from_text(text), "net", {}, {})


def inner_loops(text: str) -> list[list[str]]:
    """The lines of each loop of an assembly text, from its label to the branch back, that has no other inside."""
    lines = text.splitlines()
    labels = {found[1]: at for at, line in enumerate(lines) if (found := re.match(r"(\.L\w+):", line))}
    loops: list[tuple[int, int]] = []
    for at, line in enumerate(lines):
        branch = re.match(r"\s+(?:b|b\.\w+|cbn?z|tbn?z|j\w+)\s.*?(\.L\w+)$", line.rstrip())
        if branch and labels.get(branch[1], at) < at:
            loops.append((labels[branch[1]], at))
    inner = [
        (start, end)
        for start, end in loops
        if not any(start <= first and last <= end and (start, end) != (first, last) for first, last in loops)
    ]
    return [lines[start:end] for start, end in inner]


def shares(made: Model, target: dict[str, str], pattern: str) -> float:
    """The largest share of such instructions in an inner loop of the kernel of `c` that has several."""
    best = 0.0
    for step, text in kernels(deployed_model(made).graph, "asm", target):
        for loop in inner_loops(text) if " c " in step.about else []:
            count = sum(1 for line in loop if re.search(pattern, line))
            if count >= 4:
                best = max(best, count / len(loop))
    return best


@pytest.mark.parametrize("body", BODIES)
def test_inner_loops_multiply_and_add_in_vectors_of_neon(body: str) -> None:
    assert shares(model(BODIES[body]), NEON, FMA["aarch64"]) > 0.25


@pytest.mark.parametrize("body", BODIES)
def test_inner_loops_multiply_and_add_in_vectors_of_avx2(body: str) -> None:
    assert shares(model(BODIES[body]), AVX2, FMA["x86_64"]) > 0.25


def test_without_a_linker_for_it_an_artifact_for_arm_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(BuildError) as caught:
        to_artifact(model(BODIES["pointwise"]), {}, NEON, cached=False)
    assert caught.value.code == "E704"
    if host.architecture() != "aarch64":
        assert "aarch64-linux-gnu-gcc, aarch64-linux-gnu-clang" in str(caught.value)
    assert caught.value.help == ("install one, or name it in the variable CC",)


PLANS: dict[str, tuple[str, dict[str, int]]] = {
    "mobilenetv2_100": ("convnets/mobilenet_v2.plan", {"B": 2, "H": 64, "W": 64}),
    "resnet18": ("convnets/resnet.plan", {"B": 1, "H": 72, "W": 64}),
    "deit_tiny_patch16_224": ("transformers/deit.plan", {"B": 1}),
}


@pytest.mark.parametrize("name", PLANS)
def test_plans_for_avx2_are_right(name: str) -> None:
    if host.architecture() != "x86_64" or not {"avx2", "fma"} <= (host.features() or set()):
        pytest.skip("runs code for AVX2")
    file, sizes = PLANS[name]
    made = planform.load(EXAMPLES / file, plan=name)
    shape = [
        size if isinstance(size, int) else sizes.get(str(size), 2) for size in made.graph.inputs[0].shape
    ]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    eager = made.to_torch(seed=0).eval()
    bound: Any = made.at(**sizes) if sizes else made
    compiled = bound.to_tvm(eager.state_dict(), target=AVX2, cached=False)
    assert not {"avx512f"} & set(compiled.artifact.manifest["features"])
    with torch.inference_mode():
        wanted = eager(x)
    found, wanted = (each if isinstance(each, torch.Tensor) else each[0] for each in (compiled(x), wanted))
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()
