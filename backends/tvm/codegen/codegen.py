"""From functions of TIR to machine code: only the passes that kernels without blocks need."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import Call, GlobalVar
from tvm.target import Target

from ..tensor_ir.loops import IN_VECTORS
from .wrapping import with_wraps

_KERNEL = (
    tirx.transform.FlattenBuffer(),
    tirx.transform.VectorizeLoop(True),
    tirx.transform.UnrollLoop(),
    tirx.transform.LowerIntrin(),
)
# What is called from outside checks what it is given.
_ENTRY = (
    *_KERNEL[:-1],
    tirx.transform.MakePackedAPI(),
    tirx.transform.LowerTVMBuiltin(),
    _KERNEL[-1],
)
# Any convention but the default one is left as it is.
_OWN_CONVENTION = 2


def module_of(kernels: Mapping[str, Any], entries: Mapping[str, Any] | None = None) -> Any:
    """A module of functions that others call by name, and of those that are called from outside."""
    found: dict[Any, Any] = {}
    for name, function in kernels.items():
        own = {"global_symbol": name, "calling_conv": _OWN_CONVENTION}
        found[GlobalVar(name)] = function.with_attr(own)
    for name, function in (entries or {}).items():
        found[GlobalVar(name)] = function
    return tvm.IRModule(found)


def generate(module: Any, target: Any) -> Any:
    """A runtime module for a processor.

    TVM's own order of passes looks for blocks of schedules, which these functions have none of, and moves
    buffers that are to stay in registers.
    """
    return _generated(module, target, _ENTRY)


def kernel_module(name: str, function: Any, target: Any) -> Any:
    """A runtime module of one kernel."""
    return _generated(module_of({name: function}), target_for([function], target), _KERNEL)


def target_for(functions: Iterable[Any], target: Any) -> Any:
    """The target with as much optimisation as kernels need that are compiled together.

    LLVM's passes of the first level do all that those in vectors need, in the least time. Of reads behind
    two conditions, such as `i % 4 < 2`, code of the second level and above was seen to be wrong.
    """
    functions = list(functions)
    if all(function.attrs[IN_VECTORS] for function in functions) or any(map(_guards_twice, functions)):
        return Target({**json.loads(str(target)), "opt-level": 1})
    return target


def _guards_twice(function: Any) -> bool:
    """Whether an expression is worked out only under a condition, and that under another."""
    found: list[Any] = []
    tvm_ffi.structural_walk(function, (Call, found.append))
    guards = [call for call in found if _is_guard(call)]
    inner: list[Any] = []
    for guard in guards:
        tvm_ffi.structural_walk([guard.args[1], guard.args[2]], (Call, inner.append))
    return any(map(_is_guard, inner))


def _is_guard(call: Any) -> bool:
    return str(getattr(call.op, "name", "")).endswith("if_then_else")


def kernel_code(name: str, function: Any, target: Any) -> bytes:
    """A kernel as an object file."""
    return _written(kernel_module(name, function, target))


def entry_code(entries: Mapping[str, Any], target: Any) -> bytes:
    """The functions that are called from outside as an object file."""
    return _written(generate(module_of({}, entries), target))


def _generated(module: Any, target: Any, passes: tuple[Any, ...]) -> Any:
    target = Target(target)
    module = tvm.IRModule({name: with_wraps(function) for name, function in module.functions.items()})
    lowered = tirx.transform.BindTarget(target.with_host(target))(module)
    lowered = tvm.ir.transform.Sequential(list(passes))(lowered)
    return tvm.get_global_func(f"target.build.{target.kind.name}")(lowered, target)


def _written(module: Any) -> bytes:
    # TVM can only write files, and dies where a disk is full: the file is in memory where that can be.
    if not hasattr(os, "memfd_create"):
        with TemporaryDirectory(prefix="planform-") as folder:
            path = Path(folder) / "code.o"
            module.write_to_file(str(path))
            return path.read_bytes()
    handle = os.memfd_create("planform")
    with os.fdopen(handle, "rb") as stream:
        module.write_to_file(f"/proc/self/fd/{handle}", "o")
        return stream.read()
