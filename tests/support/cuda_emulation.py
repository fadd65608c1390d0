"""A GPU on the processor: the CUDA C++ that is made, compiled as C++, and a driver with the entry points used.

What a compiled plan runs with is unchanged; only the library of the driver and nvcc are others.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from unittest import mock

HEADERS = Path(__file__).parent / "cuda"
_OPTIONS = ["-std=c++17", "-O1", "-fPIC", "-shared", "-w", "-fno-strict-aliasing", "-ffp-contract=off"]
_HEADER = "#include <cuda.h>\n#include <math_constants.h>\n#include <cuda_fp16.h>\n"
_KERNEL = re.compile(
    r'^extern "C" __global__ void (?:__launch_bounds__\(\d+\) )?(\w+)\(([^)]*)\) \{(.*?)^\}', re.M | re.S
)


def emulated(source: str, arch: str = "") -> bytes:
    """A shared library of kernels: in the place of nvcc."""
    # Without what helps nvcc; and C++ of the processor allows no `static` before an attribute.
    source = _HEADER + "".join(source.partition('extern "C"')[1:])
    source = re.sub(r"__shared__ (alignas\(\d+\))", r"\1 __shared__", source)
    wrappers = "\n".join(_wrapper(*found.groups()) for found in _KERNEL.finditer(source))
    with TemporaryDirectory() as folder:
        given, made = Path(folder) / "kernels.cpp", Path(folder) / "kernels.so"
        given.write_text(f"{source}\n{wrappers}\n", encoding="utf-8")
        _run(["g++", *_OPTIONS, f"-I{HEADERS}", "-o", str(made), str(given)])
        return made.read_bytes()


def _wrapper(name: str, parameters: str, body: str) -> str:
    """A function that unpacks parameters and runs all threads of a kernel."""
    types = [each.rpartition(" ")[0] for each in parameters.split(", ") if each]
    given = ", ".join(f"*({type.replace('__restrict__', '')} *)p[{n}]" for n, type in enumerate(types))
    waits = "true" if re.search(r"__sync|__shfl", body) else "false"
    return (
        f"static void run_{name}(void *, void **p) {{ {name}({given}); }}\n"
        f'extern "C" void emulated_{name}(unsigned blocks, unsigned threads, void **p) {{\n'
        f"  emulation::launch(run_{name}, nullptr, blocks, threads, p, {waits});\n}}"
    )


@cache
def driver() -> Path:
    """The library of the driver."""
    made = Path(mkdtemp(prefix="emulated-")) / "libcuda.so"
    _run(
        ["g++", "-std=c++17", "-O1", "-fPIC", "-shared", "-o", str(made), str(HEADERS / "driver.cpp"), "-ldl"]
    )
    return made


@contextmanager
def gpu() -> Iterator[None]:
    """Inside, there is a GPU, of architecture sm_90."""
    from planform.backends.tvm.cuda import build, device
    from planform.backends.tvm.runtime import cuda_driver as real

    with (
        mock.patch.object(real, "LIBRARY", str(driver())),
        mock.patch.object(build, "binary", emulated),
        mock.patch.object(device, "architectures", lambda: ("sm_80", "sm_90", "sm_100")),
    ):
        yield


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
