"""The GPU that kernels are made for, and the compiler that makes its machine code."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ....compiler.devices import Gpu
from ....compiler.devices.table import gpu_like
from ..codegen.link import command_in
from ..errors import BuildError, TargetError

LEAST = "sm_80"
"""The architecture of a target that names none; what is made for it holds PTX, so that later ones run it."""
_PATIENCE = 600


@dataclass(frozen=True)
class GpuMachine(Gpu):
    """A GPU with TVM's description of it."""

    target: Any


def gpu_of(described: Mapping[str, Any]) -> GpuMachine:
    """The GPU that a description of TVM's of kind cuda stands for.

    Raises `TargetError` for an architecture that the compiler does not know, and `BuildError` without one.
    """
    import tvm
    from tvm.backend.loader import load

    load("cuda")
    arch = described.get("arch", LEAST)
    known = architectures()
    if arch not in known:
        near = get_close_matches(str(arch), known, 1)
        help = f"did you mean `{near[0]}`?" if near else f"there are {', '.join(known)}"
        raise TargetError("E712", f"nvcc knows no architecture `{arch}`", help)
    try:
        target = tvm.target.Target({**described, "arch": arch})
    except (ValueError, TypeError) as error:
        why = str(error).strip().splitlines()[-1].partition(". Target creation")[0]
        raise TargetError("E701", f"the target is not understood: {why}") from None
    like = gpu_like(arch)
    about = {field.name: getattr(like, field.name) for field in fields(like)}
    return GpuMachine(**{**about, "arch": arch}, target=target)


def compiler() -> list[str]:
    """The command that compiles CUDA: `$NVCC`, that of `$CUDA_HOME`, or nvcc; raises `BuildError`."""
    command = command_in("NVCC", "E711")
    if command:
        return command
    for folder in (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")):
        if folder and (Path(folder) / "bin" / "nvcc").is_file():
            return [str(Path(folder) / "bin" / "nvcc")]
    found = shutil.which("nvcc")
    if found is None:
        help = "install NVIDIA's CUDA toolkit, or name nvcc in the variable NVCC"
        raise BuildError("E711", "there is no CUDA compiler: nvcc is not on the path", help)
    return [found]


def architectures() -> tuple[str, ...]:
    """What the compiler knows, as `sm_90`."""
    return _architectures(tuple(compiler()))


@cache
def _architectures(command: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_run([*command, "--list-gpu-code"]).split())


def binary(source: str, arch: str) -> bytes:
    """Machine code of CUDA C++ for an architecture, with PTX for later ones; raises `BuildError`."""
    number = arch.removeprefix("sm_")
    code = f"arch=compute_{number},code=[sm_{number},compute_{number}]"
    with TemporaryDirectory(prefix="planform-") as folder:
        given, made = Path(folder) / "kernels.cu", Path(folder) / "kernels.fatbin"
        given.write_text(source, encoding="utf-8")
        _run([*compiler(), "-fatbin", "-O3", "-std=c++17", "-gencode", code, "-o", str(made), str(given)])
        return made.read_bytes()


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_PATIENCE)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError("E711", f"`{command[0]}` does not run: {error}") from None
    if done.returncode:
        why = (done.stderr or done.stdout).strip().splitlines()
        raise BuildError("E711", f"`{command[0]}` does not compile the kernels", *why[:8])
    return done.stdout
