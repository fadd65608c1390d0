"""Launches as CUDA C++ and as machine code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tvm
from tvm import tirx

from ..lowering.lower import Lowered
from ..runtime.program import Step
from .device import GpuMachine, binary

_LOWER = (
    tirx.transform.FlattenBuffer(),
    tirx.transform.BF16ComputeLegalize(),
    tirx.transform.BF16StorageLegalize(),
    tirx.transform.LowerIntrin(),
)


def source_of(functions: Mapping[str, Any], gpu: GpuMachine) -> str:
    """CUDA C++ of kernels by name."""
    found: dict[Any, Any] = {}
    for name, function in functions.items():
        named = function.with_attr("global_symbol", name).with_attr("target", gpu.target)
        found[tvm.ir.GlobalVar(name)] = named
    lowered = tvm.ir.transform.Sequential(list(_LOWER))(tvm.IRModule(found))
    return str(tvm.get_global_func("target.build.cuda")(lowered, gpu.target).inspect_source("cuda"))


def build(lowered: Lowered, gpu: GpuMachine) -> bytes:
    """Machine code of all kernels of a program; raises `BuildError`."""
    return binary(source_of(lowered.functions, gpu), gpu.arch)


def text_of(lowered: Lowered, step: Step, form: str, gpu: GpuMachine) -> str:
    """A step's kernels as `tir`, or as `cuda`, which is C++."""
    inner = [*step.start, *step.body]
    launches = [*step.launches, *[launch for each in inner for launch in each.launches]]
    functions = {launch.kernel: lowered.functions[launch.kernel] for launch in launches}
    if not functions:
        return ""
    if form == "tir":
        return "\n".join(function.script().strip() for function in functions.values()) + "\n"
    lines = source_of(functions, gpu).splitlines()
    # The declarations before the first kernel are those of every file.
    first = next(number for number, line in enumerate(lines) if line.startswith('extern "C"'))
    kept = [line for line in lines[first:] if not (line.startswith('extern "C"') and line.endswith(";"))]
    return "\n".join(kept).strip() + "\n"
