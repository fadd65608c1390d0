"""Kernels evaluated by C that checks each access: all operators, all templates, and faults that are seeded."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from test_tvm_results import MAINS, RESULTS, body_of, operand_of, plan
from tvm import tirx

import planform
from planform.api.compile import deployed_model
from planform.api.model import Model
from planform.api.plan_file import PlanFile
from planform.backends.torch.arrays import deployed_arrays, source_weights
from planform.backends.tvm.codegen.build import build
from planform.backends.tvm.codegen.verify import Checker, Verified, verified
from planform.backends.tvm.compile import lowered_for
from planform.backends.tvm.cpu.machine import host
from planform.backends.tvm.cpu.templates import attention, base, tiles
from planform.backends.tvm.lowering.lower import Lowered, lower
from planform.backends.tvm.runtime.runner import Runner
from planform.backends.tvm.tensor_ir.loops import Loops, pointer, private_function
from support import poison
from support.eager import TORCH
from support.kernels import (
    REGISTRY,
    TOLERANCE,
    assert_equal_torch,
    cores_of,
    graph_of,
    operands_of,
    to_numpy,
)

# One of each way to write a kernel: elements, rows, programs, loops over windows, numpy.
QUICK = {"batch_norm", "cumsum", "embedding", "layer_norm", "pad", "roll", "softmax", "top_k"}
QUICK_MAINS = {"attention", "conv2d", "depthwise", "linear", "winograd"}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        pytest.param(name, dtype, marks=() if name in QUICK and dtype == "f32" else pytest.mark.slow)
        for name in sorted(REGISTRY)
        for dtype in ("f32", "f64", "bf16")
    ],
)
def test_kernels_of_operators_are_sound(name: str, dtype: str) -> None:
    cores = cores_of(name)
    if not cores:
        return
    operands = [operands_of(types, op, dtype) for op, _, types in cores]
    found = verified(lower(graph_of(cores), host(), dtype), [to_numpy(x) for each in operands for x in each])
    assert not found.faults
    if dtype in TOLERANCE:
        assert_equal_torch(cores, operands, found.results, dtype)


def evaluated(model: Model, *inputs: torch.Tensor, dtype: str = "f32") -> Verified:
    """A plan on checked kernels, with weights of seed 0."""
    lowered, weights = lowered_with_weights(model, dtype)
    return verified(lowered, [to_numpy(x.to(TORCH[dtype])) for x in inputs], weights)


def lowered_with_weights(model: Model, dtype: str = "f32") -> tuple[Lowered, dict[str, np.ndarray]]:
    """A plan's program and kernels, and its packed weights."""
    deployed = deployed_model(model, dtype)
    tensors = source_weights(deployed.source, model.to_torch(seed=0).state_dict())
    lowered = lowered_for(deployed.graph, host(), dtype)
    return lowered, lowered.pack(deployed_arrays(deployed, tensors, dtype))


@pytest.mark.parametrize(
    ("main", "dtype", "results"),
    [
        pytest.param(
            main,
            dtype,
            results,
            marks=()
            if main in QUICK_MAINS and (dtype, results) == ("f32", "both of one")
            else pytest.mark.slow,
        )
        for main in MAINS
        for dtype in ("f32", "bf16")
        for results in RESULTS
    ],
)
def test_kernels_of_templates_are_sound(main: str, dtype: str, results: str) -> None:
    model, x = plan(body_of(main, results), x=MAINS[main][0]), operand_of(main)
    found = evaluated(model, x, dtype=dtype)
    assert not found.faults
    if dtype == "f32":
        with torch.inference_mode():
            wanted = model.to_torch(seed=0).eval().double()(x.double())
        for left, right in zip(found.results, wanted, strict=True):
            torch.testing.assert_close(torch.from_numpy(left).double(), right, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("free", [False, True])
@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("mean(x, axis=1)", (3, 5000)),
        ("mean(x, axis=0)", (1300, 5)),
        ("mean(x, axis=[0, 2])", (300, 2, 5)),
        ("x -> c: linear(16)", (2, 4700)),
        pytest.param("x -> c: conv(16, 7, pad=3)", (1, 100, 7, 8), marks=pytest.mark.slow),
    ],
)
def test_kernels_of_long_sums_are_sound(body: str, shape: tuple[int, ...], free: bool) -> None:
    """Blocks of sums, of which the last is not full."""
    letters = ["M", "N", "K", "L"][: len(shape)]
    known = [
        str(size) if "c:" in body and axis == 1 else letter
        for axis, (size, letter) in enumerate(zip(shape, letters, strict=True))
    ]
    text = f"planform 1\nmodel network(x: [{', '.join(known)}]) {{\n    return {body}\n}}\nplan net = network()\n"
    sizes = {letter: size for letter, size in zip(known, shape, strict=True) if letter.isalpha()}
    model = Model(PlanFile.from_text(text), "net", {}, {} if free else sizes)
    x = torch.rand(shape)
    found = evaluated(model, x)
    assert not found.faults
    with torch.inference_mode():
        wanted = model.to_torch(seed=0).eval().double()(x.double())
    torch.testing.assert_close(torch.from_numpy(found.results).double(), wanted, rtol=1e-5, atol=1e-5)


# Faults that are seeded.


def _reading_memory(main: Any, results: Any, index: Any, element: Any, let: Any) -> Any:
    """What `base.elements` must not do: all values are worked out of memory before any is stored."""
    main.element = element
    places = [main.index_map[result](index) if result in main.index_map else index for result in results]
    values = [result.at(place) for result, place in zip(results, places, strict=True)]
    main.element = None
    return zip(results, places, values, strict=True)


TWO = "w = x -> c: linear(16) -> relu()\nreturn w, sigmoid(w)"


def test_a_result_that_is_read_before_it_is_written_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "elements", _reading_memory)
    found = evaluated(plan(TWO, x="[2, 6, 8]"), torch.randn(2, 6, 8))
    assert {(fault.kind, fault.buffer) for fault in found.faults} == {("unwritten", "y0")}


def test_poison_shows_what_is_read_before_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "elements", _reading_memory)
    model, x = plan(TWO, x="[2, 6, 8]"), torch.randn(2, 6, 8)
    lowered, weights = lowered_with_weights(model)
    runner = Runner(lowered.program, build(lowered, host()), weights)
    for _ in range(2):
        assert np.isnan(runner(x.numpy())[1]).all()


def test_heads_of_others_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values read by the heads of the keys."""

    def shared(self: Any, slot: str, *at: Any) -> Any:
        groups = self.operands["q"].shape[-3] // self.operands["k"].shape[-3]
        lead = (*self.lead[:-1], tirx.floordiv(self.lead[-1], groups))
        return attention._read(self.operands[slot], (*lead, *at))

    monkeypatch.setattr(attention._Head, "_shared", shared)
    model = plan(
        "return scaled_dot_product_attention(q, k, v, gqa=true)",
        q="[2, 4, 5, 8]",
        k="[2, 4, 7, 8]",
        v="[2, 2, 7, 8]",
    )
    shapes = [(2, 4, 5, 8), (2, 4, 7, 8), (2, 2, 7, 8)]
    found = evaluated(model, *[torch.randn(shape) for shape in shapes])
    assert {(fault.kind, fault.buffer) for fault in found.faults} == {("outside", "x2")}
    assert found.faults[0].index[1] in (2, 3)


def test_windows_that_leave_the_input_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles.Taps, "inside", lambda self, first, count: True)
    model = plan("return x -> c: conv(16, 3, pad=1)", x="[1, 4, 6, 6]")
    found = evaluated(model, torch.randn(1, 4, 6, 6))
    assert {(fault.kind, fault.buffer) for fault in found.faults} == {("outside", "x0")}


def _kernel(write: Any, size: int = 8) -> Any:
    """A function from x, of 8 numbers, to y; `write` is given loops and buffers."""
    loops = Loops()
    data = [pointer(f"{name}_data", "float32") for name in "xy"]
    buffers = [
        tirx.decl_buffer([count], "float32", name=name, data=each)
        for name, count, each in zip("xy", (8, size), data, strict=True)
    ]
    for buffer, each in zip(buffers, data, strict=True):
        loops.emit(tirx.DeclBuffer(buffer, data=each))
    write(loops, *buffers)
    return private_function(data, loops.body())


def _one_further(loops: Loops, x: Any, y: Any) -> None:
    with loops.loop(8) as i:
        loops.store(y, x[i + 1], i)


def _beyond_the_result(loops: Loops, x: Any, y: Any) -> None:
    with loops.loop(9) as i:
        loops.store(y, x[tirx.min(i, 7)], i)


def _workspace(loops: Loops, x: Any, y: Any) -> None:
    with loops.loop(8) as i:
        own = loops.alloc([8], "float32", "own")
        loops.store(own, x[i], i)
        loops.store(y, own[tirx.max(i - 1, 0)], i)


def _race(loops: Loops, x: Any, y: Any) -> None:
    own = loops.alloc([1], "float32", "own")
    with loops.loop(8, "i", "parallel") as i:
        loops.store(own, x[i], 0)
        loops.store(y, own[0], i)


def _unfinished(loops: Loops, x: Any, y: Any) -> None:
    with loops.loop(7) as i:
        loops.store(y, x[i], i)


def _by_nothing(loops: Loops, x: Any, y: Any) -> None:
    with loops.loop(8) as i:
        loops.store(y, x[tirx.floordiv(i, i - i % 2 - 2)], tirx.max(i, 0))


def _copy(loops: Loops, x: Any, y: Any) -> None:
    with loops.loop(8) as i:
        loops.store(y, x[i], i)


FAULTS = {
    "an index one too far": (_one_further, {("outside", "x")}),
    "a result's end": (_beyond_the_result, {("outside", "y")}),
    "a workspace of each turn": (_workspace, {("unwritten", "own")}),
    "turns that share": (_race, {("raced", "own")}),
    "an element that is left out": (_unfinished, {("unfinished", "y0")}),
    "a divisor": (_by_nothing, {("division by zero", ""), ("outside", "x")}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_seeded_fault_is_found(fault: str) -> None:
    write, wanted = FAULTS[fault]
    checker = Checker({"kernel": _kernel(write)})
    x, y = np.arange(8, dtype=np.float32), np.empty(8, np.float32)
    found = checker.run("kernel", [x], [y])
    assert {(each.kind, each.buffer) for each in found} == wanted


def test_a_buffer_larger_than_its_memory_is_found() -> None:
    x, y = np.arange(8, dtype=np.float32), np.empty(8, np.float32)
    for size, kinds in ((8, []), (9, ["too small"])):
        found = Checker({"kernel": _kernel(_copy, size)}).run("kernel", [x], [y])
        assert [each.kind for each in found] == kinds


def test_a_sound_kernel_has_no_fault() -> None:
    def write(loops: Loops, x: Any, y: Any) -> None:
        with loops.loop(8, "i", "parallel") as i:
            own = loops.alloc([1], "float32", "own")
            loops.store(own, x[7 - i], 0)
            loops.store(y, own[0] + own[0], i)

    x, y = np.arange(8, dtype=np.float32), np.empty(8, np.float32)
    assert Checker({"kernel": _kernel(write)}).run("kernel", [x], [y]) == []
    assert y.tolist() == [14, 12, 10, 8, 6, 4, 2, 0]


# Guards around memory.


@pytest.mark.parametrize(("offset", "side"), [(-1, "before"), (100, "behind")])
def test_a_write_beside_a_buffer_is_found(offset: int, side: str) -> None:
    array = poison.guarded(100)
    poison.check()
    beside = (np.ctypeslib.ctypes.c_uint8).from_address(array.ctypes.data + offset)
    beside.value = 0
    with pytest.raises(AssertionError, match=f"wrote {side} a buffer of 100 bytes"):
        poison.check()
    beside.value = poison.NAN
    poison.check()


@pytest.mark.skipif(sys.platform != "linux", reason="pages are closed by mprotect")
def test_a_read_far_behind_a_buffer_ends_the_process() -> None:
    script = """
import ctypes
from support.poison import guarded
found = guarded(128)
print("guarded", flush=True)
ctypes.c_uint8.from_address(found.ctypes.data + 128).value
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd="tests"
    )
    assert done.stdout == "guarded\n"
    assert done.returncode == -11


@pytest.mark.slow
@pytest.mark.parametrize(
    ("address", "side"), [("mobilenet_v2", 64), ("convnext_tiny", 32), ("efficientnet_b0", 64)]
)
def test_kernels_of_networks_are_sound(address: str, side: int) -> None:
    """Blocks of convolutions among them, and values that lie with their channels last."""
    sizes = {"B": 1, "H": side, "W": side}
    model, x = planform.load(address, at=sizes), torch.randn(1, 3, side, side)
    found = evaluated(model, x)
    assert not found.faults
    with torch.inference_mode():
        wanted = model.to_torch(seed=0).eval().double()(x.double())
    torch.testing.assert_close(torch.from_numpy(found.results).double(), wanted, rtol=1e-4, atol=1e-4)
