"""Compiled plans as they are called: against torch, in the plan's structure, from threads, and what they refuse."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from planform.backends.torch.weights import BindError
from planform.backends.tvm.codegen import cache
from planform.backends.tvm.errors import BackendError, BuildError, InputError, TargetError
from planform.backends.tvm.runtime import runner
from support.compiled import compiled, model

SHAPES = [(1, 3, 6, 5), (2, 3, 7, 9), (5, 3, 1, 1)]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds of these tests are shared among them, and with nobody else."""
    monkeypatch.setenv("PLANFORM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def reference(*inputs: torch.Tensor, plan: str = "small") -> Any:
    with torch.inference_mode():
        return model(plan).to_torch(seed=0).eval()(*inputs)


@pytest.mark.parametrize("shape", SHAPES)
def test_it_computes_what_torch_computes_and_gives_what_it_got(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    wanted = reference(x)
    found = compiled()(x)
    assert isinstance(found, torch.Tensor)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    array = compiled()(x.numpy())
    assert isinstance(array, np.ndarray)
    np.testing.assert_array_equal(array, found.numpy())


def test_results_have_the_structure_of_the_plan() -> None:
    x, y = torch.randn(3, 8), torch.randn(3, 8)
    found, wanted = compiled("two")(x, y), reference(x, y, plan="two")
    assert list(found) == list(wanted) == ["total", "parts"]
    assert type(found["parts"]) is type(wanted["parts"]) is tuple
    assert type(found["parts"][1]) is type(wanted["parts"][1]) is list
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_inputs_need_not_be_contiguous_nor_writable() -> None:
    x = torch.randn(5, 6, 3, 2).permute(3, 2, 1, 0)
    torch.testing.assert_close(compiled()(x), reference(x), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        compiled()(x.contiguous(memory_format=torch.channels_last)), reference(x), rtol=1e-5, atol=1e-6
    )
    array = x.numpy()[:, :, ::-1]
    array.setflags(write=False)
    np.testing.assert_allclose(
        compiled()(array), reference(torch.tensor(array.copy())).numpy(), rtol=1e-5, atol=1e-6
    )


def test_a_result_is_not_written_to_again() -> None:
    x = torch.randn(2, 3, 6, 5)
    first = compiled()(x)
    kept = first.clone()
    compiled()(-x)
    assert torch.equal(first, kept)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "small takes 1 input (image), and is given 0"),
        ((np.zeros((1, 3, 4, 4), "f4"),) * 2, "small takes 1 input (image), and is given 2"),
        (([[1.0]],), "small: image is list, and must be an array [B, 3, H, W]"),
        ((np.zeros((1, 3, 4, 4)),), "small: image holds float64, and must hold float32"),
        ((np.zeros((1, 3, 4, 4), ">f4"),), "small: image holds >f4, and must hold float32"),
        (
            (np.zeros((1, 4, 4, 4), "f4"),),
            "small: image has shape [1, 4, 4, 4], and must be [B, 3, H, W]: axis 1 is 4, not 3",
        ),
        (
            (np.zeros((3, 4, 4), "f4"),),
            "small: image has shape [3, 4, 4], and must be [B, 3, H, W]: it has 3 axes, not 4",
        ),
        (
            (np.zeros((0, 3, 4, 4), "f4"),),
            "small: image has shape [0, 3, 4, 4], and must be [B, 3, H, W]: axis 0 is 0, and must be at least 1",
        ),
        (
            (torch.zeros(1, 3, 4, 4, dtype=torch.float16),),
            "small: image holds float16, and must hold float32",
        ),
        ((torch.zeros(1, 3, 4, 4).bfloat16(),), "small: image holds bfloat16, and must hold float32"),
        ((torch.zeros(1, 3, 4, 4, device="meta"),), "small: image is on meta, and must be on cpu"),
        ((torch.zeros(1, 3, 4, 4).to_sparse(),), "small: image is sparse_coo, and must be strided"),
        (
            (torch.zeros(1, 3, 4, 4, requires_grad=True),),
            "small: image requires grad: a compiled plan has no gradients; pass `.detach()`",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(given: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError) as caught:
        compiled()(*given)
    assert str(caught.value) == message


def test_sizes_must_agree_between_inputs() -> None:
    with pytest.raises(InputError, match=r"two: y has shape \[3, 8\].* axis 0 is 3, not 2 \(B = 2\)"):
        compiled("two")(torch.zeros(2, 8), torch.zeros(3, 8))


def test_it_is_safe_from_several_threads_with_several_sizes() -> None:
    inputs = [torch.randn(1 + n % 3, 3, 5 + n % 12, 4) for n in range(48)]
    wanted = [reference(x) for x in inputs]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(compiled(), inputs))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    assert len(compiled().runner._sizes) <= runner.KEPT_SIZES


def test_weights_are_those_given_and_must_fit(tmp_path: Path) -> None:
    module = model().to_torch(seed=3).eval()
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.5)
    x = torch.randn(2, 3, 6, 5)
    with torch.inference_mode():
        wanted = module(x)
    torch.testing.assert_close(model().to_tvm(module.state_dict())(x), wanted, rtol=1e-5, atol=1e-5)
    torch.save(module.state_dict(), tmp_path / "w.pt")
    torch.testing.assert_close(model().to_tvm(tmp_path / "w.pt")(x), wanted, rtol=1e-5, atol=1e-5)
    with pytest.raises(BindError):
        model().to_tvm({})


@pytest.mark.parametrize("dtype", ["f64"])
def test_floats_may_be_of_another_type(dtype: str) -> None:
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64)
    with torch.inference_mode():
        wanted = model().to_torch(seed=0, dtype=torch.float64).eval()(x)
    torch.testing.assert_close(model().to_tvm(seed=0, dtype=dtype)(x), wanted, rtol=1e-6, atol=1e-6)
    with pytest.raises(ValueError, match="no float 'i64'"):
        model().to_tvm(dtype="i64")


@pytest.mark.parametrize(
    ("target", "code", "message"),
    [
        ("gpu", "E701", "`gpu` is no target"),
        ("{", "E701", "no JSON"),
        ({"kind": "vulkan"}, "E701", "no kernels for targets of kind `vulkan`"),
        ({"kind": "lvm"}, "E701", "`lvm` is no kind of target"),
        ({"kind": "llvm", "bogus": 1}, "E701", "Unknown config option 'bogus'"),
        ({"kind": "llvm", "num-cores": "two"}, "E701", "expected type 'int'"),
        ({"kind": "llvm", "mtriple": "foo-bar"}, "E701", "no architecture `foo`"),
        ({"kind": "llvm", "mcpu": "zen5000"}, "E702", "no CPU `zen5000`"),
        (
            {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "znver4"},
            "E702",
            "no CPU `znver4` of aarch64",
        ),
        ({"kind": "llvm", "mcpu": "x86-64-v3", "mattr": ["+avx9"]}, "E703", "no feature `avx9`"),
        ({"kind": "llvm", "mcpu": "x86-64-v3", "mattr": ["avx2"]}, "E703", "neither + nor -"),
        (
            {"kind": "llvm", "mcpu": "x86-64-v3", "mattr": ["+avx512f", "-fma"]},
            "E703",
            "`+avx512f` contradicts",
        ),
    ],
)
def test_targets_that_are_none_are_named(target: Any, code: str, message: str) -> None:
    if "mcpu" in str(target) and "aarch64" not in str(target):
        target = {**target, "mtriple": "x86_64-linux-gnu"}
    with pytest.raises(TargetError) as caught:
        model().to_tvm(target=target)
    assert caught.value.code == code and message in str(caught.value)


def test_machines_are_described_by_their_target() -> None:
    from planform.backends.tvm.cpu.machine import machine_of

    def parameters(**described: Any) -> tuple[int, int]:
        machine = machine_of({"kind": "llvm", **described})
        return machine.vector, machine.registers

    x86 = "x86_64-linux-gnu"
    # Vector registers of each level of x86-64 as its ABI defines them, and of 64-bit ARM.
    assert parameters(mtriple=x86, mcpu="x86-64-v2") == (16, 16)
    assert parameters(mtriple=x86, mcpu="x86-64-v3") == (32, 16)
    assert parameters(mtriple=x86, mcpu="x86-64-v4") == (64, 32)
    assert parameters(mtriple="aarch64-linux-gnu", mcpu="cortex-a76") == (16, 32)


def test_without_a_c_compiler_it_runs_and_cannot_be_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    made = model("two").to_tvm(cached=False)
    x = np.ones((1, 8), "f4")
    np.testing.assert_array_equal(made(x, x)["total"], x + x)
    with pytest.raises(BuildError) as caught:
        made.save(tmp_path / "two.plank")
    assert caught.value.code == "E704" and not list(tmp_path.iterdir())
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(BuildError, match="does not run"):
        from planform.api.compile import to_artifact

        to_artifact(model("two"), {}, cached=False)


def test_an_operator_without_a_kernel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from planform.backends.tvm.lowering.kernels import KernelMaker, Unsupported

    def refuse(maker: Any, node: Any, *others: Any) -> None:
        raise Unsupported(node)

    monkeypatch.setattr(KernelMaker, "make", refuse)
    with pytest.raises(BackendError, match=r"the operator `\w+` has no kernel, at small.plan:10") as caught:
        model("two").to_tvm(cached=False)
    assert caught.value.code == "E710"


FRESH = """
import sys
from support.compiled import model
import numpy as np
x = np.ones((2, 3, 6, 5), np.float32)
print(float(model(B=2, H=6, W=5).to_tvm(seed=0)(x).sum()), "tvm" in sys.modules)
"""


# Says that it found nothing kept, and goes on when it is told to.
WAITING = """
from planform.backends.tvm.codegen import cache
look = cache.found
def found(key):
    place = look(key)
    print("kept" if place else "looked", flush=True)
    input()
    return place
cache.found = found
"""


def fresh(code: str, **variables: str) -> subprocess.Popen[str]:
    tests = str(Path(__file__).parent)
    environment = {**os.environ, "PYTHONPATH": tests, **variables}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code], text=True, env=environment, **pipes)


def test_builds_are_kept_also_by_processes_at_once(tmp_path: Path) -> None:
    place = {"PLANFORM_CACHE": str(tmp_path)}
    both = [fresh(WAITING + FRESH, **place) for _ in range(2)]
    # Neither builds before both have looked.
    assert [each.stdout and each.stdout.readline() for each in both] == ["looked\n"] * 2
    for each in both:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    first, second = (each.communicate(timeout=300)[0].split() for each in both)
    assert first == second and first[1] == "True"
    (kept,) = (tmp_path / "tvm").iterdir()
    again = fresh(FRESH, **place).communicate(timeout=300)[0].split()
    assert again == [first[0], "False"]
    kept.write_bytes(kept.read_bytes()[:-1000])
    rebuilt = fresh(FRESH, **place).communicate(timeout=300)[0].split()
    assert rebuilt == first


def test_the_cache_forgets_what_was_not_used_for_longest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANFORM_CACHE", str(tmp_path))
    monkeypatch.setattr(cache, "CAPACITY", 250)
    for number, name in enumerate(("a", "b", "c")):
        cache.keep(name, bytes(100))
        path = cache.found(name)
        assert path is not None
        os.utime(path, (number, number))
    assert cache.found("a") is None and cache.found("b") is not None and cache.found("c") is not None


THREADS = """
import os, sys
import torch
torch.set_num_threads(2)
torch.nn.Conv2d(8, 8, 3)(torch.randn(1, 8, 64, 64))
from support.compiled import TEXT
from planform import Model, PlanFile
text = "planform 1\\nmodel network(x: [1, 64, 256, 256]) {\\n    return exp(tanh(x))\\n}\\nplan net = network()\\n"
call = Model(PlanFile.from_text(text), "net", {}).to_tvm()
x = torch.randn(1, 64, 256, 256)

def spent():
    found = {}
    for task in os.listdir("/proc/self/task"):
        fields = open(f"/proc/self/task/{task}/schedstat").read().split()
        found[task] = int(fields[0])
    return found

call(x)
# A thread that waits for another does so busily for a while: on a busy machine not every try shows the work.
for _ in range(10):
    before = spent()
    for _ in range(20):
        call(x)
    after = spent()
    shares = sorted((after[task] - before.get(task, 0) for task in after), reverse=True)
    if shares[0] < 0.7 * sum(shares) and shares[1] > 0.3 * sum(shares):
        break
from planform.backends.tvm.runtime.libraries import threads
print(threads(), shares[0] / sum(shares), shares[1] / sum(shares), len(os.sched_getaffinity(0)))
"""


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="Linux tells what each thread did")
def test_threads_share_the_work_also_after_torch_and_none_is_pinned() -> None:
    done = fresh(THREADS, TVM_NUM_THREADS="2")
    out, error = done.communicate(timeout=300)
    assert done.returncode == 0, error
    threads, first, second, cores = out.split()
    assert int(threads) == 2 and int(cores) == len(os.sched_getaffinity(0))
    # Two threads do most of all, each about half.
    assert float(first) < 0.8 and float(second) > 0.2, out
